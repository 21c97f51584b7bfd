"""The sentences of a text that say most: an extractive summary.

Nothing is written anew and nothing was trained for it. Each sentence has a vector; one that lies
near the mean of all is taken to stand for the text, and one that lies near those already chosen
says nothing new. Sentences are chosen one after another by the first less the second ("maximal
marginal relevance"), and come in the order of the text. With plain BERT vectors, whose cosines are
all high, the choice is a coarse one; a model of sentence vectors makes a better one.

Source: Radev et al. 2004 (the centroid); Carbonell and Goldstein 1998 (relevance less redundancy).
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

# Where a sentence may end: a mark, perhaps quotes, then a space; or an ideographic full stop.
END = re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[^\W_a-z])|(?<=[。！？])|\n\s*\n")
ABBREVIATIONS = re.compile(r"\b([A-Z]|Mr|Mrs|Ms|Dr|Prof|St|vs|etc|e\.g|i\.e|cf|No|vol|pp)\.$")


class Sentence(NamedTuple):
    """text[start:end], and how near its vector lies to the mean of all."""

    text: str
    start: int
    end: int
    score: float


def sentences_of(text: str) -> list[tuple[int, int]]:
    """(start, end) of each sentence, by its marks; initials and common abbreviations end none.

    >>> text = "Dr. Hall came. It rained! (So what?)"
    >>> [text[a:b] for a, b in sentences_of(text)]
    ['Dr. Hall came.', 'It rained!', '(So what?)']
    """
    spans, start = [], 0
    ends = [(match.start(), match.end()) for match in END.finditer(text)]
    for end, following in [*ends, (len(text), len(text))]:
        part = text[start:end]
        if end < len(text) and ABBREVIATIONS.search(part):
            continue
        closed = text[end:following].rstrip()  # quotes and brackets that belong to the sentence
        left = len(part) - len(part.lstrip())
        if part.strip():
            spans.append((start + left, start + len(part.rstrip()) + len(closed)))
        start = following
    return spans


def summarize(
    embed: Callable[[Sequence[str]], np.ndarray],
    text: str,
    sentences: int = 3,
    diversity: float = 0.3,
) -> list[Sentence]:
    """The `sentences` that say most, in the order of the text; all if there are no more.

    embed      texts -> vectors (n, H), such as `bert.embed`
    diversity  from 0, only the mean counts, to 1, only how new a sentence is

    Raises ValueError for fewer than one sentence, or a diversity outside 0 to 1.
    """
    if sentences < 1 or not 0 <= diversity <= 1:
        raise ValueError(
            f"expected one sentence or more and a diversity in 0..1, got {sentences}, {diversity}"
        )
    spans = sentences_of(text)
    if not spans:
        return []
    vectors = np.asarray(embed([text[a:b] for a, b in spans]), np.float64)  # (n, H)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    centre = vectors.mean(axis=0)
    relevance = vectors @ centre / max(float(np.linalg.norm(centre)), 1e-12)  # (n,)
    alike = vectors @ vectors.T  # (n, n)
    chosen: list[int] = []
    while len(chosen) < min(sentences, len(spans)):
        repeats = alike[:, chosen].max(axis=1) if chosen else np.zeros(len(spans))
        worth = (1 - diversity) * relevance - diversity * repeats
        worth[chosen] = -np.inf
        chosen.append(int(worth.argmax()))
    return [
        Sentence(text[slice(*spans[n])], *spans[n], float(relevance[n])) for n in sorted(chosen)
    ]
