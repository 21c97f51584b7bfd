"""Answers against a plain search over all windows; SQuAD's files, labels and measures."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from minibert.tasks.measures import squad_scores
from minibert.tasks.questions import (
    Answer,
    BertReader,
    Question,
    answer,
    read_questions,
    write_answers,
)
from minibert.tasks.spans import SpanSettings
from minibert.tasks.task import ask, measure
from tests.tasks.conftest import SENTENCES, model_of

SETTINGS = SpanSettings(doc_stride=13, max_query_length=9, max_answer_length=6)
LENGTH = 48


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = model_of(BertReader, unanswerable=True)
    model.spans = SETTINGS
    return model


def questions(count: int) -> list[Question]:
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        words = " ".join(rng.choice(SENTENCES, rng.integers(1, 3))).split()
        start = int(rng.integers(0, max(1, len(words) - 30)))
        context = " ".join(words[start : start + int(rng.integers(1, 30))])
        asked = " ".join(str(rng.choice(SENTENCES)).split()[: int(rng.integers(1, 6))])
        found.append(Question(str(number), asked, context))
    return found


def plain_search(model, tokenizer, question: Question) -> tuple[str, float]:
    """Every window, every pair of tokens, in loops; written anew from run_squad.py's rules."""
    query = tokenizer.ids(question.question)[: SETTINGS.max_query_length]
    pieces = tokenizer.pieces(question.context)
    room = LENGTH - len(query) - 3
    starts = [0]
    while starts[-1] + room < len(pieces.ids):
        starts.append(starts[-1] + min(room, SETTINGS.doc_stride))
    spans = [(start, min(room, len(pieces.ids) - start)) for start in starts]

    def most_context(which: int, piece: int) -> bool:
        best, best_window = None, None
        for number, (start, length) in enumerate(spans):
            end = start + length - 1
            if not start <= piece <= end:
                continue
            score = min(piece - start, end - piece) + 0.01 * length
            if best is None or score > best:
                best, best_window = score, number
        return best_window == which

    best, null = (-np.inf, ""), np.inf
    for which, (start, length) in enumerate(spans):
        ids = [2, *query, 3, *pieces.ids[start : start + length], 3]
        segments = [0] * (len(query) + 2) + [1] * (length + 1)
        with torch.no_grad():
            scores = model(
                torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids)).long(),
                token_type_ids=torch.tensor([segments]),
            )[0]
        begins, ends = scores[:, 0].tolist(), scores[:, 1].tolist()
        null = min(null, begins[0] + ends[0])
        first = len(query) + 2
        for s in range(length):
            if not most_context(which, start + s):
                continue
            for e in range(s, min(length, s + SETTINGS.max_answer_length)):
                total = begins[first + s] + ends[first + e]
                a, b = pieces.offsets[start + s][0], pieces.offsets[start + e][1]
                if total > best[0]:
                    best = (total, question.context[a:b])
    return best[1], null - best[0]


