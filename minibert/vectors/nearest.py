"""Vectors at work: those of one word in its text, cosines, and the nearest of many."""

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class TokenVectors(NamedTuple):
    """All tokens of one text: names, places (start, end) in the text, vectors (T, H) float32.

    [CLS] and [SEP] are among them, at (0, 0).
    """

    tokens: list[str]
    offsets: list[tuple[int, int]]
    vectors: np.ndarray


def span_vectors(tokens: TokenVectors, spans: Iterable[tuple[int, int]]) -> np.ndarray:
    """The mean of the pieces that touch each span (start, end) of characters: (n, H).

    >>> tokens = TokenVectors(["[CLS]", "ri", "##ver"], [(0, 0), (0, 2), (2, 5)],
    ...                       np.array([[9.0], [1.0], [3.0]]))
    >>> span_vectors(tokens, [(0, 5), (3, 4)]).tolist()
    [[2.0], [3.0]]
    """
    rows = []
    for start, end in spans:
        inside = [i for i, (a, b) in enumerate(tokens.offsets) if a < end and b > start]
        if not inside:
            raise ValueError(
                f"no piece of the text lies in the characters {start}..{end}: the span is empty, "
                f"blank, or beyond where the text was cut"
            )
        rows.append(tokens.vectors[inside].mean(axis=0))
    return np.stack(rows) if rows else np.empty((0, tokens.vectors.shape[1]), np.float32)


def spans_of(text: str, word: str) -> list[tuple[int, int]]:
    """Where a word stands in a text, as a word of its own.

    >>> spans_of("The bank, not the banker: bank.", "bank")
    [(4, 8), (26, 30)]
    """
    found = re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", text)
    return [match.span() for match in found if word]


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine of every row of one array with every row of another, (n, m).

    >>> cosines(np.array([[1.0, 0.0]]), np.array([[2.0, 0.0], [1.0, 1.0]])).round(4).tolist()
    [[1.0, 0.7071]]
    """

    def unit(rows: np.ndarray) -> np.ndarray:
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    return unit(first) @ unit(second).T


class Neighbour(NamedTuple):
    """A row of the vectors searched, and its cosine with the query."""

    row: int
    cosine: float


def nearest(
    queries: np.ndarray, vectors: np.ndarray, top: int = 5, block: int = 65536
) -> list[list[Neighbour]]:
    """For each query (n, H) the `top` nearest rows of `vectors` (N, H), best first.

    `vectors` may be memory-mapped, np.load(path, mmap_mode="r"): it is read a block at a time.

    >>> nearest(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0], [1.0, 1.0]]), top=1)[0][0].row
    1
    """
    if queries.ndim != 2 or vectors.ndim != 2 or queries.shape[1] != vectors.shape[1]:
        raise ValueError(
            f"expected vectors of one width, got {queries.shape} and {vectors.shape}: were they "
            f"made with the same model, layers and pooling?"
        )
    if top < 1:
        raise ValueError(f"top must be 1 or more, got {top}")
    best = np.empty((len(queries), 0))
    rows = np.empty((len(queries), 0), dtype=np.int64)
    for start in range(0, len(vectors), block):
        found = cosines(queries, np.asarray(vectors[start : start + block], dtype=np.float32))
        numbers = np.arange(start, start + found.shape[1])
        best = np.concatenate([best, found], axis=1)
        rows = np.concatenate([rows, np.broadcast_to(numbers, found.shape)], axis=1)
        order = np.argsort(-best, axis=1, kind="stable")[:, :top]
        best = np.take_along_axis(best, order, axis=1)
        rows = np.take_along_axis(rows, order, axis=1)
    return [
        [Neighbour(int(row), float(cosine)) for row, cosine in zip(*pair)]
        for pair in zip(rows, best)
    ]
