"""Text → words → word pieces → ids, and where in the text each piece comes from.

The rules are in `rules.py` and `wordpiece.py`; here they are fast, for three reasons. A character's
fate hardly ever depends on its neighbours, so one table for `str.translate` does the work of all
rules. No rule acts across a space, so a text can be cut at its spaces, and the result for each
chunk remembered: most chunks of a text have been seen before. A new word is matched by a trie.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Sized
from itertools import accumulate, chain, count, repeat
from operator import add
from typing import Any, NamedTuple

from minibert.core.rules import rules_for, strip_accents
from minibert.core.unicode_classes import REFERENCE, google_rules
from minibert.tokenizer.origins import normalise
from minibert.tokenizer.trie import Trie, build_tries, match
from minibert.tokenizer.vocabulary import AddedToken, AddedTokens, Vocabulary

Span = tuple[int, int]  # start and end in the text
Piece = tuple[int, int, int, int]  # id, start, end and word, counted from the start of its chunk

_find_words = re.compile("[^ ]+").finditer


class Pieces(NamedTuple):
    """The pieces of a text: four lists of one length. Offsets are (start, end) in the text."""

    tokens: list[str]
    ids: list[int]
    offsets: list[Span]
    word_ids: list[int]


class PieceEngine:
    """A way from a text to its pieces, without what stands around them. WordPiece is one."""

    vocabulary: Vocabulary
    settings: dict[str, Any]  # what a file has to say of it, beside the vocabulary

    def ids(self, text: str) -> list[int]:
        """The ids of a text, without the tokens around it. Raises TypeError or ValueError."""
        raise NotImplementedError

    def continues(self, token: str) -> bool:
        """Whether a token goes on with a word."""
        raise NotImplementedError

    def _located(self, text: str) -> Iterator[tuple[int, Sequence[Piece], int | None]]:
        """Where each chunk starts, its pieces, and how many words it has; None: they end with the
        last piece."""
        raise NotImplementedError

    def ids_and_offsets(self, text: str) -> tuple[list[int], list[Span]]:
        """The ids, and for each the (start, end) of the characters it stands for."""
        ids: list[int] = []
        offsets: list[Span] = []
        for position, pieces, _ in self._located(text):
            for number, start, end, _ in pieces:
                ids.append(number)
                offsets.append((position + start, position + end))
        return ids, offsets

    def pieces(self, text: str) -> Pieces:
        """The pieces of a text with their ids, offsets and the numbers of their words."""
        ids, offsets = self.ids_and_offsets(text)
        word_ids: list[int] = []
        words = 0
        for _, pieces, number in self._located(text):
            word_ids += [words + word for _, _, _, word in pieces]
            ended = pieces[-1][3] + 1 if pieces else 0
            words += ended if number is None else number
        return Pieces([self.vocabulary.inverse[n] for n in ids], ids, offsets, word_ids)


def not_a_text(value: object) -> TypeError:
    return TypeError(
        f"expected a text (str), got {type(value).__name__}. "
        "Decode bytes first; give lists of texts to the tokenizer itself."
    )


class Memory(dict[Any, Any]):
    """Computes what it does not hold. Bounded: keeps no long keys, and starts again when full of
    2^19 pieces, one more for each key."""

    def __init__(self, compute: Callable[[Any], Any]) -> None:
        self.compute = compute
        self.room = 2**19

    def __missing__(self, key: Any) -> Any:
        value = self.compute(key)
        if isinstance(key, int) or len(key) <= 100:
            size = 1 + (len(value) if isinstance(value, Sized) else 0)
            if size > self.room:
                self.clear()
                self.room = 2**19
            self.room -= size
            self[key] = value
        return value

    def __reduce__(self) -> tuple[Any, ...]:  # a pickled tokenizer travels without its memories
        return Memory, (self.compute,)


class WordPieceTokenizer(PieceEngine):
    """The piece engine of BERT: a vocabulary, and the rules from text to its ids.

    `vocab`, `special_tokens` and `added_tokens` are those of `Vocabulary`. `do_lower_case`,
    `strip_accents` (None: as `do_lower_case`) and `tokenize_chinese_chars` switch rules on and off
    as in Hugging Face's BertTokenizer; with `split_special_tokens` a typed [MASK] is plain text.
    `rules` is "reference" or "google". Threads may share a
    tokenizer. Raises ValueError for a vocabulary that has duplicates or lacks [UNK].

    >>> tokenizer = WordPieceTokenizer(["[UNK]", "[MASK]", "un", "##able", "##aff", "a"])
    >>> tokenizer.ids("A unaffable [MASK]")
    [5, 2, 4, 3, 1]
    """

    def __init__(
        self,
        vocab: Mapping[str, int] | Sequence[str],
        *,
        do_lower_case: bool = True,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
        rules: str = "reference",
        split_special_tokens: bool = False,
        special_tokens: Mapping[str, str] | None = None,
        added_tokens: Iterable[str | Mapping[str, Any]] = (),
    ) -> None:
        self.vocabulary = Vocabulary(vocab, special_tokens, added_tokens)
        if rules not in ("reference", "google"):
            raise ValueError(f'expected rules "reference" or "google", got {rules!r}.')
        self.rules = google_rules() if rules == "google" else REFERENCE
        self.settings: dict[str, Any] = {
            "do_lower_case": do_lower_case,
            "strip_accents": strip_accents,
            "tokenize_chinese_chars": tokenize_chinese_chars,
        }
        # Written only if not the default: transformers reads this file too and would ignore it.
        if rules == "google":
            self.settings["rules"] = rules
        if split_special_tokens:
            self.settings["split_special_tokens"] = True
        self._lower = do_lower_case
        self.steps = rules_for(do_lower_case, strip_accents, tokenize_chinese_chars, self.rules)
        ideographs = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff" if tokenize_chinese_chars else ""
        added = [*self.vocabulary.added.values()] if self.rules.special_in_text else []
        if split_special_tokens:
            added = [token for token in added if not token.special]
        self._prepare(ideographs, added)
        # An added token can lie across chunks. Then the text is cut at the tokens that stand in it,
        # and what lies between goes to an engine that knows of none.
        self._bare = self if self._chunked else copy.copy(self)
        if not self._chunked:
            self._bare._prepare(ideographs, ())

    def _prepare(self, ideographs: str, added: Collection[AddedToken]) -> None:
        """The tables, patterns and memories of the fast way."""
        self.typed = AddedTokens({t.content: t for t in added if not t.normalized})
        self._late = AddedTokens({self._spell(t.content): t for t in added if t.normalized})
        self._context = self.rules.lower_first or strip_accents in self.steps
        self._table = Memory(self._normalise_char)
        self._spelling = Memory(self._spell_char)
        self._growing: set[str] = set()  # characters that become several, like Hangul syllables
        # str.split() finds chunks fastest. But it also cuts at seven control characters that the
        # rules delete, and not at ideographs; uncut, a Chinese chunk would never be seen again.
        self._odd = re.compile(f"[\v\f\x1c-\x1f\x85{ideographs}]").search
        outside = f"[^{self.rules.spaces.pattern}{ideographs}]+"
        self._chunks = re.compile(f"[{ideographs}]|{outside}" if ideographs else outside).findall
        self._parts = re.compile(f"([ {ideographs}])").split
        self._chunk_ids = Memory(self._find_ids)
        self._chunk_pieces = Memory(self._find_pieces)
        self._word_ids = Memory(self._find_word)
        self._word_pieces = Memory(self._find_word_pieces)
        self._tries: tuple[Trie, Trie] | None = None
        self._widths = Memory(self._width)
        # An added token can undo both shortcuts: by hiding in a word, and by lying across chunks.
        spellings = [*self.typed.tokens, *self._late.tokens]
        self._whole_words = not any(spelling.isalnum() for spelling in spellings)
        self._chunked = not any(
            t.lstrip or t.rstrip or t.single_word or [t.content] != self._cut(t.content)
            for t in added
        )

    def continues(self, token: str) -> bool:
        return token.startswith("##")

    # ---- A character, a word, a chunk ----

    def _spell(self, text: str) -> str:
        return normalise(text, self.steps[:-1], self.rules)[0]

    def _normalise_char(self, code: int) -> str:
        """Apply all rules to one character.

        A trailing NUL marks characters whose result depends on their neighbours; no rule ever
        produces one.
        """
        text, _ = normalise(chr(code), self.steps, self.rules)
        if len(text.strip()) > 1:
            self._growing.add(chr(code))
        return text + self._mark(text)

    def _spell_char(self, code: int) -> str:
        """As `_normalise_char`, by the rules that added tokens are looked for after."""
        text = self._spell(chr(code))
        return text + self._mark(text)

    def _mark(self, text: str) -> str:
        moves = self._context and any(char in self.rules.reordered for char in text)
        return "\0" if moves else ""

    def _width(self, number: int) -> int:
        return len(self.vocabulary.inverse[number].removeprefix("##"))

    def _find_word(self, word: str) -> Sequence[int]:
        unknown, wordpieces = (self.vocabulary.unk_id,), self.vocabulary.wordpieces
        if len(word) > self.rules.longest_word:
            return unknown
        if word in wordpieces:
            return (wordpieces[word],)
        self._tries = self._tries or build_tries(wordpieces)  # not at start: it takes a while
        return tuple(match(word, self._tries) or unknown)

    def _words(self, chunk: str) -> list[str] | None:
        """The words, if they are all of the chunk in order; None if it takes a closer look."""
        if chunk.isascii() and chunk.isalnum() and self._whole_words:
            return [chunk.lower() if self._lower else chunk]
        if self.typed.search(chunk) or self._late.tokens:
            return None
        normal = chunk.translate(self._table)
        return None if "\0" in normal else normal.split()

    def _find_ids(self, chunk: str) -> Sequence[int]:
        words = self._words(chunk)
        if words is None:
            return tuple(number for number, *_ in self._look_closely(chunk))
        if len(words) == 1:
            return self._word_ids[words[0]]
        return tuple(chain.from_iterable(map(self._word_ids.__getitem__, words)))

    def _find_word_pieces(self, word: str) -> tuple[Piece, ...]:
        """The pieces of a word that stands alone."""
        ids = self._word_ids[word]
        if len(ids) == 1:  # also [UNK]: it stands for the whole word
            return ((ids[0], 0, len(word), 0),)
        ends = [*accumulate(map(self._widths.__getitem__, ids))]
        return tuple((number, start, end, 0) for number, start, end in zip(ids, [0, *ends], ends))

    def _find_pieces(self, chunk: str) -> tuple[Piece, ...]:
        words = self._words(chunk)
        if (
            words is None
            or sum(map(len, words)) != len(chunk)
            or not (chunk.isascii() or self._growing.isdisjoint(chunk))
        ):
            return self._look_closely(chunk)
        # nothing was deleted and nothing grew: the words' letters are the chunk's, one for one
        if len(words) == 1:
            return self._word_pieces[words[0]]
        pieces = []
        position = 0
        for word, letters in enumerate(words):
            for number, start, end, _ in self._word_pieces[letters]:
                pieces.append((number, position + start, position + end, word))
            position += len(letters)
        return tuple(pieces)

    def _look_closely(self, text: str) -> tuple[Piece, ...]:
        """As `_find_pieces`, for any text: with added tokens, and characters that move or grow."""
        pieces: list[Piece] = []
        words = 0
        for first, last, number in self.typed.split(text):
            if number is not None:
                pieces.append((number, first, last, words))
                words += 1
                continue
            for normal, origins, number in self._traced(text[first:last]):
                if number is not None:
                    pieces.append((number, first + origins[0], first + origins[-1] + 1, words))
                    words += 1
                    continue
                for word in _find_words(normal):
                    where = [first + origin for origin in origins[word.start() : word.end()]]
                    for number, start, end, _ in self._word_pieces[word[0]]:
                        pieces.append((number, where[start], where[end - 1] + 1, words))
                    words += 1
        return tuple(pieces)

    def _traced(self, text: str) -> Iterator[tuple[str, Sequence[int], int | None]]:
        """The normal text and its origins, cut at added tokens that are looked for in it."""
        normal = text.translate(self._table)
        if self._late.tokens:
            spelled, origins = normalise(text, self.steps[:-1], self.rules)
            for start, end, number in self._late.split(spelled):
                normal, inner = normalise(spelled[start:end], self.steps[-1:], self.rules)
                yield normal, [origins[start + index] for index in inner], number
        elif "\0" in normal:
            yield *normalise(text, self.steps, self.rules), None
        else:
            yield normal, [i for i, char in enumerate(text) for _ in self._table[ord(char)]], None

    def _segments(self, text: str) -> list[tuple[int, int, int | None]] | None:
        """Cut a text into (start, end, id), where the id is None between added tokens.

        None if it takes a closer look: a character moves, or a token begins or ends inside what
        one character becomes.
        """
        segments = []
        for first, last, number in self.typed.split(text):
            part = text[first:last]
            spelled = part.translate(self._spelling) if number is None else ""
            if "\0" in spelled:
                return None
            if not self._late.search(spelled):
                segments.append((first, last, number))
                continue
            origins = [i for i, char in enumerate(part) for _ in self._spelling[ord(char)]]
            for start, end, number in self._late.split(spelled):
                if end < len(origins) and origins[end] == origins[end - 1]:
                    return None
                segments.append((first + origins[start], first + origins[end - 1] + 1, number))
        return segments

    # ---- A text ----

    def _cut(self, text: str) -> list[str]:
        return self._chunks(text) if self._odd(text) else text.split()

    def ids(self, text: str) -> list[int]:
        """The ids of a text, without [CLS] and [SEP]. Raises TypeError, or ValueError (`clean`)."""
        if not isinstance(text, str):
            raise not_a_text(text)
        if not self._chunked and (segments := self._segments(text)) is not None:
            ids: list[int] = []
            for start, end, number in segments:
                ids += self._bare.ids(text[start:end]) if number is None else [number]
            return ids
        chunks = self._cut(text) if self._chunked else [text]
        # no Python code runs for a chunk seen before: this line is where the speed comes from
        return list(chain.from_iterable(map(self._chunk_ids.__getitem__, chunks)))

    def _located(self, text: str) -> Iterator[tuple[int, Sequence[Piece], None]]:
        if not isinstance(text, str):
            raise not_a_text(text)
        if not self._chunked and (segments := self._segments(text)) is not None:
            for start, end, number in segments:
                if number is not None:
                    yield start, [(number, 0, end - start, 0)], None
                    continue
                for position, pieces, _ in self._bare._located(text[start:end]):
                    yield start + position, pieces, None
            return
        gap = 0
        if not self._chunked:
            chunks = [text]
        elif not text.isascii() and self._odd(text):
            chunks = self._parts(text)
        else:
            chunks, gap = text.split(" "), 1
        starts = map(add, accumulate(map(len, chunks), initial=0), count(0, gap))
        yield from zip(starts, map(self._chunk_pieces.__getitem__, chunks), repeat(None))

    def tokenize(self, text: str) -> list[str]:
        """The pieces of a text, as strings."""
        return self.vocabulary.convert_ids_to_tokens(self.ids(text))
