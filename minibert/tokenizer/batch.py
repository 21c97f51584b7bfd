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
from minibert.tokenizer.pieces import Pieces
from minibert.tokenizer.vocabulary import SPECIAL_TOKENS

if TYPE_CHECKING:
    import torch

    from minibert.tokenizer.tokenizer import Tokenizer


def everywhere(value: Any) -> dict[str, Any]:
    """The same value for each special token."""
    return dict.fromkeys(SPECIAL_TOKENS, value)


class Row(NamedTuple):
    """Which pieces of which text, or pair of texts, a row holds."""

    sample: int
    parts: tuple[range, ...]


class Template(NamedTuple):
    """What stands around the texts A and B: before, A, after, and between, B, after for a pair.

    Names of special tokens, as in `SPECIAL_TOKENS`.

    >>> BERT_TEMPLATE.length(1), BERT_TEMPLATE.length(2), Template().length(2)
    (2, 3, 0)
    """

    before: Sequence[str] = ()
    after: Sequence[str] = ()
    between: Sequence[str] = ()

    def length(self, texts: int) -> int:
        """The number of special tokens in a row of one text, or of two."""
        return len(self.before) + len(self.after) * texts + len(self.between) * (texts - 1)


BERT_TEMPLATE = Template(before=("cls_token",), after=("sep_token",))  # [CLS] A [SEP] B [SEP]


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
        raise AttributeError(f"expected one of {sorted(self)}, got {name!r}.")

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

    def sequence_ids(self, row: int = 0) -> list[int | None]:
        part = self._layout.rows[row]
        texts = [[number] * text.stop for number, text in enumerate(part.parts)]
        return self._layout.fill(part, texts, everywhere(None))
