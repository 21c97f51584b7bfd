"""What a check found, as data, as text and as JSON."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from minibert.diagnosis.catalogue.mistake import CATALOGUE, Mistake
from minibert.diagnosis.naming import in_short


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that was looked at. `passed` is None for what could not be looked at."""

    name: str
    passed: bool | None
    text: str = ""

    def __str__(self) -> str:
        sign = {True: "ok  ", False: "WRONG", None: "-   "}[self.passed]
        return f"{sign:5} {self.name}" + (f": {self.text}" if self.text else "")


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """The outcome: every check, and of the first that failed, where and why.

    place         the first tensor that differs, in words; "" if none does
    tensor        its name
    relations     how its numbers are related to the right ones
    explanations  the shortest sets of catalogued mistakes that reproduce the student's numbers;
                  empty if none does, several if more than one set of that size does
    invariants    what must hold for any BERT and does not
    notes         what else was noticed, or not looked at
    precision     how the explanations reproduce them: "exactly", or "to float32's precision"
    so_far        where none does: sets of mistakes that explain as much as is known, step by step
    unexplained   the steps that no known mistake explains, each from the student's own numbers
    dependence    where none does, of a function: inputs that must not have mattered and did, or
                  must have and did not
    beyond        how the first of these is related to the right one, if it is not `tensor`
    """

    subject: str
    checks: Sequence[Check]
    place: str = ""
    tensor: str = ""
    relations: Sequence[str] = ()
    explanations: Sequence[tuple[str, ...]] = ()
    invariants: Sequence[str] = ()
    notes: Sequence[str] = ()
    precision: str = "exactly"
    so_far: Sequence[tuple[str, ...]] = ()
    unexplained: Sequence[str] = ()
    beyond: Sequence[str] = ()
    dependence: Sequence[str] = ()
    catalogue: Mapping[str, Mistake] = dataclasses.field(default_factory=lambda: CATALOGUE)

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(check.passed is not False for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as plain data, for graders."""
        plain = dataclasses.asdict(dataclasses.replace(self, catalogue={}))
        del plain["catalogue"]
        return {**plain, "passed": self.passed}

    def text(self, hint: int = 3) -> str:
        """The diagnosis for a reader. Hints: 0 place and relation, 1 a question for each mistake,
        2 the mistake itself, 3 the fix."""
        lines = [f"  {check}" for check in self.checks]
        if self.place:
            lines += ["", f"First difference: {self.place}"]
        lines += [f"  {relation}" for relation in self.relations]
        lines += self._explained(hint)
        if self.invariants:
            lines += ["", "What must hold for any BERT, and does not hold for yours:"]
            lines += [f"  {sentence}" for sentence in self.invariants]
        lines += [f"note: {note}" for note in self.notes]
        if self.passed:
            lines += ["", f"{self.subject}: no difference found"]
        return "\n".join(lines).lstrip("\n")

    def _explained(self, hint: int) -> list[str]:
        if not self.explanations:
            if self.passed or not self.place:
                return []
            text = "No known mistake, and no combination tried, gives these very numbers."
            return ["", text, *self._partly(hint)]
        count = len(self.explanations[0])
        things = "one known mistake" if count == 1 else f"{count} known mistakes together"
        lines = ["", f"Shortest known explanation: {things} that reproduces your numbers"]
        if count > 1:
            lines[-1] = f"Shortest known explanation: {things} reproduce your numbers"
        lines[-1] += f" {self.precision}"
        if len(self.explanations) > 1:
            lines[-1] += f"; {len(self.explanations)} such explanations cannot be told apart"
        return lines + self._sets(self.explanations, hint)

    def _partly(self, hint: int) -> list[str]:
        """What is known so far, and which steps are not."""
        lines = []
        if self.so_far:
            lines += ["So far explained, each step from your own numbers before it:"]
            lines += self._sets(self.so_far, hint)
        if self.unexplained:
            lines += ["Steps that no known mistake explains, each from your own numbers before it:"]
            lines += [f"  {step}" for step in in_short(self.unexplained)]
            lines += [f"  of the first: {relation}" for relation in self.beyond]
        if self.dependence:
            lines += ["Which inputs matter:"]
            lines += [f"  {sentence}" for sentence in self.dependence]
        return lines

    def _sets(self, sets: Sequence[tuple[str, ...]], hint: int) -> list[str]:
        lines = []
        if hint < 1:
            return ["  (ask for a hint to hear more: --hint 1)"]
        for number, ids in enumerate(sets[:4], 1):
            if len(sets) > 1:
                lines.append(f"  either ({number}):" if number == 1 else f"  or ({number}):")
            for each in ids:
                lines += self._hints(self.catalogue[each], hint)
        if hint < 3:
            lines.append(f"  (--hint {hint + 1} for more)")
        return lines

    @staticmethod
    def _hints(mistake: Mistake, hint: int) -> list[str]:
        question, place, fix = mistake.hints
        lines = [f"  ? {question}"]
        if hint >= 2:
            lines += [f"    {place}", f"    {mistake.symptom}  [{mistake.id}]"]
        if hint >= 3:
            lines.append(f"    Fix: {fix}")
        if hint >= 3 and mistake.seen:
            lines.append(f"    Seen in: {mistake.seen}")
        return lines
