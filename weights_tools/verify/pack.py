"""The golden pack: numbers of published BERTs that others computed and printed.

A pack is a JSON file with inputs, expected outputs, tolerances and sources, and an `.npz` with
the full tensors. `load_pack` reads one and refuses it unless its form is sound. `SOURCES.md`
says where everything comes from.
"""

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
PACKS = ("bert-base-uncased", "bert-tiny")

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
    """One published result: run `input`, take `output` at `index`, expect `expected`."""

    id: str
    kind: str
    input: str | None
    output: str
    index: list[Any] | None
    expected: np.ndarray
    printed: Any
    atol: float
    rtol: float
    hidden_act: str
    source: str
    path: str
    note: str = ""


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
        entry.pop("expected", None)
        checks.append(Check(**{"index": None, **entry, "expected": expected}))
    pack = Pack(
        values["name"],
        tuple(values["claims"]),
        values["config"],
        values["sources"],
        values["inputs"],
        tuple(checks),
    )
    _validate(pack, set(arrays), {e["array"] for e in values["checks"] if "array" in e})
    return pack


def _validate(pack: Pack, arrays: set[str], used: set[str]) -> None:
    """Everything about a pack that can be known without the model."""
    if arrays != used:
        raise ValueError(f"arrays without a check: {sorted(arrays - used)}")
    for name, source in pack.sources.items():
        if set(source) != {"repository", "commit", "licence", "what"} or not source["what"]:
            raise ValueError(f"source {name!r} needs repository, commit, licence and what")
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
    if check.output != "top_words" and not check.atol + check.rtol > 0:
        raise ValueError("it needs a tolerance")
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
    if isinstance(check.printed, dict) and "decimals" in check.printed:
        rounding = 0.5 * 10 ** -check.printed["decimals"]
        if check.atol + check.rtol * np.abs(values).max() < rounding:
            raise ValueError("its tolerance is smaller than the rounding of what was printed")


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
