"""Fetching, with the hub's real client, from a stand-in hub on this machine."""

import hashlib
import json

import huggingface_hub
import pytest
from huggingface_hub import constants, file_download

import weights_tools.fetch
from minibert.weights.hub_errors import HubError
from minibert.weights.known_models import PINNED, SUGGESTIONS, Pin
from tests.weights.hub_server import HubServer
from weights_tools.fetch import NAMES, Plan, fetch, plan, repository_of

REPO = NAMES["bert-tiny"]
WEIGHTS = bytes(range(256)) * 40
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "vocab.txt": b"[PAD]\nthe\n",
    "pytorch_model.bin": WEIGHTS,
}
MORE = {**FILES, "README.md": b"# tiny", "tf_model.h5": b"h5"}


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    if hasattr(huggingface_hub, "close_session"):
        huggingface_hub.close_session()
    with HubServer() as stand_in:
        monkeypatch.setattr(constants, "ENDPOINT", stand_in.url)
        template = stand_in.url + "/{repo_id}/resolve/{revision}/{filename}"
        for module in (constants, file_download):
            if hasattr(module, "HUGGINGFACE_CO_URL_TEMPLATE"):
                monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
        yield stand_in


def test_it_says_what_comes_and_how_large_before_it_starts(server, tmp_path):
    commit = server.commit(REPO, MORE)
    said = []
    folder = fetch(
        "bert-tiny", tmp_path / "tiny", say=lambda text: said.append((text, server.downloads()))
    )
    ((text, downloaded),) = said
    assert downloaded == []
    total = sum(map(len, FILES.values()))
    assert f"{total:,} bytes" in text and commit in text and REPO in text
    assert "unpinned" in text and "README.md" not in text
    assert folder == tmp_path / "tiny"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert not any(path.is_symlink() for path in folder.iterdir())


def test_a_second_time_nothing_is_downloaded(server, tmp_path):
    server.commit(REPO, FILES)
    fetch("bert-tiny")
    before = len(server.downloads())
    said = []
    fetch("bert-tiny", tmp_path / "copy", say=said.append)
    assert "already in the cache" in said[0] and len(server.downloads()) == before


def test_a_pinned_model_is_fetched_at_its_commit_and_checked(server, tmp_path, monkeypatch):
    repository = NAMES["bert-base-uncased"]
    commit = server.commit(repository, FILES)
    server.commit(repository, {**FILES, "config.json": b"newer"})
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    monkeypatch.setitem(PINNED, repository, Pin(commit, sums))
    monkeypatch.setattr(weights_tools.fetch, "known_fingerprints", dict)
    found = plan("bert-base-uncased")
    assert found.revision == commit and set(found.pinned) == set(FILES)
    assert "sha256 published" in str(found) and "unpinned" not in str(found)
    folder = fetch("bert-base-uncased", tmp_path / "base")
    assert (folder / "config.json").read_bytes() == FILES["config.json"]


def test_wrong_content_and_wrong_size_are_refused(server, tmp_path, monkeypatch):
    repository = NAMES["bert-base-uncased"]
    commit = server.commit(repository, FILES)
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    monkeypatch.setitem(PINNED, repository, Pin(commit, {**sums, "vocab.txt": "0" * 64}))
    with pytest.raises(HubError, match="vocab.txt"):
        fetch("bert-base-uncased", tmp_path / "base")
    monkeypatch.setitem(PINNED, repository, Pin(commit, sums))
    with pytest.raises(HubError, match="published are"):  # the size of config.json or vocab.txt
        fetch("bert-base-uncased", tmp_path / "base")
    assert not (tmp_path / "base").exists()


def test_an_unknown_name_and_a_full_folder(server, tmp_path):
    with pytest.raises(ValueError, match="unknown model 'bert-huge'"):
        fetch("bert-huge")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(FileExistsError, match="choose a new name"):
        fetch("bert-tiny", tmp_path / "mine")
    with pytest.raises(HubError, match="org/nothing"):
        plan("org/nothing")
    assert server.downloads() == []


def test_sharded_weights_are_planned_whole(server):
    shards = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    index = {"weight_map": dict(zip("ab", shards, strict=True))}
    files = {
        "config.json": b"{}",
        "model.safetensors.index.json": json.dumps(index).encode(),
        **dict.fromkeys(shards, b"shard"),
    }
    server.commit("org/large", files)
    assert set(plan("org/large").sizes) == set(files)


def test_a_file_whose_size_the_hub_does_not_say():
    text = str(Plan("tiny", "org/tiny", "main", {"config.json": None, "vocab.txt": 1234}, ()))
    assert "  ?  config.json" in text and "  1,234  vocab.txt" in text


def test_the_names():
    assert len([name for name in NAMES if name.startswith("bert_uncased_L-")]) == 24
    assert repository_of("bert-base-cased") == "google-bert/bert-base-cased"
    assert repository_of("bert-medium") == "google/bert_uncased_L-8_H-512_A-8"
    assert repository_of("org/name") == "org/name"
    assert set(SUGGESTIONS[:4]) <= set(NAMES.values())
