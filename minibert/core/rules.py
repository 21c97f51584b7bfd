"""What BERT's tokenizer does to a text, rule by rule, in the plainest form.

The rules are those of the original (https://github.com/google-research/bert, `tokenization.py`) as
Hugging Face `tokenizers` applies them today; `docs/tokenizer.md` lists where the two differ. They
define what `tokenizer.py` does faster; the tests hold the two to the same result.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from minibert.core.unicode_classes import REFERENCE, Rules


def clean(text: str, rules: Rules = REFERENCE) -> str:
    """Delete control, format and private-use characters; make every space an ASCII one.

    >>> clean("a\\u200bb\\tc")
    'ab c'
    """
    if wrong := re.search("[\ud800-\udfff]", text):
        raise ValueError(
            f"expected Unicode text, got U+{ord(wrong[0]):04X}, a lone surrogate, which is half a "
            "character. Read the text again in its right encoding, or drop what is broken with "
            'text.encode("utf-8", "ignore").decode().'
        )
    return "".join(
        " " if char in rules.spaces else "" if char in rules.removed else char for char in text
    )


def isolate_ideographs(text: str, rules: Rules = REFERENCE) -> str:
    """Put spaces around Chinese characters, which are written without.

    >>> isolate_ideographs("in 東京")
    'in  東  京 '
    """
    return "".join(f" {char} " if char in rules.ideographs else char for char in text)


def strip_accents(text: str, rules: Rules = REFERENCE) -> str:
    """Split accented letters into letter and marks, and drop the marks.

    >>> strip_accents("Zoë Müller")
    'Zoe Muller'
    """
    return "".join(char for char, _ in _without_accents(text, rules))


def _without_accents(text: str, rules: Rules) -> Iterator[tuple[str, int]]:
    """Each remaining character, and the index of the one in `text` that it counts as."""
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
        # Unicode's canonical order. The reference moves the marks but counts as if they had stayed:
        # a first part takes the next index, whichever character it came from.
        for char, is_first in sorted(run, key=combining_class) if is_mark else run:
            index += is_first
            if char not in rules.marks:
                yield char, index


def lowercase(text: str, rules: Rules = REFERENCE) -> str:
    """Every character by itself: a final capital sigma becomes σ, not ς.

    >>> lowercase("ΟΔΟΣ")
    'οδοσ'
    """
    return rules.lower(text)


def isolate_punctuation(text: str, rules: Rules = REFERENCE) -> str:
    """Put spaces around punctuation, so that splitting at spaces gives the words.

    >>> isolate_punctuation("don't stop!").split()
    ['don', "'", 't', 'stop', '!']
    """
    return "".join(f" {char} " if char in rules.punctuation else char for char in text)


Rule = Callable[[str, Rules], str]


def in_order(
    do_lower_case: bool, strip: bool | None, ideographs: bool, rules: Rules = REFERENCE
) -> list[Rule]:
    """The rules that the settings of a tokenizer switch on; accents go with capitals if None."""
    accents = [strip_accents] if (do_lower_case if strip is None else strip) else []
    capitals = [lowercase] if do_lower_case else []
    letters = capitals + accents if rules.lower_first else accents + capitals
    return [clean, *[isolate_ideographs] * ideographs, *letters, isolate_punctuation]


def normalise(
    text: str, steps: Iterable[Rule], rules: Rules = REFERENCE
) -> tuple[str, Sequence[int]]:
    """Apply the steps in order. Returns the text and each character's index in the original.

    >>> normalise("\\tÄ!", in_order(True, None, True))
    (' a ! ', [0, 1, 2, 2, 2])
    """
    origins: Sequence[int] = range(len(text))
    for step in steps:
        if step is strip_accents:
            kept = list(_without_accents(text, rules))
            origins = [origins[index] for _, index in kept]
            text = "".join(char for char, _ in kept)
        else:
            pairs = zip(text, origins, strict=True)
            origins = [origin for char, origin in pairs for _ in step(char, rules)]
            text = step(text, rules)
    return text, origins
