"""The loop against transformers and torch, against itself when stopped, and on two processes."""

import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers

import minibert
from minibert.cli.main import main
from minibert.core.config import BertConfig
from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel
from minibert.system import processes
from minibert.training import loop as all_runs
from minibert.training import pretrain as loop
from minibert.training.batches import Examples
from minibert.training.fresh_masks import FreshMasks
from minibert.training.pretrain import batches_of_step, evaluate_heldout, pretrain, seed_of
from minibert.training.run_log import read_log
from minibert.training.settings import TrainSettings
from minibert.training.start import label_shares
from minibert.training.step import (
    PretrainingSums,
    learning_rate,
    make_optimizer,
    means,
    training_step,
)
from minibert.weights.loading import hugging_face_state
from tests.conftest import ROOT
from tests.parity.twins import TINY, trained_like, twin_of
from tests.training.text_samples import prepared

CPU = torch.device("cpu")
QUIET = dataclasses.replace(TINY, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
SHORT = TrainSettings(steps=12, batch_size=8, log_every=3, eval_every=6, save_every=4, eval_rows=16)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """Rows of many lengths, with 1 to 6 hidden words each."""
    return prepared(tmp_path_factory.mktemp("uneven"), length=40, short_share=0.5)


def weights(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def assert_same_run(one, other):
    """Weights, optimizer and log bit for bit; only the clock may differ."""
    a, b = weights(one), weights(other)
    for name, tensor in a["model"].items():
        assert torch.equal(tensor, b["model"][name]), name
    for number, moments in a["optimizer"]["state"].items():
        for name, tensor in moments.items():
            assert torch.equal(tensor, b["optimizer"]["state"][number][name]), (number, name)
    clock = {"seconds", "tokens_per_second"}
    logs = [
        [{k: v for k, v in row.items() if k not in clock} for row in read_log(folder / "log.csv")]
        for folder in (one, other)
    ]
    assert logs[0] == logs[1] and logs[0]


# ---- One step ----


def test_twenty_steps_equal_transformers(data):
    """Losses and all weights, in train mode without dropout, in double precision."""
    settings = TrainSettings(
        steps=20, batch_size=8, micro_batch_size=4, learning_rate=3e-3, warmup=0.2
    )
    ours = trained_like(QUIET).train()
    theirs = twin_of(trained_like(QUIET)).train()
    names = ("bias", "LayerNorm.weight")
    plain = [p for n, p in theirs.named_parameters() if not n.endswith(names)]
    bare = [p for n, p in theirs.named_parameters() if n.endswith(names)]
    optimizer = torch.optim.AdamW(
        [{"params": plain, "weight_decay": 0.01}, {"params": bare, "weight_decay": 0.0}],
        eps=1e-6,
    )
    module, mine = PretrainingSums(ours), make_optimizer(ours, settings)
    examples = Examples(data)
    for step in range(20):
        rate = learning_rate(step, settings)
        for group in [*mine.param_groups, *optimizer.param_groups]:
            group["lr"] = rate
        batches = batches_of_step(examples, step, settings, CPU)
        sums = training_step(module, mine, batches, clip=1.0)

        whole = batches_of_step(
            examples, step, dataclasses.replace(settings, micro_batch_size=None), CPU
        )
        loss = theirs(**whole[0]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        assert abs(means(sums)["loss"] - loss.item()) < 1e-6, step
    state = theirs.state_dict()
    for name, tensor in hugging_face_state(ours).items():
        assert (tensor - state[name]).abs().max() < 1e-9, name
        assert not torch.equal(tensor, hugging_face_state(trained_like(QUIET))[name]), name


def test_the_loss_is_that_of_the_model(data):
    """Scores at chosen places alone give the loss over all places, and the same gradient."""
    model = trained_like(QUIET)
    batch = Examples(data).batch(range(16))
    expected = model(**batch)
    expected.loss.backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    sums = PretrainingSums(model)(**batch)
    loss = sums.mlm_loss / sums.words + sums.nsp_loss / sums.pairs
    loss.backward()
    assert abs(loss.item() - expected.loss.item()) < 1e-12
    for parameter, gradient in zip(model.parameters(), gradients):
        assert (parameter.grad - gradient).abs().max() < 1e-12
    labels = batch["labels"]
    right = (expected.prediction_logits.argmax(-1) == labels).sum()
    assert int(sums.words_right) == int(right)
    right = (expected.seq_relationship_logits.argmax(-1) == batch["next_sentence_label"]).sum()
    assert int(sums.pairs_right) == int(right)
    assert int(sums.words) == int((labels != -100).sum()) and int(sums.pairs) == 16


def test_small_batches_add_up_to_a_big_one(uneven):
    """Their numbers of hidden words differ, so a mean of their means would be off."""
    examples = Examples(uneven)
    after = []
    for micro_batch_size in (None, 3, 1):
        settings = TrainSettings(steps=2, batch_size=8, micro_batch_size=micro_batch_size)
        model = trained_like(dataclasses.replace(QUIET, max_position_embeddings=40))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        batches = batches_of_step(examples, 0, settings, CPU)
        assert (
            len({int((b["labels"] != -100).sum()) for b in batches}) > 1 or micro_batch_size is None
        )
        training_step(PretrainingSums(model), optimizer, batches, clip=1e9)
        after.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert (after[0] - after[1]).abs().max() < 1e-12
    assert (after[0] - after[2]).abs().max() < 1e-12


def test_long_gradients_are_shortened(data):
    model = trained_like(QUIET)
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    batches = batches_of_step(Examples(data), 0, TrainSettings(batch_size=8), CPU)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    training_step(PretrainingSums(model), optimizer, batches, clip=0.01)
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert abs(float((after - before).norm()) - 0.01) < 1e-5


def test_biases_and_norms_have_no_decay():
    model = BertForPreTraining(BertModel(TINY))
    groups = make_optimizer(model, TrainSettings(weight_decay=0.5)).param_groups
    name_of = {parameter: name for name, parameter in model.named_parameters()}
    decay = {name_of[p]: group["weight_decay"] for group in groups for p in group["params"]}
    assert set(decay) == set(name_of.values())
    for name, value in decay.items():
        assert value == (0.0 if name.endswith("bias") or "norm" in name else 0.5), name


def test_the_first_step_of_adamw_in_closed_form():
    """lr * sign(gradient), since the bias correction makes both averages exact; and the decay."""
    layer = torch.nn.Linear(2, 1, bias=False)
    start = layer.weight.detach().clone()
    optimizer = make_optimizer(layer, TrainSettings(learning_rate=0.1, weight_decay=0.01))
    layer.weight.grad = torch.tensor([[2.0, -3.0]])
    optimizer.step()
    expected = start * (1 - 0.1 * 0.01) - 0.1 * torch.tensor([[1.0, -1.0]])
    assert (layer.weight - expected).abs().max() < 1e-6


def test_learning_rate_rises_then_falls_to_nothing():
    settings = TrainSettings(steps=1000, warmup=0.1, learning_rate=0.5)
    rates = [learning_rate(step, settings) for step in range(1000)]
    assert rates[0] == 0.005 and rates[99] == rates[100] == 0.5 and max(rates) == 0.5
    assert all(a > b for a, b in zip(rates[100:], rates[101:]))
    assert 0 < rates[-1] < 0.001
    assert [learning_rate(s, TrainSettings(steps=4, warmup=0.0)) for s in (0, 2)] == [1e-3, 5e-4]


def test_every_step_and_device_has_random_numbers_of_its_own():
    seeds = [
        seed_of(seed, step, rank) for seed in (0, 1) for step in range(50) for rank in range(4)
    ]
    assert len(set(seeds)) == len(seeds)


# ---- The loop ----


def test_a_stopped_run_equals_an_unbroken_one(data, tmp_path, monkeypatch):
    """SIGTERM within step 6; dropout is on. Then the same call again."""
    whole = pretrain(data, tmp_path / "whole", TINY, SHORT)
    assert whole.finished and whole.step == 12

    def interrupted(examples, step, *rest):
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return batches_of_step(examples, step, *rest)

    monkeypatch.setattr(loop, "batches_of_step", interrupted)
    stopped = pretrain(data, tmp_path / "parts", TINY, SHORT)
    assert (stopped.finished, stopped.step, stopped.signal) == (False, 6, signal.SIGTERM)
    monkeypatch.undo()
    assert pretrain(data, tmp_path / "parts", TINY, SHORT).finished
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_signal_to_another_process_stops_and_saves_here(data, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "largest", lambda own, device: float(signal.SIGTERM))
    stopped = pretrain(data, tmp_path / "run", TINY, SHORT)
    assert (stopped.finished, stopped.step, stopped.signal) == (False, 0, signal.SIGTERM)
    assert weights(tmp_path / "run")["state"]["step"] == 0


def crash_in_step(number, monkeypatch):
    def crashing(examples, step, *rest):
        if step == number:
            raise MemoryError
        return batches_of_step(examples, step, *rest)

    monkeypatch.setattr(loop, "batches_of_step", crashing)


def test_a_crashed_run_goes_on_from_its_last_save(data, tmp_path, monkeypatch):
    """The rows logged after the save are forgotten, and come again."""
    pretrain(data, tmp_path / "whole", TINY, SHORT)
    crash_in_step(7, monkeypatch)
    with pytest.raises(MemoryError):
        pretrain(data, tmp_path / "parts", TINY, SHORT)
    assert weights(tmp_path / "parts")["state"]["step"] == 4
    assert read_log(tmp_path / "parts" / "log.csv")[-1]["step"] == 6
    monkeypatch.undo()
    pretrain(data, tmp_path / "parts", TINY, SHORT)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_measuring_does_not_change_the_run(data, tmp_path):
    """Evaluation runs without dropout, leaves train mode on, and draws no random numbers."""
    often = dataclasses.replace(SHORT, eval_every=3, eval_rows=5)
    never = dataclasses.replace(SHORT, eval_every=100)
    pretrain(data, tmp_path / "often", TINY, often)
    pretrain(data, tmp_path / "never", TINY, never)
    a, b = weights(tmp_path / "often")["model"], weights(tmp_path / "never")["model"]
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_evaluation_in_parts_is_that_of_all_rows(data):
    model = trained_like(TINY).train()
    heldout = Examples(data, "heldout")
    measured = evaluate_heldout(PretrainingSums(model), heldout, 30, CPU)
    with torch.no_grad():
        expected = model.eval()(**heldout.batch(range(30)))
    assert abs(measured["heldout_loss"] - expected.loss.item()) < 1e-5


def test_it_learns(data, tmp_path):
    """A minute's corpus, hidden words given away by their neighbours: the loss must fall."""
    settings = dataclasses.replace(
        SHORT, steps=150, learning_rate=1e-2, log_every=10, save_every=500, batch_size=16
    )
    pretrain(data, tmp_path / "run", QUIET, settings)
    log = read_log(tmp_path / "run" / "log.csv")
    assert log[0]["mlm_loss"] > 3 and log[-1]["mlm_loss"] < 2.2
    assert log[-1]["mlm_accuracy"] > 0.4 > log[0]["mlm_accuracy"]
    assert log[-1]["nsp_accuracy"] > 0.75


def test_the_model_is_saved_for_everybody(data, tmp_path):
    pretrain(data, tmp_path / "run", TINY, SHORT)
    ours = minibert.load(tmp_path / "run" / "model")
    theirs = transformers.BertForPreTraining.from_pretrained(tmp_path / "run" / "model").eval()
    batch = ours.tokenizer(["aa bq done"])
    with torch.no_grad():
        expected = theirs(**batch).prediction_logits
        assert (ours.pretraining(**batch).prediction_logits - expected).abs().max() < 1e-5
    assert ours.tokenizer.model_max_length == 16
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left == {"checkpoint.pt", "log.csv", "model"}


def test_training_goes_on_from_a_model(data, tmp_path):
    """`start` may be a model: its weights, not new ones, are trained."""
    first = pretrain(data, tmp_path / "first", TINY, SHORT)
    start = minibert.load(first.folder / "model").pretraining
    before = {name: tensor.clone() for name, tensor in start.state_dict().items()}
    small = dataclasses.replace(SHORT, steps=1, learning_rate=1e-6)
    pretrain(data, tmp_path / "second", start, small)
    after = weights(tmp_path / "second")["model"]
    assert all((after[name] - before[name]).abs().max() < 1e-5 for name in before)
    assert any(not torch.equal(after[name], before[name]) for name in before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in start.state_dict().items())
    assert pretrain(data, tmp_path / "second", start, small).finished  # the same weights again
    with pytest.raises(ValueError, match="of another run: start"):
        pretrain(data, tmp_path / "second", trained_like(TINY).float(), small)


def test_bfloat16_stays_near_and_keeps_weights_exact(data, tmp_path):
    pretrain(data, tmp_path / "plain", QUIET, SHORT)
    pretrain(data, tmp_path / "bf16", QUIET, dataclasses.replace(SHORT, bf16=True))
    a, b = (read_log(tmp_path / name / "log.csv")[0] for name in ("plain", "bf16"))
    assert a["loss"] != b["loss"] and abs(a["loss"] - b["loss"]) < 0.05
    assert all(t.dtype == torch.float32 for t in weights(tmp_path / "bf16")["model"].values())


def test_a_finished_run_is_left_alone_and_can_be_lengthened(data, tmp_path):
    pretrain(data, tmp_path / "run", TINY, SHORT)
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    assert pretrain(data, tmp_path / "run", TINY, SHORT).finished
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before
    longer = dataclasses.replace(SHORT, steps=15)
    assert pretrain(data, tmp_path / "run", TINY, longer).step == 15


def test_another_run_is_not_continued(data, tmp_path):
    pretrain(data, tmp_path / "run", TINY, SHORT)
    with pytest.raises(ValueError, match="learning_rate 0.001, now 0.01.*new output folder"):
        pretrain(data, tmp_path / "run", TINY, dataclasses.replace(SHORT, learning_rate=0.01))
    other = dataclasses.replace(TINY, intermediate_size=48)
    with pytest.raises(ValueError, match="config.intermediate_size 44, now 48"):
        pretrain(data, tmp_path / "run", other, SHORT)


def test_a_damaged_checkpoint_is_refused(data, tmp_path):
    pretrain(data, tmp_path / "run", TINY, SHORT)
    file = tmp_path / "run" / "checkpoint.pt"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="checkpoint.pt is damaged"):
        pretrain(data, tmp_path / "run", TINY, SHORT)
    for content in ({"a": 1}, [1, 2]):  # of somebody else
        torch.save(content, file)
        with pytest.raises(ValueError, match="or no checkpoint of a run"):
            pretrain(data, tmp_path / "run", TINY, SHORT)
    file.write_bytes(b"")
    with pytest.raises(ValueError, match="it ends too early|checkpoint.pt is damaged"):
        pretrain(data, tmp_path / "run", TINY, SHORT)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("step", "3"),
        ("step", -1),
        ("step", 1.5),
        ("phase", torch.zeros(1)),
        ("rows", None),
        ("seconds", float("nan")),
        ("sums", 0.0),
        ("sums", torch.zeros(2)),
    ],
)
def test_a_checkpoint_of_a_wrong_state_is_refused(data, tmp_path, field, value):
    pretrain(data, tmp_path / "run", TINY, SHORT)
    file = tmp_path / "run" / "checkpoint.pt"
    content = torch.load(file, weights_only=True)
    content["state"][field] = value
    torch.save(content, file)
    with pytest.raises(ValueError, match=f"checkpoint.pt is damaged.*{field} "):
        pretrain(data, tmp_path / "run", TINY, SHORT)


