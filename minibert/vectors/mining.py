"""What one does with many vectors: find pairs that are alike, and groups; store them small.

Source: the functions of sentence-transformers' `util`, whose results these are.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np

from minibert.vectors.nearest import cosines, nearest


class Pair(NamedTuple):
    """Two rows that are alike, first < second, and their cosine."""

    score: float
    first: int
    second: int


def paraphrase_mining(vectors: np.ndarray, top: int = 100, max_pairs: int = 500_000) -> list[Pair]:
    """The pairs of rows with the highest cosines, best first; of each row its `top` nearest.

    >>> paraphrase_mining(np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]]), top=1)[0]
    Pair(score=1.0, first=0, second=2)
    """
    pairs: dict[tuple[int, int], float] = {}
    for start in range(0, len(vectors), 4096):
        queries = np.asarray(vectors[start : start + 4096], dtype=np.float32)
        for row, answers in enumerate(nearest(queries, vectors, top + 1), start):
            for other, score in [answer for answer in answers if answer.row != row][:top]:
                pairs.setdefault((min(row, other), max(row, other)), score)
    best = heapq.nlargest(max_pairs, pairs.items(), key=lambda item: item[1])
    return [Pair(score, *rows) for rows, score in best]


def communities(
    vectors: np.ndarray, threshold: float = 0.75, min_size: int = 10
) -> list[list[int]]:
    """Groups of rows around one of them, which comes first: all whose cosine with it is at least
    `threshold`, the largest group first. A row is in one group or in none.

    >>> communities(np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.1]]), min_size=2)
    [[0, 2]]
    """
    groups: list[tuple[int, np.ndarray]] = []
    for start in range(0, len(vectors), 1024):
        for row, scores in enumerate(cosines(vectors[start : start + 1024], vectors), start):
            members = np.flatnonzero(scores >= threshold)
            if len(members) >= min_size:
                groups.append((row, members[np.argsort(-scores[members], kind="stable")]))
    free = np.ones(len(vectors), dtype=bool)
    results = []
    for centre, members in sorted(groups, key=lambda group: len(group[1]), reverse=True):
        members = members[free[members]]
        if free[centre] and len(members) >= min_size:
            results.append([centre, *members[members != centre].tolist()])
            free[results[-1]] = False
    return sorted(results, key=len, reverse=True)


def value_ranges(vectors: np.ndarray) -> np.ndarray:
    """The smallest and the largest value of each column, (2, W), for `as_int8`."""
    return np.stack([vectors.min(axis=0), vectors.max(axis=0)])


def as_int8(vectors: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """(N, W) -> (N, W) int8, a quarter of the room: 256 equal steps between a column's `ranges`."""
    starts = ranges[0].astype(np.float32)
    steps = (ranges[1].astype(np.float32) - starts) / 255
    steps = np.where(steps == 0, 1, steps)
    return (np.clip(np.floor((vectors - starts) / steps), 0, 255) - 128).astype(np.int8)


def as_bits(vectors: np.ndarray) -> np.ndarray:
    """(N, W) -> (N, W / 8) uint8, a thirty-second of the room: which values are above 0."""
    return np.packbits(vectors > 0, axis=-1)


def nearest_bits(
    queries: np.ndarray, bits: np.ndarray, top: int = 10, rescore: int = 2
) -> list[list[tuple[int, float]]]:
    """For each query (n, W) the `top` rows of `as_bits` (N, W / 8), best first, with their scores.

    `rescore` times as many are found by the bits in which they differ, and put in order by the
    product of the query as it is with the bits.
    """
    differences = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)
    results = []
    for query, own in zip(queries, as_bits(queries)):
        distance = differences[bits ^ own].sum(axis=1)
        rows = np.argsort(distance, kind="stable")[: top * rescore]
        scores = np.unpackbits(bits[rows], axis=1)[:, : len(query)] @ query
        order = np.argsort(-scores, kind="stable")[:top]
        results.append([(int(rows[i]), float(scores[i])) for i in order])
    return results
