"""Check the exercises: `python -m tutorials.check` shows which are solved, `... check 06` one.

An exercise is solved when its function gives the right results on the check's own inputs, by
code of its own: a file that imports the library, or another ready BERT, is not counted.
"""

import argparse
import ast
import contextlib
import dataclasses
import doctest
import inspect
import json
import sys
import textwrap
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from minibert.diagnosis.function_check import diagnose, inputs_that_matter, no_steps
from minibert.diagnosis.probe import probe_model
from minibert.diagnosis.report import Diagnosis
from minibert.diagnosis.targets import import_file
from minibert.system.lines import print_any_text
from minibert.system.processes import Silent, apart, one_thread
from tutorials.exercises.todo import NotDone
from tutorials.lessons import LESSONS, Lesson

EXERCISES = Path(__file__).parent / "exercises"
ANSWER_KEYS = (
    "minibert",
    "transformers",
    "tokenizers",
    "tutorials.lessons",
    "tutorials.numpy_bert",
)
READY_MADE = {
    "layer_norm": ("LayerNorm", "layer_norm"),
    "gelu": ("GELU", "gelu"),
    "attend": ("scaled_dot_product_attention",),
    "self_attention": ("scaled_dot_product_attention", "MultiheadAttention"),
    "adamw_step": ("AdamW", "adamw"),
}
OTHER_INPUTS = "with changed inputs"


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of one exercise: "solved", "wrong", "not written", "imported" or "broken".

    `example` is the docstring's first example that comes out wrong, where no mistake is named.
    """

    lesson: Lesson
    state: str
    diagnosis: Diagnosis | None = None
    message: str = ""
    example: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "exercise": self.lesson.number,
            "function": self.lesson.function,
            "state": self.state,
            "message": self.message,
            "example": self.example,
            "diagnosis": self.diagnosis.to_dict() if self.diagnosis else None,
        }


def check_apart(
    lesson: Lesson, folder: Path = EXERCISES, seconds: float = 10, mistakes: Path | None = None
) -> Result:
    """The same as check(), in a process of its own: what a student's code does there, endless or
    fatal, ends no other exercise. An end without an answer, or a case that has none after
    `seconds`, is "broken", never "solved"."""
    for other_inputs in (True, False):
        try:
            state, diagnosis, *words = apart(
                *(_checked, lesson.number, folder, mistakes, other_inputs),
                seconds=seconds,
                in_steps=True,
            )
            return Result(lesson, state, Diagnosis(**diagnosis) if diagnosis else None, *words)
        except Silent as error:
            result = Result(lesson, "broken", message=str(error))
            if error.step != OTHER_INPUTS:
                break
    return result


def _checked(
    begin: Callable[..., None], number: str, folder: Path, mistakes: Path | None, other_inputs: bool
) -> tuple[str, Any, str, str]:
    """The result of check() in a form that can be sent to another process."""
    if mistakes is not None and f"_imported_{mistakes.stem}" not in sys.modules:  # no fork
        import_file(mistakes)
    begin("while the file is imported", 6)  # it may import torch anew
    result = check(LESSONS[int(number) - 1], folder, begin, other_inputs)
    diagnosis = vars(result.diagnosis) if result.diagnosis else {}
    sent = {name: value for name, value in diagnosis.items() if name != "catalogue"}
    return result.state, sent, result.message, result.example


def check(
    lesson: Lesson,
    folder: Path = EXERCISES,
    begin: Callable[..., None] = no_steps,
    other_inputs: bool = True,
) -> Result:
    """Check one exercise in `folder`. The file is imported, which runs its code.

    `begin` is told each step. With `other_inputs` a wrong function without a name is also called
    with changed inputs, on which it may fail in other ways.
    """
    path = folder / lesson.file
    if not path.is_file():
        return Result(lesson, "broken", message=f"there is no file {path}")
    try:
        imported = borrowed(path.read_text(encoding="utf-8"))
        function = load_function(path, lesson.function)
    except SyntaxError as error:
        return Result(lesson, "broken", message=f"line {error.lineno}: {error.msg}")
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        line = f"line {frames[-1].lineno}: " if frames else ""
        return Result(lesson, "broken", message=f"{line}{type(error).__name__}: {error}")
    result = judged(lesson, function, begin, other_inputs)
    if result.diagnosis is None:
        return result
    notes = [*result.diagnosis.notes]
    used = ready_made(path.read_text(encoding="utf-8"), lesson)
    if used:
        notes.append(f"you use torch's ready-made {', '.join(used)}; try it by hand once")
    result = dataclasses.replace(
        result, diagnosis=dataclasses.replace(result.diagnosis, notes=notes)
    )
    if result.state == "solved" and imported:
        message = f"right, but not your own: the file imports {', '.join(imported)}"
        return dataclasses.replace(result, state="imported", message=message)
    return result


def judged(
    lesson: Lesson,
    function: Callable[..., Any],
    begin: Callable[..., None] = no_steps,
    other_inputs: bool = True,
) -> Result:
    """What becomes of the function alone: "solved", "wrong" or "not written"."""
    example = ""
    try:
        with one_thread():
            model = probe_model()
            subject = lesson.subject(model)
            diagnosis = diagnose(subject, function, model, begin)
            unnamed = bool(diagnosis.place) and not diagnosis.explanations
            if unnamed:
                begin("in the docstring's example")
                example = failing_example(lesson, function)
            if unnamed and other_inputs:
                begin(OTHER_INPUTS)
                sentences = inputs_that_matter(subject, function, model)
                diagnosis = dataclasses.replace(diagnosis, dependence=sentences)
    except NotDone as todo:
        return Result(lesson, "not written", message=str(todo))
    except NotImplementedError:
        return Result(lesson, "not written", message="NotImplementedError was raised")
    return Result(lesson, "solved" if diagnosis.passed else "wrong", diagnosis, example=example)


def failing_example(lesson: Lesson, function: Callable[..., Any]) -> str:
    """The first example of the exercise's docstring that `function` gets wrong; "" if none."""
    tree = ast.parse((EXERCISES / lesson.file).read_text(encoding="utf-8"))
    docstrings = [ast.get_docstring(x) for x in tree.body if isinstance(x, ast.FunctionDef)]
    names = {"torch": torch, lesson.function: function}
    text = next((each for each in docstrings if each), "")
    examples = doctest.DocTestParser().get_doctest(text, names, lesson.function, lesson.file, 0)
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_ONLY_FIRST_FAILURE)
    said: list[str] = []
    runner.run(examples, out=said.append)
    return said[0].partition("Failed example:\n")[2].rstrip() if said else ""


