"""What the model would guess after each block: the hidden state at [MASK], through the head. On the
page one word is followed through the layers: its probability, and its place among all words.

This is the "logit lens" (nostalgebraist 2020, https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru)
for a masked-word model.
"""

from typing import TYPE_CHECKING, NamedTuple

from minibert.system.numbers import percent
from minibert.view import svg
from minibert.view.picture import Picture, data_element, text_of

if TYPE_CHECKING:
    from torch import Tensor

    from minibert.bert import Bert

NOTE = (
    "The masked-word head was trained on the last layer alone: what it says about earlier ones is "
    "a rough reading, not the model's opinion. The last row is what the model answers; its first "
    "word is outlined wherever it shows up."
)


MOST_FOLLOWED = 24  # words that the page can follow


class Guess(NamedTuple):
    """One word for the blank; `probability` is the softmax over the whole vocabulary."""

    token: str
    probability: float


def lens(bert: "Bert", text: str, top: int = 5) -> Picture:
    """The `top` likeliest words for the first [MASK] of the text, layer by layer.

    Layer 0 is the embeddings, layer i the output of block i - 1, as in `out.hidden_states`. Raises
    ValueError if the text has no [MASK], or the weights have no masked-word head.

    >>> import minibert
    >>> picture = lens(minibert.load("minibert-tiny"), "The river [MASK] was flooded.", top=3)
    >>> picture.svg.count('class="guess"')  # 3 words for the embeddings and each of 4 blocks
    15
    """
    if top not in range(1, 9):
        raise ValueError(f"top must lie in 1..8, which have room side by side, got {top}")
    layers = _layers(bert, text, top)
    rows = _guesses(bert, layers, top)
    title = f"What would stand at [MASK]? {svg.visible(text)}"
    parts, y = svg.heading(title, NOTE)
    left, height = 128, 48
    width = (svg.WIDTH - 16 - left) / top
    best = rows[-1][0].token
    for layer, row in enumerate(rows):
        what = f"after block {layer - 1}" if layer else "embeddings"
        parts.append(svg.line(16, y, svg.WIDTH - 16, y))
        parts.append(svg.text(16, y + 20, f"layer {layer}", bold=True))
        parts.append(svg.text(16, y + 38, what, size=svg.SMALL, fill=svg.MUTED))
        for rank, guess in enumerate(row):
            parts.append(_cell(left + rank * width, y + 5, width - 10, guess, guess.token == best))
        y += height
    said = ", ".join(f"layer {layer} {row[0].token}" for layer, row in enumerate(rows))
    drawing = svg.document(parts, y + 8, f"{title} First guesses: {said}.")
    return Picture(drawing, title, NOTE, interactive(rows, paths(bert, layers, rows)))


def guesses(bert: "Bert", text: str, top: int = 5) -> list[list[Guess]]:
    """For each layer, 0 to L, the `top` likeliest words at the first [MASK], best first."""
    return _guesses(bert, _layers(bert, text, top), top)


def _layers(bert: "Bert", text: str, top: int) -> "Tensor":
    """The scores of all words at the first [MASK], by layer (L + 1, V)."""
    import torch

    from minibert.fast.linear import full_float32
    from minibert.tasks.pretrained import around_masks, check_eval, check_top

    head = bert.pretraining.masked_word
    if head is None:
        raise ValueError(
            "the lens looks through the masked-word head, and this model has none: load weights "
            'with heads, such as google-bert/bert-base-uncased or "minibert-tiny"'
        )
    check_eval(bert.pretraining)
    check_top(bert.tokenizer, top)
    batch, places = around_masks(bert.model, bert.tokenizer, text)
    with torch.inference_mode(), full_float32(batch["input_ids"].device):
        states = bert.model(**batch, output_hidden_states=True).hidden_states
        here = torch.stack([state[0, places[0]] for state in states])  # (L + 1, H)
        return head(here, bert.model.embeddings.token.weight)  # (L + 1, V)


def _guesses(bert: "Bert", layers: "Tensor", top: int) -> list[list[Guess]]:
    from minibert.tasks.pretrained import likeliest

    rows = likeliest(layers, bert.tokenizer, top)
    return [[Guess(one.token, one.probability) for one in row] for row in rows]


def paths(
    bert: "Bert", layers: "Tensor", rows: list[list[Guess]]
) -> dict[str, list[tuple[float, int]]]:
    """For each word that is among the guesses of some layer: (probability, place among all words)
    in every layer, the last layer's guesses first. Place 1 is the likeliest."""
    words = dict.fromkeys(guess.token for row in reversed(rows) for guess in row)
    probabilities = layers.double().softmax(dim=-1)  # (L + 1, V)
    tokens = probabilities[:, sorted(bert.tokenizer.inverse)]  # some rows may stand for no token
    followed = {}
    for word in list(words)[:MOST_FOLLOWED]:
        own = probabilities[:, bert.tokenizer.convert_tokens_to_ids(word)]  # (L + 1,)
        ranks = 1 + (tokens > own[:, None]).sum(dim=-1)
        followed[word] = list(zip(own.tolist(), ranks.tolist()))
    return followed


def interactive(rows: list[list[Guess]], followed: dict[str, list[tuple[float, int]]]) -> str:
    """The inside of the page: the guesses as buttons, and the chosen word's way."""
    data = {
        "layers": [
            [
                {"shown": svg.visible(one.token), "word": one.token, "share": one.probability}
                for one in row
            ]
            for row in rows
        ],
        "paths": followed,
    }
    return text_of("lens.html").format(
        style=text_of("lens.css"),
        data=data_element(data),
        script=text_of("page.js") + text_of("lens.js"),
    )


def _cell(x: float, y: float, width: float, guess: Guess, outlined: bool) -> str:
    """A word, its probability, and a bar as long as the probability."""
    share = percent(guess.probability)
    room = width - 16 - svg.width_of(share, svg.SMALL)
    edge = {"stroke": svg.KINDS[1], "stroke_width": 2} if outlined else {"stroke": svg.RULE}
    return svg.group(
        svg.rect(x, y, width, 38, rx=4, fill="none", **edge),
        svg.rect(x + 6, y + 28, width - 12, 5, fill=svg.shade(0.1)),
        svg.rect(x + 6, y + 28, (width - 12) * guess.probability, 5, fill=svg.shade(0.8)),
        svg.text(x + 6, y + 20, svg.shorten(guess.token, room), bold=outlined),
        svg.text(x + width - 6, y + 20, share, size=svg.SMALL, anchor="end", fill=svg.MUTED),
        class_="guess",
    )
