"""What the heads of pretraining say: fill the blank, does B follow A, was this token replaced.

Source: Devlin et al. 2018, section 3.1, tasks 1 and 2; Clark et al. 2020 (replaced tokens).
"""

import warnings
from collections.abc import Sequence
from typing import NamedTuple, overload

import torch
from torch import Tensor

from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel
from minibert.fast.linear import full_float32
from minibert.tokenizer.batch import Batch
from minibert.tokenizer.tokenizer import Tokenizer


class Prediction(NamedTuple):
    """One word for one blank. `probability` is the softmax over the whole vocabulary."""

    token: str
    id: int
    probability: float


def whole_batch(model: BertModel, tokenizer: Tokenizer, texts: Sequence[str], advice: str) -> Batch:
    """One text, or a pair, as a batch of one row, (1, T), on the model's device.

    Raises TypeError for what is no text, and ValueError with the advice if it is longer than the
    model reads.
    """
    for text in texts:
        check_text(text)
    limit = model.config.max_position_embeddings
    batch = tokenizer(*([text] for text in texts), truncation=False, max_length=limit)
    if batch["input_ids"].shape[1] > limit:
        raise ValueError(
            f"expected at most {limit} tokens with [CLS] and [SEP], which is what the model has "
            f"positions for, got {batch['input_ids'].shape[1]}: {advice}"
        )
    return batch.to(next(model.parameters()).device)


def check_text(text: object) -> None:
    """Raises TypeError for what is no text: a list of two would be read as a pair.

    >>> check_text(["one", "two"])
    Traceback (most recent call last):
    TypeError: expected one text (str), got list: ['one', 'two']. Call it once for each text
    """
    if not isinstance(text, str):
        raise TypeError(
            f"expected one text (str), got {type(text).__name__}: {text!r:.60}. Call it once for "
            f"each text"
        )


def check_list(texts: object) -> None:
    """Raises TypeError for what is no list: of a text alone each letter would be one.

    >>> check_list("one")
    Traceback (most recent call last):
    TypeError: expected a list of texts, got str: 'one'
    """
    if isinstance(texts, str | bytes) or not hasattr(texts, "__iter__"):
        raise TypeError(f"expected a list of texts, got {type(texts).__name__}: {texts!r:.60}")


def check_eval(model: BertForPreTraining) -> None:
    """Raises ValueError if any part of the model is in train mode, for dropout blurs answers."""
    if any(module.training for module in model.modules()):
        raise ValueError(
            "the model or a part of it is in train mode, where dropout makes every answer another "
            "one: bert.pretraining.eval()"
        )


def around_masks(
    model: BertModel, tokenizer: Tokenizer, text: str
) -> tuple[dict[str, Tensor], list[int]]:
    """The inputs (1, T) for a text with [MASK]s, and their places.

    Of a text that is too long the part around them is taken, with a warning. Raises ValueError if
    there is no [MASK], or if they lie too far apart.
    """
    check_text(text)
    limit = model.config.max_position_embeddings
    batch: dict[str, Tensor] = tokenizer([text], truncation=False, max_length=limit)
    T = batch["input_ids"].shape[1]
    before, after = len(tokenizer.template.before), len(tokenizer.template.after)
    places = (batch["input_ids"][0] == tokenizer.mask_id).nonzero().flatten().tolist()
    if not places:
        raise ValueError(
            "nothing to fill: the text has no [MASK] (in capitals, with brackets), "
            'as in "Paris is the [MASK] of France."'
        )
    if T > limit:
        room = limit - before - after
        span = places[-1] - places[0] + 1
        if span > room:
            raise ValueError(
                f"the [MASK]s lie {span} tokens apart, and the model reads {room}: give each of "
                f"them with the text around it"
            )
        warnings.warn(
            f"the text has {T} tokens, and the model reads {limit}: those around [MASK] were taken",
            stacklevel=4,
        )
        start = places[0] - (room - span) // 2
        start = min(max(start, before), T - after - room)
        kept = [*range(before), *range(start, start + room), *range(T - after, T)]
        batch = {name: tensor[:, kept] for name, tensor in batch.items()}
        places = [place - start + before for place in places]
    device = next(model.parameters()).device
    return {name: tensor.to(device) for name, tensor in batch.items()}, places


