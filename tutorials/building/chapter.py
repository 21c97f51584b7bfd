"""The form of a chapter: which of its code blocks are cells, and what stands after them.

A chapter is Markdown as GitHub shows it. The words after ```` ```python ```` say what a block
is: nothing for a cell, `no-run` for a listing, a file of the library for a quotation, `needs=...`
for a cell that runs only where something is at hand. Between `<!-- out -->` and `<!-- /out -->`
stands what the build wrote; `head`, `nav` and `contents` are marked in the same way.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.anchors import anchors_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin

BUDGET = 20.0  # seconds of processor time, unless the chapter says otherwise
BEFORE = ("README", "ten_minutes")
APPENDICES = ("side_paths", "notation", "glossary", "history", "teachers")
MARKERS = ("out", "head", "nav", "contents")


@dataclass(frozen=True)
class Problem:
    """Something wrong with a chapter: where, and in words what to do."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


@dataclass
class Block:
    """What stands between a pair of markers: lines[start:end] includes the markers."""

    name: str
    start: int
    end: int
    text: str


@dataclass
class Cell:
    """A code block that is run."""

    number: int  # from 1, in its chapter
    line: int  # of its first line of code, from 1
    end: int  # the index of the line after its closing fence
    code: str
    needs: tuple[str, ...] = ()
    alt: str | None = None
    figure: str | None = None  # the figure's file name, if it has an alt text
    out: Block | None = None


@dataclass
class Quotation:
    """A code block that must stand verbatim in a file of the library."""

    line: int
    path: str
    code: str


@dataclass
class Chapter:
    """One Markdown file of the tutorials."""

    path: Path
    text: str
    cells: list[Cell] = field(default_factory=list)
    quotations: list[Quotation] = field(default_factory=list)
    blocks: dict[str, Block] = field(default_factory=dict)  # head, nav, contents
    problems: list[Problem] = field(default_factory=list)
    title: str = ""
    question: str = ""
    budget: float = BUDGET

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def file(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def numbered(self) -> bool:
        """True for the chapters, False for the appendices and the contents page."""
        return self.name[0].isdigit()

    @property
    def lines(self) -> list[str]:
        return self.text.split("\n")

    def problem(self, line: int, text: str) -> None:
        self.problems.append(Problem(self.file, line, text))


def markdown() -> MarkdownIt:
    """The Markdown that GitHub shows, formulas included; a heading's `id` is its anchor there.

    >>> [token.attrs["id"] for token in markdown().parse("# A `b`, c\\n\\n## A b c\\n")[::3]]
    ['a-b-c', 'a-b-c-1']
    """
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    parser.use(anchors_plugin, max_level=6)
    return parser.use(dollarmath_plugin, allow_space=False, allow_digits=False)


def chapter_files(folder: Path) -> list[Path]:
    """The contents page, the page before all chapters, these by number, then the appendices."""

    def place(path: Path) -> tuple[int, str]:
        if path.stem in BEFORE:
            return BEFORE.index(path.stem) - 3, ""
        if path.stem in APPENDICES:
            return APPENDICES.index(path.stem), ""
        return (-1 if path.name[0].isdigit() else len(APPENDICES)), path.name

    return sorted(folder.glob("*.md"), key=place)


def read_chapter(path: Path) -> Chapter:
    """Read a chapter; whatever is wrong with its form is in `problems`."""
    chapter = Chapter(path, path.read_text(encoding="utf-8"))
    tokens = markdown().parse(chapter.text)
    figures = 0
    for i, token in enumerate(tokens):
        if token.type == "fence" and token.info.split()[:1] == ["python"]:
            figures = _read_code(chapter, token, figures)
        elif token.type == "fence" and token.info.split()[:1] in (["py"], ["python3"]):
            chapter.problem(_line(token), "write ```python, so that the block is run")
        elif token.type == "heading_open" and token.tag == "h1" and not chapter.title:
            chapter.title = plain(tokens[i + 1])
        elif token.type == "paragraph_open" and chapter.title and not chapter.question:
            chapter.question = plain(tokens[i + 1])
        elif token.type == "html_block" and token.level == 0:
            _read_marker(chapter, token)
    if not chapter.title:
        chapter.problem(1, "expected a title, `# Name`, on the first line")
    return chapter


def plain(inline: Token) -> str:
    """The text of a heading or paragraph without its markup."""
    children = inline.children or []
    breaks = ("softbreak", "hardbreak")
    return "".join(" " if child.type in breaks else child.content for child in children)


def _line(token: Token) -> int:
    return token.map[0] + 1 if token.map else 1


def _read_code(chapter: Chapter, token: Token, figures: int) -> int:
    """Sort a Python block; returns how many figures the chapter has so far."""
    line, words = _line(token), token.info.split()[1:]
    code = token.content.rstrip("\n")
    if words == ["no-run"]:
        return figures
    if len(words) == 1 and words[0].endswith(".py"):
        chapter.quotations.append(Quotation(line + 1, words[0], code))
        return figures
    needs = [need for word in words if word.startswith("needs=") for need in word[6:].split(",")]
    unknown = [word for word in words if not word.startswith("needs=")]
    if unknown or not all(needs):
        chapter.problem(
            line,
            "expected nothing, no-run, needs=NAME or a file such as minibert/core/attention.py "
            f"after ```python, got {' '.join(unknown or words)!r}",
        )
        return figures
    if token.level > 0:
        chapter.problem(
            line, "a cell inside a list or box is not run: move it out, or mark it no-run"
        )
        return figures
    alts = re.findall(r"^# alt: *(.*?) *$", code, re.MULTILINE)
    if len(alts) > 1:
        chapter.problem(line, "a cell shows one figure, so it has one `# alt:` line; got several")
    alt = alts[0] if alts else None
    figures += alt is not None
    figure = f"{chapter.name}-{figures}.svg" if alt is not None else None
    end = token.map[1] if token.map else line
    number = len(chapter.cells) + 1
    chapter.cells.append(Cell(number, line + 1, end, code, tuple(needs), alt, figure))
    return figures


def _read_marker(chapter: Chapter, token: Token) -> None:
    """Note the block that a marker opens; an `out` block belongs to the cell just above it."""
    line, first = _line(token), token.content.split("\n")[0].strip()
    if match := re.fullmatch(r"<!-- budget: (\d+(?:\.\d+)?) s -->", first):
        chapter.budget = float(match[1])
        return
    match = re.match(r"<!-- (\w+) -->", first)
    if not match or match[1] not in MARKERS:
        if first.startswith("<!-- budget"):
            chapter.problem(line, f"expected e.g. <!-- budget: 40 s -->, got {first}")
        return
    name, lines = match[1], chapter.lines
    start = line - 1
    if first == f"<!-- {name} --><!-- /{name} -->":
        end = line
    else:
        closing = (n for n in range(start, len(lines)) if lines[n].strip() == f"<!-- /{name} -->")
        end = next(closing, start - 1) + 1
    if end <= start:
        chapter.problem(line, f"<!-- {name} --> has no <!-- /{name} -->, alone on a line, after it")
        return
    block = Block(name, start, end, "\n".join(lines[start:end]))
    if name != "out":
        chapter.blocks[name] = block
        return
    above = [cell for cell in chapter.cells if cell.end <= start]
    if above and not "".join(lines[above[-1].end : start]).strip() and above[-1].out is None:
        above[-1].out = block
    else:
        chapter.problem(line, "this output follows no cell: delete it, the build writes outputs")
