"""A function that has a right form and known wrong ones, and what it is called with."""

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from minibert.core.heads import BertForPreTraining
from minibert.diagnosis.catalogue.mistake import Mistake, Variant, patched

Case = Sequence[Any]  # the arguments of one call


@dataclasses.dataclass(frozen=True)
class Subject:
    """One function to be checked.

    name      the function's name
    cases     what it is called with: a name, and the arguments; the smallest come first
    answer    answer(model, *arguments) is the right result, taken from the reference; with
              mistakes in the model, a wrong one. For a function without a model, `model` is unused
    prepare   called with (model, *arguments) before mistakes are put into the model
    mistakes  the known mistakes that may be looked for
    hides     true if the result holds scores so negative that their size says nothing
    backward  false if a backward pass makes no sense
    returns   the names of the results, if there are several
    """

    name: str
    cases: Mapping[str, Case]
    answer: Callable[..., Any]
    mistakes: Sequence[Mistake]
    prepare: Callable[..., None] | None = None
    hides: bool = False
    backward: bool = True
    returns: Sequence[str] = ()

    def __post_init__(self) -> None:
        smallest_first = sorted(self.cases.items(), key=lambda case: _size(case[1]))
        object.__setattr__(self, "cases", dict(smallest_first))

    def results(self, model: BertForPreTraining, mistakes: Sequence[Mistake] = ()) -> list[Any]:
        """The right results of all cases, or those with these mistakes."""
        return [self.result(model, case, mistakes) for case in self.cases.values()]

    def result(self, model: BertForPreTraining, case: Case, mistakes: Sequence[Mistake]) -> Any:
        """The right result of one case, or that with these mistakes."""
        arguments = copy.deepcopy(list(case))
        with torch.no_grad():
            if any(each.kind == "function" for each in mistakes):
                return _together(mistakes)(*arguments)
            with patched(model, ()):
                if self.prepare is not None:
                    self.prepare(model, *arguments)
                with patched(model, mistakes):
                    return self.answer(model, *arguments)

    def title(self, name: str) -> str:
        """A case's name, and its text if it is called with one."""
        text = self.cases[name][0]
        short = isinstance(text, str) and text != name and 0 < len(text) <= 40
        return f"'{name}'" + (f" ({text!r})" if short else "")


def _together(mistakes: Sequence[Mistake]) -> Callable[..., Any]:
    """The wrong function that makes all these mistakes. TypeError if they cannot be joined."""
    change, *others = (each.change for each in mistakes)
    for other in others:
        if not isinstance(change, Variant) or not isinstance(other, Variant):
            raise TypeError("only variants of one function can be joined")
        change = change.joined(other)
    return change


def _size(value: Any) -> int:
    """How much a reader has to look at."""
    if isinstance(value, Tensor):
        return value.numel()
    if isinstance(value, (list, tuple)):
        return sum(map(_size, value))
    return len(value) if hasattr(value, "__len__") else 1