@pytest.mark.parametrize("count", [12, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("unanswerable", [True, False])
def test_spans_equal_a_plain_search(model, tokenizer, count, unanswerable):
    data = questions(count)
    searched = [plain_search(model, tokenizer, question) for question in data]
    threshold = float(np.median([odds for _, odds in searched]))  # so that half are unanswered
    model.spans = dataclasses.replace(SETTINGS, null_score_diff_threshold=threshold)
    model.unanswerable = unanswerable
    ours = ask(model, tokenizer, data, LENGTH)
    several = len(model.rows(tokenizer, data, LENGTH))
    assert several > 1.5 * count, "many texts need several windows"
    for question, found, (text, odds) in zip(data, ours, searched):
        if unanswerable and found.null_odds > threshold:
            text = ""
        assert found.best.text == text, question
        assert question.context[found.best.start : found.best.end] == text or not text
        if unanswerable:
            assert found.null_odds == pytest.approx(odds, abs=1e-4)
        assert sum(one.probability for one in found.nbest) == pytest.approx(1, abs=1e-9)
        texts = [one.text for one in found.nbest]
        assert len(set(texts)) == len(texts) <= SETTINGS.n_best_size + 1
    answers = {found.best.text == "" for found in ours}
    assert answers == ({True, False} if unanswerable else {False})
    model.unanswerable, model.spans = True, SETTINGS


def test_labels_are_where_the_answer_stands(model, tokenizer):
    context = " ".join(SENTENCES[:6])
    start = context.index(" ", 150) + 1
    text = context[start : context.index(" ", start + 12)]
    [*rows] = model.rows(tokenizer, [Question("q", "who?", context, [(text, start)])], LENGTH)
    offsets = tokenizer.pieces(context).offsets
    holding = 0
    for row in rows:
        first, last = row.label
        pieces = [piece for piece in row.places if piece is not None]
        inside = {n for n, (a, b) in enumerate(offsets) if a < start + len(text) and b > start}
        if inside <= set(pieces):
            holding += 1
            a, b = row.places[first], row.places[last]
            assert context[offsets[a][0] : offsets[b][1]] == text
        else:
            assert row.label == (0, 0)
        assert row.segments[0][row.places.index(pieces[0])] == 1
    assert holding >= 2


def test_one_question(model, tokenizer):
    found = answer(model, tokenizer, "who?", SENTENCES[0], unanswerable=False)
    assert isinstance(found.best, Answer) and found.best.text and found.null_odds is None
    for question, text in (("", "a"), ("who?", " ")):
        with pytest.raises(ValueError, match="and one is empty"):
            answer(model, tokenizer, question, text)
    silent = answer(model, tokenizer, "who?", "\x00", unanswerable=False)
    assert silent.best == Answer("", 0, 0, 0.0)


SQUAD = {
    "data": [
        {
            "title": "x",
            "paragraphs": [
                {
                    "context": "Anna Hall came to Leeds.",
                    "qas": [
                        {"id": "1", "question": "Who came?",
                         "answers": [{"text": "Anna Hall", "answer_start": 0}]},
                        {"id": "2", "question": "Why?", "is_impossible": True, "answers": []},
                    ],
                }
            ],
        }
    ]
}  # fmt: skip


def changed(path: tuple, value) -> dict:
    copy = json.loads(json.dumps(SQUAD))
    place = copy
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return copy


def test_squads_files(model, tokenizer, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(SQUAD))
    data = read_questions(path)
    assert data == [
        Question("1", "Who came?", "Anna Hall came to Leeds.", [("Anna Hall", 0)]),
        Question("2", "Why?", "Anna Hall came to Leeds.", []),
    ]
    write_answers(tmp_path / "out", data, ask(model, tokenizer, data))
    names = ["nbest_predictions.json", "null_odds.json", "predictions.json"]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == names
    files = [json.loads((tmp_path / "out" / name).read_text()) for name in names]
    assert all(set(content) == {"1", "2"} for content in files)
    assert set(files[0]["1"][0]) == {"text", "probability", "start_logit", "end_logit"}
    where = ("data", 0, "paragraphs", 0)
    qa = (*where, "qas", 0)
    for content, message in (
        (changed((*qa, "answers", 0, "answer_start"), 3), "article 1, paragraph 1, question '1'"),
        (changed((*qa, "answers", 0, "text"), "Bob"), "'Bob' at character 0 .* has 'Ann' there"),
        (changed((*where, "context"), None), "article 1, paragraph 1: .*got KeyError 'context'"),
        (changed((*qa, "id"), None), "question None: expected the form of SQuAD"),
        ({"data": []}, "at least one question"),
        ({"version": 1}, "got KeyError 'data'"),
    ):
        path.write_text(json.dumps(content))
        with pytest.raises(ValueError, match=message):
            read_questions(path)
    with pytest.raises(ValueError, match="question e: the text is empty"):
        measure(model, tokenizer, [Question("e", "who?", " ", [])])


@pytest.mark.parametrize(
    ("said", "references", "exact", "f1"),
    [
        ("the Panthers!", ["Panthers"], 100, 100),  # articles, punctuation, case
        ("Panthers of Carolina", ["Carolina Panthers", "the Panthers"], 0, 80),  # the best of two
        ("cat cat", ["cat"], 0, 200 / 3),  # counted twice
        ("", [], 100, 100),  # no answer, and none said
        ("Paris", [], 0, 0),
        ("", ["Paris"], 0, 0),
        ("U.S.", ["us"], 100, 100),
        ("then", ["hen"], 0, 0),  # an article inside a word stays
        ("10-12", ["1012"], 100, 100),
    ],
)
def test_the_traps_of_squads_measure(said, references, exact, f1):
    scores = squad_scores([said], [references])
    assert scores["exact"] == pytest.approx(exact) and scores["f1"] == pytest.approx(f1)


def test_the_measure_tells_the_two_kinds_apart():
    scores = squad_scores(["Paris", "Rome", ""], [["Paris"], [], []])
    assert scores["exact_answerable"] == 100 and scores["exact_unanswerable"] == 50
    assert scores["exact"] == pytest.approx(200 / 3)
