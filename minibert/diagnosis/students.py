"""A student's model, brought into the form the checker reads: tensors under the reference's names.

Four shapes are taken:

* an `nn.Module` class, built with the probe's config and filled with its weights by name;
* an `nn.Module` object of the probe's size, filled with its weights by name;
* a function `build(config, weights)` that returns something to call on a batch, in any framework:
  weights are numpy arrays under Hugging Face's names;
* a file of arrays, `.npz` or `.safetensors`, computed anywhere from the dumped probe.

Names of parameters and modules may be Hugging Face's, minibert's, or one's own with a table
{"layers.N.att.wq": "encoder.layer.N.attention.self.query"}, where N is the block's number.
"""

import copy
import importlib
import importlib.util
import inspect
import json
import re
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minibert.core.config import BertConfig
from minibert.core.heads import BertForPreTraining
from minibert.diagnosis.traces import FLOAT32_TOLERANCE, TOLERANCE
from minibert.weights.loading import hugging_face_state
from minibert.weights.names import name_table

# Modules without parameters that have a name in transformers and in minibert.
HUGGING_FACE_MODULES = {
    "encoder.layer.N.intermediate.intermediate_act_fn": "encoder.blocks.N.feed_forward.activation",
    "pooler.activation": "pooler.activation",
    "cls.predictions.transform.transform_act_fn": "masked_word.activation",
    "cls.predictions.decoder": "masked_word.logits",
}

ARGUMENTS = {
    "input_ids": ("input_ids", "ids", "tokens", "token_ids", "x"),
    "token_type_ids": ("token_type_ids", "segment_ids", "segments", "segment_info", "type_ids"),
    "attention_mask": ("attention_mask", "mask", "padding_mask", "attn_mask"),
    "labels": ("labels",),
    "next_sentence_label": ("next_sentence_label",),
}

OUTPUTS = {
    "logits": "masked_word.logits",
    "prediction_logits": "masked_word.logits",
    "mlm_logits": "masked_word.logits",
    "seq_relationship_logits": "next_sentence.logits",
    "nsp_logits": "next_sentence.logits",
    "pooler_output": "pooler.activation",
    "last_hidden_state": "last_hidden_state",
    "loss": "loss",
}


NUMBER = r"(?<![A-Za-z0-9_])N(?![A-Za-z0-9_])"  # the block's number in a name table


class StudentError(ValueError):
    """The student's model cannot be built, filled or called; the message says what to do."""


class Student:
    """Something to call on a batch, and what is known about it.

    `build(dropout_hidden, dropout_attention)` makes a fresh copy, where that is possible.
    """

    tolerance = TOLERANCE
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
        if any(t.dtype != torch.float64 for t in self._tensors.values()):
            self.tolerance = FLOAT32_TOLERANCE
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
        if isinstance(call, nn.Module):
            self.module = call

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
            found = self.returned(batch)
        finally:
            for hook in hooks:
                hook.remove()
        # a module that is called more than once has no one output to compare
        for name, calls in seen.items():
            if len(calls) == 1:
                found.setdefault(name, _as_wide(calls[0], self.reference[name]))
        return found

    def returned(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the student itself returns, without what its modules compute on the way."""
        with torch.no_grad():
            return outputs_by_name(self.run(batch), self.reference, self.config)

    def run(self, batch: Mapping[str, Tensor]) -> Any:
        """Call the student on (a copy of) the batch; its own output comes back."""
        target = self.call.forward if isinstance(self.call, nn.Module) else self.call
        wanted = inspect.signature(target).parameters
        given: dict[str, Any] = {}
        for name, synonyms in ARGUMENTS.items():
            own = next((word for word in synonyms if word in wanted), None)
            if own is not None and name in batch:
                given[own] = batch[name]
        if not given.keys() & set(ARGUMENTS["input_ids"]):
            raise StudentError(
                f"your model must take input_ids, token_type_ids and attention_mask by these "
                f"names; its arguments are {list(wanted)}"
            )
        for switch in ("output_hidden_states", "output_attentions", "return_dict"):
            if switch in wanted or _passes_on(self.call, wanted, switch):
                given[switch] = True
        return self.call(**given)


def _passes_on(call: Any, wanted: Mapping[str, inspect.Parameter], switch: str) -> bool:
    """transformers' models take these switches through **kwargs."""
    open_ended = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in wanted.values())
    return open_ended and hasattr(getattr(call, "config", None), switch)


