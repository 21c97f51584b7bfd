"""The exercises: stubs are empty and complete, right solutions pass, wrong ones are named."""

import doctest
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from minibert.diagnosis.catalogue.mistake import CATALOGUE
from minibert.diagnosis.function_check import diagnose, inputs_that_matter
from minibert.diagnosis.probe import probe_model
from tests.tutorials import exercise_solutions
from tutorials.check import EXERCISES, Result, borrowed, check, judged, main, reveal, told
from tutorials.exercises.todo import TODO, NotDone
from tutorials.lessons import LESSONS

BY_FUNCTION = {lesson.function: lesson for lesson in LESSONS}
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.function)


def write(folder, function, source):
    (folder / BY_FUNCTION[function].file).write_text(source, encoding="utf-8")
    return BY_FUNCTION[function]


CALLS = """
import json, sys
from tutorials.check import main
for words in json.loads(sys.argv[1]):
    print(f"{main(words)}\\x1e", end="", flush=True)
"""


def run_all(*calls):
    """What main() prints for each call, and its exit code: in one process of their own.

    The checks fork, and a fork of the tests' process, which holds all that other tests have
    loaded, takes half a second.
    """
    words = [sys.executable, "-c", CALLS, json.dumps(calls)]
    done = subprocess.run(
        words, capture_output=True, encoding="utf-8", check=True, cwd=EXERCISES.parents[1]
    )
    parts = done.stdout.split("\x1e")
    assert len(parts) == len(calls) + 1 and not parts[-1]
    return [(part[:-1], int(part[-1])) for part in parts[:-1]]


def json_lines(text):
    return [json.loads(line) for line in text.splitlines()]


# ---- The stubs ----


@each_lesson
def test_a_stub_is_there_empty_and_explains_itself(lesson):
    source = (EXERCISES / lesson.file).read_text(encoding="utf-8")
    assert source.startswith(f'"""Exercise {lesson.number}. ')
    assert f"python -m tutorials.check {lesson.number}\n" in source
    assert source.count('return TODO("') == 1
    assert borrowed(source) == []
    assert check(lesson).state == "not written"


@each_lesson
def test_the_examples_of_a_stub_are_true(lesson):
    """Run with an independent solution in the place of the stub."""
    stub = importlib.import_module(f"tutorials.exercises.{lesson.file.removesuffix('.py')}")
    function = getattr(stub, lesson.function)
    right = getattr(exercise_solutions, lesson.function)
    assert list(inspect.signature(function).parameters)  # by name, as in the docstring
    names = {"torch": torch, lesson.function: right}
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    examples = doctest.DocTestParser().get_doctest(
        inspect.getdoc(function), names, lesson.function, lesson.file, 0
    )
    assert examples.examples
    said: list[str] = []
    outcome = doctest.DocTestRunner(optionflags=flags).run(examples, out=said.append)
    assert outcome.failed == 0, "".join(said)


def test_there_are_about_twenty_and_the_files_are_no_others():
    assert len(LESSONS) == 24
    assert sorted(path.name for path in EXERCISES.glob("ex*.py")) == [x.file for x in LESSONS]


def test_todo_says_what_is_to_be_done():
    with pytest.raises(NotDone, match="write me"):
        TODO("write me")


# ---- Right solutions ----


@each_lesson
def test_a_right_solution_passes(lesson):
    model = probe_model()
    function = getattr(exercise_solutions, lesson.function)
    diagnosis = diagnose(lesson.subject(model), function, model)
    assert diagnosis.passed, diagnosis.text()


def single(value):
    """The same in float32; a function computes in it."""
    if isinstance(value, dict):
        return {name: single(each) for name, each in value.items()}
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.float()
    return (lambda x: value(x.double()).float()) if callable(value) else value


@each_lesson
@pytest.mark.parametrize(
    "back", [pytest.param(True, marks=pytest.mark.slow), False], ids=["float64 again", "float32"]
)
def test_a_right_solution_in_float32_passes_and_this_is_said(lesson, back):
    model = probe_model()
    function = getattr(exercise_solutions, lesson.function)

    def wide(value):
        if isinstance(value, tuple):
            return tuple(map(wide, value))
        real = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.double() if back and real else value

    diagnosis = diagnose(lesson.subject(model), lambda *xs: wide(function(*map(single, xs))), model)
    assert diagnosis.passed, diagnosis.text()
    whole = [
        "01",
        "02",
        "03",
        "11",
        "17",
        "19",
        "23",
        "24",
    ]  # these give no numbers that could be rounded
    assert ("float32" in diagnosis.text()) == (lesson.number not in whole)


