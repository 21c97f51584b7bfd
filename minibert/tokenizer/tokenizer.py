"""The tokenizer that users meet: texts and pairs of texts in, a `Batch` out.

The argument names are those of Hugging Face's tokenizers, and so are the defaults of `encode`,
`encode_plus` and `batch_encode_plus`. Calling the tokenizer pads and makes tensors by default.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minibert.tokenizer.arguments import (
    Text,
    as_samples,
    as_tensor,
    check_cutting,
    strategies,
    with_2019_names,
)
from minibert.tokenizer.batch import BERT_TEMPLATE, Batch, Layout, Row, Template, everywhere
from minibert.tokenizer.compiled import post_processor_of
from minibert.tokenizer.families import FILES
from minibert.tokenizer.files import read_tokenizer
from minibert.tokenizer.pieces import PieceEngine, Pieces, Span, WordPieceTokenizer
from minibert.tokenizer.pipeline import Pipeline
from minibert.tokenizer.saving import write_compiled, write_tokenizer
from minibert.tokenizer.truncation import cut
from minibert.tokenizer.vocabulary import as_lists, without_spaces

if TYPE_CHECKING:  # torch is imported where tensors are made: `minibert tokenize` starts without
    import torch

_LISTS: dict[str, Any] = {"padding": False, "return_tensors": None}
_GROWN = (
    "a new token needs a row of the model, too: use one that the vocabulary keeps free, such as "
    "[unused0]; or add it with transformers (add_tokens, resize_token_embeddings, save_pretrained) "
    "and load that folder"
)
ELSEWHERE = {
    "add_tokens": _GROWN,
    "add_special_tokens": _GROWN,
    "pad": "rows are padded where they are made, all at once: tokenizer(texts)",
    "save_pretrained": "save_vocabulary(folder) writes the tokenizer, bert.save(folder) all of it",
    "convert_tokens_to_string": "decode(convert_tokens_to_ids(tokens)) makes a text of tokens",
    "num_special_tokens_to_add": "template.length(1) counts them, length(2) those of a pair",
    "build_inputs_with_special_tokens": "tokenizer(text, text_pair) puts them around the texts",
    "train_new_from_iterator": "minibert train-vocab learns a vocabulary from files",
}


class Tokenizer:
    """The tokenizer that users meet: calling it makes a Batch.

    It has an `engine`, which gives the pieces of a text, that engine's `vocabulary`, and a
    `template`, what stands around a text or a pair. `settings` are those of the engine:
    `WordPieceTokenizer`, or what `engine` makes of `vocab` and them.

    >>> tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "river", "##s"])
    >>> tokenizer(["rivers", "river"]).input_ids.tolist()
    [[2, 5, 6, 3], [2, 5, 3, 0]]
    """

    _warned = False

    def __init__(
        self,
        vocab: Mapping[str, int] | Sequence[str],
        *,
        model_max_length: int = 512,
        template: Template = BERT_TEMPLATE,
        engine: Callable[..., PieceEngine] = WordPieceTokenizer,
        clean_up_tokenization_spaces: bool = False,
        padding_side: str = "right",
        truncation_side: str = "right",
        **settings: Any,
    ) -> None:
        self.engine = engine(vocab, **settings)
        self.vocabulary = self.engine.vocabulary
        self.template = template
        self.clean_up_tokenization_spaces = clean_up_tokenization_spaces
        self.model_max_length = model_max_length
        check_cutting(0, padding_side, truncation_side)
        self.padding_side, self.truncation_side = padding_side, truncation_side

    # What the vocabulary and the engine say.
    vocab = property(attrgetter("vocabulary.vocab"))
    inverse = property(attrgetter("vocabulary.inverse"))
    wordpieces = property(attrgetter("vocabulary.wordpieces"))
    added = property(attrgetter("vocabulary.added"))
    special_tokens = property(attrgetter("vocabulary.special_tokens"))
    special_ids = property(attrgetter("vocabulary.special_ids"))
    unk_id = property(attrgetter("vocabulary.unk_id"))
    pad_id = property(attrgetter("vocabulary.pad_id"))
    cls_id = property(attrgetter("vocabulary.cls_id"))
    sep_id = property(attrgetter("vocabulary.sep_id"))
    mask_id = property(attrgetter("vocabulary.mask_id"))
    vocab_size = property(attrgetter("vocabulary.vocab_size"))
    special_tokens_map = property(attrgetter("vocabulary.special_tokens"))
    all_special_ids = property(lambda self: sorted(self.special_ids))
    all_special_tokens = property(lambda self: self.convert_ids_to_tokens(self.all_special_ids))
    rules = property(attrgetter("engine.rules"))
    steps = property(attrgetter("engine.steps"))
    typed = property(attrgetter("engine.typed"))

    @property
    def settings(self) -> dict[str, Any]:
        """What `tokenizer_config.json` says beside the tokens."""
        settings = {
            **self.engine.settings,
            "clean_up_tokenization_spaces": self.clean_up_tokenization_spaces,
            "model_max_length": self.model_max_length,
            "padding_side": self.padding_side,
            "truncation_side": self.truncation_side,
        }
        return settings if self.template != Template() else {**settings, "template": "none"}

    def __len__(self) -> int:
        return len(self.vocabulary)

    def __repr__(self) -> str:
        return (
            f"Tokenizer({len(self):,} pieces by {type(self.engine).__name__}, "
            f"at most {self.model_max_length:,} tokens)"
        )

    def ids(self, text: str) -> list[int]:
        """The ids of a text, without [CLS] and [SEP]. Raises TypeError, or ValueError (`clean`)."""
        return self.engine.ids(text)

    def ids_and_offsets(self, text: str) -> tuple[list[int], list[Span]]:
        """The ids, and for each the (start, end) of the characters it stands for."""
        return self.engine.ids_and_offsets(text)

    def pieces(self, text: str) -> Pieces:
        """The pieces of a text with their ids, offsets and the numbers of their words."""
        return self.engine.pieces(text)

    def tokenize(self, text: str) -> list[str]:
        """The pieces of a text, as strings."""
        return [self.inverse[number] for number in self.ids(text)]

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """A token's id, or a list of them; that of [UNK] for what the vocabulary lacks."""
        return self.vocabulary.convert_tokens_to_ids(tokens)

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """An id's token, or a list of them, or lists of lists. Raises KeyError, TypeError."""
        return self.vocabulary.convert_ids_to_tokens(ids, skip_special_tokens)

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> Any:
        """Ids → text, rows of ids → texts. The ids are a number, a list, a tensor or an array.

        It is normalised text: case, accents and most of the spacing are gone.
        `clean_up_tokenization_spaces` joins "don ' t" again; None: as the tokenizer was made.
        """
        ids = as_lists(token_ids)
        if isinstance(ids, list) and ids and isinstance(ids[0], list):
            settings = skip_special_tokens, clean_up_tokenization_spaces
            return [self.decode(row, *settings) for row in ids]
        ids = [ids] if isinstance(ids, int) else ids
        text = self.vocabulary.decode(ids, skip_special_tokens)
        tidy = clean_up_tokenization_spaces
        if tidy is None:
            tidy = self.clean_up_tokenization_spaces
        return without_spaces(text) if tidy else text

    def batch_decode(self, sequences: Any, *settings: Any, **named: Any) -> list[str]:
        """As `decode`, and always a list."""
        texts = self.decode(sequences, *settings, **named)
        return [texts] if isinstance(texts, str) else texts

    def get_vocab(self) -> dict[str, int]:
        """Every token with its id."""
        return dict(self.vocab)

    def __getattr__(self, name: str) -> Any:
        """`mask_token`, `mask_token_id` and their like; AttributeError for anything else."""
        vocabulary: Any = self.__dict__.get("vocabulary")
        token = vocabulary and vocabulary.special_tokens.get(name.removesuffix("_id"))
        if token:
            return vocabulary.vocab.get(token) if name.endswith("_id") else token
        raise AttributeError(ELSEWHERE.get(name, f"a Tokenizer has no {name!r}"))

    def save_vocabulary(self, folder: str | os.PathLike[str]) -> None:
        """Write `vocab.txt` and `tokenizer_config.json`, which transformers reads as well.

        Of byte-level BPE and Unigram a `tokenizer.json` is written in the place of `vocab.txt`.
        Google's rules, and no special tokens around a text, are saved, but followed here alone:
        transformers reads on by the reference's rules, and with [CLS] and [SEP].
        """
        added = [token._asdict() for token in self.added.values()]
        settings = {**self.special_tokens, **self.settings}
        if isinstance(self.engine, Pipeline):
            parts = self.engine.to_json()
            trim = parts["decoder"] if self.engine.settings.get("trim_offsets") else None
            around = post_processor_of(self.template, self.special_tokens, self.vocab, trim)
            write_compiled(folder, {**parts, "post_processor": around}, added, settings)
        else:
            write_tokenizer(folder, self.wordpieces, added, settings)

    @classmethod
    def from_folder(
        cls, path: str | os.PathLike[str], *, positions: int | None = None, **settings: Any
    ) -> Tokenizer:
        """From a model's folder, a `vocab.txt` or a `tokenizer.json`; `settings` as for the class.

        `positions` is how many tokens the model can read: `model_max_length` where the files do
        not say, and at most that where they do.

        Raises FileNotFoundError, or ValueError that says what in which file is not as expected.
        """
        stored = read_tokenizer(path, **settings)
        if positions is not None:
            stored["model_max_length"] = min(stored.get("model_max_length", positions), positions)
        try:
            return cls(**stored)
        except ValueError as error:  # of the vocabulary or the engine, which know no files
            files = (Path(path) / name for name in ("tokenizer.json", *FILES))
            file = next((file for file in files if file.is_file()), path)
            raise ValueError(f"{file}: {error}") from None

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
        text: Text | Sequence[Any],
        text_pair: Text | Sequence[Any] | None = None,
        *,
        padding: bool | str = True,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | None = "pt",
        is_split_into_words: bool = False,
        add_special_tokens: bool = True,
        padding_side: str | None = None,
        truncation_side: str | None = None,
        return_token_type_ids: bool | None = None,
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
        longest row), "max_length" or False. `return_tensors` is "pt", "np" or None for lists. The
        sides at which is padded and cut are the tokenizer's own, "right" unless its files say else.
        `return_token_type_ids` None: if the tokenizer's template tells segments apart.

        Raises TypeError for what is no text, ValueError for settings that cannot be followed.
        """
        samples, single = as_samples(text, text_pair, is_split_into_words)
        padding, truncation = strategies(padding, truncation, max_length)
        padding_side = padding_side or self.padding_side
        truncation_side = truncation_side or self.truncation_side
        check_cutting(stride, padding_side, truncation_side)
        limit = self.model_max_length if max_length is None else max_length
        template = self.template if add_special_tokens else Template()
        encoded = [
            [self._encode(part, return_offsets_mapping) for part in sample if part is not None]
            for sample in samples
        ]
        rows: list[Row] = []
        for number, texts in enumerate(encoded):
            lengths = [len(ids) for ids, _ in texts]
            room = limit - template.length(len(lengths))
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
        layout = Layout(self, samples, rows, template, 0, padding_side)
        sizes = [layout.sizes(row) for row in rows]
        if padding:
            width = limit if padding == "max_length" else max(map(sum, sizes))
            multiple = pad_to_multiple_of or 1
            layout = layout._replace(width=math.ceil(width / multiple) * multiple)
        self._check_template(template, bool(padding))

        def fill(choose: Callable[..., Any], special: Mapping[str, Any]) -> list[list[Any]]:
            return [
                layout.fill(row, [choose(*t) for t in encoded[row.sample]], special) for row in rows
            ]

        special_ids = {name: self.vocab.get(token) for name, token in self.special_tokens.items()}
        values: dict[str, Any] = {"input_ids": fill(lambda ids, _: ids, special_ids)}
        segments = self.template.segments
        if segments if return_token_type_ids is None else return_token_type_ids:
            second = int(segments)
            values["token_type_ids"] = [layout.pad([0] * a + [second] * b, 0) for a, b in sizes]
        if return_attention_mask:
            values["attention_mask"] = [layout.pad([1] * (a + b), 0) for a, b in sizes]
        if return_special_tokens_mask:
            values["special_tokens_mask"] = fill(lambda ids, _: [0] * len(ids), everywhere(1))
        if return_offsets_mapping:
            values["offset_mapping"] = fill(lambda _, offsets: offsets, everywhere((0, 0)))
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

    def _check_template(self, template: Template, padding: bool) -> None:
        needed = list(dict.fromkeys([*template.before, *template.between, *template.after]))
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
