"""Labelled texts: read from a table, and put into batches of like lengths.

Source: the tables of GLUE (Wang et al. 2018), of which SST-2 is one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minibert.system.lines import read_lines

CHUNK = 50  # batches whose texts are sorted by length together


class Labelled(NamedTuple):
    """N texts with their labels, 0 to C - 1; the class with number c is called classes[c]."""

    texts: list[str]
    labels: np.ndarray
    classes: list[str]


def read_labelled(path: str | Path, classes: Sequence[str] | None = None) -> Labelled:
    """A .tsv file of two columns, labels and texts; its header line calls the first "label".

    The columns may stand in either order, as in GLUE's own files.

    classes  the names that labels may have; None: all that occur, numbers in order of size

    Raises FileNotFoundError, or ValueError with the line that is not as expected.
    """
    wanted = "two columns with a tab between, a label and a text"
    try:
        lines = list(read_lines(path))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist: give a table, {wanted}") from None
    header, *rows = [line.split("\t") for line in lines] or [[]]
    if len(header) != 2 or "label" not in header:
        raise ValueError(
            f"{path}, line 1: expected the names of two columns, one of them 'label', got "
            f"{' | '.join(header)[:60]!r}"
        )
    if not rows:
        raise ValueError(f"{path}: expected {wanted}; there is nothing after the header")
    place = header.index("label")
    for number, row in enumerate(rows, 2):
        if len(row) != 2 or not all(part.strip() for part in row):
            raise ValueError(
                f"{path}, line {number}: expected {wanted}, got {' | '.join(row)[:60]!r}"
            )
    names = list(classes) if classes is not None else sort_classes({row[place] for row in rows})
    numbers = {name: number for number, name in enumerate(names)}
    for number, row in enumerate(rows, 2):
        if row[place] not in numbers:
            raise ValueError(
                f"{path}, line {number}: expected one of the labels {', '.join(names)}, got "
                f"{row[place]!r}"
            )
    labels = np.array([numbers[row[place]] for row in rows])
    return Labelled([row[1 - place] for row in rows], labels, names)


def sort_classes(names: set[str]) -> list[str]:
    """Whole numbers by size, all else by the alphabet.

    >>> sort_classes({"10", "9"}), sort_classes({"good", "bad"})
    (['9', '10'], ['bad', 'good'])
    """
    return sorted(names, key=int if all(name.isdecimal() for name in names) else str)


def batches_by_length(
    lengths: Sequence[int], size: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """All numbers 0 to N - 1 in batches of `size`, random, and with little padding.

    Sorting all texts by length would always put the same ones together. So a random order is cut
    into chunks of 50 batches, each chunk is sorted, and its batches come in random order.
    """
    order = rng.permutation(len(lengths))
    widths = np.asarray(lengths)
    batches = []
    for start in range(0, len(order), CHUNK * size):
        chunk = order[start : start + CHUNK * size]
        chunk = chunk[np.argsort(widths[chunk], kind="stable")]
        batches += [chunk[at : at + size] for at in range(0, len(chunk), size)]
    return [batches[number] for number in rng.permutation(len(batches))]
