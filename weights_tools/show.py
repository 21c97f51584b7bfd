"""What is in a weight file? And are these two files the same weights?

`show` lists every tensor with its place in the model and a few statistics; `diff` compares
two files tensor by tensor, whatever each of them calls its tensors and whichever way round it
stores its matrices.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from weights_tools.errors import MissingShardError
from weights_tools.files.reading import (
    StoredTensor,
    WeightFiles,
    by_key,
    iterate_numbers,
    open_weights,
)
from weights_tools.names import our_name_of, part_of
from weights_tools.tensorflow.checkpoint import DTYPES


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Mean, standard deviation and largest absolute value of a tensor; NaNs are counted apart."""

    mean: float
    std: float
    largest: float
    nans: int = 0


@dataclasses.dataclass(frozen=True)
class TensorRow:
    """One line of the listing. `part` is "ignored: why" for what is not the model's."""

    name: str
    our_name: str | None
    part: str
    shape: tuple[int, ...]
    dtype: str
    size: int
    statistics: Statistics | None


@dataclasses.dataclass(frozen=True)
class Listing:
    """Everything `show` says about a file or folder."""

    kind: str
    files: tuple[str, ...]
    rows: tuple[TensorRow, ...]
    notes: tuple[str, ...]

    @property
    def totals(self) -> dict[str, int]:
        """How many numbers each part of the model has, blocks taken together, then the sums."""
        totals: dict[str, int] = {}
        for row in self.rows:
            part = "blocks" if row.part.startswith("block ") else row.part.split(":")[0]
            totals[part] = totals.get(part, 0) + row.size
        parts = ["embeddings", "blocks", "pooler"]
        if "distances" in totals:  # DeBERTa's
            parts.insert(1, "distances")
        encoder = sum(totals.get(part, 0) for part in parts)
        return {**totals, f"encoder ({', '.join(parts)})": encoder}

    def to_dict(self) -> dict[str, Any]:
        """The same, for `--json`."""
        return {**dataclasses.asdict(self), "totals": self.totals}

    def __str__(self) -> str:
        listed = [row for row in self.rows if not row.part.startswith("ignored")]
        width = max([len(row.name) for row in listed], default=6)
        shapes = ["x".join(map(str, row.shape)) or "scalar" for row in listed]
        lines = [f"{', '.join(self.files)}: {self.kind}, {len(self.rows)} tensors", ""]
        lines.append(
            f"{'tensor':<{width}}  {'shape':>12}  {'dtype':<8}  {'mean':>9}  {'std':>9}  "
            f"{'largest':>9}  part, minibert's name"
        )
        for row, shape in zip(listed, shapes, strict=True):
            numbers = f"{'-':>9}  {'-':>9}  {'-':>9}"
            if row.statistics is not None:
                s = row.statistics
                numbers = f"{s.mean:>9.2g}  {s.std:>9.2g}  {s.largest:>9.3g}"
                numbers += f"  {s.nans} NaN!" if s.nans else ""
            lines.append(
                f"{row.name:<{width}}  {shape:>12}  {row.dtype:<8}  {numbers}  "
                f"{row.part}{', ' + row.our_name if row.our_name else ''}"
            )
        left_out = [row.part for row in self.rows if row.part.startswith("ignored")]
        for part in dict.fromkeys(left_out):
            count = left_out.count(part)
            lines.append(f"{count} {'tensor' if count == 1 else 'tensors'} {part}")
        lines.append("")
        lines += [f"{count:>13,}  {part}" for part, count in self.totals.items()]
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)


def show(source: str | Path, *, progress: bool = False) -> Listing:
    """List the tensors of a file, a set of files, a TensorFlow checkpoint or a folder.

    Every tensor of a TensorFlow checkpoint is checked against its checksum on the way. Where the
    data file is absent the index alone is listed, without statistics, and a note says so.
    Raises FileNotFoundError or a `WeightsError`.
    """
    weights = open_weights(source)
    notes = []
    rows = []
    statistics_possible = True
    for tensor in tqdm(weights.tensors.values(), desc="reading", disable=not progress):
        numbers = None
        if statistics_possible and tensor.dtype in DTYPES.values():
            try:
                numbers = statistics(tensor.read())
            except MissingShardError as error:
                statistics_possible = False
                notes.append(f"no statistics, names and shapes only: {error}")
        rows.append(_row(tensor, numbers))
    if unknown := [row.name for row in rows if row.part == "unknown"]:
        notes.append(f"{len(unknown)} names that are not BERT's, such as {unknown[0]}")
    return Listing(
        weights.kind, tuple(file.name for file in weights.files), tuple(rows), tuple(notes)
    )


def statistics(array: np.ndarray) -> Statistics:
    """Mean, standard deviation and largest value, in float64, without a second copy.

    >>> statistics(np.array([1.0, 2.0, 3.0, -6.0]))
    Statistics(mean=0.0, std=3.5355339059327378, largest=6.0, nans=0)
    """
    count, total, squares, largest, nans = 0, 0.0, 0.0, 0.0, 0
    for numbers in iterate_numbers(array):
        bad = np.isnan(numbers)
        nans += int(bad.sum())
        numbers = numbers[~bad]
        count += numbers.size
        total += float(numbers.sum())
        largest = max(largest, float(np.abs(numbers).max(initial=0.0)))
    mean = total / count if count else 0.0
    if math.isfinite(mean):
        for numbers in iterate_numbers(array):
            squares += float(np.nansum((numbers - mean) ** 2))
    return Statistics(mean, math.sqrt(squares / count) if count else 0.0, largest, nans)


