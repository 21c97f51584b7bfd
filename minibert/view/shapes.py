"""Every tensor of one sentence, drawn to scale, from the ids to the predictions.

Names and sizes come from a trace of the model, `bert.trace(text)`, so that the map cannot differ
from the code. The letters are those of `config.py`.
"""

import html
import inspect
import re
from typing import TYPE_CHECKING, NamedTuple

from minibert.view import svg
from minibert.view.picture import Picture

if TYPE_CHECKING:
    from minibert.bert import Bert

NOTE = (
    "To scale: a side is as long as the square root of the number of its rows or columns. Rows are "
    "tokens, columns the numbers of each. The blocks are alike and drawn once."
)
BLOCK = "encoder.blocks.0."
# Modules whose output has no shape of its own worth a line: they repeat the line above.
REPEATED = ("attention.masked_scores", "masked_word.activation", "masked_word.norm", "pooler.dense")


class Shape(NamedTuple):
    """One tensor: its name in the trace, shape letters, sizes."""

    name: str
    letters: tuple[str, ...]
    sizes: tuple[int, ...]


def shapes(bert: "Bert", text: str) -> Picture:
    """The map of one sentence through the model; on the page also the line of code that makes each
    tensor.

    Raises ValueError where the tokenizer or the model refuses the text.

    >>> import minibert
    >>> picture = shapes(minibert.load("minibert-tiny"), "the river bank")
    >>> "(B, A, T, T)" in picture.svg and "1 × 4 × 5 × 5" in picture.svg
    True
    """
    tokens, kinds = tensors(bert, text)
    config = bert.config
    title = f"One sentence through BERT: {svg.visible(text)}"
    letters = (
        f"T = {len(tokens)} tokens, H = {config.hidden_size}, A = {config.num_attention_heads} "
        f"heads of D = {config.head_size}, I = {config.intermediate_size}, L = "
        f"{config.num_hidden_layers} blocks, V = {config.vocab_size:,}, B = 1 text."
    )
    parts, y = svg.heading(title, NOTE)
    for said in svg.wrapped(letters, svg.WIDTH - 32):
        parts.append(svg.text(16, y + 8, said))
        y += 22
    longest = max(max(shape.sizes) for shape in kinds) ** 0.5
    scale = min(326 / longest, 40 / len(tokens) ** 0.5, 6)
    part = ""
    for shape in kinds:
        here = "block" if shape.name.startswith(BLOCK) else shape.name.split(".")[0]
        if here != part:
            heading = _title(here, config.num_hidden_layers)
            parts.append(svg.line(16, y + 8, svg.WIDTH - 16, y + 8))
            parts.append(svg.text(16, y + 28, heading, bold=True))
            y, part = y + 36, here
        drawing, height = _draw(shape, scale)
        row = max(24.0, height + 8)
        middle = y + row / 2 + 5
        counted = " × ".join(f"{size:,}" for size in shape.sizes)
        parts += [
            svg.text(24, middle, shape.name.removeprefix(BLOCK).removeprefix(part + "."),
                     mono=True, size=svg.SMALL),
            svg.text(256, middle, f"({', '.join(shape.letters)})", size=svg.SMALL),
            svg.text(352, middle, counted, size=svg.SMALL, fill=svg.MUTED),
            svg.moved(516, y + (row - height) / 2, *drawing),
        ]  # fmt: skip
        y += row
    said = f"{title}. {letters} {len(kinds)} kinds of tensors, from {kinds[0].name} to "
    document = svg.document(parts, y + 10, said + f"{kinds[-1].name}.")
    return Picture(document, title, NOTE, below=_lines(bert, kinds))


def line_of(bert: "Bert", name: str) -> tuple[str, str]:
    """The file and the line of code in which the tensor of this name is made, or ("", "").

    >>> import minibert
    >>> line_of(minibert.load("minibert-tiny"), "embeddings.sum")
    ('core/embeddings.py', 'summed = self.sum(token + segment + position)  # (B, T, H)')
    """
    parent, _, last = name.rpartition(".")
    for model in (bert.model, bert.pretraining):
        try:
            kind = type(model.get_submodule(parent))
            source = inspect.getsource(kind)
        except (AttributeError, OSError):  # not in this model, or its source is not to be had
            continue
        line = re.search(rf"^ *(.*\bself\.{last}\(.*)$", source, re.MULTILINE)
        if line:
            return "/".join(kind.__module__.split(".")[1:]) + ".py", line[1]
    return "", ""


