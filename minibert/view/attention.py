"""Who reads whom: a small map of every head, and one head's arrows from one token.

On the page a second head, or the same head on a second sentence, stands beside it.

The attention probabilities are those of the model, `out.attentions[block][0, head]`: rows are the
queries (who reads), columns the keys (who is read). Blocks and heads count from 0, as there.

What attention shows is where a head looks, not why the model decides: see Jain & Wallace 2019
(https://arxiv.org/abs/1902.10186). The view of one head follows Vig 2019
(https://arxiv.org/abs/1906.05714).
"""

import base64
import struct
from typing import TYPE_CHECKING, Any

from minibert.system.numbers import percent
from minibert.view import svg
from minibert.view.picture import Picture, data_element, text_of

if TYPE_CHECKING:
    from minibert.bert import Bert

MOST_TOKENS = 40
LEVELS = 12  # shades of a small map
NIGHT = ((22, 27, 34), (17, 58, 120), (42, 118, 216), (121, 192, 255), (218, 240, 255))
NOTE = (
    "Each small map is one head: a row for every token that reads (query), a column for every "
    "token that is read (key). A row sums to 100 %. Blocks and heads count from 0."
)


def attention(
    bert: "Bert",
    text: str,
    pair: str | None = None,
    block: int | None = None,
    head: int | None = None,
    query: int | str | None = None,
    beside: str | None = None,
) -> Picture:
    """All heads of all blocks at once, and one of them large.

    block, head   which one is large, from 0; -1 is the last. None takes the one in which words read
                  other words most
    query         the token whose reading is shown: its place, or its name (the first of that name);
                  None takes the one that reads some other word most
    beside        another text, whose heads the page shows beside those of the first

    On the page, block, head and query are chosen by mouse or keyboard; it holds the probabilities
    in steps of 1/65535. Raises ValueError for more than 40 tokens, and for a block, head or query
    that is not there.

    >>> import minibert
    >>> bert = minibert.load("minibert-tiny")
    >>> picture = attention(bert, "the river bank", block=1, query="bank")
    >>> picture.svg.count('class="arrow"')  # one to each token, [CLS] and [SEP] too
    5
    """
    tokens, weights = probabilities(bert, text, pair)
    block, head = _telling(block, head, tokens, weights)
    chosen = weights[block][head]
    place = _query(query, tokens, chosen)
    title = f"Who reads whom: {svg.visible(text)}" + (f" | {svg.visible(pair)}" if pair else "")
    drawing = _draw(title, tokens, weights, block, head, place)
    texts = [(tokens, weights, place)]
    if beside is not None:
        second = probabilities(bert, beside)
        name = query if isinstance(query, str) and query in second[0] else tokens[place]
        word = name if name in second[0] else None  # the same word, where it stands there, too
        texts.append((*second, _query(word, second[0], second[1][block][head])))
    return Picture(drawing, title, NOTE, interactive(texts, block, head))


def probabilities(bert: "Bert", text: str, pair: str | None = None) -> tuple[list[str], Any]:
    """The tokens, and lists [block][head][query][key]."""
    trace = bert.trace(text, pair)
    assert trace.tokens is not None
    tokens = trace.tokens[0]
    if len(tokens) > MOST_TOKENS:
        raise ValueError(
            f"the picture has room for {MOST_TOKENS} tokens, [CLS] and [SEP] included; this text "
            f"has {len(tokens)}: take one sentence, or a part of it"
        )
    blocks = range(bert.config.num_hidden_layers)
    names = [f"encoder.blocks.{number}.attention.probabilities" for number in blocks]
    return tokens, [trace[name][0].double().tolist() for name in names]


def habits(tokens: list[str], weights: Any) -> list[list[tuple[str, float]]]:
    """What each head does most, [block][head]: a name, and the share of all reading that it is.

    >>> habits(["[CLS]", "a", "[SEP]"], [[[[0, 1, 0], [0, 0.2, 0.8], [0, 0, 1]]]])
    [[('the next token', 0.9)]]
    """
    T = range(len(tokens))
    ways = {
        "the next token": [(q, q + 1) for q in T[:-1]],
        "the token before": [(q, q - 1) for q in T[1:]],
        "the token itself": [(q, q) for q in T],
        "[CLS]": [(q, 0) for q in T],
        "[SEP]": [(q, k) for q in T for k in T if tokens[k] == "[SEP]"],
    }

    def most(rows: list[list[float]]) -> tuple[str, float]:
        shares = {
            name: sum(rows[q][k] for q, k in cells) / max(1, len({q for q, _ in cells}))
            for name, cells in ways.items()
        }
        name = max(shares, key=lambda way: shares[way])
        return name, round(shares[name], 5)

    return [[most(rows) for rows in heads] for heads in weights]