def test_a_model_of_somebody_else_is_not_overwritten(data, tmp_path):
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "thesis.txt").write_text("all of it")
    with pytest.raises(FileExistsError, match="Choose a new output folder"):
        pretrain(data, tmp_path / "run", TINY, SHORT)
    assert (tmp_path / "run" / "model" / "thesis.txt").read_text() == "all of it"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "log.csv").write_text("day,hours\n1,2\n")
    with pytest.raises(ValueError, match="no log of a training run"):
        pretrain(data, tmp_path / "other", TINY, SHORT)


def test_a_full_disk_is_told_in_words(data, tmp_path, monkeypatch):
    def no_room(content, path):
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    monkeypatch.setattr(torch, "save", no_room)
    with pytest.raises(OSError, match="cannot write .*checkpoint.pt, the older one is as it was"):
        pretrain(data, tmp_path / "run", TINY, SHORT)


def test_a_log_that_was_cut_short_goes_on(data, tmp_path):
    pretrain(data, tmp_path / "whole", TINY, SHORT)
    pretrain(data, tmp_path / "parts", TINY, dataclasses.replace(SHORT, steps=8))
    log = tmp_path / "parts" / "log.csv"
    log.write_text(log.read_text() + "9,7e-")
    assert [row["step"] for row in read_log(log)] == [3, 6, 8]
    log.write_text("")  # and a crash may leave nothing of it
    pretrain(data, tmp_path / "parts", TINY, dataclasses.replace(SHORT, steps=9))
    assert [row["step"] for row in read_log(log)] == [9]
    log.write_text("step,tokens\n1,x\n")
    with pytest.raises(ValueError, match="log.csv is no log of a training run.*'x'"):
        read_log(log)


