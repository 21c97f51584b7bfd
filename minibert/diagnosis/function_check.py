"""Check one function of a student, on the reference's own inputs.

Each function gets the inputs that the right one gets, so that an error elsewhere cannot colour
its result. The order of work is that of `checker.py`: contract, first difference, relation,
replay of known mistakes, and, where the inputs are numbers with a gradient, one backward pass.
"""

import contextlib
import copy
import dataclasses
import inspect
import itertools
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minibert.core.heads import BertForPreTraining
from minibert.diagnosis.catalogue.mistake import Mistake, Variant, patched
from minibert.diagnosis.compare import agreeing, largest, same
from minibert.diagnosis.dependence import dependence
from minibert.diagnosis.relations import relations, sizes_of, where
from minibert.diagnosis.report import Check, Diagnosis
from minibert.diagnosis.search import explain
from minibert.diagnosis.traces import Place
from minibert.trace import HIDDEN

Case = Sequence[Any]  # the arguments of one call

EXACT = 1e-9
SEARCH = 60  # times the patience with a case: what takes long there is not the student's
SINGLE = 1e-6  # float32 rounds by less than 3e-7 here, the smallest known mistake is above 5e-6


@dataclasses.dataclass(frozen=True)
class Subject:
    """A function that has a right form and known wrong ones.

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
        return [self._result(model, case, mistakes) for case in self.cases.values()]

    def _result(self, model: BertForPreTraining, case: Case, mistakes: Sequence[Mistake]) -> Any:
        arguments = copy.deepcopy(list(case))
        with torch.no_grad():
            if any(each.kind == "function" for each in mistakes):
                return _together(mistakes)(*arguments)
            with patched(model, ()):
                if self.prepare is not None:
                    self.prepare(model, *arguments)
                with patched(model, mistakes):
                    return self.answer(model, *arguments)


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


def _titled(name: str, case: Case) -> str:
    """The case's name, and its text if it is called with one."""
    text = case[0] if isinstance(case[0], str) and case[0] != name else ""
    return f"'{name}'" + (f" ({text!r})" if 0 < len(text) <= 40 else "")


def no_steps(name: str, times: float = 1) -> None:
    """Where nobody waits."""


def diagnose(
    subject: Subject,
    student: Callable[..., Any],
    model: BertForPreTraining,
    begin: Callable[..., None] = no_steps,
) -> Diagnosis:
    """Call `student` on every case and say whether it is right, and if not, where and why.

    `begin` is told what begins, as `apart` wants it: each case, then the search for mistakes.
    """
    with torch.enable_grad():
        return _diagnose(subject, student, model, begin)


def _diagnose(
    subject: Subject,
    student: Callable[..., Any],
    model: BertForPreTraining,
    begin: Callable[..., None],
) -> Diagnosis:
    expected = subject.results(model)
    checks: list[Check] = []
    results = []
    for (name, case), right in zip(subject.cases.items(), expected, strict=True):
        begin(f"in the case {_titled(name, case)}")
        result, failed = _call(student, case)
        checks += failed
        if failed:
            return Diagnosis(f"{subject.name}", _named(failed, name))
        if isinstance(result, list) and isinstance(right, tuple):
            result = tuple(result)  # both are fine for several results
        results.append(result)
    begin("in the search for known mistakes", SEARCH)
    checks.append(Check("runs, leaves its inputs alone, gives the same twice", True))
    for name, right, result in zip(subject.cases, expected, results, strict=True):
        wrong = _form(right, result, subject)
        if wrong:
            checks.append(Check("form", False, f"{name}: {wrong}"))
            explanations = _explain(subject, model, results)
            return Diagnosis(subject.name, checks, explanations=explanations)
    checks.append(Check("form", True))
    kind = "numbers" if _has_tensors(expected[0]) else "values"
    tolerance, explanations = EXACT, []
    if not _match(subject, expected, results):
        explanations = _explain(subject, model, results)
        if not explanations and kind == "numbers":
            tolerance = SINGLE
            if not _match(subject, expected, results, tolerance):
                explanations = _explain(subject, model, results, tolerance)
    precision = "exactly" if tolerance == EXACT else "to float32's precision"
    for name, right, result in zip(subject.cases, expected, results, strict=True):
        place, related = _difference(right, result, subject, model, tolerance)
        if place:
            cases = _wrong_cases(subject, expected, results, tolerance)
            text = f"wrong in {len(cases)} of {len(results)} cases: {'; '.join(cases)}"
            text = text if len(results) > 1 else ""
            checks.append(Check(kind, False, text))
            place = f"in the case {_titled(name, subject.cases[name])}, {place}"
            return Diagnosis(
                subject.name, checks, place, name, related, explanations, precision=precision
            )
    checks.append(Check(kind, True, "" if tolerance == EXACT else f"right {precision}"))
    begin("in the backward pass")
    gradient = _gradient(subject, student, model, tolerance) if subject.backward else None
    if gradient is not None:
        checks.append(gradient)
    return Diagnosis(subject.name, checks)


