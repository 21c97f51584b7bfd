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

import difflib
import itertools
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from minibert.diagnosis.catalogue.mistake import CATALOGUE, Mistake
from minibert.diagnosis.compare import close
from minibert.diagnosis.gradients import check_gradients
from minibert.diagnosis.naming import in_short, title
from minibert.diagnosis.probe import full_batch, probe_batch, probe_model
from minibert.diagnosis.relations import linear, relations, sizes_of, where
from minibert.diagnosis.report import Check, Diagnosis
from minibert.diagnosis.search import Replay, possible
from minibert.diagnosis.stepwise import SoFar, Stepwise
from minibert.diagnosis.students import Callee, Student, call, in_words, twin
from minibert.diagnosis.traces import (
    FLOAT32_TOLERANCE,
    GRADED,
    TOLERANCE,
    Place,
    blank,
    common,
    comparable,
    first_difference,
    rounded,
)
from minibert.diagnosis.train_mode import check_dropout
from minibert.system.processes import one_thread

ONE_AT_A_TIME = threading.RLock()  # torch's dropout and threads are set for a whole process
FEW = 8  # tensors; with fewer, pairs of mistakes are too many to try


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
        self.parameters = {
            name.removeprefix("bert."): tensor.detach()
            for name, tensor in self.model.named_parameters()
        }

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
        checks, tensors = self._contract(student)
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
            return self._differs(student, subject, checks, notes, tensors, place, tolerance)
        how = "" if tolerance == TOLERANCE else ", to float32's precision"
        checks.append(Check("numbers", True, f"{len(names)} tensors agree{how}"))
        return self._beyond_eval(student, subject, checks, notes, tolerance)

    def _contract(self, student: Student) -> tuple[list[Check], dict[str, Tensor]]:
        batch = self._fresh_batch()
        tensors = call(student, batch)
        if not isinstance(student, Callee):
            text = "not looked at, nor whether it touches its inputs: these are results alone"
            return [Check("runs", None, text), self._finite(tensors)], tensors
        checks = [Check("runs", True)]
        touched = [name for name in batch if not torch.equal(batch[name], self.batch[name])]
        text = f"changed in place: {', '.join(touched)}; work on a copy" if touched else ""
        checks.append(Check("inputs untouched", not touched, text))
        if not common(self.expected, tensors):
            text = (
                "nothing in its output is known: return last_hidden_state (B, T, H), or a dict "
                f"with names such as {list(GRADED)}"
            )
            checks.append(Check("output", False, text))
            return checks, tensors

        again = call(student, self._fresh_batch())
        names = common(self.expected, tensors)  # in the order of computation
        other = [n for n in names if n in again and not close(tensors[n], again[n])]
        loose, _ = twin(student, 0.5, 0.5)
        if other:
            text = (
                f"two calls give other numbers, first in {title(other[0])}: is a layer built "
                "inside forward, or is dropout active (your model still in train mode)?"
            )
        elif loose is not None and not touched:
            again = call(loose, self._fresh_batch())
            other = [n for n in names if n in again and not close(tensors[n], again[n], 1e-6)]
            text = (
                f"in eval mode, dropout changes {title(other[0])}: it must be off there (self."
                "training; scaled_dot_product_attention's dropout_p too)"
                if other
                else ""
            )
        else:
            text = ""
        checks.append(Check("repeatable", not other, text))
        return [*checks, self._finite(tensors)], tensors

    def _finite(self, tensors: Mapping[str, Tensor]) -> Check:
        known = {name: tensors[name] for name in common(self.expected, tensors)}
        hidden = blank(known, self.batch["attention_mask"])
        bad = [name for name in known if not hidden[name].isfinite().all()]
        text = f"first in {title(bad[0])}, at real tokens" if bad else ""
        return Check("no NaN", not bad, text)

    def _fresh_batch(self) -> dict[str, Tensor]:
        """A copy, since a student may write to what it is given."""
        return {name: tensor.clone() for name, tensor in self.batch.items()}

    def _differs(
        self,
        student: Student,
        subject: str,
        checks: list[Check],
        notes: list[str],
        raw: Mapping[str, Tensor],
        place: Place,
        tolerance: float,
    ) -> Diagnosis:
        mask = self.batch["attention_mask"]
        got = blank({name: raw[name].double() for name in common(self.expected, raw)}, mask)
        explanations = self.replay.explain(got, tolerance)
        so_far, unexplained = [], []
        steps = Stepwise(self.replay, raw)
        if not explanations:
            known, tolerance, explanations = self._so_far(steps, got, tolerance)
            so_far = [] if explanations else [ids for ids in known.explanations if ids]
            unexplained = [] if explanations else known.unexplained
        sizes = sizes_of(self.model.config, self.batch["input_ids"].shape[1])
        before = list(self.expected).index(place.name)
        others = dict(itertools.islice(self.expected.items(), before))
        others |= {name: p for name, p in self.parameters.items() if p.dim() == 1}
        loose = max(1e-7, tolerance)
        related = [
            *itertools.islice(self._loaded_wrong(student), 4),
            *relations(place, others, sizes, loose),
        ]
        beyond: list[str] = []
        if unexplained:
            first, inputs = steps.place((so_far or [()])[0], unexplained[0], tolerance)
            layers = [] if inputs is None else linear(first, inputs, self.parameters, loose)
            if first.name == place.name:
                related += layers
            else:
                beyond = [*relations(first, others, sizes, loose), *layers]
        ids = {each for explanation in explanations for each in explanation}
        if not ids and len(got) < FEW:
            notes.append(
                f"only {len(got)} of your tensors have a name known here; with more of them "
                "(hidden_states, attentions, or modules by name) more combinations can be tried"
            )
        notes += self._not_seen(student, raw, place, explained=bool(ids))
        return Diagnosis(
            subject,
            checks,
            f"{title(place.name)}, {where(place, of_probe=True)}",
            place.name,
            related,
            explanations,
            [] if ids else list(self._invariants(student, raw, place)),
            notes,
            "exactly" if tolerance == TOLERANCE else "to float32's precision",
            so_far,
            unexplained,
            beyond,
        )

    def _so_far(
        self, steps: Stepwise, got: Mapping[str, Tensor], tolerance: float
    ) -> tuple[SoFar, float, list[tuple[str, ...]]]:
        """What is known step by step, to which tolerance, and what of it explains everything.

        A mistake may be made in float32, a table of sines, say; so that is looked for as well.
        """
        best = steps.so_far(tolerance)
        for allowed in dict.fromkeys((tolerance, FLOAT32_TOLERANCE)):
            known = best if allowed == tolerance else steps.so_far(allowed)
            joined = steps.joined(best, known, allowed)
            for sets in [] if known.unexplained else [joined.explanations, known.explanations]:
                whole = [ids for ids in sets if self._gives(ids, got, allowed)]
                if whole:
                    return known, allowed, whole
            if len(joined.explanations[0]) > len(best.explanations[0]):
                best, tolerance = joined, allowed
            if not best.unexplained:
                break
        return best, tolerance, []

    def _gives(self, ids: tuple[str, ...], got: Mapping[str, Tensor], tolerance: float) -> bool:
        """True if these mistakes, made in the reference, give all of these tensors."""
        mask = self.batch["attention_mask"]
        mistakes = [self.replay.by_id[each] for each in ids]
        if not possible(mistakes):
            return False
        made = self.replay.tensors(mistakes)
        if not ids or first_difference(made, got, mask, tolerance) is not None:
            return False
        return tolerance == TOLERANCE or rounded(made, got, mask)

    def _not_seen(
        self, student: Student, raw: Mapping[str, Tensor], place: Place, explained: bool
    ) -> Iterator[str]:
        """Notes about tensors that could not be compared."""
        if isinstance(student, Callee) and student.repeated:
            yield (
                f"run more than once in one pass, and so not compared: "
                f"{', '.join(in_short(student.repeated))}"
            )
        names = list(self.expected)
        before = names[: names.index(place.name)]
        gap = list(itertools.takewhile(lambda name: name not in raw, reversed(before)))
        if gap and len(raw) >= FEW and not explained:
            steps = "1 step" if len(gap) == 1 else f"{len(gap)} steps"
            yield (
                f"before it nothing of yours has a name known here for {steps}, from "
                f"{title(gap[-1])} on: the mistake may be in any of them"
            )

    def _loaded_wrong(self, student: Student) -> Iterator[str]:
        """Sentences about parameters of a module that do not hold what their names say."""
        own = {} if student.module is None else dict(student.module.named_parameters())
        right = self.parameters
        for name, key in ((n, key) for n, keys in student.parameters.items() for key in keys):
            held = own[key].detach() if key in own else right[name]
            turned = held.dim() == 2 and close(held.T, right[name], 1e-6)
            if close(held, right[name], 1e-6) or not (turned or held.shape == right[name].shape):
                continue
            other = next((each for each, p in right.items() if close(held, p, 1e-6)), "")
            what = "it transposed" if turned else other or "other numbers"
            yield f"your {key} does not hold {name} of the weights file, but {what}"

    def _invariants(
        self, student: Student, raw: Mapping[str, Tensor], place: Place
    ) -> Iterator[str]:
        """What must hold for any BERT, whatever its weights."""
        padded = self.batch["attention_mask"] == 0
        for name, table in raw.items():
            if name.endswith("probabilities") and table.shape == self.expected[name].shape:
                mass = float((table * padded[:, None, None, :])[real_rows(padded, table)].max())
                if mass > 1e-6:
                    yield f"{title(name)}: up to {mass:.2g} falls on padding, it must be 0"
                    break
        if place.name.endswith("norm") and place.same_shape:
            module = self.model.get_submodule(
                place.name if place.name.startswith("masked_word") else f"bert.{place.name}"
            )
            if isinstance(module, nn.LayerNorm):
                plain = ((place.got - module.bias) / module.weight).detach()[place.allowed[..., 0]]
                mean = float(plain.mean(-1).abs().max())
                low, high = (float(f(plain.var(-1, correction=0))) for f in (torch.min, torch.max))
                if mean > 1e-4 or low < 0.999 or high > 1.001:
                    yield (
                        f"without weight and bias, LayerNorm's vectors have means up to {mean:.2g} "
                        f"and variances from {low:.3g} to {high:.3g}; they must be 0 and 1"
                    )
        if isinstance(student, Callee):
            yield from self._other_batches(student, raw)

    def _other_batches(self, student: Callee, states: Mapping[str, Tensor]) -> Iterator[str]:
        """What changes a text's tensors, and must not: padding, its neighbours, earlier calls."""
        names = ("input_ids", "token_type_ids", "attention_mask")
        B, T = self.batch["input_ids"].shape
        for words, rows, tokens in (
            ("another order of the texts changes them", list(reversed(range(B))), T),
            ("more padding on the right changes real tokens", list(range(B)), T + 2),
            ("a batch of another shape changes them", [0, 2], T - 2),
        ):
            batch = {n: nn.functional.pad(self.batch[n], (0, 2))[rows, :tokens] for n in names}
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    other = student.tensors(batch)
            except BaseException as error:
                yield f"with {words.split(' changes')[0]}, it fails: {in_words(error)}"
                continue
            for name in (each for each in GRADED if each in states and each in other):
                one, two = states[name][rows].double(), other[name].double()
                if one.dim() == 3:
                    one, two = one[:, :tokens], two[:, :T]
                real = comparable(one, batch["attention_mask"][:, : min(T, tokens)])
                if one.shape != two.shape or not close(one * real, two * real, 1e-4):
                    yield words
                    break

    def _beyond_eval(
        self, student: Student, subject: str, checks: list[Check], notes: list[str], rough: float
    ) -> Diagnosis:
        """Other batches, train mode and gradients, for a student whose numbers are right."""
        explanations: list[tuple[str, ...]] = []
        related: list[str] = []
        place = ""
        if isinstance(student, Callee):
            wrong = list(self._other_batches(student, self.expected))
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


def real_rows(padded: Tensor, table: Tensor) -> Tensor:
    """Rows of real queries, for a table (B, A, T, T)."""
    return (~padded)[:, None, :, None].expand(table.shape)
