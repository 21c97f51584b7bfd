"""The diagrams of the tutorials: the map of BERT, one head, cutting heads, the two tasks.

`python -m tutorials.building.diagrams` writes them to tutorials/diagrams/. On the pages of the
site the map is drawn anew for each chapter: small, its boxes links, with "you are here". To give
a new chapter its place on the map, add its number to a box of `BOXES`, or to `ROUND`.
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


def arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    """A line with a point at its end; straight down, or to the right."""
    across = x1 != x2
    back = (x2 - 7, y2 - 4, x2 - 7, y2 + 4) if across else (x2 - 4, y2 - 7, x2 + 4, y2 - 7)
    end = (x2 - 6, y2) if across else (x2, y2 - 6)
    points = " ".join(map(svg.number, (x2, y2, *back)))
    return svg.line(x1, y1, *end, stroke=svg.MUTED, stroke_width=1.6) + svg.element(
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
        *(arrow(170, y, 170, y + 22) for y in (40, 108, 176, 244)),
        arrow(170, 312, 170, 354),
        *(arrow(170, y, 170, y + 22) for y in (400, 468, 536)),
        arrow(170, 604, 170, 646),
        arrow(90, 692, 90, 734),
        arrow(250, 692, 250, 734),
        svg.text(258, 718, "pooler: [CLS]", size=svg.SMALL, fill=svg.MUTED),
        block,
        svg.text(178, 346, "a block, L times", size=svg.SMALL, fill=svg.MUTED),
        *(drawn(box, here, pages, files) for box in (*BOXES, *around)),
    ]
    said = "The map of BERT, from the top: a text becomes words, pieces, ids; three vectors are " \
        "added for each token; L blocks follow, each of attention, add and LayerNorm, " \
        "feed-forward, add and LayerNorm; out come hidden states, a vector for each token, and " \
        "above them two heads: fill the blank, and does B follow A. Beside it: official " \
        "numbers, the checker, NumPy, pretraining, fine-tuning."  # fmt: skip
    return svg.document(parts, 796, said, width=590)


def in_one_row() -> str:
    """The map in short, for the README."""
    steps = (("words", "flooded", 72), ("pieces", "flood ##ed", 88), ("ids", "(B, T)", 60),
             ("embeddings", "(B, T, H)", 100), ("heads", "(B, A, T, T)", 96),
             ("feed-forward", "(B, T, I)", 104), ("states", "(B, T, H)", 82))  # fmt: skip
    x, y, gap, parts = 12.0, 58, 15, []
    for name, content, width in steps:
        if name == "heads":
            parts += [
                svg.rect(x - 6, y - 34, 227, 94, rx=8, fill="none", stroke=svg.MUTED,
                         stroke_dasharray="5 4"),
                svg.text(x + 4, y - 14, "a block, L times", size=svg.SMALL, fill=svg.MUTED),
            ]  # fmt: skip
        parts.append(box(x, y, width, name, content))
        if name != "states":
            parts.append(arrow(x + width, y + 22, x + width + gap, y + 22))
        x += width + gap
    for low, name, content in ((26, "the blank", "(B, T, V)"), (90, "B follows A?", "(B, 2)")):
        parts += [slope(x - gap, y + 22, x + 10, low + 22), box(x + 12, low, 112, name, content)]
    return svg.document(parts, 150, "BERT in one row: a text becomes words, pieces, ids; "
                        "embeddings are added; L blocks of heads and feed-forward follow; out "
                        "come states, from which two heads guess the blank and say whether B "
                        "follows A.")  # fmt: skip


def one_head() -> str:
    """Query, key, score, share, mixture: the numbers are those of chapter 4."""
    rows = [("river", "1.0, 1.0", "2.121", 0.768, "10, 0"), ("bank", "0.0, 0.5", "0.707", 0.187,
            "0, 10"), ("was", "-1.0, 0.0", "-0.707", 0.045, "5, 5")]  # fmt: skip
    parts = [
        svg.text(16, 30, "bank asks", fill=svg.MUTED),
        box(16, 96, 104, "query", "1.0, 2.0"),
        *(svg.text(x, 30, name, fill=svg.MUTED)
          for x, name in ((166, "each token's key"), (322, "score"), (448, "share"),
                          (606, "its value"), (742, "mixture"))),
    ]  # fmt: skip
    for n, (token, key, score, share, value) in enumerate(rows):
        y = 48 + n * 62
        parts += [
            arrow(120, 118, 164, y + 22) if n == 1 else slope(120, 118, 164, y + 22),
            box(166, y, 112, token, key),
            arrow(278, y + 22, 316, y + 22),
            svg.text(322, y + 27, score, mono=True),
            arrow(392, y + 22, 442, y + 22),
            svg.rect(448, y + 12, 100, 20, fill=svg.shade(0.1), rx=3),
            svg.rect(448, y + 12, 100 * share, 20, fill=svg.shade(0.7), rx=3),
            svg.text(554, y + 27, f"{share:.3f}", size=svg.SMALL),
            box(606, y, 92, token, value),
            arrow(698, 118, 738, 118) if n == 1 else slope(698, y + 22, 738, 118),
        ]
    parts += [
        box(742, 96, 104, "context", "7.91, 2.09"),
        label(166, 262, "query · key / √D", size=svg.SMALL, fill=svg.MUTED),
        label(448, 262, "softmax: together 1", size=svg.SMALL, fill=svg.MUTED),
        label(606, 262, "share × value, all added", size=svg.SMALL, fill=svg.MUTED),
    ]
    return svg.document(parts, 280, "One head: the query of bank is compared with the key of each "
                        "token, which gives scores 2.121, 0.707 and -0.707; softmax makes the "
                        "shares 0.768, 0.187 and 0.045; the values in these shares are added to "
                        "the context 7.91, 2.09.")  # fmt: skip


def box(x: float, y: float, width: float, name: str, content: str) -> str:
    return svg.group(
        svg.rect(x, y, width, 44, rx=6, fill=svg.PALE, stroke=svg.RULE),
        svg.text(x + 8, y + 18, name, bold=True, size=svg.SMALL),
        label(x + 8, y + 36, content, size=svg.SMALL),
    )


def slope(x1: float, y1: float, x2: float, y2: float) -> str:
    middle = (x1 + x2) / 2
    path = f"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2 - 4} {y2}"
    return svg.element("path", d=path, fill="none", stroke=svg.MUTED, stroke_width=1.6)


def cut_heads() -> str:
    """A hidden state of 12 numbers, cut into three heads of four, and turned head by head."""
    parts = [label(16, 28, "(B, T, H): a row of H numbers for each token", bold=True)]
    colours = [svg.KINDS[0], svg.KINDS[3], svg.KINDS[4]]
    tokens = ["the", "river", "bank"]
    for t, token in enumerate(tokens):
        parts.append(svg.text(70, 62 + 34 * t, token, anchor="end"))
        for h in range(12):
            parts.append(svg.rect(80 + 22 * h, 46 + 34 * t, 20, 22, rx=2, fill=colours[h // 4],
                                  fill_opacity=0.35 + 0.2 * t))  # fmt: skip
    parts += [
        arrow(360, 90, 440, 90),
        label(352, 116, "(B, T, A, D)", size=svg.SMALL),
        label(352, 136, "transpose", size=svg.SMALL, fill=svg.MUTED),
        label(460, 28, "(B, A, T, D): a table of its own for each head", bold=True),
    ]
    for a in range(3):
        x = 510 + a * 112
        parts.append(svg.text(x + 44, 152, f"head {a}", anchor="middle", size=svg.SMALL))
        for t, token in enumerate(tokens):
            if a == 0:
                parts.append(svg.text(x - 8, 62 + 34 * t, token, anchor="end", size=svg.SMALL))
            for d in range(4):
                parts.append(svg.rect(x + 22 * d, 46 + 34 * t, 20, 22, rx=2, fill=colours[a],
                                      fill_opacity=0.35 + 0.2 * t))  # fmt: skip
    parts.append(label(16, 190, "Here H is 12, A is 3 and D is 4. No number changes: view cuts "
                       "each row, transpose puts the heads before the tokens.",
                       size=svg.SMALL, fill=svg.MUTED))  # fmt: skip
    return svg.document(parts, 206, "Cutting heads: three tokens have twelve numbers each. The "
                        "first four numbers of every token become the table of head 0, the next "
                        "four that of head 1, the last four that of head 2.")  # fmt: skip


def two_tasks() -> str:
    """One row of pretraining, and the two questions that are asked about it."""
    tokens = ["[CLS]", "he", "opened", "the", "[MASK]", "[SEP]", "then", "he", "went", "[MASK]",
              "[SEP]"]  # fmt: skip
    answers = {4: "door", 9: "in"}
    parts = [
        svg.text(16, 28, "masked words: which word stood at the blank?", bold=True),
        svg.text(16, 262, "next sentence: did the second follow the first?", bold=True),
    ]
    x = 16.0
    for n, token in enumerate(tokens):
        width = svg.width_of(token) + 22
        fill = "#fff4ec" if n in answers else svg.shade(0.1) if n < 6 else svg.PALE
        parts += [
            svg.rect(x, 116, width, 34, rx=5, fill=fill, stroke=svg.RULE),
            svg.text(x + width / 2, 138, token, anchor="middle", bold=n in answers),
            svg.text(x + width / 2, 168, "0" if n < 6 else "1", anchor="middle",
                     size=svg.SMALL, fill=svg.MUTED),
        ]  # fmt: skip
        if n in answers:
            at = x + width / 2
            parts += [
                svg.line(at, 114, at, 74, stroke=MARK, stroke_width=2),
                svg.text(at, 64, answers[n], anchor="middle", bold=True),
            ]
        if n == 0:
            middle = x + width / 2
            parts += [svg.line(middle, 176, middle, 222, stroke=svg.KINDS[0], stroke_width=2),
                      svg.text(middle - 16, 240, "is next: yes", bold=True)]  # fmt: skip
        x += width + 8
    parts.append(svg.text(x + 2, 168, "segment", size=svg.SMALL, fill=svg.MUTED))
    return svg.document(parts, 282, "The two pretraining tasks on one row: two of its words are "
                        "hidden by [MASK], and the model says door and in; at [CLS] it says that "
                        "the second sentence follows the first.")  # fmt: skip


def chapter_numbers(folder: Path) -> dict[str, str]:
    """The numbered chapters of a folder: number -> file name."""
    return {path.name[:2]: path.name for path in sorted(folder.glob("[0-9][0-9]_*.md"))}


def every(folder: Path = FOLDER.parent) -> dict[str, str]:
    """All diagrams by their file names."""
    pages = {number: f"../{name}" for number, name in chapter_numbers(folder).items()}
    return {
        "map.svg": bert_map(pages, f"../../{CORE}"),
        "in_one_row.svg": in_one_row(),
        "one_head.svg": one_head(),
        "cut_heads.svg": cut_heads(),
        "two_tasks.svg": two_tasks(),
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, drawing in every().items():
        (FOLDER / name).write_text(drawing + "\n", encoding="utf-8")
