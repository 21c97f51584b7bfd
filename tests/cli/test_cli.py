"""The command line: what it prints, what it refuses, its exit codes."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import minibert
from minibert.cli.main import main, make_parser
from minibert.cli.options import add_command
from minibert.cli.vectors import UNRELATED
from minibert.weights.loading import save_weights
from tests.conftest import ROOT
from tests.parity.twins import trained_like
from tests.test_bert import WORDS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    save_weights(trained_like().float(), path)
    (path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return path


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def typed(monkeypatch, content: bytes) -> None:
    stream = io.TextIOWrapper(io.BytesIO(content))
    monkeypatch.setattr("sys.stdin", stream)


def test_tokenize(capsys, folder):
    code, out, _ = run(capsys, "tokenize", "-m", str(folder), "The Rivers!")
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["piece", "id", "place", "text"]
    assert rows[1] == ["the", "5", "0:3", "The"]
    assert rows[2:] == [
        ["river", "6", "4:9", "River"],
        ["##s", "9", "9:10", "s"],
        ["[UNK]", "1", "10:11", "!"],
    ]


def test_tokenize_json_from_standard_input(capsys, folder, monkeypatch):
    typed(monkeypatch, b"\xef\xbb\xbfthe man\r\nriver\n")
    code, out, _ = run(capsys, "tokenize", "-m", str(folder), "--json")
    first, second = map(json.loads, out.splitlines())
    assert code == 0 and first["input_ids"] == [5, 11] and first["offsets"] == [[0, 3], [4, 7]]
    assert second == {"text": "river", "tokens": ["river"], "input_ids": [6], "offsets": [[0, 5]]}


def test_explain(capsys, folder):
    code, out, _ = run(capsys, "tokenize", "-m", str(folder), "--explain", "Rivers")
    assert code == 0 and "river" in out and "\x1b[" not in out, "no colour where it is no terminal"


def test_fill_mask(capsys, folder):
    code, out, _ = run(
        capsys, "fill-mask", "-m", str(folder), "--top", "3", "the [MASK] was [MASK]"
    )
    assert code == 0 and "(blank 2 of 2)" in out and len(out.splitlines()) == 8
    code, out, _ = run(capsys, "fill-mask", "-m", str(folder), "--json", "the [MASK]")
    answer = json.loads(out)["masks"][0]
    expected = minibert.load(folder).fill_mask("the [MASK]")[0]
    assert [a["token"] for a in answer] == [p.token for p in expected]
    code, out, _ = run(
        capsys, "fill-mask", "-m", str(folder), "--targets", "river,the", "the [MASK]"
    )
    assert sorted(line.split()[1] for line in out.splitlines()[1:]) == ["river", "the"]
    joint = ("fill-mask", "-m", str(folder), "--jointly", "--top", "2", "the [MASK] was [MASK]")
    code, out, _ = run(capsys, *joint)
    assert [len(line.split()) for line in out.splitlines()[1:]] == [3, 3]
    code, out, _ = run(capsys, *joint, "--json")
    assert len(json.loads(out)["fillings"][0]["tokens"]) == 2


def test_two_texts(capsys, folder):
    code, out, _ = run(capsys, "similarity", "-m", str(folder), "the river", "the river")
    assert code == 0 and out.startswith("1.0000")
    code, out, _ = run(capsys, "next-sentence", "-m", str(folder), "--json", "the man", "he went")
    assert code == 0 and 0 < json.loads(out)["is_next"] < 1


def test_embed(capsys, folder, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("the river\na man went in\n\nthe bank was in the river\n")
    output = tmp_path / "vectors.npy"
    code, out, _ = run(capsys, "embed", "-m", str(folder), str(texts), "-o", str(output))
    vectors = np.load(output)
    assert code == 0 and vectors.shape == (4, 20) and "4 vectors of 20" in out
    expected = minibert.load(folder).embed(texts.read_text().split("\n")[:-1])
    assert np.abs(vectors - expected).max() < 1e-6


def test_trace(capsys, folder, tmp_path):
    output = tmp_path / "trace.npz"
    code, out, _ = run(capsys, "trace", "-m", str(folder), "--save", str(output), "the river")
    assert code == 0 and out.splitlines()[0] == "[CLS] the river [SEP]"
    with np.load(output) as archive:
        assert archive["encoder.blocks.2.attention.probabilities"].shape == (1, 4, 4, 4)
    code, out, _ = run(capsys, "trace", "-m", str(folder), "--json", "the river")
    assert json.loads(out)["tensors"][0]["name"] == "embeddings.token"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tokenize", "-m", "./nowhere", "x"], "does not exist"),
        (["fill-mask", "-m", "FOLDER", "the river"], r"no \[MASK\]"),
        (["fill-mask", "-m", "FOLDER", "--top", "99", "[MASK]"], "top must lie in 1..61"),
        (["embed", "-m", "FOLDER", "TEXTS", "-o", "out.txt"], "must end in .npy"),
        (["embed", "-m", "FOLDER", "TEXTS", "-o", "no/such/out.npy"], "does not exist"),
        (["embed", "-m", "FOLDER", "./absent.txt", "-o", "OUT"], "absent.txt"),
        (["embed", "-m", "FOLDER", "BINARY", "-o", "OUT"], "line 2.*not UTF-8|not UTF-8.*line 2"),
        (["trace", "-m", "FOLDER", " ".join(["river"] * 30)], "at most 16 tokens"),
        (["fill-mask", "-m", "FOLDER", "\udcff [MASK]"], "surrogate"),
    ],
)
def test_refusals(capsys, folder, tmp_path, arguments, words):
    texts, binary = tmp_path / "texts.txt", tmp_path / "binary.txt"
    texts.write_text("the river\n")
    binary.write_bytes(b"the river\n\xff\xfe\n")
    names = {"FOLDER": folder, "TEXTS": texts, "BINARY": binary, "OUT": tmp_path / "out.npy"}
    code, out, err = run(capsys, *(str(names.get(a, a)) for a in arguments))
    assert code == 1 and not out
    assert err.startswith("minibert: ") and "Traceback" not in err
    assert re.search(words, err), err
    assert not (tmp_path / "out.npy").exists()


DASHES = [
    "- the river",
    "-the river",
    "-more or less",
    "-help me",
    "-5 degrees",
    "--json is",
    "-h = x",
    "-5",
]


@pytest.mark.parametrize("text", DASHES)
def test_a_text_that_begins_with_a_dash(capsys, folder, text):
    code, out, _ = run(capsys, "tokenize", "-m", str(folder), "--json", text)
    assert code == 0 and json.loads(out)["text"] == text
    code, out, _ = run(capsys, "next-sentence", "-m", str(folder), text, text)
    assert code == 0 and out.endswith("probability that B follows A\n")
    code, out, _ = run(capsys, "trace", "-m", str(folder), "--pair", text, "river")
    assert code == 0 and "[SEP]" in out
    code, out, _ = run(capsys, "tokenize", "-m", str(folder), "--json", "--", text, "-cold")
    assert code == 0 and json.loads(out.splitlines()[1])["text"] == "-cold"


@pytest.mark.parametrize(
    "arguments",
    [
        ["tokenize", "-m", "FOLDER", "-cold"],
        ["tokenize", "-hot"],
        ["tokenize", "--cold"],
        ["tokenize", "-5°C"],
        ["next-sentence", "-m", "FOLDER", "river", "-cold"],
        ["trace", "--pair", "-cold", "river"],
    ],
)
def test_one_word_that_begins_with_a_dash_is_told_where_it_goes(capsys, folder, arguments):
    with pytest.raises(SystemExit, match="2"):
        run(capsys, *(str(folder) if a == "FOLDER" else a for a in arguments))
    out, err = capsys.readouterr()
    assert not out and "begins with a dash stands behind all options, after --" in err


def test_the_dash_is_no_matter_elsewhere(capsys, folder):
    with pytest.raises(SystemExit, match="2"):
        run(capsys, "next-sentence", "-m", str(folder), "river")
    assert "dash" not in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["cp1252", "gbk"])
def test_a_console_of_another_encoding(folder, encoding):
    command = [sys.executable, "-m", "minibert", "tokenize", "-m", str(folder)]
    text = "naïve → 中 😀"
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    for more in (["--json"], [], ["--explain"]):
        done = subprocess.run([*command, *more, text], env=env, capture_output=True, check=False)
        assert done.returncode == 0 and not done.stderr, done.stderr
        if more == ["--json"]:
            assert json.loads(done.stdout.decode(encoding))["text"] == text


CLOSED = """
import os, sys
for number in map(int, sys.argv.pop(1)):
    os.close(number)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def started(closed: str, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process that has some of its standard streams closed."""
    return subprocess.run(
        [sys.executable, "-c", CLOSED, closed, *command],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(os.name == "nt", reason="closed otherwise on Windows")
def test_standard_streams_that_are_closed(folder, tmp_path):
    tokenize = ["-m", "minibert", "tokenize", "-m", str(folder)]
    done = started("2", *tokenize, "the river")
    assert done.returncode == 0 and "river" in done.stdout
    done = started("1", *tokenize, "the river")
    assert done.returncode == 1 and "standard output is closed" in done.stderr
    done = started("0", *tokenize)
    assert done.returncode == 1 and "standard input is closed" in done.stderr
    (tmp_path / "texts.txt").write_text("the river\n")
    command = ["embed", "-m", str(folder), str(tmp_path / "texts.txt"), "-o"]
    assert started("012", "-m", "minibert", *command, str(tmp_path / "v.npy")).returncode == 0
    assert np.load(tmp_path / "v.npy").shape == (1, 20)


def test_output_that_is_not_utf8_and_warnings_as_errors(folder):
    tokenize = ["-W", "error", "-m", "minibert", "tokenize", "-m", str(folder), "the 中 😀"]
    done = started("", *tokenize, PYTHONIOENCODING="latin-1")
    assert done.returncode == 0 and "\\u4e2d" in done.stdout and not done.stderr
    done = started("", *tokenize, "--json", PYTHONIOENCODING="latin-1")
    assert json.loads(done.stdout)["text"] == "the 中 😀"


@pytest.mark.parametrize("number", [signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)])
def test_stopped_by_a_signal(folder, tmp_path, capsys, monkeypatch, number):
    """What was being written is gone, the exit code tells the signal, and handlers are restored."""
    before = signal.getsignal(number)
    from minibert import trace

    monkeypatch.setattr(trace, "Trace", lambda *arguments: os.kill(os.getpid(), number))
    output = tmp_path / "out.npz"
    code, _, err = run(capsys, "trace", "-m", str(folder), "the", "--save", str(output))
    assert code == 128 + number and err == "minibert: stopped\n"
    assert not list(tmp_path.iterdir()) and signal.getsignal(number) is before
    monkeypatch.undo()
    signal.signal(number, signal.SIG_IGN)  # as nohup does
    try:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
        monkeypatch.setattr(
            "minibert.cli.text.texts_of", lambda a: os.kill(os.getpid(), number) or []
        )
        assert run(capsys, "tokenize", "-m", str(folder))[0] == 0
    finally:
        signal.signal(number, before)


def test_what_trace_and_view_do_not_overwrite(capsys, folder, tmp_path):
    own = tmp_path / "own.npz"
    own.write_text("of the user")
    code, _, err = run(capsys, "trace", "-m", str(folder), "--save", str(own), "the river")
    assert code == 1 and "is there already" in err and own.read_text() == "of the user"


def test_train_vocab_refuses_its_own_text(capsys, tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("a text\n")
    code, _, err = run(capsys, "train-vocab", str(corpus), "-o", str(corpus))
    assert code == 1 and "it is also read" in err and corpus.read_text() == "a text\n"
    code, _, err = run(capsys, "train-vocab", str(tmp_path), "-o", str(tmp_path / "v.txt"))
    assert code == 1 and f"cannot open {tmp_path}: Is a directory" in err


def test_wrong_usage():
    for arguments in ([], ["no-such-command"], ["embed", "x"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2


def test_every_help_has_an_example(capsys):
    commands = next(
        a for a in make_parser()._actions if a.choices and hasattr(a, "_name_parser_map")
    )
    for name in commands.choices:
        try:
            code = main([name, "--help"])
        except SystemExit as done:
            code = done.code
        out = capsys.readouterr().out
        assert code == 0 and "example" in out and re.search(rf"(minibert|tools) {name}", out), name


def test_commands_of_other_packages(capsys, monkeypatch):
    class Entry:
        def load(self):
            return lambda commands: add_command(commands, print, "hello", "greet", "minibert hello")

    monkeypatch.setattr("minibert.cli.main.entry_points", lambda group: [Entry()])
    code, out, _ = run(capsys, "hello")
    assert code == 0 and "Namespace" in out
    assert "verify" in make_parser().format_help(), "weights_tools is there, if not as an entry"


def test_a_broken_package_takes_nothing_else_away(capsys, monkeypatch):
    class Entry:
        value = "greetings:add_commands"

        def load(self):
            raise ModuleNotFoundError("No module named 'greetings'")

    monkeypatch.setattr("minibert.cli.main.entry_points", lambda group: [Entry()])
    code, out, err = run(capsys, "tokenize", "-m", "minibert-tiny", "a cat")
    assert code == 0 and "cat" in out
    assert "greetings:add_commands are left out" in err and "update or remove" in err


def test_verify_without_its_package(capsys, monkeypatch):
    monkeypatch.setattr("minibert.cli.main.entry_points", lambda group: [])
    monkeypatch.setattr("minibert.cli.main.find_spec", lambda name: None)
    code, out, err = run(capsys, "verify", "models/bert")
    assert code == 1 and not out
    assert err.startswith("minibert: ") and "weights_tools, which is not installed" in err


def test_the_parsers_are_built_without_torch():
    program = "import sys; from minibert.cli.main import make_parser; make_parser(); "
    program += "print({'torch', 'numpy', 'safetensors'} & set(sys.modules))"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "set()", done.stderr


def test_what_is_to_be_read_is_not_for_programs(capsys, folder):
    code, out, err = run(capsys, "tokenize", "-m", str(folder), "--explain", "--json", "river")
    assert code == 1 and not out and "leave one of the two out" in err


def test_ctrl_c(capsys, folder, monkeypatch):
    def stop(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("minibert.bert.load", stop)
    assert run(capsys, "trace", "-m", str(folder), "x")[0] == 130


def test_as_a_program(folder):
    command = [sys.executable, "-m", "minibert", "tokenize", "-m", str(folder), "river"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and "river" in done.stdout
    pipe = f"{' '.join(command)} | head -c 1 > /dev/null"
    done = subprocess.run(pipe, shell=True, capture_output=True, text=True, cwd=ROOT)
    assert "Traceback" not in done.stderr


def test_a_reader_that_is_gone(folder):
    """As in `minibert tokenize ... | true`."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "minibert", "tokenize", "-m", str(folder), "river"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, cwd=ROOT)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_offline_the_default_is_the_model_in_the_box(capsys, monkeypatch, tmp_path):
    """And no other name is: what was asked for is never replaced."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("MINIBERT_MODEL", raising=False)
    text = "He opened the [MASK] and went in."
    code, out, err = run(capsys, "fill-mask", text)
    assert code == 0 and "this is minibert-tiny" in err and len(err.splitlines()) == 1
    assert run(capsys, "fill-mask", "-m", "minibert-tiny", text) == (0, out, "")
    for arguments in (["-m", "google-bert/bert-base-uncased"], ["-m", "no/such"]):
        code, out, err = run(capsys, "fill-mask", *arguments, text)
        assert code == 1 and not out and "downloads are switched off" in err
    monkeypatch.setenv("MINIBERT_MODEL", "google-bert/bert-base-uncased")
    assert run(capsys, "tokenize", text)[0] == 1
    monkeypatch.delenv("MINIBERT_MODEL")
    assert run(capsys, "tokenize", text)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["embed", "./absent.txt", "-o", "out.npy"], "absent.txt"),
        (["embed", __file__, "-o", "out.txt"], "must end in .npy"),
        (["embed", __file__, "-o", "no/such/out.npy"], "does not exist"),
        (["fill-mask", "--top", "0", "a [MASK]"], "--top must be at least 1"),
        (["fill-mask", "--jointly", "--targets", "x", "a [MASK]"], "--jointly compares all words"),
    ],
)
def test_files_and_numbers_are_looked_at_before_a_model_is_looked_for(capsys, arguments, words):
    code, _, err = run(capsys, arguments[0], "-m", "./nowhere", *arguments[1:])
    assert code == 1 and words in err and "nowhere" not in err


def test_a_similarity_has_something_beside_it(capsys, folder):
    code, out, _ = run(capsys, "similarity", "-m", str(folder), "the river", "a man", "--json")
    answer, bert = json.loads(out), minibert.load(folder)
    vectors = bert.embed(UNRELATED).astype(float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [vectors[i] @ vectors[j] for i in range(len(vectors)) for j in range(i)]
    assert answer["unrelated"] == pytest.approx(np.mean(pairs), abs=1e-5)
    assert answer["cosine"] == pytest.approx(bert.similarity("the river", "a man"))
    _, out, _ = run(capsys, "similarity", "-m", str(folder), "the river", "a man")
    assert f"{np.mean(pairs):.4f}  that of unrelated sentences" in out


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["fill_mask", "x"], "(did you mean fill-mask?)"),
        (["fill-mask", "--tpo", "3", "x"], "--tpo (did you mean --top?)"),
        (["fill-mask", "--tpo=3", "x"], "--tpo=3 (did you mean --top?)"),
        (["view", "--what", "len", "x"], "(did you mean lens?)"),
        (["weights", "exporrt", "x"], "(did you mean export?)"),
        (["fill-mask", "--zzz", "x"], "unrecognized arguments: --zzz"),
    ],
)
def test_what_may_have_been_meant(capsys, arguments, meant):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert meant in capsys.readouterr().err


def test_the_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"minibert {minibert.__version__}\n"


def test_an_editable_install_is_found_from_the_folder_above(tmp_path):
    """There lies a folder `minibert`, the clone, which Python would take for a package."""
    pytest.importorskip("setuptools", "77", reason="setuptools 77 or newer is absent")
    clone = tmp_path / "minibert"
    (clone / "minibert").mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE", "minibert/__init__.py"):
        shutil.copy(ROOT / name, clone / name)
    make = "from setuptools import build_meta; print(build_meta.build_editable('..'))"
    made = subprocess.run([sys.executable, "-c", make], cwd=clone, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "installed")
    use = "import site; site.addsitedir('installed'); import minibert; print(minibert.__file__)"
    command = [sys.executable, "-S", "-c", use]
    used = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={})
    assert used.stdout.strip() == str(clone / "minibert/__init__.py"), used.stderr
