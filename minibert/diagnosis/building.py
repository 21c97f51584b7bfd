"""A student's model, built with the probe's sizes and filled with its weights by name.

Names of parameters and modules may be Hugging Face's, minibert's, or one's own with a table
{"layers.N.att.wq": "encoder.layer.N.attention.self.query"}, where N is the block's number.
"""

import copy
import inspect
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minibert.core.config import BertConfig
from minibert.core.heads import BertForPreTraining
from minibert.diagnosis.naming import our_name
from minibert.diagnosis.students import Callee, Student, StudentError, in_words
from minibert.weights.loading import hugging_face_state

TABLES = ("embeddings.token.weight", "embeddings.segment.weight", "embeddings.position.weight")


def fill(
    module: nn.Module, reference: BertForPreTraining, names: Mapping[str, str]
) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Copy the probe's weights into a student's module, by name, and make it float64.

    Gives {our name: the student's names} and notes on what the student has no place for. Raises
    StudentError for a parameter whose name nobody knows, if it may be one that is lacking, and for
    one whose shape does not fit. A table may have further rows, and an axis of 1 in front.
    """
    module.double()
    right = {
        name.removeprefix("bert."): tensor.detach() for name, tensor in reference.named_parameters()
    }
    filled: dict[str, list[str]] = {}
    unknown: dict[str, torch.Size] = {}
    notes = []
    with torch.no_grad():
        for key, own in [*module.named_parameters(remove_duplicate=False), *module.named_buffers()]:
            ours = our_name(key, reference.config, names)
            if not ours:
                if isinstance(own, nn.Parameter):
                    unknown[key] = own.shape
                continue
            rows = own[0] if own.dim() == 3 and len(own) == 1 else own
            table = ours in TABLES and rows.shape[1:] == right[ours].shape[1:]
            if table and len(rows) > len(right[ours]):
                notes.append(f"{key} has more rows than the probe's {len(right[ours])}: not filled")
                rows = rows[: len(right[ours])]
            if rows.shape != right[ours].shape:
                turned = own.dim() == 2 and own.shape == right[ours].shape[::-1]
                advice = "store it as (out, in), as nn.Linear does" if turned else "check its sizes"
                raise StudentError(
                    f"your parameter {key} has the shape {tuple(own.shape)}, expected "
                    f"{tuple(right[ours].shape)} ({ours}): {advice}"
                )
            rows.copy_(right[ours])
            filled.setdefault(ours, []).append(key)
    body = [n for n in right if n.startswith(("embeddings", "encoder")) and n not in filled]
    if unknown and {right[name].shape for name in body} & set(unknown.values()):
        raise StudentError(
            f"{len(unknown)} of your parameters have names that are neither Hugging Face's nor "
            f"minibert's, first {list(unknown)[:3]}: give a table with --names, see --help"
        )
    if unknown:
        notes.append(
            f"left as your model makes them, since nothing in the probe has their names: "
            f"{', '.join(list(unknown)[:4])}{', ...' if len(unknown) > 4 else ''}"
        )
    parts = {name.split(".")[0] for name in filled}
    lacking = [name for name in right if name.split(".")[0] in parts and name not in filled]
    if lacking:
        notes.append(
            f"the weights file has {len(lacking)} tensors that your model has no place for: "
            f"{', '.join(lacking[:4])}{', ...' if len(lacking) > 4 else ''}"
        )
    return filled, tuple(notes)


def build(
    target: Any,
    reference: BertForPreTraining,
    tensors: Mapping[str, Tensor],
    names: Mapping[str, str],
) -> Student:
    """Make a Student of a class, a module or a function. Raises StudentError if that fails."""
    config = reference.config
    if isinstance(target, nn.Module):
        module = copy.deepcopy(target)
        filled, notes = fill(module, reference, names)
        student = Callee(module.eval(), tensors, config, names)
        student.parameters, student.notes = filled, notes
        return student
    if not callable(target):
        raise StudentError(
            f"expected a class, a module or a function build(config, weights), got "
            f"{type(target).__name__}"
        )

    def make(hidden: float, attention: float) -> Callee:
        rates = {"hidden_dropout_prob": hidden, "attention_probs_dropout_prob": attention}
        wanted = config_for(target, config, **rates)
        try:
            torch.manual_seed(0)  # what no weights fill is the same in every copy
            if inspect.isclass(target) and issubclass(target, nn.Module):
                module = target(wanted)
                filled, notes = fill(module, reference, names)
            else:
                module = target(wanted, _arrays(reference))
                filled, notes = {}, ()
                if isinstance(module, nn.Module):
                    module = module.double()
                    filled = _filled(module, config, names)
        except StudentError:
            raise
        except BaseException as error:
            raise StudentError(
                f"{getattr(target, '__name__', target)} could not be built with the probe's sizes "
                f"(hidden_size {config.hidden_size}, {config.num_attention_heads} heads, "
                f"{config.num_hidden_layers} blocks): {in_words(error)}"
            ) from error
        if not callable(module):
            raise StudentError(
                f"build(config, weights) must return something to call on a batch, got "
                f"{type(module).__name__}"
            )
        student = Callee(module, tensors, config, names, again=make_alone)
        student.parameters, student.notes = filled, notes
        if isinstance(module, nn.Module):
            module.eval()
        return student

    def make_alone(hidden: float, attention: float) -> Callee:
        with torch.random.fork_rng(devices=[]):
            return make(hidden, attention)

    return make_alone(0.0, 0.0)


def _filled(
    module: nn.Module, config: BertConfig, names: Mapping[str, str]
) -> dict[str, list[str]]:
    filled: dict[str, list[str]] = {}
    for key, _ in module.named_parameters(remove_duplicate=False):
        ours = our_name(key, config, names)
        if ours:
            filled.setdefault(ours, []).append(key)
    return filled


def config_for(target: Any, config: BertConfig, **settings: float) -> Any:
    """The probe's config, with these settings in place of its own, as `target` takes it."""
    values = {**config.to_dict(), **settings}
    if hasattr(target, "config_class"):  # a class of transformers brings its own config
        del values["model_type"]
        made = target.config_class(**values)
        made._attn_implementation = "eager"
        return made
    return types.SimpleNamespace(**{**vars(config), "head_size": config.head_size, **values})


def _arrays(reference: BertForPreTraining) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in hugging_face_state(reference).items()}
