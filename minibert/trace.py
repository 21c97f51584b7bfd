"""Every intermediate by name, and the first place where two computations differ.

The modules of the model name their tensors: `encoder.blocks.3.attention.probabilities` is the
output of that module. `record` hooks each of them for one forward pass, always in the explicit
form of attention, and computes nothing itself: the traced run gives the numbers of the untraced
one. Threads may share a model: what another one runs meanwhile is not recorded.

Left out: gradients, and modules in train mode (dropout would make two traces incomparable).
"""

import dataclasses
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel
from minibert.system.numbers import percent

HIDDEN = -1e3  # scores of padding lie below; their exponential is 0, so their size says nothing


class Trace(Mapping[str, Tensor]):
    """Tensors by name, in the order in which they were computed; `print(trace)` is a table."""

    def __init__(self, tensors: Mapping[str, Tensor], tokens: list[list[str]] | None = None):
        self.tensors = dict(tensors)
        self.tokens = tokens

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.tensors:
            close = [known for known in self.tensors if name in known][:4]
            hint = f"; did you mean one of {close}?" if close else "; list(trace) has them all"
            raise KeyError(f"no tensor named {name!r} in this trace{hint}")
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def rows(self) -> list[tuple[str, tuple[int, ...], float]]:
        """(name, shape, L2 norm) of every tensor; scores of padding are left out of the norm."""
        return [
            (name, tuple(tensor.shape), float(_counted(name, tensor).double().norm()))
            for name, tensor in self.tensors.items()
        ]

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(name) for name, _, _ in rows)
        lines = [f"{'name':{width}}  {'shape':>20}  {'norm':>12}"]
        for name, shape, norm in rows:
            lines.append(f"{name:{width}}  {str(shape):>20}  {norm:12.4f}")
        return "\n".join(lines)

    __repr__ = __str__


def _counted(name: str, tensor: Tensor) -> Tensor:
    """Leaves out attention scores of padding, whose size is arbitrary. Keeps all else, with NaN."""
    return tensor[~(tensor <= HIDDEN)] if name.endswith("scores") else tensor


def record(
    model: BertModel | BertForPreTraining, batch: Mapping[str, Any], tokens: Any = None
) -> Trace:
    """Run `model` on `batch` once and keep every named intermediate.

    `batch` is what the model takes: input_ids (B, T) and, if wanted, the other arguments.
    The model and all its dropouts must be in eval mode; ValueError otherwise.

    >>> from minibert.core.config import BertConfig
    >>> config = BertConfig(vocab_size=61, hidden_size=20, num_hidden_layers=1,
    ...                     num_attention_heads=4, intermediate_size=44)
    >>> trace = record(BertModel(config).eval(), {"input_ids": torch.tensor([[2, 5, 3]])})
    >>> list(trace)[:4]
    ['embeddings.token', 'embeddings.segment', 'embeddings.position', 'embeddings.sum']
    >>> trace["encoder.blocks.0.attention.probabilities"].shape
    torch.Size([1, 4, 3, 3])
    """
    dropouts = (module for module in model.modules() if isinstance(module, nn.Dropout))
    if model.training or any(dropout.training for dropout in dropouts):
        raise ValueError("tracing needs a model in eval mode, dropout would blur it: model.eval()")
    tensors: dict[str, Tensor] = {}
    names: dict[nn.Module, list[str]] = {}  # several of a module that stands in several places
    for name, module in model.named_modules(remove_duplicate=False):
        if not any(module.children()) and not isinstance(module, nn.Dropout):
            names.setdefault(module, []).append(name.removeprefix("bert."))
    hooks = [module.register_forward_hook(_keep(tensors, names[module])) for module in names]
    try:
        with torch.no_grad():
            model(**batch, output_attentions=True)
    finally:
        for hook in hooks:
            hook.remove()
    return Trace(tensors, tokens)


def _keep(tensors: dict[str, Tensor], names: list[str]) -> Any:
    """A hook that keeps what a module gives in this thread, in one place after the other."""
    thread, places = threading.get_ident(), iter(names)

    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        if threading.get_ident() == thread:
            tensors[next(places, names[-1])] = output.detach()

    return hook


def difference_of(name: str, expected: Tensor, got: Tensor) -> Tensor:
    """The absolute differences of two tensors; the scores of padding all count as equal."""
    one, other = expected.double(), got.double()
    if name.endswith("scores"):
        one, other = one.clamp(min=HIDDEN), other.clamp(min=HIDDEN)
    return (other - one).abs()


def unit_of(name: str, tensor: Tensor) -> float:
    """The unit of a tolerance: the root mean square of the finite numbers, but at least 1."""
    numbers = _counted(name, tensor.double())
    numbers = numbers[numbers.isfinite()]
    return max(1.0, float(numbers.square().mean().sqrt())) if numbers.numel() else 1.0


@dataclasses.dataclass(frozen=True)
class Divergence:
    """Where two traces first differ; `print` says it in a sentence.

    name        the first tensor that differs, in the order of computation
    difference  the largest absolute difference in it
    share       the share of its entries that differ
    rows        the places along the first two axes that differ: (text, token); (text, head) for
                scores and probabilities, (text, feature) for what has no tokens, like the pooler
    what        the second word of these: "token", "head" or "feature"
    missing     in words, if the tensor is absent from the second trace or has another shape there
    """

    name: str
    difference: float
    share: float
    rows: tuple[tuple[int, ...], ...]
    what: str = "token"
    missing: str = ""

    def __str__(self) -> str:
        if self.missing:
            return f"the traces part at {self.name}: {self.missing}"
        shown = ", ".join(str(row) for row in self.rows[:6])
        if len(self.rows) > 6:
            shown += ", ..."
        return (
            f"the first tensor that differs is {self.name}: by up to {self.difference:.3g}, in "
            f"{percent(self.share)} of its numbers, at (text, {self.what}) {shown}"
        )


def compare(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], tolerance: float = 1e-5
) -> Divergence | None:
    """Walk the tensors of `first` in order; the first that differs in `second` by more than
    `tolerance` (absolute; in units of the tensor's root mean square where that is above 1), or
    None if none does. NaN or infinity in either counts as different.

    >>> same = {"a": torch.zeros(1, 3, 1), "b": torch.ones(1, 3, 1)}
    >>> compare(same, same) is None
    True
    >>> other = {**same, "b": torch.tensor([[[1.0], [1.5], [1.0]]])}
    >>> print(compare(same, other))  # doctest: +NORMALIZE_WHITESPACE
    the first tensor that differs is b: by up to 0.5, in 33.3 % of its numbers,
    at (text, token) (0, 1)
    """
    for name, expected in first.items():
        what = {2: "feature", 4: "head"}.get(expected.dim(), "token")
        got = second.get(name)
        if got is None:
            return Divergence(name, 0.0, 0.0, (), what, "it is not in the second trace")
        if got.shape != expected.shape:
            shapes = f"shape {tuple(expected.shape)} against {tuple(got.shape)}"
            return Divergence(name, 0.0, 0.0, (), what, shapes)
        difference = difference_of(name, expected, got)
        differs = ~(difference <= tolerance * unit_of(name, expected))  # so that NaN differs, too
        if differs.any():
            share = float(differs.double().mean())
            while differs.dim() > 2:
                differs = differs.any(dim=-1)
            rows = tuple(tuple(row) for row in differs.nonzero().tolist())
            return Divergence(name, float(difference.max()), share, rows, what)
    return None
