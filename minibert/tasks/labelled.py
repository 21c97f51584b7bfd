"""Labelled texts: read from a table, and put into batches of like lengths.

Source: the tables of GLUE (Wang et al. 2018), of which SST-2, CoLA, MRPC, MNLI and STS-B are some.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minibert.system.lines import read_lines

CHUNK = 50  # batches whose texts are sorted by length together
PAIR = "|||"  # between the two texts of a pair in a file of lines, as in Google's extract_features


class Labelled(NamedTuple):
    """N texts, or pairs of texts, with their labels.

    texts    a text or a pair (first, second) each
    labels   (N,) class numbers, 0 to C - 1; of several labels (N, C) of 0 and 1; of numbers (N,)
             floats; None where they are not known
    classes  the class with number c is called classes[c]; of numbers the one name "score"
    """

    texts: list[Any]
    labels: Any
    classes: list[str]


def read_labelled(
    path: str | Path,
    classes: Sequence[str] | None = None,
    *,
    columns: Sequence[str] = (),
    kind: str = "single_label_classification",
) -> Labelled:
    """A table of labels with texts or pairs: .tsv (tabs, no quotes), .csv, or .jsonl.

    The header calls the label's column "label", and every other column is a text: one, or two of a
    pair, in any order, as in GLUE's own files. Lines of JSON are objects {"label", "text"} and
    perhaps {"text_pair"}.

    classes  the names that labels may have; None: all that occur, numbers in order of size
    columns  label, text, and perhaps the second text: names in the header, or numbers from 1 of a
             table that has no header, as CoLA's and STS-B's
    kind     "single_label_classification"; "multi_label_classification", several labels with commas
             between, or a list of them; "regression", a number

    Raises FileNotFoundError, or ValueError with the line that is not as expected.
    """
    path = Path(path)
    examples: list[tuple[int, Any, str | tuple[str, str]]] = []
    for number, values in _records(path, columns):
        label, *texts = values
        if not 1 <= len(texts) <= 2 or not all(isinstance(t, str) and t.strip() for t in texts):
            raise ValueError(
                f"{path}, line {number}: expected a label and one text or two, none of them empty, "
                f"got {_short(values)}"
            )
        text = texts[0] if len(texts) == 1 else (texts[0], texts[1])
        examples.append((number, _label(path, number, label, kind), text))
    if not examples:
        raise ValueError(f"{path}: expected labels and texts; there is nothing after the header")
    texts = [text for _, _, text in examples]
    if kind == "regression":
        return Labelled(texts, np.array([label for _, label, _ in examples]), ["score"])
    present = {name for _, names, _ in examples for name in names}
    names = list(classes) if classes is not None else sort_classes(present)
    numbers = {name: number for number, name in enumerate(names)}
    for number, own, _ in examples:
        for name in own:
            if name not in numbers:
                raise ValueError(
                    f"{path}, line {number}: expected one of the labels {', '.join(names)}, got "
                    f"{name!r}"
                )
    if kind == "single_label_classification":
        labels = np.array([numbers[own[0]] for _, own, _ in examples])
        return Labelled(texts, labels, names)
    table = np.zeros((len(examples), len(names)), np.float32)
    for row, (_, own, _) in enumerate(examples):
        table[row, [numbers[name] for name in own]] = 1
    return Labelled(texts, table, names)


def _short(values: Sequence[Any]) -> str:
    return repr(" | ".join(str(value) for value in values)[:60])


def _label(path: Path, number: int, label: Any, kind: str) -> Any:
    """The names of a label, or its number."""
    if kind == "regression":
        try:
            value = float(label)
            if np.isfinite(value):
                return value
        except (TypeError, ValueError):
            pass
        raise ValueError(f"{path}, line {number}: expected a number as label, got {label!r:.60}")
    if kind == "multi_label_classification":
        own = label if isinstance(label, list) else str(label).split(",")
        return [str(name).strip() for name in own if str(name).strip()]
    if isinstance(label, (list, dict)) or label is None or not str(label).strip():
        raise ValueError(f"{path}, line {number}: expected one label, got {label!r:.60}")
    return [str(label)]


def _records(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
    """(line number, [label, text, perhaps a second text]) for each example of a file."""
    if path.suffix in (".jsonl", ".json"):
        wanted = list(columns) or ["label", "text", "text_pair"]
        for number, record in json_lines(path):
            lacking = [name for name in wanted[:2] if name not in record]
            if lacking:
                raise ValueError(
                    f"{path}, line {number}: expected an object with {' and '.join(wanted[:2])}, "
                    f"got {', '.join(record)!r:.60}"
                )
            yield number, [record[name] for name in wanted if name in record]
        return
    rows = table_rows(path)
    places: list[int] = []
    if columns and all(name.isdecimal() for name in columns):
        places = [int(name) - 1 for name in columns]
        width = 0
    else:
        _, header = next(rows, (1, []))
        places, width = _places(path, header, columns), len(header)
    for number, row in rows:
        if (width and len(row) != width) or len(row) <= max(places):
            wanted_width = width or f"{max(places) + 1} or more"
            raise ValueError(
                f"{path}, line {number}: expected {wanted_width} columns, got {len(row)}: "
                f"{_short(row)}"
            )
        yield number, [row[place] for place in places]


def _places(path: Path, header: list[str], columns: Sequence[str]) -> list[int]:
    if columns:
        lacking = [name for name in columns if name not in header]
        if lacking:
            raise ValueError(
                f"{path}, line 1: expected a column {lacking[0]!r}, got the columns "
                f"{', '.join(header)[:100]!r}"
            )
        return [header.index(name) for name in columns]
    if not 2 <= len(header) <= 3 or "label" not in header:
        raise ValueError(
            f"{path}, line 1: expected the names of two columns, one of them 'label' (or of three, "
            f"for pairs), got {_short(header)}. Of another table say which they are, by name, "
            "or by number from 1 if it has no header: --columns 2,4 (columns=[...])"
        )
    label = header.index("label")
    return [label, *(place for place in range(len(header)) if place != label)]


def table_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of a .csv file, or of one with tabs. Raises FileNotFoundError."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: expected a table, .tsv, .csv or .jsonl")
    lines = read_lines(path)
    if path.suffix != ".csv":
        yield from ((number, line.split("\t")) for number, line in enumerate(lines, 1))
        return
    reader = csv.reader((f"{line}\n" for line in lines), strict=True)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {reader.line_num}: {error}: expected commas, and quotes around cells "
            "that hold some"
        ) from None


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of a file of one JSON object a line. Raises ValueError."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: expected one JSON object a line")
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {number}: expected a JSON object, {error}") from None
        if not isinstance(record, dict):
            raise ValueError(f"{path}, line {number}: expected a JSON object, got {line[:60]!r}")
        yield number, record


def split_pair(line: str) -> str | tuple[str, str]:
    """`a ||| b` -> the pair; a line without it is one text.

    >>> split_pair("Who came? ||| Anna came."), split_pair("Anna came.")
    (('Who came?', 'Anna came.'), 'Anna came.')
    """
    first, mark, second = line.partition(PAIR)
    return (first.strip(), second.strip()) if mark else line


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
