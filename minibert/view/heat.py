"""Tables of numbers as shades of one blue: a grid of measurements, and one matrix of weights."""

import math
from collections.abc import Sequence
from typing import Any

from minibert.view import svg
from minibert.view.picture import Picture

MOST_NAMED = 48  # rows or columns that get a name; beyond, every so many a number
MOST = 512
LONGEST = 200.0  # of the names of columns, in pixels
LEVELS = 16  # shades of a matrix without numbers


def grid(
    values: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    unit: str = "",
    log: bool = False,
) -> Picture:
    """A heat map with its numbers: dark is large; `log` shades by the power of ten.

    values   (rows, columns): lists, an array or a tensor; NaN is shown as –

    Raises ValueError if the names do not fit the values, and with `log` for negative values.

    >>> grid([[1, 20], [3, 4]], ["a", "b"], ["x", "y"]).svg.count('class="cell"')
    4
    """
    table = _table(values, rows, columns)
    if max(len(rows), len(columns)) > MOST_NAMED:
        raise ValueError(
            f"a grid has room for {MOST_NAMED} rows and columns, got {len(rows)} and "
            f"{len(columns)}: view.matrix shows larger ones"
        )
    shades, scale = _scale(table, log)
    note = f"Dark is large{', by powers of ten' if log else ''}{f'; unit: {unit}' if unit else ''}."
    parts, y = svg.heading(title, note)
    left = 28 + min(300.0, max(map(svg.width_of, map(str, rows))))
    width = _pitch(columns, left, 110)
    names, high = _column_names(columns, width)
    parts.append(svg.moved(left, y, *names))
    y += high
    labels = _labels(table, log)
    widest = max(svg.width_of(label, svg.SMALL) for row in labels for label in row)
    numbers = widest <= width - 3
    height = 30 if numbers else min(30.0, max(18.0, width))
    for name, row, written in zip(rows, table, labels):
        shown = svg.shorten(str(name), 300)
        parts.append(svg.text(left - 10, y + height / 2 + 5, shown, anchor="end"))
        for column, (value, label) in enumerate(zip(row, written)):
            place = left + column * width, y, width, height
            parts.append(_cell(*place, value, shades, label if numbers else ""))
        y += height
    if not numbers:
        parts += [svg.moved(left, y + 10, *_legend(scale))]
        y += 40
    said = f"{title or 'A table of numbers'}. {len(rows)} rows: {', '.join(map(str, rows))}; "
    said += f"{len(columns)} columns: {', '.join(map(str, columns))}. Values from "
    said += f"{svg.short(scale[0])} to {svg.short(scale[1])}{f' {unit}' if unit else ''}."
    return Picture(svg.document(parts, y + 12, said), title or "A table of numbers", note)


def matrix(
    values: Any,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    title: str = "",
) -> Picture:
    """One matrix as a square map: attention probabilities, similarities, a position table.

    rows, columns   names, tokens say; if left out, numbers. Rows are written at the left.

    Numbers stand in the cells where there is room for them. Raises ValueError if the names do not
    fit the values, or there are more than 512 rows or columns.

    >>> picture = matrix([[0.9, 0.1], [0.4, 0.6]], rows=["the", "bank"], columns=["the", "bank"])
    >>> picture.svg.count('class="cell"')
    4
    """
    table = _table(values, rows, columns)
    if max(len(table), len(table[0])) > MOST:
        raise ValueError(f"expected at most {MOST} rows and columns, got "
                         f"{len(table)} and {len(table[0])}: take a part, or a mean")  # fmt: skip
    shades, scale = _scale(table, log=False)
    parts, y = svg.heading(title) if title else ([], 8.0)
    row_names, column_names = _names(rows, len(table)), _names(columns, len(table[0]))
    left = 28 + min(200.0, max(map(svg.width_of, row_names)))
    cell = min(_pitch(column_names, left, 54), max(640 / len(table), 18 if any(row_names) else 0))
    names, high = _column_names(column_names, cell)
    parts.append(svg.moved(left, y, *names))
    y += high
    for number, name in enumerate(row_names):
        label = svg.shorten(name, 200)
        parts.append(svg.text(left - 10, y + (number + 0.5) * cell + 5, label, anchor="end")
                     if name else "")  # fmt: skip
    numbers = cell >= 36
    if numbers:
        for number, row in enumerate(table):
            for column, value in enumerate(row):
                place = left + column * cell, y + number * cell, cell, cell
                parts.append(_cell(*place, value, shades, f"{value:.2f}"))
    else:
        parts.append(_runs(table, shades, left, y, cell))
    y += len(table) * cell
    parts.append(svg.moved(left, y + 12, *_legend(scale)))
    said = f"{title or 'A matrix'}: {len(table)} by {len(table[0])}, values from "
    said += f"{svg.short(scale[0])} to {svg.short(scale[1])}; dark is large."
    return Picture(svg.document(parts, y + 46, said), title or "A matrix", "Dark is large.")


