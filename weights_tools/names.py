"""One name for each tensor, whoever wrote the file.

Three spellings are in use: TensorFlow variables of Google's checkpoints, the keys of Hugging
Face files, and the keys of PyTorch files of 2018, with `gamma` and `beta`. Everything here is
turned into the Hugging Face key. A TensorFlow kernel is stored (in, out), a PyTorch weight
(out, in).

Source: google-research/bert `modeling.py`, `run_pretraining.py`, `run_classifier.py` and
`run_squad.py`; the keys of `model.safetensors` of google-bert/bert-base-uncased.
"""

import re
from typing import NamedTuple

from minibert.variants.table import TABLE
from minibert.weights.names import BERT, HEADS, general_names, modern_name

# Keys, N for the block's number, whose TensorFlow names follow no rule.
_IRREGULAR = {
    "cls.predictions.bias": "cls/predictions/output_bias",
    "cls.seq_relationship.weight": "cls/seq_relationship/output_weights",
    "cls.seq_relationship.bias": "cls/seq_relationship/output_bias",
    "classifier.weight": "output_weights",
    "classifier.bias": "output_bias",
    "qa_outputs.weight": "cls/squad/output_weights",
    "qa_outputs.bias": "cls/squad/output_bias",
}


def _tf_name(key: str) -> str:
    """The rule: slashes for dots, and other words for weight and bias; a table has neither."""
    path, _, leaf = key.replace("layer.N", "layer_N").replace(".", "/").rpartition("/")
    if path.endswith("_embeddings"):
        return path
    if path.endswith("/LayerNorm"):
        return f"{path}/{'gamma' if leaf == 'weight' else 'beta'}"
    return f"{path}/{'kernel' if leaf == 'weight' else 'bias'}"


_REGULAR = [key if key.startswith("cls.") else f"bert.{key}" for key in general_names()]
_TO_TF = {**{key: _tf_name(key) for key in _REGULAR}, **_IRREGULAR}
_TO_KEY = {tf_name: key for key, tf_name in _TO_TF.items()}

# A path part that marks a tensor of the training run, not of the model.
TRAINING_STATE = {
    "adam_m": "optimizer slot",
    "adam_v": "optimizer slot",
    "Adam": "optimizer slot",
    "Adam_1": "optimizer slot",
    "AdamWeightDecayOptimizer": "optimizer slot",
    "AdamWeightDecayOptimizer_1": "optimizer slot",
    "LAMBOptimizer": "optimizer slot",
    "LAMBOptimizer_1": "optimizer slot",
    "beta1_power": "optimizer state",
    "beta2_power": "optimizer state",
    "global_step": "step counter",
    "good_steps": "loss-scale state",
    "loss_scale": "loss-scale state",
}

# Hugging Face keys that repeat another tensor, or that are computed.
_REPEATED = {
    "cls.predictions.decoder.weight": "the word embeddings again (tied)",
    "cls.predictions.decoder.bias": "cls.predictions.bias again (tied)",
    "bert.embeddings.position_ids": "the numbers 0 to 511, computed",
    "bert.embeddings.token_type_ids": "zeros, computed",
}

# The keys of the variants, N for the block's number, with minibert's names; and tied copies.
_VARIANTS = {
    name if ours.split(".")[0] in HEADS else f"{kind.prefix}.{name}": ours
    for kind in TABLE.values()
    if kind is not BERT
    for name, ours in general_names(kind.name_table).items()
}
_REPEATED |= {
    twin: f"{original} again (tied)"
    for kind in TABLE.values()
    if kind is not BERT
    for twin, original in kind.tied.items()
    if twin not in _REPEATED
}

# What loading a model of some kind ignores; but the layers of a task, which are not to be lost.
_IGNORED = {
    rf"({kind.prefix}\.)?({form})": why
    for kind in TABLE.values()
    for form, why in kind.ignored.items()
    if "classifier" not in form
}

