"""A chapter as a notebook without outputs, for Jupyter and Colab; the same bytes each time."""

import hashlib
import re

import nbformat
from nbformat import v4

from tutorials.building.chapter import Chapter

SETUP = """\
# Run this cell first. It goes to the repository's folder, where the chapters' cells expect to be,
# and installs minibert from there if it is missing.
import importlib.util
import os
from pathlib import Path

here = [Path.cwd(), *Path.cwd().parents]
root = next((folder for folder in here if (folder / "tutorials" / "build.py").is_file()), None)
if root is None:
    raise SystemExit("clone minibert's repository, and open this notebook in the clone")
os.chdir(root)
if importlib.util.find_spec("minibert") is None:
    %pip install --quiet --editable ".[tutorials]"
"""


def notebook_text(chapter: Chapter) -> str:
    """The notebook's file. Every cell of the chapter is a cell; all between is Markdown."""
    cells = [cell_of(chapter, 0, "code", SETUP.rstrip("\n"))]
    lines = chapter.lines
    cuts = sorted(
        [(b.start, b.end, None) for b in chapter.blocks.values()]
        + [(c.out.start, c.out.end, None) for c in chapter.cells if c.out]
        + [(c.line - 2, c.end, c) for c in chapter.cells],
        key=lambda cut: cut[0],
    )
    at, prose = 0, ""
    for start, end, cell in [*cuts, (len(lines), len(lines), None)]:
        prose += "\n".join(lines[at:start]) + "\n"
        at = end
        if (cell or start == len(lines)) and prose.strip():
            cells.append(cell_of(chapter, len(cells), "markdown", for_jupyter(prose, chapter)))
            prose = ""
        if cell:
            code = cell_of(chapter, len(cells), "code", cell.code)
            if cell.needs:
                code.metadata["tags"] = [f"needs={need}" for need in cell.needs]
            cells.append(code)
    book = v4.new_notebook(cells=[cells[1], cells[0], *cells[2:]] if len(cells) > 1 else cells)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book.metadata["kernelspec"] = kernel
    book.metadata["language_info"] = {"name": "python"}
    return nbformat.writes(book).rstrip("\n") + "\n"


def cell_of(chapter: Chapter, number: int, kind: str, source: str) -> nbformat.NotebookNode:
    make = v4.new_code_cell if kind == "code" else v4.new_markdown_cell
    name = hashlib.sha256(f"{chapter.name} {number}".encode()).hexdigest()[:12]
    return make(source, id=name)


def for_jupyter(text: str, chapter: Chapter) -> str:
    """GitHub's Markdown in the words of Jupyter: formulas, boxes, and links from its folder."""
    text = re.sub(r"^```math\n(.*?)^```", r"$$\n\1$$", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(
        r"^> \[!(\w+)\]$", lambda m: f"> **{m[1].capitalize()}.**  ", text, flags=re.MULTILINE
    )
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    return re.sub(r"\]\(([^)\s]+)\)", lambda m: f"]({moved(m[1], chapter)})", text).strip("\n")


def moved(target: str, chapter: Chapter) -> str:
    """A link's target, seen from the folder of the notebooks."""
    name, mark, anchor = target.partition("#")
    path = chapter.path.parent / name
    if not name or not path.exists():
        return target
    if path.suffix == ".md" and re.match(r"\d\d_", path.name) and "/" not in name:
        return name.removesuffix(".md") + ".ipynb" + mark + anchor
    return f"../{target}"
