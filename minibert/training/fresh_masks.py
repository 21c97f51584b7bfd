"""Hide words in whole batches at every step, so that no two passes hide the same ones.

The same shares as in `masking.py`, which hides words once and for all.

Source: Liu et al. 2019, "RoBERTa", section 4.1 (dynamic masking).
"""

import torch
from torch import Tensor

from minibert.core.checks import IGNORE
from minibert.tokenizer.tokenizer import Tokenizer


class FreshMasks:
    """Hides words in a batch, on the batch's device, by torch's random numbers.

    Single pieces alone: whole words need the rows one by one.

    >>> tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c"])
    >>> ids, labels = FreshMasks(tokenizer, 0.5).hide(torch.tensor([[2, 5, 6, 3, 7, 5, 3, 0]]))
    >>> int((labels != IGNORE).sum()), bool((labels[ids == 4] > 4).all())
    (2, True)
    """

    def __init__(self, tokenizer: Tokenizer, mask_share: float, device: torch.device | str = "cpu"):
        self.mask_share, self.mask_id = mask_share, tokenizer.mask_id
        self.special = torch.zeros(max(tokenizer.inverse) + 1, dtype=torch.bool, device=device)
        self.special[sorted(tokenizer.special_ids)] = True
        ordinary = [n for n in sorted(tokenizer.inverse) if n not in tokenizer.special_ids]
        self.ordinary = torch.tensor(ordinary, device=device)

    def hide(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """ids (B, T) in plain sight -> ids with words hidden, labels, both (B, T)."""
        free = ~self.special[ids]  # (B, T)
        room = (self.mask_share * free.sum(1, keepdim=True)).round().clamp(min=1)  # (B, 1)
        lot = torch.rand(ids.shape, device=ids.device).masked_fill(~free, 2.0)  # (B, T)
        rank = lot.argsort(1).argsort(1)  # (B, T)
        chosen = free & (rank < room)  # (B, T)
        draw = torch.rand(ids.shape, device=ids.device)  # (B, T)
        number = torch.randint(len(self.ordinary), ids.shape, device=ids.device)  # (B, T)
        other = torch.where(draw < 0.9, self.ordinary[number], ids)  # (B, T)
        hidden = torch.where(draw < 0.8, self.mask_id, other)  # (B, T)
        return torch.where(chosen, hidden, ids), torch.where(chosen, ids, IGNORE)
