"""Sentence vectors: losses, data, loop and measures, against sentence-transformers."""

import csv
import dataclasses
import json
import os
import signal

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.sentence_transformer.losses import (
    CosineSimilarityLoss,
    MultipleNegativesRankingLoss,
)

import minibert
from minibert.cli.main import main
from minibert.training import sentences as module
from minibert.training.evaluate_similarity import (
    ranking_scores,
    retrieval_scores,
    similarity_scores,
)
from minibert.training.run_log import read_log
from minibert.training.sentence_data import (
    Column,
    Order,
    Texts,
    read_pairs,
    read_scored,
    read_texts,
)
from minibert.training.sentences import (
    contrastive_loss,
    cosine_loss,
    directions_of,
    teacher_loss,
    train_sentences,
    with_dropout,
)
from minibert.training.settings import SentenceSettings
from minibert.weights.known_models import BUNDLED_FOLDER, SENTENCE_NAME
from minibert.weights.loading import save_weights
from tests.conftest import shared
from tests.parity.twins import TINY, trained_like
from tests.test_bert import WORDS

SHORT = SentenceSettings(
    steps=12, batch_size=8, learning_rate=1e-3, log_every=3, eval_every=6, save_every=4
)
RNG = np.random.default_rng(0)
LINES = [" ".join(RNG.choice(WORDS[5:], size=int(n))) for n in RNG.integers(2, 9, size=40)]
SCORED = Texts([LINES[:20], LINES[20:]], RNG.random(20))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    quiet = dataclasses.replace(TINY, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    save_weights(trained_like(quiet).float(), path)
    (path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    return path


@pytest.fixture(scope="module")
def bert(folder):
    return minibert.load(folder)


@pytest.fixture(scope="module")
def teacher():
    """A vector for each word; a text has the sum."""
    words = dict(zip(WORDS, np.random.default_rng(1).normal(size=(len(WORDS), 24))))
    return np.stack([sum(words[w] for w in line.split()) for line in LINES]).astype(np.float16)


# ---- Losses ----


@pytest.mark.parametrize("columns", [2, 3])
def test_contrast_equals_sentence_transformers(columns):
    embeddings = [torch.randn(7, 20, requires_grad=True) for _ in range(columns)]
    theirs = MultipleNegativesRankingLoss(None).compute_loss_from_embeddings(embeddings, None)
    expected = torch.autograd.grad(theirs, embeddings)
    ours = contrastive_loss(embeddings[0], torch.cat(embeddings[1:]))
    assert abs(ours.item() - theirs.item()) < 1e-6
    for one, other in zip(torch.autograd.grad(ours, embeddings), expected):
        assert (one - other).abs().max() < 1e-6


def test_scored_pairs_equal_sentence_transformers():
    first, second, scores = torch.randn(7, 20), torch.randn(7, 20), torch.rand(7)
    theirs = CosineSimilarityLoss(None).compute_loss_from_embeddings([first, second], scores)
    assert abs(cosine_loss(first, second, scores).item() - theirs.item()) < 1e-6


def test_the_teacher_in_numpy():
    a, b = np.random.default_rng(2).normal(size=(2, 6, 5))
    a_unit, b_unit = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    directions = np.mean([1 - x @ y for x, y in zip(a_unit, b_unit)])
    cosines = np.mean((a_unit @ a_unit.T - b_unit @ b_unit.T) ** 2)
    ours = teacher_loss(torch.from_numpy(a), torch.from_numpy(b), weight=7.0)
    assert abs(ours.item() - directions - 7 * cosines) < 1e-12


def test_directions_keep_what_they_can():
    """Vectors that lie in four dimensions keep their products in four columns, and not in three."""
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 9))
    for width, kept in ((3, False), (4, True), (12, True)):
        narrow = vectors @ directions_of(vectors, width).double().numpy()
        assert narrow.shape == (50, width)
        assert np.allclose(narrow @ narrow.T, vectors @ vectors.T, atol=1e-4) == kept


