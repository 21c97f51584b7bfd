"""What a model computed, by name, as far as it may be compared.

Two correct models may differ where it does not matter: at padded tokens, whose vectors nobody
reads, and in how negative a hidden score is. Both are blanked before anything is compared.
"""

import dataclasses
import functools
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from minibert.core.heads import BertForPreTraining
from minibert.trace import HIDDEN, difference_of, unit_of

TOLERANCE = 1e-9  # in float64: rounding stays below 1e-12, the smallest known mistake above 3e-5
GRADED = ("last_hidden_state", "pooler.activation", "masked_word.logits", "next_sentence.logits")
FLOAT32_TOLERANCE = 2e-5  # rounding stays below 5e-6 on the probe
# A step in float32 moves the first tensor by less than 2e-6, and on the whole by less than a part
# in 10 million; an epsilon of 1e-8 shrinks it by 7 of them.
ROUNDING = 5e-6
ONE_SIDED = 2e-7


class Stopped(Exception):
    """Raised through a forward pass that need not go on."""


Look = Callable[[str, Any, Tensor], Tensor | None]


def observe(
    model: BertForPreTraining,
    batch: Mapping[str, Any],
    look: Look | None = None,
    names: Container[str] | None = None,
) -> dict[str, Tensor]:
    """Every named tensor of one forward pass, in the order of computation, blanked.

    `look` and `names` as in `walk`.

    >>> from minibert.diagnosis.probe import full_batch, probe_model
    >>> list(observe(probe_model(), full_batch()))[-1]
    'loss'
    """
    tensors: dict[str, Tensor] = {}

    def keep(name: str, inputs: Any, output: Tensor) -> Tensor | None:
        other = look(name, inputs, output) if look else None
        tensors[name] = (output if other is None else other).detach()
        return other

    walk(model, batch, keep, names)
    return blank(tensors, batch["attention_mask"])


def walk(
    model: BertForPreTraining,
    batch: Mapping[str, Any],
    look: Look,
    names: Container[str] | None = None,
) -> None:
    """One forward pass. After each step, or each of `names`, look(name, inputs, output) is called;
    it may give a tensor to go on with, or raise Stopped, which comes through.

    Steps are called as in `minibert.trace`; to them come `last_hidden_state` and, with labels,
    `loss`.
    """

    def last_state(module: Any, inputs: Any, output: Any) -> Any:
        last = look("last_hidden_state", inputs, output[0])
        return output if last is None else (last, *output[1:])

    hooks = []
    for path, module in model.named_modules():
        name = path.removeprefix("bert.")
        leaf = not any(module.children()) and not isinstance(module, nn.Dropout)
        if leaf and (names is None or name in names):
            hooks.append(module.register_forward_hook(functools.partial(_looked, look, name)))
    if names is None or "last_hidden_state" in names:
        hooks.append(model.bert.encoder.register_forward_hook(last_state))
    try:
        with torch.no_grad():
            loss = model(**batch, output_attentions=True).loss
    finally:
        for hook in hooks:
            hook.remove()
    if loss is not None and (names is None or "loss" in names):
        look("loss", (), loss)


def _looked(look: Look, name: str, module: Any, inputs: Any, output: Tensor) -> Tensor | None:
    return look(name, inputs, output)


def blank(tensors: Mapping[str, Tensor], attention_mask: Tensor) -> dict[str, Tensor]:
    """Zeros at padded tokens, one value for all hidden scores; the rest unchanged.

    >>> blank({"x": torch.ones(1, 2, 1)}, torch.tensor([[1, 0]]))["x"].flatten()
    tensor([1., 0.])
    """
    blanked = {}
    hidden: dict[torch.Size, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.shape not in hidden:
            hidden[tensor.shape] = ~comparable(tensor, attention_mask)
        tensor = tensor.masked_fill(hidden[tensor.shape], 0)
        if name.endswith("scores"):
            tensor = tensor.masked_fill(tensor < HIDDEN, HIDDEN)
        blanked[name] = tensor
    return blanked


def comparable(tensor: Tensor, attention_mask: Tensor) -> Tensor:
    """Where `tensor` may be compared: real tokens, or pairs of a real query and a real key; of
    what the pooler makes (B, ...), the texts whose first place is no padding."""
    real = attention_mask.bool()  # (B, T)
    B, T = real.shape
    if tensor.dim() == 4 and tensor.shape[0] == B and tensor.shape[-2:] == (T, T):
        return real[:, None, :, None] & real[:, None, None, :]  # (B, 1, T, T)
    if tensor.dim() == 3 and tensor.shape[:2] == (B, T):
        return real[:, :, None]  # (B, T, 1)
    if tensor.dim() == 2 and tensor.shape[0] == B:
        return real[:, :1]  # (B, 1)
    return torch.ones((), dtype=torch.bool)


@dataclasses.dataclass(frozen=True)
class Place:
    """The first tensor that differs: what was expected, what came, and where they differ."""

    name: str
    expected: Tensor
    got: Tensor
    wrong: Tensor
    allowed: Tensor

    @property
    def same_shape(self) -> bool:
        return self.expected.shape == self.got.shape


def first_difference(
    expected: Mapping[str, Tensor],
    got: Mapping[str, Tensor],
    attention_mask: Tensor,
    tolerance: float = TOLERANCE,
) -> Place | None:
    """The first tensor of `expected` that `got` has too and that differs, or None.

    Both must be blanked. A difference is an absolute one above `tolerance`, in units of the
    tensor's root mean square where that is above 1. NaN and another shape are differences.
    """
    for name in common(expected, got):
        right, yours = expected[name], got[name].to(expected[name].dtype)
        allowed = comparable(right, attention_mask).expand(right.shape)
        if right.shape != yours.shape:
            return Place(name, right, yours, torch.ones_like(allowed), allowed)
        wrong = ~(difference_of(name, right, yours) <= tolerance * unit_of(name, right))
        if wrong.any():
            return Place(name, right, yours, wrong, allowed)
    return None


def rounded(
    expected: Mapping[str, Tensor], got: Mapping[str, Tensor], attention_mask: Tensor
) -> bool:
    """True if the two begin to differ as float32 rounds: by little, and to no side."""
    place = first_difference(expected, got, attention_mask)
    if place is None:
        return True
    right = place.expected
    if first_difference({place.name: right}, got, attention_mask, ROUNDING):
        return False
    right, yours = (x.masked_fill(right <= HIDDEN, 0) for x in (right, place.got))
    return float((right * (yours - right)).sum().abs()) <= ONE_SIDED * float((right * right).sum())


def common(expected: Mapping[str, Tensor], got: Iterable[str]) -> list[str]:
    """The names both have, in the order of computation."""
    names = set(got)
    return [name for name in expected if name in names]