def _lines(bert: "Bert", kinds: list[Shape]) -> str:
    """The lines of code, one for each tensor that has one, as HTML."""
    rows = []
    for shape in kinds:
        file, line = line_of(bert, shape.name)
        if line:
            rows.append(
                f"<tr><td>{html.escape(shape.name)}</td><td><code>{_in_colours(line)}</code><br>"
                f'<span class="muted">{html.escape(file)}</span></td></tr>'
            )
    if not rows:
        return ""
    head = '<tr><th scope="col">tensor</th><th scope="col">the line that makes it</th></tr>'
    table = f"<table>\n<thead>{head}</thead>\n<tbody>{''.join(rows)}</tbody></table>"
    name = 'role="group" aria-label="Lines of code"'
    return f'\n<h2>In the code</h2>\n<div class="lines" tabindex="0" {name}>{table}</div>'


def _in_colours(line: str) -> str:
    """A line of code as HTML, in whose shape every letter has its colour."""
    code, mark, shape = line.rpartition("  # ")
    letters = re.sub("[BTHAD]", r'<span class="axis-\g<0>">\g<0></span>', html.escape(shape))
    return html.escape(code + mark) + letters


def tensors(bert: "Bert", text: str) -> tuple[list[str], list[Shape]]:
    """The tokens, and every kind of tensor once: those of block 0 stand for all blocks."""
    trace = bert.trace(text)
    assert trace.tokens is not None
    tokens = trace.tokens[0]
    c = bert.config
    kinds = [Shape("input_ids", ("B", "T"), (1, len(tokens)))]
    for name, tensor in trace.items():
        inside = name.removeprefix(BLOCK)
        if name.startswith("encoder.blocks.") and inside == name or inside in REPEATED:
            continue
        last = {"up": "I", "activation": "I"}.get(inside.split(".")[-1], "H")
        if inside.startswith("attention.") and tensor.dim() == 4:
            letters: tuple[str, ...] = ("B", "A", "T", "T")
        elif tensor.dim() == 2:
            letters = ("B", "H") if tensor.shape[-1] == c.hidden_size else ("B", "2")
        else:
            letters = ("B", "T", "V" if name == "masked_word.logits" else last)
        kinds.append(Shape(name, letters, tuple(tensor.shape)))
    return tokens, kinds


def _title(part: str, blocks: int) -> str:
    return {
        "input_ids": "text",
        "embeddings": "embeddings: three vectors, one sum",
        "block": f"one block, × {blocks}: the output of one is the input of the next",
        "pooler": "pooler: the first token alone",
        "masked_word": "masked-word head: a score for every word of the vocabulary",
        "next_sentence": "next-sentence head",
    }[part]


def _height(shape: Shape, scale: float) -> float:
    rows = shape.sizes[-2] if len(shape.sizes) > 2 or shape.letters[-1] == "T" else 1
    return max(2.0, scale * rows**0.5)


def _draw(shape: Shape, scale: float) -> tuple[list[str], float]:
    """One rectangle, or one for each head."""
    if shape.letters == ("B", "T"):
        high, wide = scale * shape.sizes[1] ** 0.5, max(2.0, scale)
        return [_box(0, wide, high)], high
    high, wide = _height(shape, scale), max(2.0, scale * shape.sizes[-1] ** 0.5)
    count = shape.sizes[1] if len(shape.sizes) == 4 else 1
    step = min(wide + 3, (svg.WIDTH - 16 - 516 - wide) / max(count - 1, 1))
    return [_box(number * step, wide, high) for number in range(count)], high


def _box(x: float, width: float, height: float) -> str:
    style = {"fill": svg.shade(0.45), "stroke": svg.shade(0.9), "stroke_width": 1}
    return svg.rect(x, 0, width, height, class_="tensor", **style)
