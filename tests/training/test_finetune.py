"""Fine-tuning against transformers, on a toy task, and on tables that are wrong."""

import dataclasses
import json
import os
import signal

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import save_file

import minibert
import minibert.training.finetune as finetuning
import minibert.weights.loading
from minibert.cli.main import main
from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel
from minibert.system.processes import Stop
from minibert.tasks.classification import BertClassifier, accuracy, new_classifier, predict
from minibert.tasks.labelled import (
    CHUNK,
    Labelled,
    batches_by_length,
    read_labelled,
)
from minibert.tasks.saved import load_task, save_task
from minibert.tasks.task import batch_of
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.tokenizer.vocabulary import SPECIAL_TOKENS
from minibert.training.finetune import Spread, finetune, majority, training_step
from minibert.training.settings import FinetuneSettings
from minibert.training.step import learning_rate, make_optimizer
from minibert.weights.loading import hugging_face_state
from tests.parity.twins import TINY, trained_like

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = [*SPECIAL_TOKENS.values(), *LETTERS, *(f"##{letter}" for letter in LETTERS)]
CLASSES = ["bad", "good", "so so"]


@pytest.fixture
def tokenizer():
    return Tokenizer(WORDS, model_max_length=16)


def toy(count: int = 120, seed: int = 0) -> Labelled:
    """A text with an "x" is good, with a "q" bad, with neither so so; all lengths."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=count)
    texts = []
    for label in labels:
        letters = list(rng.choice(list("abcdefg"), size=rng.integers(1, 10)))
        letters.insert(rng.integers(len(letters) + 1), ["q", "x", "z"][label])
        texts.append(" ".join(letters))
    return Labelled(texts, labels, CLASSES)


def encode(tokenizer: Tokenizer, texts: list[str], length: int) -> list[list[int]]:
    """By hand: [CLS] text [SEP] as ids, each text cut so that no row is longer than `length`."""
    cls, sep = tokenizer.cls_id, tokenizer.sep_id
    return [[cls, *tokenizer.ids(text)[: length - 2], sep] for text in texts]


def pad_rows(rows: list[list[int]], pad_id: int) -> dict[str, torch.Tensor]:
    """By hand: rows of ids -> input_ids and attention_mask, (B, T)."""
    width = max(map(len, rows))
    ids = [row + [pad_id] * (width - len(row)) for row in rows]
    mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


@pytest.mark.parametrize("length", [3, 4, 9, 16])
def test_the_tokenizer_makes_the_batches_that_are_made_by_hand(tokenizer, length):
    texts = ["", *toy(40).texts, "a [SEP] b [MASK]", " ".join("abcdefg" * 5)]
    rows = encode(tokenizer, texts, length)
    model = new_classifier(trained_like().bert, CLASSES)
    ours = model.rows(tokenizer, Labelled(texts, None, CLASSES), length)
    assert [row.length for row in ours] == [len(row) for row in rows]
    batch, by_hand = batch_of(ours, tokenizer.pad_id, model.device), pad_rows(rows, 0)
    assert not batch["token_type_ids"].any() and set(batch) == {*by_hand, "token_type_ids"}
    assert all(torch.equal(batch[name], by_hand[name]) for name in by_hand)


def fresh() -> BertModel:
    """A small BERT that has learned nothing yet, and can."""
    torch.manual_seed(0)
    return BertModel(dataclasses.replace(TINY, initializer_range=0.1))


def batch_for(model, tokenizer, texts, length=16):
    rows = model.rows(tokenizer, Labelled(texts, None, model.classes), length)
    return batch_of(rows, tokenizer.pad_id, model.device)


def table(path, rows, header="label\ttext"):
    path.write_text("\n".join([header, *(f"{label}\t{text}" for label, text in rows)]) + "\n")
    return path


def twin(model: BertClassifier) -> transformers.BertForSequenceClassification:
    """transformers' class with the same weights, eager attention, in train mode."""
    config = transformers.BertConfig(**model.bert.config.to_dict(), num_labels=len(model.classes))
    config._attn_implementation = "eager"
    other = transformers.BertForSequenceClassification(config)
    state = {f"bert.{name}": t for name, t in encoder_state(model).items()}
    state |= {f"classifier.{name}": t for name, t in model.classifier.state_dict().items()}
    other = other.to(model.classifier.weight.dtype)
    other.load_state_dict(state, strict=True)
    return other.train()


