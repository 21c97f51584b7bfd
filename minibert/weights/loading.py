"""Weights files: load them, save them, explain what does not fit.

A file is never trusted and never half used. Every key is mapped to one of our parameters or
ignored for a reason that the report states; every parameter is filled exactly once; what the
file lacks is named with what that means. Nothing is ever left at random values.

The model is built without memory ("meta" device) and takes the file's memory-mapped tensors as
its parameters, so loading costs no second copy.

Google's TensorFlow checkpoints are converted first, by `python -m weights_tools convert`.
"""

import dataclasses
import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from minibert.core.config import BertConfig
from minibert.core.heads import BertForPreTraining
from minibert.system.files import write_json
from minibert.weights.files import find_config, find_weights, read_tensors
from minibert.weights.names import BERT, HEADS, Architecture, block_of, map_keys, name_table

# Parts that a file may lack as a whole.
OPTIONAL_PARTS = {
    "pooler": "no pooler in this file: pooler_output is not available",
    "masked_word": "no masked-word head in this file: fill-mask is not available",
    "next_sentence": "no next-sentence head in this file: next-sentence is not available",
    "replaced_token": "no replaced-token head in this file: replaced_tokens is not available",
}


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What became of every key of a weights file; `print(report)` tells it in a few lines.

    mapped   file key -> our parameter
    ignored  file key -> the reason
    missing  sentences: what the file lacks, and what that means
    """

    files: tuple[str, ...]
    mapped: Mapping[str, str]
    ignored: Mapping[str, str]
    missing: tuple[str, ...]
    dtype: str

    def __str__(self) -> str:
        lines = [f"{' + '.join(self.files)}: {len(self.mapped)} tensors ({self.dtype}) loaded"]
        lines += [f"  ignored {key}: {reason}" for key, reason in self.ignored.items()]
        lines += [f"  {sentence}" for sentence in self.missing]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return (
            f"LoadReport({' + '.join(self.files)}: {len(self.mapped)} tensors ({self.dtype}) "
            f"loaded, {len(self.ignored)} ignored, {len(self.missing)} parts missing)"
        )


def load_weights(
    path: str | Path,
    dtype: torch.dtype | str | None = torch.float32,
    *,
    architecture: Architecture = BERT,
    num_hidden_layers: int | None = None,
) -> tuple[BertForPreTraining, LoadReport]:
    """Load the model in a folder (config.json beside its weights) or in one weights file.

    Heads and pooler that the file lacks are None in the model. `dtype` None or "auto" keeps the
    file's. `num_hidden_layers` takes the first blocks of a file that has more. The model is in
    eval mode. Raises FileNotFoundError or ValueError, in words.
    """
    dtype = floating(dtype)
    folder, files = find_weights(Path(path))
    config = architecture.config_class.from_json_file(find_config(folder))
    tensors: dict[str, Tensor] = {}
    for file in files:
        for key, tensor in read_tensors(file).items():
            if key in tensors:
                raise ValueError(f"{file.name} holds {key} again: the shards overlap")
            tensors[key] = tensor
    left_out = {}
    if num_hidden_layers is not None:
        config = dataclasses.replace(config, num_hidden_layers=num_hidden_layers)
        reason = f"num_hidden_layers={num_hidden_layers} was asked for"
        later = {key for key in tensors if block_of(key) >= num_hidden_layers}
        left_out = dict.fromkeys(sorted(later), reason)
    present = {key: tensor for key, tensor in tensors.items() if key not in left_out}
    try:
        mapped, ignored = map_keys(present, config, architecture)
        model, missing = _empty_model(config, architecture, set(mapped.values()))
        state = {
            _full_name(ours): _fitting(tensors[key], key, ours, model, dtype)
            for key, ours in mapped.items()
        }
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    first = {parameter: name for name, parameter in model.named_parameters()}  # of shared ones
    everywhere = model.named_parameters(remove_duplicate=False)
    filled = {name: state[first[parameter]] for name, parameter in everywhere}
    model.load_state_dict(filled, strict=True, assign=True)
    _warn_if_not_finite(path, state)
    stored = ", ".join(sorted({str(t.dtype).removeprefix("torch.") for t in tensors.values()}))
    names = tuple(file.name for file in files)
    return model.eval(), LoadReport(names, mapped, ignored | left_out, missing, stored)


def floating(dtype: torch.dtype | str | None) -> torch.dtype | None:
    """A type by itself or by its name; None for "auto". Raises ValueError for what is none.

    >>> floating("float16"), floating("torch.bfloat16"), floating("auto")
    (torch.float16, torch.bfloat16, None)
    """
    value = getattr(torch, dtype.removeprefix("torch."), None) if isinstance(dtype, str) else dtype
    if dtype in (None, "auto") or isinstance(value, torch.dtype) and value.is_floating_point:
        return value
    raise ValueError(
        f'dtype must be a floating-point type (torch.float16 or "float16"), or "auto" or None for '
        f"that of the file; got {dtype!r}"
    )


def _empty_model(
    config: BertConfig, architecture: Architecture, present: set[str]
) -> tuple[BertForPreTraining, tuple[str, ...]]:
    """A model without memory that has the parts of which the file holds something."""
    parts = {name.split(".")[0] for name in present}
    with torch.device("meta"), _NoInitialization():
        encoder = architecture.encoder_class(config, add_pooling_layer="pooler" in parts)
        heads = {head: head in parts for head in (*BERT.heads, *architecture.heads)}
        model = architecture.model_class(encoder, **heads)
    wanted = {_short_name(name) for name, _ in model.named_parameters()}
    if more := sorted(present - wanted):
        raise ValueError(
            f"the file holds {more[0]}, and config.json describes a model without it: the two do "
            "not belong together"
        )
    lacking = sorted(wanted - present)
    if lacking:
        raise ValueError(
            f"the weights file lacks {len(lacking)} of {len(wanted)} tensors of this model, "
            f"first {lacking[0]}: it is incomplete, or config.json belongs to another file"
        )
    possible = [part for part in OPTIONAL_PARTS if f" {part}." in architecture.name_table]
    missing = [OPTIONAL_PARTS[part] for part in possible if part not in parts]
    return model, tuple(missing)


class _NoInitialization(TorchFunctionMode):
    """Inside, the functions of nn.init do nothing: the file fills every parameter anyway."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if getattr(function, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return function(*args, **kwargs)


