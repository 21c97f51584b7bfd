"""The order of work: from "does it run" to "which mistake is it".

1. contract     it runs, twice to the same numbers, touches no input, gives shapes and no NaN
2. numbers      the first tensor that differs, where in it, and how it is related to the right one
3. replay       the shortest set of known mistakes that reproduces all of the student's tensors
4. so far       where no set does: what is known step by step, and what must hold for any BERT
5. other batches  further padding, another order, another shape: a text's numbers stay the same
6. dropout      its places in train mode, one call at a time
7. gradients    one backward pass, every parameter

The first that fails ends the work: what comes after would be compared on wrong numbers.
The checker says "reproduces your numbers", never "you wrote": another slip may give the same.
"""

import dataclasses
import difflib
import threading
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from minibert.diagnosis.catalogue.mistake import CATALOGUE, Mistake
from minibert.diagnosis.contract import check_contract, other_batches
from minibert.diagnosis.gradients import check_gradients
from minibert.diagnosis.naming import title
from minibert.diagnosis.probe import full_batch, probe_batch, probe_model
from minibert.diagnosis.report import Check, Diagnosis
from minibert.diagnosis.search import Replay, possible
from minibert.diagnosis.students import Callee, Student
from minibert.diagnosis.traces import (
    FLOAT32_TOLERANCE,
    TOLERANCE,
    blank,
    common,
    first_difference,
    rounded,
)
from minibert.diagnosis.train_mode import check_dropout
from minibert.diagnosis.wrong_numbers import WrongNumbers
from minibert.system.processes import one_thread

ONE_AT_A_TIME = threading.RLock()  # torch's dropout and threads are set for a whole process


class Checker:
    """Holds the reference and its replays, to check any number of students.

    >>> from minibert.diagnosis.students import Arrays
    >>> checker = Checker()
    >>> student = Arrays(checker.expected, checker.expected, checker.model.config)
    >>> checker.check(student).passed
    True
    """

    def __init__(
        self,
        seed: int = 0,
        accept: Sequence[str] = (),
        batch: Mapping[str, Tensor] | None = None,
    ):
        """`accept` names mistakes of the catalogue that are right here: a course's own BERT.
        `batch` is what students are called on; by default `full_batch()`.

        Raises ValueError for one that is not in the catalogue, or not of the model, and for two
        that exclude each other.
        """
        self.seed = seed
        self.model = probe_model(seed)
        self.batch = full_batch() if batch is None else dict(batch)
        self.accepted = _accepted(accept)
        self.replay = Replay(self.model, self.batch, accepted=self.accepted)
        self.expected = self.replay.cached(())

    def check(self, student: Student, subject: str = "your model") -> Diagnosis:
        """Check a student. Raises StudentError if it cannot even be called on a batch.

        Other threads may run models of their own meanwhile; a second check waits for the first.
        """
        checker = self
        if isinstance(student, Callee) and student.takes_lengths and not self.right_padded:
            accepted = [each.id for each in self.accepted]
            checker = Checker(self.seed, accepted, probe_batch())
        with ONE_AT_A_TIME, one_thread(), torch.enable_grad():
            return checker._check(student, subject)

    @property
    def right_padded(self) -> bool:
        """True if no text has padding in front: lengths say as much as a mask."""
        return bool(self.batch["attention_mask"][:, 0].all())

    def _check(self, student: Student, subject: str) -> Diagnosis:
        checks, tensors = check_contract(student, self.expected, self.batch)
        notes = list(student.notes)
        if self.accepted:
            notes.append(f"held to be right: {', '.join(each.id for each in self.accepted)}")
        if any(check.passed is False for check in checks):
            return Diagnosis(subject, checks, notes=notes)

        if self.right_padded:
            notes.append("called on texts with padding on the right alone, since it takes lengths")
        names = common(self.expected, tensors)
        mask = self.batch["attention_mask"]
        got = blank({name: tensors[name].double() for name in names}, mask)
        tolerance = TOLERANCE
        place = first_difference(self.expected, got, mask)
        if any(tensors[name].dtype != torch.float64 for name in names):
            tolerance = FLOAT32_TOLERANCE
            notes.append("your numbers are not float64, so only differences above 0.00002 count")
        elif place is not None and rounded(self.expected, got, mask):
            tolerance = FLOAT32_TOLERANCE
            notes.append(
                f"something is computed in float32, first in {title(place.name)}; so only "
                "differences above 0.00002 count"
            )
        place = first_difference(self.expected, got, mask, tolerance)
        if place is not None:
            checks.append(Check("numbers", False, f"{title(place.name)} differ"))
            found = WrongNumbers(self.replay, student, tensors, place, tolerance).diagnosis()
            notes += found.notes
            return dataclasses.replace(found, subject=subject, checks=checks, notes=notes)
        how = "" if tolerance == TOLERANCE else ", to float32's precision"
        checks.append(Check("numbers", True, f"{len(names)} tensors agree{how}"))
        return self._beyond_eval(student, subject, checks, notes, tolerance)

    def _beyond_eval(
        self, student: Student, subject: str, checks: list[Check], notes: list[str], rough: float
    ) -> Diagnosis:
        """Other batches, train mode and gradients, for a student whose numbers are right."""
        explanations: list[tuple[str, ...]] = []
        related: list[str] = []
        place = ""
        if isinstance(student, Callee):
            wrong = list(other_batches(student, self.expected, self.batch))
            text = "; ".join(wrong) if wrong else "further padding, another order, another shape"
            checks.append(Check("other batches", not wrong, text))
        if all(check.passed is not False for check in checks):
            check, place, related, explanations = check_dropout(student, self.replay)
            checks.append(check)
        if all(check.passed is not False for check in checks):
            check, place, explanations = check_gradients(student, self.replay, rough)
            checks.append(check)
        return Diagnosis(subject, checks, place, "", related, explanations, notes=notes)


def _accepted(ids: Sequence[str]) -> list[Mistake]:
    known = {name: m for name, m in CATALOGUE.items() if m.kind not in ("function", "task")}
    for name in ids:
        if name not in known:
            similar = difflib.get_close_matches(name, known, 3, 0.4)
            hint = f"; did you mean one of {similar}?" if similar else ""
            raise ValueError(f"no mistake of the model is called {name!r}, to be accepted{hint}")
    accepted = [known[name] for name in dict.fromkeys(ids)]
    if not possible(accepted):
        raise ValueError(f"these exclude each other, and cannot all be accepted: {list(ids)}")
    return accepted