# What a name of minibert, or a key without one, belongs to; the first match counts.
_PARTS = (
    (r"embeddings\.", "embeddings"),
    (r"encoder\.blocks\.(\d+)\.attention", "block {0} attention"),
    (r"encoder\.blocks\.(\d+)\.", "block {0} feed-forward"),
    (r"encoder\.distance", "distances"),
    (r"pooler\.", "pooler"),
    (r"masked_word\.", "masked-word head"),
    (r"next_sentence\.", "next-sentence head"),
    (r"replaced_token\.", "replaced-token head"),
    (r"classifier\.", "classifier"),
    (r"qa_outputs\.", "question-answering head"),
)


class Meaning(NamedTuple):
    """What a name in a file stands for.

    `key` is the Hugging Face key, None where the tensor is not part of the model, and then
    `ignored` says why; both are None for a name that nobody knows.
    """

    key: str | None
    transposed: bool = False
    ignored: str | None = None


def meaning_of_tf(name: str) -> Meaning:
    """The meaning of a TensorFlow variable.

    >>> meaning_of_tf("bert/encoder/layer_3/output/dense/kernel")
    Meaning(key='bert.encoder.layer.3.output.dense.weight', transposed=True, ignored=None)
    >>> meaning_of_tf("bert/pooler/dense/bias/adam_m").ignored
    'optimizer slot'
    """
    for part in name.split("/"):
        if part in TRAINING_STATE:
            return Meaning(None, ignored=TRAINING_STATE[part])
    general, number = _without_number(name, r"(?<=/layer_)\d+")
    if general not in _TO_KEY:
        return Meaning(None)
    key = _TO_KEY[general].replace(".N.", f".{number}.")
    return Meaning(key, transposed=name.endswith("/kernel"))


def meaning_of_pytorch(name: str) -> Meaning:
    """The meaning of a key of a PyTorch or safetensors file.

    >>> meaning_of_pytorch("bert.pooler.dense.bias").key
    'bert.pooler.dense.bias'
    >>> meaning_of_pytorch("encoder.layer.0.output.LayerNorm.gamma").key
    'bert.encoder.layer.0.output.LayerNorm.weight'
    """
    key = modern_name(name)
    if re.match(r"(embeddings|encoder|pooler)\.", key):
        key = f"bert.{key}"  # a file that was saved from the encoder alone
    if key in _REPEATED:
        return Meaning(None, ignored=_REPEATED[key])
    general = _without_number(key)[0]
    if general in _TO_TF or general in _VARIANTS:
        return Meaning(key)
    reasons = (why for form, why in _IGNORED.items() if re.fullmatch(form, key))
    return Meaning(None, ignored=next(reasons, None))


def tf_name_of(key: str) -> tuple[str, bool]:
    """The TensorFlow variable of a Hugging Face key, and whether it is stored transposed.

    >>> tf_name_of("bert.encoder.layer.3.output.dense.weight")
    ('bert/encoder/layer_3/output/dense/kernel', True)
    """
    general, number = _without_number(key)
    if general not in _TO_TF:
        raise KeyError(f"{key!r} has no name in Google's checkpoints")
    tf_name = _TO_TF[general].replace("layer_N", f"layer_{number}")
    return tf_name, tf_name.endswith("/kernel")


def our_name_of(key: str) -> str | None:
    """The name of minibert's parameter for a Hugging Face key; None where it has none.

    >>> our_name_of("bert.encoder.layer.3.output.LayerNorm.bias")
    'encoder.blocks.3.output_norm.bias'
    """
    general, number = _without_number(key)
    our_name = general_names().get(general.removeprefix("bert.")) or _VARIANTS.get(general)
    return our_name and our_name.replace(".N.", f".{number}.")


def _without_number(name: str, pattern: str = r"(?<=er\.layer\.)\d+") -> tuple[str, str]:
    """The name with N for the block's number, and the number; the empty string if none."""
    number = re.search(pattern, name)
    return (re.sub(pattern, "N", name, count=1), number[0]) if number else (name, "")


def part_of(key: str) -> str:
    """The part of the model that a Hugging Face key belongs to.

    >>> part_of("bert.encoder.layer.11.attention.self.query.bias")
    'block 11 attention'
    """
    name = our_name_of(key) or key
    for pattern, part in _PARTS:
        if match := re.match(pattern, name):
            return part.format(*match.groups())
    return "unknown"