def encoder_state(model: BertClassifier) -> dict[str, torch.Tensor]:
    return hugging_face_state(BertForPreTraining(model.bert, False, False))


# ---- Against transformers ----


def test_ten_steps_equal_transformers(tokenizer):
    """Losses and all weights in double precision, in train mode without dropout."""
    settings = FinetuneSettings(epochs=1, batch_size=12, learning_rate=3e-3, warmup=0.2)
    train = toy()
    ours = new_classifier(trained_like().bert, CLASSES, dropout=0.0, seed=1).train()
    theirs = twin(ours)
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    bare = ("bias", "LayerNorm.weight")
    named = list(theirs.named_parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for n, p in named if not n.endswith(bare)], "weight_decay": 0.01},
            {"params": [p for n, p in named if n.endswith(bare)], "weight_decay": 0.0},
        ],
        eps=1e-6,
    )
    schedule = settings.schedule(len(train.texts))
    rows = encode(tokenizer, train.texts, 16)
    batches = batches_by_length([len(row) for row in rows], 12, np.random.default_rng(0))
    expected = []
    for step, chosen in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, schedule)
        batch = pad_rows([rows[number] for number in chosen], tokenizer.pad_id)
        loss = theirs(**batch, labels=torch.from_numpy(train.labels[chosen])).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        expected.append(loss.item())
    losses = finetune(ours, tokenizer, train, settings)  # the loop itself, with its own order
    assert len(losses) == 10 and np.abs(np.subtract(losses, expected)).max() < 1e-9
    state = theirs.state_dict()
    for name, tensor in encoder_state(ours).items():
        assert (tensor - state[f"bert.{name}"]).abs().max() < 1e-9, name
    for leaf in ("weight", "bias"):
        difference = getattr(ours.classifier, leaf) - state[f"classifier.{leaf}"]
        assert difference.abs().max() < 1e-9
    for name, tensor in ours.state_dict().items():
        assert not torch.equal(tensor, before[name]), f"{name} was not trained"


def test_dropout_stands_between_pooler_and_classifier(tokenizer):
    """With p = 1 nothing comes through but the classifier's bias; in eval mode all does."""
    model = new_classifier(trained_like().bert, CLASSES, dropout=0.0)
    torch.nn.init.normal_(model.classifier.bias)
    batch = batch_for(model, tokenizer, ["a b", "c x d"])
    plain = model.eval()(**batch)
    model.dropout.p = 1.0
    assert torch.equal(model(**batch), plain), "no dropout in eval mode"
    assert torch.equal(model.train()(**batch), model.classifier.bias.expand(2, 3))
    theirs = twin(model)
    theirs.dropout.p = 1.0
    assert torch.equal(theirs(**batch).logits, model(**batch))


def test_dropout_of_the_settings_is_everywhere():
    start = trained_like().bert
    model = new_classifier(start, CLASSES, dropout=0.3)
    found = [m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)]
    assert found == [0.3] * len(found) and len(found) == 2 * TINY.num_hidden_layers + 2
    assert model.bert.config.hidden_dropout_prob == 0.3
    assert new_classifier(start, CLASSES).dropout.p == TINY.hidden_dropout_prob


