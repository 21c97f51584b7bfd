"""Cosines, and the nearest of many vectors."""

from typing import NamedTuple

import numpy as np


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
        scores = cosines(queries, np.asarray(vectors[start : start + block], dtype=np.float32))
        numbers = np.arange(start, start + scores.shape[1])
        best = np.concatenate([best, scores], axis=1)
        rows = np.concatenate([rows, np.broadcast_to(numbers, scores.shape)], axis=1)
        order = np.argsort(-best, axis=1, kind="stable")[:, :top]
        best = np.take_along_axis(best, order, axis=1)
        rows = np.take_along_axis(rows, order, axis=1)
    return [
        [Neighbour(int(row), float(cosine)) for row, cosine in zip(*pair)]
        for pair in zip(rows, best)
    ]
