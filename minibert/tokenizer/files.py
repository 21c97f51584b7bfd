"""The files a tokenizer is kept in: `vocab.txt`, `tokenizer.json` and the small ones beside them.

`read_tokenizer` turns a folder, or one of these files, into the arguments of `Tokenizer`.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from minibert.system.files import Kinds, check_kinds
from minibert.tokenizer.batch import BERT_TEMPLATE, Template
from minibert.tokenizer.compiled import ENGINES, check_vocab, engine_of, template_of
from minibert.tokenizer.families import (
    FAMILIES,
    FILES,
    OF_MODEL_TYPE,
    TOKEN_NAMES,
    as_tokenizer_json,
)
from minibert.tokenizer.vocabulary import SPECIAL_TOKENS, AddedToken, number_tokens

# The classes whose rules are BERT's, with or without Fast, and those that follow tokenizer.json.
_BERT_CLASSES = (
    "Bert", "ConvBert", "DPRContextEncoder", "DPRQuestionEncoder", "DistilBert", "Electra",
    "LayoutLM", "Lxmert", "MobileBert", "Realm", "RetriBert", "SqueezeBert",
)  # fmt: skip
_FILE_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend", None)

# Settings of tokenizer_config.json that are arguments of `Tokenizer`, under the same names.
_AS_THEY_ARE = (
    "clean_up_tokenization_spaces",
    "padding_side",
    "split_special_tokens",
    "truncation_side",
)

# What the files may say under the keys that are read here; null says nothing.
_KINDS: list[Kinds] = [
    ("true or false", (bool,), ("do_lower_case", "strip_accents", "tokenize_chinese_chars")),
    ("true or false", (bool,), ("lowercase", "handle_chinese_chars")),  # so in tokenizer.json
    ("true or false", (bool,), ("clean_up_tokenization_spaces", "split_special_tokens")),
    ("true or false", (bool,), ("add_prefix_space", "trim_offsets", "keep_accents")),
    ("true or false", (bool,), ("split_by_punct",)),
    ("a number", (int, float), ("model_max_length",)),
    ("a string", (str,), ("rules", "template", "tokenizer_class", "model_type")),
    ("a string", (str,), ("padding_side", "truncation_side")),
    ("a string or an object", (str, dict), ("bos_token", "eos_token", *SPECIAL_TOKENS)),
    ("a list or an object", (list, dict), ("additional_special_tokens", "extra_special_tokens")),
    ("an object", (dict,), ("added_tokens_decoder", "model", "normalizer", "pre_tokenizer")),
    ("a list", (list,), ("added_tokens",)),
]


def read_vocab(path: str | os.PathLike[str]) -> dict[str, int]:
    """`vocab.txt` → {token: id}: one token per line, the id is the line's number from 0.

    Lines end at a line feed only, since other line separators may be tokens; a carriage return
    before it is dropped. Raises FileNotFoundError, or ValueError for a file that is no vocabulary.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: expected UTF-8 text, got other bytes at {error.start}. Is it a vocab.txt?"
        ) from None
    if text.startswith("\ufeff"):
        raise ValueError(
            f"{path}: expected the first token, got a byte-order mark. "
            "Save the file as UTF-8 without one."
        )
    lines = text.removesuffix("\n").split("\n") if text else []
    if not lines:
        raise ValueError(f"{path}: expected one token per line, got an empty file.")
    return number_tokens((line.removesuffix("\r") for line in lines), str(path))


def case_mismatch(vocab: Iterable[str], do_lower_case: bool) -> str | None:
    """What is wrong if the vocabulary's case does not fit the setting; None if it fits.

    >>> case_mismatch(["[UNK]", "Paris", "Rome", "the"], do_lower_case=True)
    'the vocabulary has 2 tokens with capitals, which lower-cased text can never match: ...'
    >>> case_mismatch(["[UNK]", "paris"], do_lower_case=True) is None
    True
    """
    words = [token for token in vocab if not (token.startswith("[") and token.endswith("]"))]
    capitals = sum(token != token.lower() for token in words)
    # an uncased vocabulary may hold a stray capital: user-added tokens, "İ" kept for its accent
    if do_lower_case and capitals > len(words) // 20:
        return (
            f"the vocabulary has {capitals} tokens with capitals, which lower-cased text can never "
            "match: a cased model needs do_lower_case=False"
        )
    letters = sum("a" <= token[-1:] <= "z" for token in words)
    if not do_lower_case and not capitals and letters > 1000:
        return (
            "the vocabulary has no token with a capital, so that every capitalised word would be "
            "[UNK]: an uncased model needs do_lower_case=True"
        )
    return None


