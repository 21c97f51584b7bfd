"""The library's files side by side with their comments.

Nothing is written twice: what stands on the left of a page are the docstrings and comments of
the file, what stands on the right is the rest of it. A note begins a row.
"""

import ast
import re
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from tutorials.building.to_html import coloured, plain_parser


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


def page_name(path: str) -> str:
    """The page of a file: `minibert/core/attention.py` has `minibert.core.attention.html`."""
    return path.removesuffix(".py").replace("/", ".") + ".html"


def rows_of(text: str) -> list[Row]:
    """Cut a file into rows: one for each comment or docstring, with the code it is about.

    >>> for row in rows_of('# Twice.\\ny = 2 * x\\n# Thrice.\\nz = 3 * x\\n'):
    ...     print(row.note, row.lines)
    Twice. [2]
    Thrice. [4]
    """
    lines = text.split("\n")
    tree = ast.parse(text)
    docs: dict[int, tuple[int, str]] = {}  # first line of a docstring -> its last, its text
    starts: set[int] = set()  # first lines of definitions, decorators included
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            starts.add(min([node.lineno, *(d.lineno for d in node.decorator_list)]))
        elif not isinstance(node, ast.Module):
            continue
        if (doc := ast.get_docstring(node)) is not None:
            first = node.body[0]
            docs[first.lineno] = (first.end_lineno or first.lineno, doc)
    rows, number = [Row()], 1
    while number <= len(lines):
        line = lines[number - 1]
        if number in docs:
            last, doc = docs[number]
            rows[-1].note = f"{rows[-1].note}\n\n{doc}".strip()
            rows[-1].noted += range(number, last + 1)
            number = last + 1
            continue
        if line.strip().startswith("#"):
            comment, first_line = [], number
            while number <= len(lines) and lines[number - 1].strip().startswith("#"):
                comment.append(lines[number - 1].strip().lstrip("#").strip())
                number += 1
            rows.append(Row("\n".join(comment), noted=list(range(first_line, number))))
            continue
        above = [lines[n - 1] for n in rows[-1].lines if lines[n - 1].strip()]
        # What a file says of itself stands alone; what a class says, beside its first method, too.
        ended = not above[-1].startswith("class ") if above else len(rows) == 1 and rows[0].note
        if number in starts and ended:
            rows.append(Row())
        rows[-1].lines.append(number)
        number += 1
    for row in rows:
        while row.lines and not lines[row.lines[0] - 1].strip():
            row.lines.pop(0)
        while row.lines and not lines[row.lines[-1] - 1].strip():
            row.lines.pop()
    return [row for row in rows if row.note or row.lines]


def note_html(note: str) -> str:
    """A comment as HTML. Examples in it (`>>> ...`) are shown as code."""
    parts: list[str] = []
    for paragraph in re.split(r"\n\s*\n", note):
        if paragraph.lstrip().startswith(">>>"):
            parts.append(coloured(paragraph, "pycon"))
        elif re.match(r" {2,}\S", paragraph) or re.fullmatch(r"\(\w+, .*->.*", paragraph):
            parts.append(f"<pre>{escape(paragraph)}</pre>")
        else:
            parts.append(plain_parser().render(re.sub(r"([*<])", r"\\\1", paragraph)))
    return "\n".join(parts)


def source_html(text: str) -> tuple[str, list[tuple[int, str, str]]]:
    """The inside of a file's page, and its definitions as headings for the table of contents."""
    shown = highlight(text, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)).split("\n")
    headings = []
    for node in ast.parse(text).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            headings.append((2, f"L{node.lineno}", node.name))
    html = []
    for row in rows_of(text):
        code = "".join(
            f'<span class="line" id="L{n}"><a href="#L{n}" tabindex="-1" aria-hidden="true">{n}</a>'
            f"{shown[n - 1]}\n</span>"
            for n in row.lines
        )
        pre = f'<pre tabindex="0"><code>{code}</code></pre>' if code else ""
        # A link to a line of a comment leads to the note that it became.
        anchors = "".join(f'<span id="L{n}"></span>' for n in row.noted)
        html.append(
            f'<div class="row"><div class="note">{anchors}{note_html(row.note)}</div>'
            f'<div class="beside">{pre}</div></div>'
        )
    return "\n".join(html), headings
