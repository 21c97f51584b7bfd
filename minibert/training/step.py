"""One training step: sum the losses over the hidden words and the pairs, go down the gradient.

What is summed here is divided by the number of hidden words in the *whole* step. So one big batch,
several small ones, and several devices all give the same gradient.

Source: Devlin et al. 2018, appendix A.2; google-research/bert `run_pretraining.py`,
`optimization.py`.
"""

import contextlib
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from minibert.core.checks import IGNORE
from minibert.core.heads import BertForPreTraining
from minibert.system import processes
from minibert.training.settings import TrainSettings


class Sums(NamedTuple):
    """What a batch adds to the losses and the accuracies: sums, not means."""

    num_tokens: Tensor
    mlm_loss: Tensor
    words: Tensor
    words_right: Tensor
    nsp_loss: Tensor
    pairs: Tensor
    pairs_right: Tensor


def means(sums: Tensor) -> dict[str, float]:
    """Losses in nats and accuracies, from the values of `Sums`."""
    _, mlm_loss, words, words_right, nsp_loss, pairs, pairs_right = sums.tolist()
    words, pairs = max(words, 1), max(pairs, 1)
    return {
        "loss": mlm_loss / words + nsp_loss / pairs,
        "mlm_loss": mlm_loss / words,
        "mlm_accuracy": words_right / words,
        "nsp_loss": nsp_loss / pairs,
        "nsp_accuracy": pairs_right / pairs,
    }


class PretrainingSums(nn.Module):
    """The model with its losses, as one module that DistributedDataParallel can wrap.

    The masked-word head runs at `most_hidden` places of a row, the chosen ones first; its scores
    elsewhere would have no loss. (As many in each row, so that shapes are known before values:
    a GPU need not wait.) The losses are the ones of `heads.py`, as sums.
    """

    def __init__(
        self, model: BertForPreTraining, bf16: bool = False, most_hidden: int | None = None
    ):
        super().__init__()
        if model.masked_word is None or model.next_sentence is None:
            raise ValueError("pretraining needs both heads; the weights to start from lack one")
        self.bert = model.bert
        self.masked_word = model.masked_word
        self.next_sentence = model.next_sentence
        self.bf16, self.most_hidden = bf16, most_hidden

    def forward(
        self,
        input_ids: Tensor,
        token_type_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor,
        next_sentence_label: Tensor,
    ) -> Sums:
        most = self.most_hidden or labels.shape[1]  # P
        places = (labels == IGNORE).byte().argsort(dim=1, stable=True)[:, :most]  # (B, P)
        hidden = labels.gather(1, places).flatten()  # (B P,)
        table = self.bert.embeddings.token.weight
        device = input_ids.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.bf16):
            output = self.bert(
                input_ids,
                token_type_ids=token_type_ids,
                attention_mask=attention_mask,
                output_attentions=self.bf16 and device == "cpu",  # written out, it is faster there
            )
            rows = torch.arange(len(places), device=places.device)[:, None]  # (B, 1)
            states = output.last_hidden_state[rows, places].flatten(0, 1)  # (B P, H)
            words = self.masked_word(states, table).to(table.dtype)  # (B P, V)
            pairs = self.next_sentence(output.pooler_output).to(table.dtype)
        return Sums(
            attention_mask.sum(),
            F.cross_entropy(words, hidden, reduction="sum", ignore_index=IGNORE),
            (hidden != IGNORE).sum(),
            (words.argmax(-1) == hidden).sum(),
            F.cross_entropy(pairs, next_sentence_label, reduction="sum"),
            torch.full_like(next_sentence_label[0], len(pairs)),
            (pairs.argmax(-1) == next_sentence_label).sum(),
        )


def make_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW as BERT was trained with, but for the bias correction.

    Adam's averages start at 0, and PyTorch divides by 1 - beta^step to make up for it. Google's
    optimizer left that out, by oversight as they say (google-research/bert, issue 153): its first
    steps are about three times as long, (1 - 0.9) / sqrt(1 - 0.999), and warm-up hides most of the
    difference.
    """
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]  # biases, LayerNorms
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=settings.learning_rate, betas=(0.9, settings.beta2), eps=1e-6, fused=True
    )


def learning_rate(step: float, settings: TrainSettings) -> float:
    """Up in a straight line over the warm-up, then down to 0 over the rest.

    `step` counts steps, or seconds if the run goes by the clock.

    >>> settings = TrainSettings(steps=10, warmup=0.2, learning_rate=0.8)
    >>> [round(learning_rate(step, settings), 2) for step in (0, 1, 2, 6, 9)]
    [0.4, 0.8, 0.8, 0.4, 0.1]
    """
    warmup = round(settings.warmup * settings.total)
    if step < warmup:
        return settings.learning_rate * min(1, (step + 1) / warmup)
    return settings.learning_rate * max(0, settings.total - step) / (settings.total - warmup)


def training_step(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: list[dict[str, Tensor]],
    clip: float,
) -> Tensor:
    """One step over `batches`: parts of one batch that is too big to be computed at once.

    The loss is the mean over all hidden words of all batches on all devices, plus the mean over
    all pairs. So they are counted first: the mean of several means would be another number.
    Gives the values of `Sums` over all devices.
    """
    device = batches[0]["labels"].device
    words = torch.stack([(batch["labels"] != IGNORE).sum() for batch in batches]).sum()
    pairs = torch.full_like(words, sum(len(batch["labels"]) for batch in batches))
    all_words, all_pairs = processes.add_up(torch.stack([words, pairs])).clamp(min=1)

    total = torch.zeros(len(Sums._fields), device=device, dtype=torch.float64)
    for number, batch in enumerate(batches):
        with _no_exchange(module) if number < len(batches) - 1 else contextlib.nullcontext():
            sums = module(**batch)
            loss = sums.mlm_loss / all_words + sums.nsp_loss / all_pairs
            (loss * processes.count()).backward()  # the devices' gradients are averaged, not added
        total += torch.stack([value.detach().to(total) for value in sums])
    nn.utils.clip_grad_norm_(module.parameters(), clip)
    optimizer.step()
    optimizer.zero_grad()
    return processes.add_up(total)


def _no_exchange(module: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Inside, gradients stay on their device: they are exchanged once, with the last batch."""
    if isinstance(module, DistributedDataParallel):
        return module.no_sync()
    return contextlib.nullcontext()
