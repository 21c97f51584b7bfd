"""Tokens that are looked for in the text itself: "[MASK]" and its like, and those a user added."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_WORD_CATEGORIES = ("Mn", "Mc", "Me", "Nl", "Nd", "Pc")


class AddedToken(NamedTuple):
    """A token and how it is looked for; the fields are those of a `tokenizer.json`."""

    content: str
    id: int
    special: bool = False
    normalized: bool = False  # look for it in the normalised text, not in the one given
    single_word: bool = False  # only where no character of a word touches it
    lstrip: bool = False  # take the spaces to its left as well
    rstrip: bool = False


def _in_words(neighbours: str) -> bool:
    """Whether one of these characters belongs to words: letters, digits, marks and joiners."""
    return any(
        char.isalnum() or char in "\u200c\u200d" or unicodedata.category(char) in _WORD_CATEGORIES
        for char in neighbours
    )


class AddedTokens:
    """Finds added tokens: the leftmost first, and of two that start together the longer.

    >>> mask = AddedToken("[MASK]", 103)
    >>> list(AddedTokens({"[MASK]": mask}).split("a [MASK]"))
    [(0, 2, None), (2, 8, 103)]
    """

    def __init__(self, tokens: Mapping[str, AddedToken]) -> None:
        self.tokens = {spelling: token for spelling, token in tokens.items() if spelling}
        spellings = sorted(self.tokens, key=len, reverse=True)
        self.search = re.compile("|".join(map(re.escape, spellings)) or "(?!)").search
        self._spaces = re.compile(r"\s*").match

    def split(self, text: str) -> Iterator[tuple[int, int, int | None]]:
        """Cut a text into (start, end, id), where the id is None between added tokens."""
        done = position = 0
        while match := self.search(text, position):
            token = self.tokens[match[0]]
            start, position = match.span()
            if token.single_word and _in_words(
                text[max(start - 1, 0) : start] + text[position : position + 1]
            ):
                continue
            if token.lstrip:
                start = done + len(text[done:start].rstrip())
            if token.rstrip:
                position = self._spaces(text, position).end()  # type: ignore[union-attr]
            if done < start:
                yield done, start, None
            yield start, position, token.id
            done = position
        if done < len(text):
            yield done, len(text), None
