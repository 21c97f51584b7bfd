"""Known mistakes of whole models of tasks: what they read, what they learn from, how they answer.

Each changes a method of one `TaskModel`, whose class it names in `replaces`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minibert.diagnosis.catalogue.mistake import mistake, override
from minibert.tasks.classification import LABELS, NUMBER, BertClassifier
from minibert.tasks.questions import Answers, BertReader
from minibert.tasks.task import Row, TaskModel
from minibert.tasks.tokens import BertTagger

wrong_classifier = partial(mistake, "task", kind="task", replaces="BertClassifier")
wrong_chooser = partial(mistake, "task", kind="task", replaces="BertChooser")
wrong_tagger = partial(mistake, "task", kind="task", replaces="BertTagger")
wrong_reader = partial(mistake, "task", kind="task", replaces="BertReader")


def each_row(model: TaskModel, change: Callable[[Row], Row]) -> None:
    """Change each of the rows that the model reads."""
    override(model, "rows", lambda rows, *arguments: [change(row) for row in rows(*arguments)])


def loss(model: TaskModel, change: Callable[[Tensor, list[Any]], Tensor]) -> None:
    """Exchange the loss."""
    override(model, "loss", lambda right, logits, labels: change(logits, labels))


def text_before(row: Row) -> Row:
    """[CLS] B [SEP] A [SEP] in place of [CLS] A [SEP] B [SEP]; places and labels move along."""
    ids, segments, order = [], [], list(range(row.length))
    for tokens, kinds in zip(row.ids, row.segments):
        cut = kinds.index(1)
        order = [0, *range(cut, len(tokens)), *range(1, cut)]
        ids.append([tokens[place] for place in order])
        segments.append([0] * (len(tokens) - cut + 1) + [1] * (cut - 1))
    row = row._replace(ids=ids, segments=segments)
    if not row.places:
        return row
    label = tuple(order.index(place) for place in row.label)
    return row._replace(places=[row.places[place] for place in order], label=label)


# ---- Classes of texts ----


class FirstState(nn.Module):
    """The last hidden state of [CLS], as it is."""

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden[:, 0]  # (B, H)


@wrong_classifier(changes="pooler")
def cls_without_pooler(model: TaskModel) -> None:
    """The classifier reads the state of [CLS] itself, without the pooler's dense layer and tanh.

    ? Between which values does each number lie that the classifier reads?
    @ last_hidden_state[:, 0] and pooler_output are not the same.
    ! Give the classifier pooler_output, which next-sentence prediction has trained.
    """
    model.bert.pooler = FirstState()  # type: ignore[assignment]


@wrong_classifier(changes="segments")
def pair_in_one_segment(model: TaskModel) -> None:
    """Both texts of a pair have segment 0.

    ? How does the model tell the last word of A from the first of B?
    @ Look at token_type_ids of a pair.
    ! 0 up to the first [SEP], 1 behind it.
    """
    each_row(model, lambda row: row._replace(segments=[[0] * len(ids) for ids in row.ids]))


@wrong_classifier(changes="loss")
def labels_exclude_each_other(model: BertClassifier) -> None:
    """Several labels of a text share one softmax, as if only one could be true.

    ? May a text have two labels at once, or none?
    @ Look at what turns the scores into probabilities.
    ! A sigmoid for each label, and binary cross-entropy.
    """
    if model.problem_type == LABELS:
        loss(model, lambda logits, labels: F.cross_entropy(logits, _numbers(labels, logits)))


@wrong_classifier(changes="loss")
def number_through_sigmoid(model: BertClassifier) -> None:
    """A number, such as a similarity from 0 to 5, goes through a sigmoid.

    ? Which numbers can the model say?
    @ Regression has no function behind its last layer.
    ! The mean square of score minus number.
    """
    if model.problem_type == NUMBER:
        loss(model, lambda logits, labels: F.mse_loss(logits.sigmoid(), _numbers(labels, logits)))


def _numbers(labels: list[Any], logits: Tensor) -> Tensor:
    return torch.as_tensor(np.stack(labels)).to(logits).reshape(logits.shape)


# ---- Choices ----


@wrong_chooser(changes="loss")
def choices_without_softmax(model: TaskModel) -> None:
    """Each option is judged by itself, right or wrong; there is no softmax over the options.

    ? Do the probabilities of the options of one example add up to 1?
    @ Look at the loss: what does the score of a wrong option do to that of the right one?
    ! Scores as (examples, options), softmax over the options, cross-entropy.
    """

    def change(logits: Tensor, labels: list[Any]) -> Tensor:
        truth = [float(option == right) for count, right in labels for option in range(count)]
        return F.binary_cross_entropy_with_logits(logits, logits.new_tensor(truth))

    loss(model, change)


@wrong_chooser(changes="loss")
def choices_viewed_across(model: TaskModel) -> None:
    """The flat scores become (options, examples), so that options of several examples mix.

    ? Which scores belong to the first example: the first C, or every C-th?
    @ Look at the view of the scores before the softmax.
    ! view(-1, C): the options of one example stand one after another.
    """

    def change(logits: Tensor, labels: list[Any]) -> Tensor:
        truth = torch.tensor([right for _, right in labels])
        return F.cross_entropy(logits.view(-1, len(labels)).T, truth)

    loss(model, change)


@wrong_chooser(changes="order")
def option_before_context(model: TaskModel) -> None:
    """The option stands before the text that it continues.

    ? Which of the two was the second sentence in pretraining?
    @ Look at the ids behind [CLS].
    ! [CLS] text [SEP] option [SEP].
    """
    each_row(model, text_before)


# ---- Words ----


@wrong_tagger(changes="loss")
def padded_labels_counted(model: TaskModel) -> None:
    """Labels are padded with 0, which is a class, so that the loss counts padding.

    ? Which class is the model taught for [PAD]?
    @ A short sentence changes the loss when a longer one joins the batch.
    ! Pad the labels with -100, which the loss leaves out.
    """

    def change(right: Callable[..., Tensor], logits: Tensor, labels: list[Any]) -> Tensor:
        T = logits.shape[1]
        return right(logits, [row + [0] * (T - len(row)) for row in labels])

    override(model, "loss", change)


@wrong_tagger(changes="which pieces answer")
def tag_of_last_piece(model: BertTagger) -> None:
    """A word gets the tag of its last piece, though the first was trained.

    ? Which piece of a word has learned to carry its label?
    @ Look at words of several pieces alone.
    ! Take the scores at the first piece of each word.
    """

    def change(right: Any, tokenizer: Any, data: Any, rows: Any, logits: Any) -> list[list[str]]:
        scores = model.piece_scores(rows, logits)
        said = []
        for number, text in enumerate(data.sentences):
            of_word: dict[int, str] = {}
            for row, word in zip(scores[number], tokenizer.text_pieces(text).word_ids):
                of_word[word] = model.classes[row.argmax()]
            said.append(list(of_word.values()))
        return said

    override(model, "answers", change)


# ---- Answers ----


@wrong_reader(changes="segments")
def question_in_second_segment(model: TaskModel) -> None:
    """The segments are exchanged: 1 for the question, 0 for the text.

    ? Which segment has what stands first?
    @ Look at token_type_ids on both sides of the first [SEP].
    ! 0 for [CLS], the question and its [SEP]; 1 for the text and its [SEP].
    """
    each_row(model, lambda row: row._replace(segments=[[1 - s for s in row.segments[0]]]))


@wrong_reader(changes="order")
def text_before_question(model: TaskModel) -> None:
    """The text stands first, and the question behind it.

    ? What does the model read first?
    @ Look at the ids behind [CLS].
    ! [CLS] question [SEP] text [SEP].
    """
    each_row(model, text_before)


def relabel(model: TaskModel, change: Callable[[Row, int, int], tuple[int, int]]) -> None:
    """Change the label of rows that hold an answer, from its first and its last token."""
    each_row(
        model,
        lambda row: row._replace(label=change(row, *row.label)) if any(row.label) else row,
    )


def _before(row: Row) -> int:
    """How many tokens stand before the text."""
    return next(place for place, piece in enumerate(row.places) if piece is not None)


@wrong_reader(changes="label")
def label_counted_from_the_text(model: TaskModel) -> None:
    """The label's places are counted from the beginning of the text, not of the row.

    ? What stands at place 0 of a row?
    @ Both are too small by what stands before the text: [CLS], question, [SEP].
    ! Add the place at which the text begins in the row.
    """
    relabel(model, lambda row, first, last: (first - _before(row), last - _before(row)))


@wrong_reader(changes="label")
def label_counted_from_the_first_window(model: TaskModel) -> None:
    """In later windows the label's places are those of the whole text, shifted by what is cut off.

    ? At which token of its own row does the answer begin in the second window?
    @ All is right in the first window.
    ! Take off the number of the first piece that the window holds.
    """

    def change(row: Row, first: int, last: int) -> tuple[int, int]:
        cut = row.places[_before(row)] or 0
        return min(first + cut, row.length - 1), min(last + cut, row.length - 1)

    relabel(model, change)


@wrong_reader(changes="label")
def label_ends_behind_the_answer(model: TaskModel) -> None:
    """The end of the label is the token behind the answer.

    ? Is the second place that of the last token, or of the first that no longer belongs?
    @ An answer of one token has two equal places.
    ! The last token of the answer itself.
    """
    relabel(model, lambda row, first, last: (first, min(last + 1, row.length - 1)))


@wrong_reader(changes="missed")
def missed_answer_at_the_window_end(model: TaskModel) -> None:
    """A window without the answer is labelled with its last token, not with [CLS].

    ? What shall the model say of a window that does not hold the answer?
    @ Look at the labels of such windows.
    ! Both places are 0, that of [CLS].
    """
    each_row(
        model,
        lambda row: row if any(row.label) else row._replace(label=(row.length - 2,) * 2),
    )


@wrong_reader(changes="loss")
def start_and_end_exchanged(model: TaskModel) -> None:
    """The first column of the scores is taken for the end, the second for the beginning.

    ? Which of the two outputs learns the beginning?
    @ In published weights the first row of qa_outputs is the beginning.
    ! start_logits, end_logits = logits.unbind(-1)
    """
    override(model, "loss", lambda right, logits, labels: right(logits.flip(-1), labels))


@wrong_reader(changes="windows")
def text_cut_to_one_window(model: TaskModel) -> None:
    """A long text is cut; what stands behind the first window is never read.

    ? What if the answer stands in the last sentence of a long text?
    @ How many rows does a text of 1,000 pieces become?
    ! Windows that begin doc_stride pieces apart.
    """

    def change(rows: Callable[..., list[Row]], *arguments: Any) -> list[Row]:
        first: dict[int, Row] = {}
        for row in rows(*arguments):
            first.setdefault(row.example, row)
        return list(first.values())

    override(model, "rows", change)


@wrong_reader(changes="windows")
def answer_counted_from_its_window(model: TaskModel) -> None:
    """Pieces are counted anew in each window, so that later windows answer with earlier words.

    ? Which piece of the text is the first of the second window?
    @ All is right in the first window.
    ! Add the number of the first piece that the window holds.
    """

    def change(right: Any, tokenizer: Any, data: Any, rows: Any, logits: Any) -> Any:
        counted = [
            row._replace(
                places=[None if p is None else p - row.places[_before(row)] for p in row.places]
            )
            for row in rows
        ]
        parts = list(zip(counted, logits))
        return [best_of(right, tokenizer, data, parts, number) for number in range(len(data))]

    override(model, "answers", change)


@wrong_reader(changes="windows")
def every_window_counts(model: TaskModel) -> None:
    """A piece may begin an answer in each window that holds it, also at the very edge of one.

    ? How much does the model see around the first piece of a window?
    @ Look at pieces that two windows share.
    ! Let a piece begin an answer only in the window in which it has most context.
    """

    def change(right: Any, tokenizer: Any, data: Any, rows: Any, logits: Any) -> Any:
        parts = list(zip(rows, logits))
        return [best_of(right, tokenizer, data, parts, number) for number in range(len(data))]

    override(model, "answers", change)


def best_of(right: Any, tokenizer: Any, data: Any, parts: Any, number: int) -> Answers:
    """The best of the answers that the windows of one question give, each by itself."""
    said = [
        right(tokenizer, [data[number]], [row._replace(example=0)], [scores])[0]
        for row, scores in parts
        if row.example == number
    ]
    return max(said, key=lambda one: one.best.start_logit + one.best.end_logit)


@wrong_reader(changes="offsets")
def offsets_of_normalised_text(model: BertReader) -> None:
    """The answer is cut out of the original text at places that were counted in the normalised one.

    ? How many characters has a text after accents and control characters are gone?
    @ All is right up to the first character that the tokenizer drops or adds.
    ! Let the tokenizer remember where in the original text each piece came from.
    """

    def change(right: Any, tokenizer: Any, data: Any, rows: Any, logits: Any) -> Any:
        return right(Normalised(tokenizer), data, rows, logits)

    override(model, "answers", change)


class Normalised:
    """A tokenizer whose offsets are those in the text that it has normalised."""

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer

    def pieces(self, text: str) -> Any:
        for step in self.tokenizer.steps:
            text = step(text)
        return self.tokenizer.pieces(text)
