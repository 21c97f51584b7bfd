"""What a GPU computes, beside what the CPU does. Skipped where there is none."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import minibert
from minibert.fast.bert import FastBert
from minibert.fast.unpadded import attend_in_groups, attend_unpadded, unpadded_kernel_works
from minibert.system import processes
from minibert.training.batches import Examples
from minibert.training.fresh_masks import FreshMasks
from minibert.training.pretrain import pretrain
from minibert.training.run_log import read_log
from minibert.training.settings import TrainSettings
from tests.conftest import ROOT
from tests.parity.twins import TINY
from tests.training.text_samples import prepared

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")

TEXTS = [
    "the river was flooded .",
    "she gave him a letter",
    "He was born in Paris in 1952, and died there.",
    "no",
    " ".join(["a long text with many words in it"] * 12),
] * 9

COMPILED = {"compile": True, "bf16": True}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def bert():
    return minibert.load("minibert-tiny")


def cosines(a, b):
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def test_float32_is_that_of_the_cpu(bert):
    batch = bert.tokenizer(TEXTS)
    with torch.inference_mode():
        expected = bert.pretraining(**batch, output_hidden_states=True)
        bert.pretraining.to("cuda")
        output = bert.pretraining(**batch.to("cuda"), output_hidden_states=True)
    read = batch["attention_mask"].bool()
    for ours, theirs in zip(output.hidden_states, expected.hidden_states):
        scale = theirs.abs().max()
        assert ((ours.cpu() - theirs) / scale)[read].abs().max() < 1e-5
    assert (output.prediction_logits.cpu() - expected.prediction_logits)[read].abs().max() < 1e-4


@pytest.mark.parametrize("compile", [False, True])
def test_vectors_are_those_of_the_cpu(bert, compile):
    expected = bert.embed(TEXTS)
    bert.pretraining.to("cuda")
    assert np.abs(bert.embed(TEXTS, compile=compile) - expected).max() < 1e-5
    for precision in ("bfloat16", "float16"):
        vectors = bert.embed(TEXTS, precision=precision, compile=compile)
        assert cosines(vectors, expected).min() > 0.999, precision


def test_fast_states_are_those_of_the_modules(bert):
    bert.pretraining.to("cuda")
    batch = bert.tokenizer(TEXTS).to("cuda")
    with torch.inference_mode():
        expected = bert.model(**batch).last_hidden_state
    ours = FastBert(bert.model)(**batch).last_hidden_state
    read = batch["attention_mask"].bool()
    assert (ours - expected)[read].abs().max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_unpadded_kernel_is_the_grouped_one(dtype):
    if not unpadded_kernel_works(torch.device("cuda"), dtype, 64):
        pytest.skip("this torch has no varlen_attn")
    lengths = [7, 7, 3, 128, 1, 64, 200]
    torch.manual_seed(0)
    qkv = torch.randn(sum(lengths), 3 * 256, device="cuda", dtype=dtype)
    ours, plain = (f(qkv, lengths, 4).float() for f in (attend_unpadded, attend_in_groups))
    exact = attend_in_groups(qkv.double(), lengths, 4)
    assert (ours - exact).abs().max() < 2 * (plain - exact).abs().max() + 1e-3


def test_batches_are_those_of_the_cpu(data):
    here, there = Examples(data), Examples(data, device="cuda")
    assert isinstance(there.bytes, torch.Tensor)
    expected, batch = here.batch(np.arange(9)), there.batch(np.arange(9))
    width = expected["input_ids"].shape[1]
    for name, tensor in expected.items():
        ours = batch[name].cpu()
        assert torch.equal(ours if ours.dim() == 1 else ours[:, :width], tensor), name
    assert (batch["labels"][:, width:] == -100).all() and not batch["attention_mask"][
        :, width:
    ].any()
    masks = FreshMasks(minibert.Tokenizer.from_folder(data), 0.15, torch.device("cuda"))
    fresh = there.batch(np.arange(9), masks)
    assert ((fresh["labels"] != -100).sum(1) == (batch["labels"] != -100).sum(1)).all()


def quiet_run(data, folder, **changes):
    quiet = dataclasses.replace(TINY, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    settings = TrainSettings(steps=20, batch_size=8, log_every=5, eval_every=10, save_every=20)
    pretrain(data, folder, quiet, dataclasses.replace(settings, **changes))
    return read_log(folder / "log.csv")


@pytest.mark.parametrize(("changes", "tolerance"), [({}, 1e-4), (COMPILED, 0.05)])
def test_training_is_that_of_the_cpu(data, tmp_path, monkeypatch, changes, tolerance):
    gpu = quiet_run(data, tmp_path / "gpu", **changes)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for ours, theirs in zip(gpu, quiet_run(data, tmp_path / "cpu"), strict=True):
        assert ours["tokens"] == theirs["tokens"]
        assert abs(ours["loss"] - theirs["loss"]) < tolerance
        assert abs(ours.get("heldout_loss", 0) - theirs.get("heldout_loss", 0)) < tolerance


@pytest.mark.parametrize("launcher", [["-m"], ["-m", "torch.distributed.run", "-m"]])
def test_the_commands_take_the_gpu(data, tmp_path, launcher):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    words = ["embed", "texts.txt", "-o", "v.npy", "-m", "minibert-tiny", "--device", "cuda"]
    training = ["pretrain", data, "-o", tmp_path / "run", "--steps", "3", "--hidden", "64"]
    for command in (words, training):
        call = [sys.executable, *launcher, "minibert", *map(str, command)]
        done = subprocess.run(call, capture_output=True, text=True, env=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    expected = minibert.load("minibert-tiny").embed(TEXTS)
    assert np.abs(np.load(tmp_path / "v.npy") - expected).max() < 1e-5


def test_processes_name_the_gpu():
    with processes.join() as device:
        assert device.type == "cuda"
