"""So far explained: every step of the student judged by itself, behind an unknown one, too.

`search.py` wants to reproduce all of the student's numbers, and a single step that no catalogue
knows leaves it without an answer. Here the reference runs on the student's own tensors: as soon
as a step has given its result, the student's stands in its place. So each step starts from what
the student's started from, and differs only if it is itself another one.

A mistake is named only if it gives the student's very numbers, in at least one step that is wrong
without it, and makes no step wrong that is right without it. What no mistake gives is unexplained.
"""

import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from minibert.diagnosis.compare import close, distance
from minibert.diagnosis.search import WIDTH, Replay, possible
from minibert.diagnosis.traces import TOLERANCE, Place, Stopped, blank, common, comparable
from minibert.system.processes import one_thread
from minibert.trace import difference_of, unit_of

Ids = tuple[str, ...]

PAIRS = 1500  # pairs of mistakes that are tried at one step; a run ends behind it


@dataclasses.dataclass(frozen=True)
class SoFar:
    """Sets of mistakes, each of which explains as much as any, and the steps that none does."""

    explanations: list[Ids]
    unexplained: list[str]


class Stepwise:
    """One student's tensors, `raw` as they came, and the reference that runs on them.

    >>> from minibert.diagnosis.catalogue.all import CATALOGUE
    >>> from minibert.diagnosis.probe import full_batch, probe_model
    >>> replay = Replay(probe_model(), full_batch())
    >>> student = replay.tensors([CATALOGUE["relu"], CATALOGUE["pooler_tanh_missing"]])
    >>> student["encoder.blocks.0.attention_norm"] **= 2
    >>> Stepwise(replay, student).so_far().explanations
    [('pooler_tanh_missing', 'relu')]
    """

    def __init__(self, replay: Replay, raw: Mapping[str, Tensor]):
        self.replay = replay
        self.mask = replay.batch["attention_mask"]
        right = replay.cached(())
        self.own = {name: raw[name].double() for name in common(right, raw)}
        self.blanked = blank(self.own, self.mask)
        self.unit = {name: unit_of(name, right[name]) for name in self.own}
        self._runs: dict[Ids, dict[str, Tensor]] = {}
        self._acts: dict[str, set[str]] = {}
        self._off: dict[tuple[Ids, str], float] = {}

    def run(self, ids: Ids, last: str = "") -> dict[str, Tensor]:
        """What the reference with these mistakes makes of the student's own tensors, blanked.

        The run ends behind the step `last`, if that is given.
        """
        if ids in self._runs:
            return self._runs[ids]
        computed: dict[str, Tensor] = {}

        def look(name: str, inputs: Any, output: Tensor) -> Tensor | None:
            if name in self.own:
                computed[name] = output
            if name == last:
                raise Stopped
            return self.instead(name, output)

        try:
            everything = self.replay.tensors([self.replay.by_id[each] for each in ids], look)
            if "loss" in self.own and "loss" in everything:
                computed["loss"] = everything["loss"]
        except Stopped:
            return blank(computed, self.mask)
        self._runs[ids] = blank(computed, self.mask)
        return self._runs[ids]

    def instead(self, name: str, output: Tensor) -> Tensor | None:
        """The student's tensor, to stand in place of `output`; None if there is none that fits.

        Where it holds nothing but zeros at padding, as files do, padding stays as in `output`.
        """
        own = self.own.get(name)
        if own is None or own.shape != output.shape:
            return None
        real = comparable(own, self.mask)
        return own if own.masked_fill(real, 0).any() else torch.where(real, own, output)

    def so_far(self, tolerance: float = TOLERANCE) -> SoFar:
        """What is known of this student, and what is not."""
        with one_thread():
            return _Search(self, tolerance).run()

    def joined(self, exact: SoFar, rough: SoFar, tolerance: float) -> SoFar:
        """What shows exactly, with what shows to this tolerance besides; `rough` where the two
        cannot be made together."""
        pairs = itertools.product(exact.explanations, rough.explanations)
        unions = {tuple(sorted({*one, *other})) for one, other in pairs}
        sets = [ids for ids in unions if possible([self.replay.by_id[each] for each in ids])]
        if not sets:
            return rough
        least = min(map(len, sets))
        sets = sorted(ids for ids in sets if len(ids) == least)
        more = set(sets[0]).difference(*exact.explanations)
        unexplained = [
            name
            for name in exact.unexplained
            if not any(name in self.acts(each) for each in more)
            or self.off(sets[0], name) > tolerance
        ]
        return SoFar(sets, unexplained)

    def place(self, ids: Ids, name: str, tolerance: float) -> tuple[Place, Tensor | None]:
        """A step beside what it should give, with these mistakes, and what it read."""
        held: list[Tensor] = []

        def look(step: str, inputs: Any, output: Tensor) -> Tensor | None:
            if step == name:
                held.extend([output, *(each for each in inputs if isinstance(each, Tensor))])
                raise Stopped
            return self.instead(step, output)

        try:
            loss = self.replay.tensors([self.replay.by_id[each] for each in ids], look)["loss"]
            held.append(loss)
        except Stopped:
            pass
        right = blank({name: held[0]}, self.mask)[name].detach()
        yours = self.blanked[name]
        allowed = comparable(right, self.mask).expand(right.shape)
        if right.shape != yours.shape:
            return Place(name, right, yours, torch.ones_like(allowed), allowed), None
        wrong = ~(difference_of(name, right, yours) <= tolerance * self.unit[name])
        return Place(name, right, yours, wrong, allowed), held[1] if len(held) > 1 else None

    def off(self, ids: Ids, name: str) -> float:
        """How far the step `name` is from the student's with these mistakes, in its unit."""
        here = tuple(each for each in ids if name in self.acts(each))
        if (here, name) not in self._off:
            made = self.run(here, name).get(name)
            apart = torch.inf if made is None else distance(self.blanked[name], made)
            self._off[here, name] = apart / self.unit[name]
        return self._off[here, name]

    def acts(self, each: str) -> set[str]:
        """The steps that this mistake changes."""
        if each not in self._acts:
            one, other = self.run(()), self.run((each,))
            self._acts[each] = set(self.differing(one, other, TOLERANCE))
        return self._acts[each]

    def differing(
        self, one: Mapping[str, Tensor], other: Mapping[str, Tensor], tolerance: float
    ) -> Iterator[str]:
        """The names of the student's tensors that are not the same in both, in order."""
        for name in self.own:
            a, b = one.get(name), other.get(name)
            if (a is None) != (b is None) or (
                a is not None and b is not None and not close(a, b, tolerance * self.unit[name])
            ):
                yield name


