"""SVG as text: elements, colours, and how wide a word will be.

Every function gives a string, so a drawing is a list of strings. Nothing depends on time, on the
machine or on the fonts it has: the same drawing is the same bytes.

Colours: shades of one blue for weights (ColorBrewer "Blues", https://colorbrewer2.org) and the
palette of Okabe and Ito (https://jfly.uni-koeln.de/color) for kinds; both can be told apart by
people who are colour-blind.
"""

import math
import unicodedata
from bisect import bisect_right
from typing import Any
from xml.sax.saxutils import escape as escape_xml
from xml.sax.saxutils import quoteattr

WIDTH = 860  # of every picture, in pixels: what a page on GitHub shows without shrinking
SIZE = 15  # of letters
SMALL = 14

INK, MUTED, RULE, PALE = "#1b1f24", "#57606a", "#d0d7de", "#f6f8fa"
BLUES = ((247, 251, 255), (198, 219, 239), (107, 174, 214), (33, 113, 181), (8, 48, 107))
KINDS = ("#0072b2", "#d55e00", "#007a5a", "#a8487f", "#b07d00", "#3d8fc4", "#000000")

SANS = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
MONO = "Menlo, Consolas, 'Liberation Mono', 'DejaVu Sans Mono', monospace"


# ---- Text ----


def visible(text: str) -> str:
    """A text as it can be shown: control characters and what XML cannot hold become U+....

    >>> visible("a\\x00b\\u200b")
    'aU+0000bU+200B'
    """
    return "".join(
        char if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn") else _code(char)
        for char in text
    )


def _code(char: str) -> str:
    return " " if char in "\t\n\r" else f"U+{ord(char):04X}"


def width_of(text: str, size: float = SIZE, bold: bool = False, mono: bool = False) -> float:
    """About how wide a text is in Helvetica, in pixels; a little more rather than less."""
    if mono:
        wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
        return size * 0.61 * (len(text) + 0.7 * wide)
    return size * sum(map(_em, text)) * (1.08 if bold else 1.02)


def _em(char: str) -> float:
    if unicodedata.combining(char):
        return 0.0
    if unicodedata.east_asian_width(char) in "WF":
        return 1.0
    if char in "ijl'|.,:;! ·":
        return 0.28
    if char in 'ftrI()[]{}/\\-"*°':
        return 0.36
    if char in "mwMW%@—…→":
        return 0.9
    return 0.7 if char.isupper() else 0.56


def shorten(text: str, width: float, size: float = SIZE, mono: bool = False) -> str:
    """The text, or as much of its start as fits, with an ellipsis.

    >>> shorten("river", 100), shorten("incomprehensibilities", 100)
    ('river', 'incomprehe…')
    """
    text = visible(text)
    if width_of(text, size, mono=mono) <= width:
        return text
    longer = bisect_right(
        range(len(text) + 1), width, key=lambda end: width_of(text[:end] + "…", size, mono=mono)
    )
    return text[: max(longer - 1, 0)] + "…"


