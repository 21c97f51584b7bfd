"""A text, character by character, through words and word pieces to ids, one below the other.

Pieces and their places are those of the tokenizer. What the rules make of each character is found
by applying them to the character alone: hardly any rule looks further.
"""

import html
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from minibert.core.rules import clean
from minibert.tokenizer.explain import explain
from minibert.tokenizer.origins import normalise
from minibert.tokenizer.pieces import Pieces, WordPieceTokenizer
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.view import svg
from minibert.view.picture import Picture

MOST_CHARACTERS = 300
MOST_TRIES = 60  # of a word, on the page
LEFT = 84.0  # of a row's boxes, after its name
ROOM = svg.WIDTH - 32 - LEFT
NOTE = (
    "From above: the characters, what each one is, words after the rules, word pieces of the "
    "vocabulary (## goes on a word), their ids. [CLS] and [SEP] are added later."
)


class Kind(NamedTuple):
    """What becomes of a character: a letter for it, a colour, and the sentence of the legend."""

    sign: str
    fill: str
    what: str


KINDS = {
    "letter": Kind("a", "#ffffff", "letter or other sign, kept"),
    "capital": Kind("A", "#cfe3f5", "capital, made small"),
    "accent": Kind("ä", "#fde3c8", "loses its accent"),
    "parts": Kind("+", "#d5eef0", "taken apart into its letters"),
    "digit": Kind("1", "#e3e3e3", "digit, kept"),
    "punctuation": Kind("!", "#f3d4e4", "punctuation, a word of its own"),
    "ideograph": Kind("中", "#d3ecdf", "ideograph, a word of its own"),
    "space": Kind("␣", "#f0f2f4", "space: words end here"),
    "removed": Kind("×", "#f8f3c6", "deleted"),
    "special": Kind("*", "#d9d2f0", "special token, looked up as a whole"),
}


class Cluster(NamedTuple):
    """Characters start..end of the text, and the pieces that stand for them (none for a space).

    Mostly one piece; several if one character became several.
    """

    start: int
    end: int
    pieces: range


