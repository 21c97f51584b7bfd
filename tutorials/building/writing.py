"""Put what the cells gave into the Markdown: outputs, pictures, the head and the foot.

Nothing here runs or judges anything. A file is written whole or not at all, and only if it
changed; a chapter that somebody edited while its cells ran is left alone.
"""

import re
from pathlib import Path

from minibert.system.files import written_whole
from tutorials.building.chapter import APPENDICES, Cell, Chapter, read_chapter
from tutorials.building.notebook import notebook_text
from tutorials.building.running import Result, Run, seconds_shown

WORDS_PER_MINUTE = 180
LINES_PER_MINUTE = 20  # of code, which is read more slowly
CONTENTS = "README.md"
SHORT_ROAD = ("00", "04", "05", "06", "09", "10")  # about two hours
OPTIONAL = {"weights": "the official weights", "sst2": "the data of SST-2"}
STEPS = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 40, 60, 90, 120)  # of the run time shown


def write_text(path: Path, text: str) -> bool:
    """Write a file if its text changed; True if it did."""
    if path.is_file() and path.read_bytes() == text.encode("utf-8"):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))
    return True


def out_block(cell: Cell, result: Result) -> str | None:
    """What stands after a cell; None if it printed nothing and shows nothing."""
    parts = []
    if text := printed(result.text):
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
        parts.append(f"{fence}text\n{text}\n{fence}")
    if result.svg is not None and cell.figure:
        parts.append(f"![{escaped(cell.alt or '')}](img/{cell.figure})")
    return "\n".join(["<!-- out -->", "\n\n".join(parts), "<!-- /out -->"]) if parts else None


def printed(text: str) -> str:
    """A cell's text as the chapter shows it: no spaces at the ends of lines, no empty ends."""
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def escaped(alt: str) -> str:
    """A text in which Markdown sees nothing but text.

    >>> print(escaped("the row of [MASK]"))
    the row of \\[MASK\\]
    """
    return re.sub(r"([\\`*_\[\]<>$|~])", r"\\\1", alt)


def rendered(run: Run, chapters: list[Chapter]) -> str:
    """The chapter's text with all that the build writes in its place."""
    chapter, lines = run.chapter, run.chapter.lines
    edits: list[tuple[int, int, str | None]] = []
    for cell in chapter.cells:
        if result := run.results.get(cell.number):
            text = out_block(cell, result)
            if cell.out is None and text is not None:
                edits.append((cell.end, cell.end, f"\n{text}"))
            elif cell.out is not None and text is None:
                edits.append((cell.end, cell.out.end, None))  # with the empty line before it
            elif cell.out is not None:
                edits.append((cell.out.start, cell.out.end, text))
    for name, block in chapter.blocks.items():
        texts = {"head": head, "nav": nav, "contents": contents}
        inside = texts[name](run, chapters)
        edits.append((block.start, block.end, f"<!-- {name} -->\n{inside}\n<!-- /{name} -->"))
    for start, end, text in sorted(edits, key=lambda edit: edit[0], reverse=True):
        lines[start:end] = [] if text is None else text.split("\n")
    return "\n".join(lines)


def head(run: Run, chapters: list[Chapter]) -> str:
    """Reading minutes, run time, and what the chapter needs."""
    chapter = run.chapter
    needs = {need for cell in chapter.cells for need in cell.needs}
    minutes = reading_minutes(chapter)
    parts = [f"{minutes} minute{'s' if minutes > 1 else ''} to read"]
    if chapter.cells:
        seconds = shown_seconds(run.seconds, seconds_shown(chapter))
        parts.append(f"about {seconds} s to run on one core")
    if optional := [name for need, name in OPTIONAL.items() if need in needs]:
        names = " and ".join(optional)
        parts.append(f"{names} are used where they are there, and not needed")
    if packages := sorted(need.replace("_", "-") for need in needs - OPTIONAL.keys()):
        parts.append(f"some cells need `pip install {' '.join(packages)}`")
    if not needs:
        parts.append("needs no download")
    return f"*{' · '.join(parts)}*"


