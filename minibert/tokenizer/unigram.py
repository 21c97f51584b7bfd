"""The Unigram tokenizer of SentencePiece: ALBERT, XLM-R, CamemBERT, DeBERTa-v2 and v3 use it.

Spaces become ▁, one stands before each word, and a word is cut into the pieces whose scores, the
logarithms of their probabilities, have the largest sum: the best path, found from the left by
remembering for each place the best way to it (Viterbi). What no piece spells is unknown.

Sources: Kudo 2018, section 3.2, https://arxiv.org/abs/1804.10959; Kudo and Richardson 2018,
https://arxiv.org/abs/1808.06226; google/sentencepiece `unigram_model.cc`; Hugging Face
`tokenizers`, `models/unigram/model.rs` and `pre_tokenizers/metaspace.rs`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from minibert.core.unicode_classes import REFERENCE
from minibert.tokenizer.character_tables import SPACES
from minibert.tokenizer.normalisers import Charsmap
from minibert.tokenizer.pipeline import Pipeline, Spelling, Word
from minibert.tokenizer.trie import Trie

SPACE = "▁"
PREPEND = ("always", "first", "never")
UNKNOWN_PENALTY = 10.0  # what an unknown character costs more than the worst piece

_not_spaces = re.compile(f"[^{SPACES.pattern}]+").finditer
_punctuation = re.compile(f"[{REFERENCE.punctuation.pattern}]|[^{REFERENCE.punctuation.pattern}]+")
_pieces_of_words = re.compile(f"{SPACE}[^{SPACE}]*|[^{SPACE}]+").finditer


class Unigram(Pipeline):
    """The piece engine of ALBERT and others.

    scores           the pieces and their scores, in the order of their ids
    unknown_id       the id of what no piece spells
    prepend_scheme   ▁ before a word that has none: "always", "first" (of the text alone), "never"
    split_at_spaces  words end at white space, or else (False) where a ▁ stands
    split_by_punct   a punctuation character is a word

    Raises ValueError for scores that are no numbers, and an id that is none of a piece.

    >>> names = {"unk_token": "<unk>"}
    >>> scores = [("<unk>", 0.0), ("▁", -2.0), ("▁un", -3.0), ("able", -4.0), ("a", -5.0)]
    >>> unigram = Unigram(scores=scores, unknown_id=0, special_tokens=names)
    >>> unigram.pieces("unable").tokens, unigram.pieces("unable xy").ids
    (['▁un', 'able'], [2, 3, 1, 0])
    """

    def __init__(
        self,
        vocab: Mapping[str, int] | None = None,
        *,
        scores: Sequence[tuple[str, float]],
        unknown_id: int,
        prepend_scheme: str = "always",
        split_at_spaces: bool = True,
        split_by_punct: bool = False,
        **settings: Any,
    ) -> None:
        vocab = vocab or {piece: number for number, (piece, _) in enumerate(scores)}
        super().__init__(vocab, **settings)
        self.scores = [(piece, float(score)) for piece, score in scores]
        if not all(math.isfinite(score) for _, score in self.scores):
            wrong = next(pair for pair in self.scores if not math.isfinite(pair[1]))
            raise ValueError(f"expected scores that are numbers, got {wrong[1]} for {wrong[0]!r}.")
        if not 0 <= unknown_id < len(scores):
            raise ValueError(
                f"expected the id of the unknown piece to be one of {len(scores)} pieces, got "
                f"{unknown_id}."
            )
        if prepend_scheme not in PREPEND:
            raise ValueError(f"expected prepend_scheme one of {PREPEND}, got {prepend_scheme!r}.")
        self.unknown_id, self.prepend_scheme = unknown_id, prepend_scheme
        self.split_at_spaces, self.split_by_punct = split_at_spaces, split_by_punct
        self._scores = [score for _, score in self.scores]
        self._worst = min(score for _, score in self.scores) - UNKNOWN_PENALTY
        self._trie = Trie((piece, number) for piece, number in vocab.items() if piece)
        charsmaps = [step.apply for step in self._normal if isinstance(step.apply, Charsmap)]
        # Chunks are cut at spaces: a rule that looks at what follows a space would act across.
        self.chunked = self.chunked and not any(map(Charsmap.begins_with_space, charsmaps))
        self.settings |= {
            "prepend_scheme": prepend_scheme,
            "split_at_spaces": split_at_spaces,
            "split_by_punct": split_by_punct,
        }

    def to_json(self) -> dict[str, Any]:
        """The parts of a tokenizer.json that say what this engine does."""
        space = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": self.prepend_scheme}
        parts: list[dict[str, Any]] = []
        if self.split_at_spaces:
            parts.append({"type": "WhitespaceSplit"})
        if self.split_by_punct:
            parts.append({"type": "Punctuation", "behavior": "Isolated"})
        return {
            "normalizer": self.normalizer,
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [*parts, {**space, "split": True}],
            },
            "model": {
                "type": "Unigram",
                "unk_id": self.unknown_id,
                "vocab": [list(pair) for pair in self.scores],
                "byte_fallback": False,
            },
            "decoder": {**space, "split": True},
        }

    def continues(self, token: str) -> bool:
        """Whether a token goes on with a word."""
        return not token.startswith(SPACE)

    def words(self, normal: str, origins: Sequence[int]) -> Iterator[Word]:
        spans = [(0, len(normal))]
        if self.split_at_spaces:
            spans = [match.span() for match in _not_spaces(normal)]
        if self.split_by_punct:
            spans = [
                m.span() for start, end in spans for m in _punctuation.finditer(normal, start, end)
            ]
        for start, end in spans:
            word, places = normal[start:end].replace(" ", SPACE), origins[start:end]
            first = self.prepend_scheme == "first" and places[0] == 0
            if (first or self.prepend_scheme == "always") and not word.startswith(SPACE):
                word, places = SPACE + word, [places[0], *places]
            for match in _pieces_of_words(word):
                yield match[0], places[match.start() : match.end()]

    def _best_path(self, word: str) -> list[tuple[int, int, int]]:
        """(start, end, id) of the pieces; the id is `unknown_id` for what no piece spells."""
        scores, end_of_word = self._scores, len(word)
        best = [0.0] + [-math.inf] * end_of_word  # the score of the best way to each place
        last = [(0, 0)] * (end_of_word + 1)  # where that way's last piece starts, and its id
        for start in range(end_of_word):
            score_here = best[start]
            end = start + 1
            node: Any = self._trie[word[start]]
            if node[1] is None and score_here + self._worst > best[end]:
                best[end], last[end] = score_here + self._worst, (start, self.unknown_id)
            while node:
                branches, number = node
                if number is not None and score_here + scores[number] > best[end]:
                    best[end], last[end] = score_here + scores[number], (start, number)
                node = branches.get(word[end]) if end < end_of_word else None
                end += 1
        path: list[tuple[int, int, int]] = []
        end = end_of_word
        while end:
            start, number = last[end]
            path.append((start, end, number))
            end = start
        return path[::-1]

    def spell(self, word: str) -> Spelling:
        """The best path; unknown pieces that stand side by side are one."""
        pieces: list[tuple[int, int]] = []
        begin = 0
        path = self._best_path(word)
        for place, (_, end, number) in enumerate(path):
            later = path[place + 1][2] if place + 1 < len(path) else None
            if number == self.unknown_id == later:
                continue
            letters = word[begin:end]
            pieces.append((self.vocabulary.wordpieces.get(letters, self.unknown_id), end - begin))
            begin = end
        return tuple(pieces)

    def explain_word(self, word: str) -> tuple[str, list[tuple[str, str]]]:
        """The name of what happens to a word, and the pieces of the best path with their scores."""
        path = [(word[start:end], number) for start, end, number in self._best_path(word)]
        return "best path", [
            (piece, f"{self.scores[number][1] if number != self.unknown_id else self._worst:.2f}")
            for piece, number in path
        ]

    def cut(self, text: str) -> list[str]:
        ends = (text[:1] + text[-1:]).translate(self._table)
        if not self.split_at_spaces and (" " in ends or "\0" in ends):
            return [text]  # white space counts, but at the ends it may be dropped
        return super().cut(text)

    def depends(self, chunk: str, normal: str) -> bool:
        return not self.split_at_spaces and normal[:1] not in ("", " ")

    def join(self, tokens: Sequence[str]) -> str:
        first = "" if self.prepend_scheme != "never" else " "
        head = [token.replace(SPACE, first) for token in tokens[:1]]
        return "".join([*head, *(token.replace(SPACE, " ") for token in tokens[1:])])
