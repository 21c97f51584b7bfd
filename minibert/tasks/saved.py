"""Fine-tuned models in folders, as transformers' classes write and read them.

config.json names the class of the model (`architectures`), its labels (`id2label`) and what its
scores mean (`problem_type`); the weights are those of the encoder, under `bert.`, and of the layer
that the task has put on it.
"""

import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel
from minibert.system.files import folder_written_whole, read_json
from minibert.tasks.choices import BertChooser
from minibert.tasks.classification import POOLINGS, BertClassifier
from minibert.tasks.families import KINDS, task_of_variant
from minibert.tasks.questions import BertReader
from minibert.tasks.task import Kind, TaskModel
from minibert.tasks.tokens import BertTagger
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.weights.files import find_config, find_weights, read_tensors
from minibert.weights.loading import floating, hugging_face_state, load_weights, write_tensors
from minibert.weights.names import modern_name

LAYERS = {"classifier", "qa_outputs", *POOLINGS.values()}


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
    layer = POOLINGS[model.pooling] if isinstance(model, BertClassifier) else model.layer
    encoder = hugging_face_state(BertForPreTraining(model.bert, False, False))
    state = {f"bert.{key}": tensor for key, tensor in encoder.items()}
    state |= {f"{layer}.{leaf}": tensor for leaf, tensor in model.classifier.state_dict().items()}
    state = {key: tensor.to(kept).cpu().contiguous() for key, tensor in state.items()}
    config: dict[str, Any] = {
        "architectures": [model.architecture],
        "dtype": str(kept).removeprefix("torch."),
    }
    if classes := getattr(model, "classes", None):
        config["id2label"] = {str(number): name for number, name in enumerate(classes)}
        config["label2id"] = {name: number for number, name in enumerate(classes)}
    config |= model.settings() | model.bert.config.to_dict()
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write_tensors(state, folder / "model.safetensors")
    tokenizer.save_vocabulary(folder)


def load_task(folder: str | Path) -> tuple[TaskModel, Tokenizer]:
    """What `save_task`, or one of transformers' classes, has written; in eval mode.

    Raises FileNotFoundError or ValueError, in words.
    """
    place, _ = find_weights(Path(folder))
    model = task_of(place, load_weights(place)[0].bert)  # which checks the config
    if model is None:
        raise ValueError(
            f"{folder} holds a model without the layer of a task: expected a folder that `minibert "
            f"finetune` wrote, or one of {', '.join(kind.architecture for kind in KINDS)}. "
            "minibert.load reads other models"
        )
    positions = model.bert.config.max_position_embeddings
    return model, Tokenizer.from_folder(place, positions=positions)


def head_of(path: Path, bert: BertModel, ignored: Iterable[str]) -> TaskModel | None:
    """As `task_of`, and of a variant of BERT `task_of_variant`, for a model that is good without
    it: what cannot be used becomes a warning.

    ignored  the keys of the file that are not of the encoder
    """
    layers = [key for key in ignored if modern_name(key).partition(".")[0] in LAYERS]
    if not layers:
        return None
    try:
        return task_of(path, bert) if type(bert) is BertModel else task_of_variant(path, bert)
    except ValueError as error:
        warnings.warn(f"the layer of a task is left out: {error}", stacklevel=3)
        return None


def task_of(path: Path, bert: BertModel) -> TaskModel | None:
    """The encoder under the layer that the files beside it hold; None if they hold none.

    Raises ValueError if layer and config.json do not fit, or the layer is of an unknown class.
    """
    folder, files = find_weights(path)
    tensors: dict[str, Tensor] = {}
    for file in files:
        for key, tensor in read_tensors(file).items():
            if modern_name(key).rpartition(".")[0] in LAYERS:
                tensors[modern_name(key)] = tensor
    layers = {name.rpartition(".")[0] for name in tensors}
    if not layers:
        return None
    if len(layers) > 1:
        raise ValueError(f"{folder} holds the layers {', '.join(sorted(layers))}: expected one")
    [layer] = layers
    config = read_json(find_config(folder))
    kind, pooling = _kind(folder, layer, config)
    weight, bias = tensors.get(f"{layer}.weight"), tensors.get(f"{layer}.bias")
    if weight is None or bias is None or weight.dim() != 2 or len(bias) != len(weight):
        raise ValueError(f"{folder} holds a part of {layer}: expected a matrix and its bias")
    try:
        model = kind.from_settings(bert, config, len(weight), **pooling)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from None
    expected = tuple(model.classifier.weight.shape)
    if tuple(weight.shape) != expected:
        raise ValueError(
            f"the {layer} of {folder} has the shape {tuple(weight.shape)}, config.json asks for "
            f"{expected}: the two do not belong together"
        )
    model.to(bert.embeddings.token.weight)
    model.classifier.load_state_dict({"weight": weight, "bias": bias})
    return model.eval()


def _kind(folder: Path, layer: str, config: dict[str, Any]) -> tuple[type[TaskModel], dict]:
    """The class of a model, and what the layer reads where that is a choice."""
    if layer == POOLINGS["mean"]:
        return BertClassifier, {"pooling": "mean"}
    names = config.get("architectures") or [
        BertReader.architecture if layer == BertReader.layer else BertClassifier.architecture
    ]
    for kind in KINDS:
        if names == [kind.architecture] and kind.layer == layer:
            return kind, {}
    raise ValueError(
        f"{folder} has the architectures {names!r:.100} and a {layer}: expected one of "
        f"{', '.join(kind.architecture for kind in KINDS)}"
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