def _row(tensor: StoredTensor, numbers: Statistics | None) -> TensorRow:
    key, ignored = tensor.meaning.key, tensor.meaning.ignored
    if key is not None:
        our_name, part = our_name_of(key), part_of(key)
    else:
        our_name, part = None, f"ignored: {ignored}" if ignored else "unknown"
    return TensorRow(tensor.name, our_name, part, tensor.shape, tensor.dtype, tensor.size, numbers)


@dataclasses.dataclass(frozen=True)
class Pair:
    """One tensor in both files, or in one of them.

    `status`: "equal", "equal, transposed", "differs", "shapes differ", "only in first" or
    "only in second". `largest` is the largest absolute difference, where there is one.
    """

    first: str | None
    second: str | None
    status: str
    largest: float | None = None


@dataclasses.dataclass(frozen=True)
class Difference:
    """The result of comparing two files."""

    pairs: tuple[Pair, ...]

    @property
    def same(self) -> bool:
        """Whether both hold the same weights, under renaming and transposition."""
        return bool(self.pairs) and all(pair.status.startswith("equal") for pair in self.pairs)

    def to_dict(self) -> dict[str, Any]:
        """The same, for `--json`."""
        return {"same": self.same, "pairs": [dataclasses.asdict(pair) for pair in self.pairs]}

    def __str__(self) -> str:
        lines = []
        for pair in self.pairs:
            if pair.status == "equal" and pair.first == pair.second:
                continue
            names = " = ".join(dict.fromkeys(name for name in (pair.first, pair.second) if name))
            size = "" if pair.largest is None else f" by up to {pair.largest:.3g}"
            lines.append(f"{pair.status}{size}: {names}")
        equal = sum(pair.status.startswith("equal") for pair in self.pairs)
        verdict = "the same weights" if self.same else "NOT the same weights"
        lines.append(f"{verdict}: {equal} of {len(self.pairs)} tensors equal")
        return "\n".join(lines)


def diff(first: str | Path, second: str | Path, *, progress: bool = False) -> Difference:
    """Compare two files tensor by tensor: are these the same weights?

    Tensors are paired by what their names mean, so that a TensorFlow checkpoint can be compared
    with a safetensors file. Those whose names nobody knows are paired by their content. What is
    ignored in both (optimizer slots, tied copies) is not compared.
    """
    left, right = _by_meaning(open_weights(first)), _by_meaning(open_weights(second))
    pairs = []
    for key in tqdm([key for key in left if key in right], desc="comparing", disable=not progress):
        pairs.append(_compare(left.pop(key), right.pop(key)))
    pairs += _pair_by_content(left, right)
    pairs += [Pair(tensor.name, None, "only in first") for tensor in left.values()]
    pairs += [Pair(None, tensor.name, "only in second") for tensor in right.values()]
    return Difference(tuple(pairs))


def _by_meaning(weights: WeightFiles) -> dict[str, StoredTensor]:
    keys, _, unknown = by_key(weights)
    return {**keys, **{name: weights.tensors[name] for name in unknown}}


def _compare(first: StoredTensor, second: StoredTensor) -> Pair:
    a, b = first.read_as_pytorch(), second.read_as_pytorch()
    if sorted(a.shape) != sorted(b.shape):
        return Pair(first.name, second.name, "shapes differ")
    if a.shape == b.shape and _equal(a, b):
        return Pair(first.name, second.name, "equal")
    if a.ndim == 2 and a.shape == b.T.shape and _equal(a, b.T):
        return Pair(first.name, second.name, "equal, transposed")
    if a.shape != b.shape:
        return Pair(first.name, second.name, "shapes differ")
    order: Any = "C" if a.flags.c_contiguous else "F"
    pieces = zip(iterate_numbers(a), iterate_numbers(np.asarray(b, order=order)), strict=True)
    with np.errstate(invalid="ignore"):
        largest = max((float(np.abs(x - y).max()) for x, y in pieces), default=0.0)
    return Pair(first.name, second.name, "differs", largest)


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal number by number; NaN equals NaN, for files are compared, not computations."""
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f")


def _pair_by_content(left: dict[str, StoredTensor], right: dict[str, StoredTensor]) -> list[Pair]:
    """Pair what is left by its numbers; those that are paired are taken out of both."""
    pairs = []
    candidates: dict[tuple[Any, ...], list[str]] = {}
    for name, tensor in right.items():
        candidates.setdefault(_fingerprint(tensor), []).append(name)
    for name, tensor in list(left.items()):
        for other in candidates.get(_fingerprint(tensor), []):
            if other in right:
                pair = _compare(tensor, right[other])
                if pair.status.startswith("equal"):
                    pairs.append(pair)
                    del left[name], right[other]
                    break
    return pairs


def _fingerprint(tensor: StoredTensor) -> tuple[Any, ...]:
    """Equal for equal tensors, transposed or not, and seldom for others."""
    array = tensor.read()
    ends = (array.min().item(), array.max().item()) if array.size else ()
    return tuple(sorted(tensor.shape)), tensor.size, *ends