@pytest.mark.parametrize(
    ("function", "source", "name"),
    [
        (
            "attention_scores",
            "q @ k.mT * torch.sqrt(torch.tensor(k.shape[3], dtype=torch.float))",
            "scale_multiplied",
        ),
        ("gelu", "torch.nn.functional.gelu(q.float(), approximate='tanh').double()", "gelu_tanh"),
    ],
)
def test_a_mistake_in_float32_is_named(function, source, name, tmp_path):
    source = f"import torch\ndef {function}(q, k=None):\n    return {source}\n"
    result = check(write(tmp_path, function, source), tmp_path)
    assert result.diagnosis.explanations == [(name,)]
    assert "your numbers to float32's precision" in told(result, 0)


def test_small_slips_are_not_taken_for_float32(tmp_path):
    source = (
        "def layer_norm(x, weight, bias):\n"
        "    x = x - x.mean(-1, keepdim=True)\n"
        "    return x / (x.square().mean(-1, keepdim=True) + 1e-8).sqrt() * weight + bias\n"
    )
    assert check(write(tmp_path, "layer_norm", source), tmp_path).state == "wrong"


def test_a_limit_that_is_one_off_is_seen(tmp_path):
    source = Path(exercise_solutions.__file__).read_text().replace("> 100", ">= 100")
    assert "in the case 'a word of 100 letters'" in told(
        check(write(tmp_path, "wordpiece", source), tmp_path), 0
    )


@pytest.mark.parametrize("function", ["mask_tokens", "adamw_step"])
def test_several_results_may_be_a_list(function):
    model = probe_model()
    right = getattr(exercise_solutions, function)
    subject = BY_FUNCTION[function].subject(model)
    assert diagnose(subject, lambda *inputs: list(right(*inputs)), model).passed
    missing = diagnose(subject, lambda *inputs: right(*inputs)[0].sum(), model)
    assert "expected a tuple, got a tensor" in missing.text()


@each_lesson
def test_the_answer_can_be_revealed(lesson):
    shown = reveal(lesson)
    assert "def " in shown and shown.startswith("# ")


# ---- Wrong solutions ----


FUNCTION = [each for each in CATALOGUE.values() if each.kind == "function"]


@pytest.mark.parametrize("each", FUNCTION, ids=lambda each: each.id)
def test_every_wrong_function_is_named_exactly(each):
    model = probe_model()
    subject = BY_FUNCTION[each.replaces].subject(model)
    assert diagnose(subject, each.change, model).explanations == [(each.id,)]


WRONG = {
    "attention_scores": (
        "def attention_scores(query, key):\n"
        "    return query @ key.transpose(-1, -2) / torch.tensor(key.shape[1]).sqrt()\n",
        ["scale_by_heads"],
        "yours = reference x 1.118",
    ),
    "attention_probabilities": (
        "def attention_probabilities(scores):\n    return torch.softmax(scores, dim=1)\n",
        ["softmax_over_heads"],
        "yours sums to 1 along the heads",
    ),
    "attend": (
        "def attend(query, key, value, bias):\n"
        "    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5\n"
        "    scores = scores.masked_fill(bias == 0, -1e10)\n"
        "    return torch.softmax(scores, dim=-1) @ value\n",
        ["mask_inverted"],
        "in the case 'one text full, one padded'",
    ),
    "split_heads": (
        "def split_heads(x, heads):\n"
        "    B, T, H = x.shape\n"
        "    return x.view(B, heads, T, H // heads)\n",
        ["split_by_view"],
        "the right ones, in another order",
    ),
    "merge_heads": (
        "def merge_heads(context):\n"
        "    B, A, T, D = context.shape\n"
        "    return context.reshape(B, T, A * D)\n",
        ["merge_without_transpose"],
        "within each text",
    ),
    "attention_bias": (
        "def attention_bias(mask):\n    return (1 - mask[:, None, :, None].double()) * -1e9\n",
        ["mask_hides_rows"],
        "expected shape (6, 1, 1, 7), got (6, 1, 7, 1)",
    ),
    "layer_norm": (
        "def layer_norm(x, weight, bias):\n"
        "    x = (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6)\n"
        "    return x * weight + bias\n",
        ["norm_eps_outside_root", "norm_unbiased"],
        "wrong in 2 of 2 cases",
    ),
    "gelu": (
        "def gelu(x):\n    return x * torch.sigmoid(1.702 * x)\n",
        ["gelu_sigmoid"],
        "",
    ),
    "feed_forward": (
        "def feed_forward(x, up, a, down, b):\n    return (x @ up.T + a) @ down.T + b\n",
        ["activation_missing"],
        "",
    ),
    "block": (
        "def block(x, attention, feed_forward, attention_norm, output_norm, dropout):\n"
        "    x = dropout(attention_norm(x + attention(x)))\n"
        "    return dropout(output_norm(x + feed_forward(x)))\n",
        ["dropout_after_norm"],
        "yours is 0 everywhere",
    ),
    "pooler": (
        "def pooler(x, weight, bias):\n    return x[:, 0] @ weight.T + bias\n",
        ["pooler_tanh_missing"],
        "",
    ),
    "basic_tokenize": (
        "import re\n"
        "def basic_tokenize(text):\n"
        "    text = ''.join(c for c in text if c.isprintable() or c.isspace())\n"
        "    return re.findall(r'[^\\W_]+|[^\\w\\s]', text.lower())\n",
        None,
        "capitals and accents",
    ),
    "adamw_step": (
        "def adamw_step(p, g, m, v, t):\n"
        "    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g\n"
        "    rate = 0.01 * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t)\n"
        "    p = p - rate * m / (v.sqrt() + 1e-8)\n"
        "    return p - rate * 0.1 * p, m, v\n",
        ["decay_of_new_parameter", "decay_with_corrected_rate", "eps_before_correction"],
        "parameter",
    ),
    "mean_pool": (
        "def mean_pool(states, mask):\n    return (states * mask[:, :, None]).mean(1)\n",
        ["pool_divided_by_length"],
        "",
    ),
}


