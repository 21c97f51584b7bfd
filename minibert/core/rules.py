"""What BERT's tokenizer does to a text, rule by rule, in the plainest form.

The rules are those of the original (https://github.com/google-research/bert, `tokenization.py`) as
Hugging Face `tokenizers` applies them today; `docs/tokenizer.md` lists where the two differ. The
folder `tokenizer/` does the same faster; tests hold the two to the same result.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from itertools import groupby

from minibert.core.unicode_classes import REFERENCE, CharacterRules


def clean(text: str, rules: CharacterRules = REFERENCE) -> str:
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


def isolate_ideographs(text: str, rules: CharacterRules = REFERENCE) -> str:
    """Put spaces around Chinese characters, which are written without.

    >>> isolate_ideographs("in 東京")
    'in  東  京 '
    """
    return "".join(f" {char} " if char in rules.ideographs else char for char in text)


def strip_accents(text: str, rules: CharacterRules = REFERENCE) -> str:
    """Split accented letters into letter and marks, and drop the marks.

    >>> strip_accents("Zoë Müller")
    'Zoe Muller'
    """
    parts = "".join(unicodedata.normalize("NFD", c) if c in rules.decomposed else c for c in text)

    def order(char: str) -> int:
        return unicodedata.combining(char) if char in rules.reordered else 0

    letters: list[str] = []
    for _, run in groupby(parts, key=lambda char: order(char) > 0):
        letters += sorted(run, key=order)  # Unicode's canonical order, where marks meet
    return "".join(char for char in letters if char not in rules.marks)


def lowercase(text: str, rules: CharacterRules = REFERENCE) -> str:
    """Every character by itself: a final capital sigma becomes σ, not ς.

    >>> lowercase("ΟΔΟΣ")
    'οδοσ'
    """
    return rules.lower(text)


def isolate_punctuation(text: str, rules: CharacterRules = REFERENCE) -> str:
    """Put spaces around punctuation, so that splitting at spaces gives the words.

    >>> isolate_punctuation("don't stop!").split()
    ['don', "'", 't', 'stop', '!']
    """
    return "".join(f" {char} " if char in rules.punctuation else char for char in text)


Rule = Callable[[str, CharacterRules], str]
RULES = (clean, isolate_ideographs, strip_accents, lowercase, isolate_punctuation)


def basic_tokenize(text: str) -> list[str]:
    """Text -> words, as BERT-uncased has it: all rules, then a cut at the spaces.

    >>> basic_tokenize("Don't naïve")
    ['don', "'", 't', 'naive']
    """
    for rule in RULES:
        text = rule(text)
    return text.split()


def rules_for(
    do_lower_case: bool, strip: bool | None, ideographs: bool, rules: CharacterRules = REFERENCE
) -> list[Rule]:
    """The rules that other settings switch on, in order; accents go with capitals if None.

    >>> [rule.__name__ for rule in rules_for(False, None, True)]  # a cased model
    ['clean', 'isolate_ideographs', 'isolate_punctuation']
    """
    strip = do_lower_case if strip is None else strip
    steps: list[Rule] = [clean]
    if ideographs:
        steps.append(isolate_ideographs)
    if strip and not rules.lower_first:
        steps.append(strip_accents)
    if do_lower_case:
        steps.append(lowercase)
    if strip and rules.lower_first:
        steps.append(strip_accents)
    return [*steps, isolate_punctuation]
