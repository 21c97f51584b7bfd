"""Small right answers for steps around the model that are functions of their own.

Some are the library's, put together for one call; masking, its random numbers passed in, and one
step of AdamW are written out here. The exercises are compared with them, and the catalogue holds
the known wrong versions.
"""

import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from minibert.core.checks import IGNORE
from minibert.core.config import BertConfig
from minibert.core.heads import masked_word_loss
from minibert.core.inputs import arrange
from minibert.core.rules import basic_tokenize
from minibert.core.wordpiece import wordpiece
from minibert.vectors.pooling import mean_pool
from minibert.weights.names import name_table

MASK_ID, LAST_SPECIAL = 4, 4  # in the probe's vocabulary, ids 0 to 4 are special tokens


def rename_key(key: str) -> str:
    """A key of a weights file under minibert's name; gamma and beta are old words.

    >>> rename_key("bert.embeddings.LayerNorm.gamma")
    'embeddings.norm.weight'
    """
    key = re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", key.removeprefix("bert.")))
    return name_table(BertConfig())[key]


def mask_tokens(
    input_ids: Tensor, chosen: Tensor, action: Tensor, random_ids: Tensor
) -> tuple[Tensor, Tensor]:
    """Prepare ids (B, T) for masked-word training: (ids, labels). Devlin et al., section 3.1.

    `chosen` and `action` (B, T) are uniform in [0, 1). Of the tokens that are not special,
    those with chosen < 0.15 are to be predicted; of these, action < 0.8 become [MASK], action in
    [0.8, 0.9) become `random_ids`, the others stay. Labels are -100 elsewhere.

    >>> one = torch.tensor([[7, 8]])
    >>> mask_tokens(one, torch.tensor([[0.1, 0.5]]), torch.tensor([[0.3, 0.3]]), one)
    (tensor([[4, 8]]), tensor([[   7, -100]]))
    """
    predicted = (chosen < 0.15) & (input_ids > LAST_SPECIAL)  # (B, T)
    labels = input_ids.masked_fill(~predicted, IGNORE)  # (B, T)
    ids = torch.where(predicted & (action >= 0.8) & (action < 0.9), random_ids, input_ids)
    return ids.masked_fill(predicted & (action < 0.8), MASK_ID), labels


def adamw_step(
    parameter: Tensor, gradient: Tensor, m: Tensor, v: Tensor, step: int
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of AdamW with learning rate 0.01, betas 0.9 and 0.999, eps 1e-8 and decay 0.1.

    `step` counts from 1. Gives (parameter, m, v), new tensors. Loshchilov & Hutter 2019,
    algorithm 2, in the form of torch.optim.AdamW.
    """
    m = 0.9 * m + 0.1 * gradient
    v = 0.999 * v + 0.001 * gradient**2
    direction = (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
    return parameter - 0.01 * direction - 0.01 * 0.1 * parameter, m, v


def token_labels(word_ids: Sequence[int | None], labels: Sequence[int]) -> list[int]:
    """For each token the label of its word if it is the word's first piece, else -100. Devlin et
    al. 2018, section 5.3.

    `word_ids` are the numbers of the tokens' words, None for [CLS], [SEP] and [PAD].

    >>> token_labels([None, 0, 1, 1, None], [3, 7])
    [-100, 3, 7, -100, -100]
    """
    before = [None, *word_ids]
    return [
        IGNORE if word is None or word == last else labels[word]
        for word, last in zip(word_ids, before)
    ]


def best_span(
    start_logits: Tensor, end_logits: Tensor, is_text: Tensor, longest: int
) -> tuple[int, int]:
    """The first and the last token of the answer with the highest sum of scores. Devlin et al.
    2018, section 4.2.

    All three (T,); `is_text` is 1 at the tokens of the text, 0 at [CLS], the question and [SEP].
    An answer lies in the text, ends where it begins or later, and has at most `longest` tokens.

    >>> scores = torch.tensor([9.0, 1.0, 3.0, 2.0]), torch.tensor([9.0, 5.0, 2.0, 1.0])
    >>> best_span(*scores, torch.tensor([0, 1, 1, 1]), 2)
    (1, 1)
    """
    totals = start_logits[:, None] + end_logits[None, :]  # (T, T)
    allowed = (is_text[:, None] * is_text[None, :]).bool()  # (T, T)
    allowed = allowed.triu().tril(longest - 1)  # (T, T)
    best = totals.masked_fill(~allowed, -torch.inf).argmax()
    return divmod(int(best), len(start_logits))


ANSWERS: dict[str, Callable] = {
    "basic_tokenize": basic_tokenize,
    "wordpiece": wordpiece,
    "arrange_pair": arrange,
    "rename_key": rename_key,
    "mask_tokens": mask_tokens,
    "masked_word_loss": masked_word_loss,
    "mean_pool": mean_pool,
    "adamw_step": adamw_step,
    "best_span": best_span,
    "token_labels": token_labels,
}
