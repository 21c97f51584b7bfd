"""Fine-tuned models in folders, as transformers' classes write and read them.

config.json names the class of the model (`architectures`), its labels (`id2label`) and what its
scores mean (`problem_type`); the weights are those of the encoder, under `bert.` or the variant's
name, and of the layer that the task has put on it.
"""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minibert.core.model import BertModel
from minibert.system.files import folder_written_whole, read_json, write_json
from minibert.tasks.choices import BertChooser
from minibert.tasks.classification import POOLINGS, BertClassifier
from minibert.tasks.families import family_of
from minibert.tasks.questions import BertReader
from minibert.tasks.task import Kind, TaskModel
from minibert.tasks.tokens import BertTagger
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.variants.table import architecture_in, architecture_of
from minibert.weights.files import find_config, find_weights, read_tensors
from minibert.weights.loading import floating, load_weights, write_tensors
from minibert.weights.names import modern_name, name_table

KINDS: tuple[type[TaskModel], ...] = (BertClassifier, BertTagger, BertReader, BertChooser)
LAYERS = {"classifier", "classifier.out_proj", "qa_outputs", *POOLINGS.values()}


def save_task(model: TaskModel, tokenizer: Tokenizer, folder: str | Path) -> None:
    """Write a new folder, whole or not at all.

    `minibert.load`, `load_task` and transformers' own class read it.
    """
    with folder_written_whole(folder) as new:
        write_task(model, tokenizer, new)


def write_task(
    model: TaskModel,
    tokenizer: Tokenizer,
    folder: Path,
    dtype: torch.dtype | str | None = None,
) -> None:
    """config.json, model.safetensors and the tokenizer, into a folder that is there."""
    kept = floating(dtype) or model.classifier.weight.dtype
    state = {key: tensor.to(kept).cpu().contiguous() for key, tensor in task_state(model).items()}
    config: dict[str, Any] = {
        "architectures": [family_of(model.bert.config).name(model.architecture)],
        "dtype": str(kept).removeprefix("torch."),
    }
    if classes := getattr(model, "classes", None):
        config["id2label"] = {str(number): name for number, name in enumerate(classes)}
        config["label2id"] = {name: number for number, name in enumerate(classes)}
    config |= model.settings() | model.bert.config.to_dict()
    write_json(folder / "config.json", config)
    write_tensors(state, folder / "model.safetensors")
    tokenizer.save_vocabulary(folder)


def task_state(model: TaskModel) -> dict[str, Tensor]:
    """The parameters under the names of transformers' class."""
    config = model.bert.config
    kind = architecture_of(config)
    names = {ours: f"{kind.prefix}.{theirs}" for theirs, ours in name_table(config, kind).items()}
    for leaf in ("weight", "bias"):
        names[f"classifier.{leaf}"] = f"{model.way.last}.{leaf}"
        if model.way.dense:
            names[f"pooler.dense.{leaf}"] = f"{model.way.dense}.{leaf}"
    return {
        names[name.removeprefix("bert.")]: parameter.detach()
        for name, parameter in model.named_parameters()
    }


def load_task(folder: str | Path) -> tuple[TaskModel, Tokenizer]:
    """What `save_task`, or one of transformers' classes, has written; in eval mode.

    Raises FileNotFoundError or ValueError, in words.
    """
    place, _ = find_weights(Path(folder))
    encoder = load_weights(place, architecture=architecture_in(place))[0].bert
    model = task_of(place, encoder)
    if model is None:
        raise ValueError(
            f"{folder} holds a model without the layer of a task: expected a folder that `minibert "
            f"finetune` wrote, or one of {', '.join(kind.architecture for kind in KINDS)}. "
            "minibert.load reads other models"
        )
    positions = model.bert.config.max_position_embeddings
    return model, Tokenizer.from_folder(place, positions=positions)


def head_of(path: Path, bert: BertModel, ignored: Iterable[str]) -> TaskModel | None:
    """As `task_of`, for a model that is good without: what cannot be used becomes a warning.

    ignored  the keys of the file that are not of the encoder
    """
    if not any(modern_name(key).rpartition(".")[0] in LAYERS for key in ignored):
        return None
    try:
        return task_of(path, bert)
    except ValueError as error:
        warnings.warn(f"the layer of a task is left out: {error}", stacklevel=3)
        return None


