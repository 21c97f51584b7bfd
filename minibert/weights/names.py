"""Which tensor of a weights file is which of our parameters, and which are none, and why.

A variant of BERT brings an `Architecture` of its own: other classes, other names.
"""

import dataclasses
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from minibert.core.config import BertConfig
from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel

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

# Keys that no parameter takes, and why; those of TIED are none either.
IGNORED = {
    r"embeddings\.(position_ids|token_type_ids)": "a constant, computed where it is needed",
    r"((pre_)?classifier|qa_outputs|dropout)\..*": "a layer of a task, which BERT is without",
}

# Keys that may be stored a second time, and the tensor that they repeat.
TIED = {
    "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


# What a key may begin with: the attributes under which modules are kept that hold a BERT.
WRAPPERS = r"_orig_mod|module|model|auto_model|base_model|\d+"

# Parts that stand beside the encoder, in `BertForPreTraining` and its like.
HEADS = ("masked_word", "next_sentence", "replaced_token")

# The class of transformers that has these heads, for the config.json of a model that is saved.
CLASSES = {
    (): "BertModel",
    ("masked_word",): "BertForMaskedLM",
    ("next_sentence",): "BertForNextSentencePrediction",
    ("masked_word", "next_sentence"): "BertForPreTraining",
}


def classes_of(name: str) -> dict[tuple[str, ...], str]:
    """The classes of transformers for a variant that is pretrained on masked words.

    >>> classes_of("Bert")[("masked_word",)]
    'BertForMaskedLM'
    """
    return {(): f"{name}Model", ("masked_word",): f"{name}ForMaskedLM"}


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A kind of BERT, as far as loading and saving it is concerned.

    `model_class` takes an encoder, and by name whether each of `heads` is there. `prefix` is what
    transformers calls the encoder beside its heads, `classes` its class for each set of heads.
    """

    config_class: type[BertConfig] = BertConfig
    encoder_class: type[BertModel] = BertModel
    model_class: type[BertForPreTraining] = BertForPreTraining
    name_table: str = NAME_TABLE
    ignored: Mapping[str, str] = dataclasses.field(default_factory=lambda: IGNORED)
    tied: Mapping[str, str] = dataclasses.field(default_factory=lambda: TIED)
    prefix: str = "bert"
    classes: Mapping[tuple[str, ...], str] = dataclasses.field(default_factory=lambda: CLASSES)

    @property
    def heads(self) -> list[str]:
        """The heads that it may have."""
        return [head for head in HEADS if f" {head}." in self.name_table]


BERT = Architecture()


def general_names(table: str = NAME_TABLE) -> dict[str, str]:
    """Hugging Face name -> our name, weight and bias apart, N for the block's number.

    >>> general_names()["encoder.layer.N.output.LayerNorm.bias"]
    'encoder.blocks.N.output_norm.bias'
    """
    names = {}
    for line in table.strip().splitlines()[1:]:
        ours, theirs = line.split()
        for leaf in ("weight", "bias") if ours.endswith("*") else [""]:
            names[theirs.replace("*", leaf)] = ours.replace("*", leaf)
    return names


def name_table(config: BertConfig, architecture: Architecture = BERT) -> dict[str, str]:
    """Hugging Face name (without the `bert.` prefix) -> our name, for every parameter.

    >>> name_table(BertConfig())["encoder.layer.11.output.LayerNorm.bias"]
    'encoder.blocks.11.output_norm.bias'
    >>> len(name_table(BertConfig()))  # 199 of the encoder with its pooler, 5 + 2 of the heads
    206
    """
    table = {}
    for theirs, ours in general_names(architecture.name_table).items():
        for block in range(config.num_hidden_layers) if ".N." in ours else [0]:
            table[theirs.replace(".N.", f".{block}.")] = ours.replace(".N.", f".{block}.")
    return table


def map_keys(
    tensors: Mapping[str, Tensor], config: BertConfig, architecture: Architecture = BERT
) -> tuple[dict[str, str], dict[str, str]]:
    """Sort the keys of a file: {key: our parameter}, {key: reason to ignore it}."""
    if ".N." in architecture.name_table and config.num_hidden_layers > len(tensors):
        raise ValueError(  # before so many names and modules are made
            f"config.json asks for {config.num_hidden_layers} blocks, the file holds "
            f"{len(tensors)} tensors: the two do not belong together"
        )
    table = name_table(config, architecture)
    names = {key: modern_name(key, architecture.prefix) for key in tensors}
    for twin, name in architecture.tied.items():
        if name in table and name not in names.values():  # some files hold it as its twin alone
            table[twin] = table.pop(name)
    ours = {name.split(".")[0] for name in table} - {"cls"} | {"cls.predictions"}
    by_name = {name: tensors[key] for key, name in names.items()}
    mapped: dict[str, str] = {}
    ignored: dict[str, str] = {}
    for key, name in names.items():
        reasons = [why for form, why in architecture.ignored.items() if re.fullmatch(form, name)]
        if name in architecture.tied:
            reasons = [f"{architecture.tied[name]} again (tied); compared, and equal"]
        if name in table:
            if table[name] in mapped.values():
                raise ValueError(f"two keys of the file fill {table[name]}; one is {key}")
            mapped[key] = table[name]
        elif reasons:
            _check_tied(name, by_name, architecture.tied)
            ignored[key] = reasons[0]
        elif name.startswith(tuple(f"{part}." for part in ours)):
            count = config.num_hidden_layers
            shorter = f". The first blocks alone: load(..., num_hidden_layers={count})"
            raise ValueError(
                f"{key} has no place in this BERT of {count} blocks: either config.json belongs to "
                f"another file, or this is another architecture"
                + (shorter if block_of(name) >= count else "")
            )
        else:
            ignored[key] = "not part of BERT or of its two pretraining heads"
    if not mapped:
        first = next((key for key in tensors if key.endswith(".word_embeddings.weight")), None)
        prefix = "" if first is None else first.removesuffix("embeddings.word_embeddings.weight")
        inside = f", or a BERT inside another module: then take {prefix!r} from its keys"
        raise ValueError(
            f"the keys of the file are not BERT's, such as {', '.join(list(tensors)[:3])}: another "
            f"architecture{inside if prefix else ''}"
        )
    return mapped, ignored


def block_of(key: str) -> int:
    """The number of the block that a tensor of a file belongs to, -1 for other tensors."""
    match = re.search(r"(?:encoder|transformer)\.layer\.(\d+)\.", key)
    return int(match[1]) if match else -1


def modern_name(key: str, prefix: str = "bert") -> str:
    """The plain Hugging Face name behind the prefixes of wrappers and the words gamma and beta.

    >>> modern_name("_orig_mod.module.bert.embeddings.LayerNorm.gamma")
    'embeddings.LayerNorm.weight'
    """
    name = re.sub(rf"^(({WRAPPERS}|{prefix})\.)+", "", key)
    return re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name))


def _check_tied(name: str, tensors: Mapping[str, Tensor], tied: Mapping[str, str]) -> None:
    twin = tied.get(name, "")
    if twin in tensors and not torch.equal(tensors[name], tensors[twin]):
        raise ValueError(
            f"{name} differs from {twin}: in BERT they are one tensor (tied), and minibert "
            f"computes with one"
        )
