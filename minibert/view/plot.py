"""One plot: axes with round numbers, and lines with their names at their ends.

No legend: a name stands where its line ends. Lines differ in colour, in dashes and in the shape of
their points, so that none of these alone carries the meaning.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from minibert.view import svg

DASHES = (None, "9 4", "3 3", "12 4 3 4")
MOST_LINES = 8


class Series(NamedTuple):
    """One line: its name and its points."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]

    @property
    def points(self) -> list[tuple[float, float]]:
        """What can be drawn: infinity and NaN are left out."""
        return [(x, y) for x, y in zip(self.xs, self.ys) if math.isfinite(x) and math.isfinite(y)]


def plot(
    series: Sequence[Series],
    x: str = "",
    y: str = "",
    log_y: bool = False,
    height: float = 330,
    reach: float | None = None,
) -> tuple[list[str], float]:
    """Axes and lines, WIDTH wide: the parts, and how high they are.

    `reach` is a value that the y axis must hold, whether or not a line goes there.
    """
    _check(series, log_y)
    xs, ys = zip(*(point for s in series for point in s.points))
    heights = [*ys, *([] if reach is None else [reach])]
    low, high = min(xs), max(xs)
    x_ticks = _ticks(low, high, whole=all(float(v).is_integer() for v in xs))
    x_ticks = [tick for tick in x_ticks if low <= tick <= high] or [low]
    y_ticks = _decades(min(ys), max(ys)) if log_y else _ticks(min(heights), max(heights), 5)
    x_labels, y_labels = _labels(x_ticks), _labels(y_ticks, log_y)
    names = {s.name: svg.shorten(s.name, 260) for s in series}
    left = 28 + max(svg.width_of(label, svg.SMALL) for label in y_labels)
    right = svg.WIDTH - 34 - max(map(svg.width_of, names.values()))
    top, bottom = (34.0 if y else 14.0), (34.0 if y else 14.0) + height

    def across(value: float) -> float:
        return left + 12 + (right - left - 24) * (value - low) / ((high - low) or 1)

    def down(value: float) -> float:
        a, b, v = (math.log10(n) if log_y else n for n in (y_ticks[0], y_ticks[-1], value))
        return bottom - height * (v - a) / ((b - a) or 1)

    parts = [svg.text(16, 16, y, fill=svg.MUTED, size=svg.SMALL)] if y else []
    for tick, label in zip(y_ticks, y_labels):
        parts.append(svg.line(left, down(tick), right, down(tick)))
        parts.append(svg.text(left - 8, down(tick) + 5, label, size=svg.SMALL, anchor="end"))
    for tick, label in zip(x_ticks, x_labels):
        parts.append(svg.text(across(tick), bottom + 20, label, size=svg.SMALL, anchor="middle"))
    parts.append(svg.line(left, bottom, right, bottom, stroke=svg.MUTED))
    if x:
        parts.append(svg.text((left + right) / 2, bottom + 42, x, fill=svg.MUTED, size=svg.SMALL,
                              anchor="middle"))  # fmt: skip
    ends = _apart([down(s.points[-1][1]) for s in series], top, bottom)
    for number, (s, end) in enumerate(zip(series, ends)):
        places = [(across(a), down(b)) for a, b in s.points]
        parts += _line(places, number)
        style = {"stroke": svg.MUTED, "stroke_dasharray": "1 3"}
        parts.append(svg.line(places[-1][0] + 8, places[-1][1], right + 8, end, **style))
        parts.append(svg.text(right + 12, end + 5, names[s.name]))
    return parts, bottom + (52 if x else 28)


def _check(series: Sequence[Series], log_y: bool) -> None:
    if not 1 <= len(series) <= MOST_LINES:
        raise ValueError(f"expected 1 to {MOST_LINES} lines, got {len(series)}")
    for s in series:
        if len(s.xs) != len(s.ys):
            raise ValueError(f"line {s.name!r} has {len(s.xs)} xs and {len(s.ys)} ys")
        if not s.points:
            raise ValueError(f"line {s.name!r} has no finite point to draw")
        if log_y and min(y for _, y in s.points) <= 0:
            raise ValueError(f"line {s.name!r} has values of 0 or below: leave log_y out")


def _line(places: list[tuple[float, float]], number: int) -> list[str]:
    """A line in its colour and dashes, with a mark of its own at every point if they are few."""
    colour = svg.KINDS[number % len(svg.KINDS)]
    d = "M" + "L".join(f"{svg.number(x)} {svg.number(y)}" for x, y in places)
    path = svg.element("path", d=d, fill="none", stroke=colour, stroke_width=2.5,
                       stroke_linejoin="round", stroke_dasharray=DASHES[number % 4])  # fmt: skip
    shown = places if len(places) <= 30 else []
    return [path, *(_mark(x, y, number, colour) for x, y in shown)]


def _mark(x: float, y: float, number: int, colour: str) -> str:
    if number % 4 == 0:
        return svg.element("circle", cx=x, cy=y, r=4.5, fill=colour, class_="point")
    corners = (
        ((-4, -4), (4, -4), (4, 4), (-4, 4)),
        ((0, -6), (5.5, 4), (-5.5, 4)),
        ((0, -6), (6, 0), (0, 6), (-6, 0)),
    )[number % 4 - 1]
    points = " ".join(f"{svg.number(x + a)},{svg.number(y + b)}" for a, b in corners)
    return svg.element("polygon", points=points, fill=colour, class_="point")


def _apart(wanted: list[float], top: float, bottom: float, gap: float = 19) -> list[float]:
    """Places near the wanted ones, but `gap` apart, in the same order."""
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], i))
    placed = list(wanted)
    for before, i in zip([None, *order], order):
        if before is not None:
            placed[i] = max(placed[i], placed[before] + gap)
    limit = bottom
    for i in reversed(order):
        placed[i] = max(min(placed[i], limit), top - 8)
        limit = placed[i] - gap
    return placed


def _ticks(low: float, high: float, count: int = 6, whole: bool = False) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`.

    >>> _ticks(0.13, 0.94, 5)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> _ticks(0, 4, whole=True)
    [0, 1, 2, 3, 4]
    """
    if whole and high - low <= 12:
        return list(range(int(low), int(high) + 1))
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power * count >= span * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{i * step:.10g}") for i in range(first, max(last, first + 1) + 1)]


def _labels(ticks: Sequence[float], log: bool = False) -> list[str]:
    """Ticks with as many decimals as the finest of them needs.

    >>> _labels([6.5, 7.0, 7.5]), _labels([0.001, 1.0, 1000.0], log=True)
    (['6.5', '7.0', '7.5'], ['1e-3', '1', '1,000'])
    """
    if log:
        return [svg.power(tick) if tick < 1e-2 else svg.short(tick) for tick in ticks]
    written = [f"{tick:.10g}" for tick in ticks]
    if any("e" in label for label in written):
        return [svg.short(tick) for tick in ticks]
    decimals = max(len(label.partition(".")[2]) for label in written)
    return [f"{tick:,.{decimals}f}" for tick in ticks]


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten around the values; of many, every second or third."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    last = max(last, first + 1)
    step = -(-(last - first) // 7)
    return [10.0**power for power in range(first, last + step, step)]
