"""Does transformers, reading the same folder, compute the same? Layer by layer, head by head.

In float64 the question is whether both compute the same formula; in float32, whether ours is as
good. The folder is read by transformers' own loader, so our name table is checked as well.
"""

import inspect
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from minibert.core.heads import BertForPreTraining
from minibert.variants.table import architecture_of
from weights_tools.export import probe
from weights_tools.verify.verdict import FAIL, NOT_RUN, PASS, Row

# What rounding may do, relative to the largest value.
_TOLERANCES = {"float32": 1e-5, "float64": 1e-11}

# What transformers calls the outputs of heads.
_LOGITS = {
    "masked_word": ("masked-word head", ("prediction_logits", "logits")),
    "next_sentence": ("next-sentence head", ("seq_relationship_logits", "sop_logits")),
    "replaced_token": ("replaced-token head", ("logits",)),
}


def check_transformers(path: Path, model: BertForPreTraining) -> list[Row]:
    """The largest difference of every layer and head, for transformers reading the same files."""
    if find_spec("transformers") is None:
        return [Row("transformers", "transformers", NOT_RUN, "transformers is not installed")]
    import transformers

    kind = architecture_of(model.config)
    heads = {head for head in kind.heads if getattr(model, head) is not None}
    fitting = [some for some in kind.classes if heads <= {*some}]
    class_name = kind.classes[max(fitting, key=len)]
    folder = path if path.is_dir() else path.parent
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        reference = (
            getattr(transformers, class_name)
            .from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
            .eval()
        )
    finally:
        transformers.logging.set_verbosity(verbosity)
        transformers.logging.enable_progress_bar()
    batch = probe(model.config, rows=2, tokens=24)
    errors: dict[str, dict[str, float]] = {}
    wrong = set()
    before = next(model.parameters()).dtype
    for dtype in (torch.float32, torch.float64):
        model.to(dtype)
        reference.to(dtype)
        label = str(dtype).removeprefix("torch.")
        ours, theirs = _all_outputs(model, batch), _reference_outputs(reference, batch, heads)
        for name in filter(theirs.__contains__, ours):  # RoBERTa beside its head has no pooler
            error = float((ours[name] - theirs[name]).abs().max())
            errors.setdefault(name, {})[label] = error
            size = max(1.0, float(theirs[name].abs().max()))
            if not error <= _TOLERANCES[label] * size:  # nor if it is NaN
                wrong.add(name)
    model.to(before)
    version = f"version {transformers.__version__}"
    return [
        Row("transformers", name, FAIL if name in wrong else PASS, version, errors=differences)
        for name, differences in errors.items()
    ]


def _all_outputs(
    model: BertForPreTraining, batch: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Our outputs by name, in the order of computation, without the rows of padding."""
    with torch.no_grad():
        encoded = model.bert(**batch, output_hidden_states=True, output_attentions=True)
        outputs = _by_layer(encoded.hidden_states, encoded.attentions, batch)
        if encoded.pooler_output is not None:
            outputs["pooler"] = encoded.pooler_output
        if model.masked_word is not None:
            table = model.bert.embeddings.token.weight
            words = model.masked_word(encoded.last_hidden_state, table)
            outputs["masked-word head"] = _real(words, batch)
        if model.next_sentence is not None:
            outputs["next-sentence head"] = model.next_sentence(encoded.pooler_output)
        if replaced_token := getattr(model, "replaced_token", None):
            scores = replaced_token(encoded.last_hidden_state)
            outputs["replaced-token head"] = _real(scores, batch)
    return outputs


def _reference_outputs(
    reference: Any, batch: dict[str, torch.Tensor], heads: set[str]
) -> dict[str, torch.Tensor]:
    taken = inspect.signature(reference.forward).parameters  # DistilBERT takes no segments
    inputs = {name: tensor for name, tensor in batch.items() if name in taken}
    with torch.no_grad():
        whole = reference(**inputs)
        encoded = reference.base_model(**inputs, output_hidden_states=True, output_attentions=True)
    outputs = _by_layer(encoded.hidden_states, encoded.attentions, batch)
    if getattr(encoded, "pooler_output", None) is not None:
        outputs["pooler"] = encoded.pooler_output
    for head in heads:
        title, names = _LOGITS[head]
        logits = next(whole[name] for name in names if name in whole)
        outputs[title] = logits if head == "next_sentence" else _real(logits, batch)
    return outputs


def _by_layer(
    states: Sequence[torch.Tensor], attentions: Sequence[torch.Tensor], batch: dict[str, Any]
) -> dict[str, torch.Tensor]:
    outputs = {"embeddings": _real(states[0], batch)}
    for number, (attention, state) in enumerate(zip(attentions, states[1:], strict=True)):
        outputs[f"block {number} attention"] = _real(attention.transpose(1, 2), batch)
        outputs[f"block {number}"] = _real(state, batch)
    return outputs


def _real(tensor: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return tensor[batch["attention_mask"] == 1]
