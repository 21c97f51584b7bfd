"""The probe: a tiny BERT and a batch on which no known mistake can hide.

A model fresh from its initialisation hides many mistakes: with every bias 0 and every LayerNorm
weight 1, leaving them out changes nothing. And where two dimensions are equal, a wrong reshape
may pass by luck. So here

* all dimensions differ: 6 texts, 7 tokens, 20 = 4 heads x 5, 61 words; the feed-forward layer has
  80 = 4 x 20, as every BERT has, for some programs take no other size;
* weights, biases and LayerNorm parameters have the sizes of a trained model;
* embeddings are small, as trained ones are, so that a wrong LayerNorm epsilon shows;
* each text has two segments, and paddings are of two lengths, on the right and on the left; the
  first text is padded as well, so that a mask taken from it alone shows;
* everything is float64: the same formula agrees to 1e-12, and the smallest mistake is above 1e-9.

The weights come from a seed through `torch.Generator`, and are rounded to float32, so that a
program in float32 can hold them exactly. Another version of torch may draw other numbers; where
that matters, `minibert diagnose --dump-probe` writes them to files.
"""

import torch
from torch import Tensor, nn

from minibert.core.checks import IGNORE
from minibert.core.config import BertConfig
from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel

# Three texts: 5, 7 and 4 tokens long, each of two segments.
TEXTS = [[2, 11, 3, 56, 3], [2, 17, 43, 8, 3, 29, 3], [2, 35, 3, 3]]
SEGMENTS = [[0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 1]]
LABELS = [[IGNORE, 11, IGNORE, 60, IGNORE], [IGNORE, 5, IGNORE, 8, IGNORE, IGNORE, IGNORE]]
LABELS += [[IGNORE, 21, IGNORE, IGNORE]]
NEXT_SENTENCE_LABELS = [1, 0, 1]
LENGTH = 7


def probe_config(dropout: float = 0.0) -> BertConfig:
    """Sizes of the probe model. Dropout is 0 unless asked for.

    >>> probe_config().head_size
    5
    """
    return BertConfig(
        vocab_size=61,
        hidden_size=20,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=80,
        max_position_embeddings=11,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )


def probe_model(seed: int = 0) -> BertForPreTraining:
    """The reference: minibert's own model with trained-like weights, float64, in eval mode.

    >>> model = probe_model()
    >>> model.bert.embeddings.token.weight.dtype
    torch.float64
    """
    model = BertForPreTraining(BertModel(probe_config()))
    draw(model, seed)
    return model


def draw(model: nn.Module, seed: int) -> None:
    """Give a model weights of the sizes of trained ones, in float64, and put it in eval mode."""
    model.double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            center, deviation = _center_and_deviation(name)
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_((center + deviation * noise).float())


def _center_and_deviation(name: str) -> tuple[float, float]:
    if "embeddings" in name and "norm" not in name:
        return 0.0, 0.05
    if name.endswith("norm.weight"):
        return 1.0, 0.25
    if name == "masked_word.bias":
        return 0.0, 0.5
    return 0.0, 0.3


def probe_batch(left_padding: bool = False) -> dict[str, Tensor]:
    """Three texts (3, 7) with masks, segments and labels; the padding on the right or the left.

    On the left, one real token has the id of [PAD] as well, which tells a mask that was passed
    from one that was guessed from the ids. There the first place of a padded text is padding, so
    the next-sentence head, which reads it, has no label.

    >>> probe_batch()["attention_mask"].sum(dim=1).tolist()
    [5, 7, 4]
    >>> probe_batch(left_padding=True)["attention_mask"][2].tolist()
    [0, 0, 0, 1, 1, 1, 1]
    """
    texts = [list(text) for text in TEXTS]
    if left_padding:
        texts[0][3] = 0

    pairs = NEXT_SENTENCE_LABELS
    if left_padding:
        whole = [len(text) == LENGTH for text in texts]
        pairs = [label if full else IGNORE for label, full in zip(pairs, whole, strict=True)]

    def fill(rows: list[list[int]], filler: int) -> Tensor:
        padding = [[filler] * (LENGTH - len(row)) for row in rows]
        both = zip(padding, rows, strict=True)
        return torch.tensor([pad + row if left_padding else row + pad for pad, row in both])

    return {
        "input_ids": fill(texts, 0),
        "token_type_ids": fill(SEGMENTS, 0),
        "attention_mask": fill([[1] * len(text) for text in texts], 0),
        "labels": fill(LABELS, IGNORE),
        "next_sentence_label": torch.tensor(pairs),
    }


def full_batch() -> dict[str, Tensor]:
    """Both batches in one: texts 0 to 2 padded on the right, 3 to 5 the same on the left.

    >>> full_batch()["input_ids"].shape
    torch.Size([6, 7])
    """
    right, left = probe_batch(), probe_batch(left_padding=True)
    return {name: torch.cat([right[name], left[name]]) for name in right}
