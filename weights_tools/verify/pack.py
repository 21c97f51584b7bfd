"""The golden pack: numbers of published BERTs that others computed and printed.

A pack is a JSON file with inputs, expected outputs, tolerances and sources, and an `.npz` with
the full tensors. `load_pack` reads one and refuses it unless its form is sound. `SOURCES.md`
says where everything comes from.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from weights_tools.errors import CorruptError

FOLDER = Path(__file__).parent / "golden"
PACKS = (
    "bert-base-uncased",
    "bert-tiny",
    "distilbert-base-uncased",
    "roberta-base",
    "xlm-roberta-base",
    "camembert-base",
    "albert-base-v2",
    "electra-small-discriminator",
    "deberta-v3-xsmall",
)

KINDS = ("gate", "lead")
ACTIVATIONS = ("gelu", "gelu_new", "any")  # "any": the output does not depend on the GELU
_INPUT_KEYS = {
    "text",
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "labels",
    "next_sentence_label",
    "note",
}
_PARAMETERS = {
    "bert.embeddings.word_embeddings.weight": "vocab_size",
    "bert.embeddings.position_embeddings.weight": "max_position_embeddings",
    "bert.embeddings.token_type_embeddings.weight": "type_vocab_size",
}
_LOSSES = (
    "masked_word_loss",
    "next_sentence_loss",
    "pretraining_loss",
    "masked_word_log_likelihood",
)


@dataclasses.dataclass(frozen=True)
class Check:
    """One published result: run `input`, take `output` at `index`, expect `expected`.

    `recorded` says that the numbers were read out of a published file, and not copied from a
    page. `confirmed_by` names further sources that give the same numbers.
    """

    id: str
    kind: str
    input: str | None
    output: str
    index: list[Any] | None
    expected: np.ndarray
    printed: Any
    allowance: str
    noise: float
    hidden_act: str
    source: str
    path: str
    recorded: bool = False
    confirmed_by: tuple[str, ...] = ()
    note: str = ""

    @property
    def sources(self) -> int:
        """How many independent sources give these numbers."""
        return 1 + len(self.confirmed_by)

    @property
    def is_certain(self) -> bool:
        """False for numbers that stand on one page, where a slip of the pen cannot be excluded."""
        return self.recorded or self.sources > 1

    @property
    def allowed(self) -> np.ndarray:
        """How far each number may be off: the rounding of what was printed, and noise."""
        size = np.abs(self.expected)
        if self.printed == "ids":  # how far ids are apart says nothing
            return np.full(size.shape, 0.5)
        if self.printed == "float32":
            return size * 2.0**-24 + self.noise
        ((unit, count),) = self.printed.items()
        if unit == "digits":
            count = count - 1 - np.floor(np.log10(np.maximum(size, 1e-300)))
        return np.broadcast_to(0.5 * 10.0**-count + self.noise, size.shape)


@dataclasses.dataclass(frozen=True)
class Pack:
    """All checks of one model; `config` are the config fields that a model must have to be it."""

    name: str
    claims: tuple[str, ...]
    config: dict[str, Any]
    sources: dict[str, dict[str, Any]]
    inputs: dict[str, dict[str, Any]]
    checks: tuple[Check, ...]

    @property
    def gates(self) -> tuple[Check, ...]:
        """The checks that decide."""
        return tuple(check for check in self.checks if check.kind == "gate")

    @property
    def certain(self) -> Pack:
        """The gates whose numbers cannot be a slip of somebody's pen, as a pack of their own."""
        return dataclasses.replace(self, checks=tuple(c for c in self.gates if c.is_certain))


def load_pack(source: str | Path) -> Pack:
    """A pack by its name (`PACKS`) or by the path of its JSON file.

    Raises `CorruptError` that names the check whose form is wrong, FileNotFoundError if there
    is no such file.

    >>> len(load_pack("bert-base-uncased").gates) >= 40
    True
    """
    path = FOLDER / f"{source}.json" if str(source) in PACKS else Path(source)
    try:
        values = json.loads(path.read_bytes())
        arrays = _load_arrays(path.parent, values["arrays"])
        pack = _build(values, arrays)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        kind = f"{type(error).__name__}: " if not isinstance(error, ValueError) else ""
        raise CorruptError(f"{path} is not a sound golden pack: {kind}{error}") from None
    return pack


