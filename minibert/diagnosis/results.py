"""What a function gave beside what it must give: its form, its numbers, and words for both."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minibert.core.config import BertConfig
from minibert.diagnosis.compare import agreeing, largest, same
from minibert.diagnosis.relations import relations, sizes_of, where
from minibert.diagnosis.subject import Subject
from minibert.diagnosis.traces import Place
from minibert.trace import HIDDEN


def parts(value: Any, names: Sequence[str] = ()) -> dict[str, Any]:
    """A result by its parts: the elements of a tuple or dict, or the value itself."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        known = [*names, *(f"result {place}" for place in range(len(names) + 1, len(value) + 1))]
        return dict(zip(known, value, strict=False))
    return {"": value}


def form(right: Any, result: Any, subject: Subject) -> str:
    """What is wrong with type, shape or dtype; "" if nothing is."""
    if type(right) is not type(result) and not (
        isinstance(right, Tensor) and isinstance(result, Tensor)
    ):
        return f"expected {_kind(right)}, got {_kind(result)}"
    a, b = parts(right, subject.returns), parts(result, subject.returns)
    if list(a) != list(b):
        return f"expected {len(a)} results, got {len(b)}"
    for name in a:
        one, other, words = a[name], b[name], f"{name}: " if name else ""
        if isinstance(one, Tensor):
            if not isinstance(other, Tensor):
                return f"{words}expected a tensor, got {_kind(other)}"
            if one.shape != other.shape:
                return f"{words}expected shape {tuple(one.shape)}, got {tuple(other.shape)}"
            if one.is_floating_point() != other.is_floating_point():
                return f"{words}expected {one.dtype}, got {other.dtype}"
            if other.isnan().any() or (other.isinf().any() and not subject.hides):
                return f"{words}there are NaN or infinite numbers in it"
        elif type(one) is not type(other):
            return f"{words}expected {_kind(one)}, got {_kind(other)}"
    return ""


def _kind(value: Any) -> str:
    names: dict[type, str] = {
        Tensor: "a tensor",
        np.ndarray: "a numpy array",
        list: "a list",
        tuple: "a tuple",
        str: "a string",
    }
    if value is None:
        return "nothing (None)"
    known = next((words for kind, words in names.items() if isinstance(value, kind)), None)
    return known or f"a {type(value).__name__}"


def match(subject: Subject, one: Sequence[Any], other: Sequence[Any], tolerance: float) -> bool:
    """True if the results of all cases are the same."""
    return all(_alike(subject, *both, tolerance) for both in zip(one, other, strict=True))


def _alike(subject: Subject, right: Any, result: Any, tolerance: float) -> bool:
    a, b = parts(right), parts(result)
    outlines = list(map(_outline, a.values())) == list(map(_outline, b.values()))
    return list(a) == list(b) and outlines and not any(_differing(subject, a, b, tolerance))


def _outline(value: Any) -> Any:
    return value.shape if isinstance(value, Tensor) else type(value)


def _differing(
    subject: Subject, right: Mapping[str, Any], result: Mapping[str, Any], tolerance: float
) -> Iterator[tuple[str, Any, Any, Tensor | None]]:
    """The parts of two results of one form that differ: name, both, and of tensors where.

    Numbers agree to `tolerance` in units of the largest where that is above 1.
    """
    for name, one in right.items():
        other = result[name]
        if isinstance(one, Tensor):
            one, other = (_settled(each, subject.hides) for each in (one, other))
            wrong = ~agreeing(one, other, tolerance * largest(one))
            if wrong.any():
                yield name, one, other, wrong
        elif not same(one, other):
            yield name, one, other, None


def _settled(tensor: Tensor, hides: bool) -> Tensor:
    tensor = tensor.detach().double()
    return tensor.clamp(min=HIDDEN).masked_fill(tensor < HIDDEN, HIDDEN) if hides else tensor


def difference(
    right: Any, result: Any, subject: Subject, config: BertConfig, tolerance: float
) -> tuple[str, list[str]]:
    """Where the first part differs, in words, and how it is related to the right one; "" if none
    does."""
    a, b = parts(right, subject.returns), parts(result, subject.returns)
    for name, one, other, wrong in _differing(subject, a, b, tolerance):
        words = f"{name}, " if name else ""
        if wrong is None:
            return f"{words}expected {one!r}, got {other!r}", _parting(one, other)
        place = Place(subject.name, one, other, wrong, torch.ones_like(wrong))
        if one.numel() <= 3:
            words += f"expected {one.tolist()}, got {other.tolist()}; "
        related = relations(place, {}, sizes_of(config, 7), max(1e-7, tolerance))
        return f"{words}{where(place)}", related
    return "", []


def _parting(one: Any, other: Any) -> list[str]:
    if isinstance(one, list) and isinstance(other, list):
        pairs = itertools.zip_longest(one, other, fillvalue="nothing")
        for place, (a, b) in enumerate(pairs):
            if not same(a, b):
                return [f"they part at place {place}: expected {a!r}, got {b!r}"]
    return []
