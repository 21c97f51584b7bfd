"""What tensors are called: by students, by transformers, here, and in a sentence."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minibert.core.config import BertConfig
from minibert.weights.names import name_table

# tensor -> (what it is, how the papers write it)
TITLES = {
    "embeddings.token": ("the token vectors", "E, Devlin figure 2"),
    "embeddings.segment": ("the segment vectors", "E_A and E_B, Devlin figure 2"),
    "embeddings.position": ("the position vectors", "E_0, E_1, ..., Devlin figure 2"),
    "embeddings.sum": ("the sum of the embeddings", "token + segment + position"),
    "embeddings.norm": ("the embeddings after LayerNorm", "LayerNorm(sum)"),
    "attention.query": ("the queries", "Q = x W^Q + b"),
    "attention.key": ("the keys", "K = x W^K + b"),
    "attention.value": ("the values", "V = x W^V + b"),
    "attention.scores": ("the attention scores", "Q K^T / sqrt(d_k), Vaswani equation 1"),
    "attention.masked_scores": ("the masked scores", "Q K^T / sqrt(d_k) + bias"),
    "attention.probabilities": ("the attention probabilities", "softmax(...), Vaswani equation 1"),
    "attention.context": ("the merged heads", "Concat(head_1, ..., head_A), Vaswani 3.2.2"),
    "attention.output": ("the output of attention", "Concat(...) W^O + b, Vaswani 3.2.2"),
    "attention_sum": ("the sum of attention and residual", "x + Sublayer(x), Vaswani 3.1"),
    "attention_norm": ("the hidden states after the first LayerNorm", "LayerNorm(x + Sublayer(x))"),
    "feed_forward.up": ("what enters the activation", "x W_1 + b_1, Vaswani equation 2"),
    "feed_forward.activation": ("what leaves the activation", "GELU(x W_1 + b_1)"),
    "feed_forward.down": ("the feed-forward output", "GELU(x W_1 + b_1) W_2 + b_2"),
    "output_sum": ("the sum of feed-forward and residual", "x + Sublayer(x), Vaswani 3.1"),
    "output_norm": ("the hidden states that leave the block", "LayerNorm(x + Sublayer(x))"),
    "last_hidden_state": ("the last hidden states", "T_i, Devlin figure 1"),
    "pooler.dense": ("the pooler before tanh", "C W + b"),
    "pooler.activation": ("pooler_output", "tanh(C W + b)"),
    "masked_word.transform": ("the masked-word transform", "T_i W + b"),
    "masked_word.activation": ("the masked-word transform after GELU", "GELU(T_i W + b)"),
    "masked_word.norm": ("the masked-word transform after LayerNorm", "LayerNorm(GELU(...))"),
    "masked_word.logits": ("the scores of the words", "LayerNorm(...) E^T + b"),
    "next_sentence.logits": ("the next-sentence scores", "pooler_output W + b"),
    "loss": ("the loss", "masked-word + next-sentence"),
}


def title(name: str) -> str:
    """A tensor's name in words.

    >>> title("encoder.blocks.0.attention.scores")
    'the attention scores of block 0 (Q K^T / sqrt(d_k), Vaswani equation 1)'
    >>> title("gelu")
    'gelu'
    """
    block = re.fullmatch(r"encoder\.blocks\.(\d+)\.(.+)", name)
    known = TITLES.get(block[2] if block else name)
    if known is None:
        return name
    words, formula = known
    if block:
        words = words.replace("the block", f"block {block[1]}")
        words += "" if f"block {block[1]}" in words else f" of block {block[1]}"
    return f"{words} ({formula})"


def in_short(names: Sequence[str], most: int = 6) -> list[str]:
    """Tensors in words; one that differs in several blocks is told once.

    >>> in_short(["encoder.blocks.0.attention.query", "encoder.blocks.2.attention.query"])
    ['the queries of blocks 0, 2 (Q = x W^Q + b)']
    """
    blocks: dict[str, list[str]] = {}
    for name in names:
        number = re.search(r"(?<=blocks\.)\d+", name)
        blocks.setdefault(re.sub(r"(?<=blocks\.)\d+", "N", name), []).extend(
            [number[0]] if number else []
        )
    words = []
    for name, numbers in blocks.items():
        told = title(name.replace("blocks.N", f"blocks.{(numbers or ['0'])[0]}"))
        if len(numbers) > 1:
            told = told.replace(f"block {numbers[0]}", f"blocks {', '.join(numbers)}")
        words.append(told)
    return words if len(words) <= most else [*words[:most], f"and {len(words) - most} more"]


# Modules without parameters that have a name in transformers and in minibert.
HUGGING_FACE_MODULES = {
    "encoder.layer.N.intermediate.intermediate_act_fn": "encoder.blocks.N.feed_forward.activation",
    "pooler.activation": "pooler.activation",
    "cls.predictions.transform.transform_act_fn": "masked_word.activation",
    "cls.predictions.decoder": "masked_word.logits",
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


def our_name(path: str, config: BertConfig, names: Mapping[str, str], modules: bool = False) -> str:
    """minibert's name of a parameter or module that a student calls `path`; "" if unknown.

    >>> our_name("bert.encoder.layer.2.output.LayerNorm.gamma", BertConfig(), {})
    'encoder.blocks.2.output_norm.weight'
    >>> our_name("wq.0.bias", BertConfig(), {"wq.N": "encoder.layer.N.attention.self.query"})
    'encoder.blocks.0.attention.query.bias'
    """
    for theirs, standard in names.items():
        form = re.sub(NUMBER, r"(\\d+)", re.escape(theirs))
        match = re.fullmatch(rf"{form}(\.(?:weight|bias|gamma|beta|a_2|b_2))?", path)
        if match:
            groups = [group for group in match.groups() if group is not None]
            number = next((group for group in groups if group.isdigit()), "")
            leaf = next((group for group in groups if not group.isdigit()), "")
            path = re.sub(NUMBER, number, standard) + leaf
            break
    path = re.sub(r"^(module\.)?(bert\.)?", "", path)
    path = re.sub(r"\.(gamma|a_2)$", ".weight", re.sub(r"\.(beta|b_2)$", ".bias", path))
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
