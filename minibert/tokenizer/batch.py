"""Texts and pairs of texts → the tensors that the model takes.

A row is [CLS] A [SEP], or [CLS] A [SEP] B [SEP] with segment 0 up to the first [SEP] and 1 after
it (Devlin et al. 2018, https://arxiv.org/abs/1810.04805, section 3 "Input/Output Representations"
and figure 2). Rows that are too long are cut, or cut into overlapping windows; rows that are too
short are padded, and the attention mask says where.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from minibert.tokenizer.arguments import Text
from minibert.tokenizer.pieces import Pieces, Span
from minibert.tokenizer.vocabulary import SPECIAL_TOKENS

if TYPE_CHECKING:
    import torch

    from minibert.tokenizer.tokenizer import Tokenizer


ELSEWHERE = {
    "data": "a batch is a dict itself: dict(batch)",
    "encodings": "tokens(row), offsets(row), word_ids(row) say what stands in a row",
    "convert_to_tensors": 'tokenizer(texts, return_tensors="pt"), "np" or None makes them',
    "n_sequences": "sequence_ids(row) says which text each place of a row belongs to",
}


def everywhere(value: Any) -> dict[str, Any]:
    """The same value for each special token."""
    return dict.fromkeys(SPECIAL_TOKENS, value)


class Row(NamedTuple):
    """Which pieces of which text, or pair of texts, a row holds."""

    sample: int
    parts: tuple[range, ...]


class Template(NamedTuple):
    """What stands around the texts A and B: before, A, after, and between, B, after for a pair.

    Names of special tokens, as in `SPECIAL_TOKENS`. `segments`: B is segment 1.

    >>> BERT_TEMPLATE.length(1), BERT_TEMPLATE.length(2), Template().length(2)
    (2, 3, 0)
    """

    before: Sequence[str] = ()
    after: Sequence[str] = ()
    between: Sequence[str] = ()
    segments: bool = True

    def length(self, texts: int) -> int:
        """The number of special tokens in a row of one text, or of two."""
        return len(self.before) + len(self.after) * texts + len(self.between) * (texts - 1)


BERT_TEMPLATE = Template(before=("cls_token",), after=("sep_token",))  # [CLS] A [SEP] B [SEP]
ROBERTA_TEMPLATE = BERT_TEMPLATE._replace(between=("sep_token",), segments=False)


class Layout(NamedTuple):
    """The texts of a batch, and where their pieces stand in its rows."""

    tokenizer: Tokenizer
    samples: list[tuple[Text, Text | None]]
    rows: list[Row]
    template: Template
    width: int  # shorter rows are padded
    side: str

    def sizes(self, row: Row) -> tuple[int, int]:
        """Positions of segment 0 and of segment 1."""
        first = len(row.parts[0]) + self.template.length(1)
        total = sum(map(len, row.parts)) + self.template.length(len(row.parts))
        return first, total - first

    def pad(self, values: list[Any], filler: Any) -> list[Any]:
        padding = [filler] * (self.width - len(values))
        return values + padding if self.side == "right" else padding + values

    def fill(self, row: Row, texts: Sequence[Any], special: Mapping[str, Any]) -> list[Any]:
        """Values of the texts' pieces, and of special tokens by name → those of a row."""
        names = self.template.before
        values: list[Any] = []
        for text, part in zip(texts, row.parts):
            values += [special[name] for name in names]
            values += text[part.start : part.stop]
            values += [special[name] for name in self.template.after]
            names = self.template.between
        return self.pad(values, special["pad_token"])


class Batch(dict[str, Any]):
    """The model's inputs by name: `model(**batch)`, `batch["input_ids"]` or `batch.input_ids`.

    `tokens(row)`, `word_ids(row)`, `sequence_ids(row)` and `offsets(row)` say what is behind the
    positions of a row. For [CLS], [SEP] and [PAD] that is the token, None, None and (0, 0).
    """

    def __init__(self, values: Mapping[str, Any], layout: Layout) -> None:
        super().__init__(values)
        self._layout = layout

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        advice = ELSEWHERE.get(name)
        raise AttributeError(advice or f"expected one of {sorted(self)}, got {name!r}.")

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with every tensor on a device."""
        moved = {k: v.to(device) if hasattr(v, "to") else v for k, v in self.items()}
        return Batch(moved, self._layout)

    def _column(
        self, row: int, choose: Callable[[Pieces], Any], special: Mapping[str, Any]
    ) -> list[Any]:
        layout = self._layout
        sample = layout.samples[layout.rows[row].sample]
        texts = [choose(layout.tokenizer.text_pieces(text)) for text in sample if text is not None]
        return layout.fill(layout.rows[row], texts, special)

    def tokens(self, row: int = 0) -> list[str]:
        special = self._layout.tokenizer.special_tokens
        return self._column(row, lambda pieces: pieces.tokens, special)

    def word_ids(self, row: int = 0) -> list[int | None]:
        return self._column(row, lambda pieces: pieces.word_ids, everywhere(None))

    def offsets(self, row: int = 0) -> list[tuple[int, int]]:
        return self._column(row, lambda pieces: pieces.offsets, everywhere((0, 0)))

    # The names and arguments of transformers: a row and a place in it, or the place alone.

    def token_to_sequence(self, row: int, token: int | None = None) -> int | None:
        """0 for a token of the first text, 1 of the second, None of neither."""
        row, token = (0, row) if token is None else (row, token)
        return self.sequence_ids(row)[token]

    def token_to_word(self, row: int, token: int | None = None) -> int | None:
        """The number of a token's word in its text."""
        row, token = (0, row) if token is None else (row, token)
        return self.word_ids(row)[token]

    def token_to_chars(self, row: int, token: int | None = None) -> Span | None:
        """The characters (start, end) of a token in its text."""
        row, token = (0, row) if token is None else (row, token)
        return None if self.sequence_ids(row)[token] is None else self.offsets(row)[token]

    def char_to_token(
        self, row: int, char: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The place of the token that a character of a text belongs to; None for a space."""
        row, char = (0, row) if char is None else (row, char)
        for place, (start, end) in enumerate(self.offsets(row)):
            if start <= char < end and self.sequence_ids(row)[place] == sequence_index:
                return place
        return None

    def char_to_word(
        self, row: int, char: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The number of the word that a character of a text belongs to; None for a space."""
        row, char = (0, row) if char is None else (row, char)
        place = self.char_to_token(row, char, sequence_index)
        return None if place is None else self.word_ids(row)[place]

    def word_to_tokens(
        self, row: int, word: int | None = None, sequence_index: int = 0
    ) -> Span | None:
        """The places (start, end) of a word's tokens."""
        row, word = (0, row) if word is None else (row, word)
        whose = list(zip(self.sequence_ids(row), self.word_ids(row)))
        places = [n for n, both in enumerate(whose) if both == (sequence_index, word)]
        return (places[0], places[-1] + 1) if places else None

    def word_to_chars(
        self, row: int, word: int | None = None, sequence_index: int = 0
    ) -> Span | None:
        """The characters (start, end) of a word."""
        row, word = (0, row) if word is None else (row, word)
        places = self.word_to_tokens(row, word, sequence_index)
        if places is None:
            return None
        offsets = self.offsets(row)[slice(*places)]
        return offsets[0][0], offsets[-1][1]

    def sequence_ids(self, row: int = 0) -> list[int | None]:
        part = self._layout.rows[row]
        texts = [[number] * text.stop for number, text in enumerate(part.parts)]
        return self._layout.fill(part, texts, everywhere(None))
