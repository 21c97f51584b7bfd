"""Reads the classes of `minibert/core/unicode_classes.py` off the reference again, and compares.

    python -m tests.tokenizer.read_reference

Every code point is put to Hugging Face `tokenizers`: what does it normalise to, does it split a
word, does a mark next to it change places with it? Prints each class that differs, in the notation
of that file, and ends with status 1 then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import tokenizers
from tokenizers import normalizers, pre_tokenizers

from minibert.core import unicode_classes
from minibert.core.unicode_classes import CodePoints

CHARACTERS = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]


def rule(**switch: bool) -> Callable[[str], str]:
    """BERT's normalizer with one switch on."""
    off = {"clean_text": False, "handle_chinese_chars": False, "lowercase": False}
    return normalizers.BertNormalizer(**{**off, "strip_accents": False, **switch}).normalize_str


def moves(char: str) -> bool:
    """Whether a character has a combining class: it then gives way to a lower one, or takes its.

    U+0334 has the lowest class, 1; U+0345 the highest, 240.
    """
    decompose = normalizers.NFD().normalize_str
    return decompose(f"a{char}\u0334") != f"a{char}\u0334" or decompose(f"a\u0345{char}") != (
        f"a\u0345{char}"
    )


def probe() -> dict[str, set[str]]:
    clean, isolate = rule(clean_text=True), rule(handle_chinese_chars=True)
    strip, decompose = rule(strip_accents=True), normalizers.NFD().normalize_str
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    cleaned = {char: clean(char) for char in CHARACTERS}
    decomposed = {char for char in CHARACTERS if decompose(char) != char}
    marks = {char for char in CHARACTERS if char not in decomposed and strip(char) == ""}
    others = [char for char in CHARACTERS if char not in marks and char not in decomposed]
    return {
        "REMOVED": {char for char, result in cleaned.items() if result == ""},
        "SPACES": {char for char, result in cleaned.items() if result == " "},
        "IDEOGRAPHS": {char for char in CHARACTERS if isolate(char) == f" {char} "},
        "PUNCTUATION": {char for char in CHARACTERS if len(split(f"a{char}a")) == 3},
        "MARKS": marks,
        "DECOMPOSED": decomposed,
        "KEPT_MARKS": {char for char in others if moves(char)},
    }


def ranges(characters: set[str]) -> str:
    """A set of characters in the notation of the frozen file."""
    found: list[list[int]] = []
    for code in sorted(map(ord, characters)):
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return " ".join(f"{a:X}" if a == b else f"{a:X}-{b:X}" for a, b in found)


def main() -> int:
    print(f"tokenizers {tokenizers.__version__}, {len(CHARACTERS)} characters")
    wrong = 0
    for name, characters in probe().items():
        frozen = CodePoints(getattr(unicode_classes, name))
        same = all((char in frozen) == (char in characters) for char in CHARACTERS)
        print(f"{name}: {'as frozen' if same else ranges(characters)} ({len(characters)})")
        wrong += not same
    lower = rule(lowercase=True)
    different = [c for c in CHARACTERS if lower(c) != unicode_classes.REFERENCE.lower(c)]
    print(f"LOWERCASE: {'as frozen' if not different else ranges(set(different))}")
    return int(bool(wrong or different))


if __name__ == "__main__":
    sys.exit(main())
