"""So far explained: every step of the student judged by itself, behind an unknown one, too.

`search.py` wants to reproduce all of the student's numbers, and a single step that no catalogue
knows leaves it without an answer. Here the reference runs on the student's own tensors: as soon
as a step has given its result, the student's stands in its place. So each step starts from what
the student's started from, and differs only if it is itself another one.

A mistake is named only if it gives the student's very numbers, in at least one step that is wrong
without it, and makes no step wrong that is right without it. What it would change in several
blocks must be seen in all of them, or in none. What no mistake gives is unexplained.
"""

import contextlib
import dataclasses
import functools
import itertools
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from minibert.diagnosis.compare import close, distance
from minibert.diagnosis.search import WIDTH, Replay, possible
from minibert.diagnosis.traces import TOLERANCE, Place, Stopped, blank, common, comparable
from minibert.system.processes import one_thread
from minibert.trace import difference_of, unit_of

Ids = tuple[str, ...]

PAIRS = 2000  # pairs of mistakes that are tried for one student; a run ends behind the step


@dataclasses.dataclass(frozen=True)
class SoFar:
    """Sets of mistakes, each of which explains as much as any, the steps that none does, and those
    of them at which pairs were too many to be tried."""

    explanations: list[Ids]
    unexplained: list[str]
    untried: list[str]


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
        self.real = {name: comparable(tensor, self.mask) for name, tensor in self.own.items()}
        self.padded = {n for n, x in self.own.items() if x.masked_fill(self.real[n], 0).any()}
        self.blanked = blank(self.own, self.mask)
        self.unit = {name: unit_of(name, right[name]) for name in self.own}
        self.pairs_left = PAIRS
        self.half_true: set[str] = set()  # mistakes, see _Search.half_true
        self.doubtful: set[str] = set()  # the steps that they give
        self._runs: dict[Ids, dict[str, Tensor]] = {}
        self._off: dict[tuple[Ids, str], float] = {}

    def run(self, ids: Ids, last: str = "") -> dict[str, Tensor]:
        """What the reference with these mistakes makes of the student's own tensors, blanked.

        With `last`, the run ends behind that step, and gives what it made alone.
        """
        if ids in self._runs:
            return self._runs[ids]
        computed: dict[str, Tensor] = {}

        def look(name: str, inputs: Any, output: Tensor) -> Tensor | None:
            computed[name] = output
            if name == last:
                raise Stopped
            return self.instead(name, output)

        try:
            self.replay.walk(ids, look, self.own)
        except Stopped:
            return blank({last: computed[last]}, self.mask)
        self._runs[ids] = blank(computed, self.mask)
        return self._runs[ids]

    def instead(self, name: str, output: Tensor) -> Tensor | None:
        """The student's tensor, to stand in place of `output`; None if it does not fit.

        Where it holds nothing but zeros at padding, as files do, padding stays as in `output`.
        """
        own = self.own[name]
        if own.shape != output.shape:
            return None
        return own if name in self.padded else torch.where(self.real[name], own, output)

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
        untried = [name for name in exact.untried if name in unexplained]
        return SoFar(sets, unexplained, untried)

    def place(self, ids: Ids, name: str, tolerance: float) -> tuple[Place, Tensor | None]:
        """A step beside what it should give, with these mistakes, and what it read."""
        held: list[Tensor] = []

        def look(step: str, inputs: Any, output: Tensor) -> Tensor | None:
            if step == name:
                held.extend([output, *(each for each in inputs if isinstance(each, Tensor))])
                raise Stopped
            return self.instead(step, output)

        with contextlib.suppress(Stopped):
            self.replay.walk(ids, look, self.own)
        right = blank({name: held[0]}, self.mask)[name].detach()
        yours = self.blanked[name]
        allowed = comparable(right, self.mask).expand(right.shape)
        if right.shape != yours.shape:
            return Place(name, right, yours, torch.ones_like(allowed), allowed), None
        wrong = ~(difference_of(name, right, yours) <= tolerance * self.unit[name])
        return Place(name, right, yours, wrong, allowed), held[1] if len(held) > 1 else None

    def off(self, ids: Ids, name: str) -> float:
        """How far the step `name` is from the student's with these mistakes, in its unit."""
        here = self.acting(ids, name)
        if (here, name) not in self._off:
            made = self.run(here, name).get(name)
            apart = torch.inf if made is None else distance(self.blanked[name], made)
            self._off[here, name] = apart / self.unit[name]
        return self._off[here, name]

    def has_run(self, ids: Ids, name: str) -> bool:
        """True if `off` need not compute it any more."""
        return (self.acting(ids, name), name) in self._off

    def acting(self, ids: Iterable[str], name: str) -> Ids:
        """Those of the mistakes that change the step `name`."""
        return tuple(each for each in ids if name in self.acts(each))

    def acts(self, each: str) -> dict[str, float]:
        """The steps that this mistake changes in a right BERT, of those that the student shows, and
        by how much."""

        def compare() -> dict[str, float]:
            one, other = self.of_a_right_bert.run(()), self.of_a_right_bert.run((each,))
            return {
                name: distance(one[name], other[name]) / self.unit[name]
                if name in one and name in other
                else torch.inf
                for name in self.differing(one, other, TOLERANCE)
            }

        return self.replay.once(("acts", each, *self.own), compare)

    @functools.cached_property
    def of_a_right_bert(self) -> "Stepwise":
        right = self.replay.cached(())
        return Stepwise(self.replay, {name: right[name] for name in self.own})

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
        self.untried: set[str] = set()  # steps at which pairs were too many
        self._wrong: dict[tuple[Ids, float], list[str]] = {}

    def wrong(self, ids: Ids, tolerance: float | None = None) -> list[str]:
        """The steps at which the student is not what these mistakes make."""
        allowed = self.tolerance if tolerance is None else tolerance
        if (ids, allowed) not in self._wrong:
            differing = self.steps.differing(self.steps.blanked, self.steps.run(ids), allowed)
            self._wrong[ids, allowed] = list(differing)
        return self._wrong[ids, allowed]

    def run(self) -> SoFar:
        ends = self.ends()
        while True:
            half_true = {ids: self.half_true(ids) for ids in self.best(ends)}
            best = [ids for ids, names in half_true.items() if not names]
            if best:
                break
            dropped = self.steps.half_true
            dropped.update(*half_true.values())
            for names in half_true.values():
                self.steps.doubtful.update(*names.values())
            ends = {self.proven(tuple(one for one in ids if one not in dropped)) for ids in ends}
        left = [self.wrong(ids) for ids in best]
        unexplained = [name for name in left[0] if all(name in others for others in left)]
        return SoFar(best, unexplained, [name for name in unexplained if name in self.untried])

    def ends(self) -> set[Ids]:
        """Sets to which nothing can be added: step by step, each is explained or given up."""
        frontier: list[tuple[Ids, frozenset[str]]] = [((), frozenset())]
        ends: set[Ids] = set()
        while frontier:
            further: dict[tuple[Ids, frozenset[str]], int] = {}
            for ids, given_up in frontier:
                wrong = self.wrong(ids)
                name = next((each for each in wrong if each not in given_up), None)
                if name is None:  # what is known by now may explain a step that was given up
                    more = [each for step in wrong for each in self.alone(ids, step)]
                else:
                    more = self.alone(ids, name, given_up)
                    more = more or self.in_pairs(ids, name, given_up)
                for larger in more:
                    further[larger, given_up] = len(self.wrong(larger))
                if not more and name is not None:
                    further[ids, given_up | {name}] = len(wrong)
                elif not more:
                    ends.add(self.proven(ids))
            ranked = sorted(further, key=lambda state: (further[state], len(state[0]), state[0]))
            frontier = ranked[:WIDTH]
        return ends

    def best(self, sets: Iterable[Ids]) -> list[Ids]:
        """Those that leave the fewest steps wrong, and of these the shortest."""
        left = {ids: (len(self.wrong(ids)), len(ids)) for ids in sets}
        return sorted(ids for ids in left if left[ids] == min(left.values()))

    def alone(self, ids: Ids, name: str, given_up: Container[str] = ()) -> list[Ids]:
        """`ids` with one more mistake that makes the step `name` the student's."""
        singles = [(each,) for each in self.candidates(ids, name, given_up)]
        return self.giving(name, self.larger(ids, singles))

    def in_pairs(self, ids: Ids, name: str, given_up: Container[str]) -> list[Ids]:
        """`ids` with two more that do."""
        pairs = itertools.combinations(self.candidates(ids, name, given_up), 2)
        sets = self.larger(ids, pairs)
        runs = sum(not self.steps.has_run(each, name) for each in sets)
        if runs > self.steps.pairs_left:
            self.untried.add(name)
            return []
        self.steps.pairs_left -= runs
        return self.giving(name, sets)

    def candidates(self, ids: Ids, name: str, given_up: Container[str]) -> Ids:
        """The mistakes that change this step. Out of the question is what would show as well at the
        same step of another block, where all is right, or where it was tried in vain."""
        wrong = self.wrong(ids)
        others = [
            each
            for each in self.steps.own
            if each != name and in_any_block(each) == in_any_block(name)
            if each not in wrong or each in given_up
        ]
        return tuple(
            each
            for each in self.replay.by_id
            if name in self.steps.acts(each) and each not in self.steps.half_true
            if not any(self.steps.acts(each).get(x, 0) > 10 * self.tolerance for x in others)
        )

    def larger(self, ids: Ids, more: Iterable[Ids]) -> list[Ids]:
        """`ids` with each of these, where they can be made together."""
        sets = (tuple(sorted({*ids, *each})) for each in more if not {*ids} & {*each})
        return [each for each in sets if possible([self.replay.by_id[one] for one in each])]

    def giving(self, name: str, sets: Iterable[Ids]) -> list[Ids]:
        """Those of the sets that make the step `name` the student's."""
        return [ids for ids in sets if self.steps.off(ids, name) <= self.tolerance]

    def proven(self, ids: Ids) -> Ids:
        """Those of the mistakes that give the student's numbers somewhere, and harm nowhere.

        A step that is right to all digits without a mistake must stay so, at any tolerance. One
        that a half-true mistake gave proves no other.
        """
        wrong, exactly = set(self.wrong(ids)), set(self.wrong(ids, TOLERANCE))
        for rest in without_each(ids).values():
            without = set(self.wrong(rest))
            harmed = (wrong - without) | (exactly - set(self.wrong(rest, TOLERANCE)))
            if harmed or not without - wrong - self.steps.doubtful:
                return self.proven(rest)
        return ids

    def half_true(self, ids: Ids) -> dict[str, set[str]]:
        """Mistakes that are seen in a block, but not in all in which they would show: of all blocks
        the catalogue says what may be true of one alone. With them the steps that they give."""
        wrong = set(self.wrong(ids))
        half = {}
        for each, rest in without_each(ids).items():
            given = set(self.wrong(rest)) - wrong
            seen = self.blocks(given)
            if seen and self.blocks(wrong & self.steps.acts(each).keys()) - seen:
                half[each] = given
        return half

    def blocks(self, names: Iterable[str]) -> set[str]:
        """The numbers of the blocks in which these steps stand; the last state is the last's."""
        last = f"blocks.{self.replay.model.config.num_hidden_layers - 1}"
        places = (name.replace("last_hidden_state", last) for name in names)
        return {number for place in places for number in re.findall(r"blocks\.(\d+)", place)}


def without_each(ids: Ids) -> dict[str, Ids]:
    """For each of the mistakes, the others."""
    return {each: tuple(other for other in ids if other != each) for each in ids}


def in_any_block(name: str) -> str:
    return re.sub(r"\d+", "N", name)
