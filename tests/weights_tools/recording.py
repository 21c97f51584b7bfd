"""What transformers computes for the inputs of a golden pack; no line of minibert's model is used.

`recorded` fills a pack with what a model of transformers gives, printed as the pack says, so that
`verify` can be tried on weights of which nobody has published a number.
"""

import copy
import json

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers.activations import ACT2FN


def recorded(pack, reference, folder, name="pack"):
    """Write `pack`, a golden pack as JSON values, with the numbers of `reference`; its path."""
    pack, arrays, outputs = copy.deepcopy(pack), {}, {}
    for check in pack["checks"]:
        act = "gelu" if check["hidden_act"] == "any" else check["hidden_act"]
        key = (check.get("input"), act)
        if key not in outputs:
            outputs[key] = outputs_of(reference, pack["inputs"].get(key[0]), act)
        values = taken(outputs[key], check)
        if check["printed"] == "ids":
            count = np.size(check.get("expected", [0]))
            check["expected"] = np.argsort(-values, kind="stable")[:count].tolist()
        elif "expected" not in check and check["printed"] == "float32":
            check["array"] = check["id"]
            arrays[check["id"]] = values.astype(np.float32)
        elif check["printed"] == "float32":
            check["expected"] = values.astype(np.float32).tolist()
        else:
            ((unit, count),) = check["printed"].items()
            form = f".{count}f" if unit == "decimals" else f".{count - 1}e"
            printed = [float(format(value, form)) for value in values.flat]
            check["expected"] = np.reshape(printed, values.shape).tolist()
    pack["arrays"] = f"{name}.npz"
    np.savez(folder / f"{name}.npz", **arrays)
    (folder / f"{name}.json").write_text(json.dumps(pack))
    return folder / f"{name}.json"


def taken(outputs, check):
    """The numbers of one check out of all outputs of its input."""
    index = check.get("index")
    if check["output"] == "cosine":
        first, second = (outputs["last_hidden_state"][tuple(place)] for place in index)
        return torch.cosine_similarity(first, second, dim=0).numpy()
    name = "prediction_logits" if check["output"] == "top_words" else check["output"]
    values = outputs[name].numpy()
    for axis, places in reversed(list(enumerate(index or []))):
        if places is not None:
            values = np.take(values, places, axis=axis)
    return values


@torch.no_grad()
def outputs_of(reference, values, act):
    """Everything a pack can ask for, by name."""
    if values is None:
        return {f"parameter:{key}": value.detach() for key, value in reference.named_parameters()}
    for layer in reference.bert.encoder.layer:
        layer.intermediate.intermediate_act_fn = ACT2FN[act]
    reference.cls.predictions.transform.transform_act_fn = ACT2FN[act]
    fields = ("input_ids", "attention_mask", "token_type_ids")
    batch = {field: torch.tensor(values[field]) for field in fields if field in values}
    attention = reference.bert.encoder.layer[0].attention.self
    contexts = []
    hook = attention.register_forward_hook(lambda module, inputs, out: contexts.append(out[0]))
    whole = reference(**batch, output_hidden_states=True, output_attentions=True)
    hook.remove()
    states, words, pair = whole.hidden_states, whole.prediction_logits, whole[1]
    outputs = {
        "last_hidden_state": states[-1],
        "pooler_output": reference.bert.pooler(states[-1]),
        "sum_of_last_four": torch.stack(states[-4:]).sum(dim=0),
        "trace:encoder.blocks.0.attention.context": contexts[0],
        "prediction_logits": words,
        "prediction_probabilities": words.softmax(-1),
        "seq_relationship_logits": pair,
        "seq_relationship_probabilities": pair.softmax(-1),
    }
    for number, state in enumerate(states):
        outputs[f"hidden_states[{number}]"] = state
        outputs[f"hidden_states[{number - len(states)}]"] = state
    for number, probabilities in enumerate(whole.attentions):
        outputs[f"attentions[{number}]"] = probabilities
    if "labels" in values:
        labels = torch.tensor(values["labels"])
        outputs["masked_word_loss"] = cross_entropy(words.flatten(0, 1), labels.flatten())
        outputs["masked_word_log_likelihood"] = -cross_entropy(
            words.flatten(0, 1), labels.flatten(), reduction="sum"
        )
    if "next_sentence_label" in values:
        labels = torch.tensor(values["next_sentence_label"])
        outputs["next_sentence_loss"] = cross_entropy(pair, labels)
    if {"labels", "next_sentence_label"} <= set(values):
        both = outputs["masked_word_loss"] + outputs["next_sentence_loss"]
        outputs["pretraining_loss"] = both
    return outputs