def test_a_batch_is_the_texts(bert):
    """The vectors of a training batch, padded, are those of `embed`."""
    column = Column.of(LINES, bert.tokenizer, 16)
    rows = np.array([3, 30, 8])
    ours = module.SentenceModel(bert.model)(**column.batch(rows, 0)).detach().numpy()
    theirs = bert.embed([LINES[row] for row in rows])
    assert np.abs(ours - theirs).max() < 1e-5
    assert (column.lengths[rows] != column.lengths[rows].max()).any()
    assert Column.of(["the river bank was a man"], bert.tokenizer, 4).ids.tolist()[-1] == 3


def test_every_pass_reads_every_row_in_an_order_of_its_own():
    order = Order(np.arange(10, 0, -1), size=4, seed=5)
    passes = [np.concatenate([order.rows(3 * n + step) for step in range(3)]) for n in range(2)]
    assert all(sorted(rows.tolist()) == list(range(10)) for rows in passes)
    assert passes[0].tolist() != passes[1].tolist()
    assert order.rows(1).tolist() == passes[0][len(order.rows(0)) :][: len(order.rows(1))].tolist()


# ---- The loop ----

CASES = {
    "teacher": (Texts([LINES]), True, 0.0),
    "two dropouts": (Texts([LINES]), False, 0.1),
    "pairs": (Texts([LINES[:20], LINES[20:]]), False, 0.0),
    "scores": (SCORED, False, 0.1),
}


@pytest.mark.parametrize("case", CASES)
def test_a_stopped_run_equals_an_unbroken_one(bert, teacher, tmp_path, monkeypatch, case):
    texts, taught, dropout = CASES[case]
    start = with_dropout(bert, dropout)
    more = {"teacher": teacher if taught else None, "heldout": SCORED}
    whole = train_sentences(texts, tmp_path / "whole", start, SHORT, **more)
    assert whole.finished and whole.step == 12
    original = module.SentenceRun.loss

    def interrupted(run, rows):
        if run.state.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(run, rows)

    monkeypatch.setattr(module.SentenceRun, "loss", interrupted)
    stopped = train_sentences(texts, tmp_path / "parts", start, SHORT, **more)
    assert (stopped.finished, stopped.step) == (False, 6)
    monkeypatch.undo()
    assert train_sentences(texts, tmp_path / "parts", start, SHORT, **more).finished
    models = [
        (tmp_path / n / "model" / "model.safetensors").read_bytes() for n in ("whole", "parts")
    ]
    assert models[0] == models[1]
    logs = [read_log(tmp_path / n / "log.csv") for n in ("whole", "parts")]
    clock = {"seconds", "tokens_per_second"}
    for one, other in zip(*logs, strict=True):
        assert {k: v for k, v in one.items() if k not in clock} == {
            k: v for k, v in other.items() if k not in clock
        }
    assert "heldout_spearman" in logs[0][1] and "heldout_spearman" not in logs[0][0]


def test_it_learns_and_others_load_it(bert, teacher, tmp_path):
    """The cosines come to be the teacher's; sentence-transformers makes the same vectors."""
    settings = SentenceSettings(steps=100, learning_rate=2e-3, batch_size=20)
    before = [parameter.clone() for parameter in bert.model.parameters()]
    train_sentences(Texts([LINES]), tmp_path / "run", bert, settings, teacher=teacher)
    assert all(map(torch.equal, before, bert.model.parameters())) and bert.model.pooler
    taught = minibert.load(tmp_path / "run" / "model")

    def agreement(model):
        vectors = model.embed(LINES, normalize=True).astype(np.float64)
        above = np.triu_indices(len(LINES), 1)
        wide = teacher.astype(np.float64)
        wide /= np.linalg.norm(wide, axis=1, keepdims=True)
        return np.corrcoef((vectors @ vectors.T)[above], (wide @ wide.T)[above])[0, 1]

    assert agreement(bert) < 0.3 and agreement(taught) > 0.5
    theirs = SentenceTransformer(str(tmp_path / "run" / "model"), device="cpu").encode(LINES)
    assert np.abs(taught.embed(LINES) - theirs).max() < 1e-5
    assert taught.recipe.pooling == "mean" and taught.recipe.normalize
    assert taught.model.pooler is None