def _keep(seen: dict[str, list[Tensor]], name: str) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            seen.setdefault(name, []).append(output.detach().clone())  # += may write to it

    return hook


def _as_wide(tensor: Tensor, like: Tensor) -> Tensor:
    """Position vectors (1, T, H) or (T, H) stand for every text."""
    try:
        return tensor.expand(like.shape) if tensor.dim() <= like.dim() else tensor
    except RuntimeError:
        return tensor


def our_name(path: str, config: BertConfig, names: Mapping[str, str], modules: bool = False) -> str:
    """minibert's name of a parameter or module that a student calls `path`; "" if unknown.

    >>> our_name("bert.encoder.layer.2.output.LayerNorm.gamma", BertConfig(), {})
    'encoder.blocks.2.output_norm.weight'
    >>> our_name("wq.0.bias", BertConfig(), {"wq.N": "encoder.layer.N.attention.self.query"})
    'encoder.blocks.0.attention.query.bias'
    """
    for theirs, standard in names.items():
        form = re.sub(NUMBER, r"(\\d+)", re.escape(theirs))
        match = re.fullmatch(rf"{form}(\.weight|\.bias)?", path)
        if match:
            groups = [group for group in match.groups() if group is not None]
            number = next((group for group in groups if group.isdigit()), "")
            leaf = next((group for group in groups if not group.isdigit()), "")
            path = re.sub(NUMBER, number, standard) + leaf
            break
    path = re.sub(r"^(module\.)?(bert\.)?", "", path)
    path = re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", path))
    table = name_table(config)
    if path in ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias") and not modules:
        return "embeddings.token.weight" if path.endswith("weight") else "masked_word.bias"
    if modules:
        number_free = re.sub(r"\.(\d+)\.", ".N.", path)
        block = re.search(r"\.(\d+)\.", path)
        if number_free in HUGGING_FACE_MODULES:
            return HUGGING_FACE_MODULES[number_free].replace(
                ".N.", f".{block[1]}." if block else ""
            )
        ours = table.get(f"{path}.weight")
        return ours.removesuffix(".weight") if ours else path
    return table.get(path, path if path in table.values() else "")


