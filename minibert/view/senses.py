"""One word in two senses: where in the model do its vectors part?

For every layer, the mean cosine between vectors of the word in sentences of the same sense, and of
different senses. At layer 0 a vector knows the word and its place alone, so both begin close
together; what parts them later is context. The measure follows Ethayarajh 2019
(https://arxiv.org/abs/1909.00512), who also shows that the cosines of any two words are high in
some models: compare the two lines, not one line with 0.
"""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from minibert.view import svg
from minibert.view.picture import Picture

if TYPE_CHECKING:
    from minibert.bert import Bert

NOTE = (
    "Mean cosine of the word's vectors in two sentences. Layer 0: embeddings, before any token has "
    "read another; layer i: the output of block i - 1."
)


class Parting(NamedTuple):
    """Mean cosines by layer, 0 to L."""

    same: list[float]
    different: list[float]


def word(bert: "Bert", word: str, senses: Mapping[str, Sequence[str]]) -> Picture:
    """Cosines of the same sense and of different senses, layer by layer.

    senses   name of a sense -> sentences in which the word has it; capitals do not matter

    Raises ValueError for fewer than two senses, if no sense has two sentences, and for a sentence
    without the word.

    >>> import minibert
    >>> bert = minibert.load("minibert-tiny")
    >>> picture = word(bert, "bank", {
    ...     "river": ["the bank of the river", "we sat on the bank of the lake"],
    ...     "money": ["the bank lent him money"]})
    >>> "same sense" in picture.svg and "different senses" in picture.svg
    True
    """
    same, different = parting(bert, word, senses)
    title = f"“{svg.visible(word)}” in {len(senses)} senses: {', '.join(map(svg.visible, senses))}"
    parts, y = svg.heading(title, NOTE)
    drawing, height = _plot({"same sense": same, "different senses": different})
    last = f"same sense {same[-1]:.2f}, different senses {different[-1]:.2f}"
    said = (
        f"{title}. Layer 0: same sense {same[0]:.2f}, different senses {different[0]:.2f}. "
        f"Layer {len(same) - 1}: {last}."
    )
    parts.append(svg.moved(0, y, *drawing))
    return Picture(svg.document(parts, y + height + 8, said), title, NOTE)