def test_two_dropouts_are_two(bert, tmp_path):
    """Without dropout both readings are one, and the loss would be that of a perfect model."""
    with pytest.raises(ValueError, match="read twice under two dropouts, and this model has none"):
        train_sentences(Texts([LINES]), tmp_path / "run", bert, SHORT)
    run = with_dropout(bert, 0.3)
    train_sentences(Texts([LINES]), tmp_path / "run", run, dataclasses.replace(SHORT, steps=1))
    column = Column.of(LINES, bert.tokenizer, 16).batch(Order(np.full(40, 2), 8, 0).rows(0), 0)
    body = module.SentenceModel(bert.model)(**column)
    least = contrastive_loss(body, body).item()
    assert read_log(tmp_path / "run" / "log.csv")[0]["loss"] > least + 1e-3


def test_what_does_not_fit_is_refused(bert, teacher, tmp_path):
    def refused(match, texts, **more):
        with pytest.raises(ValueError, match=match):
            train_sentences(texts, tmp_path / "run", bert, SHORT, **more)

    refused(
        "vector for each of 40 texts, got an array of shape", Texts([LINES]), teacher=teacher[1:]
    )
    refused("texts in one column, got 2", Texts([LINES, LINES]), teacher=teacher)
    refused("scores up to 1.0 .highest_score., got 5", Texts([LINES, LINES], np.full(40, 5.0)))
    refused("two texts or more", Texts([LINES[:1]]), teacher=teacher[:1])
    assert not (tmp_path / "run").exists()
    train_sentences(Texts([LINES]), tmp_path / "run", bert, SHORT, teacher=teacher)
    refused("of another run: texts.teacher", Texts([LINES]), teacher=-teacher)
    refused("of another run: texts.0", Texts([LINES[::-1]]), teacher=teacher)
    other = dataclasses.replace(bert, pretraining=trained_like(bert.config, seed=1).float())
    with pytest.raises(ValueError, match="of another run: start"):
        train_sentences(Texts([LINES]), tmp_path / "run", other, SHORT, teacher=teacher)


# ---- Files ----


def test_tables_are_told_apart(tmp_path):
    def read(name, content):
        (tmp_path / name).write_text(content, encoding="utf-8")
        return read_texts(tmp_path / name)

    assert read("a.txt", 'One, "two"\tthree\nfour\n') == Texts([['One, "two"\tthree', "four"]])
    assert read("a.tsv", "a b\tc\nd\te\n") == Texts([["a b", "d"], ["c", "e"]])
    triples = read("a.csv", '"a, b",c,1\nd,e,no\n')
    assert triples == Texts([["a, b", "d"], ["c", "e"], ["1", "no"]])
    scored = read("s.csv", 'first,second,score\n"a, b",c,2.5\nd,e,1\n')
    assert scored.columns == [["a, b", "d"], ["c", "e"]] and scored.scores.tolist() == [2.5, 1]
    assert read("t.tsv", "a\tb\t3\nc\td\t4\n").scores.tolist() == [3, 4]
    assert scored.header == ("first", "second", "score")
    assert read("u.csv", "src,tgt,closeness\na,b,1\nc,d,2\n").header[2] == "closeness"
    for name, content, said in (
        ("b.tsv", "a\tb\nc\n", "b.tsv, line 2: expected a text a line"),
        ("c.tsv", "a\tb\nc\t \n", "line 2"),
        ("d.csv", "a,b,c,d\n", "a header that says which columns these are, such as sentence1"),
        ("e.txt", "", "is empty"),
        ("f.csv", "\n\n", "expected a text a line"),
        ("n.csv", "a,b,1\nc,d,n/a\ne,f,3\n", "line 2: expected a number as score, got 'n/a'"),
        ("n.csv", "a,b,1\nc,d,nan\n", "line 2: expected a number as score, got 'nan'"),
        ("n.tsv", "a\tb\t2,5\nc\td\t1\n", "line 1: expected a number as score, got '2,5'"),
        ("l.csv", "sentence,label\ngood,1\n", "a score for two texts alone"),
        ("l.csv", "premise,hypothesis,label\na,b,neutral\n", "as score, got 'neutral'"),
        ("l.tsv", "a\tb\tneutral\n" * 20, "column 3 says the same .*'neutral'"),
        ("i.tsv", "1\ta\tb\n2\tc\td\n", "column 1 holds numbers"),
        ("q.csv", "query,question,answer\na,b,c\n", "one column each"),
        ("q.csv", "anchor,negative\na,b\n", "one column each"),
        ("t.txt", "a\tb\nc\td\n", "every line holds '.t': is it a table"),
        ("t.csv", "a;b\nc;d\n", "every line holds ';'"),
        ("t.CSV", "a,b\n", "got a file that ends otherwise"),
        ("j.jsonl", '{"a": "b"}', "expected keys such as anchor and positive"),
        ("j.jsonl", '{"query": "b", "answer": ["c"]}', "line 1: expected a text or a number"),
    ):
        with pytest.raises(ValueError, match=said):
            read(name, content)
    with pytest.raises(ValueError, match="two texts a line, got 2 rows of 2 texts and a score"):
        read_pairs(tmp_path / "t.tsv")
    with pytest.raises(ValueError, match="and a score a line, got 2 rows of one text .no header"):
        read_scored(tmp_path / "a.txt")
    with pytest.raises(FileNotFoundError, match="does not exist: give a text a line"):
        read_texts(tmp_path / "none.txt")


