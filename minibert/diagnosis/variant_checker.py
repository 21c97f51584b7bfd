"""Holds a port of a variant to the reference, and names its mistake: `diagnose --variant`.

As `checker.py` does for BERT, and less of it: the outputs by their names in transformers
(hidden_states, attentions, logits) are compared in eval mode, on a tiny model with numbers as
training makes them and texts that are padded on either side; then each known mistake of this
variant, and each pair, is made in the reference, until one gives the very numbers.
"""

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from minibert.core.heads import BertForPreTraining
from minibert.diagnosis.building import config_for
from minibert.diagnosis.catalogue.mistake import Mistake, patched
from minibert.diagnosis.catalogue.variants import (
    MISTAKES,
    ROBERTAS,
    TEXT_MISTAKES,
    byte_level,
    extra_segments,
)
from minibert.diagnosis.probe import draw, full_batch, probe_config
from minibert.diagnosis.report import Check, Diagnosis
from minibert.diagnosis.search import explain
from minibert.diagnosis.students import Callee, StudentError, in_words
from minibert.diagnosis.traces import (
    FLOAT32_TOLERANCE,
    TOLERANCE,
    blank,
    common,
    first_difference,
)
from minibert.tokenizer.bpe import BYTE_LETTERS
from minibert.variants.table import TABLE
from minibert.weights.loading import hugging_face_state

# The sizes of the probe that a variant has besides BERT's.
SIZES: dict[str, dict[str, Any]] = {
    "albert": {"embedding_size": 12},
    "electra": {"embedding_size": 12},
    "deberta-v2": {"position_buckets": 4},
    **dict.fromkeys(ROBERTAS, {"layer_norm_eps": 1e-5, "type_vocab_size": 1}),
}
# What a tokenizer of RoBERTa is asked, by a vocabulary in which ranks and lengths disagree.
MERGES = [("Ġ", "l"), ("o", "w"), ("w", "e"), ("e", "r"), ("Ġl", "ow"), ("l", "o"), ("lo", "w")]
VOCAB = {t: n for n, t in enumerate([*BYTE_LETTERS, *("".join(pair) for pair in MERGES), "Ġlowe"])}
TEXTS = (
    "low lower",
    "Low, lower and lowest.",
    " a flower  glows",
    "It's 12 o'clock\nin Zoë's café",
)


