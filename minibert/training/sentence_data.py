"""Texts to learn sentence vectors from: one a line, in pairs, in threes, in pairs with a score.

Nothing here has a state: the rows of a step are a function of the seed and the step.
"""

import csv
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from minibert.system.lines import decode_lines
from minibert.tasks.labelled import batches_by_length
from minibert.tokenizer.tokenizer import Tokenizer

WANTED = (
    "a text a line (.txt); or a table (.tsv, .csv) of two texts a line, which mean the same, of "
    "three, the last of which means something else, or of two texts and a score"
)


class Texts(NamedTuple):
    """N rows of texts in one column or several; scores (N,) if two texts have one."""

    columns: list[list[str]]
    scores: np.ndarray | None = None


def read_texts(path: str | Path) -> Texts:
    """A .txt file, or a .tsv or .csv table. Three columns are two texts and a score if the last
    column is numbers in all lines, but perhaps the first, which then is a header.

    Raises FileNotFoundError, or ValueError with the line that is not as expected.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            lines = list(decode_lines(file, path))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist: give {WANTED}") from None
    if path.suffix == ".csv":
        rows = list(csv.reader(f"{line}\n" for line in lines))
    elif path.suffix == ".tsv":
        rows = [line.split("\t") for line in lines]
    else:
        rows = [[line] for line in lines]
    width = len(rows[0]) if rows else 0
    for number, row in enumerate(rows, 1):
        if not 1 <= len(row) <= 3 or len(row) != width or not all(part.strip() for part in row):
            raise ValueError(
                f"{path}, row {number}: expected {WANTED}, all with as many columns; got "
                f"{' | '.join(row)[:60]!r}"
            )
    if not rows:
        raise ValueError(f"{path} is empty: expected {WANTED}")
    if width < 3:
        return Texts([list(column) for column in zip(*rows)])
    scores = [_number(row[2]) for row in rows]
    if None not in scores[1:] and len(scores) > 1:
        first = 1 if scores[0] is None else 0
        columns = [[row[n] for row in rows[first:]] for n in (0, 1)]
        return Texts(columns, np.array(scores[first:], dtype=np.float64))
    return Texts([list(column) for column in zip(*rows)])


def read_scored(path: str | Path) -> Texts:
    """As `read_texts`, of pairs with a score. Raises ValueError for another file."""
    texts = read_texts(path)
    if texts.scores is None:
        raise ValueError(
            f"{path}: expected a .tsv or .csv table of two texts and a score a line, got "
            f"{_shape(texts)}"
        )
    return texts


def read_pairs(path: str | Path) -> Texts:
    """As `read_texts`, of two columns. Raises ValueError for another file."""
    texts = read_texts(path)
    if len(texts.columns) != 2:
        raise ValueError(
            f"{path}: expected a .tsv or .csv table of two texts a line, got {_shape(texts)}"
        )
    return texts


def _shape(texts: Texts) -> str:
    count = len(texts.columns)
    return f"{count} column{'s' if count > 1 else ''} of texts"


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


class Column(NamedTuple):
    """The ids of N texts, end to end: text n is ids[starts[n]:starts[n + 1]]."""

    ids: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[str], tokenizer: Tokenizer, max_length: int) -> "Column":
        """[CLS] text [SEP], of at most `max_length` tokens."""
        rows = []
        for text in texts:
            ids = tokenizer.ids(text)[: max_length - 2]
            rows.append(np.array([tokenizer.cls_id, *ids, tokenizer.sep_id], dtype=np.int32))
        return cls(np.concatenate(rows), np.cumsum([0, *map(len, rows)]))

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.starts)

    def batch(self, numbers: np.ndarray, pad_id: int) -> dict[str, Tensor]:
        """input_ids and attention_mask (B, T) of some texts, as wide as the longest of them."""
        count = torch.from_numpy(self.lengths[numbers])[:, None]  # (B, 1)
        place = torch.arange(int(count.max()))  # (T,)
        real = place < count  # (B, T)
        at = torch.from_numpy(self.starts[numbers])[:, None] + place  # (B, T)
        ids = torch.from_numpy(self.ids)[at.clamp(max=len(self.ids) - 1)].long()  # (B, T)
        return {"input_ids": ids.masked_fill(~real, pad_id), "attention_mask": real.long()}

    def digest(self) -> str:
        return hashlib.blake2b(self.ids.tobytes() + self.starts.tobytes()).hexdigest()[:32]


class Order:
    """Which rows each step reads: every pass over them has an order of its own, with rows of like
    lengths together, so that there is little padding.

    >>> order = Order(np.array([3, 9, 3, 9, 5]), size=2, seed=0)
    >>> sorted(np.concatenate([order.rows(step) for step in (3, 4, 5)]).tolist())
    [0, 1, 2, 3, 4]
    """

    def __init__(self, lengths: np.ndarray, size: int, seed: int):
        self.lengths, self.size, self.seed = lengths, size, seed
        self.steps = math.ceil(len(lengths) / size)  # of one pass
        self.batches: tuple[int, list[np.ndarray]] = (-1, [])

    def rows(self, step: int) -> np.ndarray:
        number, place = divmod(step, self.steps)
        if self.batches[0] != number:
            rng = np.random.default_rng([self.seed, number])
            self.batches = number, batches_by_length(self.lengths.tolist(), self.size, rng)
        return self.batches[1][place]
