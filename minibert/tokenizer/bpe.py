"""Byte-level byte-pair encoding: the tokenizer of RoBERTa and DeBERTa, which is that of GPT-2.

A regular expression cuts the text into words, each with the space before it. A word is written in
256 letters, one for each byte of its UTF-8; so nothing is ever unknown. Then neighbours are merged,
first the pair that stands first in the list of merges, until no pair of the list is left.

Sources: Sennrich et al. 2016, section 3.2, https://arxiv.org/abs/1508.07909; Radford et al. 2019,
section 2.2, "Language Models are Unsupervised Multitask Learners", and openai/gpt-2
`src/encoder.py`; offsets and order of merges as in Hugging Face `tokenizers`,
`pre_tokenizers/byte_level.rs` and `models/bpe/word.rs`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import pairwise
from typing import Any

from minibert.tokenizer.character_tables import LETTERS, NUMBERS, SPACES
from minibert.tokenizer.pieces import Memory, Span
from minibert.tokenizer.pipeline import Pipeline, Spelling, Word

_L, _N, _S = LETTERS.pattern, NUMBERS.pattern, SPACES.pattern
_words = re.compile(
    rf"'s|'t|'re|'ve|'m|'ll|'d| ?[{_L}]+| ?[{_N}]+| ?[^{_S}{_L}{_N}]+|[{_S}]+(?![^{_S}])|[{_S}]+"
)
find_words = _words.finditer
# As the words, but only where white space begins or ends.
_find_chunks = re.compile(rf" ?[^{_S}]+|[{_S}]+(?![^{_S}])|[{_S}]+").findall
_leading_spaces = re.compile(rf"[Ġ{_S}]*").match


def _spaces_around(token: str) -> tuple[int, int]:
    """How many spaces a token begins and ends with."""
    return tuple(_leading_spaces(t).end() for t in (token, token[::-1]))  # type: ignore


Merges = dict[tuple[int, int], tuple[int, int]]  # a pair of ids -> its rank, and the id of both


def _byte_letters() -> str:
    """A letter that can be seen for each byte: itself, or one of the next free ones."""
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return "".join(chr(256 + hidden.index(b) if b in hidden else b) for b in range(256))


BYTE_LETTERS = _byte_letters()
_LETTERS = dict(enumerate(BYTE_LETTERS))
_BYTES = {letter: byte for byte, letter in enumerate(BYTE_LETTERS)}


def spell_bytes(text: str) -> str:
    """A text in the letters of its bytes; a space is Ġ.

    >>> spell_bytes(" né")
    'ĠnÃ©'
    """
    return text.encode().decode("latin-1").translate(_LETTERS)


def merge(
    ids: list[int], sizes: list[int], merges: Merges, history: list[tuple[int, int, int]]
) -> None:
    """Join neighbours, the pair of lowest rank first, from the left; what is joined has size 0.

    `history` gets (left, right, both) for each merge.
    """
    after = [*range(1, len(ids)), -1]
    before = [*range(-1, len(ids) - 1)]
    queue = [
        (*merges[pair], place) for place, pair in enumerate(pairwise(ids)) if pair in merges
    ]  # the pairs by rank, then by place
    heapify(queue)
    while queue:
        rank, both, left = heappop(queue)
        right = after[left]
        # the pair may be gone, because one of the two has been joined with another
        if not sizes[left] or right < 0 or merges.get((ids[left], ids[right])) != (rank, both):
            continue
        history.append((ids[left], ids[right], both))
        ids[left] = both
        sizes[left], sizes[right] = sizes[left] + sizes[right], 0
        third = after[left] = after[right]
        if third >= 0:
            before[third] = left
            if (both, ids[third]) in merges:
                heappush(queue, (*merges[both, ids[third]], left))
        first = before[left]
        if first >= 0 and (ids[first], both) in merges:
            heappush(queue, (*merges[ids[first], both], first))


class ByteLevelBPE(Pipeline):
    """The piece engine of RoBERTa.

    merges            pairs of tokens, in the order in which they are joined
    add_prefix_space  put a space before a text that has none: its first word is then a word like
                      the others
    trim_offsets      a piece's offsets leave out the space in front of it
    unknown           the token for bytes that the vocabulary lacks; None drops them
    fuse_unknown      one for several in a row
    whole_words       a word that is a token is not spelled by merges

    Raises ValueError for merges of tokens that the vocabulary lacks.

    >>> vocab = {letter: n for n, letter in enumerate(["<unk>", *BYTE_LETTERS, "Ġh", "Ġhi"])}
    >>> names = {"unk_token": "<unk>"}
    >>> bpe = ByteLevelBPE(vocab, merges=[("Ġ", "h"), ("Ġh", "i")], special_tokens=names)
    >>> bpe.pieces("hi hi").tokens, bpe.pieces("hi hi").offsets
    (['h', 'i', 'Ġhi'], [(0, 1), (1, 2), (3, 5)])
    """

    def __init__(
        self,
        vocab: Mapping[str, int],
        *,
        merges: Iterable[Sequence[str]],
        add_prefix_space: bool = False,
        trim_offsets: bool = True,
        unknown: str | None = None,
        fuse_unknown: bool = False,
        whole_words: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(vocab, **settings)
        self.pairs = [(left, right) for left, right in merges]
        for pair in self.pairs:
            lacking = [token for token in (*pair, "".join(pair)) if token not in vocab]
            if lacking:
                raise ValueError(
                    f"expected merges of tokens of the vocabulary, got {' '.join(pair)!r}, where "
                    f"it lacks {lacking[0]!r}: vocabulary and merges do not belong together."
                )
        self.merges = {
            (vocab[a], vocab[b]): (rank, vocab[a + b]) for rank, (a, b) in enumerate(self.pairs)
        }
        self._spaces = Memory(_spaces_around)
        self.add_prefix_space, self.trim_offsets = add_prefix_space, trim_offsets
        self.unknown, self.fuse_unknown, self.whole_words = unknown, fuse_unknown, whole_words
        self.settings |= {"add_prefix_space": add_prefix_space, "trim_offsets": trim_offsets}

    def to_json(self) -> dict[str, Any]:
        """The parts of a tokenizer.json that say what this engine does."""
        spaces = {"type": "ByteLevel", "add_prefix_space": self.add_prefix_space}
        return {
            "normalizer": self.normalizer,
            "pre_tokenizer": {**spaces, "trim_offsets": self.trim_offsets, "use_regex": True},
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": self.unknown,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": self.fuse_unknown,
                "byte_fallback": False,
                "ignore_merges": self.whole_words,
                "vocab": dict(self.vocabulary.wordpieces),
                "merges": [list(pair) for pair in self.pairs],
            },
            "decoder": {**spaces, "trim_offsets": True, "use_regex": True},
        }

    def continues(self, token: str) -> bool:
        """Whether a token goes on with a word."""
        return not token.startswith("Ġ")

    def words(self, normal: str, origins: Sequence[int]) -> Iterator[Word]:
        if self.add_prefix_space and normal and not normal.startswith(" "):
            normal, origins = " " + normal, [origins[0], *origins]
        for match in find_words(normal):
            letters, places = spell_bytes(match[0]), origins[match.start() : match.end()]
            if len(letters) > len(places):
                places = [n for n, char in zip(places, match[0]) for _ in char.encode()]
            yield letters, places

    def word_letters(self, normal: str) -> Iterable[str]:
        return map(spell_bytes, _words.findall(normal))

    def spell(self, word: str) -> Spelling:
        return self._spell(word, [])

    def _spell(self, word: str, history: list[tuple[int, int, int]]) -> Spelling:
        vocab = self.vocabulary.wordpieces
        if self.whole_words and word in vocab:
            return ((vocab[word], len(word)),)
        ids: list[int] = []
        sizes: list[int] = []
        unknown = None if self.unknown is None else vocab[self.unknown]
        fusing = False
        for letter in word:
            number = vocab.get(letter, unknown)
            if number is None:
                continue
            if fusing and letter not in vocab and self.fuse_unknown:
                sizes[-1] += 1
            else:
                ids.append(number)
                sizes.append(1)
            fusing = letter not in vocab
        merge(ids, sizes, self.merges, history)
        return tuple((number, size) for number, size in zip(ids, sizes) if size)

    def explain_word(self, word: str) -> tuple[str, list[tuple[str, str]]]:
        """The name of what happens to a word, and each merge: the pair, and what it becomes."""
        history: list[tuple[int, int, int]] = []
        self._spell(word, history)
        named = ([self.vocabulary.inverse[n] for n in row] for row in history)
        return "merges", [(f"{left} {right}", both) for left, right, both in named]

    def covered(self, token: str, start: int, end: int, first: bool) -> Span:
        if not self.trim_offsets:
            return start, end
        leading, trailing = self._spaces[token]
        if leading == 1 and first and self.add_prefix_space:
            leading = 0  # it is the space that was put there
        start = min(start + leading, end)
        return start, max(end - trailing, start) if trailing <= end else end

    def cut(self, text: str) -> list[str]:
        if self.add_prefix_space and text.startswith(" "):
            return [text]  # its space is not one that was put there
        if self.chunked and ("  " in text or text.endswith(" ")):
            return ["", *_find_chunks(text)] if not self.add_prefix_space else [text]
        return super().cut(text)

    def depends(self, chunk: str, normal: str) -> bool:
        return normal != chunk or (len(chunk) > 1 and chunk[1] in SPACES)

    def join(self, tokens: Sequence[str]) -> str:
        rows = (
            bytes(map(_BYTES.__getitem__, token)) if _BYTES.keys() >= set(token) else token.encode()
            for token in tokens
        )
        return b"".join(rows).decode("utf-8", "replace")
