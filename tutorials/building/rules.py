"""What can be judged without running anything: links, terms, quotations, alt texts, formulas."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from latex2mathml.converter import convert
from markdown_it.token import Token

from tutorials.building.chapter import Chapter, Problem, markdown

WIDEST = 900  # pixels
FEWEST_WORDS = 5  # of an alt text that says something
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)


def judge(chapter: Chapter, root: Path) -> list[Problem]:
    """Everything that is wrong with a chapter as it stands."""
    tokens = markdown().parse(chapter.text)
    problems: list[tuple[int, str]] = []
    for quotation in chapter.quotations:
        path = root / quotation.path
        if not path.is_file():
            problems.append((quotation.line - 1, f"quotes {quotation.path}, which does not exist"))
            continue
        _, line, text = find_quotation(quotation.code, path.read_text(encoding="utf-8"))
        if text:
            where = quotation.line + line
            problems.append((where, f"not verbatim in {quotation.path}: {text}"))
    problems += [
        *headings_out_of_order(tokens),
        *broken_links(chapter, tokens, root),
        *poor_alts(chapter, tokens),
        *bad_formulas(tokens),
    ]
    return [Problem(chapter.file, line, text) for line, text in problems]


def find_quotation(code: str, source: str) -> tuple[int, int, str]:
    """Look for quoted lines in a file, in order; `...` alone on a line leaves out some.

    Returns the line of the file (from 1) where the quotation begins, and ("" if all is well)
    which line of the quotation is not there, and a text that says so.

    >>> find_quotation("a = 1", "if x:\\n    a = 1\\n")
    (2, 0, '')
    >>> find_quotation("a = 2", "if x:\\n    a = 1\\n")[1:]
    (0, "expected lines of the file, got 'a = 2'")
    """
    text = "\n".join(["", *(line.rstrip() for line in source.split("\n")), ""])
    best = (1, -1, "")
    for indent in range(0, 32, 4):
        begin, at, piece, place = -1, 0, "", 0
        for n, line in enumerate(code.split("\n")):
            if line.strip() == "...":
                at, piece = place + len(piece.rstrip()), ""
                continue
            piece += "\n" + (" " * indent + line).rstrip()
            if not line.strip():
                continue
            place = text.find(f"{piece}\n", at)
            if place < 0:
                if n > best[1]:
                    best = (1, n, f"expected lines of the file, got {line.strip()!r}")
                break
            begin = place if begin < 0 or at == 0 else begin
        else:
            return text.count("\n", 0, max(begin, 0)) + 1, 0, ""
    return best


def headings_out_of_order(tokens: list[Token]) -> Iterator[tuple[int, str]]:
    """One title, and no heading that skips a level: a screen reader walks by them."""
    level = 0
    for token in tokens:
        if token.type != "heading_open" or token.level > 0:
            continue
        now, line = int(token.tag[1]), token.map[0] + 1 if token.map else 1
        if now == 1 and level:
            yield line, "expected one title (`# `) in a chapter, got a second one"
        elif now > level + 1:
            yield line, f"expected a heading of level {level + 1} or less, got level {now}"
        level = now


def inlines(tokens: list[Token]) -> Iterator[tuple[int, Token]]:
    """Every piece of inline markup, with the line of the paragraph it stands in."""
    line = 1
    for token in tokens:
        if token.map:
            line = token.map[0] + 1
        if token.type == "inline":
            yield from ((line, child) for child in token.children or [])
        elif token.type == "html_block":
            yield line, token


def targets(chapter: Chapter, tokens: list[Token]) -> Iterator[tuple[int, str]]:
    """Every address that a chapter links to or shows, and its line."""
    for line, token in inlines(tokens):
        addresses = []
        if token.type == "link_open":
            addresses = [str(token.attrs["href"])]
        elif token.type == "image":
            addresses = [str(token.attrs["src"])]
        elif token.type in ("html_inline", "html_block"):
            addresses = re.findall(r"""(?:href|src)\s*=\s*["']([^"']*)""", token.content)
        for target in addresses:
            rest = enumerate(chapter.lines[line - 1 :], line)
            yield (
                next((n for n, text in rest if unquote(target) in text or target in text), line),
                target,
            )


def broken_links(chapter: Chapter, tokens: list[Token], root: Path) -> Iterator[tuple[int, str]]:
    for line, target in targets(chapter, tokens):
        if ELSEWHERE.match(target):
            continue
        name, _, anchor = unquote(target).partition("#")
        path = (chapter.path.parent / name).resolve() if name else chapter.path
        if not path.is_relative_to(root.resolve()):
            yield line, f"the link {target} leads out of the repository"
        elif not path.exists():
            what = "figure" if path.suffix == ".svg" else "link"
            yield line, f"broken {what}: {target} does not exist"
        elif anchor and path.suffix == ".md" and anchor not in anchors(path):
            if path.stem == "glossary":
                yield line, f"unknown glossary term: {path.name} has no heading for #{anchor}"
            else:
                yield line, f"broken link: {path.name} has no heading for #{anchor}"
        elif anchor and path.suffix == ".py":
            number = re.fullmatch(r"L(\d+)(?:-L\d+)?", anchor)
            if not number or int(number[1]) > path.read_text("utf-8").count("\n"):
                yield line, f"broken link: {path.name} has no line #{anchor}"


def anchors(path: Path) -> set[str]:
    """The anchors of a Markdown file, as GitHub makes them from headings, and those in HTML."""
    text = path.read_text(encoding="utf-8")
    explicit = re.findall(r"""<\w+[^>]*\s(?:id|name)\s*=\s*["']([^"']+)""", text)
    headings = (token for token in markdown().parse(text) if token.type == "heading_open")
    return {str(token.attrs["id"]) for token in headings} | set(explicit)


def poor_alts(chapter: Chapter, tokens: list[Token]) -> Iterator[tuple[int, str]]:
    """An alt text carries what the picture says: it is no file name, and not 'a plot'."""
    wish = f"say in {FEWEST_WORDS} words or more what is to be seen"
    for cell in chapter.cells:
        if cell.alt is not None and len(cell.alt.split()) < FEWEST_WORDS:
            yield cell.line, f"the alt text {cell.alt!r} is too short: {wish}"
    for line, token in inlines(tokens):
        if token.type == "image" and len(token.content.split()) < FEWEST_WORDS:
            where = [
                n for n, text in enumerate(chapter.lines, 1) if str(token.attrs["src"]) in text
            ]
            yield (
                (where or [line])[0],
                (f"the figure {token.attrs['src']} has the alt text {token.content!r}: {wish}"),
            )


def bad_formulas(tokens: list[Token]) -> Iterator[tuple[int, str]]:
    """Formulas that cannot be turned into MathML, which the pages need."""
    formulas = [
        (line, token.content) for line, token in inlines(tokens) if token.type == "math_inline"
    ]
    for token in tokens:
        if token.type == "math_block" or (token.type == "fence" and token.info.strip() == "math"):
            formulas.append((token.map[0] + 1 if token.map else 1, token.content))
    for line, formula in formulas:
        try:
            left = re.search(r"\\[a-zA-Z]+", convert(formula))
        except Exception as error:
            yield line, f"the formula {formula.strip()!r} cannot be read: {type(error).__name__}"
            continue
        if left:
            yield line, f"the formula {formula.strip()!r} uses {left[0]}, which MathML lacks"


def svg_problem(svg: str) -> str | None:
    """What is wrong with a picture that the chapters show, or None."""
    match = re.search(r"<svg\b[^>]*?\swidth=\"([\d.]+)(pt|px)?\"", svg, re.DOTALL)
    if not match:
        return "the figure is no SVG with a width"
    width = float(match[1]) * (4 / 3 if match[2] == "pt" else 1)
    if width > WIDEST:
        return f"the figure is {width:.0f} px wide: make it {WIDEST} px or less"
    return None
