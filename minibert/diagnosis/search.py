"""Which known mistakes, made together, give these very numbers?

The reference is run with one mistake after another in it, and its tensors are compared with the
student's, in the order of computation. A mistake that moves the first difference further down
explains one stage; the search goes on from there for the next. The shortest sets that leave no
difference are the answer. Nothing less than all tensors counts: a set that explains only some is
no explanation. If several sets of the same size do, all are given.

`Replay` does so for the hundred mistakes of a model. Where there are fewer and the result is one,
`explain` tries them all, then pairs, then three together, as far as a person would wait.
"""

import itertools
import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from minibert.core.heads import BertForPreTraining
from minibert.diagnosis.catalogue.all import model_mistakes
from minibert.diagnosis.catalogue.mistake import Mistake, patched
from minibert.diagnosis.compare import close
from minibert.diagnosis.traces import TOLERANCE, Look, Stopped, blank, common, observe, walk
from minibert.system.processes import one_thread
from minibert.trace import unit_of

MOST = 4  # mistakes in one explanation
WIDTH = 6  # partial explanations that are followed
PAIRS = 600  # pairs of mistakes that are tried where no single one helps
SETS = 1200  # sets of one size that `explain` tries, a few seconds where each is a run of a model


class Replay:
    """The reference with mistakes in it, on one batch; runs are remembered.

    >>> from minibert.diagnosis.probe import full_batch, probe_model
    >>> from minibert.diagnosis.catalogue.all import CATALOGUE
    >>> replay = Replay(probe_model(), full_batch())
    >>> replay.explain(replay.tensors([CATALOGUE["relu"]]))
    [('relu',)]
    """

    def __init__(
        self,
        model: BertForPreTraining,
        batch: Mapping[str, Tensor],
        mistakes: Sequence[Mistake] | None = None,
        accepted: Sequence[Mistake] = (),
    ):
        self.model = model
        self.batch = batch
        self.accepted = accepted
        known = model_mistakes() if mistakes is None else mistakes
        self.mistakes = [each for each in known if each not in accepted]
        self.by_id = {each.id: each for each in self.mistakes}
        self.parameters = {
            name.removeprefix("bert."): p.detach() for name, p in model.named_parameters()
        }
        self._known: dict[tuple[str, ...], dict[str, Tensor]] = {}
        self._once: dict[tuple[Any, ...], Any] = {}

    def tensors(
        self,
        mistakes: Iterable[Mistake] = (),
        look: Look | None = None,
        names: Container[str] | None = None,
    ) -> dict[str, Tensor]:
        """The blanked tensors of the reference with these mistakes in it; `look` and `names` as in
        observe."""
        with patched(self.model, with_accepted(self.accepted, mistakes)):
            return observe(self.model, self.batch, look, names)

    def walk(self, ids: Iterable[str], look: Look, names: Container[str]) -> None:
        """One run of the reference with these mistakes in it, as `traces.walk` does it."""
        mistakes = [self.by_id[each] for each in ids]
        with patched(self.model, with_accepted(self.accepted, mistakes)):
            walk(self.model, self.batch, look, names)

    def cached(self, ids: tuple[str, ...]) -> dict[str, Tensor]:
        """The tensors with one mistake in the reference, or none; remembered."""
        if ids not in self._known:
            self._known[ids] = self.tensors([self.by_id[each] for each in ids])
        return self._known[ids]

    def once(
        self, key: tuple[Any, ...], compute: Callable[[], Any], mistakes: Sequence[Mistake] = ()
    ) -> Any:
        """What compute() makes of the reference with these mistakes. It is remembered for the next
        student, but for several mistakes together, of which there are too many."""
        if len(mistakes) > 1:
            return compute()
        key = (*key, *(each.id for each in mistakes))
        if key not in self._once:
            self._once[key] = compute()
        return self._once[key]

    def explain(
        self, observed: Mapping[str, Tensor], tolerance: float = TOLERANCE
    ) -> list[tuple[str, ...]]:
        """The shortest sets of mistakes that reproduce `observed` (blanked), by their ids.

        [()] if there is nothing to explain; [] if no set is known.
        """
        with one_thread():
            return _Search(self, observed, tolerance).run()