def _telling(
    block: int | None, head: int | None, tokens: list[str], weights: Any
) -> tuple[int, int]:
    """The head that is large; of those that are not named, where words read other words most."""
    L, A = len(weights), len(weights[0])
    blocks = range(L) if block is None else [_place(block, L, "block")]
    heads = range(A) if head is None else [_place(head, A, "head")]
    words = _words(tokens)

    def among_words(place: tuple[int, int]) -> float:
        rows = weights[place[0]][place[1]]
        return sum(max([rows[i][j] for j in words if j != i], default=0) for i in words)

    return max(((b, h) for b in blocks for h in heads), key=among_words)


def _words(tokens: list[str]) -> list[int]:
    return [i for i, token in enumerate(tokens) if token.removeprefix("##").isalnum()] or [0]


def _place(number: int, count: int, what: str) -> int:
    if not -count <= number < count:
        raise ValueError(f"{what} must lie in 0..{count - 1} (-1 is the last), got {number}")
    return number % count


def _query(query: int | str | None, tokens: list[str], chosen: list[list[float]]) -> int:
    if isinstance(query, str):
        if query not in tokens:
            raise ValueError(f"query {query!r} is not among the tokens: {' '.join(tokens)}")
        return tokens.index(query)
    if query is not None:
        return _place(query, len(tokens), "query")
    words = _words(tokens)
    return max(words, key=lambda i: max([chosen[i][j] for j in words if j != i], default=0))


# ---- The drawing ----


def _draw(title: str, tokens: list[str], weights: Any, block: int, head: int, query: int) -> str:
    parts, top = svg.heading(title, NOTE + " Dark is much.")
    beside = len(weights[0]) <= 6
    maps, wide, high = _grid(weights, block, head, 390 if beside else svg.WIDTH - 32)
    left, low = (wide + 56, top) if beside else (16.0, top + high + 16)
    arrows, tall = _arrows(tokens, weights[block][head], query, min(svg.WIDTH - 16 - left, 640))
    habit, share = habits(tokens, weights)[block][head]
    name = svg.shorten(tokens[query], 150)
    label = f"block {block}, head {head}: what “{name}” reads"
    mostly = f"most of all this head reads {habit}: {percent(share)}"
    parts += [svg.moved(16, top, *maps), svg.text(left, low + 16, label, bold=True)]
    parts.append(svg.text(left, low + 37, mostly, fill=svg.MUTED))
    parts.append(svg.moved(left, low + 50, *arrows))
    bottom = max(top + high, low + 50 + tall) + 12
    row = weights[block][head][query]
    best = sorted(range(len(row)), key=lambda key: -row[key])[:3]
    reads = ", ".join(f"{tokens[key]} {percent(row[key])}" for key in best)
    return svg.document(parts, bottom, f"{title}. In block {block}, head {head}, "
                        f"{tokens[query]} reads {reads}.")  # fmt: skip


def _grid(weights: Any, block: int, head: int, width: float) -> tuple[list[str], float, float]:
    """Small maps of all heads, one row a block: the parts, their width and height."""
    L, A, T = len(weights), len(weights[0]), len(weights[0][0])
    pitch = min((width - 40) / A, 84)  # from one map to the next
    cell = pitch / (T + max(1, round(6 * T / pitch)))
    step, pitch = round(pitch / cell), round(pitch / cell) * cell
    scale = f"translate(36 44) scale({cell:.4f})"
    size = T * cell
    parts = [svg.group(*_maps(weights, step), transform=scale)]
    middle = 36 + (A * pitch) / 2
    parts.append(svg.text(middle, 14, "head", fill=svg.MUTED, size=svg.SMALL, anchor="middle"))
    for h in range(A):
        x = 36 + h * pitch + size / 2
        parts.append(svg.text(x, 36, str(h), size=svg.SMALL, anchor="middle", bold=h == head))
    turned = f"translate(10 {svg.number(44 + L * pitch / 2)}) rotate(-90)"
    parts.append(svg.text(0, 0, "block", fill=svg.MUTED, size=svg.SMALL, anchor="middle",
                          transform=turned))  # fmt: skip
    for b in range(L):
        y = 44 + b * pitch + size / 2 + 5
        parts.append(svg.text(30, y, str(b), size=svg.SMALL, anchor="end", bold=b == block))
    x, y = 36 + head * pitch - 3, 44 + block * pitch - 3
    parts.append(
        svg.rect(x, y, size + 6, size + 6, fill="none", stroke=svg.KINDS[1], stroke_width=3, rx=2)
    )
    return parts, 36 + A * pitch, 44 + L * pitch


