"""The measures, each against a slow and plain way to the same number."""

import dataclasses
import json
import tarfile

import numpy as np
import pytest
import torch

from minibert.cli.training import as_table
from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel
from minibert.tasks.labelled import Labelled, read_labelled
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.training.batches import Examples
from minibert.training.evaluate_grammar import grammar, pseudo_log_likelihood
from minibert.training.evaluate_sentiment import bag_of_words, fit_line, sentiment
from minibert.training.evaluate_words import held_out_words
from minibert.training.settings import FinetuneSettings
from minibert.training.wordpiece_trainer import count_words, train_vocabulary
from tests.parity.twins import TINY, trained_like
from tests.training.text_samples import TEXT, prepared

SENTENCES = ["aa bb done.", "bq.", "cc cw ce done aa aa aa", "dd"]


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(train_vocabulary(count_words(TEXT.split("\n")), 61), model_max_length=16)


@pytest.fixture(scope="module")
def model():
    return trained_like(TINY).float()


def test_pseudo_log_likelihood_one_piece_at_a_time(model, tokenizer):
    """Sentences of several lengths in one batch, against one forward per hidden piece."""
    found = pseudo_log_likelihood(model, tokenizer, SENTENCES, batch_size=5)
    for sentence, value in zip(SENTENCES, found):
        ids = tokenizer([sentence])["input_ids"]
        expected = 0.0
        for place in range(1, ids.shape[1] - 1):
            hidden = ids.clone()
            hidden[0, place] = tokenizer.mask_id
            with torch.no_grad():
                logits = model(hidden).prediction_logits[0, place]
            expected += float(logits.log_softmax(-1)[ids[0, place]])
        assert abs(value - expected) < 1e-3


