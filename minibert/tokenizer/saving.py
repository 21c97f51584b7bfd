"""A tokenizer → a folder that transformers loads too: `vocab.txt` or `tokenizer.json`, and the
settings beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from minibert.system.files import written_whole


def write_tokenizer(
    folder: str | os.PathLike[str],
    wordpieces: Mapping[str, int],
    added: Iterable[Mapping[str, Any]],
    settings: Mapping[str, Any],
) -> None:
    """Write `vocab.txt` and `tokenizer_config.json`, which transformers loads too.

    An added token that is no word piece stands in the second file alone: a line of `vocab.txt`
    would make it a piece of longer words. Raises ValueError for what line numbers and lines cannot
    hold: ids that are not 0, 1, 2, ..., pieces first, and pieces with a line feed, or a carriage
    return at the end.
    """
    folder = Path(folder)
    vocab = {**wordpieces, **{token["content"]: token["id"] for token in added}}
    pieces = sorted(wordpieces, key=wordpieces.__getitem__)
    numbers = [wordpieces[piece] for piece in pieces] + sorted(
        number for token, number in vocab.items() if token not in wordpieces
    )
    if numbers != list(range(len(vocab))):
        raise ValueError(
            "expected ids 0, 1, 2, ... without a gap, those of added tokens last, because vocab.txt"
            f" holds word pieces as line numbers; got {len(pieces)} pieces and "
            f"{len(vocab) - len(pieces)} added tokens with ids up to {max(numbers)}."
        )
    for token in pieces:
        if "\n" in token or token.endswith("\r"):
            raise ValueError(
                "expected tokens without a line feed, or a carriage return at the end, because "
                f"each is a line of vocab.txt; got {token!r}. Add another token in its place."
            )
    folder.mkdir(parents=True, exist_ok=True)
    by_id = {str(t["id"]): {name: t[name] for name in t if name != "id"} for t in added}
    config = {"added_tokens_decoder": by_id, **settings, "tokenizer_class": "BertTokenizer"}
    _write(folder / "vocab.txt", "".join(piece + "\n" for piece in pieces))
    _write_json(folder / "tokenizer_config.json", config)


def write_compiled(
    folder: str | os.PathLike[str],
    parts: Mapping[str, Any],
    added: Iterable[Mapping[str, Any]],
    settings: Mapping[str, Any],
) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`, which `tokenizers` and transformers load.

    The class is the one that follows tokenizer.json in everything.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokens = sorted(map(dict, added), key=lambda token: token["id"])
    about = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens}
    _write_json(folder / "tokenizer.json", {**about, **parts})
    config = {**settings, "tokenizer_class": "PreTrainedTokenizerFast"}
    _write_json(folder / "tokenizer_config.json", config)


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    _write(path, json.dumps(data, ensure_ascii=False, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    with written_whole(path) as new:
        new.write_bytes(text.encode("utf-8"))  # not write_text: line ends stay line feeds
