"""The reference of the public names: Sphinx's autodoc, for docstrings that are plain text.

`docs/api.md` lists the names; on the site each becomes what its docstring says.
"""

import re
from collections.abc import Sequence
from importlib import import_module
from inspect import isclass
from itertools import groupby
from typing import Any

API = "docs/api.md"
NAME = re.compile(r"^- `(minibert[\w.]+)`$", re.MULTILINE)


def public_object(name: str) -> Any:
    """What a full name stands for.

    >>> public_object("minibert.load").__name__
    'load'
    """
    module, _, last = name.rpartition(".")
    return getattr(import_module(module), last)


def api_markdown(text: str) -> str:
    """The list in the words of MyST: a directive in the place of each name."""

    def directive(name: re.Match[str]) -> str:
        if isclass(public_object(name[1])):
            words = f".. autoclass:: {name[1]}\n   :members:"
        else:
            words = f".. autofunction:: {name[1]}"
        return f"```{{eval-rst}}\n{words}\n```\n"

    return NAME.sub(directive, text)


def in_rst(lines: Sequence[str]) -> list[str]:
    """A plain docstring as reStructuredText: code in double backticks, tables as they stand.

    >>> print("\\n".join(in_rst(["Takes `x`, *(...)*.", "", "x   the number"])))
    Takes ``x``, \\*(...)\\*.
    <BLANKLINE>
    .. code-block:: text
    <BLANKLINE>
       x   the number
    <BLANKLINE>
    """
    written: list[str] = []
    for blank, paragraph in groupby(lines, key=lambda line: not line.strip()):
        rows = list(paragraph)
        if blank or rows[0].lstrip().startswith(">>>"):
            written += rows
        elif any(row[0] == " " or re.search(r"\S {2,}\S", row) for row in rows):
            written += [".. code-block:: text", "", *(f"   {row}" for row in rows), ""]
        else:
            written += map(_in_rst, rows)
    return written


def _in_rst(row: str) -> str:
    parts = row.split("`")
    if len(parts) % 2 == 0:  # a code that goes on in the next line
        return re.sub(r"[*_|`\\]", r"\\\g<0>", row)
    parts[::2] = [re.sub(r"[*_|\\]", r"\\\g<0>", part) for part in parts[::2]]
    return "".join(part if n % 2 == 0 else f"``{part}``" for n, part in enumerate(parts))