def inputs_that_matter(
    subject: Subject, student: Callable[..., Any], model: BertForPreTraining
) -> list[str]:
    """On what `student` depends and must not, or must and does not; see `dependence`."""
    cases = [list(map(_as_leaf, case)) for case in subject.cases.values()]
    names = [f"argument {place + 1}" for place in range(len(cases[0]))]
    with contextlib.suppress(TypeError, ValueError):  # some callables have no signature
        own = list(inspect.signature(student).parameters)
        names = own if len(own) == len(names) else names

    def yours(*case: Any) -> Any:
        with torch.no_grad():
            return student(*copy.deepcopy(list(case)))

    return dependence(lambda *case: subject._result(model, case, ()), yours, cases, names)


def _as_leaf(value: Any) -> Any:
    """Numbers as in a backward pass: then the right answer takes them, not the model's own."""
    real = isinstance(value, Tensor) and value.is_floating_point()
    return value.detach().clone().requires_grad_() if real else value


def _wrong_cases(
    subject: Subject, expected: Sequence[Any], results: Sequence[Any], tolerance: float
) -> list[str]:
    three = zip(subject.cases, expected, results, strict=True)
    return [name for name, right, got in three if not _match(subject, [right], [got], tolerance)]


def _named(checks: Sequence[Check], case: str) -> list[Check]:
    return [dataclasses.replace(each, text=f"{case}: {each.text}") for each in checks]


def _call(student: Callable[..., Any], case: Case) -> tuple[Any, list[Check]]:
    arguments = copy.deepcopy(list(case))
    try:
        with torch.no_grad():
            result = copy.deepcopy(student(*arguments))
            again = student(*copy.deepcopy(list(case)))
    except NotImplementedError:
        raise
    except BaseException as error:
        return None, [Check("runs", False, _told(error, student))]
    for place, (before, after) in enumerate(zip(case, arguments, strict=True)):
        if not callable(before) and not same(before, after):
            text = f"argument {place + 1} was changed in place; work on a copy"
            return None, [Check("inputs untouched", False, text)]
    if not same(result, again):
        text = "two calls with the same inputs give different results"
        return None, [Check("repeatable", False, text)]
    if result is None:
        return None, [Check("returns", False, "it returns nothing: is there a return?")]
    return result, []


def _told(error: BaseException, student: Callable[..., Any]) -> str:
    """The error, and the student's own line in which it came up."""
    file = getattr(getattr(student, "__code__", None), "co_filename", "")
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == file]
    line = f' (line {own[-1].lineno}: "{own[-1].line}")' if own else ""
    return f"{type(error).__name__}: {error}{line}"


