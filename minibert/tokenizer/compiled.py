"""What a `tokenizer.json` says of byte-level BPE and Unigram, and of the tokens around a text.

The file describes a tokenizer part by part: normalizer, pre_tokenizer, model, post_processor,
decoder (Hugging Face `tokenizers`, `tokenizer/serialization.rs`). What minibert's engines do is
read as the compiled tokenizer reads it; any other part is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minibert.tokenizer.batch import BERT_TEMPLATE, ROBERTA_TEMPLATE, Template
from minibert.tokenizer.bpe import ByteLevelBPE
from minibert.tokenizer.unigram import SPACE, Unigram
from minibert.tokenizer.vocabulary import number_tokens

ENGINES = ("BPE", "Unigram")
TEMPLATES = (BERT_TEMPLATE, ROBERTA_TEMPLATE, BERT_TEMPLATE._replace(segments=False))


def another(path: Path, expected: str, got: Any) -> ValueError:
    return ValueError(
        f"{path}: expected {expected}, got {json.dumps(got, default=str)[:200]}. "
        "This file describes another kind of tokenizer, whose ids minibert cannot give."
    )


def _sequence(part: Any, key: str) -> list[Any]:
    """The members of a Sequence, or the part by itself."""
    if part is None:
        return []
    return part[key] if part.get("type") == "Sequence" else [part]


def engine_of(data: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The engine and its arguments. Raises ValueError for parts that no engine has."""
    read = {"BPE": _bpe, "Unigram": _unigram}[data["model"]["type"]]
    try:
        engine = read(data["model"], data, path)
    except (KeyError, TypeError, AttributeError) as error:
        parts = {key: data.get(key) for key in ("pre_tokenizer", "post_processor")}
        raise another(path, f"parts of a tokenizer, whole ({error!r})", parts) from None
    return {"normalizer": data.get("normalizer"), **engine}


def _bpe(model: Mapping[str, Any], data: Mapping[str, Any], path: Path) -> dict[str, Any]:
    options = {key: model.get(key) for key in ("dropout", "byte_fallback")}
    options |= {key: model.get(key) for key in ("continuing_subword_prefix", "end_of_word_suffix")}
    if any(options.values()):
        raise another(path, "byte-level BPE without prefix, suffix, dropout and fallback", options)
    parts = _sequence(data.get("pre_tokenizer"), "pretokenizers")
    if [(p["type"], p.get("use_regex", True)) for p in parts] != [("ByteLevel", True)]:
        raise another(path, "the pre_tokenizer ByteLevel", data.get("pre_tokenizer"))
    spaces = parts[0]["add_prefix_space"]
    trims = [
        part
        for part in _sequence(data.get("post_processor"), "processors")
        if part["type"] in ("ByteLevel", "RobertaProcessing") and part["trim_offsets"]
    ]
    if any(part["add_prefix_space"] != spaces for part in trims):
        raise another(path, f"add_prefix_space {spaces} everywhere", data["post_processor"])
    merges = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
    for rank, pair in enumerate(merges):
        if not (isinstance(pair, list) and [type(part) for part in pair] == [str, str]):
            raise ValueError(
                f"{path}: expected a pair of tokens as merge {rank}, got {pair!r:.100}."
            )
    return {
        "engine": ByteLevelBPE,
        "vocab": check_vocab(model["vocab"], path),
        "merges": merges,
        "add_prefix_space": bool(spaces),
        "trim_offsets": bool(trims),
        "unknown": model.get("unk_token"),
        "fuse_unknown": bool(model.get("fuse_unk")),
        "whole_words": bool(model.get("ignore_merges")),
    }


