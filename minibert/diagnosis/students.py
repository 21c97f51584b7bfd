"""A student's model, brought into the form the checker reads: tensors under the reference's names.

Four shapes are taken:

* an `nn.Module` class, built with the probe's config and filled with its weights by name;
* an `nn.Module` object of the probe's size, filled with its weights by name;
* a function `build(config, weights)` that returns something to call on a batch, in any framework:
  weights are numpy arrays under Hugging Face's names;
* a file of arrays, `.npz` or `.safetensors`, computed anywhere from the dumped probe.

`building.py` makes the first three.
"""

import inspect
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minibert.core.config import BertConfig
from minibert.diagnosis.naming import by_name, known_names, our_name, outputs_by_name

ARGUMENTS = {
    "input_ids": ("input_ids", "ids", "tokens", "token_ids", "inputs", "input", "src", "x", "seq"),
    "token_type_ids": (
        *("token_type_ids", "segment_ids", "segments", "segment_info", "segment_label", "type_ids"),
        *("segment_labels", "segment", "seg_ids", "seg", "token_types", "token_type"),
    ),
    "attention_mask": (
        *("attention_mask", "mask", "padding_mask", "attn_mask", "input_mask", "pad_mask"),
        *("src_mask", "masks", "token_mask", "mask_ids"),
    ),
    "padding": ("src_key_padding_mask", "key_padding_mask"),  # as torch has it, true at padding
    "lengths": ("valid_lens", "valid_len", "lengths", "seq_lens", "seq_lengths"),
    "labels": ("labels",),
    "next_sentence_label": ("next_sentence_label",),
}


class StudentError(ValueError):
    """The student's model cannot be built, filled or called; the message says what to do."""


def in_words(error: BaseException) -> str:
    """The error, and the last line of the student's own code on the way to it."""
    ours = (str(Path(__file__).parents[1]), "site-packages", "<frozen")
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not any(part in frame.filename for part in ours)]
    lines = [f'{Path(frame.filename).name}, line {frame.lineno}: "{frame.line}"' for frame in own]
    return f"{type(error).__name__}: {error}" + (f" ({lines[-1]})" if lines else "")


