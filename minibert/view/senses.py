"""One word in two senses: where in the model do its vectors part?

For every layer, the mean cosine between vectors of the word in sentences of the same sense, and of
different senses. At layer 0 a vector knows the word and its place alone, so both begin close
together; what parts them later is context. The measure follows Ethayarajh 2019
(https://arxiv.org/abs/1909.00512), who also shows that the cosines of any two words are high in
some models: compare the two lines, not one line with 0.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from minibert.view import svg
from minibert.view.picture import Picture
from minibert.view.plot import Series, plot

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
    layers = list(range(len(same)))
    title = f"“{svg.visible(word)}” in {len(senses)} senses: {', '.join(map(svg.visible, senses))}"
    series = [Series("same sense", layers, same), Series("different senses", layers, different)]
    parts, y = svg.heading(title, NOTE)
    drawing, height = plot(series, x="layer", y="cosine", reach=1.0)
    last = f"same sense {same[-1]:.2f}, different senses {different[-1]:.2f}"
    said = (
        f"{title}. Layer 0: same sense {same[0]:.2f}, different senses {different[0]:.2f}. "
        f"Layer {layers[-1]}: {last}."
    )
    parts.append(svg.moved(0, y, *drawing))
    return Picture(svg.document(parts, y + height + 8, said), title, NOTE)


def parting(bert: "Bert", word: str, senses: Mapping[str, Sequence[str]]) -> Parting:
    """The two lines of the picture: mean cosines of the pairs, for each layer."""
    import numpy as np

    if len(senses) < 2:
        raise ValueError(f"expected sentences in two senses or more, got {len(senses)}")
    found: list[tuple[str, np.ndarray]] = []
    for sense, sentences in senses.items():
        if isinstance(sentences, str):
            raise TypeError(f"expected a list of sentences for the sense {sense!r}, got one text")
        found += [(sense, vectors) for s in sentences for vectors in _by_layer(bert, s, word)]
    pairs = list(combinations(found, 2))
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
