"""Joins the JavaScript, the weights and `page.html` into one file that needs no network.

The words of the page that other parts own come from there: the character classes from
`core/unicode_classes.py`, the names in weights files from `weights/names.py`, the switches'
sentences from `diagnosis/catalogue/`.
"""

import base64
import json
import unicodedata
from collections import defaultdict
from importlib import resources
from typing import TYPE_CHECKING, Any

from minibert.core import unicode_classes
from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel
from minibert.core.unicode_classes import REFERENCE
from minibert.diagnosis.catalogue.all import model_mistakes
from minibert.tokenizer.pieces import WordPieceTokenizer
from minibert.view.picture import text_of
from minibert.weights.names import WRAPPERS, general_names

if TYPE_CHECKING:
    import torch

    from minibert.bert import Bert

# BERT, whole, in the order in which one reads it; then what answers the page, then the page.
CORE: tuple[str, ...] = ("config", "rules", "wordpiece", "inputs", "layers", "embeddings")
CORE += ("attention", "encoder", "model", "heads")
ENGINE = ("weights", "safetensors", "mistakes", "explain", "engine", "worker")
PAGE = ("dom", "matrix", "asking", "state", "reading", "looking", "breaking", "own", "tour", "main")

# The page may load nothing but the worker it makes of its own text.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' blob:; "
POLICY += "worker-src blob:; img-src data:"

PRECISIONS = ("float16", "int8")
MOST_BYTES = 2**28  # of weights: a browser holds no longer text
EXAMPLES = (
    "The river [MASK] was flooded.",
    "She put the money in the [MASK].",
    "The old man went down to the [MASK].",
    "It was a dark and stormy night, and the rain fell.",
    "He opened the door and went into the [MASK].",
    "The king and the [MASK] had two children.",
)


def live_page(bert: "Bert", *, precision: str = "float16", chapters: str = "") -> str:
    """A page of HTML in which `bert` lives: tokenizer, model and weights, in one text.

    precision   how the weights are stored: "float16", or "int8" with a scale for each row, half as
                large; the page says by how much its numbers differ from those of the model
    chapters    where the chapters stand, such as "tutorials/"; "" for a page that stands alone

    Raises ValueError for a variant of BERT, a tokenizer that is not WordPiece under the reference's
    rules, and a model that is too large for one page.

    >>> import minibert
    >>> page = live_page(minibert.load("minibert-tiny"), precision="int8")
    >>> page.startswith("<!doctype html>"), 7e6 < len(page) < 8e6
    (True, True)
    """
    data = model_data(bert)
    stored, data["weights"], rounded = store(bert, precision)
    data["note"] = rounding_note(bert, precision, rounded)
    data["examples"] = EXAMPLES
    data["chapters"] = chapters
    return _text("page.html").format(
        policy=POLICY,
        style=text_of("page.css") + _text("page.css"),
        core=script(CORE + ENGINE),
        page=text_of("page.js") + script(PAGE),
        data=_json(data),
        weights=base64.b64encode(stored).decode(),
    )


def script(names: tuple[str, ...] = CORE + ENGINE + PAGE) -> str:
    """The JavaScript of these files as one script."""
    return '"use strict";\n' + "\n".join(_text(f"{name}.js") for name in names)


def model_data(bert: "Bert") -> dict[str, Any]:
    """What the page knows beside the weights: config, vocabulary, rules, names, mistakes."""
    engine = bert.tokenizer.engine
    if type(bert.pretraining) is not BertForPreTraining or type(bert.model) is not BertModel:
        raise ValueError("the live page is BERT as published, and this model is a variant of it")
    if not isinstance(engine, WordPieceTokenizer) or engine.rules is not REFERENCE:
        raise ValueError(
            "the live page reads WordPiece under the reference's rules, and this model has another "
            "tokenizer: take a BERT, such as minibert-tiny"
        )
    vocabulary = [bert.tokenizer.inverse.get(i, "") for i in range(max(bert.tokenizer.inverse) + 1)]
    return {
        "source": bert.source,
        "config": bert.config.to_dict(),
        "vocabulary": vocabulary,
        "special": {token: typed.id for token, typed in engine.typed.tokens.items()},
        "settings": engine.settings,
        "tables": character_tables(),
        "names": general_names(),
        "wrappers": f"{WRAPPERS}|bert",  # what keys in weights files may begin with
        "mistakes": [
            {
                "id": each.id,
                "part": each.part,
                "symptom": each.symptom,
                "hints": each.hints,
                "changes": each.changes.split("+"),
            }
            for each in model_mistakes()
        ],
    }


