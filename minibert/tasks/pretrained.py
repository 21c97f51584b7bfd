"""What the two pretraining heads say: fill the blank, and does B follow A.

Source: Devlin et al. 2018, section 3.1, tasks 1 and 2.
"""

from typing import NamedTuple

import torch

from minibert.core.heads import BertForPreTraining
from minibert.tokenizer.tokenizer import Tokenizer


class Prediction(NamedTuple):
    """One word for one blank. `probability` is the softmax over the whole vocabulary."""

    token: str
    id: int
    probability: float


def fill_mask(
    model: BertForPreTraining, tokenizer: Tokenizer, text: str, top: int = 5
) -> list[list[Prediction]]:
    """The `top` likeliest words for every [MASK] of `text`, best first; one list per [MASK].

    Raises ValueError if the text has no [MASK], or the weights have no masked-word head.
    """
    if model.masked_word is None:
        raise ValueError(
            "this model has no masked-word head, so it cannot fill blanks: load weights with "
            "heads, such as google-bert/bert-base-uncased"
        )
    words = tokenizer.vocab_size  # the model's table may have unused rows beyond
    if not 1 <= top <= words:
        raise ValueError(f"top must lie in 1..{words}, got {top}")
    batch = tokenizer([text])
    places = (batch["input_ids"][0] == tokenizer.mask_id).nonzero().flatten().tolist()
    if not places:
        raise ValueError(
            "nothing to fill: the text has no [MASK] (in capitals, with brackets), "
            'as in "Paris is the [MASK] of France."'
        )
    with torch.inference_mode():
        logits = model(**batch).prediction_logits[0, places]  # (masks, V)
        best = logits.softmax(dim=-1)[:, :words].topk(top)
    return [
        [
            Prediction(tokenizer.convert_ids_to_tokens([number])[0], number, probability)
            for probability, number in zip(probabilities, numbers, strict=True)
        ]
        for probabilities, numbers in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]


def next_sentence(
    model: BertForPreTraining, tokenizer: Tokenizer, first: str, second: str
) -> float:
    """The probability that `second` followed `first` in the text both come from.

    Raises ValueError if the weights have no next-sentence head.
    """
    if model.next_sentence is None:
        raise ValueError(
            "this model has no next-sentence head: load weights with both heads, such as "
            "google-bert/bert-base-uncased"
        )
    with torch.inference_mode():
        logits = model(**tokenizer([first], [second])).seq_relationship_logits  # (1, 2)
    return float(logits.softmax(dim=-1)[0, 0])  # label 0 is "follows"