def _unigram(model: Mapping[str, Any], data: Mapping[str, Any], path: Path) -> dict[str, Any]:
    if model.get("byte_fallback"):
        raise another(path, "Unigram without byte_fallback", True)
    parts = _sequence(data.get("pre_tokenizer"), "pretokenizers")
    if not parts:
        raise another(path, "Metaspace as the last pre_tokenizer", None)
    *before, space = parts
    names = [part["type"] for part in before]
    order = [name for name in ("WhitespaceSplit", "Punctuation") if name in names]
    scheme = space.get("prepend_scheme") or "always"
    if space.get("add_prefix_space") is False:
        scheme = "never"
    if (
        (space["type"], space["replacement"], space.get("split", True))
        != ("Metaspace", SPACE, True)
        or names != order
        or any(part.get("behavior", "Isolated") != "Isolated" for part in before)
    ):
        raise another(path, "Metaspace as the last pre_tokenizer", data.get("pre_tokenizer"))
    unknown = model.get("unk_id")
    if type(unknown) is not int or unknown < 0:
        raise ValueError(
            f"{path}: expected unk_id to be a whole number from 0, got {unknown!r:.60}."
        )
    scores = model["vocab"]
    for number, pair in enumerate(scores):
        kinds = [type(part) for part in pair] if isinstance(pair, list) else []
        if kinds not in ([str, float], [str, int]):
            raise ValueError(
                f"{path}: expected a piece and its score as number {number} of the vocab, got "
                f"{pair!r:.100}. Get the file again."
            )
    return {
        "engine": Unigram,
        "vocab": number_tokens((piece for piece, _ in scores), str(path)),
        "scores": [tuple(pair) for pair in scores],
        "unknown_id": unknown,
        "prepend_scheme": scheme,
        "split_at_spaces": "WhitespaceSplit" in names,
        "split_by_punct": "Punctuation" in names,
    }


def check_vocab(vocab: Any, path: Path) -> dict[str, int]:
    """The vocab of a model, if it is tokens and their ids. Raises ValueError."""
    if not isinstance(vocab, dict) or any(type(n) is not int or n < 0 for n in vocab.values()):
        raise ValueError(
            f"{path}: expected the vocab to be an object of tokens and their ids, whole numbers "
            f"from 0, got {vocab!r:.60}. Get the file again."
        )
    return vocab


def post_processor_of(
    template: Template, names: Mapping[str, str], ids: Mapping[str, int], trim: Any
) -> dict[str, Any] | None:
    """The `post_processor` that makes a template's rows; `trim` leaves out spaces of offsets."""
    if not template.before:
        return trim
    tokens = {key: names[f"{key}_token"] for key in ("cls", "sep")}
    special = {
        token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in tokens.values()
    }

    def item(name: str, segment: str) -> dict[str, Any]:
        kind = "SpecialToken" if name in special else "Sequence"
        return {kind: {"id": name, "type_id": int(segment)}}

    rows = [row.split() for row in _rows(template, *tokens.values())]
    single, pair = ([item(*part) for part in zip(row[::2], row[1::2])] for row in rows)
    around: dict[str, Any] = {"type": "TemplateProcessing", "single": single, "pair": pair}
    around["special_tokens"] = special
    return {"type": "Sequence", "processors": [trim, around]} if trim else around


def template_of(
    form: Any, ids: Mapping[str, int], path: Path, templates: Sequence[Template] = TEMPLATES
) -> tuple[dict[str, str], Template]:
    """A `post_processor` → the names of its [CLS] and [SEP], and where they stand.

    Raises ValueError for one that is not in `templates`.
    """
    try:
        forms = [part for part in _sequence(form, "processors") if part["type"] != "ByteLevel"]
        if not forms:
            return {}, Template()
        (form,) = forms
        if form["type"] in ("BertProcessing", "RobertaProcessing"):
            cls, sep = form["cls"], form["sep"]
            template = BERT_TEMPLATE if form["type"] == "BertProcessing" else ROBERTA_TEMPLATE
        else:
            rows = [
                " ".join(
                    f"{part['id']} {part['type_id']}"
                    for item in form[key]
                    for part in item.values()
                )
                for key in ("single", "pair")
            ]
            first, _, last = form["single"]
            names = [part["SpecialToken"]["id"] for part in (first, last)]
            template = next(t for t in templates if rows == _rows(t, *names))
            cls, sep = ([name, *form["special_tokens"][name]["ids"]] for name in names)
        if template not in templates or [[name, ids[name]] for name, _ in (cls, sep)] != [cls, sep]:
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration):
        raise ValueError(
            f"{path}: expected BERT's post_processor, which makes [CLS] A [SEP] and [CLS] A [SEP] "
            "B [SEP] with segment 1 from B on, or RoBERTa's, <s> A </s> and <s> A </s></s> B </s>, "
            f"got {json.dumps(form)[:200]}. minibert cannot give the rows of this one."
        ) from None
    return {"cls_token": cls[0], "sep_token": sep[0]}, template


def _rows(template: Template, cls: str, sep: str) -> list[str]:
    """A template's rows, of one text and of a pair, each token with its segment."""
    single = f"{cls} 0 A 0 {sep} 0"
    between = " ".join(["", *(f"{sep} 0" for _ in template.between)])
    second = int(template.segments)
    return [single, f"{single}{between} B {second} {sep} {second}"]
