"""The tokenizer that users meet: texts and pairs of texts in, a `Batch` out.

The argument names are those of Hugging Face's tokenizers, and so are the defaults of `encode`,
`encode_plus` and `batch_encode_plus`. Calling the tokenizer pads and makes tensors by default.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from minibert.tokenizer.arguments import (
    Text,
    as_samples,
    as_tensor,
    check_cutting,
    strategies,
    with_2019_names,
)
from minibert.tokenizer.batch import Batch, Layout, Row
from minibert.tokenizer.files import read_tokenizer
from minibert.tokenizer.pieces import Pieces, WordPieceTokenizer
from minibert.tokenizer.truncation import cut

if TYPE_CHECKING:  # torch is imported where tensors are made: `minibert tokenize` starts without
    import torch

_LISTS: dict[str, Any] = {"padding": False, "return_tensors": None}


class Tokenizer(WordPieceTokenizer):
    """The tokenizer that users meet: calling it makes a Batch.

    >>> tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "river", "##s"])
    >>> tokenizer(["rivers", "river"]).input_ids.tolist()
    [[2, 5, 6, 3], [2, 5, 3, 0]]
    """

    _warned = False

    @classmethod
    def from_folder(cls, path: str | os.PathLike[str], **settings: Any) -> Tokenizer:
        """From a model's folder, a `vocab.txt` or a `tokenizer.json`; `settings` as for the class.

        Raises FileNotFoundError, or ValueError that says what in which file is not as expected.
        """
        return cls(**read_tokenizer(path, **settings))

    def explain(self, text: str) -> Any:
        """What each rule did to a text and which prefixes were tried: see `explain.py`."""
        from minibert.tokenizer.explain import explain

        return explain(self, text)

    def text_pieces(self, text: Text) -> Pieces:
        """As `pieces`; of a text given as words, word ids count these and offsets start in each."""
        if isinstance(text, str):
            return self.pieces(text)
        columns: list[list[Any]] = [[], [], [], []]
        for number, word in enumerate(text):
            tokens, ids, offsets, _ = self.pieces(word)
            more: list[list[Any]] = [tokens, ids, offsets, [number] * len(ids)]
            for column, values in zip(columns, more):
                column += values
        return Pieces(*columns)

    def __call__(
        self,
        texts: Text | Sequence[Any],
        text_pairs: Text | Sequence[Any] | None = None,
        *,
        padding: bool | str = True,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | None = "pt",
        is_split_into_words: bool = False,
        add_special_tokens: bool = True,
        padding_side: str = "right",
        truncation_side: str = "right",
        return_token_type_ids: bool = True,
        return_attention_mask: bool = True,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
    ) -> Batch:
        """One text, a list of texts or of pairs → a Batch, (B, T) for each input.

        `truncation` is True or "longest_first", "only_first", "only_second"; nothing is cut without
        it. With `return_overflowing_tokens` what was cut follows in rows of its own, which share
        `stride` pieces; `overflow_to_sample_mapping` says whose they are. `padding` is True (to the
        longest row), "max_length" or False. `return_tensors` is "pt", "np" or None for lists.

        Raises TypeError for what is no text, ValueError for settings that cannot be followed.
        """
        samples, single = as_samples(texts, text_pairs, is_split_into_words)
        padding, truncation = strategies(padding, truncation, max_length)
        check_cutting(stride, padding_side, truncation_side)
        limit = self.model_max_length if max_length is None else max_length
        encoded = [
            [self._encode(text, return_offsets_mapping) for text in sample if text is not None]
            for sample in samples
        ]
        rows: list[Row] = []
        for number, texts in enumerate(encoded):
            lengths = [len(ids) for ids, _ in texts]
            room = limit - (1 + len(lengths) if add_special_tokens else 0)
            if not truncation:
                self._warn_if_too_long(sum(lengths), room, max_length)
                rows.append(Row(number, tuple(map(range, lengths))))
            elif room < 0:
                raise ValueError(
                    f"expected a max_length of {limit - room} or more, which the special tokens "
                    f"take, got {limit}."
                )
            else:
                windowed = return_overflowing_tokens
                parts = cut(lengths, room, truncation, stride, truncation_side, windowed=windowed)
                rows += [Row(number, part) for part in parts]
        layout = Layout(self, samples, rows, add_special_tokens, 0, padding_side)
        sizes = [layout.sizes(row) for row in rows]
        if padding:
            width = limit if padding == "max_length" else max(map(sum, sizes))
            multiple = pad_to_multiple_of or 1
            layout = layout._replace(width=math.ceil(width / multiple) * multiple)
        self._check_template(add_special_tokens, bool(padding))

        def fill(choose: Callable[..., Any], cls: Any, sep: Any, pad: Any) -> list[list[Any]]:
            return [
                layout.fill(row, [choose(*t) for t in encoded[row.sample]], cls, sep, pad)
                for row in rows
            ]

        values: dict[str, Any] = {
            "input_ids": fill(lambda ids, _: ids, self.cls_id, self.sep_id, self.pad_id)
        }
        if return_token_type_ids:
            values["token_type_ids"] = [layout.pad([0] * a + [1] * b, 0) for a, b in sizes]
        if return_attention_mask:
            values["attention_mask"] = [layout.pad([1] * (a + b), 0) for a, b in sizes]
        if return_special_tokens_mask:
            values["special_tokens_mask"] = fill(lambda ids, _: [0] * len(ids), 1, 1, 1)
        if return_offsets_mapping:
            values["offset_mapping"] = fill(lambda _, offsets: offsets, (0, 0), (0, 0), (0, 0))
        if return_length:
            values["length"] = [max(a + b, layout.width) for a, b in sizes]
        if return_overflowing_tokens:
            values["overflow_to_sample_mapping"] = [row.sample for row in rows]
        elif single and return_tensors is None:
            values = {name: value[0] for name, value in values.items()}
        return Batch(
            {name: as_tensor(value, return_tensors) for name, value in values.items()}, layout
        )

    def _warn_if_too_long(self, length: int, room: int, max_length: int | None) -> None:
        if length > room and max_length is None and not self._warned:
            self._warned = True
            warnings.warn(
                f"a text has {length} pieces, and the model takes {room}. Cut it with "
                "truncation=True, or into windows with return_overflowing_tokens=True as well.",
                stacklevel=3,
            )

    def _check_template(self, template: bool, padding: bool) -> None:
        needed = ["cls_token", "sep_token"] if template else []
        if padding:
            needed.append("pad_token")
        missing = [n for n in needed if self.special_tokens[n] not in self.vocab]
        if missing:
            names = " ".join(self.special_tokens[name] for name in missing)
            raise ValueError(
                f"expected {names} in the vocabulary, which does not have it. Use a BERT's "
                "vocabulary, or add_special_tokens=False and padding=False."
            )

    def _encode(self, text: Text, with_offsets: bool) -> tuple[list[int], list[tuple[int, int]]]:
        if not isinstance(text, str):
            pieces = self.text_pieces(text)
            return pieces.ids, pieces.offsets
        return self.ids_and_offsets(text) if with_offsets else (self.ids(text), [])

    def encode(
        self, text: Text, text_pair: Text | None = None, **settings: Any
    ) -> list[int] | torch.Tensor:
        """The ids of one text or pair, by default as a list: see `__call__` for the settings."""
        return self.encode_plus(text, text_pair, **settings)["input_ids"]

    def encode_plus(self, text: Text, text_pair: Text | None = None, **settings: Any) -> Batch:
        """One text or pair, by default as lists and not padded: see `__call__` for the settings."""
        return self(text, text_pair, **{**_LISTS, **with_2019_names(settings)})

    def batch_encode_plus(self, texts: Sequence[Any], **settings: Any) -> Batch:
        """Texts or pairs, by default as lists and not padded: see `__call__` for the settings."""
        return self(texts, **{**_LISTS, **with_2019_names(settings)})
