"""What must hold of every call of a student, whatever its numbers are.

It runs, twice to the same numbers, touches no input and gives no NaN; and a text's numbers do not
depend on further padding, on its neighbours, or on earlier calls.
"""

import warnings
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from minibert.diagnosis.compare import close
from minibert.diagnosis.naming import title
from minibert.diagnosis.report import Check
from minibert.diagnosis.students import Callee, Student, call, in_words, twin
from minibert.diagnosis.traces import GRADED, blank, common, comparable


def check_contract(
    student: Student, expected: Mapping[str, Tensor], batch: Mapping[str, Tensor]
) -> tuple[list[Check], dict[str, Tensor]]:
    """The checks, and the student's tensors. Raises StudentError if it fails."""
    own = copied(batch)
    tensors = call(student, own)
    finite = _finite(tensors, expected, batch["attention_mask"])
    if not isinstance(student, Callee):
        text = "not looked at, nor whether it touches its inputs: these are results alone"
        return [Check("runs", None, text), finite], tensors
    checks = [Check("runs", True)]
    touched = [name for name in batch if not torch.equal(own[name], batch[name])]
    text = f"changed in place: {', '.join(touched)}; work on a copy" if touched else ""
    checks.append(Check("inputs untouched", not touched, text))
    if not common(expected, tensors):
        text = (
            "nothing in its output is known: return last_hidden_state (B, T, H), or a dict "
            f"with names such as {list(GRADED)}"
        )
        checks.append(Check("output", False, text))
        return checks, tensors

    def other(again: Mapping[str, Tensor], allowed: float) -> str:
        """The first tensor that is another one in a second call, in words."""
        names = (n for n in common(expected, tensors) if n in again)
        return next((title(n) for n in names if not close(tensors[n], again[n], allowed)), "")

    loose, _ = twin(student, 0.5, 0.5)
    text = ""
    if place := other(call(student, copied(batch)), 0):
        text = (
            f"two calls give other numbers, first in {place}: is a layer built "
            "inside forward, or is dropout active (your model still in train mode)?"
        )
    elif loose and not touched and (place := other(call(loose, copied(batch)), 1e-6)):
        text = (
            f"in eval mode, dropout changes {place}: it must be off there (self."
            "training; scaled_dot_product_attention's dropout_p too)"
        )
    checks.append(Check("repeatable", not text, text))
    return [*checks, finite], tensors


def copied(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A batch for a student, who may write to what it is given."""
    return {name: tensor.clone() for name, tensor in batch.items()}


def _finite(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], mask: Tensor) -> Check:
    real = blank({name: tensors[name] for name in common(expected, tensors)}, mask)
    bad = [name for name, tensor in real.items() if not tensor.isfinite().all()]
    return Check("no NaN", not bad, f"first in {title(bad[0])}, at real tokens" if bad else "")


def other_batches(
    student: Callee, states: Mapping[str, Tensor], batch: Mapping[str, Tensor]
) -> Iterator[str]:
    """What changes a text's tensors `states`, and must not: padding, neighbours, earlier calls."""
    names = ("input_ids", "token_type_ids", "attention_mask")
    B, T = batch["input_ids"].shape
    for words, rows, tokens in (
        ("another order of the texts changes them", list(reversed(range(B))), T),
        ("more padding on the right changes real tokens", list(range(B)), T + 2),
        ("a batch of another shape changes them", [0, 2], T - 2),
    ):
        changed = {n: nn.functional.pad(batch[n], (0, 2))[rows, :tokens] for n in names}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                other = student.tensors(changed)
        except BaseException as error:
            yield f"with {words.split(' changes')[0]}, it fails: {in_words(error)}"
            continue
        for name in (each for each in GRADED if each in states and each in other):
            one, two = states[name][rows].double(), other[name].double()
            if one.dim() == 3:
                one, two = one[:, :tokens], two[:, :T]
            real = comparable(one, changed["attention_mask"][:, : min(T, tokens)])
            if one.shape != two.shape or not close(one * real, two * real, 1e-4):
                yield words
                break
