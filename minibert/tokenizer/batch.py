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

if TYPE_CHECKING:
    import torch

    from minibert.tokenizer.tokenizer import Tokenizer


class Row(NamedTuple):
    """Which pieces of which text, or pair of texts, a row holds."""

    sample: int
    parts: tuple[range, ...]


class Layout(NamedTuple):
    """The texts of a batch, and where their pieces stand in its rows."""

    tokenizer: Tokenizer
    samples: list[tuple[Text, Text | None]]
    rows: list[Row]
    template: bool  # [CLS] and [SEP] are there
    width: int  # shorter rows are padded
    side: str

    def sizes(self, row: Row) -> tuple[int, int]:
        """Positions of segment 0 and of segment 1."""
        first, *second = map(len, row.parts)
        if not self.template:
            return first, sum(second)
        return first + 2, sum(length + 1 for length in second)

    def pad(self, values: list[Any], filler: Any) -> list[Any]:
        padding = [filler] * (self.width - len(values))
        return values + padding if self.side == "right" else padding + values

    def fill(self, row: Row, texts: Sequence[Any], cls: Any, sep: Any, pad: Any) -> list[Any]:
        """Values of the texts' pieces → values of the row's positions."""
        values = [cls] if self.template else []
        for text, part in zip(texts, row.parts):
            values += text[part.start : part.stop]
            values += [sep] if self.template else []
        return self.pad(values, pad)


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

    def _column(self, row: int, choose: Callable[[Pieces], Any], *template: Any) -> list[Any]:
        layout = self._layout
        sample = layout.samples[layout.rows[row].sample]
        texts = [choose(layout.tokenizer.text_pieces(text)) for text in sample if text is not None]
        return layout.fill(layout.rows[row], texts, *template)

    def tokens(self, row: int = 0) -> list[str]:
        names = self._layout.tokenizer.special_tokens
        template = names["cls_token"], names["sep_token"], names["pad_token"]
        return self._column(row, lambda pieces: pieces.tokens, *template)

    def word_ids(self, row: int = 0) -> list[int | None]:
        return self._column(row, lambda pieces: pieces.word_ids, None, None, None)

    def offsets(self, row: int = 0) -> list[tuple[int, int]]:
        return self._column(row, lambda pieces: pieces.offsets, (0, 0), (0, 0), (0, 0))

    def sequence_ids(self, row: int = 0) -> list[int | None]:
        part = self._layout.rows[row]
        texts = [[number] * text.stop for number, text in enumerate(part.parts)]
        return self._layout.fill(part, texts, None, None, None)
