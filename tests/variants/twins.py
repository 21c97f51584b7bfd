"""The variants in minibert and in transformers with the same trained-like weights."""

from typing import Any

import torch
import transformers
from transformers.initialization import no_init_weights

from minibert.core.heads import BertForPreTraining
from minibert.variants.table import TABLE
from minibert.weights.loading import hugging_face_state
from minibert.weights.names import Architecture
from tests.parity.twins import TINY, draw_weights, tiny_batch, tiny_labels

SIZES = {
    field: getattr(TINY, field)
    for field in (
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
    )
}

# What is compared: a name, the model_type, the heads, and fields that are other than by default.
CASES: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    "distilbert": ("distilbert", ("masked_word",), {}),
    "distilbert-tanh": ("distilbert", ("masked_word",), {"hidden_act": "gelu_new"}),
    "roberta": ("roberta", ("masked_word",), {"type_vocab_size": 1, "layer_norm_eps": 1e-5}),
    "roberta-tanh": ("roberta", ("masked_word",), {"hidden_act": "gelu_new"}),
    "xlm-roberta": ("xlm-roberta", ("masked_word",), {"type_vocab_size": 1}),
    "camembert": ("camembert", ("masked_word",), {"type_vocab_size": 1}),
    "albert": ("albert", ("masked_word", "next_sentence"), {"embedding_size": 8}),
    "albert-erf": (
        "albert",
        ("masked_word", "next_sentence"),
        {"embedding_size": 20, "hidden_act": "gelu"},
    ),
    "generator": ("electra", ("masked_word",), {"embedding_size": 12}),
    "generator-tanh": (
        "electra",
        ("masked_word",),
        {"embedding_size": 20, "hidden_act": "gelu_new"},
    ),
    "discriminator": ("electra", ("replaced_token",), {"embedding_size": 12}),
    "deberta": ("deberta-v2", ("masked_word",), {}),
    "deberta-buckets": (
        "deberta-v2",
        ("masked_word",),
        {"position_buckets": 4},
    ),
    "deberta-tanh": ("deberta-v2", ("masked_word",), {"hidden_act": "gelu_new"}),
    "deberta-near": ("deberta-v2", ("masked_word",), {"max_relative_positions": 5}),
}


def variant(case: str, seed: int = 0, **more: Any) -> tuple[BertForPreTraining, Architecture]:
    """A tiny variant with trained-like numbers, float64, eval mode; and its architecture."""
    model_type, heads, fields = CASES[case]
    kind = TABLE[model_type]
    config = kind.config_class(**{**SIZES, **fields, **more})
    encoder = kind.encoder_class(config, add_pooling_layer="pooler." in kind.name_table)
    flags = dict.fromkeys(("masked_word", "next_sentence", *kind.heads), False)
    model = kind.model_class(encoder, **{**flags, **dict.fromkeys(heads, True)})
    return draw_weights(model.double(), seed).eval(), kind


def twin_of(model: BertForPreTraining, kind: Architecture, case: str) -> Any:
    """transformers' model with the same weights, eager attention, eval mode."""
    values = model.config.to_dict()
    config = transformers.AutoConfig.for_model(values.pop("model_type"), **values)
    config._attn_implementation = "eager"
    with no_init_weights():
        twin = getattr(transformers, kind.classes[CASES[case][1]])(config)
    state = hugging_face_state(model, kind)
    encoder = dict(state)
    for name, original in kind.tied.items():
        owner = next((k for k in state if k.removeprefix(f"{kind.prefix}.") == original), None)
        if owner is not None and name in twin.state_dict():
            encoder[name] = state[owner]
    wanted = set(twin.state_dict())
    extra = {key for key in encoder if key not in wanted}
    assert all(".pooler." in key for key in extra), extra
    twin = twin.to(next(iter(state.values())).dtype)
    twin.load_state_dict({k: t for k, t in encoder.items() if k in wanted}, strict=True)
    twin.tie_weights()
    return twin.eval()


def batch_for(case: str, seed: int = 1) -> dict[str, torch.Tensor]:
    """B = 3, T = 7, two lengths of padding, pairs; segments where the variant reads them."""
    model_type, _, fields = CASES[case]
    batch = tiny_batch(seed=seed)
    if model_type in ("roberta", "xlm-roberta", "camembert"):  # their [PAD] is 1
        ids = batch["input_ids"]
        batch["input_ids"] = torch.where(ids == 0, 1, ids)
    if fields.get("type_vocab_size") == 1:
        batch["token_type_ids"] = torch.zeros_like(batch["token_type_ids"])
    return batch


def inputs_of_twin(case: str, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What transformers takes: its DistilBERT has no token_type_ids."""
    return {k: t for k, t in batch.items() if case[:6] != "distil" or k != "token_type_ids"}


def labels_for(case: str, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Labels for all heads of a variant, under the names of transformers."""
    heads = CASES[case][1]
    labels = tiny_labels(batch)
    if "replaced_token" in heads:
        return {"labels": (batch["input_ids"] % 3 == 0).long()}
    if "next_sentence" in heads:
        return {"labels": labels["labels"], "sentence_order_label": labels["next_sentence_label"]}
    return {"labels": labels["labels"]}