def fill(
    module: nn.Module, reference: BertForPreTraining, names: Mapping[str, str]
) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Copy the probe's weights into a student's module, by name, and make it float64.

    Gives {our name: the student's names} and notes on what the student has no place for. Raises
    StudentError for a parameter whose name nobody knows or whose shape does not fit.
    """
    module.double()
    right = {
        name.removeprefix("bert."): tensor.detach() for name, tensor in reference.named_parameters()
    }
    filled: dict[str, list[str]] = {}
    unknown = []
    with torch.no_grad():
        for key, own in [*module.named_parameters(remove_duplicate=False), *module.named_buffers()]:
            ours = our_name(key, reference.config, names)
            if not ours:
                if isinstance(own, nn.Parameter):
                    unknown.append(key)
                continue
            if own.shape != right[ours].shape:
                turned = own.dim() == 2 and own.shape == right[ours].shape[::-1]
                advice = "store it as (out, in), as nn.Linear does" if turned else "check its sizes"
                raise StudentError(
                    f"your parameter {key} has the shape {tuple(own.shape)}, expected "
                    f"{tuple(right[ours].shape)} ({ours}): {advice}"
                )
            own.copy_(right[ours])
            filled.setdefault(ours, []).append(key)
    if unknown:
        raise StudentError(
            f"{len(unknown)} of your parameters have names that are neither Hugging Face's nor "
            f"minibert's, first {unknown[:3]}: give a table with --names, see --help"
        )
    parts = {name.split(".")[0] for name in filled}
    lacking = [name for name in right if name.split(".")[0] in parts and name not in filled]
    notes = []
    if lacking:
        notes.append(
            f"the weights file has {len(lacking)} tensors that your model has no place for: "
            f"{', '.join(lacking[:4])}{', ...' if len(lacking) > 4 else ''}"
        )
    return filled, tuple(notes)


def known_names(
    tensors: Mapping[str, Any], reference: Mapping[str, Tensor], config: BertConfig
) -> dict[str, str]:
    """{a student's name: ours} for the tensors whose name is known."""
    L = config.num_hidden_layers
    known = {}
    for name in tensors:
        ours = OUTPUTS.get(name, name)
        state = re.fullmatch(r"hidden_states[._\[]?(\d+)\]?", name)
        attention = re.fullmatch(r"attentions[._\[]?(\d+)\]?", name)
        if state:
            ours = _state_name(int(state[1]), L)
        elif attention:
            ours = f"encoder.blocks.{attention[1]}.attention.probabilities"
        elif ours not in reference:
            ours = our_name(name, config, {}, modules=True)
        if ours in reference:
            known[name] = ours
    return known


def _state_name(index: int, blocks: int) -> str:
    if index == 0:
        return "embeddings.norm"
    return "last_hidden_state" if index == blocks else f"encoder.blocks.{index - 1}.output_norm"


def by_name(
    tensors: Mapping[str, Tensor], reference: Mapping[str, Tensor], config: BertConfig
) -> dict[str, Tensor]:
    """The tensors under the reference's names; unknown ones are left out."""
    return {ours: tensors[name] for name, ours in known_names(tensors, reference, config).items()}


def outputs_by_name(
    output: Any, reference: Mapping[str, Tensor], config: BertConfig
) -> dict[str, Tensor]:
    """A model's output, of whatever form, as tensors under the reference's names.

    Names are believed where there are any; a bare tensor is told by its shape.
    """
    flat: dict[str, Tensor] = {}
    if hasattr(output, "_asdict"):
        output = output._asdict()
    if isinstance(output, Mapping):
        for name, value in output.items():
            if isinstance(value, tuple | list):
                flat.update({f"{name}.{i}": _tensor(v) for i, v in enumerate(value)})
            elif value is not None:
                flat[name] = _tensor(value)
        if "logits" in flat and flat["logits"].shape == reference["next_sentence.logits"].shape:
            flat["seq_relationship_logits"] = flat.pop("logits")
        return by_name(flat, reference, config)
    parts = output if isinstance(output, tuple | list) else [output]
    for part in parts:
        if isinstance(part, tuple | list):
            kind = "attentions" if _tensor(part[0]).dim() == 4 else "hidden_states"
            flat.update({f"{kind}.{i}": _tensor(v) for i, v in enumerate(part)})
        elif part is not None:
            tensor = _tensor(part)
            wanted = ("last_hidden_state", "pooler.activation", "masked_word.logits")
            for name in (*wanted, "next_sentence.logits", "loss"):
                like = reference[name]
                alike = tensor.dim() == like.dim() and tensor.shape[-1:] == like.shape[-1:]
                if alike and name not in flat:
                    flat[name] = tensor
                    break
    return by_name(flat, reference, config)


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))


def build(
    target: Any,
    reference: BertForPreTraining,
    tensors: Mapping[str, Tensor],
    names: Mapping[str, str],
) -> Student:
    """Make a Student of a class, a module or a function. Raises StudentError if that fails."""
    config = reference.config
    if isinstance(target, nn.Module):
        module = copy.deepcopy(target)
        filled, notes = fill(module, reference, names)
        student = Callee(module.eval(), tensors, config, names)
        student.parameters, student.notes = filled, notes
        return student
    if not callable(target):
        raise StudentError(
            f"expected a class, a module or a function build(config, weights), got "
            f"{type(target).__name__}"
        )

    def make(hidden: float, attention: float) -> Callee:
        wanted = _config_for(target, config, hidden, attention)
        try:
            if inspect.isclass(target) and issubclass(target, nn.Module):
                module = target(wanted)
                filled, notes = fill(module, reference, names)
            else:
                module = target(wanted, _arrays(reference))
                filled, notes = {}, ()
                if isinstance(module, nn.Module):
                    module = module.double()
                    filled = _filled(module, config, names)
        except StudentError:
            raise
        except (Exception, SystemExit) as error:
            raise StudentError(
                f"{getattr(target, '__name__', target)} could not be built with the probe's sizes "
                f"(hidden_size {config.hidden_size}, {config.num_attention_heads} heads, "
                f"{config.num_hidden_layers} blocks): {type(error).__name__}: {error}"
            ) from error
        if not callable(module):
            raise StudentError(
                f"build(config, weights) must return something to call on a batch, got "
                f"{type(module).__name__}"
            )
        student = Callee(module, tensors, config, names, again=make)
        student.parameters, student.notes = filled, notes
        if isinstance(module, nn.Module):
            module.eval()
        return student

    return make(0.0, 0.0)


