"""What stands in an exercise until you have written it."""

from typing import Any


class NotDone(NotImplementedError):
    """An exercise that waits to be written."""


def TODO(what: str) -> Any:
    """Stands where your code will: `return TODO("...")`."""
    raise NotDone(what)
