"""Does our computation give the numbers that others published?

Every check runs with both GELUs, the exact one and the tanh approximation of Google's code since
February 2019, and the row says which of them fits. It passes if the one that its source had does.
"""

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from minibert.core.encoder import activation_function
from minibert.core.heads import BertForPreTraining, masked_word_loss, next_sentence_loss
from minibert.trace import record
from weights_tools.verify.pack import Check, Pack, take
from weights_tools.verify.verdict import FAIL, INFO, NOT_RUN, PASS, Row

_SIZES = (
    "model_type",
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)


def pack_row(pack: Pack, reason: str) -> Row:
    """The row of a pack that was not run: why, and that its form is sound."""
    sources = {check.source for check in pack.gates}
    return Row(
        "golden",
        pack.name,
        NOT_RUN,
        f"{reason}; the pack is sound: {len(pack.gates)} published results from "
        f"{len(sources)} sources, {len(pack.checks) - len(pack.gates)} leads",
    )


def check_golden(model: BertForPreTraining, pack: Pack, claimed: bool, progress: bool) -> list[Row]:
    """All checks of a pack, with both GELUs, if the pack is about this model."""
    config = {"model_type": model.config.to_dict()["model_type"], **vars(model.config)}
    wrong = [name for name in pack.config if config.get(name) != pack.config[name]]
    wrong_sizes = [name for name in wrong if name in _SIZES]
    if wrong_sizes and not claimed:
        name = wrong_sizes[0]
        return [pack_row(pack, f"another model: {name} is {config[name]}, not {pack.config[name]}")]
    config_rows = [
        Row("golden", f"config: {n}", FAIL, f"expected {pack.config[n]}, got {config.get(n)}")
        for n in wrong
    ] or [Row("golden", "config", PASS, f"is that of {pack.name}")]
    if wrong_sizes:
        return config_rows
    rows = list(_run_checks(model, pack, progress))
    if not claimed:
        gates = [
            (row, check.output.startswith("parameter:"))
            for row, check in zip(rows, pack.checks, strict=True)
            if row.status in (PASS, FAIL)
        ]
        # The tables themselves say best whose weights these are.
        identity = [row for row, is_table in gates if is_table] or [row for row, _ in gates]
        if sum(row.status == PASS for row in identity) * 2 < len(identity):
            reason = f"same sizes, other weights (if it should be {pack.name}, say so with --claim)"
            return [pack_row(pack, reason)]
    return config_rows + rows


def _run_checks(model: BertForPreTraining, pack: Pack, progress: bool) -> Iterable[Row]:
    """One row per check; each input goes through the model once per GELU."""
    own = model.config.hidden_act
    other = "gelu_new" if own == "gelu" else "gelu"
    models = {own: model, other: _with_activation(model, other)}
    outputs: dict[str, dict[str, Outputs]] = {}
    for check in tqdm(pack.checks, desc="golden numbers", disable=not progress):
        if reason := _missing_part(check, model):
            yield Row("golden", check.id, NOT_RUN, reason)
            continue
        key = check.input or "no input"
        if key not in outputs:
            outputs.clear()  # checks of one input stand together, so one is kept at a time
            values = pack.inputs.get(key, {})
            outputs[key] = {act: Outputs(one, values) for act, one in models.items()}
        got = {act: one.get(check) for act, one in outputs[key].items()}
        yield _judge(check, {act: got[act] for act in ("gelu", "gelu_new")}, own, pack)


def _judge(check: Check, got: dict[str, np.ndarray], own: str, pack: Pack) -> Row:
    """A check passes if the outputs with the GELU of its source are within its tolerance.

    Shown is the worst place: where the difference is largest, compared with what is allowed.
    """
    errors, allowed, within = {}, {}, {}
    for act, values in got.items():
        difference = np.abs(values.astype(np.float64) - check.expected)
        if check.printed == "ids":
            difference = (difference > 0).astype(float)
        worst = np.unravel_index(np.argmax(difference / check.allowed), difference.shape)
        errors[act], allowed[act] = float(difference[worst]), float(check.allowed[worst])
        within[act] = errors[act] <= allowed[act]  # NaN is not
    fits = {(True, True): "both", (True, False): "gelu", (False, True): "gelu_new"}
    wanted = own if check.hidden_act == "any" else check.hidden_act
    status = (PASS if within[wanted] else FAIL) if check.kind == "gate" else INFO
    source = pack.sources[check.source]
    expects = "" if check.hidden_act == "any" else f"expects {check.hidden_act}; "
    lead = "lead, decides nothing; " if check.kind == "lead" else ""
    count = f", {check.sources} sources" if check.sources > 1 else ""
    alone = "" if check.is_certain else ", on one page alone"
    detail = f"{lead}{expects}{source['repository'] or source['what']}{count}{alone}"
    return Row(
        "golden",
        check.id,
        status,
        detail,
        allowed[wanted],
        errors,
        fits.get(tuple(within.values()), "neither"),  # type: ignore[arg-type]
        check.is_certain,
    )