@pytest.mark.parametrize("function", WRONG)
def test_what_students_write_is_explained(function, tmp_path):
    source, names, words = WRONG[function]
    result = check(write(tmp_path, function, "import torch\n" + source), tmp_path)
    assert result.state == "wrong"
    if names is not None:
        assert [sorted(each) for each in result.diagnosis.explanations] == [names]
    assert words in told(result, 0)


def test_where_sets_of_mistakes_are_too_many_it_is_said():
    """Nearly fifty mistakes of attention and its mask are known: they make 15,000 sets of three."""
    lesson = BY_FUNCTION["self_attention"]
    result = judged(lesson, lambda *inputs: exercise_solutions.self_attention(*inputs).tanh())
    assert result.state == "wrong" and not result.diagnosis.explanations
    said = "sets of 3 known mistakes were not tried, there are too many"
    assert said in result.diagnosis.notes and f"note: {said}" in told(result, 0)


def test_hints_rise_in_frankness(tmp_path):
    source, (name,), _ = WRONG["split_heads"]
    result = check(write(tmp_path, "split_heads", source), tmp_path)
    question, place, fix = CATALOGUE[name].hints
    symptom = CATALOGUE[name].symptom
    seen = [
        [words in told(result, hint) for words in (question, place, symptom, fix)]
        for hint in range(4)
    ]
    assert seen == [
        [False, False, False, False],
        [True, False, False, False],
        [True, True, True, False],
        [True, True, True, True],
    ]


def test_the_message_in_full(tmp_path):
    source, _, _ = WRONG["attention_scores"]
    result = check(write(tmp_path, "attention_scores", "import torch\n" + source), tmp_path)
    assert told(result, 2) == (
        "Exercise 06, attention_scores (chapter 4 One head by hand): wrong\n"
        "  ok    runs, leaves its inputs alone, gives the same twice\n"
        "  ok    form\n"
        "  WRONG numbers\n"
        "\n"
        "First difference: in the case '6 queries, 7 keys', all of its numbers\n"
        "  yours = reference x 1.118, and 1.118 is the square root of head_size (5 in this probe) "
        "/ the number of heads (4 in this probe)\n"
        "\n"
        "Shortest known explanation: one known mistake that reproduces your numbers exactly\n"
        "  ? Which axis of your tensor holds the numbers that are summed in the dot product?\n"
        "    A shape was read at the wrong index.\n"
        "    The scores are divided by the square root of the number of heads.  [scale_by_heads]\n"
        "  (--hint 3 for more)\n"
        "\n"
        "(the library's own code: python -m tutorials.check 06 --reveal)"
    )


