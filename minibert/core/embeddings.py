"""Three vectors, one sum: what a token is, where it stands, which sentence it belongs to.

The sum is normalised before the first block. That LayerNorm is not in the paper's figure 2,
but it is in the released code. Positions are learned, one vector for each of 512 positions; they
are not the sine waves of the original Transformer. Nothing is multiplied by sqrt(H).

Source: Devlin et al. 2018, section 3 and figure 2; google-research/bert `modeling.py`,
functions embedding_lookup and embedding_postprocessor.
"""

import torch
from torch import Tensor, nn

from minibert.core.config import BertConfig


class BertEmbeddings(nn.Module):
    """input_ids (B, T) -> the hidden states that enter block 0 (B, T, H).

    `nn.Identity` modules, here and in the other files, compute nothing: they give a tensor a
    name, so that `trace.py` can read it off.

    >>> config = BertConfig(hidden_size=20, num_attention_heads=4, vocab_size=61)
    >>> BertEmbeddings(config)(torch.tensor([[5, 6, 7]])).shape
    torch.Size([1, 3, 20])
    """

    def __init__(self, config: BertConfig):
        super().__init__()
        H = config.hidden_size
        # No gradient reaches the [PAD] row through the lookup (padding_idx). It still gets one as
        # part of the tied output matrix, heads.py.
        self.token = nn.Embedding(config.vocab_size, H, padding_idx=config.pad_token_id)
        self.segment = nn.Embedding(config.type_vocab_size, H)
        self.position = nn.Embedding(config.max_position_embeddings, H)
        self.sum = nn.Identity()
        self.norm = nn.LayerNorm(H, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: Tensor,
        *,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        if token_type_ids is None:  # one sentence is segment 0, not 1
            token_type_ids = torch.zeros_like(input_ids)  # (B, T)
        if position_ids is None:
            count = torch.arange(input_ids.shape[1], device=input_ids.device)  # (T,)
            position_ids = count.expand_as(input_ids)  # (B, T)

        token = self.token(input_ids)  # (B, T, H)
        segment = self.segment(token_type_ids)  # (B, T, H)
        position = self.position(position_ids)  # (B, T, H)

        # The order of the additions is that of the original code: another one rounds differently.
        summed = self.sum(token + segment + position)  # (B, T, H)
        normed = self.norm(summed)  # (B, T, H)
        return self.dropout(normed)  # (B, T, H)
