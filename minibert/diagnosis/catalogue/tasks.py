"""Known mistakes of the layers of tasks: labels of words, and spans that answer a question."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from minibert.core.checks import IGNORE
from minibert.diagnosis.catalogue.mistake import mistake
from minibert.diagnosis.functions import token_labels

wrong_labels = partial(mistake, "task", kind="function", replaces="token_labels")
wrong_span = partial(
    mistake,
    "task",
    kind="function",
    replaces="best_span",
    hints="""
    ? Which pairs of a first and a last token are answers at all?
    @ Of all pairs in the text that end at their beginning or later, and are not too long.
    ! Give every other pair minus infinity before the largest sum is taken.
    """,
)


@wrong_labels(changes="which pieces")
def all_pieces_labelled(word_ids: Sequence[int | None], labels: Sequence[int]) -> list[int]:
    """Every piece of a word has its label, not the first alone.

    ? How often does a word of three pieces count in the loss?
    @ Look at the second piece of a word.
    ! -100 where the word is that of the token before.
    """
    return [IGNORE if word is None else labels[word] for word in word_ids]


@wrong_labels(changes="which pieces")
def last_piece_labelled(word_ids: Sequence[int | None], labels: Sequence[int]) -> list[int]:
    """The last piece of a word has its label, not the first.

    ? Which piece does the paper give the label to?
    @ Look at the two ends of a word of several pieces.
    ! Compare each token with the one before it, not with the one behind it.
    """
    return token_labels(word_ids[::-1], labels)[::-1]


@wrong_labels(changes="special tokens")
def specials_labelled(word_ids: Sequence[int | None], labels: Sequence[int]) -> list[int]:
    """[CLS], [SEP] and [PAD] have the label 0, so that the loss counts them.

    ? What is there to learn about padding?
    @ Look where word_ids is None.
    ! -100 there, which the loss leaves out.
    """
    right = token_labels(word_ids, labels)
    return [0 if word is None else label for word, label in zip(word_ids, right)]


@wrong_labels(changes="which word")
def labels_by_place(word_ids: Sequence[int | None], labels: Sequence[int]) -> list[int]:
    """The labels are laid along the tokens, as if every word had one piece.

    ? Which token does the fourth word begin at?
    @ All is right up to the first word of two pieces.
    ! labels[word], by the number of the word that the token belongs to.
    """
    row = iter(labels)
    return [IGNORE if word is None else next(row, IGNORE) for word in word_ids]


def _best(totals: Tensor, allowed: Tensor) -> tuple[int, int]:
    return divmod(int(totals.masked_fill(~allowed, -torch.inf).argmax()), len(totals))


def _sums(start_logits: Tensor, end_logits: Tensor, is_text: Tensor) -> tuple[Tensor, Tensor]:
    return start_logits[:, None] + end_logits, (is_text[:, None] * is_text).bool()


@wrong_span(changes="pairs")
def span_ends_apart(
    start_logits: Tensor, end_logits: Tensor, is_text: Tensor, longest: int
) -> tuple[int, int]:
    """The best beginning and the best end are taken each by itself."""
    hidden = is_text == 0
    starts, ends = (x.masked_fill(hidden, -torch.inf) for x in (start_logits, end_logits))
    return int(starts.argmax()), int(ends.argmax())


@wrong_span(changes="order")
def span_may_end_before_its_start(
    start_logits: Tensor, end_logits: Tensor, is_text: Tensor, longest: int
) -> tuple[int, int]:
    """An answer may end before it begins."""
    totals, allowed = _sums(start_logits, end_logits, is_text)
    return _best(totals, allowed.tril(longest - 1))


@wrong_span(changes="length")
def span_of_any_length(
    start_logits: Tensor, end_logits: Tensor, is_text: Tensor, longest: int
) -> tuple[int, int]:
    """An answer may have any length."""
    totals, allowed = _sums(start_logits, end_logits, is_text)
    return _best(totals, allowed.triu())


@wrong_span(changes="length")
def span_one_too_long(
    start_logits: Tensor, end_logits: Tensor, is_text: Tensor, longest: int
) -> tuple[int, int]:
    """An answer may have one token more than allowed.

    @ The last token counts: from token 5 to token 7 there are three.
    """
    totals, allowed = _sums(start_logits, end_logits, is_text)
    return _best(totals, allowed.triu().tril(longest))


@wrong_span(changes="text")
def span_of_the_question(
    start_logits: Tensor, end_logits: Tensor, is_text: Tensor, longest: int
) -> tuple[int, int]:
    """An answer may lie in the question, or be [CLS]."""
    totals = start_logits[:, None] + end_logits
    return _best(totals, torch.ones_like(totals, dtype=torch.bool).triu().tril(longest - 1))


@wrong_span(changes="window")
def span_counted_from_the_text(
    start_logits: Tensor, end_logits: Tensor, is_text: Tensor, longest: int
) -> tuple[int, int]:
    """The places are counted from the beginning of the text, not of the row.

    ? What stands at place 0 of a row?
    @ Both numbers are too small by what stands before the text: [CLS], question, [SEP].
    ! Give the places in the row.
    """
    totals, allowed = _sums(start_logits, end_logits, is_text)
    first, last = _best(totals, allowed.triu().tril(longest - 1))
    before = int(is_text.argmax())
    return first - before, last - before
