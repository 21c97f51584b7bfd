"""Rung 6 for the models of tasks: every known mistake of theirs, put in alone, must be seen.

What a model reads and learns from is held to transformers' tokenizer and class, with labels after
the recipes of its examples; tags to the class too, spans to a plain search over all windows. Would
miss: what only long training shows.
"""

import dataclasses
from functools import partial

import pytest
import torch
import transformers

from minibert.core.checks import IGNORE
from minibert.diagnosis import functions
from minibert.diagnosis.catalogue.all import CATALOGUE
from minibert.diagnosis.catalogue.mistake import override
from minibert.tasks.questions import Answer, Answers, BertReader, Question
from minibert.tasks.task import Row, ask, batch_of
from minibert.tasks.tokens import BertTagger
from minibert.tokenizer.tokenizer import Tokenizer
from tests.parity import test_task_heads as heads
from tests.tasks import test_questions as spans
from tests.tasks.conftest import SENTENCES, WORDS, model_of

MISTAKES = [each for each in CATALOGUE.values() if each.part == "task"]
OF_FUNCTION = {"token_labels": "BertTagger", "best_span": "BertReader"}
DOC_STRIDE = 8
TOKENIZER = Tokenizer(heads.WORDS, model_max_length=24)


def made(name):
    """As test_task_heads, but answers are the last word, which later windows hold."""
    model, data = heads.made(name)
    if name == "questions":
        model.spans = dataclasses.replace(model.spans, doc_stride=DOC_STRIDE)
        starts = [one.context.rindex(" ") + 1 for one in data]
        data = [
            one._replace(answers=[(one.context[start:], start)] if one.answers else [])
            for one, start in zip(data, starts)
        ]
    return model, data


# ---- What is right, by transformers ----


@pytest.fixture(scope="module")
def theirs():
    return transformers.BertTokenizer(vocab={word: n for n, word in enumerate(heads.WORDS)})


def rows_by(theirs, name, data) -> list[Row]:
    """The first rows of a task, tokenized and labelled by transformers."""
    rows = []
    for number in range(12):
        if name == "questions":
            rows += windows_by(theirs, number, data[number])
        elif name == "choices":
            pairs = [(data[number].context, option) for option in data[number].options]
            batch = theirs(pairs, truncation=True, max_length=heads.LENGTH)
            label = len(pairs), data[number].label
            rows.append(Row(number, batch["input_ids"], batch["token_type_ids"], label))
        elif name == "tokens":
            batch = theirs(data.sentences[number], is_split_into_words=True)
            label, last = [], None
            for word in batch.word_ids():
                is_first = word is not None and word != last
                label.append(data.labels[number][word] if is_first else IGNORE)
                last = word
            rows.append(Row(number, [batch["input_ids"]], [batch["token_type_ids"]], label))
        else:
            text = data.texts[number]
            texts = [text] if isinstance(text, str) else text
            batch = theirs(*texts, truncation=True, max_length=heads.LENGTH)
            inputs = [batch["input_ids"]], [batch["token_type_ids"]]
            rows.append(Row(number, *inputs, data.labels[number]))
    return rows[:12]