def _json(path: Path) -> dict[str, Any]:
    """A file's JSON object; an empty one for a file that is not there."""
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig")) if path.is_file() else {}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON, got {error}. Get the file again.") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path}: expected a JSON object, got a {type(data).__name__}.")
    return data


def _settings(path: Path) -> dict[str, Any]:
    """As `_json`, for the files whose keys are settings. ValueError if one is of another kind."""
    data = _json(path)
    check_kinds(path, data, _KINDS)
    check_kinds(path, data.get("normalizer") or {}, _KINDS)
    return data


def _added_tokens(entries: Iterable[tuple[Any, Any]], path: Path) -> list[dict[str, Any]]:
    """(id, fields) of added tokens → fields of `AddedToken`. ValueError for anything else."""
    kinds = get_type_hints(AddedToken)
    form = ", ".join(f"{name} ({kind.__name__})" for name, kind in kinds.items())
    tokens = []
    for number, fields in entries:
        token = {"id": number, **fields} if isinstance(fields, dict) else {}
        kind = all(type(value) is kinds.get(name) for name, value in token.items())
        if "content" not in token or not kind or token["id"] < 0:
            raise ValueError(
                f"{path}: expected an added token with {form}, got {(token or fields)!r:.100}. "
                "Correct the file, or get it again."
            )
        tokens.append(token)
    return tokens