def test_what_comes_next_is_said_once_it_is_solved():
    solved = [told(Result(lesson, "solved"), 0).split("\n")[-1] for lesson in LESSONS]
    for line, following in zip(solved, LESSONS[1:]):
        assert line.startswith(f"Next: exercise {following.number}, {following.function} (")
    assert "minibert diagnose" in solved[-1] and len(solved) == len(LESSONS)
    assert "Next:" not in told(Result(LESSONS[0], "wrong"), 0)


BROKEN = {
    "def gelu(x):\n    return x.no_such\n": ("wrong", 'line 2: "return x.no_such"'),
    "def gelu(x):\n    x *= 2\n    return x\n": ("wrong", "changed in place"),
    "def gelu(x):\n    x * 2\n": ("wrong", "is there a return?"),
    "def gelu(x):\n    return [1.0]\n": ("wrong", "expected a tensor, got a list"),
    "def gelu(x):\n    return x.numpy() * 1\n": ("wrong", "expected a tensor, got a numpy array"),
    "def gelu(x):\n    return [x, x]\n": ("wrong", "expected a tensor, got a list"),
    "def gelu(x):\n    return x[:3]\n": ("wrong", "expected shape (241,), got (3,)"),
    "def gelu(x):\n    return x / 0\n": ("wrong", "NaN or infinite"),
    "import torch\ndef gelu(x):\n    return x + torch.rand(241)\n": ("wrong", "two calls"),
    "import torch\ndef gelu(x):\n    x = x.detach()\n"
    "    return x * (1 + torch.erf(x / 2**0.5)) / 2\n": ("wrong", "carries no gradient"),
    "def gelu(x:\n": ("broken", "line 1"),
    "x = 1 / 0\n": ("broken", "line 1: ZeroDivisionError"),
    "raise SystemExit(0)\n": ("broken", "ends the program"),
    "def gelu(x):\n    raise SystemExit(0)\n": ("wrong", "SystemExit: 0"),
    "from __future__ import annotations\nimport dataclasses\n"
    "@dataclasses.dataclass\nclass Sizes:\n    T: int = 1\n"
    "def gelu(x):\n    raise NotImplementedError\n": ("not written", "NotImplementedError"),
    "def other(x):\n    return x\n": ("broken", "there is no function gelu()"),
    "def gelu(x):\n    raise NotImplementedError\n": ("not written", "NotImplementedError"),
    "import minibert\nfrom minibert.core.encoder import activation_function\n"
    "def gelu(x):\n    return activation_function('gelu')(x)\n": ("imported", "imports minibert"),
    "def gelu(x):\n    import importlib\n"
    "    there = importlib.import_module('minibert.core.encoder')\n"
    "    return there.activation_function('gelu')(x)\n": (
        "imported",
        "minibert.core.encoder",
    ),
    "from torch import nn\ndef gelu(x):\n    return nn.GELU()(x)\n": ("solved", "ready-made GELU"),
}


@pytest.mark.parametrize("source", BROKEN)
def test_what_is_broken_or_borrowed_is_said(source, tmp_path):
    state, words = BROKEN[source]
    result = check(write(tmp_path, "gelu", source), tmp_path)
    assert result.state == state, told(result, 3)
    assert words in told(result, 3)
    assert "/torch/" not in told(result, 3)


RIGHT = "import os, sys, threading, torch\n{}\ndef gelu(x):\n    {}\n" + (
    "    return x * (1 + torch.erf(x / 2**0.5)) / 2\n"
)
STRANGE = {
    "os._exit(0)": ("broken", "exit code 0"),
    "os.kill(os.getpid(), 9)": ("broken", "exit code -9"),
    "raise KeyboardInterrupt": ("", "KeyboardInterrupt"),
    "raise GeneratorExit('over')": ("", "GeneratorExit: over"),
    "sys.stdout.close()": ("solved", ""),
    "print('solved', flush=True); os.write(1, b'solved')": ("solved", ""),
    "torch.set_default_dtype(torch.float64)": ("solved", ""),
    "threading.Thread(target=threading.Event().wait).start()": ("solved", ""),
}


@pytest.fixture(scope="module")
def strange_results(tmp_path_factory):
    """{(line, inside): (result, exit code)} of a gelu() with the line in it or before it."""
    folders = {}
    for line in STRANGE:
        for inside in (False, True):
            folders[line, inside] = tmp_path_factory.mktemp("strange")
            source = RIGHT.format("", line) if inside else RIGHT.format(line, "pass")
            write(folders[line, inside], "gelu", source)
    calls = [["13", "--json", "--folder", str(folder)] for folder in folders.values()]
    return dict(zip(folders, run_all(*calls), strict=True))