def test_held_out_rows_are_measured_when_asked_for(data, tmp_path):
    """Not only where a row of the log was due anyway."""
    settings = dataclasses.replace(SHORT, log_every=5, eval_every=4)
    pretrain(data, tmp_path / "run", TINY, settings)
    log = read_log(tmp_path / "run" / "log.csv")
    assert [row["step"] for row in log] == [4, 5, 8, 10, 12]
    assert [row["step"] for row in log if "heldout_loss" in row] == [4, 8, 12]


def test_a_checkpoint_is_written_whole_or_not_at_all(data, tmp_path, monkeypatch):
    pretrain(data, tmp_path / "run", TINY, SHORT)
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()

    def half(content, path):
        path.write_bytes(b"half")
        raise OSError("no more power")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="no more power"):
        pretrain(data, tmp_path / "run", TINY, dataclasses.replace(SHORT, steps=14))
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before
    assert not list((tmp_path / "run").glob(".*"))


def test_data_and_model_must_fit(data, tmp_path):
    with pytest.raises(ValueError, match="vocabulary of 61 tokens, the model has 60"):
        pretrain(data, tmp_path / "run", dataclasses.replace(TINY, vocab_size=60), SHORT)
    with pytest.raises(ValueError, match="16 pieces long, the model takes 12"):
        pretrain(
            data, tmp_path / "run", dataclasses.replace(TINY, max_position_embeddings=12), SHORT
        )
    headless = BertForPreTraining(BertModel(TINY), next_sentence=False)
    with pytest.raises(ValueError, match="needs both heads"):
        pretrain(data, tmp_path / "run", headless, SHORT)


