"""finetune, predict and evaluate from the command line, for each task."""

import io
import json

import pytest

from minibert.cli.main import main
from minibert.weights.loading import save_weights
from tests.parity.twins import trained_like
from tests.tasks.conftest import CONFIG, WORDS
from tests.tasks.test_questions import SQUAD

FILES = {
    "classification": ("x.tsv", "label\ttext\tpair\n" + "a\tthe river\ton\nb\tin\tthe river\n" * 6),
    "multi-label": ("x.jsonl", '{"label": ["a", "b"], "text": "in"}\n{"label": [], "text": "a"}\n'),
    "regression": ("x.tsv", "label\ttext\n0.5\tin the river\n1.5\ta\n"),
    "tokens": ("x.conll", "anna B-PER\nran O\n\nin O\nleeds B-LOC\n"),
    "questions": ("x.json", json.dumps(SQUAD)),
    "choices": ("x.jsonl", '{"text": "a", "options": ["in", "on"], "label": 1}\n'),
}
MEASURE = {
    "classification": "accuracy",
    "multi-label": "f1",
    "regression": "pearson",
    "tokens": "f1",
    "questions": "exact",
    "choices": "accuracy",
}
LINES = {
    "classification": ("in the river ||| on", "classes"),
    "multi-label": ("in the river", "classes"),
    "regression": ("in the river", "classes"),
    "tokens": ("anna was in leeds", "entities"),
    "questions": ("who? ||| anna came", "text"),
    "choices": ("the river ||| in ||| on", "options"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    save_weights(trained_like(CONFIG).float(), tmp_path / "model")
    (tmp_path / "model" / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("task", FILES)
def test_from_examples_to_answers(folder, capsys, task):
    name, content = FILES[task]
    (folder / name).write_text(content)
    command = ["finetune", name, "--task", task, "--dev", name, "-m", "model", "-o", "out"]
    assert main([*command, "--epochs", "1", "--threads", "1"]) == 0
    assert f"{MEASURE[task]} " in capsys.readouterr().out
    assert main(["evaluate", "out", name, "--json"]) == 0
    assert MEASURE[task] in json.loads(capsys.readouterr().out)
    line, key = LINES[task]
    (folder / "lines.txt").write_text(f"{line}\n{line}\n")
    assert main(["predict", "out", "lines.txt", "--json"]) == 0
    answers = [json.loads(row) for row in capsys.readouterr().out.splitlines()]
    assert len(answers) == 2 and answers[0] == answers[1] and key in answers[0]
    assert main(["predict", "out", "lines.txt"]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 2
    if task == "questions":
        assert main(["predict", "out", name, "-o", "answers"]) == 0
        assert {"1", "2"} == set(json.loads((folder / "answers/predictions.json").read_text()))
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("predict model lines.txt", "was fine-tuned for no task: minibert finetune TRAIN --task"),
        ("evaluate model x.tsv", "was fine-tuned for no task; --data"),
        ("evaluate model x.tsv --data y", "FILE is for a fine-tuned model"),
        ("finetune x.tsv -m model -o out --patience 1", "--patience waits for a better score"),
        ("finetune x.tsv -m model -o out --task tokens", "line 3: expected a word and its tag"),
        ("finetune none.tsv -m model -o out", "none.tsv does not exist"),
        ("finetune x.tsv -m model -o out --columns a,b", "expected a column 'a'"),
    ],
)
def test_what_is_refused(folder, capsys, words, message):
    (folder / "x.tsv").write_text("label\ttext\n1\tgood one\nbad\n")
    (folder / "lines.txt").write_text("a\n")
    assert main(words.split()) == 1
    assert message in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_lines_that_are_wrong_are_named(folder, capsys, monkeypatch):
    for task, good in (("questions", "who? ||| anna"), ("choices", "a ||| in ||| on")):
        name, content = FILES[task]
        (folder / name).write_text(content)
        command = ["finetune", name, "--task", task, "-m", "model", "-o", task, "--epochs", "1"]
        assert main(command) == 0
        (folder / "lines.txt").write_text(f"{good}\nno mark\n")
        capsys.readouterr()
        assert main(["predict", task, "lines.txt"]) == 1
        assert "lines.txt, line 2: expected " in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"no mark\n")))
    assert main(["predict", "choices"]) == 1
    assert "standard input, line 1: expected text ||| option" in capsys.readouterr().err
