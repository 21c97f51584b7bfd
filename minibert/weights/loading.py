"""Weights files: what each tensor in them is, load them, save them, explain what does not fit.

A file is never trusted and never half used. Every key is mapped to one of our parameters or
ignored for a reason that the report states; every parameter is filled exactly once; what the
file lacks is named with what that means. Nothing is ever left at random values.

The model is built without memory ("meta" device) and takes the file's memory-mapped tensors as
its parameters, so loading costs no second copy.

Google's TensorFlow checkpoints are converted first, by `python -m weights_tools convert`.
"""

import dataclasses
import json
import re
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
from minibert.core.model import BertModel
from minibert.weights.files import find_config, find_weights, read_tensors

# N stands for the block's number, * for weight and bias.
NAME_TABLE = """
    minibert                             Hugging Face
    embeddings.token.weight              embeddings.word_embeddings.weight
    embeddings.segment.weight            embeddings.token_type_embeddings.weight
    embeddings.position.weight           embeddings.position_embeddings.weight
    embeddings.norm.*                    embeddings.LayerNorm.*
    encoder.blocks.N.attention.query.*   encoder.layer.N.attention.self.query.*
    encoder.blocks.N.attention.key.*     encoder.layer.N.attention.self.key.*
    encoder.blocks.N.attention.value.*   encoder.layer.N.attention.self.value.*
    encoder.blocks.N.attention.output.*  encoder.layer.N.attention.output.dense.*
    encoder.blocks.N.attention_norm.*    encoder.layer.N.attention.output.LayerNorm.*
    encoder.blocks.N.feed_forward.up.*   encoder.layer.N.intermediate.dense.*
    encoder.blocks.N.feed_forward.down.* encoder.layer.N.output.dense.*
    encoder.blocks.N.output_norm.*       encoder.layer.N.output.LayerNorm.*
    pooler.dense.*                       pooler.dense.*
    masked_word.transform.*              cls.predictions.transform.dense.*
    masked_word.norm.*                   cls.predictions.transform.LayerNorm.*
    masked_word.bias                     cls.predictions.bias
    next_sentence.logits.*               cls.seq_relationship.*
"""

# Keys that no parameter takes, and why.
IGNORED = {
    r"embeddings\.(position_ids|token_type_ids)": "a constant, computed where it is needed",
    r"cls\.predictions\.decoder\.weight": "the token embedding again (tied); compared, and equal",
    r"cls\.predictions\.decoder\.bias": "cls.predictions.bias again; compared, and equal",
    r"(classifier|qa_outputs|dropout)\..*": "a head of some task; minibert loads the encoder",
}

# Parts that a file may lack as a whole.
OPTIONAL_PARTS = {
    "pooler": "no pooler in this file: pooler_output is not available",
    "masked_word": "no masked-word head in this file: fill-mask is not available",
    "next_sentence": "no next-sentence head in this file: next-sentence is not available",
}


def name_table(config: BertConfig) -> dict[str, str]:
    """Hugging Face name (without the `bert.` prefix) -> our name, for every parameter.

    >>> name_table(BertConfig())["encoder.layer.11.output.LayerNorm.bias"]
    'encoder.blocks.11.output_norm.bias'
    >>> len(name_table(BertConfig()))  # 199 of the encoder with its pooler, 5 + 2 of the heads
    206
    """
    table = {}
    for line in NAME_TABLE.strip().splitlines()[1:]:
        ours, theirs = line.split()
        for block in range(config.num_hidden_layers) if ".N." in ours else [0]:
            for leaf in ("weight", "bias") if ours.endswith("*") else [""]:
                key = theirs.replace(".N.", f".{block}.").replace("*", leaf)
                table[key] = ours.replace(".N.", f".{block}.").replace("*", leaf)
    return table


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


def load_weights(
    path: str | Path, dtype: torch.dtype | None = torch.float32
) -> tuple[BertForPreTraining, LoadReport]:
    """Load the model in a folder (config.json beside its weights) or in one weights file.

    Heads and pooler that the file lacks are None in the model. `dtype=None` keeps the file's.
    The model is in eval mode. Raises FileNotFoundError or ValueError, in words.
    """
    folder, files = find_weights(Path(path))
    config = BertConfig.from_json_file(find_config(folder))
    tensors: dict[str, Tensor] = {}
    for file in files:
        for key, tensor in read_tensors(file).items():
            if key in tensors:
                raise ValueError(f"{file.name} holds {key} again: the shards overlap")
            tensors[key] = tensor
    mapped, ignored = map_keys(tensors, config)
    model, missing = _empty_model(config, set(mapped.values()))
    state = {
        _full_name(ours): _fitting(tensors[key], key, ours, model, dtype)
        for key, ours in mapped.items()
    }
    model.load_state_dict(state, strict=True, assign=True)
    stored = ", ".join(sorted({str(t.dtype).removeprefix("torch.") for t in tensors.values()}))
    names = tuple(file.name for file in files)
    return model.eval(), LoadReport(names, mapped, ignored, missing, stored)


