"""A text's pieces -> windows [CLS] ... [SEP], and windows -> their hidden states."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from minibert.fast.bert import Engine, FastBert
from minibert.fast.readable import Readable
from minibert.fast.unpadded import cut_by_tokens, groups_of
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.tokenizer.truncation import windows
from minibert.vectors.plan import Plan
from minibert.vectors.pooling import combine_layers

OVERLAP = 64  # tokens that neighbouring windows of a long text share


class Window(NamedTuple):
    """Tokens that go through the model together, [CLS] ... [SEP]; those of `counted` count."""

    text: int
    ids: list[int]
    counted: slice

    @property
    def size(self) -> int:
        return self.counted.stop - self.counted.start


def cut_windows(length: int, room: int, overlap: int) -> list[tuple[range, range]]:
    """A text of `length` pieces -> its windows of at most `room`: (pieces read, pieces counted).

    Neighbours share `overlap` pieces, and each counts the half that lies nearer to its middle:
    every piece counts once, with context on both sides.

    >>> for read, counted in cut_windows(10, 6, 2): print(read, counted)
    range(0, 6) range(0, 5)
    range(4, 10) range(5, 10)
    """
    reads = windows(length, room, overlap, "right")
    stops = [read.stop - (overlap - overlap // 2) for read in reads[:-1]] + [length]
    return [(read, range(*part)) for read, part in zip(reads, zip([0, *stops], stops))]


def windows_of(number: int, ids: list[int], tokenizer: Tokenizer, plan: Plan) -> list[Window]:
    """The pieces of text `number` -> windows with [CLS] and [SEP]."""
    room = plan.limit - 2
    edge = int(plan.mask_cls_sep)  # tokens at either end that do not count
    start = max(plan.skipped, edge)
    if plan.long_texts == "cut" or len(ids) <= room:
        part = ids[-room:] if tokenizer.truncation_side == "left" else ids[:room]
        ids = [tokenizer.cls_id, *part, tokenizer.sep_id]
        if start < len(ids) - edge:
            return [Window(number, ids, slice(start, len(ids) - edge))]
        return [Window(number, ids, slice(plan.skipped, len(ids)))]  # [CLS] and [SEP] are all
    parts = []
    for read, counted in cut_windows(len(ids), room, min(OVERLAP, room // 2)):
        part = [tokenizer.cls_id, *ids[read.start : read.stop], tokenizer.sep_id]
        first = start if counted.start == 0 else counted.start - read.start + 1
        last = len(part) - edge if counted.stop == len(ids) else counted.stop - read.start + 1
        parts.append(Window(number, part, slice(first, last)))
    return parts


def run_windows(
    fast: FastBert | Readable, parts: Sequence[Window], plan: Plan
) -> Iterator[tuple[list[int], Tensor, Tensor | None]]:
    """Yield (which n windows, all of one length; their states (n, T, H), layers combined; their
    pooler_output (n, H) if it is asked for)."""
    order = sorted(range(len(parts)), key=lambda i: len(parts[i].ids), reverse=True)
    lengths = [len(parts[i].ids) for i in order]
    budget = 1 if plan.deterministic else plan.batch_tokens or fast.batch_tokens
    for run in cut_by_tokens(lengths, budget):
        chosen, order = order[: len(run)], order[len(run) :]
        ids = [token for i in chosen for token in parts[i].ids]
        if max(ids) >= plan.rows:
            raise ValueError(
                f"the model reads ids in 0..{plan.rows - 1}, got {max(ids)}: a text holds a token "
                f"that the tokenizer has and the model has not. Are they of one model?"
            )
        pooler = "pooler" in plan.pools
        states = fast.states(torch.tensor(ids, device=fast.device), run, plan.layers, pooler=pooler)
        pooled = states.pop() if pooler else None
        combined = combine_layers(states, plan.combine)
        for count, T in groups_of(run):
            group, combined = combined[: count * T], combined[count * T :]
            of_group = None if pooled is None else pooled[len(pooled) - len(chosen) :][:count]
            yield chosen[:count], group.view(count, T, -1), of_group
            chosen = chosen[count:]


def fast_for(engine: Engine, parts: Sequence[Window], plan: Plan) -> FastBert | Readable:
    """The model as it should run for these windows."""
    tokens = sum(len(part.ids) for part in parts)
    return engine.for_tokens(
        tokens, plan.precision, always_packed=plan.deterministic, compile=plan.compile
    )
