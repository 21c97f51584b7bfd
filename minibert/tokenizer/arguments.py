"""What callers of the tokenizer may pass, checked and brought into one form."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

Text = str | Sequence[str]  # a text, or its words

# What callers write -> the strategy; "" does nothing.
PADDING: dict[Any, str] = {
    False: "",
    "do_not_pad": "",
    "": "",
    True: "longest",
    "longest": "longest",
    "max_length": "max_length",
}
TRUNCATION: dict[Any, str] = {
    None: "",
    False: "",
    "do_not_truncate": "",
    "": "",
    True: "longest_first",
    "longest_first": "longest_first",
    "only_first": "only_first",
    "only_second": "only_second",
}


def is_text(value: Any, is_split_into_words: bool) -> bool:
    if not is_split_into_words:
        return isinstance(value, str)
    return isinstance(value, (list, tuple)) and all(isinstance(word, str) for word in value)


def as_samples(texts: Any, pairs: Any, split: bool) -> tuple[list[tuple[Text, Text | None]], bool]:
    """What the caller gave → [(text, text or None)], and whether it was a single sample."""
    if isinstance(texts, (list, tuple)) and not texts:
        raise ValueError("expected at least one text, got an empty list. Leave the call out then.")
    single = is_text(texts, split)
    if single:
        empty = isinstance(pairs, (str, list, tuple)) and not pairs  # counts as none, as in HF
        texts, pairs = [texts], None if pairs is None or empty else [pairs]
    for value in [texts] if pairs is None or isinstance(pairs, str) else [texts, pairs]:
        if not isinstance(value, (list, tuple)):
            raise TypeError(
                f"expected a text or a list of texts, got {type(value).__name__}: {value!r:.60}. "
                "Decode bytes; make a list of a generator or an array."
            )
    if pairs is None and all(isinstance(t, (list, tuple)) and len(t) == 2 for t in texts):
        if all(is_text(part, split) for text in texts for part in text):
            texts, pairs = zip(*texts, strict=True)
    elif isinstance(pairs, str) or (pairs is not None and len(pairs) != len(texts)):
        raise ValueError(
            f"expected a second text for each of the {len(texts)} first ones, got "
            f"{'one text' if isinstance(pairs, str) else len(pairs)}."
        )
    samples = list(zip(texts, pairs or [None] * len(texts), strict=True))
    for number, sample in enumerate(samples):
        for text in sample if pairs else sample[:1]:
            if not is_text(text, split):
                raise TypeError(
                    f"expected {'a list of words' if split else 'a text (str)'} as number {number},"
                    f" got {type(text).__name__}: {text!r:.60}. For texts that are lists of words "
                    "set is_split_into_words=True."
                )
    return samples, single


def strategies(padding: Any, truncation: Any, max_length: int | None) -> tuple[str, str]:
    """The names behind True, False and None; "" for none."""
    if truncation is None and max_length is not None:
        if padding not in (False, "do_not_pad", "max_length"):
            raise ValueError(
                f"max_length={max_length} says neither to cut nor to pad. "
                'Add truncation=True, or padding="max_length".'
            )
        if padding != "max_length":
            warnings.warn("max_length without truncation: cut as by truncation=True.", stacklevel=3)
            truncation = True
    return (
        _strategy("padding", padding, PADDING),
        _strategy("truncation", truncation, TRUNCATION),
    )


def _strategy(name: str, value: Any, strategies: dict[Any, str]) -> str:
    try:
        return strategies[value]
    except (KeyError, TypeError):  # TypeError: a value that no dict can hold, such as a list
        known = tuple(dict.fromkeys(filter(None, strategies.values())))
        raise ValueError(f"expected {name} True, False or one of {known}, got {value!r}.") from None


def check_cutting(stride: int, padding_side: str, truncation_side: str) -> None:
    """Raise ValueError for a stride or a side by which nothing can be cut or padded."""
    if stride < 0:
        raise ValueError(
            f"expected a stride of 0 or more, the pieces that two windows share, got {stride}."
        )
    for name, side in (("padding_side", padding_side), ("truncation_side", truncation_side)):
        if side not in ("left", "right"):
            raise ValueError(f'expected {name} "left" or "right", got {side!r}.')


def with_2019_names(settings: dict[str, Any]) -> dict[str, Any]:
    """Tutorials of 2019 write pad_to_max_length=True, which also cut what was longer."""
    if settings.pop("pad_to_max_length", False):
        return {"padding": "max_length", "truncation": True, **settings}
    return settings


def as_tensor(values: list[Any], kind: str | None) -> Any:
    if kind is None:
        return values
    lengths = {len(row) for row in values if isinstance(row, list)}
    if len(lengths) > 1 or lengths == {0}:
        raise ValueError(
            f"expected rows of one length, and not 0, for a tensor; got lengths {sorted(lengths)}. "
            "Use padding=True, or return_tensors=None for lists."
        )
    if kind == "np":
        import numpy

        return numpy.array(values, dtype=numpy.int64)
    if kind != "pt":
        raise ValueError(f'expected return_tensors "pt", "np" or None, got {kind!r}.')
    import torch

    return torch.tensor(values, dtype=torch.int64)