def reading_minutes(chapter: Chapter) -> int:
    """How long a chapter takes to read, without what the build wrote."""
    text = re.sub(r"<!-- (\w+) -->.*?<!-- /\1 -->", "", chapter.text, flags=re.DOTALL)
    fences = re.findall(r"^```.*?^```", text, flags=re.DOTALL | re.MULTILINE)
    code = sum(fence.count("\n") - 1 for fence in fences)
    words = len(re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE).split())
    return max(1, round(words / WORDS_PER_MINUTE + code / LINES_PER_MINUTE))


def shown_seconds(seconds: float, before: int) -> int:
    """A round figure; the one that stands there is kept as long as it is about right.

    >>> shown_seconds(4.2, before=0), shown_seconds(4.2, before=4)
    (5, 4)
    """
    if before and (seconds == 0 or 0.5 * seconds <= before <= 2 * seconds + 1):
        return before
    return next((step for step in STEPS if step >= seconds), round(seconds))


def nav(run: Run, chapters: list[Chapter]) -> str:
    """Links to the chapter before, the contents, and the chapter after."""
    before, after = neighbours(run.chapter, chapters)
    parts = []
    if before and before.path.name != CONTENTS:
        parts.append(f"[← {before.title}]({before.path.name})")
    parts.append(f"[Contents]({CONTENTS})")
    if after:
        parts.append(f"[{after.title} →]({after.path.name})")
    return " · ".join(parts)


def neighbours(chapter: Chapter, chapters: list[Chapter]) -> tuple[Chapter | None, Chapter | None]:
    names = [other.name for other in chapters]
    if chapter.name not in names:
        return None, None
    i = names.index(chapter.name)
    return (
        chapters[i - 1] if i > 0 else None,
        chapters[i + 1] if i + 1 < len(chapters) else None,
    )


def contents(run: Run, chapters: list[Chapter]) -> str:
    """A list of all chapters, each with the question it answers, and of the appendices."""
    rows = []
    for chapter in chapters:
        if chapter.path.name == CONTENTS:
            continue
        row = f"- [{chapter.title}]({chapter.path.name})"
        if chapter.name not in APPENDICES:
            road = ", **short road**" if chapter.name[:2] in SHORT_ROAD else ""
            row += f" ({reading_minutes(chapter)} min{road})  \n  {chapter.question}"
        rows.append(row)
    return "\n".join(rows)


def save(run: Run, chapters: list[Chapter]) -> Chapter:
    """Write the chapter, its figures and its notebook; remove figures that it no longer has."""
    chapter = run.chapter
    if chapter.path.read_text(encoding="utf-8") != chapter.text:
        chapter.problem(1, "edited while its cells ran; run the build again")
        return chapter
    folder = chapter.path.parent / "img"
    for cell in chapter.cells:
        result = run.results.get(cell.number)
        if result and result.svg is not None and cell.figure:
            write_text(folder / cell.figure, result.svg)
            if result.page:
                write_text(interactive(chapter, cell), result.page)
    for path in orphans(chapter):
        path.unlink()
    write_text(chapter.path, rendered(run, chapters))
    chapter = read_chapter(chapter.path)
    if chapter.numbered:
        write_text(notebook_path(chapter), notebook_text(chapter))
    return chapter


def interactive(chapter: Chapter, cell: Cell) -> Path:
    """Where the page of a picture lies in which one can click."""
    return chapter.path.parent / "interactive" / f"{Path(cell.figure or '').stem}.html"


def notebook_path(chapter: Chapter) -> Path:
    return chapter.path.parent / "notebooks" / f"{chapter.name}.ipynb"


def orphans(chapter: Chapter) -> list[Path]:
    """Figures that bear this chapter's name, and that no cell of it makes."""
    made = {Path(cell.figure).stem for cell in chapter.cells if cell.figure}
    places = [("img", "svg"), ("interactive", "html")]
    drawn = [
        path
        for folder, ending in places
        for path in sorted((chapter.path.parent / folder).glob(f"{chapter.name}-*.{ending}"))
    ]
    return [path for path in drawn if path.stem not in made]