def known_fingerprints() -> dict[str, dict[str, Any]]:
    """Sizes and sha256 of published files, by release."""
    return json.loads((FOLDER / "fingerprints.json").read_bytes())


def _load_arrays(folder: Path, name: str | None) -> dict[str, np.ndarray]:
    if name is None:
        return {}
    if Path(name).name != name:
        raise ValueError(f"the arrays must be a plain file name, got {name!r}")
    try:
        with np.load(folder / name, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{name} cannot be read: {error}") from None


def _build(values: dict[str, Any], arrays: dict[str, np.ndarray]) -> Pack:
    checks = []
    for entry in values["checks"]:
        entry = dict(entry)
        array = entry.pop("array", None)
        if (array is None) == ("expected" not in entry):
            raise ValueError(f"check {entry.get('id')!r} needs 'expected' or 'array', not both")
        expected = arrays[array] if array is not None else np.asarray(entry["expected"])
        allowance = values["allowances"].get(entry.get("allowance"))
        if allowance is None:
            raise ValueError(f"check {entry.get('id')!r} needs one of the pack's allowances")
        others = tuple(entry.pop("confirmed_by", ()))
        fields = {"index": None, **entry, "expected": expected, "confirmed_by": others}
        checks.append(Check(**fields, noise=allowance["noise"], recorded=array is not None))
    pack = Pack(
        values["name"],
        tuple(values["claims"]),
        values["config"],
        values["sources"],
        values["inputs"],
        tuple(checks),
    )
    used = {entry["array"] for entry in values["checks"] if "array" in entry}
    _validate(pack, set(arrays), used, values["allowances"])
    return pack


def _validate(pack: Pack, arrays: set[str], used: set[str], allowances: dict[str, Any]) -> None:
    """Everything about a pack that can be known without the model."""
    if arrays != used:
        raise ValueError(f"arrays without a check: {sorted(arrays - used)}")
    for name, source in pack.sources.items():
        if set(source) != {"repository", "commit", "licence", "what"} or not source["what"]:
            raise ValueError(f"source {name!r} needs repository, commit, licence and what")
    for name, allowance in allowances.items():
        if not (allowance["noise"] >= 0 and allowance["origin"]):
            raise ValueError(f"allowance {name!r} needs a noise of 0 or more, and its origin")
    for name, values in pack.inputs.items():
        _validate_input(name, values, pack.config)
    ids = [check.id for check in pack.checks]
    for check in pack.checks:
        try:
            if ids.count(check.id) != 1:
                raise ValueError("its id is not unique")
            _validate_check(check, pack)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise ValueError(f"check {check.id!r}: {error}") from None


def _validate_input(name: str, values: dict[str, Any], sizes: dict[str, Any]) -> None:
    if unknown := set(values) - _INPUT_KEYS:
        raise ValueError(f"input {name!r} has unknown fields {sorted(unknown)}")
    ids = np.asarray(values["input_ids"])
    limits = {
        "input_ids": (0, sizes["vocab_size"]),
        "attention_mask": (0, 2),
        "token_type_ids": (0, sizes["type_vocab_size"]),
        "labels": (-100, sizes["vocab_size"]),
    }
    for field, (low, high) in limits.items():
        array = np.asarray(values.get(field, np.zeros_like(ids)))
        if array.shape != ids.shape or array.ndim != 2 or array.dtype.kind != "i":
            raise ValueError(f"input {name!r}: {field} must be whole numbers of shape {ids.shape}")
        if array.min() < low or array.max() >= high:
            raise ValueError(f"input {name!r}: {field} out of range [{low}, {high})")
    if ids.shape[1] > sizes["max_position_embeddings"]:
        raise ValueError(f"input {name!r} has {ids.shape[1]} tokens, more than the model takes")
    if len(values.get("next_sentence_label", ids)) != len(ids):
        raise ValueError(f"input {name!r}: next_sentence_label needs one label per row")


def _validate_check(check: Check, pack: Pack) -> None:
    if check.kind not in KINDS or check.hidden_act not in ACTIVATIONS:
        raise ValueError(f"kind or hidden_act is unknown: {check.kind}, {check.hidden_act}")
    if check.source not in pack.sources or not check.path:
        raise ValueError(f"its source {check.source!r} is not listed, or has no path")
    if check.kind == "gate" and pack.sources[check.source]["repository"] is None:
        raise ValueError("a gate needs a source whose repository is known")
    names = (check.source, *check.confirmed_by)
    pages = {pack.sources[name]["repository"] or name for name in names}
    if len(pages) != len(names):
        raise ValueError("what confirms it must be other sources than its own")
    _validate_printed(check)
    shape = output_shape(check, pack)
    if check.output == "top_words":
        expected_shape: tuple[int, ...] = (check.expected.size,)
        places = check.index
    elif check.output == "cosine":
        expected_shape, places = (), None
        for place in check.index or []:
            _check_not_padding(check, pack, place)
    else:
        expected_shape = take(np.empty(shape, np.int8), check.index).shape
        places = check.index
    if check.expected.shape != expected_shape:
        raise ValueError(f"expected has shape {check.expected.shape}, index {expected_shape}")
    if places and len(shape) >= 2 and not check.output.startswith(("parameter:", "pooler", "seq_")):
        _check_not_padding(check, pack, places)


def _check_not_padding(check: Check, pack: Pack, index: list[Any]) -> None:
    """What stands in padded rows is whatever an implementation leaves there."""
    mask = pack.inputs[str(check.input)].get("attention_mask")
    if mask is None:
        return
    row = index[:1]
    # attentions are (B, A, T, T): their rows are the third axis
    axis = 2 if check.output.startswith("attentions") else 1
    tokens = [*row, index[axis] if len(index) > axis else None]
    if not take(np.asarray(mask), tokens).all():
        raise ValueError("it compares rows of padding")


def _validate_printed(check: Check) -> None:
    """The expected values are what the stated precision can print."""
    values = np.atleast_1d(check.expected)
    if check.printed == "ids":
        good = values.dtype.kind == "i"
    elif check.printed == "float32":
        good = values.dtype.kind == "f" and bool(np.isfinite(values).all())
    else:
        ((unit, count),) = check.printed.items()
        digits = f"%.{count}f" if unit == "decimals" else f"%.{count - 1}e"
        good = all(math.isclose(float(digits % v), v, rel_tol=1e-12) for v in values.flat)
    if not good:
        raise ValueError(f"its values do not have the stated precision {check.printed}")


def output_shape(check: Check, pack: Pack) -> tuple[int, ...]:
    """The shape of a check's output before `index`, from the sizes alone."""
    sizes = pack.config
    if check.output.startswith("parameter:"):
        if check.input is not None:
            raise ValueError("a parameter needs no input")
        key = check.output.removeprefix("parameter:")
        return sizes[_PARAMETERS[key]], sizes["hidden_size"]
    rows, tokens = np.asarray(pack.inputs[str(check.input)]["input_ids"]).shape
    H, V = sizes["hidden_size"], sizes["vocab_size"]
    layer = re.fullmatch(r"(hidden_states|attentions)\[(-?\d+)\]", check.output)
    if layer:
        count = sizes["num_hidden_layers"] + (layer[1] == "hidden_states")
        if not -count <= int(layer[2]) < count:
            raise ValueError(f"{check.output}: the model has {count} of them")
        if layer[1] == "attentions":
            return rows, sizes["num_attention_heads"], tokens, tokens
        return rows, tokens, H
    if check.output in _LOSSES:
        needed = "next_sentence_label" if check.output == "next_sentence_loss" else "labels"
        if needed not in pack.inputs[str(check.input)]:
            raise ValueError(f"{check.output} needs {needed}")
        return ()
    shapes: dict[str, tuple[int, ...]] = {
        "last_hidden_state": (rows, tokens, H),
        "sum_of_last_four": (rows, tokens, H),
        "trace:encoder.blocks.0.attention.context": (rows, tokens, H),
        "cosine": (rows, tokens, H),
        "pooler_output": (rows, H),
        "prediction_logits": (rows, tokens, V),
        "prediction_probabilities": (rows, tokens, V),
        "top_words": (rows, tokens, V),
        "seq_relationship_logits": (rows, 2),
        "seq_relationship_probabilities": (rows, 2),
    }
    if check.output not in shapes:
        raise ValueError(f"unknown output {check.output!r}")
    return shapes[check.output]


def take(array: np.ndarray, index: list[Any] | None) -> np.ndarray:
    """Select along each axis: a number, a list of numbers, or None for all.

    >>> take(np.arange(12).reshape(3, 4), [1, [0, -1]])
    array([4, 7])
    """
    for axis, places in reversed(list(enumerate(index or []))):
        if places is not None:
            array = np.take(array, places, axis=axis)
    return array
