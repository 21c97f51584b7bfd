"""Dropout: on which tensors it falls, and with which probability, one call at a time.

In one forward pass in train mode every call of dropout is counted. Then the pass is made again
for each of them, and that one alone makes zeros: what leaves the blocks and the heads tells where
it stands, however the student writes it.
"""

import contextlib
import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minibert.diagnosis.catalogue.mistake import CATALOGUE, Mistake, patched
from minibert.diagnosis.compare import close
from minibert.diagnosis.naming import in_short
from minibert.diagnosis.report import Check
from minibert.diagnosis.search import Replay, explain, with_accepted
from minibert.diagnosis.students import Callee, Student, StudentError, call, twin
from minibert.diagnosis.traces import FLOAT32_TOLERANCE, GRADED, blank, first_difference

HIDDEN_RATE, ATTENTION_RATE = 0.25, 0.5
RATES = {HIDDEN_RATE: "hidden_dropout_prob", ATTENTION_RATE: "attention_probs_dropout_prob"}
DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout")
STATES = ("encoder.blocks.0.output_norm", "encoder.blocks.1.output_norm")  # and GRADED


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of dropout: by which function, how often, and on what.

    Zeros in the probabilities and zeros in the merged heads give the same, so that `table` tells
    whether it falls on probabilities (..., T, T).
    """

    function: str
    rate: float
    input: Tensor
    table: bool


@contextlib.contextmanager
def _watched(calls: list[Call], dropped: Sequence[int]) -> Iterator[None]:
    """Inside, no call drops anything, but those of the numbers `dropped`, which drop all.

    That is so in this thread; in others dropout is as ever.
    """
    thread = threading.get_ident()

    def take(function: str, rate: float, x: Tensor, fused: bool = False) -> bool:
        table = fused or (x.dim() > 2 and x.shape[-1] == x.shape[-2])
        calls.append(Call(function, rate, x.detach(), table))
        return len(calls) - 1 in dropped

    def replaced(function: str) -> Callable[..., Tensor]:
        original = getattr(F, function)

        def stand_in(x: Tensor, p: float = 0.5, training: bool = True, *more: Any, **others: Any):
            if threading.get_ident() != thread:
                return original(x, p, training, *more, **others)
            return torch.zeros_like(x) if training and take(function, p, x) else x

        return stand_in

    attend = F.scaled_dot_product_attention

    def attended(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        *more: Any,
        **others: Any,
    ) -> Tensor:
        if threading.get_ident() != thread:
            return attend(query, key, value, attn_mask, dropout_p, *more, **others)
        context = attend(query, key, value, attn_mask, 0.0, *more, **others)
        drop = dropout_p and take("dropout", dropout_p, context, True)
        return torch.zeros_like(context) if drop else context

    with contextlib.ExitStack() as stack:
        for function in DROPOUTS:
            stack.enter_context(mock.patch.object(F, function, replaced(function)))
        stack.enter_context(mock.patch.object(F, "scaled_dot_product_attention", attended))
        yield


class Places:
    """Where dropout stands in a model that `run()` runs, in train mode."""

    def __init__(self, run: Callable[[], Mapping[str, Tensor]], replay: Replay):
        self._run = run
        self.mask = replay.batch["attention_mask"]
        self.calls: list[Call] = []
        self._states: dict[tuple[int, ...], dict[str, Tensor]] = {}
        self.plain = self._outputs((), self.calls)
        used = [number for number, each in enumerate(self.calls) if each.rate]
        self._groups = self._grouped(used)

    def live(self) -> Iterator[tuple[int, ...]]:
        """The places in order, looked at one by one: those that change nothing are left out."""
        return (each for each in self._groups if not self.idle(each))

    @property
    def groups(self) -> list[tuple[int, ...]]:
        return list(self.live())

    def _grouped(self, used: Sequence[int]) -> list[tuple[int, ...]]:
        """Calls that are one place: a loop over heads has one for each."""
        groups: list[tuple[int, ...]] = []
        for number in used:
            shape = self.calls[number].input.shape
            table = len(shape) == 3 and self.calls[number].table
            if table and groups and self.calls[groups[-1][-1]].input.shape == shape:
                groups[-1] += (number,)
            else:
                groups.append((number,))
        return groups

    def _outputs(self, dropped: Sequence[int], calls: list[Call]) -> dict[str, Tensor]:
        with _watched(calls, dropped), torch.no_grad():
            tensors = self._run()
        chosen = {n: t.double() for n, t in tensors.items() if n in (*STATES, *GRADED)}
        return blank(chosen, self.mask)

    def states(self, group: tuple[int, ...]) -> dict[str, Tensor]:
        """The outputs when these calls make zeros, and no other."""
        if group not in self._states:
            self._states[group] = self._outputs(group, [])
        return self._states[group]

    def idle(self, group: tuple[int, ...]) -> bool:
        """True if it changes nothing: a result that nobody uses."""
        return _alike(self.plain, self.states(group))

    def same(self, group: tuple[int, ...], other: "Places", its: tuple[int, ...]) -> bool:
        """True if the two stand in the same place, by the same function."""
        one, two = self.calls[group[0]], other.calls[its[0]]
        alike = (one.function, one.table) == (two.function, two.table)
        return alike and _alike(self.states(group), other.states(its))

    def join(self, right: "Places") -> None:
        """Make one place of calls that are one in `right`: a loop over texts has one for each."""
        for wanted in right.groups:
            whole = right.states(wanted)
            groups = self.groups
            parts = [
                each
                for each in groups
                if self._part(self.states(each), whole) and not _alike(self.states(each), whole)
            ]
            if len(parts) > 1:
                joined = tuple(sorted(number for part in parts for number in part))
                first = groups.index(parts[0])
                rest = [each for each in groups[first:] if each not in parts]
                self._groups = [*groups[:first], joined, *rest]

    def _part(self, states: Mapping[str, Tensor], whole: Mapping[str, Tensor]) -> bool:
        """True if each text is as in `whole`, or as it is where nothing is dropped."""
        names = states.keys() & whole.keys()
        texts = range(len(self.mask))
        return all(
            any(
                all(close(states[name][n], other[name][n], FLOAT32_TOLERANCE) for name in names)
                for other in (whole, self.plain)
            )
            for n in texts
        )

    def rate(self, group: tuple[int, ...]) -> str:
        """The setting from which its probability comes; "" for another number."""
        return RATES.get(self.calls[group[0]].rate, "")

    def agrees(self, other: "Places") -> bool:
        """True if both have the same places, with the same probabilities where they are known."""
        return all(
            one is not None
            and two is not None
            and self.same(one, other, two)
            and (self.rate(one) == other.rate(two) or not self.rate(one) or not other.rate(two))
            for one, two in itertools.zip_longest(self.live(), other.live())
        )


def _alike(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    names = one.keys() & other.keys()
    return all(close(one[name], other[name], FLOAT32_TOLERANCE) for name in names)


def check_dropout(student: Student, replay: Replay) -> tuple[Check, str, list[str], list[tuple]]:
    """The check, the place, sentences about it, and the known mistakes that give the same."""

    def unknown(text: str) -> tuple[Check, str, list[str], list[tuple]]:
        return Check("dropout", None, text), "", [], []

    live, refused = twin(student, HIDDEN_RATE, ATTENTION_RATE)
    if refused:
        return unknown(f"not looked at: {refused}")
    if not isinstance(live, Callee) or live.module is None:
        return unknown("not looked at: give a class, or build(config, weights) of a torch module")
    live.module.train()
    batch = {name: t for name, t in replay.batch.items() if "label" not in name}
    own = live

    def run() -> dict[str, Tensor]:
        return call(own, {name: t.clone() for name, t in batch.items()}, own.returned)

    try:
        yours = Places(run, replay)
    except StudentError as error:
        return Check("dropout", False, f"in train mode, {error}"), "", [], []
    if not yours.plain:
        return unknown("not looked at: return last_hidden_state or hidden_states")
    expected = {name: replay.cached(())[name] for name in yours.plain}
    if first_difference(expected, yours.plain, yours.mask, FLOAT32_TOLERANCE) is not None:
        text = "in train mode the numbers are other ones, even where nothing is dropped"
        return Check("dropout", False, text), "", [], []
    if not yours.groups:
        return unknown("there is none: right for use, but not for training")

    names = tuple(yours.plain)

    def places(mistakes: Sequence[Mistake]) -> Places:
        def compute() -> Places:
            return Places(lambda: _reference(replay, mistakes, names), replay)

        return replay.once(("dropout", *names), compute, mistakes)

    right = places(())
    yours.join(right)
    if yours.agrees(right):
        fixed = [each for each in yours.groups if not yours.rate(each)]
        text = "every place" if not fixed else "every place; a probability is not the config's"
        return Check("dropout", True, text), "", [], []
    known = [m for m in CATALOGUE.values() if m.kind == "train" and m not in replay.accepted]
    explanations = explain(known, places, Places.agrees, yours, most=2).sets
    sentences = list(_sentences(yours, right, replay))
    place = "where dropout falls in train mode, or how often"
    return Check("dropout", False, "it is in other places"), place, sentences, explanations


def _reference(
    replay: Replay, mistakes: Sequence[Mistake], names: Sequence[str]
) -> dict[str, Tensor]:
    model, tensors = replay.model, {}
    batch = {name: t for name, t in replay.batch.items() if "label" not in name}
    with patched(model, ()):
        for name, module in model.named_modules():
            if isinstance(module, nn.Dropout):
                module.p = ATTENTION_RATE if ".attention." in name else HIDDEN_RATE
                module.train()
        with patched(model, with_accepted(replay.accepted, mistakes)):
            held: list[Any] = []
            hook = model.bert.register_forward_hook(lambda m, i, output: held.append(output))
            output = model(**batch, output_hidden_states=True, output_attentions=True)
            hook.remove()
    tensors = dict(zip(STATES, output.hidden_states[1:], strict=False))
    outputs = (held[0][0], held[0][1], output.prediction_logits, output.seq_relationship_logits)
    tensors |= dict(zip(GRADED, outputs, strict=True))
    return {name: tensor for name, tensor in tensors.items() if name in names}


def _sentences(yours: Places, right: Places, replay: Replay) -> Iterator[str]:
    """What falls on what, where the two do not agree."""
    rest = list(right.groups)
    told: dict[str, list[str]] = {}  # a sentence: the tensors of which it is true
    for group in yours.groups:
        match = next((each for each in rest if yours.same(group, right, each)), None)
        what = _what(yours.calls[group[0]].input, replay)
        if match is None:
            function = yours.calls[group[0]].function
            told.setdefault(f"{function} falls on {{}}, where BERT has none", []).append(what)
            continue
        rest.remove(match)
        rate, wanted = yours.rate(group), right.rate(match)
        if rate and rate != wanted:
            words = f"dropout on {{}} has the probability {rate}, expected {wanted}"
            told.setdefault(words, []).append(what)
    for group in rest:
        what = _what(right.calls[group[0]].input, replay)
        told.setdefault("no dropout falls on {}", []).append(what)
    for words, names in told.items():
        yield from (words.format(name) for name in in_short(names))


def _what(tensor: Tensor, replay: Replay) -> str:
    """The name of a tensor, where the reference has one with these numbers."""
    mask, right = replay.batch["attention_mask"], replay.cached(())
    for name in right:
        yours = blank({name: tensor.double()}, mask)[name]
        if close(yours, right[name], FLOAT32_TOLERANCE):
            return name
    return f"a tensor of shape {tuple(tensor.shape)}"