class Student:
    """Something to call on a batch, and what is known about it.

    `build(dropout_hidden, dropout_attention)` makes a fresh copy, where that is possible.
    """

    module: nn.Module | None = None
    parameters: Mapping[str, list[str]] = {}
    notes: tuple[str, ...] = ()

    def tensors(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The student's tensors on `batch`, under the reference's names, not blanked."""
        raise NotImplementedError

    def with_dropout(self, hidden: float, attention: float) -> "Student | None":
        """The same student with these dropouts, in train mode; None if that cannot be made."""
        return None


class Arrays(Student):
    """Tensors that were computed elsewhere, from the dumped probe."""

    def __init__(
        self, arrays: Mapping[str, Any], reference: Mapping[str, Tensor], config: BertConfig
    ):
        named = {name: torch.as_tensor(np.asarray(value)) for name, value in arrays.items()}
        self._tensors = by_name(named, reference, config)
        if not self._tensors:
            raise StudentError(
                f"none of the {len(named)} arrays has a name of the probe: got "
                f"{sorted(named)[:5]}; expected names such as {list(reference)[5:8]}, or "
                f"Hugging Face's last_hidden_state, hidden_states.1, attentions.0"
            )
        unknown = [name for name in named if name not in known_names(named, reference, config)]
        if unknown:
            self.notes = (f"not looked at, no such tensor in the reference: {unknown[:5]}",)

    def tensors(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(self._tensors)


class Callee(Student):
    """A module or function that is called on the batch by the names of its arguments."""

    def __init__(
        self,
        call: Callable[..., Any],
        reference: Mapping[str, Tensor],
        config: BertConfig,
        names: Mapping[str, str] | None = None,
        again: Callable[[float, float], "Callee"] | None = None,
    ):
        self.call = call
        self.reference = reference
        self.config = config
        self.names = dict(names or {})
        self._again = again
        self.repeated: list[str] = []  # modules that ran more than once in the last call
        if isinstance(call, nn.Module):
            self.module = call

    @property
    def takes_lengths(self) -> bool:
        """True if it is told lengths in place of a mask; then padding can only be on the right."""
        wanted = set(inspect.signature(self._target).parameters)
        masks = (*ARGUMENTS["attention_mask"], *ARGUMENTS["padding"])
        return not wanted.isdisjoint(ARGUMENTS["lengths"]) and wanted.isdisjoint(masks)

    @property
    def _target(self) -> Callable[..., Any]:
        return self.call.forward if isinstance(self.call, nn.Module) else self.call

    def with_dropout(self, hidden: float, attention: float) -> "Student | None":
        return self._again(hidden, attention) if self._again else None

    def tensors(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        seen: dict[str, list[Tensor]] = {}
        hooks = []
        if self.module is not None:
            for path, module in self.module.named_modules():
                ours = our_name(path, self.config, self.names, modules=True)
                if ours in self.reference:
                    hooks.append(module.register_forward_hook(_keep(seen, ours)))
        try:
            tensors = self.returned(batch)
        finally:
            for hook in hooks:
                hook.remove()
        # A module that is called more than once has no single output to compare.
        self.repeated = [name for name, calls in seen.items() if len(calls) > 1]
        for name, calls in seen.items():
            if len(calls) == 1:
                tensors.setdefault(name, _as_wide(calls[0], self.reference[name]))
        return tensors

    def returned(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the student itself returns, without what its modules compute on the way."""
        with torch.no_grad():
            return outputs_by_name(self.run(batch), self.reference, self.config)

    def run(self, batch: Mapping[str, Tensor]) -> Any:
        """Call the student on (a copy of) the batch; its own output comes back."""
        wanted = inspect.signature(self._target).parameters
        mask = batch["attention_mask"]
        batch = {**batch, "padding": mask == 0, "lengths": mask.sum(dim=1)}
        arguments: dict[str, Any] = {}
        for name, synonyms in ARGUMENTS.items():
            argument = next((word for word in synonyms if word in wanted), None)
            if argument is not None and name in batch:
                arguments[argument] = batch[name]
        if not arguments.keys() & set(ARGUMENTS["input_ids"]):
            raise StudentError(
                f"your model must take input_ids, token_type_ids and attention_mask by these "
                f"names; its arguments are {list(wanted)}"
            )
        for switch in ("output_hidden_states", "output_attentions", "return_dict"):
            if switch in wanted or _passes_on(self.call, wanted, switch):
                arguments[switch] = True
        with torch.set_grad_enabled(torch.is_grad_enabled()):  # a switch of its own ends here
            return self.call(**arguments)


def _passes_on(call: Any, wanted: Mapping[str, inspect.Parameter], switch: str) -> bool:
    """transformers' models take these switches through **kwargs."""
    open_ended = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in wanted.values())
    return open_ended and hasattr(getattr(call, "config", None), switch)


def _keep(seen: dict[str, list[Tensor]], name: str) -> Callable[..., None]:
    """A hook that keeps what a module gives in this thread."""
    thread = threading.get_ident()

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and threading.get_ident() == thread:
            seen.setdefault(name, []).append(output.detach().clone())  # += may write to it

    return hook


def _as_wide(tensor: Tensor, like: Tensor) -> Tensor:
    """A module's output in the reference's shape, where only the form is another one.

    Position vectors (1, T, H) or (T, H) stand for every text; (B * T, H), (T, B, H) and (B, 1, H)
    are brought into order.
    """
    if tensor.dim() == 3 == like.dim() and tensor.shape == like.transpose(0, 1).shape:
        return tensor.transpose(0, 1)
    if tensor.numel() == like.numel() and tensor.shape[-1:] == like.shape[-1:]:
        return tensor.reshape(like.shape)
    try:
        return tensor.expand(like.shape) if tensor.dim() <= like.dim() else tensor
    except RuntimeError:
        return tensor


def twin(student: Student, hidden: float, attention: float) -> tuple[Student | None, str]:
    """The student with these dropouts; or None, and why its constructor refuses them."""
    try:
        return student.with_dropout(hidden, attention), ""
    except StudentError as error:
        return None, str(error)


def call(
    student: Student,
    batch: Mapping[str, Tensor],
    compute: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] | None = None,
) -> dict[str, Tensor]:
    """All tensors of a student, or those that its method `compute` gives.

    A module that mixes float64 with numbers of its own is made float32, and tried again. Raises
    StudentError if it fails, with the student's own line.
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
        B, T = batch["input_ids"].shape
        raise StudentError(
            f"it fails on the probe's batch ({B} texts, {T} tokens): {in_words(error)}"
        ) from error
