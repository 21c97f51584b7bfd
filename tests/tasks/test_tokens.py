"""Entities against transformers' pipeline; tags and their score against seqeval; files."""

import re

import numpy as np
import pytest
import torch
import transformers

from minibert.core.checks import IGNORE
from minibert.tasks.measures import entities_of, tag_scores
from minibert.tasks.saved import save_task
from minibert.tasks.task import ask, measure
from minibert.tasks.tokens import (
    AGGREGATIONS,
    BertTagger,
    Tagged,
    read_tagged,
    tag,
    tag_kind,
)
from tests.tasks.conftest import SENTENCES, model_of

CLASSES = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC"]
ODD = [
    "Ça, c'est l'e\u0301te\u0301 à Zürich!",
    "中文 and words.",
    "a",
    "!!!",
    "x" * 130,
    "don't  stop",
    "ﬁne ½",
]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return model_of(BertTagger, classes=CLASSES)


@pytest.fixture(scope="module")
def pipeline(model, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tagger") / "saved"
    save_task(model, tokenizer, folder)
    return transformers.pipeline("token-classification", model=str(folder))


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("count", [20, pytest.param(500, marks=pytest.mark.slow)])
def test_entities_equal_the_pipelines(model, tokenizer, pipeline, aggregation, count):
    sentences = [*ODD, *(SENTENCES * 3)][:count]
    sentences = sentences if count < 500 else [f"{n % 7} {s}" for n, s in enumerate(sentences)]
    assert len(sentences) == count
    ours = tag(model, tokenizer, sentences, aggregation)
    theirs = pipeline(sentences, aggregation_strategy=aggregation, batch_size=1)
    key = "entity" if aggregation == "none" else "entity_group"
    number = 0
    for text, found, expected in zip(sentences, ours, theirs, strict=True):
        assert [(e.label, e.start, e.end) for e in found] == [
            (e[key], e["start"], e["end"]) for e in expected
        ], text
        assert all(e.text == text[e.start : e.end] for e in found)
        scores = [e.score for e in found], [float(e["score"]) for e in expected]
        assert np.allclose(*scores, rtol=0, atol=2e-6), text
        number += len(found)
    assert number > 3 * count


def test_aggregations_differ(model, tokenizer):
    """Or the test above would compare one thing five times."""
    results = [repr(tag(model, tokenizer, SENTENCES[:12], name)) for name in AGGREGATIONS]
    assert len(set(results)) == len(AGGREGATIONS)


def test_a_slow_and_plain_grouping_says_the_same(model, tokenizer):
    """Word after word by hand, for "first"."""
    text = "the rivers was zurichs in"
    [row] = model.rows(tokenizer, Tagged([text], None, CLASSES), 512)
    batch = {"input_ids": torch.tensor(row.ids), "attention_mask": torch.ones(1, row.length).long()}
    with torch.no_grad():
        logits = model(**batch)[0, 1:-1]
    pieces = tokenizer.pieces(text)
    firsts = [n for n, token in enumerate(pieces.tokens) if not token.startswith("##")]
    spans = [(w.start(), w.end()) for w in re.finditer(r"\S+", text)]
    kinds = [tag_kind(CLASSES[int(logits[n].argmax())]) for n in firsts]
    groups = []
    for (prefix, kind), span in zip(kinds, spans, strict=True):
        if groups and prefix != "B" and groups[-1][0] == kind:
            groups[-1] = (kind, groups[-1][1], span[1])
        else:
            groups.append((kind, *span))
    expected = [group for group in groups if group[0] != "O"]
    assert [
        (e.label, e.start, e.end) for e in tag(model, tokenizer, [text], "first")[0]
    ] == expected


def test_a_long_text_is_read_in_windows_and_each_piece_counts_once(model, tokenizer):
    text = " ".join(SENTENCES[:12])
    pieces = tokenizer.pieces(text)
    data = Tagged([text], None, CLASSES)
    rows = model.rows(tokenizer, data, 80)
    assert len(rows) > 3 and max(row.length for row in rows) == 80
    counted = [piece for row in rows for piece in row.places if piece is not None]
    assert counted == list(range(len(pieces.ids)))
    for row in rows:
        for place, piece in enumerate(row.places):
            assert piece is None or row.ids[0][place] == pieces.ids[piece]
    assert tag(model, tokenizer, [text], "simple", 80)[0][-1].end <= len(text)


def test_the_first_piece_of_each_word_is_labelled_and_nothing_else(tokenizer):
    model = model_of(BertTagger, classes=CLASSES)
    data = Tagged([["rivers", "a", "\x00", "in"]], [[1, 2, 3, 4]], CLASSES)
    [row] = model.rows(tokenizer, data, 512)
    tokens = tokenizer.convert_ids_to_tokens(row.ids[0])
    assert tokens == ["[CLS]", "river", "##s", "a", "in", "[SEP]"]
    assert row.label == [IGNORE, 1, IGNORE, 2, 4, IGNORE]
    assert len(ask(model, tokenizer, data)[0]) == 4, "a word without pieces has a tag, too"


def test_padding_changes_no_answer(model, tokenizer):
    texts = SENTENCES[:20]
    together = tag(model, tokenizer, texts, "none")
    for number in (0, 7, 19):
        alone = tag(model, tokenizer, [texts[number]], "none")[0]
        assert [e[:1] + e[2:] for e in alone] == [e[:1] + e[2:] for e in together[number]]


def test_texts_without_anything(model, tokenizer):
    assert tag(model, tokenizer, ["", "\x00", "  "]) == [[], [], []]
    with pytest.raises(ValueError, match="aggregation must be one of none, simple"):
        tag(model, tokenizer, ["a"], "mean")


def test_the_score_is_seqevals():
    metrics = pytest.importorskip("seqeval.metrics", reason="seqeval is in the extra test")
    labelling = pytest.importorskip("seqeval.metrics.sequence_labeling")
    rng = np.random.default_rng(0)
    tags = ["O", "B-A", "I-A", "B-B", "I-B", "E-A", "S-B"]
    for size in (3, 5, 7):
        truth = [list(rng.choice(tags[:size], rng.integers(1, 12))) for _ in range(40)]
        said = [[t if rng.random() < 0.6 else rng.choice(tags[:size]) for t in s] for s in truth]
        truth, said = ([[str(t) for t in s] for s in group] for group in (truth, said))
        ours = tag_scores(said, truth)
        assert ours["f1"] == pytest.approx(metrics.f1_score(truth, said), abs=1e-12)
        assert ours["precision"] == pytest.approx(metrics.precision_score(truth, said), abs=1e-12)
        assert ours["recall"] == pytest.approx(metrics.recall_score(truth, said), abs=1e-12)
        assert ours["accuracy"] == pytest.approx(metrics.accuracy_score(truth, said), abs=1e-12)
        for tagged in truth + said:
            theirs = [
                (kind, first, last + 1) for kind, first, last in labelling.get_entities(tagged)
            ]
            assert entities_of(tagged) == theirs, tagged


def test_parts_of_speech_have_accuracy_alone():
    assert tag_scores([["DET", "NOUN"]], [["DET", "VERB"]]) == {"accuracy": 0.5}


def test_files_in_conlls_form(tmp_path):
    path = tmp_path / "x.conll"
    path.write_text("-DOCSTART- -X- O\n\nAnna NNP B-PER\nran VBD O\n\n\nHere\tO\n  \nx  \t I-PER\n")
    data = read_tagged(path)
    assert data.sentences == [["Anna", "ran"], ["Here"], ["x  "]]
    assert data.classes == ["O", "B-PER", "I-PER"] and data.labels == [[1, 0], [0], [2]]
    for content, message in (
        ("Anna B-PER\nran\n", "line 2: expected a word and its tag, got 'ran'"),
        ("Anna\t\n", "line 1: expected a word and its tag"),
        ("\n\n", "and it has none"),
        ("Anna B-LOC\n", "line 1: expected one of the tags O, B-PER, I-PER, got 'B-LOC'"),
        ("a O\nb O\n", "x.conll: .*at least two different tags, got 'O' alone"),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=message):
            read_tagged(path, data.classes if "LOC" in content else None)
    path.write_text("Anna B-PER\nin O\nLeeds B-LOC\n")
    assert read_tagged(path).classes == ["O", "B-LOC", "B-PER", "I-LOC", "I-PER"]
    with pytest.raises(FileNotFoundError, match="CoNLL"):
        read_tagged(tmp_path / "none")


def test_tags_of_another_model_are_refused(model, tokenizer):
    with pytest.raises(ValueError, match="the model knows the tags O, B-PER.*have O, X"):
        measure(model, tokenizer, Tagged([["a"]], [[0]], ["O", "X"]))