HEADERS = [  # of public data sets, and what is read under them
    ("sentence1,sentence2,score", [0, 1], 2),  # STS, of sentence-transformers
    ("score,sentence_A,sentence_B", [1, 2], 0),  # SICK
    ("index,genre,source1,sentence1,sentence2,score", [3, 4], 5),  # STS-B, of GLUE
    ("id,qid1,qid2,question1,question2,is_duplicate", [3, 4], 5),  # Quora
    ("text1,text2,label", [0, 1], 2),
    ("anchor,positive", [0, 1], None),
    ("negative,Anchor,Positive", [1, 2, 0], None),
    ("query,passage", [0, 1], None),
    ("question,answer,url,date", [0, 1], None),
    ("Sentence", [0], None),
]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize("header, texts, score", HEADERS)
def test_a_header_is_no_pair(tmp_path, header, texts, score, ending):
    names = header.split(",")
    rows = [[f"{name} {n}, said" for name in names] for n in (1, 2)]
    for n, row in enumerate(rows):
        if score is not None:
            row[score] = str(n / 2)
    path = tmp_path / f"table{ending}"
    with path.open("w", encoding="utf-8", newline="") as file:
        if ending == ".jsonl":
            file.writelines(json.dumps(dict(zip(names, row))) + "\n" for row in rows)
        else:
            write = csv.writer(file, "excel-tab" if ending == ".tsv" else "excel")
            write.writerows([names, *rows])
    found = read_texts(path)
    assert found.columns == [[row[place] for row in rows] for place in texts]
    assert (found.scores is None) if score is None else (found.scores.tolist() == [0, 0.5])
    assert found.header == tuple(names[n] for n in [*texts, *([] if score is None else [score])])


# ---- Measures ----


def test_similarity_equals_sentence_transformers(folder, bert):
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

    bert.save(folder.parent / "st")
    theirs = EmbeddingSimilarityEvaluator(*SCORED.columns, SCORED.scores.tolist())(
        SentenceTransformer(str(folder.parent / "st"), device="cpu")
    )
    ours = similarity_scores(bert, SCORED)
    assert abs(ours["spearman"] - theirs["spearman_cosine"]) < 1e-6
    assert abs(ours["pearson"] - theirs["pearson_cosine"]) < 1e-6


def test_rankings_equal_sentence_transformers():
    rng = np.random.default_rng(5)
    rows = [rng.permutation(30)[:10].tolist() for _ in range(25)]
    relevant = [set(rng.choice(30, size=rng.integers(1, 15), replace=False).tolist()) for _ in rows]
    evaluator = InformationRetrievalEvaluator(
        {str(n): "q" for n in range(25)},
        {str(n): "d" for n in range(30)},
        {str(n): {str(row) for row in right} for n, right in enumerate(relevant)},
        precision_recall_at_k=[1, 5, 10],
    )
    hits = [[{"corpus_id": str(r), "score": -n} for n, r in enumerate(found)] for found in rows]
    theirs = evaluator.compute_metrics(hits)
    ours = ranking_scores(rows, relevant)
    for name, k in (("recall", 1), ("recall", 5), ("recall", 10), ("mrr", 10), ("ndcg", 10)):
        assert abs(ours[f"{name}@{k}"] - theirs[f"{name}@k"][k]) < 1e-12, name