def _wordpiece(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """The `model` part of a tokenizer.json, if it is one that BERT's rules describe."""
    model = data.get("model") or {}
    normalizer = data.get("normalizer") or {}
    kind = model.get("type", "WordPiece" if "max_input_chars_per_word" in model else None)
    parts = [
        ("model", kind, "WordPiece"),
        ("normalizer", normalizer.get("type"), "BertNormalizer"),
        ("pre_tokenizer", (data.get("pre_tokenizer") or {}).get("type"), "BertPreTokenizer"),
        ("prefix", model.get("continuing_subword_prefix", "##"), "##"),
        ("longest word", model.get("max_input_chars_per_word", 100), 100),
        ("clean_text", normalizer.get("clean_text", True), True),
    ]
    for part, value, expected in parts:
        if value != expected:
            raise ValueError(
                f"{path}: expected BERT's {part}, {expected!r}, got {value!r}. "
                "This file describes another kind of tokenizer, whose ids minibert cannot give."
            )
    check_vocab(model.get("vocab"), path)
    if not isinstance(model.get("unk_token", ""), str):
        raise ValueError(
            f"{path}: expected unk_token to be a string, got {model['unk_token']!r:.60}."
        )
    return model


def _check_class(folder: Path, config: dict[str, Any]) -> str | None:
    """The class of the tokenizer, bare of its endings. ValueError for one not built here."""
    model = _settings(folder / "config.json")
    name = config.get("tokenizer_class") or model.get("tokenizer_class")
    auto = config.get("auto_map") or []
    if isinstance(auto, dict):
        auto = auto.get("AutoTokenizer") or []
    others = [part for part in auto if part]
    if "word_tokenizer_type" in config:
        others = ["BertJapaneseTokenizer"]
    family = OF_MODEL_TYPE.get(model.get("model_type") or "")
    bare: Any = str(name).removesuffix("Fast").removesuffix("Legacy").removesuffix("Tokenizer")
    if name in _FILE_CLASSES:
        bare = family or name or ("Bert" if model else None)
    elif bare not in (*_BERT_CLASSES, *FAMILIES):
        others = [name]
    if bare not in FAMILIES and not (folder / "tokenizer.json").is_file():
        others += sorted(path.name for path in folder.glob("*.model"))
    if others:
        raise ValueError(
            f"{folder}: expected a tokenizer with BERT's rules, such as BertTokenizer, or one of "
            f"{', '.join(f'{name}Tokenizer' for name in FAMILIES)}, got "
            f"{', '.join(others)}, whose ids minibert cannot give. Make them with the library the "
            "model came with, and give them to the model; for BERT's rules all the same, name "
            "vocab.txt itself."
        )
    return bare


def _special_tokens(config: Mapping[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    """The special tokens that the settings name: "bos_token" and its like, and those in lists.

    Older files write a token as its text, newer ones as {"content": ..., "lstrip": ...}.
    """
    names = dict.fromkeys(["bos_token", "eos_token", *SPECIAL_TOKENS, *config])
    named = {name: config.get(name) for name in names if name.endswith("_token")}
    tokens = {name: token for name, token in named.items() if isinstance(token, (str, dict))}
    extra = config.get("extra_special_tokens") or config.get("additional_special_tokens") or []
    if isinstance(extra, list):
        extra = {f"number {number}": token for number, token in enumerate(extra)}
    special = {}
    for name, token in {**tokens, **extra}.items():
        fields = token if isinstance(token, dict) else {"content": token}
        fields = {key: value for key, value in fields.items() if key != "__type"}
        special[name] = _added_tokens([(0, {**fields, "special": True})], path)[0]
    return special


def _with_named(
    added: list[dict[str, Any]], named: Mapping[str, dict[str, Any]], vocab: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Each added token once, what the last file says of it, and the special ones named besides."""
    unique = {token["content"]: token for token in sorted(added, key=lambda token: token["id"])}
    for name, fields in named.items():
        token = fields["content"]
        if token in unique:
            unique[token]["special"] = True
        elif token in vocab or name not in SPECIAL_TOKENS:  # a new one comes after all others
            unique[token] = {**fields, "id": vocab.get(token, len({**vocab, **unique}))}
    return list(unique.values())


def _vocabulary_file(path: Path, folder: Path, kind: str | None) -> Path:
    """Where the pieces stand, of a folder or of a file that was named itself."""
    family = FAMILIES.get(kind or "")
    if path.is_dir():
        named = path / "tokenizer.json"
        path = named if named.is_file() else path / (family.file if family else "vocab.txt")
    elif path.name in FILES and path.is_file():
        raise ValueError(
            f"{path}: expected the folder around this file, which says by config.json or "
            "tokenizer_config.json how its pieces are used. Give the folder."
        )
    if not path.is_file():
        other = f", or a {family.file}" if family else ""
        raise FileNotFoundError(
            f"expected {folder} to be or to hold a vocab.txt or tokenizer.json{other}, found "
            "neither. Give the folder of a BERT model, or the path of its vocab.txt."
        )
    return path


def read_tokenizer(path: str | os.PathLike[str], **overrides: Any) -> dict[str, Any]:
    """A folder, `vocab.txt` or `tokenizer.json` → the arguments of `Tokenizer`.

    For WordPiece `tokenizer_config.json` is believed before `tokenizer.json`, as in transformers;
    `overrides` are believed before both. Where nobody says, a vocabulary with capitals is used as a
    cased one. For byte-level BPE and Unigram `tokenizer.json` is believed, or what `families.py`
    makes of the vocabulary where there is none.
    Not read are the truncation and padding stored in some tokenizer.json
    (all-MiniLM-L6-v2's pads everything to 128): here the caller says what is cut and padded.
    Raises ValueError for a tokenizer whose class or parts are not built here.
    """
    path = folder = Path(path)
    config: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    kind = None
    if path.is_dir():
        config = _settings(path / "tokenizer_config.json")
        kind = _check_class(path, config)
        if "added_tokens_decoder" not in config:  # else the older files repeat what it says
            config |= _settings(path / "special_tokens_map.json")
            extra = _json(path / "added_tokens.json")
    path = _vocabulary_file(path, folder, kind)
    settings = folder / "tokenizer_config.json"
    named = _special_tokens(config, settings)
    names = {name: fields["content"] for name, fields in named.items() if name in SPECIAL_TOKENS}
    specials = {fields["content"] for fields in named.values()}
    oldest = ((n, {"content": t, "normalized": t not in specials}) for t, n in extra.items())
    added = _added_tokens(oldest, folder / "added_tokens.json")
    data: dict[str, Any] = {}
    if path.name in FILES:
        pieces = _json(path) if path.suffix == ".json" else {}
        data = as_tokenizer_json(kind or "", folder, config, pieces)
    elif path.suffix == ".json":
        data = _settings(path)
    added += _added_tokens(((None, token) for token in data.get("added_tokens") or []), path)
    decoder = (config.get("added_tokens_decoder") or {}).items()
    template = BERT_TEMPLATE
    if (data.get("model") or {}).get("type") in ENGINES:
        arguments = engine_of(data, path)
        vocab = arguments["vocab"]
        ids = {**vocab, **{token["content"]: token["id"] for token in added}}
        if path.name in FILES:
            family = FAMILIES[kind or ""]
            names, template = {**family.names, **names}, family.template
        else:
            around, template = template_of(data.get("post_processor"), ids, path)
            usual = max(TOKEN_NAMES, key=lambda names: sum(t in ids for t in names.values()))
            names = {**usual, **names, **around}
    else:
        if path.suffix == ".json":
            vocab = _wordpiece(data, path).get("vocab") or {}
            ids = {**vocab, **{token["content"]: token["id"] for token in added}}
            form, bert = data.get("post_processor"), (BERT_TEMPLATE,)
            around, template_of_file = template_of(form, ids, path, bert)
            if "unk_token" in data["model"]:
                around["unk_token"] = data["model"]["unk_token"]
            if kind in _FILE_CLASSES:
                names, template = {**names, **around}, template_of_file
            else:
                names = {**around, **names}
        else:
            vocab = read_vocab(path)
        if sum(piece.startswith("\u2581") for piece in vocab) > max(2, len(vocab) // 10):
            raise ValueError(
                f"{path}: expected word pieces, ## inside words, got SentencePiece's, "
                "with \u2581 before words, as KoBERT has them: minibert cannot give their ids."
            )
        normalizer = data.get("normalizer") or {}
        arguments = {
            "do_lower_case": config.get("do_lower_case", normalizer.get("lowercase")),
            "strip_accents": config.get("strip_accents", normalizer.get("strip_accents")),
            "tokenize_chinese_chars": config.get(
                "tokenize_chinese_chars", normalizer.get("handle_chinese_chars")
            ),
            "rules": config.get("rules"),
        }
    if config.get("template") == "none":
        template = Template()
    added += _added_tokens(((int(n) if n.isdecimal() else n, t) for n, t in decoder), settings)
    added = _with_named(added, named, vocab)
    stored = {
        **{name: config.get(name) for name in _AS_THEY_ARE},
        "special_tokens": names or None,
        "template": None if template == BERT_TEMPLATE else template,
        "added_tokens": added or None,
    }
    # 10^30 is how transformers writes "no limit"
    limit = config.get("model_max_length")
    stored["model_max_length"] = int(limit) if limit and limit < 10**9 else None
    if "engine" in arguments:
        return _without_wordpiece_rules({**arguments, **stored}, overrides, path)
    every: dict[str, Any] = {**arguments, **stored, **overrides}
    stored = {key: value for key, value in every.items() if value is not None}
    if "do_lower_case" not in stored and case_mismatch(vocab, True):
        stored["do_lower_case"] = False
    wrong = case_mismatch(vocab, bool(stored.get("do_lower_case", True)))
    if wrong and overrides.get("do_lower_case") is not None:
        raise ValueError(f"{path}: {wrong}.")
    if wrong:
        warnings.warn(f"{path}: {wrong}. Kept as the files say.", stacklevel=3)
    return {"vocab": vocab, **stored}


def _without_wordpiece_rules(
    stored: Mapping[str, Any], overrides: Mapping[str, Any], path: Path
) -> dict[str, Any]:
    """With what the caller wants instead. ValueError for a rule that is WordPiece's alone."""
    wanted = {key: value for key, value in overrides.items() if value is not None}
    rules = ("do_lower_case", "strip_accents", "tokenize_chinese_chars", "rules")
    for rule in rules:
        if rule in wanted:
            raise ValueError(
                f"{path}: {rule} is a rule of WordPiece, and this is {stored['engine'].__name__}, "
                "whose file says what is done to a text. Leave it out."
            )
    return {key: value for key, value in {**stored, **wanted}.items() if value is not None}
