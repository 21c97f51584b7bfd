"""The rules of `core/rules.py` once more, now keeping track of where each character comes from."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from minibert.core.rules import Rule, strip_accents
from minibert.core.unicode_classes import REFERENCE, CharacterRules


def _without_accents(text: str, rules: CharacterRules) -> Iterator[tuple[str, int]]:
    """As `strip_accents`: each remaining character, and the index in `text` that it counts as."""
    parts = [
        (part, number == 0)
        for char in text
        for number, part in enumerate(
            unicodedata.normalize("NFD", char) if char in rules.decomposed else char
        )
    ]

    def combining_class(part: tuple[str, bool]) -> int:
        return unicodedata.combining(part[0]) if part[0] in rules.reordered else 0

    index = -1
    for is_mark, run in groupby(parts, key=lambda part: combining_class(part) > 0):
        # The reference sorts combining marks but leaves its alignment table unsorted; to give the
        # same offsets we do the same: the first part of any character takes the next index.
        for char, is_first in sorted(run, key=combining_class) if is_mark else run:
            if is_first:
                index += 1
            if char not in rules.marks:
                yield char, index


def normalise(
    text: str, steps: Iterable[Rule], rules: CharacterRules = REFERENCE
) -> tuple[str, Sequence[int]]:
    """Apply the steps in order. Returns the text and each character's index in the original.

    >>> from minibert.core.rules import RULES
    >>> normalise("\\tÄ!", RULES)
    (' a ! ', [0, 1, 2, 2, 2])
    """
    origins: Sequence[int] = range(len(text))
    for step in steps:
        if step is strip_accents:
            traced = list(_without_accents(text, rules))
            origins = [origins[index] for _, index in traced]
            text = "".join(char for char, _ in traced)
        else:
            pairs = zip(text, origins, strict=True)
            origins = [origin for char, origin in pairs for _ in step(char, rules)]
            text = step(text, rules)
    return text, origins
