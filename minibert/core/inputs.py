"""Pieces -> what the model reads: ids, which sentence each belongs to, and what is padding.

    tokens          [CLS] the river bank [SEP] it was flooded [SEP] [PAD]
    token_type_ids    0    0    0    0     0    1  1     1      1     0
    attention_mask    1    1    1    1     1    1  1     1      1     0

Source: Devlin et al. 2018, section 3 "Input/Output Representations" and figure 2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from minibert.core.rules import basic_tokenize
from minibert.core.wordpiece import wordpiece

SPECIAL_TOKEN = re.compile(r"(\[PAD\]|\[UNK\]|\[CLS\]|\[SEP\]|\[MASK\])")


def pieces_of(text: str, vocab: Mapping[str, int]) -> list[str]:
    """All pieces of a text; special tokens that are typed in it, like [MASK], stay whole.

    >>> pieces_of("Un[MASK]", {"un": 0, "[MASK]": 1})
    ['un', '[MASK]']
    """
    pieces: list[str] = []
    for part in SPECIAL_TOKEN.split(text):
        if SPECIAL_TOKEN.fullmatch(part):
            pieces.append(part)
        else:
            for word in basic_tokenize(part):
                pieces += wordpiece(word, vocab)
    return pieces


def arrange(
    first: Sequence[str], second: Sequence[str] | None = None, length: int | None = None
) -> tuple[list[str], list[int], list[int]]:
    """[CLS] first [SEP] second [SEP] [PAD]... up to `length`, with segments and mask.

    >>> arrange(["a"], ["b"], 6)
    (['[CLS]', 'a', '[SEP]', 'b', '[SEP]', '[PAD]'], [0, 0, 0, 1, 1, 0], [1, 1, 1, 1, 1, 0])
    """
    tokens = ["[CLS]", *first, "[SEP]"]
    segments = [0] * len(tokens)
    if second is not None:
        tokens += [*second, "[SEP]"]
        segments += [1] * (len(second) + 1)
    mask = [1] * len(tokens)
    padding = 0 if length is None else length - len(tokens)
    return tokens + ["[PAD]"] * padding, segments + [0] * padding, mask + [0] * padding


def model_inputs(
    texts: Sequence[str], vocab: Mapping[str, int], pairs: Sequence[str] | None = None
) -> dict[str, list[list[int]]]:
    """Texts, or pairs of texts -> one row each, padded to the longest: the model's arguments.

    >>> vocab = {t: i for i, t in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "river", "##s"])}
    >>> for name, rows in model_inputs(["Rivers", "river"], vocab).items(): print(name, rows)
    input_ids [[2, 4, 5, 3], [2, 4, 3, 0]]
    token_type_ids [[0, 0, 0, 0], [0, 0, 0, 0]]
    attention_mask [[1, 1, 1, 1], [1, 1, 1, 0]]
    """
    firsts = [pieces_of(text, vocab) for text in texts]
    seconds = [None] * len(firsts) if pairs is None else [pieces_of(text, vocab) for text in pairs]
    rows = list(map(arrange, firsts, seconds))
    length = max(len(tokens) for tokens, _, _ in rows)
    rows = [arrange(*pair, length) for pair in zip(firsts, seconds, strict=True)]
    return {
        "input_ids": [[vocab[token] for token in tokens] for tokens, _, _ in rows],
        "token_type_ids": [segments for _, segments, _ in rows],
        "attention_mask": [mask for _, _, mask in rows],
    }