def short(value: float) -> str:
    """A number in three significant digits, a very small one in one.

    >>> [short(x) for x in (0, 0.4567, 12.345, 1234567, 0.000012, float("nan"))]
    ['0', '0.457', '12.3', '1,234,567', '1e-5', '–']
    """
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value and abs(value) < 1e-3:
        return power(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def power(value: float) -> str:
    """A number by its power of ten.

    >>> power(0.000312), power(20), power(0)
    ('3e-4', '2e+1', '0')
    """
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e+") if value else "0"


# ---- Colour ----


def shade(weight: float) -> str:
    """A weight in 0..1 as a blue, from nearly white to dark.

    >>> shade(0), shade(1)
    ('#f7fbff', '#08306b')
    """
    place = min(max(weight, 0.0), 1.0) * (len(BLUES) - 1)
    low = min(int(place), len(BLUES) - 2)
    pairs = zip(BLUES[low], BLUES[low + 1])
    return "#" + "".join(f"{round(a + (b - a) * (place - low)):02x}" for a, b in pairs)


# ---- Elements ----


def number(value: float) -> str:
    """
    >>> number(1.0), number(2.345), number(-0.001)
    ('1', '2.35', '0')
    """
    written = f"{value + 1e-9:.2f}".rstrip("0").rstrip(".")
    return "0" if written == "-0" else written


def element(tag: str, *content: str, **attributes: Any) -> str:
    """One element; `stroke_width=2` is written stroke-width="2", None is left out.

    >>> element("rect", width=2.5, fill=None)
    '<rect width="2.5"/>'
    """
    written = [tag]
    for name, value in attributes.items():
        if value is not None:
            shown = number(value) if isinstance(value, (int, float)) else str(value)
            written.append(f"{name.rstrip('_').replace('_', '-')}={quoteattr(shown)}")
    inside = "".join(content)
    return f"<{' '.join(written)}>{inside}</{tag}>" if inside else f"<{' '.join(written)}/>"


def text(
    x: float,
    y: float,
    content: str,
    *,
    size: float = SIZE,
    fill: str = INK,
    anchor: str | None = None,
    bold: bool = False,
    mono: bool = False,
    **more: Any,
) -> str:
    """Text with its baseline at (x, y); anchor "middle" or "end" places it around or before x."""
    return element(
        "text",
        escape_xml(visible(content)),
        x=x,
        y=y,
        font_size=None if size == SIZE else size,
        fill=None if fill == INK else fill,
        text_anchor=anchor,
        font_weight="bold" if bold else None,
        font_family=MONO if mono else None,
        **more,
    )


def rect(x: float, y: float, width: float, height: float, **more: Any) -> str:
    return element("rect", x=x, y=y, width=width, height=height, **more)


def line(x1: float, y1: float, x2: float, y2: float, **more: Any) -> str:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, **{"stroke": RULE, **more})


def group(*content: str, **attributes: Any) -> str:
    return element("g", *content, **attributes) if any(content) else ""


def moved(x: float, y: float, *content: str) -> str:
    return group(*content, transform=f"translate({number(x)} {number(y)})")


def heading(title: str, note: str = "", width: float = WIDTH) -> tuple[list[str], float]:
    """A title and a line or more of explanation, and where the drawing may begin.

    They are a group of their own, which a page leaves out: it has them as HTML.
    """
    parts, y = [], 8.0
    for content, bold in ((title, True), (note, False)):
        size = SIZE + 2 if bold else SIZE
        for row in wrapped(content, width - 32, size, bold):
            y += 22
            fill = INK if bold else MUTED
            parts.append(text(16, y, row, bold=bold, size=size, fill=fill))
    return [group(*parts, class_="heading", data_height=math.floor(y))], y + 14


def wrapped(content: str, width: float, size: float = SIZE, bold: bool = False) -> list[str]:
    """The text in rows that fit; a word that is too long is shortened.

    >>> wrapped("the river bank", 80)
    ['the river', 'bank']
    """
    rows: list[str] = []
    for word in filter(None, visible(content).split(" ")):
        joined = f"{rows[-1]} {word}" if rows else word
        if rows and width_of(joined, size, bold) <= width:
            rows[-1] = joined
        else:
            rows.append(shorten(word, width, size))
    return rows


def document(parts: list[str], height: float, description: str, width: float = WIDTH) -> str:
    """The drawing as an SVG file on white ground; the description is for those who cannot see."""
    label = visible(description)
    return element(
        "svg",
        element("title", escape_xml(label)),
        rect(0, 0, width, math.ceil(height), fill="#ffffff"),
        "\n",
        "\n".join(part for part in parts if part),
        "\n",
        xmlns="http://www.w3.org/2000/svg",
        width=width,
        height=math.ceil(height),
        viewBox=f"0 0 {number(width)} {math.ceil(height)}",
        role="img",
        aria_label=label,
        font_family=SANS,
        font_size=SIZE,
        fill=INK,
    )
