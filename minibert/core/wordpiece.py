"""A word -> the pieces of the vocabulary it is made of: greedy, longest match first.

Source: google-research/bert `tokenization.py`, class WordpieceTokenizer; the rule is written out in
Song et al. 2021, section 1, https://arxiv.org/abs/2012.15524.
"""

from __future__ import annotations

from collections.abc import Mapping

LONGEST_WORD = 100  # characters; longer words are not cut


def longest_match_first(word: str, vocab: Mapping[str, int]) -> list[str] | None:
    """Cut a word into the longest pieces the vocabulary has, from the left. None: not possible.

    Every end is tried, from the back.

    >>> longest_match_first("unaffable", {"un": 0, "una": 1, "##ff": 2, "##able": 3})
    ['una', '##ff', '##able']
    """
    pieces: list[str] = []
    start = 0
    while start < len(word):
        prefix = "##" if start else ""
        ends = range(len(word), start, -1)
        end = next((end for end in ends if prefix + word[start:end] in vocab), None)
        if end is None:
            return None
        pieces.append(prefix + word[start:end])
        start = end
    return pieces


def wordpiece(word: str, vocab: Mapping[str, int]) -> list[str]:
    """A word -> its pieces, or [UNK] for the whole word.

    >>> wordpiece("unable", {"un": 0, "##able": 1})
    ['un', '##able']
    """
    pieces = longest_match_first(word, vocab) if len(word) <= LONGEST_WORD else None
    return pieces or ["[UNK]"]