def _filled(
    module: nn.Module, config: BertConfig, names: Mapping[str, str]
) -> dict[str, list[str]]:
    filled: dict[str, list[str]] = {}
    for key, _ in module.named_parameters(remove_duplicate=False):
        ours = our_name(key, config, names)
        if ours:
            filled.setdefault(ours, []).append(key)
    return filled


def _config_for(target: Any, config: BertConfig, hidden: float, attention: float) -> Any:
    values = {
        **config.to_dict(),
        "hidden_dropout_prob": hidden,
        "attention_probs_dropout_prob": attention,
    }
    if hasattr(target, "config_class"):  # a class of transformers brings its own config
        made = target.config_class(**values)
        made._attn_implementation = "eager"
        return made
    return types.SimpleNamespace(**values, head_size=config.head_size)


def _arrays(reference: BertForPreTraining) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in hugging_face_state(reference).items()}


def load_target(text: str) -> Any:
    """What `package.module:name`, `file.py:name` or a file of arrays holds.

    A Python target is imported, which runs its code. Raises StudentError if it cannot be.
    """
    place, _, name = text.partition(":")
    path = Path(place)
    if path.suffix in (".npz", ".safetensors"):
        return read_arrays(path)
    try:
        if path.suffix == ".py":
            module = import_file(path)
        else:
            sys.path.insert(0, str(Path.cwd()))
            try:
                module = importlib.import_module(place)
            finally:
                sys.path.pop(0)
    except (Exception, SystemExit) as error:
        raise StudentError(f"cannot import {place}: {type(error).__name__}: {error}") from error
    if name:
        if not hasattr(module, name):
            raise StudentError(f"{place} has no {name!r}; it has {_public(module)}")
        return getattr(module, name)
    if hasattr(module, "build"):
        return module.build
    raise StudentError(
        f"say which object of {place} is the model, as {place}:NAME; it has {_public(module)}"
    )


def _public(module: Any) -> list[str]:
    return [name for name in vars(module) if not name.startswith("_")][:12]


def import_file(path: Path) -> Any:
    """The module that a Python file holds; its code is run.

    Raises whatever that code raises, and ImportError for code that ends the program.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    name = f"_imported_{path.stem}"  # nobody else's module has this name
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look for the module they are in
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, SystemExit):
            raise ImportError(
                f"{path} ends the program while it is imported (SystemExit: {error}); "
                'put what does so under: if __name__ == "__main__"'
            ) from error
        raise
    finally:
        sys.path.pop(0)
    return module


def read_arrays(path: Path) -> dict[str, Tensor]:
    """The arrays of a `.npz` or `.safetensors` file. Raises StudentError for a bad file."""
    if not path.is_file():
        raise StudentError(f"there is no file {path}")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return {name: torch.as_tensor(archive[name]) for name in archive.files}
        from safetensors.torch import load_file

        return load_file(path)
    except Exception as error:
        raise StudentError(f"{path} is not a readable {path.suffix} file: {error}") from error


def read_names(path: Path) -> dict[str, str]:
    """A name table from a JSON file. Raises StudentError if it is none."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise StudentError(f"cannot read the name table {path}: {error}") from None
    if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
        raise StudentError(f"{path} must hold one JSON object, your name -> Hugging Face's name")
    return table
