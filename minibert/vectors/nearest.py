"""How alike vectors are, and the nearest of many."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np


def unit(rows: np.ndarray) -> np.ndarray:
    """The rows (N, W), each of length 1; one of zeros stays."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine of every row of one array with every row of another, (n, m).

    >>> cosines(np.array([[1.0, 0.0]]), np.array([[2.0, 0.0], [1.0, 1.0]])).round(4).tolist()
    [[1.0, 0.7071]]
    """
    return unit(first) @ unit(second).T


def _distances(first: np.ndarray, second: np.ndarray, order: int) -> np.ndarray:
    rows = [np.linalg.norm(second - row, ord=order, axis=1) for row in first]
    return np.stack(rows) if rows else np.empty((0, len(second)))


# What a model may have been trained for; a distance counts negatively, so that more is nearer.
SIMILARITIES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "cosine": cosines,
    "dot": lambda first, second: first @ second.T,
    "euclidean": lambda first, second: -_distances(first, second, 2),
    "manhattan": lambda first, second: -_distances(first, second, 1),
}


def similarities(name: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The function of that name. Raises ValueError for an unknown one."""
    if name not in SIMILARITIES:
        raise ValueError(f"similarity must be one of {', '.join(SIMILARITIES)}, got {name!r}")
    return SIMILARITIES[name]


def open_vectors(path: str | Path) -> np.ndarray:
    """The rows (N, W) of a .npy file, mapped into memory: what is not read takes no room.

    Raises FileNotFoundError; ValueError for a file that is none, or holds no rows of numbers.
    """
    try:
        vectors = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist: minibert embed makes one") from None
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is not a .npy file: {error}") from None
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise ValueError(
            f"{path}: expected rows of numbers (N, W), got {vectors.dtype} {vectors.shape}"
        )
    return vectors


class Neighbour(NamedTuple):
    """A row of the vectors searched, and how alike it and the query are."""

    row: int
    score: float

    @property
    def cosine(self) -> float:
        """The score, by the name of the usual one."""
        return self.score


def nearest(
    queries: np.ndarray,
    vectors: np.ndarray,
    top: int = 5,
    block: int = 65536,
    similarity: str = "cosine",
) -> list[list[Neighbour]]:
    """For each query (n, H) the `top` nearest rows of `vectors` (N, H), best first.

    `vectors` may be memory-mapped, np.load(path, mmap_mode="r"): it is read a block at a time. A
    million rows of 256 numbers in float16 take 120 MB so, beside the pages of the file that the
    system keeps while it has room.
    `similarity` is a name of `SIMILARITIES`. Raises ValueError for vectors of different widths.

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
    compare = similarities(similarity)
    best = np.empty((len(queries), 0))
    rows = np.empty((len(queries), 0), dtype=np.int64)
    for start in range(0, len(vectors), block):
        rows_here = np.asarray(vectors[start : start + block], dtype=np.float32)
        scores = compare(queries, rows_here)
        numbers = np.arange(start, start + scores.shape[1])
        best = np.concatenate([best, scores], axis=1)
        rows = np.concatenate([rows, np.broadcast_to(numbers, scores.shape)], axis=1)
        order = np.argsort(-best, axis=1, kind="stable")[:, :top]
        best = np.take_along_axis(best, order, axis=1)
        rows = np.take_along_axis(rows, order, axis=1)
    return [
        [Neighbour(int(row), float(score)) for row, score in zip(*pair)] for pair in zip(rows, best)
    ]
