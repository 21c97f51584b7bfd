"""Wrong numbers: which known mistakes give them, how they are related to the right ones, and what
could not be looked at."""

import itertools
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from minibert.diagnosis.compare import close
from minibert.diagnosis.contract import other_batches
from minibert.diagnosis.naming import in_short, title
from minibert.diagnosis.relations import linear, relations, sizes_of, where
from minibert.diagnosis.report import Diagnosis
from minibert.diagnosis.search import Replay, possible
from minibert.diagnosis.stepwise import SoFar, Stepwise
from minibert.diagnosis.students import Callee, Student
from minibert.diagnosis.traces import (
    FLOAT32_TOLERANCE,
    TOLERANCE,
    Place,
    blank,
    common,
    first_difference,
    rounded,
)

FEW = 8  # tensors; with fewer, gaps between them go without saying


class WrongNumbers:
    """A student whose tensors `raw` first differ at `place`, by more than `tolerance`."""

    def __init__(
        self,
        replay: Replay,
        student: Student,
        raw: Mapping[str, Tensor],
        place: Place,
        tolerance: float,
    ):
        self.replay, self.student, self.raw, self.place = replay, student, raw, place
        self.tolerance = tolerance
        self.expected = replay.cached(())
        self.mask = replay.batch["attention_mask"]
        wide = {name: raw[name].double() for name in common(self.expected, raw)}
        self.got = blank(wide, self.mask)
        self.steps = Stepwise(replay, raw)

    def diagnosis(self) -> Diagnosis:
        """All that is known of them; the checks are left to the caller."""
        explanations = self.replay.explain(self.got, self.tolerance)
        known = SoFar([], [], [])
        if not explanations:
            known, explanations = self._so_far()
        so_far = [ids for ids in known.explanations if ids]
        related, beyond = self._related((so_far or [()])[0], known.unexplained)
        named = any(explanations)
        return Diagnosis(
            "",
            [],
            f"{title(self.place.name)}, {where(self.place, of_probe=True)}",
            self.place.name,
            related,
            explanations,
            [] if named else [*self._invariants()],
            [*self._too_little(known, named), *self._not_seen(explained=named)],
            "exactly" if self.tolerance == TOLERANCE else "to float32's precision",
            so_far,
            known.unexplained,
            beyond,
        )

    def _so_far(self) -> tuple[SoFar, list[tuple[str, ...]]]:
        """What is known step by step, and what of it explains everything; sets the tolerance.

        A mistake may be made in float32, a table of sines, say; so that is looked for as well.
        """
        best = self.steps.so_far(self.tolerance)
        for allowed in dict.fromkeys((self.tolerance, FLOAT32_TOLERANCE)):
            known = best if allowed == self.tolerance else self.steps.so_far(allowed)
            joined = self.steps.joined(best, known, allowed)
            for sets in [] if known.unexplained else [joined.explanations, known.explanations]:
                whole = [ids for ids in sets if self._gives(ids, allowed)]
                if whole:
                    self.tolerance = allowed
                    return SoFar([], [], []), whole
            if len(joined.explanations[0]) > len(best.explanations[0]):
                best, self.tolerance = joined, allowed
            if not best.unexplained:
                break
        return best, []

    def _gives(self, ids: tuple[str, ...], tolerance: float) -> bool:
        """True if these mistakes, made in the reference, give all of these tensors."""
        mistakes = [self.replay.by_id[each] for each in ids]
        if not ids or not possible(mistakes):
            return False
        made = self.replay.tensors(mistakes)
        if first_difference(made, self.got, self.mask, tolerance) is not None:
            return False
        return tolerance == TOLERANCE or rounded(made, self.got, self.mask)

    def _related(self, ids: tuple[str, ...], unexplained: list[str]) -> tuple[list[str], list[str]]:
        """How the first tensor is related to the right one; and, with these mistakes, the first
        that is unexplained, if it is another one."""
        names = list(self.expected)
        before = names[: names.index(self.place.name)]
        others = {name: self.expected[name] for name in before}
        others |= {name: p for name, p in self.replay.parameters.items() if p.dim() == 1}
        sizes = sizes_of(self.replay.model.config, self.mask.shape[1])
        loose = max(1e-7, self.tolerance)
        related = [
            *itertools.islice(self._loaded_wrong(), 4),
            *relations(self.place, others, sizes, loose),
        ]
        if not unexplained:
            return related, []
        first, inputs = self.steps.place(ids, unexplained[0], self.tolerance)
        layers = []
        if inputs is not None:
            layers = linear(first, inputs, self.replay.parameters, loose)
        if first.name == self.place.name:
            return [*related, *layers], []
        return related, [*relations(first, others, sizes, loose), *layers]

    def _loaded_wrong(self) -> Iterator[str]:
        """Sentences about parameters of a module that do not hold what their names say."""
        student, right = self.student, self.replay.parameters
        own = {} if student.module is None else dict(student.module.named_parameters())
        for name, key in ((n, key) for n, keys in student.parameters.items() for key in keys):
            held = own[key].detach() if key in own else right[name]
            turned = held.dim() == 2 and close(held.T, right[name], 1e-6)
            if close(held, right[name], 1e-6) or not (turned or held.shape == right[name].shape):
                continue
            other = next((each for each, p in right.items() if close(held, p, 1e-6)), "")
            what = "it transposed" if turned else other or "other numbers"
            yield f"your {key} does not hold {name} of the weights file, but {what}"

    def _too_little(self, known: SoFar, explained: bool) -> Iterator[str]:
        """A note that asks for more tensors, where they would help."""
        more = "with more of your tensors under known names (hidden_states, attentions, or modules)"
        if known.untried:
            yield (
                "pairs of known mistakes were not tried, there are too many, at "
                f"{', '.join(in_short(known.untried))}: {more} there are fewer at each step"
            )
        elif len(self.got) < FEW and not explained:
            yield (
                f"only {len(self.got)} of your tensors have a name known here: {more} more can be "
                "told"
            )

    def _not_seen(self, explained: bool) -> Iterator[str]:
        """Notes about tensors that could not be compared."""
        if isinstance(self.student, Callee) and self.student.repeated:
            yield (
                f"run more than once in one pass, and so not compared: "
                f"{', '.join(in_short(self.student.repeated))}"
            )
        names = list(self.expected)
        before = names[: names.index(self.place.name)]
        gap = list(itertools.takewhile(lambda name: name not in self.raw, reversed(before)))
        if gap and len(self.raw) >= FEW and not explained:
            steps = "1 step" if len(gap) == 1 else f"{len(gap)} steps"
            yield (
                f"before it nothing of yours has a name known here for {steps}, from "
                f"{title(gap[-1])} on: the mistake may be in any of them"
            )

    def _invariants(self) -> Iterator[str]:
        """What must hold for any BERT, whatever its weights."""
        place, padded = self.place, self.mask == 0
        for name, table in self.raw.items():
            if name.endswith("probabilities") and table.shape == self.expected[name].shape:
                real = (~padded)[:, None, :, None].expand(table.shape)  # rows of real queries
                mass = float((table * padded[:, None, None, :])[real].max())
                if mass > 1e-6:
                    yield f"{title(name)}: up to {mass:.2g} falls on padding, it must be 0"
                    break
        if place.name.endswith("norm") and place.same_shape:
            front = "" if place.name.startswith("masked_word") else "bert."
            module = self.replay.model.get_submodule(front + place.name)
            if isinstance(module, nn.LayerNorm):
                plain = ((place.got - module.bias) / module.weight).detach()[place.allowed[..., 0]]
                mean = float(plain.mean(-1).abs().max())
                low, high = (float(f(plain.var(-1, correction=0))) for f in (torch.min, torch.max))
                if mean > 1e-4 or low < 0.999 or high > 1.001:
                    yield (
                        f"without weight and bias, LayerNorm's vectors have means up to {mean:.2g} "
                        f"and variances from {low:.3g} to {high:.3g}; they must be 0 and 1"
                    )
        if isinstance(self.student, Callee):
            yield from other_batches(self.student, self.raw, self.replay.batch)
