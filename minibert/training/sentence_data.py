"""Texts to learn sentence vectors from: one a line, in pairs, in threes, in pairs with a score.

Nothing here has a state: the rows of a step are a function of the seed and the step.
"""

import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from minibert.system.lines import read_lines
from minibert.tasks.labelled import batches_by_length, json_lines, table_rows
from minibert.tokenizer.tokenizer import Tokenizer

WANTED = (
    "a text a line (.txt); or a table (.tsv, .csv, .jsonl) of two texts a line, which mean the "
    "same, of three, the last of which means something else, or of two texts and a score"
)
# What a header may call the columns; capitals, spaces, "_" and "-" do not count.
NAMES = {
    "text": "text sentence text1 sentence1 question1 texta sentencea first anchor query question "
    "premise",
    "second text": "text2 sentence2 question2 textb sentenceb second positive document passage "
    "answer paraphrase hypothesis",
    "other text": "negative",
    "score": "score similarity similarityscore relatedness relatednessscore label isduplicate",
}
PARTS = {name: part for part, names in NAMES.items() for name in names.split()}
NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?|nan", re.IGNORECASE)


class Texts(NamedTuple):
    """N rows of texts in one column or several; scores (N,) if two texts have one; what a header
    called the columns that were read, if there was one."""

    columns: list[list[str]]
    scores: np.ndarray | None = None
    header: tuple[str, ...] = ()

    def __str__(self) -> str:
        """
        >>> print(Texts([["a", "b"], ["c", "d"]], header=("query", "document")))
        2 rows of 2 texts (its header: query, document)
        """
        texts = f"{len(self.columns)} texts" if len(self.columns) > 1 else "one text"
        score = "" if self.scores is None else " and a score"
        names = f"its header: {', '.join(self.header)}" if self.header else "no header"
        return f"{len(self.columns[0]):,} rows of {texts}{score} ({names})"


