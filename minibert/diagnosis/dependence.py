"""On which parts of its inputs does a function's result depend, and on which must it not?

No catalogue is needed: one place of one input is changed, and the right function and the
student's are asked again. What changes in one and not in the other is a fact about the mistake.
"""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from minibert.diagnosis.compare import agreeing, largest, same

NOISE = 1e-6  # a change that float32 can hold


def dependence(
    right: Callable[..., Any],
    yours: Callable[..., Any],
    cases: Sequence[Sequence[Any]],
    names: Sequence[str],
    most: int = 3,
) -> list[str]:
    """Sentences on what should not have mattered and did, or should have and did not.

    `names` are those of the arguments. Neither function may change its arguments. Nothing is said
    of numbers that the right function never reads.

    >>> def mean(x): return x.mean(dim=1)
    >>> dependence(mean, lambda x: x.mean(dim=0), [[torch.eye(2)]], ["x"])
    ['with other values in x[-1] your result changes at [0], and it must not']
    """
    sentences: dict[tuple[str, bool], str] = {}
    read: set[str] = set()
    for case in cases:
        before = right(*case), yours(*case)
        for place, argument in enumerate(case):
            name = names[place]
            for words, value in _others(name, argument):
                changed = [*case[:place], value, *case[place + 1 :]]
                try:
                    after = right(*changed), yours(*changed)
                except Exception:  # these values are no inputs for one of them
                    continue
                must, does = (_changes(*both) for both in zip(before, after, strict=True))
                if must.any() or not isinstance(argument, Tensor | dict):
                    read.add(name)
                if must.shape != does.shape:
                    continue
                if (does & ~must).any():
                    at = (does & ~must).nonzero()[0].tolist()
                    at_words = f" at {at}" if must.numel() > 1 else ""
                    told = f"{words} your result changes{at_words}, and it must not"
                    sentences.setdefault((name, True), told)
                elif must.any() and not does.any():
                    told = f"{words} your result must change, and it does not"
                    sentences.setdefault((name, False), told)
    return [told for (name, _), told in sentences.items() if name in read][:most]


def _changes(before: Any, after: Any) -> Tensor:
    """Where a result has changed, as a table of booleans."""
    if isinstance(before, Tensor) and isinstance(after, Tensor) and before.shape == after.shape:
        before, after = before.detach(), after.detach()
        return ~agreeing(before, after, NOISE * largest(before))
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return torch.tensor([not same(a, b) for a, b in zip(before, after, strict=True)])
    return torch.tensor(not same(before, after))


def _others(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Another value for an argument, several times, each with words that say what is other."""
    if isinstance(value, Tensor):
        for axis in range(value.dim()):
            if value.shape[axis] > 1:
                index = ", ".join([":"] * axis + ["-1"])
                yield f"with other values in {name}[{index}]", _other_slice(value, axis)
    elif isinstance(value, str):
        yield f"with {name} in capitals", value.upper()
        yield f"with spaces around {name}", f"  {value} "
        yield f"with the accents of {name} as characters", unicodedata.normalize("NFD", value)
    elif isinstance(value, dict):
        yield f"with {name} in another order", dict(reversed(value.items()))
        for key, inner in value.items():
            if isinstance(inner, Tensor):
                for words, other in _others(f'{name}["{key}"]', inner):
                    yield words, {**value, key: other}
    elif isinstance(value, list) and value and isinstance(value[-1], str | int):
        last = value[-1]
        other = f"{last}x" if isinstance(last, str) else last + 1
        yield f"with another {name}[-1]", [*value[:-1], other]


def _other_slice(value: Tensor, axis: int) -> Tensor:
    """The last slice along an axis with other numbers: whole ones stay within their range."""
    other = value.detach().clone()
    part = other.select(axis, -1)
    if value.is_floating_point():
        part.copy_(0.7 - 2 * part + 0.1 * torch.arange(part.numel()).view(part.shape))
    else:
        part.copy_(value.min() + value.max() - part)
    return other.requires_grad_(value.requires_grad)