def test_counts_come_first_and_once(data, tmp_path, monkeypatch):
    """They are part of the start: a continued run has them behind it."""
    counted = dataclasses.replace(SHORT, count_first=True, learning_rate=1e-9)
    pretrain(data, tmp_path / "whole", TINY, counted)
    table = weights(tmp_path / "whole")["model"]["masked_word.bias"]
    shares = label_shares(Examples(data), 61)
    assert torch.allclose(table.softmax(-1), shares, atol=1e-5)
    with pytest.raises(ValueError, match="count_first is for new weights"):
        pretrain(data, tmp_path / "new", BertForPreTraining(BertModel(TINY)), counted)
    fast = dataclasses.replace(counted, learning_rate=0.01)
    pretrain(data, tmp_path / "unbroken", TINY, fast)
    crash_in_step(7, monkeypatch)
    with pytest.raises(MemoryError):
        pretrain(data, tmp_path / "parts", TINY, fast)
    monkeypatch.undo()
    pretrain(data, tmp_path / "parts", TINY, fast)
    assert_same_run(tmp_path / "unbroken", tmp_path / "parts")


# ---- Phases, a growing batch, fresh masks, an average, a clock ----

LONG = dataclasses.replace(TINY, max_position_embeddings=24)
RICH = dataclasses.replace(
    SHORT, first_batch_size=2, ramp=0.5, fresh_masks=True, last_phase=0.34, average=0.5, beta2=0.9
)


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("longer"), length=24)