def test_transformers_loads_what_was_saved(tokenizer, tmp_path):
    model = new_classifier(trained_like().bert.float(), CLASSES).eval()
    save_task(model, tokenizer, tmp_path / "saved")
    theirs, report = transformers.BertForSequenceClassification.from_pretrained(
        tmp_path / "saved", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert theirs.config.id2label == {0: "bad", 1: "good", 2: "so so"}
    texts = ["a b c", "x"]
    words = transformers.BertTokenizer.from_pretrained(tmp_path / "saved")
    with torch.no_grad():
        scores = theirs.eval()(**words(texts, padding=True, return_tensors="pt")).logits
    found = predict(model, tokenizer, texts)
    assert np.abs(found - scores.softmax(-1).numpy()).max() < 1e-6


def test_what_transformers_saved_is_loaded(tokenizer, tmp_path):
    model = new_classifier(trained_like().bert.float(), ["0", "1"]).eval()
    twin(model).save_pretrained(tmp_path)
    tokenizer.save_vocabulary(tmp_path)
    for prefix in ("", "_orig_mod.", "module.", "model."):
        state = {prefix + key: tensor for key, tensor in twin(model).state_dict().items()}
        save_file(state, tmp_path / "model.safetensors")
        ours, words = load_task(tmp_path)
        assert len(ours.classes) == 2
        assert np.array_equal(predict(ours, words, ["a x"]), predict(model, tokenizer, ["a x"]))


# ---- Saved and loaded ----


@pytest.mark.parametrize("pooling", ["pooler", "mean"])
def test_saved_and_loaded_says_the_same(tokenizer, tmp_path, pooling):
    model = new_classifier(trained_like().bert.float(), CLASSES, pooling=pooling).eval()
    save_task(model, tokenizer, tmp_path / "saved")
    ours, words = load_task(tmp_path / "saved")
    assert (ours.classes, ours.pooling, ours.training) == (CLASSES, pooling, False)
    texts = toy(20).texts
    assert np.array_equal(predict(ours, words, texts), predict(model, tokenizer, texts))
    encoder = minibert.load(tmp_path / "saved")
    for (name, a), (_, b) in zip(
        encoder.model.named_parameters(), model.bert.named_parameters(), strict=True
    ):
        assert torch.equal(a, b), name
    head = {"pooler": "classifier", "mean": "mean_classifier"}[pooling]
    assert set(encoder.report.ignored) == {f"{head}.weight", f"{head}.bias"}


def test_the_mean_is_not_passed_off_as_transformers_classifier(tokenizer, tmp_path):
    """Its class would multiply the pooler's output with it, and say nothing."""
    model = new_classifier(trained_like().bert.float(), CLASSES, pooling="mean")
    save_task(model, tokenizer, tmp_path / "saved")
    _, report = transformers.BertForSequenceClassification.from_pretrained(
        tmp_path / "saved", output_loading_info=True
    )
    assert {"classifier.weight", "classifier.bias"} == set(report["missing_keys"])


def test_a_loss_that_is_no_number_stops(tokenizer):
    model = new_classifier(fresh(), toy().classes)
    model.classifier.bias.data[0] = torch.nan
    with pytest.raises(ValueError, match="the loss is nan in step 1: try a smaller"):
        finetune(model, tokenizer, toy(), FinetuneSettings(epochs=1))


def test_a_folder_of_somebody_else_is_not_overwritten(tokenizer, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    model = new_classifier(trained_like().bert.float(), CLASSES)
    with pytest.raises(FileExistsError, match="not an empty folder"):
        save_task(model, tokenizer, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_other_folders_are_no_classifiers(tokenizer, tmp_path):
    minibert.weights.loading.save_weights(trained_like().float(), tmp_path)
    tokenizer.save_vocabulary(tmp_path)
    with pytest.raises(ValueError, match="holds a model without the layer of a task"):
        load_task(tmp_path)
    model = new_classifier(trained_like().bert.float(), CLASSES)
    save_task(model, tokenizer, tmp_path / "saved")
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    del config["id2label"]["2"]
    (tmp_path / "saved" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"shape \(3, 20\), config.json asks for \(2, 20\)"):
        load_task(tmp_path / "saved")
    other = {"problem_type": "ranking"}
    (tmp_path / "saved" / "config.json").write_text(json.dumps({**config, **other}))
    with pytest.raises(ValueError, match="problem_type must be one of .* got 'ranking'"):
        load_task(tmp_path / "saved")
    other = {"architectures": ["BertForQuestionAnswering"]}
    (tmp_path / "saved" / "config.json").write_text(json.dumps({**config, **other}))
    with pytest.raises(ValueError, match="BertForQuestionAnswering.* and a classifier: exp"):
        load_task(tmp_path / "saved")


# ---- Learning ----


@pytest.mark.parametrize("pooling", ["pooler", "mean"])
def test_a_toy_task_is_learned(tokenizer, pooling):
    model = new_classifier(fresh(), CLASSES, pooling=pooling, dropout=0.02)
    settings = FinetuneSettings(epochs=6, learning_rate=4e-3, batch_size=16)
    losses = finetune(model, tokenizer, toy(400), settings)
    assert not model.training
    assert len(losses) == 6 * 25 and np.mean(losses[:5]) > 1 > 0.3 > np.mean(losses[-25:])
    assert accuracy(model, tokenizer, toy(100, seed=1)) > 0.95


def test_freezing_trains_the_classifier_alone(tokenizer):
    start = trained_like().bert.float()
    model = new_classifier(start, CLASSES, pooling="mean", dropout=0.1)
    first = model.classifier.weight.detach().clone()
    settings = FinetuneSettings(epochs=4, learning_rate=3e-2, batch_size=16, freeze=True)
    losses = finetune(model, tokenizer, toy(300), settings)
    for (name, a), (_, b) in zip(model.bert.named_parameters(), start.named_parameters()):
        assert torch.equal(a, b), name
    assert not torch.equal(model.classifier.weight, first)
    assert np.mean(losses[-10:]) < np.mean(losses[:5])
    unfrozen = dataclasses.replace(settings, freeze=False, epochs=1, learning_rate=1e-3)
    finetune(model, tokenizer, toy(300), unfrozen)
    name, changed = next(iter(model.bert.named_parameters()))
    assert not torch.equal(changed, dict(start.named_parameters())[name]), "frozen for ever"


def test_a_frozen_bert_has_no_dropout(tokenizer):
    """With its one dropout before the classifier off, two equal steps have equal losses."""
    model = new_classifier(trained_like().bert.float(), CLASSES, dropout=0.5)
    model.dropout.p = 0.0
    same = Labelled(["a b c d"] * 4, np.zeros(4, dtype=int), CLASSES)
    settings = FinetuneSettings(epochs=3, learning_rate=1e-20, batch_size=4, freeze=True)
    losses = finetune(model, tokenizer, same, settings)
    assert losses[0] == losses[1] == losses[2]
    losses = finetune(model, tokenizer, same, dataclasses.replace(settings, freeze=False))
    assert losses[0] != losses[1], "without freezing dropout is on"


def test_a_seed_gives_the_same_numbers_and_another_seed_others(tokenizer):
    def run(seed):
        start = trained_like().bert.float()
        model = new_classifier(start, CLASSES, dropout=0.1, seed=seed)
        return finetune(model, tokenizer, toy(64), FinetuneSettings(epochs=1, seed=seed))

    assert run(3) == run(3) != run(4)


def test_the_model_started_from_stays_as_it_is(tokenizer):
    start = trained_like().bert.float()
    before = {name: tensor.clone() for name, tensor in start.state_dict().items()}
    model = new_classifier(start, CLASSES)
    finetune(model, tokenizer, toy(32), FinetuneSettings(epochs=1, learning_rate=1e-2))
    assert all(torch.equal(tensor, before[name]) for name, tensor in start.state_dict().items())


def test_bfloat16_stays_near_and_keeps_weights_exact(tokenizer):
    losses = []
    for bf16 in (False, True):
        model = new_classifier(trained_like().bert.float(), CLASSES, dropout=0.0)
        settings = FinetuneSettings(epochs=1, bf16=bf16)
        losses.append(finetune(model, tokenizer, toy(64), settings))
        assert model.classifier.weight.dtype == torch.float32
    assert losses[0] != losses[1] and np.abs(np.subtract(*losses)).max() < 0.1


def test_long_gradients_are_shortened(tokenizer):
    model = new_classifier(trained_like().bert, CLASSES, dropout=0.0).train()
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    rows = model.rows(tokenizer, Labelled(["a b", "c x d"], np.array([0, 1]), CLASSES), 16)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    training_step(model, optimizer, rows, tokenizer.pad_id, FinetuneSettings(clip=0.01))
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert abs(float((after - before).norm()) - 0.01) < 1e-5
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_biases_and_norms_have_no_decay():
    model = new_classifier(trained_like().bert, CLASSES)
    schedule = FinetuneSettings(weight_decay=0.5).schedule(10)
    groups = make_optimizer(model, schedule).param_groups
    assert {id(model.classifier.bias)} <= {id(p) for p in groups[1]["params"]}
    assert groups[0]["weight_decay"] == 0.5 and groups[1]["weight_decay"] == 0


def test_one_pass_sees_every_text_once_beside_texts_of_its_length():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 60, size=4000)
    first = batches_by_length(lengths, 16, rng)
    assert sorted(np.concatenate(first).tolist()) == list(range(4000))
    padding = sum(lengths[b].max() * len(b) for b in first) / lengths.sum()
    assert (
        padding
        < 1.02
        < sum(lengths[i : i + 16].max() * 16 for i in range(0, 4000, 16)) / (lengths.sum())
    )
    second = batches_by_length(lengths, 16, rng)
    groups = {frozenset(batch.tolist()) for batch in first}
    assert not groups & {frozenset(batch.tolist()) for batch in second}
    widths = [lengths[batch].max() for batch in first[:CHUNK]]
    assert widths != sorted(widths), "the batches come in random order"


def test_a_row_of_the_table_decides_its_own_class(tokenizer):
    """Answers come in the order of the texts, whatever their lengths, and batches do not mix."""
    model = new_classifier(trained_like().bert.float(), CLASSES).eval()
    texts = toy(150).texts
    found = predict(model, tokenizer, texts)
    assert found.shape == (150, 3) and np.allclose(found.sum(1), 1, atol=1e-6)
    for number in (0, 70, 149):
        alone = predict(model, tokenizer, [texts[number]])
        assert np.abs(found[number] - alone).max() < 1e-5


def test_answers_are_shielded_from_train_mode_and_autocast(tokenizer):
    model = new_classifier(trained_like().bert.float(), CLASSES, dropout=0.5).eval()
    texts = toy(20).texts
    expected = predict(model, tokenizer, texts)
    model.train()
    model.bert.pooler.eval()
    modes = [module.training for module in model.modules()]
    with torch.autocast("cpu", torch.bfloat16):
        assert np.array_equal(predict(model, tokenizer, texts), expected)
    assert [module.training for module in model.modules()] == modes


def test_long_texts_are_cut(tokenizer):
    model = new_classifier(trained_like().bert.float(), CLASSES).eval()
    long = " ".join("abcdefg" * 5)
    assert batch_for(model, tokenizer, [long])["input_ids"].shape == (1, 16)
    cut, short = batch_for(model, tokenizer, ["a b c"], 4), batch_for(model, tokenizer, ["a b"])
    assert torch.equal(cut["input_ids"], short["input_ids"])
    same = predict(model, tokenizer, [long, long[:27]])  # 14 letters fit
    assert np.abs(same[0] - same[1]).max() < 1e-6
    settings = FinetuneSettings(epochs=1, max_length=99)
    assert finetune(model, tokenizer, Labelled([long] * 4, np.arange(4) % 3, CLASSES), settings)


def test_spread_and_majority():
    assert Spread.of([1.0, 2.0, 6.0]) == (3.0, pytest.approx(7**0.5)) and Spread.of([1.0]) == (1, 0)
    train = Labelled(["a"] * 3, np.array([2, 2, 1]), CLASSES)
    assert majority(train, Labelled(["a"] * 4, np.array([2, 0, 1, 2]), CLASSES)) == 0.5


# ---- Seeds, early stopping, and going on after a stop ----


def seeds_run(tokenizer, output, *, stop_at=(), **changes):
    """Two seeds on the toy task, in a folder; a signal comes at these steps, counted over all."""
    settings = FinetuneSettings(epochs=2, batch_size=16, learning_rate=3e-3, save_every=3)
    start = trained_like().bert.float()
    count = 0

    def new(seed):
        return new_classifier(start, CLASSES, dropout=0.2, seed=seed)

    original = finetuning.training_step

    def step(*arguments):
        nonlocal count
        count += 1
        if count in stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetuning, "training_step", step)
        return finetuning.finetune_seeds(
            new, tokenizer, toy(64), toy(20, seed=1), dataclasses.replace(settings, **changes),
            output, seeds=2,
        )  # fmt: skip


def test_a_run_that_was_stopped_gives_the_same_numbers(tokenizer, tmp_path):
    whole = seeds_run(tokenizer, tmp_path / "whole")
    for at in (2, 11):  # in the first seed, in the second
        with pytest.raises(Stop):
            seeds_run(tokenizer, tmp_path / "parts", stop_at=[at])
        assert (tmp_path / "parts" / "checkpoint.pt").exists()
    with pytest.raises(ValueError, match="is of another run: batch_size 16, now 8"):
        seeds_run(tokenizer, tmp_path / "parts", batch_size=8)
    assert seeds_run(tokenizer, tmp_path / "parts") == whole
    files = [sorted(p.name for p in (tmp_path / n).iterdir()) for n in ("whole", "parts")]
    assert files[0] == files[1] and "checkpoint.pt" not in files[0]
    for name in files[0]:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    rows = (tmp_path / "whole" / "log.csv").read_text().splitlines()
    assert rows[0].startswith("seed,step,epoch,learning_rate,loss,dev_accuracy") and len(rows) == 17
    with pytest.raises(FileExistsError, match="choose a new name"):
        seeds_run(tokenizer, tmp_path / "whole")


def test_early_stopping_keeps_the_best_epoch(tokenizer, tmp_path, monkeypatch):
    """The scores are given: the best comes second, and two worse ones end it."""
    scores = iter([0.2, 0.8, 0.5, 0.6, 0.9])
    weights = []

    def score(model, *rest):
        weights.append(model.classifier.weight.detach().clone())
        return {"accuracy": next(scores)}

    monkeypatch.setattr(finetuning, "measure", score)
    model = new_classifier(trained_like().bert.float(), CLASSES)
    settings = FinetuneSettings(epochs=5, learning_rate=1e-3, patience=2)
    losses = finetune(model, tokenizer, toy(32), settings, dev=toy(4))
    assert len(losses) == len(weights) == 4
    assert torch.equal(model.classifier.weight, weights[1])
    with pytest.raises(ValueError, match="patience waits for a better score"):
        finetune(model, tokenizer, toy(32), settings)


# ---- What is refused ----


def test_classes_are_read_and_sorted(tmp_path):
    rows = [("10", "ten"), ("9", "nine"), ("9", 'a "quoted text')]
    found = read_labelled(table(tmp_path / "a.tsv", rows))
    assert found.classes == ["9", "10"] and found.labels.tolist() == [1, 0, 0]
    assert found.texts == ["ten", "nine", 'a "quoted text']
    test = read_labelled(table(tmp_path / "b.tsv", [("10", "x")]), found.classes)
    assert test.labels.tolist() == [1] and test.classes == ["9", "10"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sentence\tmood\na\t1\n", "line 1: expected the names of two columns"),
        ("label,text\n1,a\n", "line 1: expected the names of two columns"),
        ("", "line 1: expected the names of two columns"),
        ("label\ttext\n", "nothing after the header"),
        ("label\ttext\n1\ta\n1\n", "line 3"),
        ("label\ttext\n1\ta\tb\n", "line 2"),
        ("label\ttext\n1\t \n", "line 2"),
        ("label\ttext\n7\ta\n", "expected one of the labels 0, 1, got '7'"),
    ],
)
def test_tables_that_are_wrong(tmp_path, content, message):
    (tmp_path / "x.tsv").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_labelled(tmp_path / "x.tsv", ["0", "1"])