def _table(
    values: Any, rows: Sequence[str] | None, columns: Sequence[str] | None
) -> list[list[float]]:
    given = values.tolist() if hasattr(values, "tolist") else values
    try:
        table = [[float(value) for value in row] for row in given]
    except TypeError:
        raise ValueError("expected values in rows and columns, a list of lists say") from None
    widths = {len(row) for row in table}
    if len(widths) != 1 or widths == {0}:
        raise ValueError(f"expected rows of one length, got lengths {sorted(widths) or 'none'}")
    for what, names, count in (("rows", rows, len(table)), ("columns", columns, len(table[0]))):
        if names is not None and len(names) != count:
            raise ValueError(f"expected {count} names of {what}, as many as there are in the "
                             f"values, got {len(names)}")  # fmt: skip
    return table


def _scale(table: list[list[float]], log: bool) -> tuple[Any, tuple[float, float]]:
    """A function from a value to its shade in 0..1, and the smallest and largest value."""
    finite = [value for row in table for value in row if math.isfinite(value)]
    if log and min(finite, default=0.0) < 0:
        raise ValueError("a logarithm needs values of 0 or more: leave log=True out")
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    if not log:
        base = 0.0 if 0 <= low and high <= 1.0001 else low  # probabilities: pale is 0
        span = (high - base) or 1.0
        return lambda value: (value - base) / span, (base, high)
    above = [math.log10(value) for value in finite if value > 0] or [0.0]
    first, span = min(above) - 0.3, max(above) - min(above) + 0.3
    return lambda value: (math.log10(value) - first) / span if value > 0 else 0.0, (low, high)


def _labels(table: list[list[float]], log: bool) -> list[list[str]]:
    """Every number of a grid, with the same number of decimals.

    >>> _labels([[0.5, 0.25]], False), _labels([[0.5, 0.0003]], True)
    ([['0.500', '0.250']], [['0.5', '3e-4']])
    """
    finite = [value for row in table for value in row if math.isfinite(value)]
    if log:
        return [[svg.short(v) if 0.1 <= v < 1000 else svg.power(v) for v in row] for row in table]
    if all(value.is_integer() for value in finite):
        return [[svg.short(value) for value in row] for row in table]
    largest = max(map(abs, finite))
    if largest < 0.01:
        return [[svg.short(value) for value in row] for row in table]
    decimals = min(max(2 - math.floor(math.log10(largest)), 0), 4)
    return [[f"{value:,.{decimals}f}" for value in row] for row in table]


def _cell(
    x: float, y: float, width: float, height: float, value: float, shades: Any, label: str
) -> str:
    weight = 1.0 if value == math.inf else shades(value) if math.isfinite(value) else 0.0
    fill = "#ffffff" if math.isnan(value) else svg.shade(weight)
    parts = [svg.rect(x, y, width - 1, height - 1, fill=fill, class_="cell")]
    if label:
        label = label if math.isfinite(value) else svg.short(value)
        parts.append(svg.text(x + width / 2, y + height / 2 + 5, label, size=svg.SMALL,
                              anchor="middle", fill=svg.ink_on(weight)))  # fmt: skip
    return "".join(parts)


