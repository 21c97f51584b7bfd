"""What a run leaves when it is killed, doubled, or no longer computes numbers."""

import dataclasses
import json
import os
import signal

import pytest
import torch

from minibert.training import pretrain as loop
from minibert.training.checkpoint import StopRequest
from minibert.training.pretrain import pretrain
from minibert.training.settings import TrainSettings
from minibert.weights.loading import load_weights
from tests.parity.twins import TINY
from tests.training.text_samples import prepared

SHORT = TrainSettings(steps=4, batch_size=8, log_every=2, eval_every=2, save_every=2, eval_rows=8)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("prepared"))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("first", [2, 4], ids=["no older model", "an older model"])
def test_a_run_killed_before_its_last_model_exports_it(data, tmp_path, monkeypatch, first):
    """The same command says "done", so the model must be the checkpoint's."""
    pretrain(data, tmp_path / "whole", TINY, SHORT)
    original = loop.export_model

    def kill(*arguments):
        if torch.load(tmp_path / "run" / "checkpoint.pt")["state"]["step"] == 4:
            raise SystemExit
        original(*arguments)

    monkeypatch.setattr(loop, "export_model", kill)
    with pytest.raises(SystemExit):
        pretrain(data, tmp_path / "run", TINY, dataclasses.replace(SHORT, save_every=first))
    assert (tmp_path / "run" / "model").exists() == (first == 2)
    monkeypatch.undo()
    assert pretrain(data, tmp_path / "run", TINY, SHORT).finished
    assert contents(tmp_path / "run" / "model") == contents(tmp_path / "whole" / "model")


def test_the_exchange_of_models_is_atomic(data, tmp_path, monkeypatch):
    """At every rename there is a model that loads: the old one, or the new one."""
    pretrain(data, tmp_path / "run", TINY, SHORT)
    model = tmp_path / "run" / "model"
    (model / "README.md").write_text("of the user")
    before = load_weights(model)[0].state_dict()
    original, seen = type(model).replace, []

    def replace(path, target):
        result = original(path, target)
        seen.append(load_weights(model)[0].state_dict())
        return result

    monkeypatch.setattr(type(model), "replace", replace)
    pretrain(data, tmp_path / "run", TINY, dataclasses.replace(SHORT, steps=6))
    monkeypatch.undo()
    after = load_weights(model)[0].state_dict()
    for state in seen:
        old, new = (
            all(torch.equal(state[name], other[name]) for name in state)
            for other in (before, after)
        )
        assert old != new
    assert (model / "README.md").read_text() == "of the user"


@pytest.mark.skipif(os.name == "nt", reason="no locks on Windows")
def test_one_run_a_folder(data, tmp_path, monkeypatch):
    original = loop.training_step

    def second(*arguments):
        monkeypatch.setattr(loop, "training_step", original)
        with pytest.raises(BlockingIOError, match="another process is writing .*run"):
            pretrain(data, tmp_path / "run", TINY, SHORT)
        return original(*arguments)

    monkeypatch.setattr(loop, "training_step", second)
    assert pretrain(data, tmp_path / "run", TINY, SHORT).finished
    (tmp_path / "link").symlink_to("run")
    assert pretrain(data, tmp_path / "link", TINY, SHORT).finished


@pytest.mark.parametrize("where", ["loss", "weights"])
def test_a_run_that_is_no_longer_numbers_keeps_its_last_state(data, tmp_path, monkeypatch, where):
    pretrain(data, tmp_path / "run", TINY, dataclasses.replace(SHORT, steps=2))
    before = contents(tmp_path / "run") | contents(tmp_path / "run" / "model")
    original = loop.training_step

    def step(module, *arguments):
        sums = original(module, *arguments)
        if where == "weights":
            next(module.parameters()).data[0] = torch.nan
        else:
            sums[1:] = torch.nan  # all but the count
        return sums

    monkeypatch.setattr(loop, "training_step", step)
    with pytest.raises(ValueError, match="no longer numbers .NaN. by step 4: what .* is kept"):
        pretrain(data, tmp_path / "run", TINY, SHORT)
    assert contents(tmp_path / "run") | contents(tmp_path / "run" / "model") == before


def test_a_run_goes_on_with_its_own_tokenizer(tmp_path):
    data = prepared(tmp_path)
    pretrain(data, tmp_path / "run", TINY, dataclasses.replace(SHORT, steps=2))
    settings = data / "tokenizer_config.json"
    changed = {**json.loads(settings.read_text()), "strip_accents": False}
    settings.write_text(json.dumps(changed))
    with pytest.raises(ValueError, match="is of another run: data.tokenizer "):
        pretrain(data, tmp_path / "run", TINY, SHORT)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signal")
def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.signal is None
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.signal == signal.SIGHUP
    finally:
        signal.signal(signal.SIGHUP, before)