def _maps(weights: Any, step: int) -> list[str]:
    """The cells of all maps, in units of a cell, `step` of them from one map to the next.

    All cells of one shade are one path, and neighbours one stroke: thousands take little room.
    """
    ground = ""
    shades: dict[int, list[str]] = {level: [] for level in range(1, LEVELS + 1)}
    for b, block in enumerate(weights):
        for h, rows in enumerate(block):
            T = len(rows)
            ground += f"M{h * step} {b * step}h{T}v{T}h-{T}z"
            for q, row in enumerate(rows):
                for k, length, level in _runs(row):
                    shades[level].append(f"M{h * step + k} {b * step + q}h{length}")
    strokes = [
        svg.element("path", d="".join(runs), stroke=svg.shade(level / LEVELS))
        for level, runs in shades.items()
        if runs
    ]
    middle = svg.moved(0, 0.5, *strokes)  # a stroke lies around its line
    return [
        svg.element("path", d=ground, fill=svg.shade(0)),
        svg.group(middle, stroke_width=1, fill="none", shape_rendering="crispEdges"),
    ]


def _runs(row: list[float]) -> list[tuple[int, int, int]]:
    """Neighbours of one shade: (first, how many, shade), the palest left out."""
    runs: list[tuple[int, int, int]] = []
    for place, weight in enumerate(row):
        level = round(weight * LEVELS)
        if runs and runs[-1][2] == level and sum(runs[-1][:2]) == place:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1, level)
        elif level:
            runs.append((place, 1, level))
    return runs


def _arrows(
    tokens: list[str], chosen: list[list[float]], query: int, width: float
) -> tuple[list[str], float]:
    """Two columns of tokens, and an arrow from the query to every key, as thick as it reads."""
    row_height = 26
    column = min(150.0, max(82.0, max(map(svg.width_of, tokens)) * 1.08))
    start, end = column + 10, width - column - 74
    parts = [
        svg.text(column, 16, "query: reads", size=svg.SMALL, fill=svg.MUTED, anchor="end"),
        svg.text(end + 74, 16, "key: is read", size=svg.SMALL, fill=svg.MUTED),
    ]

    def middle(place: int) -> float:
        return 40 + place * row_height

    widest = svg.width_of(svg.shorten(tokens[query], column), bold=True) + 12
    parts.append(svg.rect(column - widest + 6, middle(query) - 12, widest, 24, rx=4,
                          fill=svg.shade(0.25)))  # fmt: skip
    for key, weight in sorted(enumerate(chosen[query]), key=lambda pair: pair[1]):
        parts.append(_arrow(start, middle(query), end, middle(key), weight, key))
    for place, token in enumerate(tokens):
        name, y, weight = svg.shorten(token, column), middle(place) + 5, chosen[query][place]
        fill = svg.INK if place == query else svg.MUTED
        strong = weight == max(chosen[query])
        parts += [
            svg.text(column, y, name, anchor="end", bold=place == query, fill=fill),
            svg.text(end + 64, y, percent(weight), anchor="end", bold=strong),
            svg.text(end + 74, y, name, bold=strong),
        ]
    return parts, middle(len(tokens))


def _arrow(x1: float, y1: float, x2: float, y2: float, weight: float, key: int) -> str:
    thick = 0.4 + 13 * weight
    colour = svg.shade(0.35 + 0.65 * weight)
    point = 4 + thick * 0.6
    bend = (x2 - x1) / 2
    n = svg.number
    path = f"M{n(x1)} {n(y1)}C{n(x1 + bend)} {n(y1)} {n(x2 - bend)} {n(y2)} {n(x2 - point)} {n(y2)}"
    tip = f"{n(x2)},{n(y2)} {n(x2 - point)},{n(y2 - point)} {n(x2 - point)},{n(y2 + point)}"
    return svg.group(
        svg.element("path", d=path, fill="none", stroke=colour, stroke_width=thick,
                    class_="arrow", data_key=key),
        svg.element("polygon", points=tip, fill=colour) if weight >= 0.02 else "",
    )  # fmt: skip


# ---- The page ----


def interactive(texts: list[tuple[list[str], Any, int]], block: int, head: int) -> str:
    """The inside of the page, for one text or two: (tokens, weights, query) of each; the weights
    are lists [block][head][query][key] in 0..1.

    The probabilities travel as two bytes each (base64), the text as JSON; attention.js draws the
    rest: a grid of buttons, the chosen head's lines, a table of its numbers. Everything is reached
    by keyboard: arrows move over the grid, up and down over the queries.
    """
    weights = texts[0][1]
    data = {
        "blocks": len(weights),
        "heads": len(weights[0]),
        "block": block,
        "head": head,
        "day": svg.BLUES,
        "night": NIGHT,
        "texts": [
            {
                "tokens": [svg.visible(token) for token in tokens],
                "query": query,
                "habits": habits(tokens, weights),
                "weights": _in_two_bytes(weights),
            }
            for tokens, weights, query in texts
        ],
    }
    return text_of("attention.html").format(
        style=text_of("attention.css"),
        data=data_element(data),
        script=text_of("page.js") + text_of("attention.js"),
    )


def _in_two_bytes(weights: Any) -> str:
    flat = [round(65535 * w) for heads in weights for maps in heads for row in maps for w in row]
    return base64.b64encode(struct.pack(f"<{len(flat)}H", *flat)).decode()
