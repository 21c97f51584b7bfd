"""A field of a settings dataclass, with the line of help that the command line shows for it."""

from dataclasses import field
from typing import Any


def option(default: Any, help: str, metavar: str | None = None) -> Any:
    """A field with a default and its help: `cli/settings.py` makes an option of each.

    >>> import dataclasses
    >>> @dataclasses.dataclass
    ... class Settings:
    ...     steps: int = option(10, "after which the learning rate is 0")
    >>> Settings(), dataclasses.fields(Settings)[0].metadata["help"]
    (Settings(steps=10), 'after which the learning rate is 0')
    """
    return field(default=default, metadata={"help": help, "metavar": metavar})


def check_at_least(settings: Any, least: int, *names: str) -> None:
    """Raise ValueError for a field of that name that is set and less."""
    for name in names:
        value = getattr(settings, name)
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