def grade(number: str, function: Callable[..., Any], hint: int = 0) -> None:
    """For the cell of a notebook: nothing if `function` solves the exercise, and AssertionError
    with the report if not. It runs here, without a time limit; see `tutorials.hand_out`."""
    lesson = LESSONS[int(number) - 1]
    result = judged(lesson, function)
    with contextlib.suppress(OSError, TypeError):  # where the source is not to be had
        imported = borrowed(textwrap.dedent(inspect.getsource(function)))
        if imported:
            result = dataclasses.replace(result, state="imported", message=", ".join(imported))
    if result.state != "solved":
        raise AssertionError("\n" + told(result, hint))


def load_function(path: Path, name: str) -> Callable[..., Any]:
    """Import the file and take the function. Raises AttributeError if it is not there."""
    function = getattr(import_file(path), name, None)
    if not callable(function):
        raise AttributeError(f"there is no function {name}() in the file; keep its name")
    return function


def borrowed(source: str) -> list[str]:
    """The answer keys that a file imports, wherever in it."""
    imported = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            names = [str(node.args[0].value)] if called in ("import_module", "__import__") else []
        for name in names:
            if any(name == key or name.startswith(f"{key}.") for key in ANSWER_KEYS):
                imported.append(name)
    return sorted(
        {name for name in imported if not any(name.startswith(f"{o}.") for o in imported)}
    )


def ready_made(source: str, lesson: Lesson) -> list[str]:
    """torch's own version of what the exercise is about, if the file calls it."""
    used = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
    return sorted(used.intersection(READY_MADE.get(lesson.function, ())))


def reveal(lesson: Lesson) -> str:
    """The library's code for this exercise."""
    parts = []
    for answer in lesson.reveal:
        place = Path(inspect.getsourcefile(answer) or "")
        parts.append(f"# {place.parent.name}/{place.name}\n{inspect.getsource(answer)}")
    return "\n".join(parts)