def task_of(path: Path, bert: BertModel) -> TaskModel | None:
    """The encoder under the layer that the files beside it hold; None if they hold none.

    Raises ValueError if layer and config.json do not fit, or the layer is of an unknown class.
    """
    folder, files = find_weights(path)
    prefix = architecture_of(bert.config).prefix
    tensors = {
        modern_name(key, prefix): tensor
        for file in files
        for key, tensor in read_tensors(file).items()
    }
    layers = {name.rpartition(".")[0] for name in tensors} & LAYERS
    if not layers:
        return None
    if len(layers) > 1:
        raise ValueError(f"{folder} holds the layers {', '.join(sorted(layers))}: expected one")
    [layer] = layers
    config = read_json(find_config(folder))
    kind, pooling = _kind(folder, layer, config, bert)
    outputs = len(_tensors_of(folder, layer, tensors)["weight"])
    try:
        model = kind.from_settings(bert, config, outputs, **pooling)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from None
    model.to(bert.embeddings.token.weight)
    _fill(folder, layer, tensors, model.classifier)
    if model.way.dense and model.bert.pooler is not None:
        _fill(folder, model.way.dense, tensors, model.bert.pooler.dense)
    return model.eval()


def _tensors_of(folder: Path, layer: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    weight, bias = tensors.get(f"{layer}.weight"), tensors.get(f"{layer}.bias")
    if weight is None or bias is None or weight.dim() != 2 or len(bias) != len(weight):
        raise ValueError(f"{folder} holds a part of {layer}: expected a matrix and its bias")
    return {"weight": weight, "bias": bias}


def _fill(folder: Path, layer: str, tensors: dict[str, Tensor], part: nn.Linear) -> None:
    state = _tensors_of(folder, layer, tensors)
    shape, expected = tuple(state["weight"].shape), tuple(part.weight.shape)
    if shape != expected:
        raise ValueError(
            f"the {layer} of {folder} has the shape {shape}, config.json asks for {expected}: the "
            "two do not belong together"
        )
    part.load_state_dict(state)


def _kind(
    folder: Path, layer: str, config: dict[str, Any], bert: BertModel
) -> tuple[type[TaskModel], dict]:
    """The class of a model, and what the layer reads where that is a choice."""
    if layer == POOLINGS["mean"]:
        return BertClassifier, {"pooling": "mean"}
    family = family_of(bert.config)
    kinds = {
        family.name(kind.architecture): kind
        for kind in KINDS
        if family.way(kind.architecture, kind.layer).last == layer
    }
    names = config.get("architectures") or list(kinds)[:1]
    for name, kind in kinds.items():
        if names == [name]:
            return kind, {}
    expected = ", ".join(family.name(kind.architecture) for kind in KINDS)
    raise ValueError(
        f"{folder} has the architectures {names!r:.100} and a {layer}: expected one of {expected}"
    )


HOW: dict[type[TaskModel], tuple[str, str]] = {
    BertClassifier: ("classes of texts", "classification"),
    BertTagger: ("classes of words", "tokens"),
    BertReader: ("answers to questions", "questions"),
    BertChooser: ("one of several options", "choices"),
}


def wanted(model: TaskModel | None, kind: type[Kind], source: str = "") -> Kind:
    """The model, if it is of the kind that is asked. Raises ValueError that says how to get one."""
    if isinstance(model, kind):
        model.to(model.bert.embeddings.token.weight.device)  # where the encoder has been moved
        return model
    what, name = HOW[kind]
    have = "no task's layer" if model is None else f"that of a {model.architecture}"
    raise ValueError(
        f"{source or 'this model'} has {have}; for {what} it needs a {kind.architecture}. Train "
        f"one: minibert finetune TRAIN --task {name} -m {source or 'MODEL'} -o OUT; or load a "
        "model that was fine-tuned for it"
    )