def _flat(value: Any, names: Sequence[str] = ()) -> dict[str, Any]:
    """A result as named parts: the elements of a tuple or dict, or the value itself."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        known = [*names, *(f"result {place}" for place in range(len(names) + 1, len(value) + 1))]
        return dict(zip(known, value, strict=False))
    return {"": value}


def _has_tensors(value: Any) -> bool:
    return any(isinstance(each, Tensor) for each in _flat(value).values())


def _form(right: Any, result: Any, subject: Subject) -> str:
    """What is wrong with type, shape or dtype; "" if nothing is."""
    if type(right) is not type(result) and not (
        isinstance(right, Tensor) and isinstance(result, Tensor)
    ):
        return f"expected {_kind(right)}, got {_kind(result)}"
    a, b = _flat(right, subject.returns), _flat(result, subject.returns)
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


def _difference(
    right: Any, result: Any, subject: Subject, model: BertForPreTraining, tolerance: float
) -> tuple[str, list[str]]:
    a, b = _flat(right, subject.returns), _flat(result, subject.returns)
    sizes = sizes_of(model.config, 7)
    for name, one in a.items():
        other, words = b[name], f"{name}, " if name else ""
        if not isinstance(one, Tensor):
            if not same(one, other):
                return f"{words}expected {one!r}, got {other!r}", _list_relation(one, other)
            continue
        one, other = _settled(one, subject.hides), _settled(other, subject.hides)
        wrong = ~_agree(one, other, tolerance)
        if wrong.any():
            place = Place(subject.name, one, other, wrong, torch.ones_like(wrong))
            if one.numel() <= 3:
                words += f"expected {one.tolist()}, got {other.tolist()}; "
            return f"{words}{where(place)}", relations(place, {}, sizes, max(1e-7, tolerance))
    return "", []


def _list_relation(one: Any, other: Any) -> list[str]:
    if isinstance(one, list) and isinstance(other, list):
        pairs = itertools.zip_longest(one, other, fillvalue="nothing")
        for place, (a, b) in enumerate(pairs):
            if not same(a, b):
                return [f"they part at place {place}: expected {a!r}, got {b!r}"]
    return []


def _settled(tensor: Tensor, hides: bool) -> Tensor:
    tensor = tensor.detach().double()
    return tensor.clamp(min=HIDDEN).masked_fill(tensor < HIDDEN, HIDDEN) if hides else tensor


def _agree(one: Tensor, other: Tensor, tolerance: float) -> Tensor:
    """Where two tensors agree, in units of the largest number where that is above 1."""
    return agreeing(one, other, tolerance * largest(one))


def _match(
    subject: Subject, one: Sequence[Any], other: Sequence[Any], tolerance: float = EXACT
) -> bool:
    for right, result in zip(one, other, strict=True):
        a, b = _flat(right), _flat(result)
        if list(a) != list(b):
            return False
        for name in a:
            if isinstance(a[name], Tensor) and isinstance(b[name], Tensor):
                x, y = _settled(a[name], subject.hides), _settled(b[name], subject.hides)
                if x.shape != y.shape or not bool(_agree(x, y, tolerance).all()):
                    return False
            elif type(a[name]) is not type(b[name]) or not same(a[name], b[name]):
                return False
    return True


def _explain(
    subject: Subject,
    model: BertForPreTraining,
    observed: Sequence[Any],
    tolerance: float = EXACT,
) -> list[tuple[str, ...]]:
    """The smallest sets of mistakes that give these very results."""

    def compute(mistakes: Sequence[Mistake]) -> list[Any] | None:
        try:
            return subject.results(model, mistakes)
        except Exception:  # these cases cannot be run with these mistakes
            return None

    agree = partial(_match, subject, tolerance=tolerance)
    return explain(subject.mistakes, compute, agree, observed)


def _gradient(
    subject: Subject, student: Callable[..., Any], model: BertForPreTraining, tolerance: float
) -> Check | None:
    """One backward pass through the first case; None where nothing has a gradient."""

    def run(function: Callable[..., Any]) -> list[Tensor | None] | None:
        arguments = copy.deepcopy(list(next(iter(subject.cases.values()))))
        leaves = [a for a in arguments if isinstance(a, Tensor) and a.is_floating_point()]
        for leaf in leaves:
            leaf.requires_grad_(True)
        with torch.enable_grad():  # a switch of the student's ends here
            parts = _flat(function(*arguments)).values()
        outputs = [p for p in parts if isinstance(p, Tensor) and p.requires_grad]
        if not leaves or not outputs:
            return None
        weighted = [(p * torch.arange(p.numel()).cos().view(p.shape)).sum() for p in outputs]
        return list(torch.autograd.grad(torch.stack(weighted).sum(), leaves, allow_unused=True))

    def answer(*arguments: Any) -> Any:
        if subject.prepare is not None:
            subject.prepare(model, *arguments)
        return subject.answer(model, *arguments)

    with patched(model, ()):
        right = run(answer)
    if right is None or all(gradient is None for gradient in right):
        return None
    try:
        got = run(student)
    except BaseException as error:
        return Check("gradients", False, f"the backward pass fails: {_told(error, student)}")
    if got is None:
        text = "the result carries no gradient: look for .data, .detach(), .numpy(), torch.tensor()"
        return Check("gradients", False, text)
    for place, (a, b) in enumerate(zip(right, got, strict=True)):
        if a is None:
            continue
        if b is None or not bool(_agree(a, b, tolerance).all()):
            return Check("gradients", False, f"that of number argument {place + 1} differs")
    return Check("gradients", True)