class _Search:
    def __init__(self, steps: Stepwise, tolerance: float):
        self.steps = steps
        self.replay = steps.replay
        self.tolerance = tolerance

    def wrong(self, ids: Ids, tolerance: float | None = None) -> list[str]:
        """The steps at which the student is not what these mistakes make."""
        run = self.steps.run(ids)
        allowed = self.tolerance if tolerance is None else tolerance
        return list(self.steps.differing(self.steps.blanked, run, allowed))

    def run(self) -> SoFar:
        frontier: list[tuple[Ids, frozenset[str]]] = [((), frozenset())]
        ends: dict[Ids, list[str]] = {}
        while frontier:
            further: dict[tuple[Ids, frozenset[str]], int] = {}
            for ids, given_up in frontier:
                wrong = self.wrong(ids)
                name = next((each for each in wrong if each not in given_up), None)
                if name is None:  # what is known by now may explain a step that was given up
                    more = [each for step in wrong for each in self.alone(ids, step)]
                else:
                    more = self.extend(ids, name, given_up)
                for larger in more:
                    further[larger, given_up] = len(self.wrong(larger))
                if not more and name is not None:
                    further[ids, given_up | {name}] = len(wrong)
                elif not more:
                    ids = self.proven(ids)
                    ends[ids] = self.wrong(ids)
            ranked = sorted(further, key=lambda state: (further[state], len(state[0]), state[0]))
            frontier = ranked[:WIDTH]
        fewest = min((len(wrong), len(ids)) for ids, wrong in ends.items())
        best = [ids for ids, wrong in ends.items() if (len(wrong), len(ids)) == fewest]
        shared = [name for name in ends[best[0]] if all(name in ends[ids] for ids in best)]
        return SoFar(sorted(best), shared)

    def extend(self, ids: Ids, name: str, given_up: frozenset[str]) -> list[Ids]:
        """`ids` with one more mistake, or two, that make the step `name` the student's."""
        more = self.alone(ids, name)
        pairs = list(itertools.combinations(self.acting(name), 2))
        elsewhere = [re.sub(r"\d+", "N", each) for each in given_up]
        if not more and len(pairs) <= PAIRS and elsewhere.count(re.sub(r"\d+", "N", name)) < 2:
            more = self.attempt(ids, name, pairs)
        return more

    def alone(self, ids: Ids, name: str) -> list[Ids]:
        """`ids` with one more mistake that makes the step `name` the student's."""
        return self.attempt(ids, name, [(each,) for each in self.acting(name)])

    def acting(self, name: str) -> list[str]:
        return [m.id for m in self.replay.mistakes if name in self.steps.acts(m.id)]

    def attempt(self, ids: Ids, name: str, sets: Sequence[Ids]) -> list[Ids]:
        more = []
        for each in sets:
            chosen = tuple(sorted({*ids, *each}))
            mistakes = [self.replay.by_id[one] for one in chosen]
            apart = len(chosen) == len(ids) + len(each) and possible(mistakes)
            if apart and self.steps.off(chosen, name) <= self.tolerance:
                more.append(chosen)
        return more

    def proven(self, ids: Ids) -> Ids:
        """Those of the mistakes that give the student's numbers somewhere, and harm nowhere.

        A step that is right to all digits without a mistake must stay so, at any tolerance.
        """
        wrong, exactly = set(self.wrong(ids)), set(self.wrong(ids, TOLERANCE))
        for each in ids:
            rest = tuple(one for one in ids if one != each)
            without = set(self.wrong(rest))
            harmed = (wrong - without) | (exactly - set(self.wrong(rest, TOLERANCE)))
            if harmed or not without - wrong:
                return self.proven(rest)
        return ids