@pytest.mark.parametrize("line", STRANGE)
@pytest.mark.parametrize("inside", [False, True], ids=["at import", "in the function"])
def test_what_a_file_does_stays_in_its_process(line, inside, strange_results):
    out, code = strange_results[line, inside]
    state, words = STRANGE[line]
    (result,) = json_lines(out)
    assert result["state"] == (state or ("wrong" if inside else "broken"))
    assert words in json.dumps(result)
    assert code == (0 if state == "solved" else 1)


def test_gradients_switched_off_for_good_are_switched_on_again(tmp_path):
    try:
        source = RIGHT.format("torch.set_grad_enabled(False)", "pass")
        result = check(write(tmp_path, "gelu", source), tmp_path)
        assert result.state == "solved"
        assert [each.name for each in result.diagnosis.checks][-1] == "gradients"
        source = RIGHT.format("", "torch.set_grad_enabled(False)")
        assert "no gradient" in told(check(write(tmp_path, "gelu", source), tmp_path), 0)
    finally:
        torch.set_grad_enabled(True)


def chapters_cut():
    """The function of chapter 2 that never returns from a word that cannot be cut."""
    page = (EXERCISES.parent / "02_words_to_pieces.md").read_text(encoding="utf-8")
    return re.search(r"def cut\(.*?return pieces\n", page, re.DOTALL)[0].replace("cut", "wordpiece")


def test_a_class_with_one_endless_and_one_fatal_answer_has_all_its_lines(tmp_path):
    for lesson in LESSONS:
        (tmp_path / lesson.file).write_text((EXERCISES / lesson.file).read_text())
    write(tmp_path, "wordpiece", chapters_cut())
    write(tmp_path, "feed_forward", "import os\ndef feed_forward(*x):\n    os._exit(0)\n")
    write(tmp_path, "gelu", RIGHT.format("print('{')", "print('}')"))
    ((out, code),) = run_all(["--json", "--folder", str(tmp_path), "--seconds", "3"])
    assert code == 1
    results = json_lines(out)
    assert [each["exercise"] for each in results] == [lesson.number for lesson in LESSONS]
    states = {each["function"]: each["state"] for each in results}
    for function, state in (
        ("wordpiece", "broken"),
        ("feed_forward", "broken"),
        ("gelu", "solved"),
    ):
        assert states.pop(function) == state
    assert set(states.values()) == {"not written"}
    assert results[1]["message"] == (
        "in the case 'a word of unknown letters' ('zzz'): it did not end within 3 seconds: "
        "is there an endless loop?"
    )


def test_a_function_that_is_endless_on_changed_inputs_alone_keeps_its_report(tmp_path):
    source = (
        "def arrange_pair(first, second, length):\n"
        "    while second[-1].endswith('x'): pass\n"
        "    return first, [0] * length, [1] * length\n"
    )
    write(tmp_path, "arrange_pair", source)
    ((out, _),) = run_all(["03", "--folder", str(tmp_path), "--seconds", "1"])
    assert "got ['he']" in out and "Got:\n    (['a']," in out


# ---- Wrong in a way of one's own ----


UNKNOWN = {
    "mean_pool": (
        "def mean_pool(states, mask):\n"
        "    return (states * mask[:, :, None]).sum(1) / mask.sum(1).double().mean()\n",
        "with other values in mask[-1] your result changes at [0, 0], and it must not",
        "look for the line through which",
    ),
    "token_labels": (
        "def token_labels(word_ids, labels):\n"
        "    return [-100 if word is None else labels[0] for word in word_ids]\n",
        "with another labels[-1] your result must change, and it does not",
        "make the docstring's example come out",
    ),
    "gelu": (
        "def gelu(x):\n    return x * (1.3 * x).sigmoid()\n",
        "",
        "make the docstring's example come out",
    ),
}


@pytest.mark.parametrize("function", UNKNOWN)
def test_a_mistake_without_a_name_is_shown_by_its_inputs_and_the_docstrings_example(
    function, tmp_path
):
    source, words, following = UNKNOWN[function]
    result = check(write(tmp_path, function, source), tmp_path)
    report = told(result, 0)
    assert not result.diagnosis.explanations and result.to_dict()["diagnosis"]["place"]
    assert words in report and f"Next: {following}" in report
    assert ("The docstring's example:" in report) == ("docstring" in following)