def test_blimp_from_an_archive_and_from_a_folder(model, tokenizer, tmp_path):
    pairs = [
        {"sentence_good": good, "sentence_bad": bad, "field": "syntax"}
        for good, bad in [("aa bb", "bb bb aa done"), ("cc", "cc"), ("aa bb", "bb bb aa done")]
    ]
    (tmp_path / "data").mkdir()
    text = "\n".join(map(json.dumps, pairs)) + "\n"
    (tmp_path / "data" / "first.jsonl").write_text(text)
    with tarfile.open(tmp_path / "blimp.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "data", "data")
    found = grammar(model, tokenizer, tmp_path / "blimp.tar.xz", pairs=2)
    assert found == grammar(model, tokenizer, tmp_path / "data", pairs=2)
    good, bad = pseudo_log_likelihood(model, tokenizer, ["aa bb", "bb bb aa done"])
    assert found["accuracy"] == ((good > bad) + 0.5) / 2, "the tie counts half"
    assert found["pairs"] == 2 and found["fields"] == {"syntax": found["accuracy"]}
    (tmp_path / "empty").mkdir()
    for name, content in (("x.jsonl", "{}"), ("y.jsonl", "3"), ("notes.txt", "no archive")):
        (tmp_path / "empty" / name).write_text(content)
        place = tmp_path / "empty" / (name if name == "notes.txt" else "")
        with pytest.raises(ValueError, match="expected BLiMP's archive, or its folder"):
            grammar(model, tokenizer, place)
        (tmp_path / "empty" / name).unlink()
    with pytest.raises(ValueError, match="expected BLiMP's archive"):
        grammar(model, tokenizer, tmp_path / "empty")
    with pytest.raises(ValueError, match="pairs must be at least 1, got 0"):
        grammar(model, tokenizer, tmp_path / "data", pairs=0)
    assert grammar(model, tokenizer, tmp_path / "data", pairs=2000)["pairs"] == 3


def test_held_out_words(model, tmp_path):
    data = prepared(tmp_path)
    found = held_out_words(model, Tokenizer.from_folder(data), data, rows=30)
    with torch.no_grad():
        batch = Examples(data, "heldout").batch(range(30))
        expected = model(**batch)
        labels = batch["labels"]
        loss = torch.nn.functional.cross_entropy(
            expected.prediction_logits.flatten(0, 1), labels.flatten()
        )
    asked = labels[labels != -100]
    assert found["rows"] == 30 and found["perplexity"] == pytest.approx(float(loss.exp()), rel=1e-4)
    right = (expected.prediction_logits.argmax(-1) == labels).sum() / len(asked)
    assert found["accuracy"] == pytest.approx(float(right))
    counts = torch.ones(61)
    for row in Examples(data).rows:
        for label in row["labels"][: row["chosen"]].tolist():
            counts[label] += 1
    loss = -(counts / counts.sum()).log()[asked].mean()
    assert found["perplexity_of_word_counts"] == pytest.approx(float(loss.exp()), rel=1e-4)
    commonest = (asked == counts.argmax()).float().mean()
    assert found["accuracy_of_commonest"] == pytest.approx(float(commonest))
    assert not model.training, "measuring must not leave dropout on"
    tokens = (data / "vocab.txt").read_text().split()
    tokens[-2:] = tokens[:-3:-1]  # as many, in another order: other ids
    with pytest.raises(ValueError, match="another vocabulary than the model's"):
        held_out_words(model, Tokenizer(tokens), data)
    with pytest.raises(ValueError, match="another vocabulary than the model's"):
        held_out_words(model, Tokenizer.from_folder(data, do_lower_case=False), data)


def test_fit_line_equals_plain_gradient_descent():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(50, 4, generator=generator)
    labels = (features[:, 0] + 0.5 * torch.randn(50, generator=generator) > 0).long()
    weight, bias = fit_line(features, labels, decay=0.1)
    other, shift = torch.zeros(4), torch.zeros(())
    for _ in range(3000):
        error = torch.sigmoid(features @ other + shift) - labels
        other = other - 0.3 * (features.T @ error / 50 + 0.1 * other)
        shift = shift - 0.3 * error.mean()
    assert torch.allclose(weight, other, atol=1e-3) and abs(bias - shift) < 1e-3


@pytest.mark.parametrize("count", [40, 400])
def test_bag_of_words_equals_scikit_learns(tokenizer, count):
    """Its logistic regression with C = 1/2, which weighs the decay against the sum over texts."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(count)
    words = ["aa", "bb", "cc", "dd", "done", "bq", "ce", "cw", "aa bb", "."]

    def draw(number: int) -> tuple[Labelled, np.ndarray]:
        chosen = rng.random((number, len(words))) < 0.3
        labels = (chosen[:, 0] + 0.5 * chosen[:, 3] + rng.normal(0, 0.5, number) > 0.5).astype(int)
        texts = [" ".join(word for word, there in zip(words, row) if there) for row in chosen]
        bags = np.zeros((number, tokenizer.vocab_size))
        for row, text in enumerate(texts):
            bags[row, tokenizer.ids(text)] = 1
        return Labelled(texts, labels, ["bad", "good"]), bags

    (learn, known), (judge, asked) = draw(count), draw(500)
    theirs = linear_model.LogisticRegression(C=0.5, tol=1e-8).fit(known, learn.labels)
    assert 0.6 < theirs.score(asked, judge.labels) < 0.95
    assert bag_of_words(tokenizer, learn, judge) == theirs.score(asked, judge.labels)


def test_sentiment_of_words_that_tell_it(tokenizer, model, tmp_path):
    """Bags of words find it at once; the majority is what it is; spreads are over the seeds."""
    rng = np.random.default_rng(0)
    for name, count in (("train", 120), ("dev", 60)):
        labels = (rng.random(count) < 0.4).astype(int)
        texts = [("aa bb" if label else "cc dd") + " done" * rng.integers(3) for label in labels]
        lines = [f"{label}\t{text}" for label, text in zip(labels, texts)]
        (tmp_path / f"{name}.tsv").write_text("label\tsentence\n" + "\n".join(lines) + "\n")
    found = sentiment(
        model, tokenizer, tmp_path / "train.tsv", tmp_path / "dev.tsv", rows=80, seeds=2
    )
    assert found["bag_of_words"] == (1.0, 0.0)
    dev = read_labelled(tmp_path / "dev.tsv").labels
    assert found["majority"][0] == pytest.approx(max(dev.mean(), 1 - dev.mean()))
    assert found["bert"][0] > 0.9 and 0 <= found["untrained"][1] < 0.5
    assert "SST-2, linear probe on 80 texts, 2 seeds" in as_table({"sentiment": found})


def test_sentiment_by_fine_tuning(tokenizer, tmp_path):
    """Trained and untrained are both trained on the same texts; the probe is another thing."""
    rng = np.random.default_rng(0)
    files = tmp_path / "train.tsv", tmp_path / "dev.tsv"
    for path, count in zip(files, (160, 60)):
        labels = (rng.random(count) < 0.4).astype(int)
        texts = [("aa bb" if label else "cc dd") + " done" * rng.integers(3) for label in labels]
        lines = [f"{label}\t{text}" for label, text in zip(labels, texts)]
        path.write_text("label\tsentence\n" + "\n".join(lines) + "\n")
    torch.manual_seed(0)
    start = BertForPreTraining(BertModel(dataclasses.replace(TINY, initializer_range=0.1)))
    before = {name: tensor.clone() for name, tensor in start.state_dict().items()}
    tuning = FinetuneSettings(epochs=6, learning_rate=6e-3, batch_size=16)
    found = sentiment(start, tokenizer, *files, rows=120, seeds=2, tuning=tuning)
    assert found["bert"][0] > 0.9 and found["untrained"][0] > 0.9
    assert found["bag_of_words"] == (1.0, 0.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in start.state_dict().items())
    table = as_table({"sentiment_tuned": found})
    assert "SST-2, fine-tuned for 6 epochs on 120 texts, 2 seeds" in table


def test_sentiment_is_good_or_bad(model, tokenizer, tmp_path):
    (tmp_path / "x.tsv").write_text("label\ttext\n0\ta\n1\tb\n2\tc\n")
    with pytest.raises(ValueError, match="expected two labels"):
        sentiment(model, tokenizer, tmp_path / "x.tsv", tmp_path / "x.tsv")
    with pytest.raises(ValueError, match="at least 1, got 2000 and 0"):
        sentiment(model, tokenizer, tmp_path / "x.tsv", tmp_path / "x.tsv", seeds=0)
