"""Check one function of a student, on the reference's own inputs.

Each function gets the inputs that the right one gets, so that an error elsewhere cannot colour
its result. The order of work is that of `checker.py`: contract, first difference, relation,
replay of known mistakes, and, where the inputs are numbers with a gradient, one backward pass.
"""

import contextlib
import copy
import dataclasses
import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from minibert.core.heads import BertForPreTraining
from minibert.diagnosis.catalogue.mistake import Mistake, patched
from minibert.diagnosis.compare import close, largest, same
from minibert.diagnosis.dependence import dependence
from minibert.diagnosis.report import Check, Diagnosis
from minibert.diagnosis.results import difference, form, match, parts
from minibert.diagnosis.search import Explained, explain
from minibert.diagnosis.students import in_words
from minibert.diagnosis.subject import Case, Subject

EXACT = 1e-9
SEARCH = 60  # times the patience with a case: what takes long there is not the student's
SINGLE = 1e-6  # float32 rounds by less than 3e-7 here, the smallest known mistake is above 5e-6
MOST = 3  # mistakes in one explanation


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
        begin(f"in the case {subject.title(name)}")
        result, failed = _call(student, case)
        if failed is not None:
            text = f"{name}: {failed.text}"
            return Diagnosis(subject.name, [dataclasses.replace(failed, text=text)])
        if isinstance(result, list) and isinstance(right, tuple):
            result = tuple(result)  # both are fine for several results
        results.append(result)
    begin("in the search for known mistakes", SEARCH)
    checks.append(Check("runs, leaves its inputs alone, gives the same twice", True))
    for name, right, result in zip(subject.cases, expected, results, strict=True):
        wrong = form(right, result, subject)
        if wrong:
            checks.append(Check("form", False, f"{name}: {wrong}"))
            known = _explain(subject, model, results)
            return Diagnosis(subject.name, checks, explanations=known.sets)
    checks.append(Check("form", True))
    kind = (
        "numbers" if any(isinstance(x, Tensor) for x in parts(expected[0]).values()) else "values"
    )
    tolerance, known = EXACT, Explained([], True, MOST)
    if not match(subject, expected, results, EXACT):
        if kind == "values" or not match(subject, expected, results, SINGLE):
            known = _explain(subject, model, results)
        if kind == "numbers" and not (known.sets and known.exactly):
            tolerance = SINGLE
    precision = "exactly" if tolerance == EXACT else "to float32's precision"
    for name, right, result in zip(subject.cases, expected, results, strict=True):
        place, related = difference(right, result, subject, model.config, tolerance)
        if place:
            cases = _wrong_cases(subject, expected, results, tolerance)
            text = f"wrong in {len(cases)} of {len(results)} cases: {'; '.join(cases)}"
            text = text if len(results) > 1 else ""
            checks.append(Check(kind, False, text))
            return Diagnosis(
                subject.name,
                checks,
                f"in the case {subject.title(name)}, {place}",
                name,
                related,
                known.sets,
                notes=[*_cut_short(known)],
                precision=precision,
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

    return dependence(lambda *case: subject.result(model, case, ()), yours, cases, names)


def _as_leaf(value: Any) -> Any:
    """Numbers as in a backward pass: then the right answer takes them, not the model's own."""
    real = isinstance(value, Tensor) and value.is_floating_point()
    return value.detach().clone().requires_grad_() if real else value


def _wrong_cases(
    subject: Subject, expected: Sequence[Any], results: Sequence[Any], tolerance: float
) -> list[str]:
    three = zip(subject.cases, expected, results, strict=True)
    return [name for name, right, got in three if not match(subject, [right], [got], tolerance)]


def _call(student: Callable[..., Any], case: Case) -> tuple[Any, Check | None]:
    """The result of one case, or the check that fails at it."""
    arguments = copy.deepcopy(list(case))
    try:
        with torch.no_grad():
            result = copy.deepcopy(student(*arguments))
            again = student(*copy.deepcopy(list(case)))
    except NotImplementedError:
        raise
    except BaseException as error:
        return None, Check("runs", False, in_words(error))
    for place, (before, after) in enumerate(zip(case, arguments, strict=True)):
        if not callable(before) and not same(before, after):
            text = f"argument {place + 1} was changed in place; work on a copy"
            return None, Check("inputs untouched", False, text)
    if not same(result, again):
        text = "two calls with the same inputs give different results"
        return None, Check("repeatable", False, text)
    if result is None:
        return None, Check("returns", False, "it returns nothing: is there a return?")
    return result, None


def _explain(subject: Subject, model: BertForPreTraining, observed: Sequence[Any]) -> Explained:
    """The smallest sets of mistakes that give these very results, or do so in float32."""

    def compute(mistakes: Sequence[Mistake]) -> list[Any] | None:
        try:
            return subject.results(model, mistakes)
        except Exception:  # these cases cannot be run with these mistakes
            return None

    agree, loosely = (partial(match, subject, tolerance=each) for each in (EXACT, SINGLE))
    return explain(subject.mistakes, compute, agree, observed, MOST, loosely)


def _cut_short(known: Explained) -> list[str]:
    """A note if not all sets of mistakes were tried."""
    if known.sets or known.together == MOST:
        return []
    return [f"sets of {known.together + 1} known mistakes were not tried, there are too many"]


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
            every = parts(function(*arguments)).values()
        outputs = [p for p in every if isinstance(p, Tensor) and p.requires_grad]
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
        return Check("gradients", False, f"the backward pass fails: {in_words(error)}")
    if got is None:
        text = "the result carries no gradient: look for .data, .detach(), .numpy(), torch.tensor()"
        return Check("gradients", False, text)
    for place, (a, b) in enumerate(zip(right, got, strict=True)):
        if a is None:
            continue
        if b is None or not close(a, b, tolerance * largest(a)):
            return Check("gradients", False, f"that of number argument {place + 1} differs")
    return Check("gradients", True)
