"""The files of RoBERTa, ALBERT and their like → the `tokenizer.json` that says the same.

Older folders hold a vocabulary alone, and a class of transformers knew the rest: the special
tokens, how ids are numbered, what is done to a text first. That knowledge is this table. Source:
transformers `convert_slow_tokenizer.py`, by which the hub's files were made; version 5.23 leaves
out the charsmap of such a folder, and so gives other ids than the model was trained with.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from minibert.tokenizer.batch import BERT_TEMPLATE, ROBERTA_TEMPLATE, Template
from minibert.tokenizer.sentencepiece import CONTROL, USER_DEFINED, SentencePieceModel, read_model
from minibert.tokenizer.unigram import SPACE
from minibert.tokenizer.vocabulary import SPECIAL_TOKENS

ROBERTA_TOKENS = {
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "cls_token": "<s>",
    "sep_token": "</s>",
    "mask_token": "<mask>",
}
ALBERT_TOKENS = {**SPECIAL_TOKENS, "pad_token": "<pad>", "unk_token": "<unk>"}
TOKEN_NAMES = (SPECIAL_TOKENS, ROBERTA_TOKENS, ALBERT_TOKENS)

Scores = list[list[Any]]  # [piece, score], in order of ids


class Family(NamedTuple):
    """What a class of transformers knows that its files do not say."""

    file: str  # the vocabulary: vocab.json with merges.txt, or a SentencePiece model
    names: Mapping[str, str]
    template: Template
    mask_takes_space: bool = True  # a <mask> stands for the space before it, too


FAMILIES = {
    "Roberta": Family("vocab.json", ROBERTA_TOKENS, ROBERTA_TEMPLATE),
    "Deberta": Family("vocab.json", SPECIAL_TOKENS, BERT_TEMPLATE),
    "XLMRoberta": Family("sentencepiece.bpe.model", ROBERTA_TOKENS, ROBERTA_TEMPLATE),
    "Camembert": Family("sentencepiece.bpe.model", ROBERTA_TOKENS, ROBERTA_TEMPLATE),
    "Albert": Family("spiece.model", ALBERT_TOKENS, BERT_TEMPLATE),
    "DebertaV2": Family("spm.model", SPECIAL_TOKENS, BERT_TEMPLATE, mask_takes_space=False),
}
OF_MODEL_TYPE = {
    "roberta": "Roberta",
    "deberta": "Deberta",
    "xlm-roberta": "XLMRoberta",
    "camembert": "Camembert",
    "albert": "Albert",
    "deberta-v2": "DebertaV2",
}
FILES = sorted({family.file for family in FAMILIES.values()})


def _scores(name: str, model: SentencePieceModel) -> tuple[Scores, int]:
    """The pieces in the model's numbering, and the unknown one's id."""
    scores: Scores = [[piece.piece, piece.score] for piece in model.pieces]
    if name == "XLMRoberta":  # fairseq puts its own tokens first
        first: Scores = [[token, 0.0] for token in ("<s>", "<pad>", "</s>", "<unk>")]
        return [*first, *scores[3:], ["<mask>", 0.0]], 3
    if name == "Camembert":  # so does CamemBERT, beside those of the model
        free = ("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>")
        first = [[token, 0.0] for token in free] + [["<unk>NOTUSED", -100.0]]
        return [*first, *scores[1:], ["<mask>", 0.0]], 3
    if name == "Albert":  # Google's code cut such pieces once more, so that they never stood
        for pair in scores:
            if pair[0][-1:] == "," and pair[0][-2:-1].isdigit():
                pair[1] -= 100.0
    return scores, model.unknown_id


def _normalizers(name: str, config: Mapping[str, Any], charsmap: bytes) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []

    def replace(how: str, pattern: str, content: str) -> dict[str, Any]:
        return {"type": "Replace", "pattern": {how: pattern}, "content": content}

    if name == "Albert":
        steps += [replace("String", quotes, '"') for quotes in ("``", "''")]
        if not config.get("keep_accents"):
            steps += [{"type": "NFKD"}, {"type": "StripAccents"}]
    if config.get("do_lower_case", name == "Albert"):
        steps.append({"type": "Lowercase"})
    if name == "DebertaV2":
        steps.append({"type": "Strip", "strip_left": True, "strip_right": True})
    if charsmap:
        encoded = base64.b64encode(charsmap).decode()
        steps.append({"type": "Precompiled", "precompiled_charsmap": encoded})
    if name in ("Albert", "DebertaV2"):
        steps.append(replace("Regex", " {2,}", " "))
    return steps


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"expected {path.name} in {path.parent}, which a tokenizer of this class needs where "
            "there is no tokenizer.json. Get the whole folder of the model."
        ) from None


def _merges(path: Path) -> list[list[str]]:
    """`merges.txt`: a pair of tokens a line, after a line that begins with "#version"."""
    try:
        lines = _read(path).decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: expected UTF-8 text, got other bytes at {error.start}."
        ) from None
    pairs = []
    for number, line in enumerate(lines, 1):
        line = line.removesuffix("\r")
        if line.startswith("#version") or (not line and number == len(lines)):
            continue
        pair = line.split(" ")
        if len(pair) != 2 or not all(pair):
            raise ValueError(
                f"{path}: expected two tokens with a space between in line {number}, got "
                f"{line!r:.60}."
            )
        pairs.append(pair)
    return pairs


def as_tokenizer_json(
    name: str, folder: Path, config: Mapping[str, Any], vocab: Mapping[str, Any]
) -> dict[str, Any]:
    """What a tokenizer.json would say of a folder of this class, post_processor apart.

    `config` is tokenizer_config.json, `vocab` the object in vocab.json, if there is one. Raises
    FileNotFoundError, or ValueError that says what in which file is not as expected.
    """
    family = FAMILIES[name]
    data: dict[str, Any] = {"added_tokens": []}
    if family.file == "vocab.json":
        spaces = bool(config.get("add_prefix_space"))
        data["model"] = {"type": "BPE", "vocab": vocab, "merges": _merges(folder / "merges.txt")}
        data["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": spaces}
        if family.template == ROBERTA_TEMPLATE and config.get("trim_offsets", True):
            data["post_processor"] = {
                "type": "ByteLevel", "trim_offsets": True, "add_prefix_space": spaces,
            }  # fmt: skip
        ids = vocab
    else:
        path = folder / family.file
        try:
            model = read_model(_read(path))
        except ValueError as error:
            raise ValueError(f"{path}: {error}. Get the file again.") from None
        scores, unknown = _scores(name, model)
        data["model"] = {"type": "Unigram", "vocab": scores, "unk_id": unknown}
        steps = _normalizers(name, config, model.charsmap)
        data["normalizer"] = {"type": "Sequence", "normalizers": steps} if steps else None
        scheme = "always" if config.get("add_prefix_space", True) else "never"
        if name == "DebertaV2":
            scheme = "always" if config.get("add_prefix_space", True) else "first"
        cuts = [] if name == "DebertaV2" else [{"type": "WhitespaceSplit"}]
        if config.get("split_by_punct"):
            cuts.append({"type": "Punctuation", "behavior": "Isolated"})
        cuts.append({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme})
        data["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": cuts}
        ids = {piece: number for number, (piece, _) in enumerate(scores)}
        data["added_tokens"] = [
            {"content": piece.piece, "id": ids[piece.piece], "special": piece.type == CONTROL}
            for piece in model.pieces
            if piece.type in (CONTROL, USER_DEFINED) and piece.piece in ids
        ]
    ids = dict(ids)
    for kind, token in family.names.items():
        lstrip = kind == "mask_token" and family.mask_takes_space
        number = ids.setdefault(token, len(ids))
        data["added_tokens"].append(
            {"content": token, "id": number, "special": True, "lstrip": lstrip}
        )
    return data