def _fitting(
    tensor: Tensor, key: str, ours: str, model: BertForPreTraining, dtype: torch.dtype | None
) -> torch.nn.Parameter:
    expected = tuple(model.get_parameter(_full_name(ours)).shape)
    if tuple(tensor.shape) != expected:
        raise ValueError(
            f"{key} has the shape {tuple(tensor.shape)}, config.json asks for {expected}: the "
            f"two do not belong together"
        )
    if not tensor.is_floating_point():
        raise ValueError(f"{key} holds {tensor.dtype}, expected floating-point numbers")
    return torch.nn.Parameter(tensor if dtype is None else tensor.to(dtype))


def _warn_if_not_finite(path: str | Path, state: Mapping[str, Tensor]) -> None:
    # A sum is NaN or infinite if a number of it is; only then is each one looked at.
    sums = {name: float(tensor.detach().sum(dtype=torch.float64)) for name, tensor in state.items()}
    suspects = [name for name, total in sums.items() if not math.isfinite(total)]
    wrong = [name for name in suspects if not bool(state[name].isfinite().all())]
    if wrong:
        warnings.warn(
            f"{path} holds numbers that are NaN or infinite in {len(wrong)} tensors, first "
            f"{wrong[0]}: so will be what it computes. Get the file again, or a model whose "
            "training did not fail",
            stacklevel=3,
        )


def _full_name(ours: str) -> str:
    return ours if _is_of_head(ours) else f"bert.{ours}"


def _is_of_head(name: str) -> bool:
    return name.split(".")[0] in HEADS


def _short_name(name: str) -> str:
    return name.removeprefix("bert.")


def hugging_face_state(
    model: BertForPreTraining, architecture: Architecture = BERT
) -> dict[str, Tensor]:
    """The parameters under Hugging Face's names; `bert.` in front where there are heads."""
    theirs = {ours: name for name, ours in name_table(model.config, architecture).items()}
    prefix = f"{architecture.prefix}." if heads_of(model) else ""
    return {
        ("" if _is_of_head(name) else prefix) + theirs[_short_name(name)]: parameter.detach()
        for name, parameter in model.named_parameters()
    }


def heads_of(model: BertForPreTraining) -> tuple[str, ...]:
    """The heads that a model has."""
    return tuple(head for head in HEADS if getattr(model, head, None) is not None)


def save_weights(
    model: BertForPreTraining,
    folder: Path,
    dtype: torch.dtype | str | None = None,
    architecture: Architecture = BERT,
) -> None:
    """Write config.json and model.safetensors as transformers expects them, into `folder`."""
    dtype = floating(dtype)
    state = {
        key: tensor.to(dtype or tensor.dtype).contiguous()
        for key, tensor in hugging_face_state(model, architecture).items()
    }
    stored = str(next(iter(state.values())).dtype).removeprefix("torch.")
    name = architecture.classes[heads_of(model)]
    config: dict[str, Any] = {"architectures": [name], "dtype": stored}
    write_json(folder / "config.json", {**config, **model.config.to_dict()})
    write_tensors(state, folder / "model.safetensors")


def write_tensors(state: dict[str, Tensor], path: Path) -> None:
    """Write a .safetensors file. Raises OSError if there is no room for it."""
    try:
        save_file(state, path, metadata={"format": "pt"})
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))  # which is how it tells a full disk
        raise OSError(int(number[1]) if number else 0, str(error), str(path)) from None
