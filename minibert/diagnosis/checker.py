"""The order of work: from "does it run" to "which mistake is it".

1. contract     it runs, twice to the same numbers, touches no input, gives shapes and no NaN
2. numbers      the first tensor that differs, where in it, and how it is related to the right one
3. replay       the shortest set of known mistakes that reproduces all of the student's tensors
4. invariants   where no set does: what must hold for any BERT, and does not
5. train mode   dropout's places, made visible by a probability of 1
6. gradients    one backward pass, every parameter

The first that fails ends the work: what comes after would be compared on wrong numbers.
The checker says "reproduces your numbers", never "you wrote": another slip may give the same.
"""

import copy
import difflib
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from minibert.diagnosis.catalogue.mistake import CATALOGUE, Mistake, patched
from minibert.diagnosis.compare import close, largest
from minibert.diagnosis.naming import outputs_by_name, title
from minibert.diagnosis.probe import full_batch, probe_model
from minibert.diagnosis.relations import relations, sizes_of, where
from minibert.diagnosis.report import Check, Diagnosis
from minibert.diagnosis.search import Replay, explain, possible, with_accepted
from minibert.diagnosis.students import Callee, Student, StudentError, in_words
from minibert.diagnosis.traces import (
    FLOAT32_TOLERANCE,
    TOLERANCE,
    Place,
    blank,
    common,
    comparable,
    first_difference,
    rounded,
)
from minibert.system.processes import one_thread

GRADED = ("last_hidden_state", "pooler.activation", "masked_word.logits", "next_sentence.logits")

GRADIENT_TOLERANCE = 1e-7
FEW = 8  # tensors; with fewer, pairs of mistakes are too many to try
DROPOUTS = {"hidden": (1.0, 0.0), "attention": (0.0, 1.0)}
STATES = (
    "encoder.blocks.0.output_norm",
    "encoder.blocks.1.output_norm",
    "last_hidden_state",
)  # what leaves the blocks