def test_a_rich_run_stopped_anywhere_equals_an_unbroken_one(data, longer, tmp_path, monkeypatch):
    """Its checkpoints hold the phase, the rows read in it, and the average."""
    pretrain([data, longer], tmp_path / "whole", LONG, RICH)
    for number in (1, 5, 7, 8, 9, 11):  # the phase changes before step 8
        crash_in_step(number, monkeypatch)
        with pytest.raises(MemoryError):
            pretrain([data, longer], tmp_path / "parts", LONG, RICH)
        monkeypatch.undo()
    pretrain([data, longer], tmp_path / "parts", LONG, RICH)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    a, b = (weights(tmp_path / name)["averaged"] for name in ("whole", "parts"))
    assert all(torch.equal(tensor, b[name]) for name, tensor in a.items())
    state = weights(tmp_path / "whole")["state"]
    assert state["phase"] == 1 and state["rows"] == 4 * (8 * 16 // 24)


def test_batches_and_phases_are_those_asked_for(data, longer, tmp_path, monkeypatch):
    """Rows of each step, their length, and what each step reads: no row twice in a pass."""
    seen = []

    def watched(examples, *rest):
        batches = batches_of_step(examples, *rest)
        seen.append((examples.settings.length, rest[3], len(batches[0]["labels"])))
        return batches

    monkeypatch.setattr(loop, "batches_of_step", watched)
    pretrain([data, longer], tmp_path / "run", LONG, RICH)
    assert [rows for *_, rows in seen] == [2, 2, 2, 4, 4, 4, 8, 8, 5, 5, 5, 5]
    assert [length for length, *_ in seen] == [16] * 8 + [24] * 4
    assert [start for _, start, _ in seen] == [0, 2, 4, 6, 10, 14, 18, 26, 0, 5, 10, 15]


def test_the_average_is_of_the_last_phase(data, longer, tmp_path, monkeypatch):
    states = []
    step = loop.training_step

    def watched(module, *rest):
        sums = step(module, *rest)
        states.append(module.masked_word.bias.detach().clone())
        return sums

    monkeypatch.setattr(loop, "training_step", watched)
    result = pretrain([data, longer], tmp_path / "run", LONG, RICH)
    expected = states[8]
    for state in states[9:]:
        expected = 0.5 * expected + 0.5 * state
    exported = minibert.load(result.folder / "model").pretraining.masked_word.bias
    assert (exported - expected).abs().max() < 1e-7
    assert (exported - states[-1]).abs().max() > 1e-6


def test_later_positions_begin_as_the_trained_ones(data, longer, tmp_path):
    """Without a step in the second phase that could change them much."""
    settings = dataclasses.replace(RICH, average=None, warmup=0.0, learning_rate=1e-2)
    settings = dataclasses.replace(settings, steps=3, weight_decay=0.0)
    pretrain([data, longer], tmp_path / "run", LONG, settings)
    table = weights(tmp_path / "run")["model"]["bert.embeddings.position.weight"]
    assert (table[16:24] - table[:8]).abs().max() < 0.03  # one step of at most 1e-2 / 3, twice


def test_fresh_masks_are_drawn_anew_and_fairly(data):
    tokenizer = minibert.Tokenizer.from_folder(data)
    examples, masks = Examples(data), FreshMasks(tokenizer, 0.15)
    numbers = np.arange(len(examples))
    folder = examples.batch(numbers)
    torch.manual_seed(0)
    first, second = (examples.batch(numbers, masks) for _ in range(2))
    assert not torch.equal(first["labels"], second["labels"])
    plain = torch.where(folder["labels"] == -100, folder["input_ids"], folder["labels"])
    chosen = first["labels"] != -100
    assert torch.equal(torch.where(chosen, first["labels"], first["input_ids"]), plain)
    counts = chosen.sum(1)
    assert torch.equal(counts, (folder["labels"] != -100).sum(1)), "as many as prepare chooses"
    special = torch.tensor(sorted(tokenizer.special_ids))
    assert not torch.isin(first["labels"][chosen], special).any()
    now, before = first["input_ids"][chosen], first["labels"][chosen]
    shares = {
        0.8: (now == tokenizer.mask_id),
        0.1 * (1 + 1 / len(masks.ordinary)): (now == before),
        0.1 * (1 - 1 / len(masks.ordinary)): (now != before) & (now != tokenizer.mask_id),
    }
    for share, kind in shares.items():
        spread = 4 * (share * (1 - share) / len(now)) ** 0.5
        assert abs(kind.float().mean() - share) < spread, share
    where = torch.zeros(first["labels"].shape[1])
    for _ in range(50):
        where += (examples.batch(numbers, masks)["labels"] != -100).sum(0)
    inner = where[1:7] / where[1:7].mean()
    assert (inner - 1).abs().max() < 0.15, "every place alike"


def test_a_run_by_the_clock_ends_with_it(data, tmp_path, monkeypatch):
    """Steps of an eighth of a second: the rate is that of as many steps as fit into the time."""
    ticks = itertools.count()
    monkeypatch.setattr(all_runs, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 8))
    settings = dataclasses.replace(SHORT, minutes=0.1, log_every=1, warmup=0.25)
    result = pretrain(data, tmp_path / "run", QUIET, settings)
    assert result.finished and result.step == 48
    rows = read_log(tmp_path / "run" / "log.csv")
    assert [row["seconds"] for row in rows] == [round(n / 8, 1) for n in range(1, 49)]
    seconds = dataclasses.replace(settings, minutes=None, steps=6)
    expected = [learning_rate(n / 8, seconds) for n in range(48)]
    assert [row["learning_rate"] for row in rows] == pytest.approx(expected)
    assert max(expected) == settings.learning_rate and expected[-1] < 0.04 * max(expected)
    assert pretrain(data, tmp_path / "run", QUIET, settings).step == 48, "the time is over"