class _Search:
    def __init__(self, replay: Replay, observed: Mapping[str, Tensor], tolerance: float):
        self.replay = replay
        right = replay.cached(())
        self.observed = {name: observed[name].double() for name in common(right, observed)}
        self.allowed = {
            name: tolerance * unit_of(name, tensor) for name, tensor in self.observed.items()
        }
        self.place = {name: index for index, name in enumerate(self.observed)}
        key = ("shows", *self.observed, tolerance)
        self.shows: dict[str, int] = replay.once(key, self.first_shown)
        self.reached: dict[tuple[str, ...], int] = {}

    def first_shown(self) -> dict[str, int]:
        """The tensor at which each mistake shows, alone."""
        right, cached = self.replay.cached(()), self.replay.cached
        return {each: self.agree(right, cached((each,))) for each in self.replay.by_id}

    def run(self) -> list[tuple[str, ...]]:
        whole = len(self.observed)
        start = self.agree(self.observed, self.replay.cached(()))
        if start == whole:
            return [()]
        for thorough in (False, True):
            frontier: list[tuple[int, tuple[str, ...]]] = [(start, ())]
            for _ in range(MOST):
                further: dict[tuple[str, ...], int] = {}
                for stage, ids in frontier:
                    further |= self.extend(stage, ids, thorough)
                sets = sorted(ids for ids, reached in further.items() if reached == whole)
                if sets:
                    return [ids for ids in sets if len(ids) == min(map(len, sets))]
                ranked = sorted(((reached, ids) for ids, reached in further.items()), reverse=True)
                frontier = ranked[:WIDTH]
        return []

    def extend(self, stage: int, ids: tuple[str, ...], thorough: bool) -> dict:
        """`ids` with one more mistake, or two where one does not help: {set: tensors explained}.

        At first only mistakes that show at this stage are tried; then, `thorough`, all.
        """
        here = [each for each in self.shows if self.shows[each] == stage]
        singles = [(each,) for each in (self.shows if thorough or not ids else here)]
        further = self.attempt(stage, ids, singles)
        pairs = list(itertools.combinations(here, 2))
        if (thorough or not further) and len(pairs) <= PAIRS:
            further |= self.attempt(stage, ids, pairs)
        return further

    def attempt(self, stage: int, ids: tuple[str, ...], more: Sequence[tuple[str, ...]]) -> dict:
        """Those of the sets that get beyond `stage`, with how far they get."""
        further = {}
        for each in more:
            chosen = tuple(sorted({*ids, *each}))
            if len(chosen) < len(ids) + len(each) or len(chosen) > MOST:
                continue
            mistakes = [self.replay.by_id[name] for name in chosen]
            if not possible(mistakes):
                continue
            if chosen not in self.reached:
                self.reached[chosen] = self.reach(stage, chosen, mistakes)
            if self.reached[chosen] > stage:
                further[chosen] = self.reached[chosen]
        return further

    def reach(self, stage: int, ids: tuple[str, ...], mistakes: Sequence[Mistake]) -> int:
        """How many tensors these mistakes explain; 0 if not more than `stage`."""
        if len(ids) == 1:
            made = self.replay.cached(ids)
            here = self.same(list(self.observed)[stage], self.observed, made)
            return self.agree(self.observed, made) if here else 0

        mask = self.replay.batch["attention_mask"]

        def stop(name: str, inputs: Any, tensor: Tensor) -> None:
            if self.place[name] <= stage:
                tensor = blank({name: tensor}, mask)[name]
                if not close(self.observed[name], tensor, self.allowed[name]):
                    raise Stopped

        try:
            return self.agree(self.observed, self.replay.tensors(mistakes, stop, self.observed))
        except Stopped:
            return 0

    def agree(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> int:
        """How many of the observed tensors, in order, are the same in both."""
        for index, name in enumerate(self.observed):
            if not self.same(name, one, other):
                return index
        return len(self.observed)

    def same(self, name: str, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
        a, b = one.get(name), other.get(name)
        return a is not None and b is not None and close(a, b, self.allowed[name])


class Explained(NamedTuple):
    """What `explain` comes to: sets of mistakes by their ids, whether they give the results exactly
    or but loosely, and how many mistakes were tried together."""

    sets: list[tuple[str, ...]]
    exactly: bool
    together: int


def explain(
    known: Iterable[Mistake],
    compute: Callable[[Sequence[Mistake]], Any],
    agree: Callable[[Any, Any], bool],
    observed: Any,
    most: int = 3,
    loosely: Callable[[Any, Any], bool] | None = None,
) -> Explained:
    """The smallest sets of up to `most` known mistakes that reproduce `observed`; where none does,
    those that do by the comparison `loosely`. No size is tried that has more than SETS sets.

    compute(mistakes) gives the results with these mistakes, or None where they cannot be run
    together; agree(results, observed) compares. A mistake that shows nothing alone is not
    combined with others.
    """
    right = compute(())
    known = list(known)
    showing: list[Mistake] = []
    near: list[tuple[str, ...]] = []
    for count in range(1, most + 1):
        if count > 1 and math.comb(len(showing), count) > SETS:
            return Explained(near, False, count - 1)
        exact, rough = [], []
        for chosen in itertools.combinations(known if count == 1 else showing, count):
            results = compute(chosen) if possible(chosen) else None
            if results is None:
                continue
            ids = tuple(sorted(each.id for each in chosen))
            if agree(results, observed):
                exact.append(ids)
            elif loosely is not None and loosely(results, observed):
                rough.append(ids)
            if count == 1 and not agree(results, right):
                showing += chosen
        if exact:
            return Explained(exact, True, count)
        near = near or rough
    return Explained(near, False, most)


def with_accepted(accepted: Sequence[Mistake], mistakes: Iterable[Mistake]) -> list[Mistake]:
    """`mistakes`, and of the accepted ones all but those whose place they take."""
    mistakes = list(mistakes)
    return [a for a in accepted if not any(a.excludes(each) for each in mistakes)] + mistakes


def possible(mistakes: Sequence[Mistake]) -> bool:
    """True if these mistakes can be made together."""
    pairs = itertools.combinations(mistakes, 2)
    return not any(one.excludes(other) for one, other in pairs)
