"""The tasks by the names that the command line gives them, with the files that they read."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from minibert.tasks.choices import BertChooser, read_choices
from minibert.tasks.classification import LABELS, NUMBER, ONE_CLASS, BertClassifier
from minibert.tasks.labelled import read_labelled
from minibert.tasks.questions import BertReader, read_questions
from minibert.tasks.task import TaskModel
from minibert.tasks.tokens import BertTagger, read_tagged

Read = Callable[[str | Path, Sequence[str] | None, Sequence[str]], Any]


class NamedTask(NamedTuple):
    """A kind of model; how its files are read (path, the classes that may occur or None, the
    columns of a table); and what a new model is told of the examples that it learns from."""

    kind: type[TaskModel]
    read: Read
    about: Callable[[Any], dict[str, Any]]
    files: str


def _labelled(problem_type: str) -> NamedTask:
    def read(path: str | Path, classes: Sequence[str] | None, columns: Sequence[str]) -> Any:
        return read_labelled(path, classes, columns=columns, kind=problem_type)

    def about(data: Any) -> dict[str, Any]:
        mean = {"bias": float(data.labels.mean())} if problem_type == NUMBER else {}
        return {"classes": data.classes, "problem_type": problem_type, **mean}

    return NamedTask(BertClassifier, read, about, "a table: a label, and a text or a pair")


def _no_columns(read: Callable[..., Any], path: str | Path, *_: Any) -> Any:
    return read(path)


TASKS = {
    "classification": _labelled(ONE_CLASS),
    "multi-label": _labelled(LABELS),
    "regression": _labelled(NUMBER),
    "tokens": NamedTask(
        BertTagger,
        lambda path, classes, columns: read_tagged(path, classes),
        lambda data: {"classes": data.classes},
        "CoNLL: a word and its tag a line",
    ),
    "questions": NamedTask(
        BertReader,
        partial(_no_columns, read_questions),
        lambda data: {"unanswerable": not all(question.answers for question in data)},
        "SQuAD's JSON",
    ),
    "choices": NamedTask(
        BertChooser,
        partial(_no_columns, read_choices),
        lambda data: {"choices": max(len(example.options) for example in data)},
        "SWAG's CSV, or lines of JSON",
    ),
}


def task_like(model: TaskModel) -> NamedTask:
    """The task that a model was trained for.

    >>> task_like(BertReader.__new__(BertReader)).files
    "SQuAD's JSON"
    """
    names = {ONE_CLASS: "classification", LABELS: "multi-label", NUMBER: "regression"}
    if isinstance(model, BertClassifier):
        return TASKS[names[model.problem_type]]
    return next(task for task in TASKS.values() if task.kind is type(model))
