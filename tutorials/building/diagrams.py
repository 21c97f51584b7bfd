"""The map of BERT, which grows with the chapters; the other diagrams are files of their own.

`python -m tutorials.building.diagrams` writes it to tutorials/diagrams/. On the pages of the site
it is drawn anew for each chapter: small, its boxes links, with "you are here". To give a new
chapter its place on the map, add its number to a box of `BOXES`, or to `ROUND`.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from minibert.view import svg

FOLDER = Path(__file__).resolve().parents[1] / "diagrams"
AXES = {"B": "#0072b2", "T": "#c04e00", "H": "#007a5a", "A": "#a8487f", "D": "#8a6200"}
SHAPE = re.compile(r"\((?:[BTHADILV]|\d+)(?:, (?:[BTHADILV]|\d+))*,?\)")
MARK = "#d55e00"  # you are here


@dataclass(frozen=True)
class Box:
    """A step of BERT: its place, what it is, the shape it gives, where it is told and written."""

    x: float
    y: float
    width: float
    name: str
    shape: str
    chapters: tuple[str, ...]
    file: str = ""
    height: float = 44


BOXES = (
    Box(20, 64, 300, "words", "clean, lower-case, split", ("01",), "rules.py"),
    Box(20, 132, 300, "pieces", "flood ##ed", ("02",), "wordpiece.py"),
    Box(20, 200, 300, "ids, segments, mask", "(B, T)", ("02", "06"), "inputs.py"),
    Box(20, 268, 300, "token + segment + position", "(B, T, H)", ("03",), "embeddings.py"),
    Box(44, 356, 252, "who reads whom: heads", "(B, A, T, T)", ("04", "05", "06"), "attention.py"),
    Box(44, 424, 252, "add, LayerNorm", "(B, T, H)", ("07",), "encoder.py"),
    Box(44, 492, 252, "each token alone: feed-forward", "(B, T, I)", ("07",), "encoder.py"),
    Box(44, 560, 252, "add, LayerNorm", "(B, T, H)", ("07",), "encoder.py"),
    Box(20, 648, 300, "hidden states, a vector a token", "(B, T, H)", ("00", "11"), "model.py"),
    Box(20, 736, 144, "fill the blank", "(B, T, V)", ("10",), "heads.py"),
    Box(176, 736, 144, "B follows A?", "(B, 2)", ("10",), "heads.py"),
)
ROUND = (  # what is around it: name, chapter's subject, chapters
    ("the official numbers", "every tensor of the file", ("08",)),
    ("yours is wrong: where?", "the checker", ("09",)),
    ("how it is trained", "pretraining", ("12",)),
    ("teach it a task", "fine-tuning", ("13", "19")),
    ("vectors of sentences", "trained to be compared", ("15",)),
    ("the same in NumPy", "without torch", ("14",)),
    ("where it comes from", "from GPT to BERT", ("16",)),
    ("its family", "RoBERTa, DistilBERT, ...", ("17",)),
    ("what people say of it", "thirty claims, run", ("18",)),
)
CORE = "minibert/core/"


def in_colours(content: str) -> str:
    """A shape in the colours of its letters, as parts of a text of SVG.

    >>> in_colours("(T,)")
    '(<tspan fill="#c04e00" font-weight="bold">T</tspan>,)'
    """
    return "".join(
        svg.element("tspan", char, fill=AXES[char], font_weight="bold") if char in AXES else char
        for char in content
    )


def label(x: float, y: float, content: str, **more: object) -> str:
    """A text; if it is a shape, in colours."""
    written = svg.text(x, y, content, **more)  # type: ignore[arg-type]
    return SHAPE.sub(lambda shape: in_colours(shape[0]), written)


def arrow(x: float, y1: float, y2: float) -> str:
    """A line straight down, with a point at its end."""
    points = " ".join(map(svg.number, (x, y2, x - 4, y2 - 7, x + 4, y2 - 7)))
    return svg.line(x, y1, x, y2 - 6, stroke=svg.MUTED, stroke_width=1.6) + svg.element(
        "polygon", points=points, fill=svg.MUTED
    )


def drawn(box: Box, here: str, pages: dict[str, str], files: str) -> str:
    """A box. Its name is a link to its first chapter that is there, its file one to the file."""
    now = here in box.chapters
    there = [chapter for chapter in box.chapters if chapter in pages]
    if not there:
        return ""
    numbers = ", ".join(str(int(chapter)) for chapter in there)
    name = svg.group(
        svg.rect(box.x, box.y, box.width, box.height, rx=6, fill="#fff4ec" if now else svg.PALE,
                 stroke=MARK if now else svg.RULE, stroke_width=2.5 if now else 1.2),
        svg.text(box.x + 10, box.y + 18, box.name, bold=True, size=svg.SMALL),
        svg.text(box.x + box.width - 10, box.y + 18, numbers, anchor="end", size=svg.SMALL,
                 fill=MARK if now else svg.MUTED, bold=now),
        label(box.x + 10, box.y + 36, box.shape, size=svg.SMALL, fill=svg.MUTED),
    )  # fmt: skip
    target = next((chapter for chapter in there if chapter != here), there[0])
    parts = [
        svg.element("a", name, href=pages[target], aria_label=f"chapter {numbers}: {box.name}")
    ]
    if box.file:
        shown = svg.text(box.x + box.width - 10, box.y + 36, box.file, anchor="end",
                         size=svg.SMALL, fill="#0969da")  # fmt: skip
        parts.append(svg.element("a", shown, href=f"{files}{box.file}"))
    return "".join(parts)


def bert_map(pages: dict[str, str], files: str = f"../{CORE}", here: str = "") -> str:
    """From text to heads; `pages` are the addresses of the chapters by their numbers."""
    beside = [row for row in ROUND if any(chapter in pages for chapter in row[2])]
    around = [Box(370, 64 + 68 * n, 200, *row) for n, row in enumerate(beside)]
    block = svg.rect(20, 332, 300, 292, rx=8, fill="none", stroke=svg.MUTED, stroke_dasharray="5 4")
    parts = [
        svg.text(20, 26, "“the river bank was flooded”", bold=True),
        svg.text(370, 26, "around it", fill=svg.MUTED),
        *(arrow(170, y, y + 22) for y in (40, 108, 176, 244)),
        arrow(170, 312, 354),
        *(arrow(170, y, y + 22) for y in (400, 468, 536)),
        arrow(170, 604, 646),
        arrow(90, 692, 734),
        arrow(250, 692, 734),
        svg.text(258, 718, "pooler: [CLS]", size=svg.SMALL, fill=svg.MUTED),
        block,
        svg.text(178, 346, "a block, L times", size=svg.SMALL, fill=svg.MUTED),
        *(drawn(box, here, pages, files) for box in (*BOXES, *around)),
    ]
    words = "The map of BERT, from the top: a text becomes words, pieces, ids; three vectors are " \
        "added for each token; L blocks follow, each of attention, add and LayerNorm, " \
        "feed-forward, add and LayerNorm; out come hidden states, a vector for each token, and " \
        "above them two heads: fill the blank, and does B follow A. Beside it: official " \
        "numbers, the checker, NumPy, pretraining, fine-tuning."  # fmt: skip
    return svg.document(parts, 796, words, width=590)


def chapter_numbers(folder: Path) -> dict[str, str]:
    """The numbered chapters of a folder: number -> file name."""
    return {path.name[:2]: path.name for path in sorted(folder.glob("[0-9][0-9]_*.md"))}


def map_file() -> str:
    """The map as it stands in tutorials/diagrams/."""
    pages = {number: f"../{name}" for number, name in chapter_numbers(FOLDER.parent).items()}
    return bert_map(pages, f"../../{CORE}") + "\n"


if __name__ == "__main__":
    (FOLDER / "map.svg").write_text(map_file(), encoding="utf-8")
