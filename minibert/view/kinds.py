"""What the tokenizer's rules make of a character: kept, made small, deleted, a word of its own.

Found by applying the rules of `rules.py` to the character alone: hardly any rule looks further.
"""

from typing import NamedTuple

from minibert.core.rules import clean, normalise
from minibert.tokenizer.pieces import WordPieceTokenizer


class Kind(NamedTuple):
    """What becomes of a character: a letter for it, a colour, and the sentence of the legend."""

    sign: str
    fill: str
    what: str


KINDS = {
    "letter": Kind("a", "#ffffff", "letter or other sign, kept"),
    "capital": Kind("A", "#cfe3f5", "capital, made small"),
    "accent": Kind("ä", "#fde3c8", "loses its accent"),
    "parts": Kind("+", "#d5eef0", "taken apart into its letters"),
    "digit": Kind("1", "#e3e3e3", "digit, kept"),
    "punctuation": Kind("!", "#f3d4e4", "punctuation, a word of its own"),
    "ideograph": Kind("中", "#d3ecdf", "ideograph, a word of its own"),
    "space": Kind("␣", "#f0f2f4", "space: words end here"),
    "removed": Kind("×", "#f8f3c6", "deleted"),
    "special": Kind("*", "#d9d2f0", "special token, looked up as a whole"),
}


def kinds_of(tokenizer: WordPieceTokenizer, text: str) -> list[str]:
    """For every character, a key of KINDS: what the rules make of it.

    >>> kinds_of(WordPieceTokenizer(["[UNK]"]), "Zoë 1!")
    ['capital', 'letter', 'accent', 'space', 'digit', 'punctuation']
    """
    kinds = []
    for start, end, number in tokenizer.typed.split(text):
        if number is not None:
            kinds += ["special"] * (end - start)
        else:
            kinds += [_kind(tokenizer, char) for char in text[start:end]]
    return kinds


def _kind(tokenizer: WordPieceTokenizer, char: str) -> str:
    rules = tokenizer.rules
    if clean(char, rules) in ("", " "):
        return "space" if clean(char, rules) else "removed"
    changed, _ = normalise(char, tokenizer.steps, rules)
    if not changed.strip():
        return "accent"  # a mark that stands by itself
    if changed != changed.strip():
        return "ideograph" if char in rules.ideographs else "punctuation"
    if changed != char:
        if len(changed) > 1:
            return "parts"
        return "capital" if changed == rules.lower(char) else "accent"
    return "digit" if char.isdigit() else "letter"