def windows_by(theirs, number, example) -> list[Row]:
    room = heads.LENGTH - len(theirs(example.question)["input_ids"]) - 1
    batch = theirs(
        example.question,
        example.context,
        truncation="only_second",
        max_length=heads.LENGTH,
        stride=max(0, room - DOC_STRIDE),
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    rows = []
    for window, ids in enumerate(batch["input_ids"]):
        label = 0, 0
        inside = [n for n, which in enumerate(batch.sequence_ids(window)) if which == 1]
        offsets = batch["offset_mapping"][window]
        for text, start in example.answers:
            end = start + len(text)
            if offsets[inside[0]][0] <= start and offsets[inside[-1]][1] >= end:
                label = (
                    max(n for n in inside if offsets[n][0] <= start),
                    min(n for n in inside if offsets[n][1] >= end),
                )
        rows.append(Row(number, [ids], [batch["token_type_ids"][window]], label))
    return rows


@pytest.fixture(scope="module")
def expected(theirs):
    """Of each task the logits and the loss of transformers' class."""
    numbers = {}
    for name in heads.EXAMPLES:
        model, data = made(name)
        inputs = heads.theirs_of(name, rows_by(theirs, name, data), TOKENIZER)
        with torch.no_grad():
            output = heads.twin_of(model)(**inputs)
        numbers[name] = heads.flat_logits(name, output), output.loss
    return numbers


def trains_alike(name, model, data, expected) -> bool:
    """Whether logits and loss are those of transformers, to 1e-12."""
    rows = model.rows(TOKENIZER, data, heads.LENGTH)[:12]
    with torch.no_grad():
        logits = model(**batch_of(rows, TOKENIZER.pad_id, model.device))
        loss = model.loss(logits, [row.label for row in rows])
    pairs = zip((logits, loss), expected[name])
    return all(a.shape == b.shape and bool((a - b).abs().max() <= 1e-12) for a, b in pairs)


def tags_by(theirs, model, sentences) -> list[list[str]]:
    twin = heads.twin_of(model)
    tags = []
    for sentence in sentences:
        batch = theirs(sentence, is_split_into_words=True, return_tensors="pt")
        best = twin(**batch).logits[0].argmax(-1).tolist()
        words = batch.word_ids()
        firsts = [words.index(word) for word in range(len(sentence))]
        tags.append([model.classes[best[place]] for place in firsts])
    return tags


@pytest.fixture(scope="module")
def searched():
    """Questions with windows, accents and marks; what a plain search answers."""
    torch.manual_seed(0)
    tokenizer = Tokenizer(WORDS, model_max_length=512)
    model = model_of(BertReader)
    model.spans = spans.SETTINGS
    marked = Question("marked", "who?", "the e\u0301te\u0301 was (in) the rivers, and a river.")
    short = [Question(text, "who?", text[:30]) for text in SENTENCES[:40]]
    data = [*spans.questions(30), marked, *short]
    return tokenizer, data, [spans.plain_search(model, tokenizer, one)[0] for one in data]


def answers_alike(searched, spoil, *, one_window: bool) -> bool:
    tokenizer, data, expected = searched
    torch.manual_seed(0)
    model = model_of(BertReader)
    model.spans = spans.SETTINGS
    counts = [len(model.rows(tokenizer, [one], spans.LENGTH)) for one in data]
    spoil(model)
    said = [one.best.text for one in ask(model, tokenizer, data, spans.LENGTH)]
    return all(
        a == b
        for a, b, count in zip(said, expected, counts, strict=True)
        if count == 1 or not one_window
    )


# ---- A function of the exercises in the model's place ----


def put_labels(model, function) -> None:
    def rows(right, tokenizer, data, *arguments):
        result = []
        for row in right(tokenizer, data, *arguments):
            words = tokenizer.text_pieces(data.sentences[row.example]).word_ids
            of_token = [None if place is None else words[place] for place in row.places]
            label = function(of_token, data.labels[row.example])
            result.append(row._replace(label=label))
        return result

    override(model, "rows", rows)


def put_span(model, function) -> None:
    def answers(right, tokenizer, data, rows, logits):
        said = [Answers(Answer("", 0, 0, 0.0), [])] * len(data)
        for row, scores in zip(rows, logits):
            is_text = torch.tensor([int(place is not None) for place in row.places])
            ends = function(*scores.unbind(-1), is_text, model.spans.max_answer_length)
            context = data[row.example].context
            offsets = tokenizer.pieces(context).offsets
            first, last = (row.places[place] for place in ends)
            if first is not None and last is not None:
                text = context[offsets[first][0] : offsets[last][1]]
                said[row.example] = Answers(Answer(text, 0, 0, 0.0), [])
        return said

    override(model, "answers", answers)


def spoiler(mistake):
    if mistake.kind == "task":
        return mistake.apply
    put = put_labels if mistake.replaces == "token_labels" else put_span
    return lambda model: put(model, mistake.change)


# ---- The rung ----


@pytest.mark.rung(6)
def test_without_a_mistake_the_models_of_tasks_are_theirs(theirs, expected, searched):
    for name in heads.EXAMPLES:
        assert trains_alike(name, *made(name), expected), name
    tagger, data = made("tokens")
    tags = tags_by(theirs, tagger, data.sentences)
    assert ask(tagger, TOKENIZER, data, heads.LENGTH) == tags
    put_labels(tagger, functions.token_labels)
    assert trains_alike("tokens", tagger, data, expected)
    assert answers_alike(searched, lambda model: None, one_window=False)
    right = partial(put_span, function=functions.best_span)
    assert answers_alike(searched, right, one_window=True)


@pytest.mark.rung(6)
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda each: each.id)
def test_a_known_mistake_of_a_task_is_caught(mistake, theirs, expected, searched):
    kind, spoil = OF_FUNCTION.get(mistake.replaces, mistake.replaces), spoiler(mistake)
    for name, (its_kind, *_) in heads.EXAMPLES.items():
        if its_kind.__name__ == kind:
            model, data = made(name)
            spoil(model)
            if not trains_alike(name, model, data, expected):
                return
    if kind == BertReader.__name__:
        assert not answers_alike(searched, spoil, one_window=mistake.kind == "function")
    else:
        assert kind == BertTagger.__name__, "no comparison with transformers sees this mistake"
        tagger, data = made("tokens")
        tags = tags_by(theirs, tagger, data.sentences)
        spoil(tagger)
        assert ask(tagger, TOKENIZER, data, heads.LENGTH) != tags
