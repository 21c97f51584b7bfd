"""What byte-level BPE and Unigram have in common: from a text to its pieces, and soon.

Added tokens are cut out of the text as given. What lies between is normalised (`normalisers.py`)
and cut at the added tokens that are looked for in normal text. An engine, `bpe.py` or `unigram.py`,
cuts the rest into words and spells each by its vocabulary.

As in `pieces.py`, memories make it fast: one for words, and two for chunks, which begin at a space.
Most characters become the same whatever stands beside them, so a chunk of such is normalised by a
table. The pieces of a chunk are remembered where they depend on nothing else; where they do, or
could, the whole text is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, chain, islice, repeat
from typing import Any, NamedTuple

from minibert.core.rules import clean
from minibert.core.unicode_classes import REFERENCE, CharacterRules
from minibert.tokenizer.normalisers import Step, Traced, normalise, normalise_char, steps_of
from minibert.tokenizer.pieces import Memory, Piece, PieceEngine, Span, not_a_text
from minibert.tokenizer.vocabulary import AddedTokens, Vocabulary

Word = tuple[str, Sequence[int]]  # its letters, and the place in the text of each
Spelling = tuple[tuple[int, int], ...]  # ids, and how many letters each takes
Known = tuple[Piece, ...] | None  # the pieces of a chunk, if it alone decides about them


def _counted(pieces: list[Piece], words: int) -> Known:
    """None where a last word has no pieces: what only sees these would not count it."""
    return tuple(pieces) if words == (pieces[-1][3] + 1 if pieces else 0) else None


def _ids(pieces: Known) -> tuple[int, ...] | None:
    return None if pieces is None else tuple(piece[0] for piece in pieces)


def _ids_in(memory: Memory, chunk: str) -> tuple[int, ...] | None:
    return _ids(memory[chunk])


class Memories(NamedTuple):
    """What is known of chunks, by where they stand."""

    head: Memory  # first in a text, with others behind
    alone: Memory  # the whole text
    tail: Memory  # behind another


class PlainStep:
    """A normalizer as a function of the text alone, with its name."""

    def __init__(self, step: Step) -> None:
        self.__name__, self.apply = step

    def __call__(self, text: str, rules: CharacterRules = REFERENCE) -> str:
        return self.apply(text)[0]


class Pipeline(PieceEngine):
    """A piece engine, but for `words`, `spell`, `join`, `cut` and what else its engines define.

    `normalizer` is that part of a tokenizer.json; the other arguments are those of `Vocabulary`,
    and with `split_special_tokens` a typed <mask> is plain text. Threads may share it.
    """

    rules = REFERENCE  # for pictures: what counts as punctuation

    def __init__(
        self,
        vocab: Mapping[str, int],
        *,
        normalizer: Mapping[str, Any] | None = None,
        special_tokens: Mapping[str, str] | None = None,
        added_tokens: Iterable[str | Mapping[str, Any]] = (),
        split_special_tokens: bool = False,
    ) -> None:
        self.vocabulary = Vocabulary(vocab, special_tokens, added_tokens, self.join)
        self.normalizer, self._normal = normalizer, steps_of(normalizer)
        self.steps = [PlainStep(step) for step in self._normal]
        self.settings: dict[str, Any] = {}
        added = list(self.vocabulary.added.values())
        if split_special_tokens:
            self.settings["split_special_tokens"] = True
            added = [token for token in added if not token.special]
        self.typed = AddedTokens({t.content: t for t in added if not t.normalized})
        late = {normalise(t.content, self._normal)[0]: t for t in added if t.normalized}
        self._late = AddedTokens(late)
        # such a token would lie across chunks
        self.chunked = not any(" " in spelling for spelling in late)
        self._table = Memory(self._normal_char)
        self._spelled = Memory(self.spell)
        self._word_ids = Memory(self._ids_of_word)
        first = Memory(partial(self._first, start=0, more=True))
        alone = Memory(partial(self._first, start=0, more=False))
        self._pieces = Memories(first, alone, Memory(self._later))
        ids_first, ids_alone = (Memory(partial(_ids_in, known)) for known in (first, alone))
        self._ids = Memories(ids_first, ids_alone, Memory(self._ids_of_later))

    # ---- What an engine says ----

    def words(self, normal: str, origins: Sequence[int]) -> Iterable[Word]:
        """Normal text → words."""
        raise NotImplementedError

    def word_letters(self, normal: str) -> Iterable[str]:
        """As `words`, the letters alone."""
        return (letters for letters, _ in self.words(normal, range(len(normal))))

    def spell(self, word: str) -> Spelling:
        """A word → its pieces."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """The parts of a tokenizer.json that say what the engine does."""
        raise NotImplementedError

    def explain_word(self, word: str) -> tuple[str, list[tuple[str, str]]]:
        """The name of what happens to a word, and what was done or weighed."""
        raise NotImplementedError

    def join(self, tokens: Sequence[str]) -> str:
        """Tokens → text."""
        raise NotImplementedError

    def cut(self, text: str) -> list[str]:
        """Text → chunks; each but the first begins at a space. One, if it must not be cut."""
        return [text] if not self.chunked or "\0" in text else text.replace(" ", "\0 ").split("\0")

    def depends(self, chunk: str, normal: str) -> bool:
        """Whether a chunk behind others may have other words than it has alone."""
        raise NotImplementedError

    def covered(self, token: str, start: int, end: int, first: bool) -> Span:
        """The offsets of a token that stands for (start, end); `first` at the text's beginning."""
        return start, end

    # ---- A chunk of characters that take no part in each other ----

    def _normal_char(self, code: int) -> str:
        """What becomes of a character; NUL for one that takes a closer look."""
        return " " if code == 32 else normalise_char(chr(code), self._normal) or "\0"

    def _plain(self, chunk: str) -> str | None:
        """The normal text of a chunk; None if it takes a closer look."""
        normal = chunk.translate(self._table)
        alone = "\0" not in normal and " " not in chunk[1:] and not self._late.search(normal)
        return normal if alone and chunk not in ("", " ") else None

    def _plain_pieces(self, chunk: str, normal: str, start: int, at_start: bool) -> Known:
        origins: Sequence[int] = range(start, start + len(chunk))
        if len(normal) != len(chunk):
            sizes = (len(self._table[ord(char)]) for char in chunk)
            origins = [place for place, size in zip(origins, sizes) for _ in range(size)]
        return _counted(*self._look_closely(normal, origins, at_start))

    def _ids_of_word(self, letters: str) -> tuple[int, ...]:
        return tuple(number for number, _ in self._spelled[letters])

    def _ids_of_later(self, chunk: str) -> tuple[int, ...] | None:
        normal = self._plain(chunk)
        if normal is None:
            return _ids(self._pieces.tail[chunk])
        letters = self.word_letters(normal)
        return tuple(chain.from_iterable(map(self._word_ids.__getitem__, letters)))

    # ---- A text without typed tokens ----

    def _normalised(self, text: str) -> Traced:
        try:
            text.encode()
        except UnicodeEncodeError:
            clean(text)  # says what is wrong
        return normalise(text, self._normal)

    def _look_closely(
        self, normal: str, origins: Sequence[int], at_start: bool
    ) -> tuple[list[Piece], int]:
        """The pieces of normal text, and the number of its words."""
        pieces: list[Piece] = []
        number = 0

        def put(token: int, spelling: str, begin: int, end: int) -> None:
            first = at_start and (begin == 0 or not pieces)
            pieces.append((token, *self.covered(spelling, begin, end, first), number))

        for a, b, added in self._late.split(normal):
            if added is not None:
                put(added, normal[a:b], origins[a], origins[b - 1] + 1)
                number += 1
                continue
            for letters, where in self.words(normal[a:b], origins[a:b]):
                done = 0
                for token, size in self._spelled[letters]:
                    last = where[done + size - 1]
                    put(token, self.vocabulary.inverse[token], where[done], last + 1)
                    done += size
                number += 1
        return pieces, number

    def _whole(self, text: str, start: int = 0) -> tuple[list[Piece], int]:
        normal, places = self._normalised(text)
        origins = [start + place for place in places] if start else places
        return self._look_closely(normal, origins, start == 0)

    def _first(self, chunk: str, start: int, more: bool) -> Known:
        """The pieces of a first chunk, if what follows (`more`) changes nothing in it."""
        plain = None if chunk.startswith(" ") else self._plain(chunk)
        if plain is not None:
            return self._plain_pieces(chunk, plain, start, start == 0)
        normal, places = self._normalised(f"{chunk} x" if more else chunk)
        if more:
            if normal[-2:] != " x" or [*places[-2:]] != [len(chunk), len(chunk) + 1]:
                return None
            normal, places = normal[:-2], places[:-2]
        origins = [start + place for place in places]
        return _counted(*self._look_closely(normal, origins, start == 0))

    def _later(self, chunk: str) -> Known:
        """The pieces of a chunk as it stands between words, if these change nothing in it."""
        plain = self._plain(chunk)
        if plain is not None:
            return self._plain_pieces(chunk, plain, 0, at_start=False)
        normal, places = self._normalised(f"x{chunk} x")
        end = len(chunk) + 1
        if normal[:1] + normal[-2:] != "x x" or [places[0], *places[-2:]] != [0, end, end + 1]:
            return None
        normal, origins = normal[1:-2], [place - 1 for place in places[1:-2]]
        if self.depends(chunk, normal):
            return None
        return _counted(*self._look_closely(normal, origins, at_start=False))

    def _rows(self, text: str, start: int, known: Memories) -> tuple[list[str], list[Any]]:
        """The chunks of a text, and what the memories know of them."""
        head, *tail = self.cut(text)
        if start:
            first = self._first(head, start, bool(tail))
            row = first if known is self._pieces else _ids(first)
        else:
            row = (known.head if tail else known.alone)[head]
        return [head, *tail], [row, *map(known.tail.__getitem__, tail)]

    # ---- A text ----

    def _parts(self, text: str) -> Iterator[tuple[int, int, int | None]]:
        if not isinstance(text, str):
            raise not_a_text(text)
        return self.typed.split(text)

    def ids(self, text: str) -> list[int]:
        """The ids of a text, without the tokens around it. Raises TypeError or ValueError."""
        ids: list[int] = []
        for start, end, added in self._parts(text):
            if added is not None:
                ids.append(added)
                continue
            _, rows = self._rows(text[start:end], start, self._ids)
            if None in rows:
                ids += (piece[0] for piece in self._whole(text[start:end], start)[0])
            else:
                ids += chain.from_iterable(rows)
        return ids

    def _located(self, text: str) -> Iterator[tuple[int, Sequence[Piece], int | None]]:
        for start, end, added in self._parts(text):
            if added is not None:
                span = self.covered(text[start:end], start, end, start == 0)
                yield 0, [(added, *span, 0)], None
                continue
            chunks, rows = self._rows(text[start:end], start, self._pieces)
            if None in rows:
                yield 0, *self._whole(text[start:end], start)
                continue
            ends = accumulate(map(len, chunks), initial=start)
            yield from zip([0, *islice(ends, 1, None)], rows, repeat(None))
