"""Exercises: one function in each file, to be written by you. `python -m tutorials.check` judges.

Nothing is hidden: the library is the answer key, and `--reveal` shows it.
"""

from typing import Any


class NotDone(NotImplementedError):
    """An exercise that waits to be written."""


def TODO(what: str) -> Any:
    """Stands where your code will: `return TODO("...")`."""
    raise NotDone(what)