def _missing_part(check: Check, model: BertForPreTraining) -> str:
    words = ("prediction", "top_words", "masked_word", "pretraining")
    if check.output.startswith(words) and model.masked_word is None:
        return "the file has no masked-word head"
    pair = ("seq_relationship", "next_sentence", "pretraining")
    if check.output.startswith(pair) and model.next_sentence is None:
        return "the file has no next-sentence head"
    if check.output == "pooler_output" and model.bert.pooler is None:
        return "the file has no pooler"
    return ""


def _with_activation(model: BertForPreTraining, name: str) -> BertForPreTraining:
    """The same parameters under the other GELU; the numbers are shared, not copied."""
    twin = copy.deepcopy(model, {id(tensor): tensor for tensor in model.parameters()})
    for module in twin.modules():
        if isinstance(getattr(module, "activation", None), nn.GELU):
            module.activation = activation_function(name)
    return twin


class Outputs:
    """What a model makes of one input of a pack, computed when asked for and kept."""

    def __init__(self, model: BertForPreTraining, values: dict[str, Any]):
        self.model = model
        self.values = values
        fields = ("input_ids", "attention_mask", "token_type_ids")
        self.batch = {name: torch.tensor(values[name]) for name in fields if name in values}
        self._encoded: Any = None
        self._known: dict[str, np.ndarray] = {}

    def get(self, check: Check) -> np.ndarray:
        """The numbers to compare with `check.expected`, in its shape."""
        if check.output == "cosine":
            a, b = (take(self._output("last_hidden_state"), place) for place in check.index or [])
            return np.asarray(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        if check.output == "top_words":
            scores = take(self._output("prediction_logits"), check.index)
            return np.argsort(-scores, kind="stable")[: check.expected.size]
        return take(self._output(check.output), check.index)

    def _output(self, name: str) -> np.ndarray:
        if name not in self._known:
            with torch.no_grad():
                self._known[name] = self._compute(name).numpy()
        return self._known[name]

    def _compute(self, name: str) -> torch.Tensor:
        model = self.model
        if name.startswith("parameter:"):
            embeddings = model.bert.embeddings
            return {
                "word_embeddings": embeddings.token,
                "position_embeddings": embeddings.position,
                "token_type_embeddings": embeddings.segment,
            }[name.split(".")[2]].weight
        if name.startswith("trace:"):
            return record(model.bert, self.batch)[name.removeprefix("trace:")]
        if self._encoded is None:
            self._encoded = model.bert(
                **self.batch, output_hidden_states=True, output_attentions=True
            )
        encoded = self._encoded
        if name.endswith("]"):
            field, _, number = name.removesuffix("]").partition("[")
            return getattr(encoded, field)[int(number)]
        if name in ("last_hidden_state", "pooler_output"):
            return getattr(encoded, name)
        if name == "sum_of_last_four":
            return torch.stack(encoded.hidden_states[-4:]).sum(dim=0)
        if name.startswith("seq_relationship") or name == "next_sentence_loss":
            logits = model.next_sentence(encoded.pooler_output)  # type: ignore[misc]
            if name == "next_sentence_loss":
                label = torch.tensor(self.values["next_sentence_label"])
                return next_sentence_loss(logits, label)
            return logits.softmax(dim=-1) if name.endswith("probabilities") else logits
        if name == "pretraining_loss":
            words, pair = self._compute("masked_word_loss"), self._compute("next_sentence_loss")
            return words + pair
        table = model.bert.embeddings.token.weight
        logits = model.masked_word(encoded.last_hidden_state, table)  # type: ignore[misc]
        if name == "prediction_logits":
            return logits
        if name == "prediction_probabilities":
            return logits.softmax(dim=-1)
        labels = torch.tensor(self.values["labels"])
        mean = masked_word_loss(logits, labels)
        return mean if name == "masked_word_loss" else -mean * (labels != -100).sum()