def read_texts(path: str | Path) -> Texts:
    """A .txt file; or a table, .tsv, .csv or .jsonl, whose columns are told by their names, or by
    what stands in them.

    A first line of names as in `NAMES` is a header: of many columns those with such names are read.
    Without one, three columns are two texts and a score if the last holds numbers.

    Raises FileNotFoundError, or ValueError with the line that is not as expected.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give {WANTED}")
    rows = _rows(path)
    if not rows:
        raise ValueError(f"{path} is empty: expected {WANTED}")
    header = rows[0][1]
    parts = [] if path.suffix == ".txt" else _parts(path, header)
    if parts:
        places, rows = [place for _, place in parts], rows[1:]
    else:
        places = list(range(len(header)))
    if not rows or not 1 <= len(places) <= 3:
        raise ValueError(
            f"{path}: expected {WANTED}, or a header that says which columns these are, such as "
            f"sentence1, sentence2, score; got {_short(header)}, {len(rows)} rows"
        )
    for number, row in rows:
        if len(row) != len(header) or not all(str(row[place]).strip() for place in places):
            raise ValueError(
                f"{path}, line {number}: expected {WANTED}, all with as many columns and none "
                f"empty; got {_short(row)}"
            )
    columns = [[str(row[place]) for _, row in rows] for place in places]
    named = tuple(str(header[place]) for place in places) if parts else ()
    scored = parts[-1][0] == "score" if parts else len(columns) == 3 and _numbers(columns[2])
    texts = columns[:-1] if scored else columns
    _check_columns(path, texts, len(places))
    if not scored:
        return Texts(texts, None, named)
    scores = [_number(cell) for cell in columns[-1]]
    if not parts and not _numbers(columns[-1][:1]) and len(rows) > 1:  # a header of other names
        named = tuple(map(str, header))
        rows, texts, scores = rows[1:], [column[1:] for column in texts], scores[1:]
    for (number, _), score, cell in zip(rows, scores, columns[-1][-len(rows) :]):
        if score is None:
            raise ValueError(f"{path}, line {number}: expected a number as score, got {cell!r:.60}")
    return Texts(texts, np.array(scores, dtype=np.float64), named)


def _rows(path: Path) -> list[tuple[int, list[Any]]]:
    """(line number, cells) of each line; of objects, the keys of the first stand before them."""
    if path.suffix == ".txt":
        return [(number, [line]) for number, line in enumerate(read_lines(path), 1)]
    if path.suffix in (".tsv", ".csv"):
        return list(table_rows(path))
    if path.suffix != ".jsonl":
        raise ValueError(f"expected {WANTED}, got a file that ends otherwise: {path}")
    rows: list[tuple[int, list[Any]]] = []
    for number, record in json_lines(path):
        keys = rows[0][1] if rows else list(record)
        if not rows and not _parts(path, keys):
            raise ValueError(
                f"{path}, line {number}: expected keys such as anchor and positive, or sentence1, "
                f"sentence2 and score, got {_short(keys)}"
            )
        rows = rows or [(number, keys)]
        values = [record.get(key) for key in keys]
        if set(record) != set(keys) or any(isinstance(v, (list, dict)) for v in values):
            raise ValueError(
                f"{path}, line {number}: expected a text or a number for each of {', '.join(keys)}"
                f", got {_short(list(record.items()))}"
            )
        rows.append((number, ["" if value is None else value for value in values]))
    return rows


def _parts(path: Path, header: Sequence[Any]) -> list[tuple[str, int]]:
    """(part, column) of those named, in order; nothing if it is a line like the others."""
    parts = [PARTS.get(re.sub(r"[\W_]", "", str(cell).lower())) for cell in header]
    named = [part for part in NAMES if part in parts]
    if named[:1] != ["text"] or not (named[1:2] == ["second text"] or all(parts)):
        return []
    if (
        max(map(parts.count, named)) > 1
        or len(named) == 4
        or named[1:2] not in ([], ["second text"])
    ):
        raise ValueError(
            f"{path}, line 1: expected names of {', '.join(NAMES)}, one column each, and a score "
            f"for two texts alone; got {_short(header)}. Call a column that is not to be read "
            "otherwise, or leave it out"
        )
    return [(part, parts.index(part)) for part in named]


def _check_columns(path: Path, columns: list[list[str]], count: int) -> None:
    """Raise ValueError for columns that look like something else than texts."""
    for number, column in enumerate(columns, 1):
        if _numbers(column):
            raise ValueError(
                f"{path}: column {number} holds numbers: expected {WANTED}, in this order or under "
                "a header"
            )
    for mark in "\t;" if path.suffix != ".txt" else "\t":
        per_line = {cell.count(mark) for cell in columns[0]}
        if count == 1 and len(columns[0]) > 1 and len(per_line) == 1 and per_line != {0}:
            raise ValueError(
                f"{path}: every line holds {mark!r}: is it a table? A .csv has commas between its "
                "columns, a .tsv has tabs"
            )
    if len(columns) == 3 and len(columns[2]) >= 20 * len(set(columns[2])):
        raise ValueError(
            f"{path}: column 3 says the same again and again, such as {columns[2][0]!r:.60}: it "
            "was expected to be a text that means something else, and looks like a label"
        )


def _numbers(column: list[str]) -> bool:
    """Whether most of the cells are written as numbers."""
    return 2 * sum(bool(NUMBER.fullmatch(cell.strip())) for cell in column) > len(column)


def read_scored(path: str | Path) -> Texts:
    """As `read_texts`, of pairs with a score. Raises ValueError for another file."""
    texts = read_texts(path)
    if texts.scores is None:
        raise ValueError(f"{path}: expected a table of two texts and a score a line, got {texts}")
    return texts


def read_pairs(path: str | Path) -> Texts:
    """As `read_texts`, of two columns. Raises ValueError for another file."""
    texts = read_texts(path)
    if len(texts.columns) != 2 or texts.scores is not None:
        raise ValueError(f"{path}: expected a table of two texts a line, got {texts}")
    return texts


def _short(values: Sequence[Any]) -> str:
    return repr(" | ".join(map(str, values))[:60])


def _number(word: str) -> float | None:
    try:
        return float(word) if math.isfinite(float(word)) else None
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