def test_columns_in_the_other_order(tmp_path):
    """As GLUE's own SST-2 has them."""
    (tmp_path / "x.tsv").write_text("sentence\tlabel\ngood fun\t1\nno fun\t0\n")
    found = read_labelled(tmp_path / "x.tsv")
    assert found.texts == ["good fun", "no fun"] and found.labels.tolist() == [1, 0]


def test_lines_end_at_line_feeds_alone(tmp_path):
    (tmp_path / "x.tsv").write_bytes(b"label\ttext\r\n1\tgood\rfun\r\n0\tbad\n")
    assert read_labelled(tmp_path / "x.tsv").texts == ["good\rfun", "bad"]


def test_texts_of_other_classes(tokenizer):
    model = new_classifier(trained_like().bert.float(), CLASSES)
    other = Labelled(["a"], np.array([3]), [*CLASSES, "more"])
    for function in (finetune, accuracy):
        with pytest.raises(
            ValueError, match="apart, the texts are labelled bad, good, so so, more"
        ):
            function(model, tokenizer, other)


def test_a_table_that_is_no_text(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.tsv does not exist"):
        read_labelled(tmp_path / "none.tsv")
    (tmp_path / "x.tsv").write_bytes(b"label\ttext\n1\t\xff\xfe\n")
    with pytest.raises(ValueError, match="not UTF-8"):
        read_labelled(tmp_path / "x.tsv")


def test_settings_and_models_that_cannot_be(tokenizer):
    for wrong in ({"epochs": 0}, {"batch_size": 0}, {"max_length": 2}):
        with pytest.raises(ValueError, match="must be at least"):
            FinetuneSettings(**wrong)
    bert = trained_like().bert
    with pytest.raises(ValueError, match="pooling must be one of pooler, mean, got 'cls'"):
        new_classifier(bert, CLASSES, pooling="cls")
    with pytest.raises(ValueError, match="two or more classes"):
        new_classifier(bert, ["good"])
    bert.pooler = None
    with pytest.raises(ValueError, match="no pooler"):
        new_classifier(bert, CLASSES)
    assert new_classifier(bert, CLASSES, pooling="mean").bert.pooler is None


# ---- The command ----


@pytest.fixture
def files(tokenizer, tmp_path):
    minibert.weights.loading.save_weights(BertForPreTraining(fresh()), tmp_path)
    tokenizer.save_vocabulary(tmp_path)
    for name, data in (("train", toy(200)), ("dev", toy(40, seed=1))):
        rows = [(CLASSES[label], text) for label, text in zip(data.labels, data.texts)]
        table(tmp_path / f"{name}.tsv", rows)
    return tmp_path


def command(folder, *more):
    names = [f"{folder}/train.tsv", "--dev", f"{folder}/dev.tsv", "-m", f"{folder}"]
    return main(["finetune", *names, "-o", f"{folder}/out", *more])


def test_the_command(files, capsys):
    options = ["--learning-rate", "6e-3", "--epochs", "6", "--batch-size", "16", "--seeds", "2"] + [
        *("--dropout", "0")
    ]
    assert command(files, *options) == 0
    printed = capsys.readouterr().out
    assert "seed 0: " in printed and "mean and deviation of 2 seeds: " in printed
    assert "always the commonest class: " in printed
    model, words = load_task(files / "out")
    assert model.classes == CLASSES
    first = float(printed.split("seed 0: accuracy ")[1].split(",")[0])
    test = read_labelled(files / "dev.tsv", CLASSES)
    assert accuracy(model, words, test) == pytest.approx(first, abs=6e-5) and first > 0.9
    assert command(files) == 1
    assert "not an empty folder" in capsys.readouterr().err


def test_the_command_refuses_before_it_works(files, capsys):
    table(files / "dev.tsv", [("fine", "a")])
    assert command(files) == 1
    assert "expected one of the labels bad, good, so so, got 'fine'" in capsys.readouterr().err
    assert not (files / "out").exists() and not list(files.glob(".*"))


def test_the_command_tells_of_a_model_that_says_one_thing(files, capsys):
    table(files / "dev.tsv", [("good", "x")] * 3)
    assert command(files, "--epochs", "1") == 0
    assert "the same answer to everything" in capsys.readouterr().out
