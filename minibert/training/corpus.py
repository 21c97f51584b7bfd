"""Text -> documents -> sentences -> ids, in three long arrays.

A document is a list of paragraphs, one a line, with a blank line between documents. Next-sentence
prediction needs to know where sentences and documents end, and nothing else about them.
"""

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from minibert.tokenizer.tokenizer import Tokenizer

# A run of marks that ends nothing is matched, too, as a whole (group 2): it would be tried again
# from each of its marks, which takes forever in a line of 40,000 dots.
_sentence_end = re.compile(
    r"(?:(?=[.!?]{2})|(?<!\bMr)(?<!\bMrs)(?<!\bDr)(?<!\bSt)(?<!\b[A-Z]))"
    r"[.!?]+[\"'”’“»)\]]*\s+(?=[\"'“‘„«¿¡(\[]*(\w))|[。！？]+[”’」』）]*|([.!?]+)"
)


def _begins(match: re.Match[str]) -> bool:
    """Whether a sentence can begin after it; marks of Chinese and Japanese need no next letter."""
    letter, nothing = match.groups()
    return not nothing and (letter is None or letter.isupper() or letter.isdigit())


def split_sentences(paragraph: str) -> list[str]:
    """A paragraph's sentences, by their marks and the capital after them.

    A rule of thumb: now and then it cuts after an abbreviation, it never does after a single
    capital ("So did I."), and text without capitals stays in one piece.

    >>> split_sentences('"Is it deep?" asked Mr. Bank. "It is." Then he swam.')
    ['"Is it deep?" asked Mr. Bank.', '"It is."', 'Then he swam.']
    """
    ends = _sentence_end.finditer(paragraph)
    starts = [0, *(match.end() for match in ends if _begins(match))]
    sentences = [paragraph[a:b].strip() for a, b in zip(starts, [*starts[1:], None])]
    return [sentence for sentence in sentences if sentence]


class Corpus(NamedTuple):
    """Documents as ids, end to end: sentence s is pieces[sentences[s]:sentences[s + 1]], and
    document d consists of the sentences documents[d] to documents[d + 1] - 1."""

    pieces: Any  # whole numbers, as an array of Python or of NumPy
    sentences: Any
    documents: Any

    def read(self, first: int, last: int) -> list[int]:
        """The pieces of the sentences `first` to `last` - 1."""
        return self.pieces[self.sentences[first] : self.sentences[last]].tolist()

    def fill(self, first: int, last: int, room: int) -> int:
        """Where to stop so that the sentences from `first` on hold `room` pieces, or `last`."""
        return bisect_left(self.sentences, self.sentences[first] + room, first + 1, last)

    @classmethod
    def join(cls, parts: Sequence["Corpus"]) -> "Corpus":
        """The documents of all parts, one after the other."""

        def bounds(name: str) -> np.ndarray:
            ends = [np.asarray(getattr(part, name)) for part in parts]
            shifts = np.cumsum([0, *(part[-1] for part in ends)])
            return np.concatenate([[0], *(part[1:] + shift for part, shift in zip(ends, shifts))])

        pieces = np.concatenate([np.asarray(part.pieces) for part in parts])
        return cls(pieces, bounds("sentences"), bounds("documents"))


def read_documents(lines: Iterable[str]) -> Iterator[list[str]]:
    """Lists of lines, cut at blank ones: a line is a paragraph, a blank line ends a document."""
    document: list[str] = []
    for line in chain(lines, [""]):
        if line.strip():
            document.append(line)
        elif document:
            yield document
            document = []


def build_corpus(documents: Iterable[list[str]], tokenizer: Tokenizer) -> Corpus:
    """Documents (lists of paragraphs) -> ids. A special token typed in the text is left out."""
    corpus = Corpus(array("i"), array("q", [0]), array("q", [0]))
    never = tokenizer.special_ids - {tokenizer.unk_id}
    for paragraphs in documents:
        for paragraph in paragraphs:
            for sentence in split_sentences(paragraph):
                ids = tokenizer.ids(sentence)
                if not never.isdisjoint(ids):
                    ids = [number for number in ids if number not in never]
                if ids:
                    corpus.pieces.extend(ids)
                    corpus.sentences.append(len(corpus.pieces))
        if len(corpus.sentences) - 1 > corpus.documents[-1]:
            corpus.documents.append(len(corpus.sentences) - 1)
    return corpus
