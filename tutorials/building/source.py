"""The library's files side by side with their comments, as Markdown for the site.

Nothing is written twice: what stands on the left of a page are the docstrings and comments of
the file, what stands on the right is the rest of it. A note begins a row.
"""

import ast
import re
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path


@dataclass
class Row:
    """A note, and the lines of code (from 1) that it stands beside; `noted` are its own lines."""

    note: str = ""
    lines: list[int] = field(default_factory=list)
    noted: list[int] = field(default_factory=list)


def read_along(root: Path) -> list[str]:
    """The files to read, in their order: the reading list of the README."""
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    listed = re.search(r"<!-- reading list -->(.*?)<!-- /reading list -->", text, re.DOTALL)
    return re.findall(r"\]\(([\w/]+\.py)\)", listed[1]) if listed else []


def rows_of(text: str) -> list[Row]:
    """Cut a file into rows: one for each comment or docstring, with the code that follows.

    The lines that a docstring is about, `def ...`, stand beside it.

    >>> for row in rows_of('# Twice.\\ny = 2 * x\\n# Thrice.\\nz = 3 * x\\n'):
    ...     print(row.note, row.lines)
    Twice. [2]
    Thrice. [4]
    """
    lines, docs, starts = text.split("\n"), {}, set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            starts.add(min([node.lineno, *(d.lineno for d in node.decorator_list)]))
        elif not isinstance(node, ast.Module):
            continue
        if (doc := ast.get_docstring(node)) is not None:
            docs[node.body[0].lineno] = node.body[0].end_lineno or 0, doc
    rows, ended = [Row()], 0
    for n, line in enumerate(lines, 1):
        comment = line.strip().startswith("#")
        if n > ended and rows[-1].lines and (comment or n in starts):
            rows.append(Row())
        row = rows[-1]
        if n in docs:
            ended, doc = docs[n]
            row.note = f"{row.note}\n\n{doc}".strip()
            row.noted += range(n, ended + 1)
            if len(rows) == 1:  # what a file says of itself stands alone
                rows.append(Row())
        elif n > ended and comment:
            row.note += f"\n{line.strip().lstrip('#').strip()}"
            row.noted.append(n)
        elif n > ended and (line.strip() or row.lines):
            row.lines.append(n)
    for row in rows:
        row.note = row.note.strip()
        while row.lines and not lines[row.lines[-1] - 1].strip():
            row.lines.pop()
    return [row for row in rows if row.note or row.lines]


def note_markdown(note: str) -> str:
    """A comment as Markdown. Examples in it (`>>> ...`) and what is set in are shown as code."""
    parts = []
    for paragraph in re.split(r"\n\s*\n", note):
        if re.match(r" *>>>| {2,}\S", paragraph) or re.fullmatch(r"\(\w+, .*->.*", paragraph):
            language = "pycon" if paragraph.lstrip().startswith(">>>") else "text"
            parts.append(f"``````{language}\n{paragraph}\n``````")
        else:
            pieces = re.split("(`[^`]*`)", paragraph)
            pieces[::2] = [
                re.sub(r"([][\\*_<>{}$%|#+~=])", r"\\\1", piece) for piece in pieces[::2]
            ]
            parts.append("".join(pieces))
    return "\n\n".join(parts)


def source_markdown(path: str, text: str) -> str:
    """A file's page: its rows, each a box of a note and of code whose lines have anchors."""
    lines, parts = text.split("\n"), [f"# `{path}`"]
    definitions = (ast.ClassDef, ast.FunctionDef)
    names = {n.lineno: n.name for n in ast.parse(text).body if isinstance(n, definitions)}
    for row in rows_of(text):
        parts += [f"## `{names[n]}`" for n in row.lines if n in names]
        # A link to a line of a comment leads to the note that it became.
        note = "".join(f'<span id="L-{n}"></span>' for n in row.noted)
        note += "\n\n" + note_markdown(row.note)
        parts.append(f"::::{{container}} row\n:::{{container}} note\n{note}\n:::")
        parts += [":::{container} beside"] if row.lines else []
        for _, run in groupby(enumerate(row.lines), lambda pair: pair[1] - pair[0]):
            numbers = [n for _, n in run]
            code = "\n".join(lines[n - 1] for n in numbers)
            options = f":lineno-start: {numbers[0]}"
            parts.append(f"``````{{code-block}} python\n{options}\n{code}\n``````")
        parts.append(":::\n::::" if row.lines else "::::")
    return "\n\n".join(parts)
