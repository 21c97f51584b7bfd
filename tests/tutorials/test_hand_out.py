"""The exercises for Otter-Grader and nbgrader: the form that these tools expect."""

import nbformat
import pytest

from tests.tutorials import exercise_solutions
from tutorials.check import grade
from tutorials.hand_out import main, notebook
from tutorials.lessons import LESSONS


def names_of(book):
    """What the code cells leave behind, as a kernel would run them."""
    names = {}
    for cell in book.cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, "cell", "exec"), names)
    return names


@pytest.mark.parametrize("form", ["otter", "nbgrader"])
def test_the_teachers_notebook_is_valid_the_same_each_time_and_solves_itself(form):
    book = notebook(form)
    nbformat.validate(book, relax_add_props=False)
    assert nbformat.writes(book) == nbformat.writes(notebook(form))
    assert len({cell.id for cell in book.cells}) == len(book.cells)
    names = names_of(book)  # the tests among the cells pass
    assert {lesson.function for lesson in LESSONS} <= names.keys()


def test_nbgraders_cells_have_what_its_schema_asks_for():
    book = notebook("nbgrader", LESSONS[:2])
    marks = [cell.metadata.get("nbgrader") for cell in book.cells]
    assert [mark and mark["grade_id"] for mark in marks] == [
        *(None, "setup", None, "ex01", "ex01_test", None, "ex02", "ex02_test")
    ]
    for cell, mark in zip(book.cells, marks, strict=True):
        if mark is None:
            continue
        assert mark["schema_version"] == 3 and mark["cell_type"] == cell.cell_type
        kind = (mark["grade"], mark["solution"], mark["locked"], mark["task"])
        test, solution = mark["grade_id"].endswith("_test"), "### BEGIN SOLUTION" in cell.source
        assert kind == (test, solution, not solution, False)
        assert ("points" in mark) == test
        assert not solution or cell.source.endswith("    ### END SOLUTION")


def test_otters_blocks_are_closed_in_order():
    book = notebook("otter", LESSONS[:2])
    raw = [cell.source.split("\n")[0] for cell in book.cells if cell.cell_type == "raw"]
    question = ["BEGIN QUESTION", "BEGIN SOLUTION", "END SOLUTION", "BEGIN TESTS", "END TESTS"]
    question = [f"# {words}" for words in (*question, "END QUESTION")]
    assert raw == ["# ASSIGNMENT CONFIG", *question, *question]
    assert [c.source for c in book.cells if "name: ex" in c.source] == [
        f"# BEGIN QUESTION\nname: ex0{number}\npoints: 1" for number in (1, 2)
    ]


def test_a_cell_is_graded_and_a_wrong_one_has_the_report():
    assert grade("13", exercise_solutions.gelu) is None
    with pytest.raises(AssertionError, match=r"Exercise 13, gelu .*: wrong(.|\n)*First difference"):
        grade("13", lambda x: x.tanh())

    def gelu(x):
        from minibert.core.encoder import activation_function

        return activation_function("gelu")(x)

    with pytest.raises(AssertionError, match=r"imported\n  minibert.core.encoder"):
        grade("13", gelu)


def test_the_command(tmp_path, capsys):
    assert main(["otter", str(tmp_path / "x.ipynb"), "6", "08"]) == 0
    assert "2 exercises for otter" in capsys.readouterr().out
    written = nbformat.read(tmp_path / "x.ipynb", as_version=4)
    assert sum("# BEGIN QUESTION" in cell.source for cell in written.cells) == 2
    for words, said in (
        (["otter", str(tmp_path / "x.md")], "ends in .ipynb, got 'x.md'"),
        (["otter", str(tmp_path / "y.ipynb"), "99"], "no exercise 99"),
        (["nbgrader", str(tmp_path / "no" / "y.ipynb")], "does not exist"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 2 and said in capsys.readouterr().err