def test_folders_of_two_vocabularies_are_refused(data, longer, tmp_path):
    """The same ids would stand for other pieces from the second phase on."""
    other = shutil.copytree(longer, tmp_path / "other")
    tokens = (other / "vocab.txt").read_text().splitlines()
    tokens[-2:] = tokens[:-3:-1]
    (other / "vocab.txt").write_text("\n".join(tokens) + "\n")
    with pytest.raises(
        ValueError, match="other was prepared with another vocabulary than .*data's:"
    ):
        pretrain([data, other], tmp_path / "run", LONG, RICH)


def test_whole_words_cannot_be_hidden_anew(tmp_path):
    words = prepared(tmp_path, whole_words=True)
    with pytest.raises(ValueError, match="hides whole words, fresh_masks hides single pieces"):
        pretrain(words, tmp_path / "run", TINY, RICH)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"minutes": 0.0}, "minutes must be above 0"),
        ({"first_batch_size": 65}, "first_batch_size must be at most batch_size, 64"),
        ({"beta2": 1.0}, "beta2 must be a share"),
        ({"first_batch_size": 0}, "first_batch_size must be at least 1"),
        ({"micro_batch_size": 0}, "micro_batch_size must be at least 1"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"warmup": 1.0}, "warmup must be a share"),
        ({"learning_rate": 2.0}, "learning_rate must lie"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        TrainSettings(**setting)


def test_older_logs_folders_and_checkpoints_are_read(data, tmp_path):
    """They say word_loss, pieces and at_once for what is mlm_loss, num_tokens, micro_batch_size."""
    folder, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(data, folder)
    pretrain(folder, run, QUIET, dataclasses.replace(SHORT, steps=4))
    about = json.loads((folder / "data.json").read_text())
    for part in about["statistics"].values():
        part["pieces"] = part.pop("num_tokens")
        part["pieces_per_row"] = part.pop("tokens_per_row")
    (folder / "data.json").write_text(json.dumps(about))
    log = (run / "log.csv").read_text()
    (run / "log.csv").write_text(log.replace("mlm_", "word_").replace("nsp_", "pair_"))
    content = weights(run)
    older = {"num_tokens": "pieces", "micro_batch_size": "at_once", "eval_every": "evaluate_every"}
    older["eval_rows"] = "evaluate_rows"
    for new, old in older.items():
        prefix = "data." if new == "num_tokens" else ""
        content["run"][prefix + old] = content["run"].pop(prefix + new)
    torch.save(content, run / "checkpoint.pt")
    assert pretrain(folder, run, QUIET, SHORT).finished
    rows = read_log(run / "log.csv")
    assert rows[-1]["step"] == 12 and all("mlm_loss" in row for row in rows)
    assert "word_loss" not in (run / "log.csv").read_text()


# ---- From outside ----

OPTIONS = ["--blocks", "1", "--hidden", "16", "--heads", "2", "--batch-size", "8", "--dropout", "0"]


def command(*words, launcher=("-m", "minibert")):
    return [sys.executable, *launcher, *map(str, words)]


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM]
)
def test_a_signal_saves_and_stops(data, tmp_path, number):
    options = ["pretrain", data, "-o", tmp_path / "run", *OPTIONS, "--steps", "1000000"]
    process = subprocess.Popen(
        command(*options), env=environment(), stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    try:
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            log = tmp_path / "run" / "log.csv"
            if log.exists() and len(log.read_text().splitlines()) > 1:
                break
            time.sleep(0.1)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()  # it would train for days
    assert process.returncode == 128 + number
    assert "stopped and saved after" in errors and "Traceback" not in errors
    step = weights(tmp_path / "run")["state"]["step"]
    assert f"after {step} of 1000000 steps" in errors
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


@pytest.mark.slow
def test_two_processes_give_the_gradient_of_one(uneven, tmp_path):
    """torchrun with gloo. After one step, Adam's first average is a tenth of the gradient."""
    options = [*OPTIONS, "--steps", "1", "--warmup", "0", "--micro-batch-size", "3"]
    for number, name in ((1, "one"), (2, "two")):
        launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(number)]
        launcher += ["--master-port", "29617", "-m", "minibert"]
        words = ["pretrain", uneven, "-o", tmp_path / name, *options]
        done = subprocess.run(
            command(*words, launcher=launcher),
            env=environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for number, moments in one["optimizer"]["state"].items():
        difference = moments["exp_avg"] - two["optimizer"]["state"][number]["exp_avg"]
        assert difference.abs().max() * 10 < 1e-6
    assert any(
        moments["exp_avg"].abs().max() > 1e-4 for moments in one["optimizer"]["state"].values()
    )
    logs = [read_log(tmp_path / name / "log.csv")[0] for name in ("one", "two")]
    for name in ("loss", "mlm_accuracy", "heldout_loss", "nsp_accuracy"):
        assert abs(logs[0][name] - logs[1][name]) < 1e-5, name


@pytest.mark.slow
def test_compiled_steps_give_the_same_weights(data, tmp_path):
    """torch.compile may order sums otherwise, no more; checkpoints fit both ways."""
    short = dataclasses.replace(SHORT, steps=3, save_every=2)
    pretrain(data, tmp_path / "plain", QUIET, short)
    pretrain(data, tmp_path / "fast", QUIET, dataclasses.replace(short, compile=True))
    a, b = weights(tmp_path / "plain"), weights(tmp_path / "fast")
    assert list(a["model"]) == list(b["model"])
    for number, moments in a["optimizer"]["state"].items():
        difference = moments["exp_avg"] - b["optimizer"]["state"][number]["exp_avg"]
        assert difference.abs().max() < 1e-5
    assert pretrain(data, tmp_path / "fast", QUIET, dataclasses.replace(short, steps=5)).finished


def test_a_config_for_a_model_of_the_commands_size(data, tmp_path, capsys):
    """The command's options are the config's fields."""
    words = ["pretrain", data, "-o", tmp_path / "run", *OPTIONS, "--steps", "2"]
    assert main([*map(str, words)]) == 0
    assert "after 2 steps" in capsys.readouterr().out
    config = BertConfig.from_json_file(tmp_path / "run" / "model" / "config.json")
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (16, 1, 2)
    assert config.intermediate_size == 64 and config.max_position_embeddings == 16
