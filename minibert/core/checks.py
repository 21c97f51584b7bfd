"""What BERT refuses to read, said in words before it becomes an index error or a NaN.

Each message tells what was expected, what was got, and what to do. The checks look at the
values, so on a GPU each call waits for them; under `torch.compile` they are left out.
"""

import warnings

import torch
from torch import Tensor

from minibert.core.config import BertConfig

IGNORE = -100  # a label at which no loss is taken

_NO_DECODER = "BERT as published has no decoder, and so nothing to keep between calls"

# What other libraries' models take, and what to do here instead.
ELSEWHERE = {
    "inputs_embeds": (
        "give input_ids, and let a forward hook on model.embeddings.token return other vectors"
    ),
    "head_mask": (
        "let a forward hook on the probabilities of a block's attention "
        "(model.encoder.blocks[0].attention.probabilities) scale its heads, and ask for "
        "output_attentions=True"
    ),
    "return_dict": "leave it out: an output is a named tuple, and output['name'] works as well",
    "encoder_hidden_states": "BERT as published reads one text or pair and has no decoder",
    "past_key_values": _NO_DECODER,
    "resize_token_embeddings": (
        "use a row that the vocabulary keeps free, such as [unused0]; or let transformers add the "
        "token and resize (add_tokens, resize_token_embeddings, save_pretrained), and load that"
    ),
    "get_input_embeddings": "model.embeddings.token holds the rows of the tokens",
    "use_cache": _NO_DECODER,
}


def refuse_arguments(others: dict[str, object]) -> None:
    """Raise TypeError for arguments that forward does not know, with the way to go instead.

    >>> refuse_arguments({"offset_mapping": []})
    Traceback (most recent call last):
    ...
    TypeError: BERT reads no offset_mapping: take it out of the batch, which ...
    """
    for name in others:
        advice = "take it out of the batch, which needs input_ids, attention_mask, token_type_ids"
        raise TypeError(f"BERT reads no {name}: {ELSEWHERE.get(name, advice)}")


def check_inputs(
    config: BertConfig,
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    token_type_ids: Tensor | None = None,
    position_ids: Tensor | None = None,
) -> None:
    """Raise TypeError or ValueError for ids, segments, positions or masks that do not fit."""
    if torch.compiler.is_compiling():
        return
    _check_ids(
        "input_ids", input_ids, None, config.vocab_size, "is the tokenizer this model's own?"
    )
    T, limit = input_ids.shape[1], config.max_position_embeddings
    if position_ids is not None:
        _check_ids("position_ids", position_ids, input_ids, limit, "there is no further position")
    elif T > limit:
        raise ValueError(
            f"expected at most {limit} tokens (BERT has learned no further positions), got {T}: "
            f"truncate (truncation=True), or cut the text into windows (stride=...)"
        )
    if token_type_ids is not None:
        advice = "0 is the first sentence, 1 the second"
        _check_ids("token_type_ids", token_type_ids, input_ids, config.type_vocab_size, advice)
    if attention_mask is None:
        if config.pad_token_id is not None and bool((input_ids == config.pad_token_id).any()):
            warnings.warn(
                "input_ids hold [PAD], but there is no attention_mask: padding will be read as "
                "text. Pass the mask: model(**tokenizer(texts))",
                stacklevel=5,
            )
        return
    _check_tensor("attention_mask", attention_mask)
    B = len(input_ids)
    if attention_mask.shape not in (input_ids.shape, (B, T, T)):
        raise ValueError(
            f"attention_mask must have the shape of input_ids, expected {tuple(input_ids.shape)}, "
            f"or {(B, T, T)} with a row for each reading token, got {tuple(attention_mask.shape)}"
        )
    if not bool(((attention_mask == 0) | (attention_mask == 1)).all()):
        raise ValueError(
            "attention_mask must hold 1 (read) and 0 (padding) alone, got other values: an "
            "additive mask (0 and -10000) is made inside the model, pass the plain one"
        )
    reads = (attention_mask != 0).any(dim=-1)
    if attention_mask.dim() == 3:  # a token that nobody reads is padding, and may read nothing
        reads |= (attention_mask == 0).all(dim=1)
    if not bool(reads.all()):
        row = ", token ".join(map(str, reads.logical_not().nonzero()[0].tolist()))
        raise ValueError(
            f"attention_mask hides every token of row {row}: there is nothing to read. Leave "
            f"empty texts out, or keep their [CLS] and [SEP]"
        )


def _check_tensor(name: str, value: Tensor) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name} must be a tensor, got {type(value).__name__}: use torch.tensor(...)"
        )


def _check_ids(name: str, ids: Tensor, like: Tensor | None, limit: int, advice: str) -> None:
    _check_tensor(name, ids)
    if ids.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"{name} must be whole numbers (torch.int64), got {ids.dtype}")
    if like is not None and ids.shape != like.shape:
        raise ValueError(
            f"{name} must have the shape of input_ids, expected {tuple(like.shape)}, "
            f"got {tuple(ids.shape)}"
        )
    if ids.dim() != 2 or ids.numel() == 0:
        raise ValueError(f"{name} must have the shape (batch, tokens), got {tuple(ids.shape)}")
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= limit:
        wrong = low if low < 0 else high
        raise ValueError(f"{name} must lie in 0..{limit - 1}, got {wrong}: {advice}")


def check_labels(name: str, labels: Tensor, logits: Tensor | None) -> Tensor:
    """Refuse labels that do not fit the logits (..., classes); gives the logits back."""
    if logits is None:
        raise ValueError(f"{name} given, but this model has no head that predicts them")
    _check_tensor(name, labels)
    if labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"{name} must have the shape {tuple(logits.shape[:-1])}, got {tuple(labels.shape)}"
        )
    if labels.dtype != torch.int64:
        raise TypeError(f"{name} must be whole numbers (torch.int64), got {labels.dtype}")
    classes, labelled = logits.shape[-1], labels[labels != IGNORE]
    if labelled.numel() == 0:
        raise ValueError(f"{name} are all {IGNORE}: there is no place to take a loss at")
    if bool((labelled < 0).any()) or bool((labelled >= classes).any()):
        raise ValueError(f"{name} must be {IGNORE} (ignored) or lie in 0..{classes - 1}")
    return logits