@overload
def fill_mask(
    model: BertForPreTraining,
    tokenizer: Tokenizer,
    text: str,
    top: int = 5,
    targets: Sequence[str] | None = None,
) -> list[list[Prediction]]: ...


@overload
def fill_mask(
    model: BertForPreTraining,
    tokenizer: Tokenizer,
    text: list[str],
    top: int = 5,
    targets: Sequence[str] | None = None,
) -> list[list[list[Prediction]]]: ...


def fill_mask(
    model: BertForPreTraining,
    tokenizer: Tokenizer,
    text: str | list[str],
    top: int = 5,
    targets: Sequence[str] | None = None,
) -> list[list[Prediction]] | list[list[list[Prediction]]]:
    """The `top` likeliest words for every [MASK] of `text`, best first; one list per [MASK].

    A list of texts gets a list of such answers. Of a text that is too long the part around the
    masks is read, with a warning. With `targets` only these words are compared, by their shares of
    the whole vocabulary. Raises TypeError for what is no text, and ValueError if a text
    has no [MASK], the weights have no masked-word head, or the model is in train mode.
    """
    if isinstance(text, list):
        for one in text:
            check_text(one)
        return [fill_mask(model, tokenizer, one, top, targets) for one in text]
    check_fills(model)
    check_top(tokenizer, top)
    ids = None if targets is None else target_ids(tokenizer, targets)
    batch, places = around_masks(model.bert, tokenizer, text)
    with torch.inference_mode(), full_float32(batch["input_ids"].device):
        return likeliest(model(**batch).prediction_logits[0, places], tokenizer, top, ids)


class Filling(NamedTuple):
    """One word for every blank of a text, and the product of their probabilities."""

    tokens: list[str]
    ids: list[int]
    probability: float