def test_a_text_finds_itself(bert):
    scores = retrieval_scores(bert, Texts([LINES, LINES]))
    assert scores["recall@1"] == scores["mrr@10"] == scores["ndcg@10"] == 1.0
    assert scores["queries"] == scores["documents"] == len(set(LINES))


# ---- The model in the box ----


def test_the_model_in_the_box():
    """By its name, as sentence-transformers loads it, and good for what it is there for."""
    bert = minibert.load("minibert-tiny-sentences")
    folder = BUNDLED_FOLDER.with_name(SENTENCE_NAME)
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 12e6
    texts = ["A man is eating food.", "Somebody is having a meal.", "The sky is blue tonight."]
    theirs = SentenceTransformer(str(folder), device="cpu").encode(texts)
    ours = bert.embed(texts)
    assert np.abs(ours - theirs).max() < 2e-3  # they may compute in the file's float16
    assert np.allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)
    assert ours[0] @ ours[1] > 0.5 and abs(ours[0] @ ours[2]) < 0.2


def test_it_is_taken_where_no_model_is_named(capsys, monkeypatch):
    monkeypatch.delenv("MINIBERT_MODEL", raising=False)
    assert main(["similarity", "A cat sat down.", "A kitten was sitting."]) == 0
    out, err = capsys.readouterr()
    assert float(out.split()[0]) > 0.5 and "this is minibert-tiny-sentences" in err
    assert main(["similarity", "-m", "minibert-tiny", "A cat.", "A kitten."]) == 0
    assert "this is" not in capsys.readouterr().err


def test_the_benchmark():
    """The card's figure, on the pairs that people scored."""
    pairs = read_scored(shared("evaluation/stsb/dev.csv"))
    some = Texts([column[::5] for column in pairs.columns], pairs.scores[::5])
    assert similarity_scores(minibert.load("minibert-tiny-sentences"), some)["spearman"] > 0.76


# ---- The commands ----


def test_the_commands(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text("\n".join(LINES))
    pairs = [f"{a}\t{b}\t{s}" for a, b, s in zip(*SCORED.columns, SCORED.scores)]
    (tmp_path / "pairs.tsv").write_text("\n".join(pairs))
    (tmp_path / "queries.tsv").write_text(f"{LINES[0]}\t{LINES[0]}\n{LINES[1]}\t{LINES[2]}\n")
    few = ["--steps", "2", "--batch-size", "8", "--threads", "1"]
    assert main(["embed", "texts.txt", "-m", str(folder), "-o", "teacher.npy"]) == 0
    words = ["train-sentences", "texts.txt", "-m", str(folder), "-o", "run", *few]
    assert main([*words, "--teacher", "teacher.npy", "--eval", "pairs.tsv"]) == 0
    out, err = capsys.readouterr()
    assert "after 2 steps" in out
    assert "pairs.tsv: 20 rows of 2 texts and a score (no header)" in err
    assert main(["evaluate", "run/model", "--sts", "pairs.tsv", "--retrieval", "queries.tsv"]) == 0
    shown = capsys.readouterr().out
    assert "STS, 20 pairs" in shown and "2 queries among 2 documents | recall@1 " in shown
    assert main([*words[:-2], "--dropout", "0.1", "-o", "other", "--threads", "1"]) == 0
    for more, said in (
        (["--teacher", "texts.txt"], "texts.txt is not a .npy file"),
        (["--teacher", "no.npy"], "no.npy does not exist: minibert embed makes one"),
        (["--eval", "texts.txt"], "two texts and a score a line, got 40 rows of one text"),
        (["--learning-rate", "2"], "learning_rate must lie in"),
    ):
        assert main([*words, *more]) == 1
        assert said in capsys.readouterr().err