def parting(bert: "Bert", word: str, senses: Mapping[str, Sequence[str]]) -> Parting:
    """The two lines of the picture: mean cosines of the pairs, for each layer."""
    import numpy as np

    if len(senses) < 2:
        raise ValueError(f"expected sentences in two senses or more, got {len(senses)}")
    by_sense: list[tuple[str, np.ndarray]] = []
    for sense, sentences in senses.items():
        if isinstance(sentences, str):
            raise TypeError(f"expected a list of sentences for the sense {sense!r}, got one text")
        by_sense += [(sense, vectors) for s in sentences for vectors in _by_layer(bert, s, word)]
    pairs = list(combinations(by_sense, 2))
    same = [(a, b) for (first, a), (second, b) in pairs if first == second]
    different = [(a, b) for (first, a), (second, b) in pairs if first != second]
    if not same or not different:
        raise ValueError(
            "expected two sentences or more of one sense, to compare within it, and one of "
            f"another; got {', '.join(f'{len(s)} of {name!r}' for name, s in senses.items())}"
        )

    def mean(pairs: list) -> list[float]:
        cosines = [
            (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
            for a, b in pairs
        ]
        return [fmean(column) for column in np.stack(cosines, axis=1).tolist()]

    return Parting(mean(same), mean(different))


def _by_layer(bert: "Bert", sentence: str, word: str) -> list:
    """For each place of the word in the sentence, its vectors in all layers, (L + 1, H)."""
    pattern = rf"(?<!\w){re.escape(word)}(?!\w)"
    spans = [match.span() for match in re.finditer(pattern, sentence, re.IGNORECASE)]
    if not spans or not word:
        raise ValueError(f"{word!r} does not stand as a word of its own in: {sentence}")
    layers = range(bert.config.num_hidden_layers + 1)
    vectors = bert.embed_words(sentence, spans, layer=list(layers), combine="concat")
    return list(vectors.astype("float64").reshape(len(spans), len(layers), -1))


# ---- The drawing ----

HEIGHT = 330.0  # of the plot, between its axes
LAYERS = 12  # so many are named one by one


def _plot(lines: Mapping[str, list[float]]) -> tuple[list[str], float]:
    """Lines over the layers, their names at their ends: the parts, and how high they are.

    They differ in colour, in dashes and in the shape of their points.
    """
    values = [value for line in lines.values() for value in line]
    last = max(map(len, lines.values())) - 1
    layers = [tick for tick in _ticks(0, last, 6, whole=True) if tick <= last]
    cosines = _ticks(min(values), 1.0, 5)
    labels = _labels(cosines)
    left = 28 + max(svg.width_of(label, svg.SMALL) for label in labels)
    right = svg.WIDTH - 34 - max(map(svg.width_of, lines))
    top, bottom = 34.0, 34.0 + HEIGHT

    def across(layer: float) -> float:
        return left + 12 + (right - left - 24) * layer / last

    def down(value: float) -> float:
        return bottom - HEIGHT * (value - cosines[0]) / (cosines[-1] - cosines[0])

    parts = [svg.text(16, 16, "cosine", fill=svg.MUTED, size=svg.SMALL)]
    for tick, label in zip(cosines, labels):
        parts.append(svg.line(left, down(tick), right, down(tick)))
        parts.append(svg.text(left - 8, down(tick) + 5, label, size=svg.SMALL, anchor="end"))
    for tick, label in zip(layers, _labels(layers)):
        parts.append(svg.text(across(tick), bottom + 20, label, size=svg.SMALL, anchor="middle"))
    parts.append(svg.line(left, bottom, right, bottom, stroke=svg.MUTED))
    parts.append(svg.text((left + right) / 2, bottom + 42, "layer", fill=svg.MUTED,
                          size=svg.SMALL, anchor="middle"))  # fmt: skip
    ends = _apart([down(line[-1]) for line in lines.values()], top, bottom)
    for (name, line), end, colour, dashes in zip(lines.items(), ends, svg.KINDS, (None, "9 4")):
        places = [(across(layer), down(value)) for layer, value in enumerate(line)]
        d = "M" + "L".join(f"{svg.number(x)} {svg.number(y)}" for x, y in places)
        parts.append(svg.element("path", d=d, fill="none", stroke=colour, stroke_width=2.5,
                                 stroke_linejoin="round", stroke_dasharray=dashes))  # fmt: skip
        parts += [_mark(x, y, colour, square=dashes is not None) for x, y in places]
        style = {"stroke": svg.MUTED, "stroke_dasharray": "1 3"}
        parts.append(svg.line(places[-1][0] + 8, places[-1][1], right + 8, end, **style))
        parts.append(svg.text(right + 12, end + 5, name))
    return parts, bottom + 52


def _mark(x: float, y: float, colour: str, square: bool) -> str:
    if not square:
        return svg.element("circle", cx=x, cy=y, r=4.5, fill=colour, class_="point")
    corners = ((-4, -4), (4, -4), (4, 4), (-4, 4))
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


def _ticks(low: float, high: float, count: int, whole: bool = False) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`.

    >>> _ticks(0.13, 0.94, 5)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> _ticks(0, 4, 6, whole=True)
    [0, 1, 2, 3, 4]
    """
    if whole and high - low <= LAYERS:
        return list(range(int(low), int(high) + 1))
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power * count >= span * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{i * step:.10g}") for i in range(first, max(last, first + 1) + 1)]


def _labels(ticks: Sequence[float]) -> list[str]:
    """Ticks with as many decimals as the finest of them needs.

    >>> _labels([6.5, 7.0, 7.5])
    ['6.5', '7.0', '7.5']
    """
    written = [f"{tick:.10g}" for tick in ticks]
    if any("e" in label for label in written):
        return [svg.short(tick) for tick in ticks]
    decimals = max(len(label.partition(".")[2]) for label in written)
    return [f"{tick:.{decimals}f}" for tick in ticks]