def fill_jointly(
    model: BertForPreTraining, tokenizer: Tokenizer, text: str, top: int = 5, beams: int = 10
) -> list[Filling]:
    """The `top` likeliest fillings of all [MASK]s of `text` together, best first.

    `fill_mask` guesses each word as if it knew none of the others. Here the masks are filled from
    left to right, each word given those before it and the masks that are left, and a filling has
    the product of these probabilities. BERT was not trained on whole fillings, so that another
    order would give other numbers. After each mask the `beams` best beginnings are kept: with 1
    the best word is taken each time; the larger, the surer that none is missed.

    Source: Jiang et al. 2020 (X-FACTR), section 4. Raises as `fill_mask`.
    """
    check_fills(model)
    check_top(tokenizer, top)
    if beams < 1:
        raise ValueError(f"beams must be at least 1, got {beams}")
    ids = torch.tensor(sorted(tokenizer.inverse))  # (v,)
    batch, places = around_masks(model.bert, tokenizer, text)
    chosen = torch.empty(1, 0, dtype=torch.long)  # (n, masks that are filled)
    totals = torch.zeros(1, dtype=torch.float64)  # (n,)
    with torch.inference_mode(), full_float32(batch["input_ids"].device):
        for number, place in enumerate(places, 1):
            inputs = {name: tensor.repeat(len(chosen), 1) for name, tensor in batch.items()}
            inputs["input_ids"][:, places[: number - 1]] = chosen.to(inputs["input_ids"].device)
            logits = model(**inputs).prediction_logits[:, place].cpu().double()  # (n, V)
            scores = totals[:, None] + logits.log_softmax(dim=-1)[:, ids]  # (n, v)
            room = top if number == len(places) else beams
            totals, best = scores.flatten().topk(min(room, scores.numel()))
            words = ids[best % len(ids)]
            chosen = torch.cat([chosen[best // len(ids)], words[:, None]], dim=1)
    return [
        Filling([tokenizer.inverse[word] for word in row], row, probability)
        for row, probability in zip(chosen.tolist(), totals.exp().tolist())
    ]


def check_fills(model: BertForPreTraining) -> None:
    """Raises ValueError if the model has no masked-word head, or is in train mode."""
    if model.masked_word is None:
        raise ValueError(
            "this model has no masked-word head, so it cannot fill blanks: load weights with "
            "heads, such as google-bert/bert-base-uncased"
        )
    check_eval(model)


def target_ids(tokenizer: Tokenizer, targets: Sequence[str]) -> list[int]:
    """The ids of some words. Of a word that the vocabulary lacks the first piece is taken, with a
    warning. Raises ValueError for one of which the tokenizer keeps nothing, and if there are none.

    >>> tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "river", "bank"])
    >>> target_ids(tokenizer, ["bank", "river"])
    [6, 5]
    """
    ids = []
    for word in targets:
        number = tokenizer.vocab.get(word)
        if number is None:
            pieces = tokenizer.ids(word)
            if not pieces or pieces[0] == tokenizer.unk_id:
                raise ValueError(
                    f"{word!r} is not in the vocabulary, and no piece of it: choose other targets"
                )
            number = pieces[0]
            if len(pieces) > 1:
                warnings.warn(
                    f"{word!r} is not in the vocabulary, and one [MASK] is one piece: "
                    f"{tokenizer.inverse[number]!r} is taken for it",
                    stacklevel=4,
                )
        ids.append(number)
    if not ids:
        raise ValueError("expected at least one target, or None for the whole vocabulary")
    return list(dict.fromkeys(ids))


def check_top(tokenizer: Tokenizer, top: int) -> None:
    """Raises ValueError if there are not `top` tokens."""
    if not 1 <= top <= len(tokenizer.inverse):
        raise ValueError(f"top must lie in 1..{len(tokenizer.inverse)}, got {top}")


def likeliest(
    logits: Tensor, tokenizer: Tokenizer, top: int, ids: Sequence[int] | None = None
) -> list[list[Prediction]]:
    """Scores (n, V) -> for each row the `top` likeliest tokens, of these ids alone if they are
    given, best first."""
    # the model's table may have rows that stand for no token
    ids = sorted(tokenizer.inverse) if ids is None else ids
    best = logits.softmax(dim=-1)[:, ids].topk(min(top, len(ids)))
    return [
        [
            Prediction(tokenizer.inverse[ids[column]], ids[column], probability)
            for probability, column in zip(probabilities, columns, strict=True)
        ]
        for probabilities, columns in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]


def next_sentence(
    model: BertForPreTraining, tokenizer: Tokenizer, first: str, second: str
) -> float:
    """The probability that `second` followed `first` in the text both come from.

    Raises TypeError for what is no text, and ValueError if the weights have no next-sentence head,
    the pair is too long, or the model is in train mode.
    """
    if model.next_sentence is None:
        raise ValueError(
            "this model has no next-sentence head: load weights with both heads, such as "
            "google-bert/bert-base-uncased"
        )
    check_eval(model)
    advice = "shorten the first text at its start and the second at its end; where they meet counts"
    batch = whole_batch(model.bert, tokenizer, (first, second), advice)
    with torch.inference_mode(), full_float32(batch["input_ids"].device):
        logits = model(**batch).seq_relationship_logits  # (1, 2)
    return float(logits.softmax(dim=-1)[0, 0])  # label 0 is "follows"


def replaced_tokens(
    model: BertForPreTraining, tokenizer: Tokenizer, text: str
) -> list[tuple[str, float]]:
    """(token, the probability that it was put in the place of another) for a whole text.

    Raises TypeError for what is no text, and ValueError if the weights have no replaced-token
    head, the text is too long, or the model is in train mode.
    """
    if getattr(model, "replaced_token", None) is None:
        raise ValueError(
            "this model has no replaced-token head: load a discriminator, such as "
            "google/electra-small-discriminator"
        )
    check_eval(model)
    batch = whole_batch(model.bert, tokenizer, [text], "give the sentence that you look at")
    with torch.inference_mode(), full_float32(batch["input_ids"].device):
        probabilities = model(**batch).logits[0].sigmoid().tolist()  # type: ignore[attr-defined]
    return list(zip(tokenizer.convert_ids_to_tokens(batch["input_ids"][0].tolist()), probabilities))
