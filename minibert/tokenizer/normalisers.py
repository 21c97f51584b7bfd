"""What happens to a text before a byte-level or Unigram tokenizer cuts it: the normalizers of a
`tokenizer.json`, each with the place that every character came from.

Source: Hugging Face `tokenizers`, `normalizers/` and `tokenizer/normalizer.rs`. As there, a change
of the text is a list of pairs (character, change): 0 takes the place of the next old character, 1
comes in beside the last one, and -n takes a place and removes the n characters after it.

The charsmap is SentencePiece's (https://github.com/google/sentencepiece, `normalizer.cc`): a trie
of byte strings in a double array, and what each becomes. The reference looks up whole graphemes of
fewer than 6 bytes, and otherwise single characters; SentencePiece takes the longest match.
"""

from __future__ import annotations

import binascii
import re
import struct
import unicodedata
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import groupby
from typing import Any, NamedTuple

from minibert.core.rules import lowercase
from minibert.core.unicode_classes import DECOMPOSED, REFERENCE
from minibert.tokenizer.character_tables import (
    CONTROL,
    JOINING,
    MARKS,
    PREPENDED,
    SPACES,
    UNDECOMPOSED,
)

Traced = tuple[str, Sequence[int]]  # a text, and for each character its place in the text before

WHITE = f"[{SPACES.pattern}]"
# The regular expressions that these tokenizers replace by, as they write them and as Python does.
PATTERNS = {" {2,}": " {2,}", r"\s{2,}|[\n\r\t]": rf"{WHITE}{{2,}}|[\n\r\t]", r"\s+": f"{WHITE}+"}

_control, _prepended, _joining = CONTROL.pattern, PREPENDED.pattern, JOINING.pattern
# Characters that a rule may look at together with their neighbours, and lone surrogates.
_minds_neighbours = re.compile(
    f"[{_control}{_prepended}{_joining}{SPACES.pattern}{REFERENCE.reordered.pattern}"
    "\u1160-\u11ff\ud800-\udfff]"  # the vowels and ends of Hangul, and lone surrogates
).search
_graphemes = re.compile(
    rf"\r\n|[{_control}]|[{_prepended}]*[^{_control}{_prepended}][{_joining}]*|[{_prepended}]+"
).findall


class Step(NamedTuple):
    """One normalizer: its name, and what it makes of a text."""

    name: str
    apply: Callable[[str], Traced]


def aligned(changes: Iterable[Sequence[Any]]) -> Traced:
    """Pairs (character, change) → the text and its origins.

    >>> aligned([("s", 0), ("s", 1), ("x", -1), ("y", 0)])
    ('ssxy', [0, 0, 1, 3])
    """
    characters, origins, place = [], [], 0
    for character, change in changes:
        characters.append(character)
        origins.append(max(place - 1, 0) if change > 0 else place)
        place += 0 if change > 0 else 1 - change
    return "".join(characters), origins


def lower(text: str) -> Traced:
    return aligned((part, int(n > 0)) for char in text for n, part in enumerate(lowercase(char)))


def strip_accents(text: str) -> Traced:
    """Drop every mark.

    >>> strip_accents("e\\u0301s")
    ('es', [0, 2])
    """
    places = [place for place, char in enumerate(text) if char not in MARKS]
    return "".join(text[place] for place in places), places


def strip(text: str, *, left: bool, right: bool) -> Traced:
    """Drop white space at the ends."""
    white = re.compile(f"{WHITE}*")
    start = white.match(text).end() if left else 0  # type: ignore[union-attr]
    end = len(text) - (white.match(text[::-1]).end() if right else 0)  # type: ignore[union-attr]
    return text[start:end], range(start, max(start, end))


def replace(text: str, *, pattern: str, content: str) -> Traced:
    """Each match by `content`, which counts as the last character of the match."""
    parts, origins, done = [], [], 0
    for match in re.finditer(pattern, text):
        parts += [text[done : match.start()], content]
        origins += [*range(done, match.start()), *[match.end() - 1] * len(content)]
        done = match.end()
    return "".join([*parts, text[done:]]), [*origins, *range(done, len(text))]


