"""Lines, bars and the curves of a training run, with names written where the line ends."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from minibert.training.run_log import read_log
from minibert.view import svg
from minibert.view.picture import Picture
from minibert.view.plot import Series, plot

PANELS = (
    ("masked words: loss (nats)", "mlm_loss"),
    ("masked words: accuracy", "mlm_accuracy"),
    ("next sentence: accuracy", "nsp_accuracy"),
)


def lines(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x: str = "",
    y: str = "",
    title: str = "",
    log_y: bool = False,
) -> Picture:
    """Lines by name, each (xs, ys); the name stands at the end of its line.

    Raises ValueError for xs and ys of different lengths, for more than 8 lines, for nothing to
    draw, and with `log_y` for values that are not above 0.

    >>> lines({"loss": ([0, 1, 2], [8.0, 6.5, 6.1])}, x="step").svg.count('class="point"')
    3
    """
    found = [
        Series(str(name), list(map(float, xs)), list(map(float, ys)))
        for name, (xs, ys) in series.items()
    ]
    parts, top = svg.heading(title) if title else ([], 8.0)
    drawing, height = plot(found, x=x, y=y, log_y=log_y)
    ends = "; ".join(f"{s.name} ends at {svg.short(s.points[-1][1])}" for s in found)
    said = f"{title or 'Lines'}: {y or 'value'} over {x or 'x'}. {ends}."
    parts.append(svg.moved(0, top, *drawing))
    return Picture(svg.document(parts, top + height + 8, said), title or "Lines")


def bars(
    values: Mapping[str, float | tuple[float, float]], title: str = "", unit: str = ""
) -> Picture:
    """Bars by name; a value may be (mean, deviation), which is drawn as a whisker.

    Raises ValueError for nothing to draw, or a value that is not finite.

    >>> bars({"minibert": (2.1, 0.2), "other": 3.5}, unit="s").svg.count('class="bar"')
    2
    """
    found = {str(name): _mean_and_deviation(value) for name, value in values.items()}
    if not found or not all(math.isfinite(n) for pair in found.values() for n in pair):
        raise ValueError(f"expected finite values by name, got {dict(values)!r:.200}")
    parts, y = svg.heading(title) if title else ([], 8.0)
    labels = {name: _label(values[name], unit) for name in values}
    left = 24 + min(300.0, max(map(svg.width_of, found)))
    right = svg.WIDTH - 30 - max(map(svg.width_of, labels.values()))
    low = min([0.0, *(mean - deviation for mean, deviation in found.values() if mean < 0)])
    high = max([0.0, *(mean + deviation for mean, deviation in found.values())])
    scale = (right - left) / ((high - low) or 1.0)
    zero = left - low * scale
    for (name, (mean, deviation)), label in zip(found.items(), labels.values()):
        end, reach, middle = zero + mean * scale, deviation * scale, y + 15
        box = min(zero, end), y + 3, abs(end - zero), 24
        parts.append(svg.text(left - 10, middle + 5, svg.shorten(name, 300), anchor="end"))
        parts.append(svg.rect(*box, fill=svg.shade(0.6), class_="bar"))
        if deviation:
            parts.append(_whisker(max(left, end - reach), end + reach, middle))
        parts.append(svg.text(max(end + reach, zero) + 8, middle + 5, label))
        y += 34
    parts.append(svg.line(zero, y - 34 * len(found), zero, y - 4, stroke=svg.MUTED))
    said = f"{title or 'Bars'}: " + ", ".join(f"{name} {labels[name]}" for name in labels)
    return Picture(svg.document(parts, y + 6, said), title or "Bars")


def _mean_and_deviation(value: float | tuple[float, float]) -> tuple[float, float]:
    mean, deviation = value if isinstance(value, (tuple, list)) else (value, 0.0)
    return float(mean), float(deviation)


def _label(value: float | tuple[float, float], unit: str) -> str:
    numbers = value if isinstance(value, (tuple, list)) else (value,)
    return " ± ".join(svg.short(float(number)) for number in numbers) + (f" {unit}" if unit else "")


def _whisker(low: float, high: float, y: float) -> str:
    strokes = (low, high, 0.0), (low, low, 6.0), (high, high, 6.0)  # from, to, half the height
    n = svg.number
    d = "".join(f"M{n(a)} {n(y - half)}L{n(b)} {n(y + half)}" for a, b, half in strokes)
    return svg.element("path", d=d, fill="none", stroke=svg.INK, stroke_width=1.5)


def curves(log_csv: str | Path) -> Picture:
    """Loss and accuracies of a training run, in training and on held-out text, from its log.csv.

    Raises FileNotFoundError if there is no such file, ValueError if it is no such log.
    """
    rows = read_log(log_csv)
    title = "Training, and text that was held out"
    parts, top = svg.heading(title)
    said = []
    for name, key in PANELS:
        series = []
        for label, column in (("training", key), ("held out", f"heldout_{key}")):
            points = [(r["tokens"] / 1e6, r[column]) for r in rows if "tokens" in r and column in r]
            if points:
                series.append(Series(label, *map(list, zip(*points))))
                said.append(f"{name}, {label}: from {svg.short(points[0][1])} to "
                            f"{svg.short(points[-1][1])}")  # fmt: skip
        if not series:
            raise ValueError(
                f"{log_csv} is no log of a training run: expected the columns tokens and {key}, "
                "as minibert pretrain writes them"
            )
        parts.append(svg.text(16, top + 14, name, bold=True))
        drawing, height = plot(series, x="million tokens", height=190)
        parts.append(svg.moved(0, top + 20, *drawing))
        top += height + 34
    return Picture(svg.document(parts, top, f"{title}. {'; '.join(said)}."), title)