def tokenization(tokenizer: Tokenizer | WordPieceTokenizer, text: str) -> Picture:
    """Characters, words, pieces and ids in rows, aligned; on the page also the prefixes that the
    longest match tried.

    Raises TypeError for what is no text, ValueError for more than 300 characters.

    >>> picture = tokenization(WordPieceTokenizer(["[UNK]", "un", "##able", "##aff"]), "Unaffable")
    >>> picture.svg.count('class="character"'), picture.svg.count('class="piece"')
    (9, 3)
    """
    pieces = tokenizer.pieces(text)
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"the picture has room for {MOST_CHARACTERS} characters, this text has "
                         f"{len(text)}: take one sentence")  # fmt: skip
    kinds = kinds_of(tokenizer, text)
    title = f"From characters to ids: {svg.shorten(text, 540, 18)}"
    parts, y = svg.heading(title, NOTE)
    clusters = [part for cluster in _clusters(pieces, text) for part in _cut(cluster, pieces, text)]
    for row in _rows(clusters, pieces, text):
        parts.append(svg.moved(16, y, *_draw(tokenizer, row, pieces, text, kinds)))
        y += 172 if _has_pieces(row) else 76
    used = [kind for name, kind in KINDS.items() if name in kinds]
    parts.append(svg.moved(16, y, *_legend(used)))
    y += 28 * ((len(used) + 2) // 3) + 8
    said = f"{title}. Pieces: {' '.join(pieces.tokens)}. Ids: {' '.join(map(str, pieces.ids))}."
    return Picture(svg.document(parts, y, said), title, NOTE, below=_tries(tokenizer, text))


def _tries(tokenizer: Tokenizer | WordPieceTokenizer, text: str) -> str:
    """For each word that took more than one try, the prefixes in their order, as HTML."""
    rows = []
    for step in dict.fromkeys(
        (step.before, step.after, tuple(step.changes))
        for step in explain(tokenizer, text)
        if step.rule == "longest match" and len(step.changes) > 1
    ):
        word, pieces, tries = step
        shown = [
            f"<strong>{_safe(piece)} {number}</strong>" if number else f"<s>{_safe(piece)}</s>"
            for piece, number in tries[:MOST_TRIES]
        ]
        more = f" … {len(tries) - MOST_TRIES} more" if len(tries) > MOST_TRIES else ""
        told = f"{' '.join(shown)}{more} = {_safe(pieces)}"
        rows.append(f'<h3>{_safe(word)}</h3>\n<p class="tries">{told}</p>')
    if not rows:
        return ""
    note = (
        "The whole rest of a word is looked up first, then one letter less, until the vocabulary "
        "has it; struck out: it does not. If no letter is left, the whole word is unknown."
    )
    heading = f'<h2>The longest match, try by try</h2>\n<p class="muted">{note}</p>'
    return "\n".join(["", heading, *rows])


def _safe(text: str) -> str:
    return html.escape(svg.visible(text))


def kinds_of(tokenizer: Tokenizer | WordPieceTokenizer, text: str) -> list[str]:
    """For every character, a key of KINDS: what the rules make of it.

    >>> kinds_of(WordPieceTokenizer(["[UNK]"]), "Zoë 1!")
    ['capital', 'letter', 'accent', 'space', 'digit', 'punctuation']
    """
    kinds = []
    for start, end, number in tokenizer.typed.split(text):
        if number is not None:
            kinds += ["special"] * (end - start)
        else:
            kinds += [_kind(tokenizer, char) for char in text[start:end]]
    return kinds


def _kind(tokenizer: Tokenizer | WordPieceTokenizer, char: str) -> str:
    rules = tokenizer.rules
    if clean(char, rules) in ("", " "):
        return "space" if clean(char, rules) else "removed"
    changed, _ = normalise(char, tokenizer.steps, rules)
    if not changed.strip():
        return "accent"  # a mark that stands by itself
    if changed != changed.strip():
        return "ideograph" if char in rules.ideographs else "punctuation"
    if changed != char:
        if len(changed) > 1:
            return "parts"
        return "capital" if changed == rules.lower(char) else "accent"
    return "digit" if char.isdigit() else "letter"


def _clusters(pieces: Pieces, text: str) -> Iterator[Cluster]:
    """The whole text in pieces and gaps, from left to right."""
    done = first = 0
    while first < len(pieces.ids):
        start, end = pieces.offsets[first]
        last = first + 1
        while last < len(pieces.ids) and pieces.offsets[last][0] < end:
            end = max(end, pieces.offsets[last][1])
            last += 1
        for gap in range(done, start):
            yield Cluster(gap, gap + 1, range(0))
        yield Cluster(max(start, done), end, range(first, last))
        done, first = end, last
    for gap in range(done, len(text)):
        yield Cluster(gap, gap + 1, range(0))


def _cut(cluster: Cluster, pieces: Pieces, text: str) -> Iterator[Cluster]:
    """A cluster that is wider than a row in several; the pieces stand under the first."""
    start, wide = cluster.start, 0.0
    for place in range(cluster.start, cluster.end):
        wide += _character_width(text[place])
        if wide > ROOM:
            yield Cluster(start, place, cluster.pieces if start == cluster.start else range(0))
            start, wide = place, _character_width(text[place])
    yield Cluster(start, cluster.end, cluster.pieces if start == cluster.start else range(0))


def _width(cluster: Cluster, pieces: Pieces, text: str) -> float:
    wide = sum(_character_width(char) for char in text[cluster.start : cluster.end])
    return max(wide, sum(_piece_width(pieces, number) for number in cluster.pieces))


def _character_width(char: str) -> float:
    return max(18.0, svg.width_of(svg.visible(char), svg.SMALL) + 6)


def _piece_width(pieces: Pieces, number: int) -> float:
    shown = svg.shorten(pieces.tokens[number], 300)
    return max(svg.width_of(shown), svg.width_of(str(pieces.ids[number]), svg.SMALL)) + 12


def _rows(clusters: Sequence[Cluster], pieces: Pieces, text: str) -> list[list[Cluster]]:
    """Clusters in rows that fit the width; a row ends between words where it can."""
    rows: list[list[Cluster]] = [[]]
    room = ROOM
    words = _by_word(clusters, pieces)
    for word in words:
        wide = sum(_width(cluster, pieces, text) for cluster in word)
        if wide > room and rows[-1] and wide <= ROOM:
            rows.append([])
            room = ROOM
        for cluster in word:
            wide = _width(cluster, pieces, text)
            if wide > room and rows[-1]:
                rows.append([])
                room = ROOM
            rows[-1].append(cluster)
            room -= wide
    return rows


def _by_word(clusters: Sequence[Cluster], pieces: Pieces) -> list[list[Cluster]]:
    words: list[list[Cluster]] = []
    before = None
    for cluster in clusters:
        word = pieces.word_ids[cluster.pieces[0]] if cluster.pieces else None
        if words and word is not None and word == before:
            words[-1].append(cluster)
        else:
            words.append([cluster])
        before = word
    return words


def _draw(
    tokenizer: Tokenizer | WordPieceTokenizer,
    row: Sequence[Cluster],
    pieces: Pieces,
    text: str,
    kinds: Sequence[str],
) -> list[str]:
    """Five rows of boxes under each other, and their names at the left."""
    names = ("characters", "kind", "words", "pieces", "ids")[: 5 if _has_pieces(row) else 2]
    parts = [svg.text(0, 20 + 32 * i, name, size=svg.SMALL, fill=svg.MUTED)
             for i, name in enumerate(names)]  # fmt: skip
    x = LEFT
    for word in _by_word(row, pieces):
        begin = x
        for cluster in word:
            wide = _width(cluster, pieces, text)
            parts += _characters(x, wide, text, cluster, kinds)
            parts += _pieces(x, wide, cluster, pieces)
            x += wide
        if word[0].pieces:
            shown = _spelled(tokenizer, text, word, pieces, kinds)
            parts.append(svg.rect(begin + 1, 66, x - begin - 2, 26, fill="#ffffff",
                                  stroke=svg.MUTED, rx=3, class_="word"))  # fmt: skip
            parts.append(svg.text((begin + x) / 2, 84, svg.shorten(shown, x - begin - 4),
                                  anchor="middle"))  # fmt: skip
    return parts


def _has_pieces(row: Sequence[Cluster]) -> bool:
    return any(cluster.pieces for cluster in row)


def _characters(
    x: float, width: float, text: str, cluster: Cluster, kinds: Sequence[str]
) -> Iterator[str]:
    natural = [_character_width(char) for char in text[cluster.start : cluster.end]]
    more = (width - sum(natural)) / max(len(natural), 1)
    for place, wide in zip(range(cluster.start, cluster.end), natural):
        wide += more
        kind = KINDS[kinds[place]]
        shown = "␣" if kinds[place] == "space" else text[place]
        style = {"fill": kind.fill, "stroke": svg.RULE}
        yield svg.rect(x, 2, wide, 26, class_="character", **style)
        yield svg.text(x + wide / 2, 20, shown, size=svg.SMALL, anchor="middle")
        yield svg.text(x + wide / 2, 52, kind.sign, size=svg.SMALL, anchor="middle", fill=svg.MUTED)
        x += wide


def _pieces(x: float, width: float, cluster: Cluster, pieces: Pieces) -> Iterator[str]:
    natural = [_piece_width(pieces, number) for number in cluster.pieces]
    more = (width - sum(natural)) / max(len(natural), 1)
    for number, wide in zip(cluster.pieces, natural):
        wide += more
        token = svg.shorten(pieces.tokens[number], 300)
        style = {"fill": svg.shade(0.3 if pieces.word_ids[number] % 2 else 0.12), "rx": 3}
        yield svg.rect(x + 1, 98, wide - 2, 26, class_="piece", stroke=svg.shade(0.8), **style)
        yield svg.text(x + wide / 2, 116, token, anchor="middle")
        identity = str(pieces.ids[number])
        yield svg.text(x + wide / 2, 148, identity, size=svg.SMALL, anchor="middle")
        x += wide


def _spelled(
    tokenizer: Tokenizer | WordPieceTokenizer,
    text: str,
    word: Sequence[Cluster],
    pieces: Pieces,
    kinds: Sequence[str],
) -> str:
    """The word as the rules leave it; a special token as it is in the vocabulary."""
    start = pieces.offsets[word[0].pieces[0]][0]
    end = pieces.offsets[word[-1].pieces[-1]][1]
    if kinds[start] == "special":
        return pieces.tokens[word[0].pieces[0]]
    spelled, _ = normalise(text[start:end], tokenizer.steps, tokenizer.rules)
    return spelled.replace(" ", "")


def _legend(used: Sequence[Kind]) -> list[str]:
    parts: list[Any] = []
    for number, kind in enumerate(used):
        x, y = 276 * (number % 3), 28 * (number // 3)
        parts.append(svg.rect(x, y, 28, 22, fill=kind.fill, stroke=svg.RULE))
        parts.append(svg.text(x + 14, y + 16, kind.sign, size=svg.SMALL, anchor="middle"))
        parts.append(svg.text(x + 36, y + 16, kind.what, size=svg.SMALL))
    return parts