def character_tables() -> dict[str, Any]:
    """The character classes as strings of ranges, and the marks by their combining class.

    >>> character_tables()["combining"]["202"]
    '321-322 327-328 1DD0'
    """
    names = ("removed", "spaces", "ideographs", "punctuation", "marks", "decomposed", "lowercase")
    tables: dict[str, Any] = {name: getattr(unicode_classes, name.upper()) for name in names}
    marks: dict[str, list[int]] = defaultdict(list)
    for first, last in zip(REFERENCE.reordered.starts, REFERENCE.reordered.ends):
        for code in range(first, last + 1):
            if order := unicodedata.combining(chr(code)):
                marks[str(order)].append(code)
    tables["combining"] = {order: _ranges(codes) for order, codes in marks.items()}
    return tables


def _ranges(codes: list[int]) -> str:
    pairs: list[list[int]] = []
    for code in sorted(codes):
        if pairs and pairs[-1][1] == code - 1:
            pairs[-1][1] = code
        else:
            pairs.append([code, code])
    return " ".join(f"{a:X}" if a == b else f"{a:X}-{b:X}" for a, b in pairs)


# ---- Weights ----


def store(bert: "Bert", precision: str) -> tuple[bytes, list[dict[str, Any]], dict[str, Any]]:
    """The weights as bytes, the list of what stands where, and the rounded tensors by name."""
    import torch

    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {PRECISIONS}, got {precision!r}")
    count = sum(parameter.numel() for parameter in bert.pretraining.parameters())
    size = count * (1 if precision == "int8" else 2)
    if size > MOST_BYTES * 3 / 4:
        raise ValueError(
            f"a page holds up to {MOST_BYTES * 3 // 4 // 10**6} MB of weights, this model has "
            f"{size // 10**6} in {precision}: make the page of minibert-tiny, and drop this "
            "model's files on it"
        )
    stored, entries, rounded = bytearray(), [], {}
    for name, parameter in bert.pretraining.named_parameters():
        tensor = parameter.detach().float().cpu()
        kind, scales = "F16", b""
        if precision == "int8" and tensor.dim() == 2:
            kind = "I8"
            scale = (tensor.abs().amax(dim=1, keepdim=True) / 127).clamp(min=1e-12)
            whole = (tensor / scale).round().to(torch.int8)
            rounded[name], scales = whole * scale, scale.numpy().astype("<f4").tobytes()
            content = whole.numpy().tobytes()
        else:
            half = tensor.half()
            if not bool(half.isfinite().all()) and bool(tensor.isfinite().all()):
                raise ValueError(f"{name} holds numbers beyond float16, which the page stores")
            rounded[name], content = half.float(), half.numpy().astype("<f2").tobytes()
        short = name.removeprefix("bert.")
        entries.append({"name": short, "type": kind, "shape": list(tensor.shape)})
        stored += content + scales
    return bytes(stored), entries, rounded


def rounding_note(bert: "Bert", precision: str, rounded: dict[str, "torch.Tensor"]) -> str:
    """By how much rounding the weights moves the last hidden states of the page's examples."""
    import torch

    if all(
        torch.equal(rounded[n], p.detach().cpu()) for n, p in bert.pretraining.named_parameters()
    ):
        return f"The weights stand here in {precision}, exactly as in the model's file."
    batch = dict(bert.tokenizer(list(EXAMPLES)).to(bert.model.embeddings.token.weight.device))
    real = batch["attention_mask"].bool()
    with torch.inference_mode():
        exact = bert.model(**batch).last_hidden_state[real].float().cpu()
        state = {name.removeprefix("bert."): tensor for name, tensor in rounded.items()}
        encoder = {n: state[n] for n, _ in bert.model.named_parameters()}
        other = torch.func.functional_call(bert.model, encoder, (), dict(batch)).last_hidden_state
        other = other[real].float().cpu()
    distance = (exact - other).norm(dim=1) / exact.norm(dim=1)
    return (
        f"The weights stand here in {precision}, which moves the last hidden states of the six "
        f"examples by {100 * float(distance.mean()):.2g} % of their length on average, "
        f"{100 * float(distance.max()):.2g} % at most."
    )


# ---- Text ----


def _text(name: str) -> str:
    return resources.files("minibert.view.live").joinpath(name).read_text(encoding="utf-8")


def _json(values: Any) -> str:
    """JSON that no text in it can end early: < is written as \\u003c."""
    return json.dumps(values, separators=(",", ":")).replace("<", "\\u003c")
