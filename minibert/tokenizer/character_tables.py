"""The character classes of the byte-level and Unigram tokenizers, frozen like the others.

As in `unicode_classes.py`, they are those of the reference, Hugging Face `tokenizers` 0.23.3,
which takes them from four places: letters, numbers and white space of its regular expressions, the
marks of its `StripAccents`, the graphemes of its `Precompiled`, and decompositions of Unicode 9.
They were read off it by asking it about every code point, which the slow ones of
`tests/tokenizer/test_engines.py` do again. They stand in `character_tables.txt`, in the notation
of `unicode_classes.py`.
"""

import re
from pathlib import Path

from minibert.core.unicode_classes import CodePoints


def _read_tables() -> dict[str, CodePoints]:
    text = Path(__file__).with_suffix(".txt").read_text(encoding="ascii")
    _, *parts = re.split(r"^([A-Z]+):$", text, flags=re.MULTILINE)
    return {name: CodePoints(ranges) for name, ranges in zip(parts[::2], parts[1::2])}


_TABLES = _read_tables()
SPACES = _TABLES["SPACES"]  # \s of a regular expression, and where WhitespaceSplit cuts
MARKS = _TABLES["MARKS"]  # what StripAccents drops: categories Mn, Mc, Me
UNDECOMPOSED = _TABLES["UNDECOMPOSED"]  # whose decomposition is younger than the reference
CONTROL = _TABLES["CONTROL"]  # nothing joins these: control and format characters
PREPENDED = _TABLES["PREPENDED"]  # written before what they belong to, as the Arabic number sign
JOINING = _TABLES["JOINING"]  # one grapheme with the character before: marks, joiners, modifiers
NUMBERS = _TABLES["NUMBERS"]  # \p{N} of a regular expression
LETTERS = _TABLES["LETTERS"]  # \p{L} of a regular expression