def map_keys(
    tensors: Mapping[str, Tensor], config: BertConfig
) -> tuple[dict[str, str], dict[str, str]]:
    """Sort the keys of a file: {key: our parameter}, {key: reason to ignore it}."""
    table = name_table(config)
    names = {key: _modern_name(key) for key in tensors}
    if "cls.predictions.bias" not in names.values():  # some files hold it under this name alone
        table["cls.predictions.decoder.bias"] = table.pop("cls.predictions.bias")
    by_name = {name: tensors[key] for key, name in names.items()}
    mapped: dict[str, str] = {}
    ignored: dict[str, str] = {}
    for key, name in names.items():
        reason = next((why for form, why in IGNORED.items() if re.fullmatch(form, name)), None)
        if name in table:
            if table[name] in mapped.values():
                raise ValueError(f"two keys of the file fill {table[name]}; one is {key}")
            mapped[key] = table[name]
        elif reason is not None:
            _check_tied(name, by_name)
            ignored[key] = reason
        elif name.startswith(("embeddings.", "encoder.", "pooler.", "cls.predictions.")):
            raise ValueError(
                f"{key} has no place in this BERT of {config.num_hidden_layers} blocks: either "
                f"config.json belongs to another file, or this is another architecture"
            )
        else:
            ignored[key] = "not part of BERT or of its two pretraining heads"
    return mapped, ignored


def _modern_name(key: str) -> str:
    """The plain Hugging Face name behind old prefixes and the old words gamma and beta."""
    name = re.sub(r"^(module\.)?(bert\.)?", "", key)
    return re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name))


def _check_tied(name: str, tensors: Mapping[str, Tensor]) -> None:
    twins = {
        "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }
    twin = twins.get(name, "")
    if twin in tensors and not torch.equal(tensors[name], tensors[twin]):
        raise ValueError(
            f"{name} differs from {twin}: in BERT they are one tensor (tied), and minibert "
            f"computes with one"
        )


def _empty_model(config: BertConfig, present: set[str]) -> tuple[BertForPreTraining, tuple]:
    """A model without memory that has the parts of which the file holds something."""
    parts = {name.split(".")[0] for name in present}
    with torch.device("meta"), _NoInitialization():
        bert = BertModel(config, add_pooling_layer="pooler" in parts)
        model = BertForPreTraining(bert, "masked_word" in parts, "next_sentence" in parts)
    wanted = {_short_name(name) for name, _ in model.named_parameters()}
    lacking = sorted(wanted - present)
    if lacking:
        raise ValueError(
            f"the weights file lacks {len(lacking)} of {len(wanted)} tensors of this model, "
            f"first {lacking[0]}: it is incomplete, or config.json belongs to another file"
        )
    missing = [sentence for part, sentence in OPTIONAL_PARTS.items() if part not in parts]
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


def _full_name(ours: str) -> str:
    return ours if ours.startswith(("masked_word.", "next_sentence.")) else f"bert.{ours}"


def _short_name(name: str) -> str:
    return name.removeprefix("bert.")


def hugging_face_state(model: BertForPreTraining) -> dict[str, Tensor]:
    """The parameters under Hugging Face's names; `bert.` in front where there are heads."""
    heads = model.masked_word is not None or model.next_sentence is not None
    theirs = {ours: name for name, ours in name_table(model.config).items()}
    state = {}
    for name, parameter in model.named_parameters():
        key = theirs[_short_name(name)]
        prefix = "bert." if heads and not key.startswith("cls.") else ""
        state[prefix + key] = parameter.detach()
    return state


def save_weights(model: BertForPreTraining, folder: Path, dtype: torch.dtype | None = None) -> None:
    """Write config.json and model.safetensors as transformers expects them, into `folder`."""
    architecture = "BertModel"
    if model.masked_word is not None:
        architecture = "BertForMaskedLM" if model.next_sentence is None else "BertForPreTraining"
    elif model.next_sentence is not None:
        architecture = "BertForNextSentencePrediction"
    state = {
        key: tensor.to(dtype or tensor.dtype).contiguous()
        for key, tensor in hugging_face_state(model).items()
    }
    stored = str(next(iter(state.values())).dtype).removeprefix("torch.")
    config: dict[str, Any] = {"architectures": [architecture], "dtype": stored}
    text = json.dumps({**config, **model.config.to_dict()}, indent=2) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    write_tensors(state, folder / "model.safetensors")


def write_tensors(state: dict[str, Tensor], path: Path) -> None:
    """Write a .safetensors file. Raises OSError if there is no room for it."""
    try:
        save_file(state, path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(f"cannot write {path.name}: {error}") from None
