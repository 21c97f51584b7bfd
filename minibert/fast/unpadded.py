"""Texts laid end to end, without padding: (N, H) for N tokens in all.

Linear layers and norms look at one token at a time and need not know where a text ends. Attention
must, and here it does.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SHORT = 48  # texts up to this many tokens: attention written out beats the fused kernel


def cut_by_tokens(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Cut a list of lengths into runs of at most `budget` tokens, or of a single longer text.

    >>> list(cut_by_tokens([4, 4, 3, 9, 1], 8))
    [[4, 4], [3], [9], [1]]
    """
    run: list[int] = []
    total = 0
    for length in lengths:
        if run and total + length > budget:
            yield run
            run, total = [], 0
        run.append(length)
        total += length
    if run:
        yield run


def groups_of(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbours of equal length: [(how many texts, tokens of each)].

    >>> groups_of([5, 5, 3, 5])
    [(2, 5), (1, 3), (1, 5)]
    """
    return [(len(list(group)), length) for length, group in groupby(lengths)]


def attend_in_groups(qkv: Tensor, lengths: Sequence[int], heads: int) -> Tensor:
    """(N, 3H), query, key and value side by side -> (N, H): each text attends to itself.

    Texts of equal length that follow each other are computed at once, so sort them.
    """
    N, H = qkv.shape[0], qkv.shape[1] // 3
    D = H // heads
    context = qkv.new_empty(N, H)
    start = 0
    for count, T in groups_of(lengths):
        end = start + count * T
        part = qkv[start:end].view(count, T, 3, heads, D).permute(2, 0, 3, 1, 4)
        goal = context[start:end].view(count, T, heads, D).transpose(1, 2)
        if T > SHORT or qkv.is_cuda:
            query, key, value = part
            goal.copy_(F.scaled_dot_product_attention(query, key, value))
        else:
            query, key, value = part.reshape(3, count * heads, T, D)
            scores = torch.bmm(query, key.transpose(1, 2)).mul_(D**-0.5)
            torch.softmax(scores, dim=-1, out=scores)
            goal.copy_(torch.bmm(scores, value).view(count, heads, T, D))
        start = end
    return context


def attend_unpadded(qkv: Tensor, lengths: Sequence[int], heads: int) -> Tensor:
    """The same in one call, by the kernel for texts of different lengths (GPU, half precision)."""
    from torch.nn.attention.varlen import varlen_attn

    N, H = qkv.shape[0], qkv.shape[1] // 3
    query, key, value = qkv.view(N, 3, heads, H // heads).unbind(1)
    ends = torch.tensor([0, *lengths], device=qkv.device).cumsum(0).to(torch.int32)
    longest = max(lengths)
    context: Any = varlen_attn(query, key, value, ends, ends, longest, longest)
    return context.reshape(N, H)


def unpadded_kernel_works(device: torch.device, dtype: torch.dtype, D: int) -> bool:
    """Whether `attend_unpadded` runs here with heads of size D: tried out.

    It takes a GPU, half precision, torch 2.10 or later.
    """
    if device.type != "cuda" or dtype not in (torch.float16, torch.bfloat16):
        return False
    try:
        attend_unpadded(torch.zeros(3, 3 * D, dtype=dtype, device=device), [2, 1], heads=1)
    except (ImportError, RuntimeError):
        return False
    return True
