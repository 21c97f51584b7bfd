"""Documents -> pairs of segments: B follows A in the text, or comes from somewhere else.

A document is cut into chunks of sentences that fill a row. A chunk is split at a random sentence
into A and B; with probability 1/2, B is replaced by sentences of another document.

Where this differs from Google's code: its chunk may be one sentence, which has no next, so more
than half of its B segments are random; here a chunk has at least two sentences, and the share is
one half. And one of its random documents can be the same document.

Source: Devlin et al. 2018, section 3.1 and appendix A.2; google-research/bert
`create_pretraining_data.py`.
"""

import random
from collections.abc import Iterator
from typing import NamedTuple

from minibert.training.corpus import Corpus


class Segments(NamedTuple):
    """A and B, and the numbers of the documents they come from."""

    first: list[int]
    second: list[int]
    documents: tuple[int, int]


def segment_pairs(
    corpus: Corpus, document: int, room: int, short_share: float, rng: random.Random
) -> Iterator[Segments]:
    """The pairs of one document, of at most `room` pieces together.

    Half of them, in the mean, take B from another document; what then remains of the chunk goes
    into the next one. A last sentence that stands alone has no next, and is left out.
    """
    start, end = corpus.documents[document], corpus.documents[document + 1]
    while end - start >= 2:
        target = below(room - 1, rng) + 2 if rng.random() < short_share else room
        stop = max(corpus.fill(start, end, target), start + 2)
        cut = start + 1 + below(stop - start - 1, rng)
        first = corpus.read(start, cut)
        if rng.random() < 0.5:
            other = _other(document, len(corpus.documents) - 1, rng)
            begin, last = corpus.documents[other], corpus.documents[other + 1]
            begin += below(last - begin, rng)
            second = corpus.read(begin, corpus.fill(begin, last, target - len(first)))
            start = cut
        else:
            other = document
            second = corpus.read(cut, stop)
            start = stop
        shorten(first, second, target, rng)
        yield Segments(first, second, (document, other))


def below(limit: int, rng: random.Random) -> int:
    """A random whole number from 0 to limit - 1, the same in all versions of Python."""
    return int(rng.random() * limit)


def _other(document: int, count: int, rng: random.Random) -> int:
    """One of the `count` documents, all but this one equally likely."""
    other = below(count - 1, rng)
    return other + (other >= document)


def shorten(first: list[int], second: list[int], room: int, rng: random.Random) -> None:
    """Take pieces off the longer segment, at a random end, until both fit; in place.

    >>> first, second = [1, 2, 3, 4, 5], [6, 7]
    >>> shorten(first, second, 4, random.Random(0)); len(first), second
    (2, [6, 7])
    """
    while len(first) + len(second) > room:
        longer = first if len(first) > len(second) else second
        del longer[0 if rng.random() < 0.5 else -1]