def told(result: Result, hint: int) -> str:
    """One result in full, for a reader."""
    lesson = result.lesson
    lines = [
        f"Exercise {lesson.number}, {lesson.function} (chapter {lesson.chapter}): {result.state}"
    ]
    if result.message:
        lines.append(f"  {result.message}")
    if result.state == "not written":
        lines.append(f"  write it in tutorials/exercises/{lesson.file}")
    if result.diagnosis is not None and result.state != "imported":
        lines.append(result.diagnosis.text(hint))
    if result.example:
        lines += ["", "The docstring's example:", result.example]
    if result.state == "wrong":
        lines += what_to_do(result)
        lines.append(
            f"\n(the library's own code: python -m tutorials.check {lesson.number} --reveal)"
        )
    if result.state == "solved":
        lines += ["", what_is_next(lesson)]
    return "\n".join(lines)


def what_to_do(result: Result) -> list[str]:
    """A sentence for somebody whose function is wrong, where no mistake is named."""
    diagnosis = result.diagnosis
    if diagnosis is None or diagnosis.explanations or not diagnosis.place:
        return []
    if result.example:
        advice = "make the docstring's example come out; it can be done by hand."
    elif diagnosis.dependence:
        advice = "look for the line through which that input reaches your result, or does not."
    else:
        advice = f"print your steps in the case '{diagnosis.tensor}', and do them once by hand."
    return ["", f"Next: {advice}"]


def what_is_next(lesson: Lesson) -> str:
    """A sentence for somebody who has solved one."""
    after = [each for each in LESSONS if each.number > lesson.number]
    if not after:
        return "That was the last one. A BERT of your own, whole: minibert diagnose FILE.py:CLASS"
    following = after[0]
    return (
        f"Next: exercise {following.number}, {following.function} (chapter {following.chapter}), "
        f"in tutorials/exercises/{following.file}"
    )


def table(results: list[Result]) -> str:
    """One line for each exercise, and how many are solved."""
    signs = {
        "solved": "[x]",
        "wrong": "[!]",
        "not written": "[ ]",
        "imported": "[=]",
        "broken": "[!]",
    }
    lines = []
    for result in results:
        lesson = result.lesson
        state = "" if result.state in ("solved", "not written") else f"{result.state} "
        row = f"{signs[result.state]} {lesson.number} {lesson.function:24} {lesson.chapter:25}"
        lines.append(f"{row} {state}")
    solved = sum(result.state == "solved" for result in results)
    lines = [line.rstrip() for line in lines]
    return "\n".join([*lines, f"{solved} of {len(results)} solved"])


def main(argv: list[str] | None = None) -> int:
    """Exit code: 0 if what was asked for is solved, 1 if not, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m tutorials.check", description=__doc__)
    parser.add_argument("number", nargs="?", help="the exercise, 01 to 24; without it, a table")
    parser.add_argument("--all", action="store_true", help="every exercise, in full")
    parser.add_argument("--hint", type=int, choices=range(4), default=0, help="how much to tell")
    parser.add_argument("--reveal", action="store_true", help="show the library's code for it")
    parser.add_argument("--json", action="store_true", help="one JSON object for each exercise")
    parser.add_argument(
        "--mistakes", type=Path, metavar="FILE", help="a Python file that adds mistakes (it is run)"
    )
    parser.add_argument(
        "--seconds", type=float, default=10, help="how long a case may take (default: 10)"
    )
    parser.add_argument("--folder", type=Path, default=EXERCISES, help="where the files are")
    args = parser.parse_args(argv)
    print_any_text()
    chosen = LESSONS
    if args.number is not None:
        chosen = [each for each in LESSONS if each.number == args.number.zfill(2)]
        if not chosen:
            parser.error(f"there is no exercise {args.number}; they are 01 to {LESSONS[-1].number}")
    if args.reveal:
        if args.number is None:
            parser.error("--reveal needs the number of an exercise")
        print(reveal(chosen[0]))
        return 0
    if args.mistakes is not None:
        try:
            import_file(args.mistakes)
        except Exception as error:
            parser.error(f"cannot import {args.mistakes}: {type(error).__name__}: {error}")
    results = []
    for lesson in chosen:
        results.append(check_apart(lesson, args.folder, args.seconds, args.mistakes))
        if args.json:
            print(json.dumps(results[-1].to_dict()), flush=True)
    if not args.json and (args.number is not None or args.all):
        print("\n\n".join(told(result, args.hint) for result in results))
    if args.number is None and not args.json:
        print(("\n" if args.all else "") + table(results))
    return 0 if all(result.state == "solved" for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
