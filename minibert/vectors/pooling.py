"""From a vector per token to one vector per text.

BERT gives one vector per token; a vector for a whole text is a choice made afterwards. The mean
over the tokens of one of the last layers is the usual one. The pooler's output is not: it was
trained to tell whether two sentences belong together.

Here are the choices by name, and the names that other libraries have for them.

Source: Devlin et al. 2018, section 5.3 (layers as features); Reimers & Gurevych 2019, section 3
(pooling); the names in capitals are those of bert-as-service.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def mean_pool(states: Tensor, attention_mask: Tensor) -> Tensor:
    """(B, T, H), (B, T) -> (B, H): the mean over the real tokens, [CLS] and [SEP] included.

    >>> states = torch.tensor([[[1.0], [3.0], [99.0]]])
    >>> mean_pool(states, torch.tensor([[1, 1, 0]]))
    tensor([[2.]])
    """
    weight = attention_mask[:, :, None].to(states.dtype)  # (B, T, 1)
    return (states * weight).sum(dim=1) / weight.sum(dim=1)  # (B, H)


def max_pool(states: Tensor, attention_mask: Tensor) -> Tensor:
    """(B, T, H), (B, T) -> (B, H): the largest value of each column over the real tokens."""
    hidden = attention_mask[:, :, None] == 0  # (B, T, 1)
    return states.masked_fill(hidden, -torch.inf).amax(dim=1)  # (B, H)


def cls_pool(states: Tensor, attention_mask: Tensor) -> Tensor:
    """(B, T, H), (B, T) -> (B, H): the vector of [CLS], or of the first token that counts."""
    rows = torch.arange(len(states), device=states.device)  # (B,)
    return states[rows, attention_mask.argmax(dim=1)]  # (B, H)


def last_pool(states: Tensor, attention_mask: Tensor) -> Tensor:
    """(B, T, H), (B, T) -> (B, H): the vector of the last real token, which is [SEP].

    >>> states = torch.tensor([[[1.0], [3.0], [99.0]]])
    >>> last_pool(states, torch.tensor([[1, 1, 0]]))
    tensor([[3.]])
    """
    last = attention_mask.shape[1] - 1 - attention_mask.flip(1).argmax(dim=1)  # (B,)
    rows = torch.arange(len(states), device=states.device)  # (B,)
    return states[rows, last]  # (B, H)


def mean_sqrt_len_pool(states: Tensor, attention_mask: Tensor) -> Tensor:
    """(B, T, H), (B, T) -> (B, H): the sum over the real tokens by the root of their number."""
    length = attention_mask.sum(dim=1, keepdim=True).to(states.dtype)  # (B, 1)
    return mean_pool(states, attention_mask) * length.sqrt()  # (B, H)


def weighted_mean_pool(states: Tensor, attention_mask: Tensor) -> Tensor:
    """(B, T, H), (B, T) -> (B, H): the mean in which token n weighs n, [CLS] being the first.

    >>> states = torch.tensor([[[1.0], [4.0], [99.0]]])
    >>> weighted_mean_pool(states, torch.tensor([[1, 1, 0]]))
    tensor([[3.]])
    """
    position = torch.arange(1, states.shape[1] + 1, device=states.device)  # (T,)
    return mean_pool(states, attention_mask * position)  # (B, H)


Pool = Callable[[Tensor, Tensor], Tensor]
POOLS: dict[str, Pool] = {
    "mean": mean_pool,
    "max": max_pool,
    "cls": cls_pool,
    "last": last_pool,
    "mean_sqrt_len_tokens": mean_sqrt_len_pool,
    "weightedmean": weighted_mean_pool,
}

# What a user may ask for -> the pools whose results stand side by side. "pooler" runs the model's
# own pooler on [CLS]; "none" keeps every token.
POOLINGS: dict[str, tuple[str, ...]] = {
    "mean": ("mean",),
    "max": ("max",),
    "mean-max": ("mean", "max"),
    "cls": ("cls",),
    "first": ("cls",),
    "last": ("last",),
    "mean_sqrt_len_tokens": ("mean_sqrt_len_tokens",),
    "weightedmean": ("weightedmean",),
    "pooler": ("pooler",),
    "none": (),
    "REDUCE_MEAN": ("mean",),
    "REDUCE_MAX": ("max",),
    "REDUCE_MEAN_MAX": ("mean", "max"),
    "CLS_TOKEN": ("cls",),
    "FIRST_TOKEN": ("cls",),
    "SEP_TOKEN": ("last",),
    "LAST_TOKEN": ("last",),
    "NONE": (),
}


def pools_of(pooling: str) -> tuple[str, ...]:
    """The pools behind a name; several are joined by "+". Raises ValueError for an unknown name.

    >>> pools_of("REDUCE_MEAN_MAX"), pools_of("cls+mean"), pools_of("none")
    (('mean', 'max'), ('cls', 'mean'), ())
    """
    pools: list[str] = []
    for name in str(pooling).split("+"):
        if name not in POOLINGS:
            raise ValueError(
                f"pooling must be one of {', '.join(POOLINGS)}, or several joined by '+', "
                f"got {pooling!r}"
            )
        pools += POOLINGS[name]
    return tuple(pools)


COMBINATIONS = ("concat", "sum", "mean")


def combine_layers(states: Sequence[Tensor], combine: str) -> Tensor:
    """Several layers (..., H) -> one: side by side (..., L x H), their sum, or their mean.

    >>> combine_layers([torch.ones(2), torch.zeros(2)], "concat").tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    if len(states) == 1:
        return states[0]
    if combine == "concat":
        return torch.cat(list(states), dim=-1)
    total = torch.stack(list(states)).sum(dim=0)
    return total if combine == "sum" else total / len(states)


def join_windows(vectors: Tensor, lengths: Sequence[int], pools: Sequence[str]) -> Tensor:
    """The vectors (n, pools x H) of the windows of one long text -> the vector of the text.

    Exactly what pooling all tokens of all windows at once would give: a mean weighs its windows
    by their tokens, a maximum is the largest of all.

    >>> join_windows(torch.tensor([[1.0], [4.0]]), [2, 1], ["mean"])
    tensor([2.])
    """
    table = vectors.unflatten(-1, (len(pools), -1))
    weight = torch.tensor(lengths, dtype=table.dtype, device=table.device)[:, None] / sum(lengths)
    joined = []
    for number, pool in enumerate(pools):
        column = table[:, number]
        if pool == "mean":
            joined.append((column * weight).sum(dim=0))
        elif pool == "mean_sqrt_len_tokens":
            joined.append((column * weight.sqrt()).sum(dim=0))
        elif pool == "max":
            joined.append(column.amax(dim=0))
        else:
            joined.append(column[-1 if pool == "last" else 0])
    return torch.cat(joined)