@lru_cache(maxsize=1)
def _composites() -> dict[str, str]:
    """Two characters → the one that they compose to, Hangul left out."""
    codes = DECOMPOSED.replace("AC00-D7A3", "").split()
    ends = ((int(a, 16), int(b or a, 16)) for a, _, b in (code.partition("-") for code in codes))
    characters = (chr(code) for first, last in ends for code in range(first, last + 1))
    whole = (char for char in characters if unicodedata.normalize("NFC", char) == char)
    pairs = ((unicodedata.decomposition(char).split(), char) for char in whole)
    return {"".join(chr(int(code, 16)) for code in codes): char for codes, char in pairs}


def _compose(first: str, second: str) -> str | None:
    if "\u1100" <= first <= "\u1112" or "\uac00" <= first <= "\ud7a3":
        syllable = unicodedata.normalize("NFC", first + second)
        return syllable if len(syllable) == 1 else None
    return _composites().get(first + second)


def _class(char: str) -> int:
    return unicodedata.combining(char) if char in REFERENCE.reordered else 0


def _decomposed(text: str, form: Any) -> list[tuple[str, int]]:
    parts = [
        (part, int(n > 0))
        for char in text
        for n, part in enumerate(
            char if char in UNDECOMPOSED else unicodedata.normalize(form, char)
        )
    ]
    runs = groupby(parts, key=lambda part: _class(part[0]) > 0)
    return [part for marks, run in runs for part in (sorted(run, key=_order) if marks else run)]


def _order(part: tuple[str, int]) -> int:
    return _class(part[0])


def _recomposed(parts: Iterable[tuple[str, int]]) -> Iterable[tuple[str, int]]:
    """Unicode's composition (https://www.unicode.org/reports/tr15/), with the changes summed."""
    starter: tuple[str, int] | None = None
    marks: list[tuple[str, int]] = []
    for char, change in parts:
        order = _class(char)
        blocked = bool(marks) and _class(marks[-1][0]) >= order
        whole = _compose(starter[0], char) if starter and not blocked else None
        if starter and whole:
            starter = whole, starter[1] + change - 1
        elif order and starter:
            marks.append((char, change))
        elif order:
            yield char, change
        else:
            yield from [starter, *marks] if starter else []
            starter, marks = (char, change), []
    yield from [starter, *marks] if starter else []


def unicode_form(text: str, *, form: str) -> Traced:
    """NFC, NFD, NFKC or NFKD, of the reference's Unicode.

    >>> unicode_form("e\\u0301\\u00bd", form="NFKC")
    ('é1⁄2', [0, 2, 2, 2])
    """
    if text.isascii():
        return text, range(len(text))
    parts = _decomposed(text, form.replace("C", "D"))
    return aligned(parts if form.endswith("D") else _recomposed(parts))