def test_the_smallest_wrong_case_is_shown_with_its_text_and_the_example_that_fails(tmp_path):
    source = "def basic_tokenize(text):\n    return text.lower().split()\n"
    report = told(check(write(tmp_path, "basic_tokenize", source), tmp_path), 0)
    assert "wrong in 7 of 9 cases: an accent as a character of its own; symbols; " in report
    assert "in the case 'symbols' ('a+b=$5^2'), " not in report
    assert "in the case 'an accent as a character of its own' ('cafe\u0301'), " in report
    assert "Got:\n    [\"don't\", 'stop,', 'zo\u00eb!']" in report


@each_lesson
def test_of_a_right_solution_no_input_is_said_to_matter_wrongly(lesson):
    model = probe_model()
    right = getattr(exercise_solutions, lesson.function)
    assert inputs_that_matter(lesson.subject(model), right, model) == []


# ---- The command ----


@pytest.mark.slow
def test_a_whole_class_over_night_has_all_its_lines(tmp_path, capfd):
    """Thirty hand-ins of every exercise; one loops without end, and one leaves the program."""
    hand_ins = [tmp_path / f"student{number:02}" for number in range(30)]
    for folder in hand_ins:
        folder.mkdir()
        for lesson in LESSONS:
            source = f"from tests.tutorials.exercise_solutions import {lesson.function}\n"
            (folder / lesson.file).write_text(source, encoding="utf-8")
    write(hand_ins[3], "gelu", "def gelu(x):\n    while True:\n        pass\n")
    write(hand_ins[7], "gelu", "import os\ndef gelu(x):\n    os._exit(0)\n")
    start = os.times()
    codes = [main(["--json", "--folder", str(each), "--seconds", "15"]) for each in hand_ins]
    seconds = sum(os.times()[:4]) - sum(start[:4])  # of processors, those of the forks included
    assert seconds < 300
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert len(lines) == 30 * len(LESSONS)
    broken = [n for n, line in enumerate(lines) if line["state"] != "solved"]
    assert [lines[n]["state"] for n in broken] == ["broken"] * 2
    places = [(n // len(LESSONS), lines[n]["function"]) for n in broken]
    assert places == [(3, "gelu"), (7, "gelu")]
    assert [n for n, code in enumerate(codes) if code] == [3, 7]


def test_the_table_counts_what_is_solved(tmp_path, monkeypatch, capsys):
    """Without processes of their own, which the class above has."""

    def run(*words):
        code = main([*words, "--folder", str(tmp_path)])
        return capsys.readouterr().out, code

    monkeypatch.setattr(
        "tutorials.check.check_apart", lambda lesson, folder, *others: check(lesson, folder)
    )
    for lesson in LESSONS:
        (tmp_path / lesson.file).write_text((EXERCISES / lesson.file).read_text())
    source = Path(exercise_solutions.__file__).read_text()
    for function in ("gelu", "feed_forward"):
        write(tmp_path, function, source)
    table, gelu, feed_forward = run(), run("13"), run("14", "--json")
    lines, every = run("--json"), run("--all")
    assert [code for _, code in (table, gelu, feed_forward, lines, every)] == [1, 0, 0, 1, 1]
    assert "[x] 13 gelu" in table[0] and "[ ] 01 basic_tokenize" in table[0]
    assert table[0].rstrip().endswith("2 of 24 solved")
    assert json_lines(feed_forward[0])[0]["state"] == "solved"
    states = [each["state"] for each in json_lines(lines[0])]
    assert states.count("solved") == 2 and len(states) == 24
    assert "Exercise 22, adamw_step" in every[0] and every[0].endswith(table[0])


def test_a_course_adds_its_own_mistake(tmp_path):
    """The example of the teachers' page, word for word."""
    page = (EXERCISES.parent / "teachers.md").read_text(encoding="utf-8")
    (tmp_path / "slips.py").write_text(page.split("```python\n")[1].split("```")[0])
    source = "def attention_scores(q, k):\n    return q @ k.transpose(-1, -2) / 8\n"
    write(tmp_path, "attention_scores", source)
    words = ["06", "--folder", str(tmp_path), "--hint", "3"]
    alone, taught = run_all(words, [*words, "--mistakes", str(tmp_path / "slips.py")])
    assert alone[1] == taught[1] == 1
    assert "No known mistake" in alone[0]
    assert "It is the root of 64" in taught[0]


def test_wrong_usage_is_refused(capsys):
    for words in (["99"], ["--reveal"]):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 2
    assert main(["9", "--reveal"]) == 0
    assert "def split_heads" in capsys.readouterr().out
