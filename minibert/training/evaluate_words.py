"""How good is a pretrained BERT at its own task? It guesses the hidden words of held-out text.

The baseline always says the commonest word, or the words' shares; it needs no BERT.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minibert.core.heads import BertForPreTraining
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.training.batches import Examples
from minibert.training.pretrain import evaluate_heldout
from minibert.training.step import PretrainingSums


def held_out_words(
    model: BertForPreTraining, tokenizer: Tokenizer, data: str | Path, rows: int = 2048
) -> dict[str, Any]:
    """Masked-word perplexity and accuracy, and next-sentence accuracy, on held-out rows.

    The baseline knows how often each piece was chosen in training, and nothing else. Raises
    ValueError if the rows were prepared with another vocabulary.
    """
    heldout = Examples(data, "heldout")
    heldout.check_tokenizer(tokenizer)
    sums = PretrainingSums(model, most_hidden=heldout.settings.most_hidden).eval()
    measured = evaluate_heldout(sums, heldout, rows, torch.device("cpu"))
    train = Examples(data).rows
    known = np.bincount(_labels(train[: min(len(train), 100_000)]), minlength=heldout.vocab_size)
    asked = _labels(heldout.rows[:rows])
    shares = (known + 1) / (known + 1).sum()
    return {
        "rows": min(rows, len(heldout)),
        "perplexity": math.exp(measured["heldout_mlm_loss"]),
        "perplexity_of_word_counts": math.exp(-np.log(shares[asked]).mean()),
        "accuracy": measured["heldout_mlm_accuracy"],
        "accuracy_of_commonest": float((asked == known.argmax()).mean()),
        "next_sentence_accuracy": measured["heldout_nsp_accuracy"],
        "next_sentence_chance": 0.5,
    }


def _labels(rows: np.ndarray) -> np.ndarray:
    return rows["labels"][np.arange(rows["labels"].shape[1]) < rows["chosen"][:, None]]