class Charsmap:
    """SentencePiece's `precompiled_charsmap`. Raises ValueError for bytes that are none."""

    def __init__(self, data: bytes) -> None:
        size = struct.unpack("<I", data[:4])[0] if len(data) >= 4 else 1
        if size % 4 or not 4 <= size <= len(data) - 4:
            raise ValueError(
                f"expected a charsmap, the size of its table and the table, got {len(data)} bytes "
                f"that name a size of {size}"
            )
        self.units = struct.unpack(f"<{size // 4}I", data[4 : 4 + size])
        self.results = data[4 + size :]
        self.memory: dict[str, str | None] = {}

    def find(self, part: str) -> str | None:
        """What the shortest known beginning of `part` becomes; None where there is none."""
        if part not in self.memory:
            if len(self.memory) > 2**16:
                self.memory.clear()
            self.memory[part] = self._find(part.encode())
        return self.memory[part]

    def _below(self, node: int) -> int:
        return node ^ (self.units[node] >> 10) << (self.units[node] >> 6 & 8)

    def _child(self, node: int, byte: int) -> int | None:
        child = self._below(node) ^ byte
        inside = byte and child < len(self.units)
        return child if inside and self.units[child] & (1 << 31 | 0xFF) == byte else None

    def _find(self, part: bytes) -> str | None:
        node: int | None = 0
        for byte in part:
            node = self._child(node or 0, byte)
            if node is None:
                return None
            if self.units[node] >> 8 & 1:
                leaf = self._below(node)
                start = (
                    self.units[leaf] & ~(1 << 31) if leaf < len(self.units) else len(self.results)
                )
                end = self.results.find(b"\0", start)
                if end < 0:
                    raise ValueError(
                        f"expected a result of {part!r} in the charsmap, got the place {start} of "
                        f"{len(self.results)}. Get the file again"
                    )
                return self.results[start:end].decode("utf-8", "replace")
        return None

    def begins_with_space(self) -> bool:
        """Whether there may be a rule for a space and what follows it."""
        return self._child(0, ord(" ")) is not None

    def __call__(self, text: str) -> Traced:
        changes: list[list[Any]] = []
        for grapheme in _graphemes(text):
            whole = self.find(grapheme) if len(grapheme.encode()) < 6 else None
            parts = [grapheme] if whole is not None else grapheme
            for part in parts:
                result = self.find(part)
                if result is None:
                    changes.append([part, 0])
                    continue
                changes += ([char, 0] for char in result)
                more = len(result) - len(part)
                for change in changes[len(changes) - max(more, 0) :]:
                    change[1] = 1
                if more < 0 and changes:
                    changes[-1][1] += more
        return aligned(changes)


def steps_of(spec: Any) -> list[Step]:
    """The `normalizer` of a tokenizer.json → steps. ValueError in words.

    >>> [step.name for step in steps_of({"type": "Sequence", "normalizers": [{"type": "NFKD"}]})]
    ['NFKD']
    """
    if spec is None:
        return []
    try:
        kind = spec["type"]
        if kind == "Sequence":
            return [step for part in spec["normalizers"] for step in steps_of(part)]
        return [Step(_NAMES.get(kind, kind), _step(kind, spec))]
    except (KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise ValueError(
            f"expected a normalizer of {', '.join([*_FORMS, *_NAMES])}, got {spec!r:.100} "
            f"({type(error).__name__} {error})"
        ) from None


_FORMS = ("NFC", "NFD", "NFKC", "NFKD")
_NAMES = {
    "Lowercase": "lowercase",
    "StripAccents": "strip_accents",
    "Strip": "strip",
    "Replace": "replace",
    "Precompiled": "charsmap",
}


def _step(kind: str, spec: Mapping[str, Any]) -> Callable[[str], Traced]:
    if kind in _FORMS:
        return partial(unicode_form, form=kind)
    if kind == "Lowercase":
        return lower
    if kind == "StripAccents":
        return strip_accents
    if kind == "Strip":
        return partial(strip, left=bool(spec["strip_left"]), right=bool(spec["strip_right"]))
    if kind == "Replace":
        ((how, pattern),) = spec["pattern"].items()
        pattern = re.escape(pattern) if how == "String" else {"Regex": PATTERNS}[how][pattern]
        if not pattern or not isinstance(spec["content"], str):
            raise KeyError("content")
        return partial(replace, pattern=pattern, content=spec["content"])
    return {"Precompiled": Charsmap}[kind](b64decode(spec["precompiled_charsmap"], validate=True))


def normalise(text: str, steps: Iterable[Step]) -> Traced:
    """All steps in order, and the place of each character in the text as given."""
    origins: Sequence[int] = range(len(text))
    for step in steps:
        text, places = step.apply(text)
        if places != range(len(origins)):
            origins = [origins[place] for place in places]
    return text, origins


def normalise_char(char: str, steps: Iterable[Step]) -> str | None:
    """What becomes of a character whatever stands beside it; None where its neighbours may matter.

    >>> normalise_char("Ä", steps_of({"type": "Lowercase"})), normalise_char("\\t", [])
    ('ä', None)
    """
    for step in steps:
        pattern = getattr(step.apply, "keywords", {}).get("pattern", "")
        if _minds_neighbours(char) or (pattern not in PATTERNS.values() and char in pattern):
            return None
        char, _ = step.apply(char)
    return None if not char or _minds_neighbours(char) else char
