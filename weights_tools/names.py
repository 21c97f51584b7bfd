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

# N stands for the block's number. A "dense" is a kernel, which is turned round, and a bias; a
# "norm" is gamma and beta, PyTorch's weight and bias; a "table" is one tensor, as it is.
NAME_TABLE = """
    TensorFlow                                      kind  Hugging Face
    bert/embeddings/word_embeddings                 table bert.embeddings.word_embeddings.weight
    bert/embeddings/position_embeddings             table bert.embeddings.position_embeddings.weight
    bert/embeddings/token_type_embeddings           table bert.embeddings.token_type_embeddings.weight
    bert/embeddings/LayerNorm                       norm  bert.embeddings.LayerNorm
    bert/encoder/layer_N/attention/self/query       dense bert.encoder.layer.N.attention.self.query
    bert/encoder/layer_N/attention/self/key         dense bert.encoder.layer.N.attention.self.key
    bert/encoder/layer_N/attention/self/value       dense bert.encoder.layer.N.attention.self.value
    bert/encoder/layer_N/attention/output/dense     dense bert.encoder.layer.N.attention.output.dense
    bert/encoder/layer_N/attention/output/LayerNorm norm  bert.encoder.layer.N.attention.output.LayerNorm
    bert/encoder/layer_N/intermediate/dense         dense bert.encoder.layer.N.intermediate.dense
    bert/encoder/layer_N/output/dense               dense bert.encoder.layer.N.output.dense
    bert/encoder/layer_N/output/LayerNorm           norm  bert.encoder.layer.N.output.LayerNorm
    bert/pooler/dense                               dense bert.pooler.dense
    cls/predictions/transform/dense                 dense cls.predictions.transform.dense
    cls/predictions/transform/LayerNorm             norm  cls.predictions.transform.LayerNorm
    cls/predictions/output_bias                     table cls.predictions.bias
    cls/seq_relationship/output_weights             table cls.seq_relationship.weight
    cls/seq_relationship/output_bias                table cls.seq_relationship.bias
    output_weights                                  table classifier.weight
    output_bias                                     table classifier.bias
    cls/squad/output_weights                        table qa_outputs.weight
    cls/squad/output_bias                           table qa_outputs.bias
"""  # noqa: E501
_LEAVES = {
    "table": (("", "", False),),
    "dense": (("/kernel", ".weight", True), ("/bias", ".bias", False)),
    "norm": (("/gamma", ".weight", False), ("/beta", ".bias", False)),
}
# TensorFlow variable -> (Hugging Face key, stored transposed), and back; N for the block.
_TO_KEY: dict[str, tuple[str, bool]] = {}
_TO_TF: dict[str, tuple[str, bool]] = {}
for _row in NAME_TABLE.strip().splitlines()[1:]:
    _tf, _kind, _key = _row.split()
    for _tf_leaf, _leaf, _transposed in _LEAVES[_kind]:
        _TO_KEY[_tf + _tf_leaf] = (_key + _leaf, _transposed)
        _TO_TF[_key + _leaf] = (_tf + _tf_leaf, _transposed)

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

# What a key belongs to, the first match counts.
_PARTS = (
    (r"bert\.embeddings\.", "embeddings"),
    (r"bert\.encoder\.layer\.(\d+)\.attention\.", "block {0} attention"),
    (r"bert\.encoder\.layer\.(\d+)\.", "block {0} feed-forward"),
    (r"bert\.pooler\.", "pooler"),
    (r"cls\.predictions\.", "masked-word head"),
    (r"cls\.seq_relationship\.", "next-sentence head"),
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
    key, transposed = _TO_KEY[general]
    return Meaning(key.replace(".N.", f".{number}."), transposed)


def meaning_of_pytorch(name: str) -> Meaning:
    """The meaning of a key of a PyTorch or safetensors file.

    >>> meaning_of_pytorch("bert.pooler.dense.bias").key
    'bert.pooler.dense.bias'
    >>> meaning_of_pytorch("encoder.layer.0.output.LayerNorm.gamma").key
    'bert.encoder.layer.0.output.LayerNorm.weight'
    """
    key = name.removeprefix("module.")  # of DataParallel
    key = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", key)
    key = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", key)
    if re.match(r"(embeddings|encoder|pooler)\.", key):
        key = f"bert.{key}"  # a file that was saved from the encoder alone
    if key in _REPEATED:
        return Meaning(None, ignored=_REPEATED[key])
    return Meaning(key if _without_number(key)[0] in _TO_TF else None)


def tf_name_of(key: str) -> tuple[str, bool]:
    """The TensorFlow variable of a Hugging Face key, and whether it is stored transposed.

    >>> tf_name_of("bert.encoder.layer.3.output.dense.weight")
    ('bert/encoder/layer_3/output/dense/kernel', True)
    """
    general, number = _without_number(key)
    if general not in _TO_TF:
        raise KeyError(f"{key!r} has no name in Google's checkpoints")
    tf_name, transposed = _TO_TF[general]
    return tf_name.replace("layer_N", f"layer_{number}"), transposed


def our_name_of(key: str) -> str | None:
    """The name of minibert's parameter for a Hugging Face key; None where it has none.

    >>> our_name_of("bert.encoder.layer.3.output.LayerNorm.bias")
    'encoder.blocks.3.output_norm.bias'
    """
    from minibert.weights.loading import NAME_TABLE as OUR_TABLE

    general, number = _without_number(key.removeprefix("bert."))
    leaf = general.rpartition(".")[2]
    for line in OUR_TABLE.strip().splitlines()[1:]:
        ours, theirs = line.split()
        if theirs.replace("*", leaf) == general:
            return ours.replace("*", leaf).replace(".N.", f".{number}.")
    return None


def _without_number(name: str, pattern: str = r"(?<=encoder\.layer\.)\d+") -> tuple[str, str]:
    """The name with N for the block's number, and the number; the empty string if none."""
    found = re.search(pattern, name)
    return (re.sub(pattern, "N", name, count=1), found[0]) if found else (name, "")


def part_of(key: str) -> str:
    """The part of the model that a Hugging Face key belongs to.

    >>> part_of("bert.encoder.layer.11.attention.self.query.bias")
    'block 11 attention'
    """
    for pattern, part in _PARTS:
        if found := re.match(pattern, key):
            return part.format(*found.groups())
    return "unknown"