def _runs(table: list[list[float]], shades: Any, x: float, y: float, cell: float) -> str:
    """Many cells in few bytes: one path for each shade, neighbours of one shade as one stroke."""
    paths: dict[int, list[str]] = {}
    for number, row in enumerate(table):
        levels = [round(LEVELS * min(max(shades(v), 0), 1)) if math.isfinite(v) else -1
                  for v in row]  # fmt: skip
        start = 0
        for end in range(1, len(levels) + 1):
            if end == len(levels) or levels[end] != levels[start]:
                if levels[start] >= 0:
                    paths.setdefault(levels[start], []).append(f"M{start} {number}h{end - start}")
                start = end
    drawn = [
        svg.element("path", d="".join(found), stroke=svg.shade(level / LEVELS), class_="cell")
        for level, found in sorted(paths.items())
    ]
    place = f"translate({svg.number(x)} {svg.number(y)}) scale({cell:.4f}) translate(0 0.5)"
    return svg.group(*drawn, transform=place, stroke_width=1.01, fill="none")


def _names(names: Sequence[str] | None, count: int) -> list[str]:
    """The names, or numbers from 0, of many only every so many."""
    if names is not None and count <= MOST_NAMED:
        return [str(name) for name in names]
    step = next(s for s in (1, 2, 5, 8, 16, 32, 64) if count / s <= 16 or s == 64)
    return [str(number) if number % step == 0 else "" for number in range(count)]


def _pitch(names: Sequence[str], left: float, most: float) -> float:
    """The width of a column, so that all columns and the last one's turned name fit."""
    room = svg.WIDTH - 16 - left
    wide = min(room / len(names), most)
    if not _turned(names, wide):
        return wide
    last = svg.width_of(svg.shorten(str(names[-1]), LONGEST, svg.SMALL), svg.SMALL)
    return min((room - 0.72 * last) / (len(names) - 0.5), most)


def _turned(names: Sequence[str], width: float) -> bool:
    numbers = all(str(name) == "" or str(name).isdigit() for name in names)
    widest = max(svg.width_of(str(name), svg.SMALL) for name in names)
    return widest > width - 2 and not (numbers and widest <= 3 * width)


def _column_names(names: Sequence[str], width: float) -> tuple[list[str], float]:
    """Names above their columns, upright where they fit, else turned; and their height."""
    shown = [svg.shorten(str(name), LONGEST, svg.SMALL) for name in names]
    if not _turned(names, width):
        return [svg.text((i + 0.5) * width, 14, name, size=svg.SMALL, anchor="middle")
                for i, name in enumerate(shown) if name], 22  # fmt: skip
    steep = 90 if width < 24 else 45
    sine = math.sin(math.radians(steep))
    high = max(svg.width_of(name, svg.SMALL) for name in shown) * sine + 16
    parts = []
    for i, name in enumerate(shown):
        place = f"translate({svg.number((i + 0.5) * width + 4)} {svg.number(high - 6)})"
        turned = f"{place} rotate({-steep})"
        parts.append(svg.text(0, 0, name, size=svg.SMALL, transform=turned))
    return parts, high


def _legend(scale: tuple[float, float]) -> list[str]:
    """Pale to dark, and the values they stand for."""
    low, high = map(svg.short, scale)
    start = svg.width_of(low, svg.SMALL) + 8
    steps = [
        svg.rect(start + i * 10, 3, 10.5, 14, fill=svg.shade(i / 15)) for i in range(16)
    ]  # fmt: skip
    return [
        svg.text(0, 15, low, size=svg.SMALL),
        *steps,
        svg.text(start + 168, 15, high, size=svg.SMALL),
    ]