class Checker:
    """Holds the reference and its replays, to check any number of students.

    >>> from minibert.diagnosis.students import Arrays
    >>> checker = Checker()
    >>> student = Arrays(checker.expected, checker.expected, checker.model.config)
    >>> checker.check(student).passed
    True
    """

    def __init__(self, seed: int = 0, accept: Sequence[str] = ()):
        """`accept` names mistakes of the catalogue that are right here: a course's own BERT.

        Raises ValueError for one that is not in the catalogue, or not of the model, and for two
        that exclude each other.
        """
        self.model = probe_model(seed)
        self.batch = full_batch()
        self.accepted = _accepted(accept)
        self.replay = Replay(self.model, self.batch, accepted=self.accepted)
        self.expected = self.replay.cached(())

    def check(self, student: Student, subject: str = "your model") -> Diagnosis:
        """Check a student. Raises StudentError if it cannot even be called on a batch."""
        with one_thread(), torch.enable_grad():
            return self._check(student, subject)

    def _check(self, student: Student, subject: str) -> Diagnosis:
        checks, tensors = self._contract(student)
        notes = list(student.notes)
        if self.accepted:
            notes.append(f"held to be right: {', '.join(each.id for each in self.accepted)}")
        if any(check.passed is False for check in checks):
            return Diagnosis(subject, checks, notes=notes)

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
        explanations = self.replay.explain(got, tolerance) if place else []
        if place is not None and not explanations and tolerance == TOLERANCE:
            # A mistake may be made in float32: a table of sines, say.
            explanations = [
                ids
                for ids in self.replay.explain(got, FLOAT32_TOLERANCE)
                if ids and rounded(self.replay.cached(ids), got, mask)
            ]
            tolerance = FLOAT32_TOLERANCE if explanations else tolerance
        if place is not None:
            return self._differs(
                student, subject, checks, notes, got, tensors, place, tolerance, explanations
            )
        how = "" if tolerance == TOLERANCE else ", to float32's precision"
        checks.append(Check("numbers", True, f"{len(names)} tensors agree{how}"))
        return self._beyond_eval(student, subject, checks, notes, tolerance)

    def _contract(self, student: Student) -> tuple[list[Check], dict[str, Tensor]]:
        batch = self._fresh_batch()
        tensors = _call(student, batch)
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

        again = _call(student, self._fresh_batch())
        names = common(self.expected, tensors)  # in the order of computation
        other = [n for n in names if n in again and not close(tensors[n], again[n])]
        twin, _ = _twin(student, 0.5, 0.5)
        if other:
            text = (
                f"two calls give other numbers, first in {title(other[0])}: is a layer built "
                "inside forward, or is dropout active (your model still in train mode)?"
            )
        elif twin is not None and not touched:
            loose = _call(twin, self._fresh_batch())
            other = [n for n in names if n in loose and not close(tensors[n], loose[n], 1e-6)]
            text = (
                f"in eval mode, dropout changes {title(other[0])}: it must be off there (self."
                "training; scaled_dot_product_attention's dropout_p too)"
                if other
                else ""
            )
        else:
            text = ""
        checks.append(Check("repeatable", not other, text))
        known = {name: tensors[name] for name in common(self.expected, tensors)}
        hidden = blank(known, self.batch["attention_mask"])
        bad = [name for name in known if not hidden[name].isfinite().all()]
        text = f"first in {title(bad[0])}, at real tokens" if bad else ""
        checks.append(Check("no NaN", not bad, text))
        return checks, tensors

    def _fresh_batch(self) -> dict[str, Tensor]:
        """A copy, since a student may write to what it is given."""
        return {name: tensor.clone() for name, tensor in self.batch.items()}

    def _differs(
        self,
        student: Student,
        subject: str,
        checks: list[Check],
        notes: list[str],
        got: Mapping[str, Tensor],
        raw: Mapping[str, Tensor],
        place: Place,
        tolerance: float,
        explanations: Sequence[tuple[str, ...]],
    ) -> Diagnosis:
        before = list(self.expected).index(place.name)
        others = dict(itertools.islice(self.expected.items(), before))
        for name, parameter in self.model.named_parameters():
            if parameter.dim() == 1:
                others[name.removeprefix("bert.")] = parameter.detach()
        sizes = sizes_of(self.model.config, self.batch["input_ids"].shape[1])
        related = [
            *itertools.islice(self._loaded_wrong(student), 4),
            *relations(place, others, sizes, max(1e-7, tolerance)),
        ]
        ids = {each for explanation in explanations for each in explanation}
        if not ids and len(got) < FEW:
            notes.append(
                f"only {len(got)} of your tensors have a name known here; with more of them "
                "(hidden_states, attentions, or modules by name) more combinations can be tried"
            )
        invariants = [] if ids else list(self._invariants(student, raw, place))
        checks.append(Check("numbers", False, f"{title(place.name)} differ"))
        return Diagnosis(
            subject,
            checks,
            f"{title(place.name)}, {where(place, of_probe=True)}",
            place.name,
            related,
            explanations,
            invariants,
            notes,
            "exactly" if tolerance == TOLERANCE else "to float32's precision",
        )

    def _loaded_wrong(self, student: Student) -> Iterator[str]:
        """Sentences about parameters of a module that do not hold what their names say."""
        own = {} if student.module is None else dict(student.module.named_parameters())
        right = {n.removeprefix("bert."): p.detach() for n, p in self.model.named_parameters()}
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
        if not isinstance(student, Callee) or "last_hidden_state" not in raw:
            return
        yield from self._unchanged(student, raw["last_hidden_state"])

    def _unchanged(self, student: Callee, states: Tensor) -> Iterator[str]:
        """Further padding, and another order of the texts, must not change a real token."""
        real = self.batch["attention_mask"].bool()
        batch = {
            name: self.batch[name] for name in ("input_ids", "token_type_ids", "attention_mask")
        }
        longer = {name: nn.functional.pad(tensor, (0, 2)) for name, tensor in batch.items()}
        turned = {name: tensor.flip(0) for name, tensor in batch.items()}
        for words, changed, back in (
            (
                "more padding on the right changes real tokens",
                longer,
                lambda x: x[:, : real.shape[1]],
            ),
            ("another order of the texts changes them", turned, lambda x: x.flip(0)),
        ):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    other = back(student.tensors(changed)["last_hidden_state"])
            except BaseException as error:
                what = words.split(" changes")[0]
                yield f"with {what}, it fails: {in_words(error)}"
                continue
            if other.shape != states.shape or not close(other[real], states[real], 1e-4):
                yield words

    def _beyond_eval(
        self,
        student: Student,
        subject: str,
        checks: list[Check],
        notes: list[str],
        tolerance: float,
    ) -> Diagnosis:
        """Train mode and gradients, for a student whose numbers are right to `tolerance`."""
        explanations: list[tuple[str, ...]] = []
        place = ""
        for look in (self._dropout, self._gradients):
            check, place, explanations = look(student, tolerance)
            checks.append(check)
            if check.passed is False:
                break
        return Diagnosis(subject, checks, place, "", (), explanations, (), notes)

    def _dropout(
        self, student: Student, tolerance: float
    ) -> tuple[Check, str, list[tuple[str, ...]]]:
        mask = self.batch["attention_mask"]
        got: dict[str, Tensor] = {}
        for kind, setting in DROPOUTS.items():
            twin, refused = _twin(student, *setting)
            if refused:
                return Check("dropout", None, f"not looked at: {refused}"), "", []
            if not isinstance(twin, Callee) or twin.module is None:
                text = "not looked at: give a class, or build(config, weights) of a torch module"
                return Check("dropout", None, text), "", []
            twin.module.train()
            try:
                tensors = _call(twin, self._fresh_batch(), twin.returned)
            except StudentError as error:
                return Check("dropout", False, f"in train mode, {error}"), "", []
            known = {n: tensors[n].double() for n in common(self.expected, tensors) if n in STATES}
            got.update({f"{kind}: {n}": t for n, t in blank(known, mask).items()})
        if not got:
            text = "not looked at: return last_hidden_state or hidden_states"
            return Check("dropout", None, text), "", []
        plain = self._dropped((), on=False)
        if first_difference(plain, got, mask, FLOAT32_TOLERANCE) is None:
            text = "there is none: right for use, but not for training"
            return Check("dropout", None, text), "", []
        right = self._dropped(())
        place = first_difference(right, got, mask, FLOAT32_TOLERANCE)
        if place is None:
            return Check("dropout", True, "every place, shown by a probability of 1"), "", []
        kind, _, name = place.name.partition(": ")
        words = f"{title(name)} in train mode with {kind} dropout of probability 1, {where(place)}"
        explanations = explain(self._of_kind("train"), self._dropped, _tensors_agree, got)
        return Check("dropout", False, "it is in other places"), words, explanations

    def _dropped(self, mistakes: Sequence[Mistake], on: bool = True) -> dict[str, Tensor]:
        """The states of the reference in train mode, once for each setting of the dropouts."""
        tensors = {}
        model, mask = self.model, self.batch["attention_mask"]
        batch = {name: t for name, t in self.batch.items() if "label" not in name}
        for kind, (hidden, attention) in DROPOUTS.items():
            with patched(model, ()), torch.no_grad():
                for name, module in model.named_modules():
                    if isinstance(module, nn.Dropout):
                        module.p = attention if ".attention." in name else hidden
                        module.train(on)
                with patched(model, with_accepted(self.accepted, mistakes)):
                    output = model(**batch, output_hidden_states=True, output_attentions=True)
            states = dict(zip(STATES, output.hidden_states[1:], strict=True))
            tensors.update({f"{kind}: {n}": t for n, t in blank(states, mask).items()})
        return tensors

    def _gradients(
        self, student: Student, tolerance: float
    ) -> tuple[Check, str, list[tuple[str, ...]]]:
        if not isinstance(student, Callee) or student.module is None or not student.parameters:
            return Check("gradients", None, "not looked at: not a torch module"), "", []
        module = student.module
        module.eval().zero_grad()
        batch = {name: t for name, t in self._fresh_batch().items() if "label" not in name}
        try:
            live = outputs_by_name(student.run(batch), self.expected, self.model.config)
            graded = [name for name in GRADED if name in live]
            total = _objective({name: live[name] for name in graded}, batch["attention_mask"])
            if not total.requires_grad:
                return Check("gradients", False, "the output carries no gradient at all"), "", []
            total.backward()
        except BaseException as error:
            text = f"the backward pass fails: {in_words(error)}"
            return Check("gradients", False, text), "", []
        own = dict(module.named_parameters(remove_duplicate=False))
        got = {}
        sizes = {n.removeprefix("bert."): p.shape for n, p in self.model.named_parameters()}
        for ours, keys in student.parameters.items():
            if keys[0] not in own or own[keys[0]].shape != sizes[ours]:
                continue  # a buffer, or a longer table
            grad = own[keys[0]].grad
            got[ours] = torch.zeros(()).double() if grad is None else grad.detach()
        right = self._reference_gradients((), graded)
        exact = tolerance == TOLERANCE and all(g.dtype == torch.float64 for g in got.values())
        allowed = GRADIENT_TOLERANCE if exact else FLOAT32_TOLERANCE
        wrong = _gradient_difference(right, got, allowed)
        if not wrong:
            return Check("gradients", True, f"{len(got)} parameters agree"), "", []
        none = [name for name in wrong if not bool(got[name].any())]
        last = wrong[-1]  # nearest the output, where the backward pass begins
        words = f"{last} gets no gradient" if last in none else f"gradient of {last}"
        words += f"; {len(wrong)} of {len(got)} parameters differ"

        def gradients(mistakes: Sequence[Mistake]) -> dict[str, Tensor]:
            return self._reference_gradients(mistakes, graded)

        def agree(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
            return not _gradient_difference(one, other, allowed)

        explanations = explain(self._of_kind("gradient"), gradients, agree, got)
        return Check("gradients", False, "the backward pass differs"), words, explanations

    def _of_kind(self, kind: str) -> list[Mistake]:
        known = [each for each in CATALOGUE.values() if each.kind == kind]
        return [each for each in known if each not in self.accepted]

    def _reference_gradients(
        self, mistakes: Sequence[Mistake], graded: Sequence[str]
    ) -> dict[str, Tensor]:
        model = copy.deepcopy(self.model)
        live: dict[str, Tensor] = {}
        model.bert.register_forward_hook(
            lambda module, inputs, output: live.update(
                {"last_hidden_state": output[0], "pooler.activation": output[1]}
            )
        )
        batch = {name: t for name, t in self.batch.items() if "label" not in name}
        with patched(model, with_accepted(self.accepted, mistakes)):
            output = model(**batch, output_attentions=True)
            live["masked_word.logits"] = output.prediction_logits
            live["next_sentence.logits"] = output.seq_relationship_logits
            total = _objective({name: live[name] for name in graded}, batch["attention_mask"])
            total.backward()
        return {
            name.removeprefix("bert."): torch.zeros(())
            if parameter.grad is None
            else parameter.grad
            for name, parameter in model.named_parameters()
        }


def _accepted(ids: Sequence[str]) -> list[Mistake]:
    known = {name: each for name, each in CATALOGUE.items() if each.kind != "function"}
    for name in ids:
        if name not in known:
            similar = difflib.get_close_matches(name, known, 3, 0.4)
            hint = f"; did you mean one of {similar}?" if similar else ""
            raise ValueError(f"no mistake of the model is called {name!r}, to be accepted{hint}")
    accepted = [known[name] for name in dict.fromkeys(ids)]
    if not possible(accepted):
        raise ValueError(f"these exclude each other, and cannot all be accepted: {list(ids)}")
    return accepted


def _twin(student: Student, hidden: float, attention: float) -> tuple[Student | None, str]:
    """The student with these dropouts; or None, and why its constructor refuses them."""
    try:
        return student.with_dropout(hidden, attention), ""
    except StudentError as error:
        return None, str(error)


def real_rows(padded: Tensor, table: Tensor) -> Tensor:
    """Rows of real queries, for a table (B, A, T, T)."""
    return (~padded)[:, None, :, None].expand(table.shape)


def _call(
    student: Student,
    batch: Mapping[str, Tensor],
    compute: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] | None = None,
) -> dict[str, Tensor]:
    """All tensors of a student, or those that its method `compute` gives.

    A module that mixes float64 with numbers of its own is made float32, and tried again.
    """
    compute = compute or student.tensors
    try:
        return compute(batch)
    except StudentError:
        raise
    except BaseException as error:
        mixed = "dtype" in str(error) or "scalar type" in str(error)  # PyTorch's two wordings
        if isinstance(student, Callee) and student.module is not None and mixed:
            student.module.float()
            try:
                return compute(batch)
            except BaseException as second:
                error = second
        raise StudentError(
            f"it fails on the probe's batch (6 texts, 7 tokens): {in_words(error)}"
        ) from error


def _objective(outputs: Mapping[str, Tensor], mask: Tensor) -> Tensor:
    """One number that depends on every output; each with a weight of its own."""
    total = torch.zeros((), dtype=torch.float64)
    for output in outputs.values():
        weights = torch.arange(output.numel(), dtype=torch.float64).cos().view(output.shape)
        total = total + (output * weights * comparable(output, mask)).sum()
    return total


def _gradient_difference(
    right: Mapping[str, Tensor], got: Mapping[str, Tensor], tolerance: float
) -> list[str]:
    wrong = []
    for name, tensor in right.items():
        if name in got:
            a, b = torch.broadcast_tensors(tensor.double(), got[name].double())
            if name == "embeddings.token.weight" and a.dim() == 2:
                a, b = a[1:], b[1:]  # whether the row of [PAD] learns is a matter of taste
            if not close(a, b, tolerance * largest(a)):
                wrong.append(name)
    return wrong


def _tensors_agree(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(name in one and close(one[name], other[name], FLOAT32_TOLERANCE) for name in other)