class VariantChecker:
    """The reference of one variant, to check any number of students.

    >>> checker = VariantChecker("roberta")
    >>> checker.check(lambda config, weights: checker.model).passed
    True
    """

    def __init__(self, variant: str, seed: int = 0):
        """Raises ValueError for a variant that is not in the table."""
        if variant not in MISTAKES or variant == "bert":
            names = ", ".join(name for name in TABLE if name != "bert")
            raise ValueError(f"no variant is called {variant!r}: expected one of {names}")
        self.variant, self.kind = variant, TABLE[variant]
        sizes = {
            name: value
            for name, value in vars(probe_config()).items()
            if name not in ("layer_norm_eps", "hidden_act", "pad_token_id")
        }
        config = self.kind.config_class(**{**sizes, **SIZES.get(variant, {})})
        pooler = "pooler." in self.kind.name_table
        encoder = self.kind.encoder_class(config, add_pooling_layer=pooler)
        self.model: Any = self.kind.model_class(
            encoder, next_sentence=pooler and "albert" in variant
        )
        if not isinstance(self.model, BertForPreTraining):
            raise TypeError(f"{self.kind.model_class} is no BERT")
        draw(self.model, seed)
        self.batch = {k: t for k, t in full_batch().items() if "label" not in k}
        real = self.batch["attention_mask"] == 1
        pad = torch.full_like(self.batch["input_ids"], config.pad_token_id or 0)
        self.batch["input_ids"] = torch.where(real, self.batch["input_ids"], pad)
        if config.type_vocab_size == 1:
            self.batch["token_type_ids"] = torch.zeros_like(pad)
        self.expected = self.numbers(self.model)

    def numbers(self, call: Any) -> dict[str, Tensor]:
        """What a model gives on the probe, in the order of computation, 0 at padding."""
        batch = {name: tensor.clone() for name, tensor in self.batch.items()}
        with torch.no_grad():
            if isinstance(call, BertForPreTraining):  # which passes on what it does not name
                output = call(**batch, output_hidden_states=True, output_attentions=True)
            else:
                output = Callee(call, {}, self.model.config).run(batch)
        return blank(_by_name(output), self.batch["attention_mask"])

    def check(self, target: Any, subject: str = "your model") -> Diagnosis:
        """Check a class built as NAME(config), a module, or build(config, weights); of RoBERTa also
        a tokenizer, a function (text, vocab, merges) that gives tokens.

        Raises StudentError if it cannot be built, filled or called.
        """
        if inspect.isfunction(target) and list(inspect.signature(target).parameters)[0] == "text":
            return self._check_tokenizer(target, subject)
        try:
            student, notes = self._build(target)
            got = self.numbers(student)
        except StudentError:
            raise
        except BaseException as error:
            raise StudentError(f"it cannot be built or called: {in_words(error)}") from error
        names = common(self.expected, got)
        if not names:
            raise StudentError(
                "nothing in its output is known: return last_hidden_state (B, T, H), or a dict "
                "with it, hidden_states, attentions and logits"
            )
        checks = [Check("runs", True)]
        exact = all(tensor.dtype == torch.float64 for tensor in got.values())
        tolerance = TOLERANCE if exact else FLOAT32_TOLERANCE
        if not exact:
            notes.append("your numbers are not float64, so only differences above 0.00002 count")
        place = first_difference(self.expected, got, self.batch["attention_mask"], tolerance)
        if place is None:
            checks.append(Check("numbers", True, f"{len(names)} tensors agree"))
            return Diagnosis(subject, checks, notes=notes)
        checks.append(Check("numbers", False, f"{place.name} differs"))
        return Diagnosis(
            subject,
            checks,
            place.name,
            place.name,
            explanations=self.explain(got, tolerance),
            notes=notes,
            precision="exactly" if exact else "to float32's precision",
            catalogue=MISTAKES[self.variant],
        )

    def _check_tokenizer(self, tokenize: Any, subject: str) -> Diagnosis:
        if self.variant != "roberta":
            raise StudentError(
                f"tokenizers are checked for roberta (byte-level BPE), not for {self.variant}"
            )

        def tokens(function: Any) -> list[list[str]]:
            return [[*function(text, dict(VOCAB), list(MERGES))] for text in TEXTS]

        right = tokens(byte_level)
        try:
            got = tokens(tokenize)
        except Exception as error:
            raise StudentError(f"it cannot be called: {in_words(error)}") from error
        for text, theirs, ours in zip(TEXTS, got, right):
            if theirs != ours:
                wrong = Check("tokens", False, f"of {text!r}: expected {ours}, got {theirs}")
                known = [(n,) for n, m in TEXT_MISTAKES.items() if tokens(m.change) == got]
                place = f"the tokens of {text!r}"
                return Diagnosis(
                    subject, [wrong], place, "tokens", explanations=known, catalogue=TEXT_MISTAKES
                )
        return Diagnosis(subject, [Check("tokens", True, f"of {len(TEXTS)} texts agree")])

    def explain(
        self, got: Mapping[str, Tensor], tolerance: float = TOLERANCE
    ) -> list[tuple[str, ...]]:
        """The known mistakes, or the pairs of them, that give these numbers."""
        wanted = self.expected.keys() & got.keys()

        def compute(mistakes: Sequence[Mistake]) -> dict[str, Tensor]:
            with patched(self.model, mistakes):
                return self.numbers(self.model)

        def agree(made: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
            place = first_difference(made, other, self.batch["attention_mask"], tolerance)
            return wanted <= made.keys() and place is None

        return explain(MISTAKES[self.variant].values(), compute, agree, got, most=2).sets

    def _build(self, target: Any) -> tuple[Any, list[str]]:
        state = hugging_face_state(self.model, self.kind)
        if not isinstance(target, nn.Module) and not inspect.isclass(target):
            return target(
                config_for(target, self.model.config),
                {k: t.numpy().copy() for k, t in state.items()},
            ), []
        make: Any = target
        module = (
            target if isinstance(target, nn.Module) else make(config_for(target, self.model.config))
        )
        return self._fill(module.double().eval(), state)

    def _fill(self, module: nn.Module, state: Mapping[str, Tensor]) -> tuple[nn.Module, list[str]]:
        """Copy the probe's weights into a module, by their names in transformers or minibert."""
        prefix = re.compile(rf"^((module|model|bert|{self.kind.prefix})\.)+")
        known = {prefix.sub("", name): tensor for name, tensor in state.items()}
        known |= {prefix.sub("", name): p.detach() for name, p in self.model.named_parameters()}
        known |= {twin: known[name] for twin, name in self.kind.tied.items() if name in known}
        unknown = []
        with torch.no_grad():
            for name, parameter in module.named_parameters(remove_duplicate=False):
                right = known.get(prefix.sub("", name))
                if right is None:
                    unknown.append(name)
                    if parameter.dim() == 2 and re.search("token_type|segment", name):
                        parameter.copy_(extra_segments(*parameter.shape))
                elif right.shape != parameter.shape:
                    if right.shape[-1:] == (SIZES.get(self.variant, {}).get("embedding_size"),):
                        raise StudentError(
                            f"your {name} has the shape {tuple(parameter.shape)}, expected "
                            f"{tuple(right.shape)}: a table of {self.variant} has the width "
                            "embedding_size, and a matrix behind it leads to hidden_size"
                        )
                    raise StudentError(
                        f"your parameter {name} has the shape {tuple(parameter.shape)}, expected "
                        f"{tuple(right.shape)}: check its sizes, which config.json of a "
                        f"{self.variant} says"
                    )
                else:
                    parameter.copy_(right)
        if len(unknown) == len(list(module.parameters())):
            raise StudentError(
                f"none of your parameters has a name of transformers' {self.variant}, first "
                f"{unknown[:3]}, expected names such as {list(state)[:3]}"
            )
        if unknown:
            return module, [
                f"a {self.variant} has no {', '.join(unknown[:4])}: left as your model makes them. "
                "Whatever reads them is not of this model"
            ]
        return module, []


def _by_name(output: Any) -> dict[str, Tensor]:
    """A model's output, flat: hidden_states.0, attentions.0, hidden_states.1, ..., the rest."""
    if isinstance(output, Tensor):
        return {"last_hidden_state": output}
    fields = output._asdict() if hasattr(output, "_asdict") else output
    if not isinstance(fields, Mapping):
        raise StudentError("return a tensor, a named tuple or a dict of tensors by their names")
    states = list(fields.get("hidden_states") or [])
    tables = list(fields.get("attentions") or [])
    flat = {}
    for number in range(max(len(states), len(tables))):
        if number < len(states):
            flat[f"hidden_states.{number}"] = states[number]
        if number < len(tables):
            flat[f"attentions.{number}"] = tables[number]
    if "last_hidden_state" in fields or states:
        flat["last_hidden_state"] = fields.get("last_hidden_state", states[-1] if states else None)
    for name, other in (("logits", "logits"), ("prediction_logits", "logits")):
        if fields.get(name) is not None:
            flat[other] = fields[name]
    return {name: torch.as_tensor(tensor) for name, tensor in flat.items()}
