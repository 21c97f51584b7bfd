"""The command line: output, JSON, exit codes, and errors in words."""

import json
import subprocess
import sys

import pytest

from minibert.weights.loading import save_weights
from tests.conftest import ROOT
from tests.parity.twins import TINY, trained_like
from weights_tools.cli import main


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "model"
    source.mkdir()
    save_weights(trained_like(TINY).float(), source)
    return source


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_every_command_teaches_with_an_example():
    for command in ("fetch", "show", "convert", "export", "verify"):
        done = subprocess.run(
            [sys.executable, "-m", "weights_tools", command, "--help"],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        assert f"example:\n  python -m weights_tools {command}" in done.stdout


def test_the_commands_of_minibert(capsys, folder):
    from minibert.cli.main import main as minibert

    assert minibert(["weights", "show", str(folder)]) == 0
    assert "embeddings.token.weight" in capsys.readouterr().out
    for command in (["verify"], ["weights", "verify"]):
        assert minibert([*command, str(folder), "--no-transformers"]) == 3
        assert "NOT RUN" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        minibert(["weights", "convert", "--help"])
    assert "example:\n  minibert weights convert" in capsys.readouterr().out


def test_show_and_diff(folder, tmp_path, capsys):
    code, out, _ = run(capsys, "show", folder)
    assert code == 0 and "embeddings.token.weight" in out
    code, out, _ = run(capsys, "show", folder, "--json")
    listing = json.loads(out)
    assert code == 0 and len(listing["rows"]) == 62 and "totals" in listing
    assert run(capsys, "show", folder, "--diff", folder)[0] == 0
    other = tmp_path / "other"
    other.mkdir()
    save_weights(trained_like(TINY, seed=1).float(), other)
    code, out, _ = run(capsys, "show", folder, "--diff", other, "--json")
    assert code == 1 and json.loads(out)["same"] is False


def test_convert_and_export(folder, tmp_path, capsys):
    code, out, _ = run(capsys, "convert", folder, tmp_path / "a", "--json")
    assert code == 0 and json.loads(out)["tensors"] == 62
    code, out, _ = run(capsys, "export", folder, tmp_path / "b")
    assert code == 0 and "62 tensors" in out
    assert (tmp_path / "a/model.safetensors").read_bytes() == (
        (tmp_path / "b/model.safetensors").read_bytes()
    )
    assert run(capsys, "export", folder, tmp_path / "c", "--format", "tf")[0] == 0
    assert run(capsys, "show", tmp_path / "c", "--diff", folder)[0] == 0


def test_verify(folder, capsys):
    code, out, _ = run(capsys, "verify", folder, "--no-transformers", "--json")
    assert code == 3 and json.loads(out)["summary"].startswith("NOT RUN")
    code, out, _ = run(capsys, "verify", folder)
    assert code == 0 and "block 2 attention" in out
    code, out, _ = run(capsys, "verify", folder, "--claim", "bert-base-uncased")
    assert code == 1 and "FAILED" in out


def test_fetch_lists_its_names(capsys):
    code, out, _ = run(capsys, "fetch", "--list")
    assert code == 0 and "google/bert_uncased_L-2_H-128_A-2" in out
    assert len(json.loads(run(capsys, "fetch", "--list", "--json")[1])) == 64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "no/such/file"), "is not there"),
        (("convert", "no/such.zip", "out"), "is not there"),
        (("verify", "no/such/folder"), "no/such/folder"),
        (("fetch",), "which model"),
        (("fetch", "bert-huge"), "unknown model"),
        (("export", "no/such", "out", "--format", "onnx"), "no/such"),
    ],
)
def test_errors_are_one_sentence_and_exit_code_1(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert code == 1 and out == ""
    assert err.startswith("weights_tools: ") and message in err and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_wrong_usage_is_exit_code_2(capsys):
    for arguments in ([], ["polish"], ["convert", "x"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
