"""The exercises as one notebook for a class, in the form of Otter-Grader or of nbgrader.

    python -m tutorials.hand_out otter bert.ipynb          # then: otter assign bert.ipynb dist
    python -m tutorials.hand_out nbgrader bert.ipynb 06 08 # then: nbgrader generate_assignment

The notebook is the teacher's: the solutions in it call the library, and both tools take them out
for the students. The tests are those of `tutorials.check`. Where it runs, minibert must be
installed, and this repository be on the path. Formats: https://otter-grader.readthedocs.io/en/latest/otter_assign/
and https://nbgrader.readthedocs.io/en/stable/contributor_guide/metadata.html.
"""

import argparse
import ast
import functools
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbformat import v4

from minibert.core.heads import BertForPreTraining
from minibert.diagnosis.catalogue.mistake import patched
from minibert.diagnosis.probe import probe_model
from minibert.system.files import check_writable, written_whole
from tutorials.check import EXERCISES
from tutorials.lessons import LESSONS, Lesson

Cells = list[nbformat.NotebookNode]
SETUP = """\
# Run this cell first.
import torch

from tutorials.check import grade"""
SOLUTION = {"otter": ("# BEGIN SOLUTION", "# END SOLUTION"),
            "nbgrader": ("### BEGIN SOLUTION", "### END SOLUTION")}  # fmt: skip


# ---- What the teacher's notebook calls ----


@functools.cache
def _model() -> BertForPreTraining:
    return probe_model()


def answer(function: str, *arguments: Any) -> Any:
    """The right result of an exercise's function, by the library.

    >>> answer("wordpiece", "unclear", {"un": 0, "##able": 1})
    ['[UNK]']
    """
    lesson = next(each for each in LESSONS if each.function == function)
    model = _model()
    subject = lesson.subject(model)
    with patched(model, ()):
        if subject.prepare is not None:
            subject.prepare(model, *arguments)
        return subject.answer(model, *arguments)


# ---- The notebook ----


def notebook(form: str, lessons: Sequence[Lesson] = LESSONS) -> nbformat.NotebookNode:
    """The notebook of these exercises; `form` is "otter" or "nbgrader"."""
    put = {"otter": otter_cells, "nbgrader": nbgrader_cells}[form]
    title = v4.new_markdown_cell(
        "# BERT, function by function\n\nWrite each function; the cell below it says whether it is "
        "right, and if not, where it differs. Every function can be written without the others."
    )
    cells = [title, v4.new_code_cell(SETUP)]
    if form == "otter":
        cells.insert(0, v4.new_raw_cell("# ASSIGNMENT CONFIG\nname: bert\nexport_cell: false"))
    else:
        _mark(cells[1], "setup", locked=True)
    for lesson in lessons:
        cells += put(lesson, *parts(lesson, SOLUTION[form]))
    for place, cell in enumerate(cells):  # the same bytes each time
        cell["id"] = hashlib.sha256(f"{form} {place} {cell.source}".encode()).hexdigest()[:12]
    book = v4.new_notebook(cells=cells)
    book.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    book.metadata["language_info"] = {"name": "python"}
    return book


def parts(lesson: Lesson, marks: tuple[str, str]) -> tuple[str, str, str]:
    """Of one exercise the heading, the function with its solution between marks, and the test."""
    source = (EXERCISES / lesson.file).read_text(encoding="utf-8")
    tree = ast.parse(source)
    (node,) = (each for each in tree.body if isinstance(each, ast.FunctionDef))
    heading = (ast.get_docstring(tree) or "").split("\n")[0]
    before = [
        ast.get_source_segment(source, each) or ""
        for each in tree.body[1:-1]
        if getattr(each, "module", "") != "tutorials.exercises.todo"
    ]
    stub = "\n".join(source.split("\n")[node.lineno - 1 : node.body[-1].lineno - 1])
    stub = "\n".join([*before, *([""] if before else []), stub])
    names = ", ".join([f'"{lesson.function}"', *(each.arg for each in node.args.args)])
    solution = ["from tutorials.hand_out import answer", "", f"return answer({names})"]
    body = "\n".join(f"    {line}".rstrip() for line in (marks[0], *solution, marks[1]))
    return f"## {heading}", f"{stub}\n{body}", f'grade("{lesson.number}", {lesson.function})'


def otter_cells(lesson: Lesson, heading: str, function: str, test: str) -> Cells:
    raw = v4.new_raw_cell
    return [
        raw(f"# BEGIN QUESTION\nname: ex{lesson.number}\npoints: 1"),
        v4.new_markdown_cell(heading),
        raw("# BEGIN SOLUTION"),
        v4.new_code_cell(function),
        raw("# END SOLUTION"),
        raw("# BEGIN TESTS"),
        v4.new_code_cell(test),
        raw("# END TESTS"),
        raw("# END QUESTION"),
    ]


def nbgrader_cells(lesson: Lesson, heading: str, function: str, test: str) -> Cells:
    name = f"ex{lesson.number}"
    return [
        v4.new_markdown_cell(heading),
        _mark(v4.new_code_cell(function), name, solution=True),
        _mark(v4.new_code_cell(test), f"{name}_test", grade=True, locked=True, points=1),
    ]


def _mark(cell: nbformat.NotebookNode, name: str, **values: Any) -> nbformat.NotebookNode:
    cell.metadata["nbgrader"] = {
        "schema_version": 3,
        "grade_id": name,
        "grade": False,
        "solution": False,
        "locked": False,
        "task": False,
        "cell_type": cell.cell_type,
        **values,
    }
    return cell


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tutorials.hand_out",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("form", choices=("otter", "nbgrader"))
    parser.add_argument("output", type=Path, metavar="OUT.ipynb")
    parser.add_argument("numbers", nargs="*", help="the exercises, such as 06 08 (all)")
    args = parser.parse_args(argv)
    wanted = {number.zfill(2) for number in args.numbers}
    strangers = sorted(wanted - {lesson.number for lesson in LESSONS})
    if strangers:
        parser.error(f"there is no exercise {strangers[0]}; they are 01 to {LESSONS[-1].number}")
    if args.output.suffix != ".ipynb":
        parser.error(f"expected a name that ends in .ipynb, got {args.output.name!r}")
    lessons = [each for each in LESSONS if not wanted or each.number in wanted]
    try:
        check_writable(args.output)
        with written_whole(args.output) as new:
            new.write_text(nbformat.writes(notebook(args.form, lessons)) + "\n", encoding="utf-8")
    except OSError as error:
        parser.error(str(error))
    print(f"{args.output}: {len(lessons)} exercises for {args.form}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
