"""One class for every word: names of people and places, parts of speech.

    text -> BERT -> last_hidden_state (B, T, H) -> dropout -> classifier -> (B, T, C)

A word of several pieces has one label, which the first of them carries; the loss leaves out the
others, [CLS], [SEP] and padding. A text that is too long is read in windows, and each piece counts
in the window in which it has most context.

Entities are tagged B-PER, I-PER, O (begins, goes on, is none). How the pieces' scores become those
of words, and words entities, has five ways, named as in transformers' pipeline.

Source: Devlin et al. 2018, section 5.3; Ramshaw and Marcus 1995 (the tags).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.core.checks import IGNORE
from minibert.core.model import BertModel
from minibert.system.lines import read_lines
from minibert.tasks import measures
from minibert.tasks.classification import classes_of
from minibert.tasks.labelled import sort_classes
from minibert.tasks.task import Row, TaskModel, put_together, score_rows
from minibert.tokenizer.arguments import Text
from minibert.tokenizer.pieces import Pieces, WordPieceTokenizer
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.vectors.windows import OVERLAP, cut_windows

AGGREGATIONS = ("none", "simple", "first", "average", "max")
OUTSIDE = "O"


class Tagged(NamedTuple):
    """N sentences as lists of words, each word with the number of its class, or None unknown."""

    sentences: Sequence[Text]
    labels: Sequence[Sequence[int]] | None
    classes: list[str]


class BertTagger(TaskModel):
    """BertModel, dropout, and a linear layer on every token.

    >>> from minibert.core.config import BertConfig
    >>> config = BertConfig(vocab_size=61, hidden_size=20, num_hidden_layers=3,
    ...                     num_attention_heads=4, intermediate_size=44)
    >>> model = BertTagger(BertModel(config), ["O", "B-PER", "I-PER"])
    >>> ids = torch.tensor([[2, 5, 3]])
    >>> model(ids, attention_mask=torch.ones_like(ids)).shape
    torch.Size([1, 3, 3])
    """

    architecture = "BertForTokenClassification"
    per_token = True

    def __init__(self, bert: BertModel, classes: Sequence[str]):
        if len(classes) < 2:
            raise ValueError(f"expected two or more classes to tell apart, got {list(classes)}")
        super().__init__(bert, len(classes))
        self.classes = list(classes)

    def forward(
        self, input_ids: Tensor, *, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """(B, T) -> a score for every class of every token, (B, T, C)."""
        output = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        return self.classifier(self.dropout(output.last_hidden_state))  # (B, T, C)

    def rows(self, tokenizer: Tokenizer, data: Tagged, max_length: int) -> list[Row]:
        """Sentences, or their windows. A row's label: for each token the class of the word that
        begins there, or IGNORE."""
        rows = []
        for number, text in enumerate(data.sentences):
            pieces = tokenizer.text_pieces(text)
            of_piece = [IGNORE] * len(pieces.ids)
            if data.labels is not None:
                for place, word in first_pieces(pieces):
                    of_piece[place] = data.labels[number][word]
            rows += windows(tokenizer, number, pieces.ids, of_piece, max_length)
        return rows

    def loss(self, logits: Tensor, labels: Sequence[Any]) -> Tensor:
        """Mean cross-entropy over the words' first pieces."""
        T = logits.shape[1]
        truth = torch.tensor([row + [IGNORE] * (T - len(row)) for row in labels])  # (B, T)
        truth = truth.to(logits.device)
        total = F.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="sum")
        return total / (truth != IGNORE).sum().clamp(min=1)

    def piece_scores(self, rows: Sequence[Row], logits: Sequence[Tensor]) -> dict[int, np.ndarray]:
        """For each text that has pieces the probabilities of every class of each, (n, C)."""
        texts: dict[int, list[np.ndarray]] = {}
        for row, scores in zip(rows, logits):
            counted = [place for place, piece in enumerate(row.places) if piece is not None]
            part = scores[counted].float().softmax(dim=-1).numpy()
            texts.setdefault(row.example, []).append(part)
        return {number: np.concatenate(parts) for number, parts in texts.items()}

    def answers(
        self, tokenizer: Tokenizer, data: Tagged, rows: Sequence[Row], logits: Sequence[Tensor]
    ) -> list[list[str]]:
        """The likeliest class of every word, by its first piece. A word of which the tokenizer
        keeps nothing, such as a lone control character, is "O", or the first class."""
        nothing = OUTSIDE if OUTSIDE in self.classes else self.classes[0]
        scores = self.piece_scores(rows, logits)
        tags = []
        for number, text in enumerate(data.sentences):
            pieces = tokenizer.text_pieces(text)
            firsts = {word: place for place, word in first_pieces(pieces)}
            words = len(text) if not isinstance(text, str) else len(firsts)
            best = scores[number].argmax(axis=1) if firsts else []
            tags.append(
                [self.classes[best[firsts[w]]] if w in firsts else nothing for w in range(words)]
            )
        return tags

    def score(self, answers: Sequence[Any], data: Tagged) -> dict[str, float]:
        """Entity F1, precision, recall as `seqeval` counts them, and accuracy over the words."""
        truth = [[data.classes[label] for label in labels] for labels in data.labels or ()]
        return measures.tag_scores(answers, truth)

    def check(self, data: Tagged) -> None:
        if self.classes != data.classes:
            raise ValueError(
                f"the model knows the tags {', '.join(self.classes)}, the words have "
                f"{', '.join(data.classes)}: read them with the model's, "
                "read_tagged(path, model.classes)"
            )

    @classmethod
    def from_settings(cls, bert: BertModel, config: dict[str, Any], outputs: int) -> "BertTagger":
        return cls(bert, classes_of(config, outputs))


def first_pieces(pieces: Pieces) -> list[tuple[int, int]]:
    """(place, word) of the first piece of each word."""
    words = pieces.word_ids
    return [(n, word) for n, word in enumerate(words) if n == 0 or word != words[n - 1]]


def windows(
    tokenizer: Tokenizer, number: int, ids: list[int], labels: list[int], max_length: int
) -> list[Row]:
    """The rows of a text: one, or windows that overlap. Each piece counts in one of them."""
    room = max_length - tokenizer.template.length(1)
    if not ids:
        return []
    rows = []
    for read, counted in cut_windows(len(ids), room, min(OVERLAP, room // 2)):
        tokens, segments = put_together(tokenizer, (ids, read))
        before = len(tokenizer.template.before)
        places: list[int | None] = [None] * len(tokens)
        label = [IGNORE] * len(tokens)
        for piece in counted:
            place = before + piece - read.start
            places[place], label[place] = piece, labels[piece]
        rows.append(Row(number, [tokens], [segments], label, places))
    return rows


class Entity(NamedTuple):
    """What was found: its kind, the mean probability, and text[start:end]."""

    label: str
    score: float
    start: int
    end: int
    text: str


def tag(
    model: BertTagger,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    aggregation: str = "simple",
    max_length: int | None = None,
) -> list[list[Entity]]:
    """The entities of each text, as transformers' pipeline finds them.

    aggregation  "none": every piece by itself, with its tag; "simple": pieces with one tag after
                 another are joined; "first", "average", "max": the pieces of a word first agree, on
                 the first one's scores, on the mean of all, or on those of the surest piece

    A long text is read in windows; there the pipeline with `stride` chooses between entities that
    overlap, and this chooses for each piece the window in which it has most context.
    """
    if aggregation not in AGGREGATIONS:
        raise ValueError(
            f"aggregation must be one of {', '.join(AGGREGATIONS)}, got {aggregation!r}"
        )
    rows = model.rows(tokenizer, Tagged(texts, None, model.classes), model.limit(max_length))
    scores = model.piece_scores(rows, score_rows(model, rows, tokenizer.pad_id))
    return [
        entities(text, tokenizer, scores[number], model.classes, aggregation)
        if number in scores
        else []
        for number, text in enumerate(texts)
    ]


def entities(
    text: str, tokenizer: Tokenizer, scores: np.ndarray, classes: Sequence[str], aggregation: str
) -> list[Entity]:
    """The probabilities (n, C) of a text's pieces -> its entities."""
    pieces = tokenizer.pieces(text)
    units = [(row, start, end) for row, (start, end) in zip(scores, pieces.offsets)]
    if aggregation not in ("none", "simple"):
        units = whole_words(text, pieces, units, tokenizer, aggregation)
    tagged = [(classes[row.argmax()], float(row.max()), start, end) for row, start, end in units]
    if aggregation == "none":
        return [Entity(*one, text[one[2] : one[3]]) for one in tagged if one[0] != OUTSIDE]
    groups: list[list[tuple[str, float, int, int]]] = []
    for one in tagged:
        prefix, kind = tag_kind(one[0])
        if groups and prefix != "B" and kind == tag_kind(groups[-1][-1][0])[1]:
            groups[-1].append(one)
        else:
            groups.append([one])
    result = []
    for group in groups:
        label, (start, end) = group[0][0].split("-", 1)[-1], (group[0][2], group[-1][3])
        if label != OUTSIDE:
            score = float(np.mean([one[1] for one in group]))
            result.append(Entity(label, score, start, end, text[start:end]))
    return result


def tag_kind(tag: str) -> tuple[str, str]:
    """Begins or goes on, and the kind; a tag without either goes on.

    >>> tag_kind("B-PER"), tag_kind("NOUN")
    (('B', 'PER'), ('I', 'NOUN'))
    """
    return (tag[0], tag[2:]) if tag[:2] in ("B-", "I-") else ("I", tag)


def whole_words(
    text: str, pieces: Pieces, units: Sequence[Any], tokenizer: Tokenizer, aggregation: str
) -> list[tuple[np.ndarray, int, int]]:
    """Scores of words from those of their pieces.

    A piece goes on with the word before it if it is written differently from its place in the
    text ("##s"), and is not [UNK]: transformers' rule, which also joins what the tokenizer has
    shortened, such as a letter whose accent is gone. To be equal, that is kept. Where pieces do not
    show it, as of byte-level BPE, a piece goes on if no space stands before it.
    """
    is_marked = isinstance(tokenizer.engine, WordPieceTokenizer)
    words: list[list[Any]] = []
    for unit, token, number in zip(units, pieces.tokens, pieces.ids):
        if is_marked:
            goes_on = len(token) != unit[2] - unit[1]
        else:
            goes_on = unit[1] > 0 and " " not in text[unit[1] - 1 : unit[1] + 1]
        goes_on = goes_on and number != tokenizer.unk_id
        if words and goes_on:
            words[-1].append(unit)
        else:
            words.append([unit])
    return [
        (_agree(np.stack([row for row, _, _ in word]), aggregation), word[0][1], word[-1][2])
        for word in words
    ]


def _agree(scores: np.ndarray, aggregation: str) -> np.ndarray:
    """The probabilities (n, C) of a word's pieces -> those of the word (C,)."""
    if aggregation == "average":
        return scores.mean(axis=0)
    return scores[0 if aggregation == "first" else scores.max(axis=1).argmax()]


def read_tagged(path: str | Path, classes: Sequence[str] | None = None) -> Tagged:
    """A file in CoNLL's form: a word a line, its tag last on it, a blank line between sentences.

    Between word and tag stands a tab or spaces; further columns between them are passed over, and
    so is a line -DOCSTART-.

    classes  the tags that may occur; None: all that do, "O" first, and I-X wherever B-X does

    Raises FileNotFoundError, or ValueError with the line that is not as expected.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: expected a file in CoNLL's form")
    sentences: list[list[tuple[int, str, str]]] = [[]]
    for number, line in enumerate(read_lines(path), 1):
        cells = line.split("	") if "	" in line else line.split()
        if not line.strip() or cells[0] == "-DOCSTART-":
            sentences.append([])
            continue
        if len(cells) < 2 or not cells[0].strip() or not cells[-1].strip():
            raise ValueError(
                f"{path}, line {number}: expected a word and its tag, got {line[:60]!r}"
            )
        sentences[-1].append((number, cells[0], cells[-1].strip()))
    sentences = [sentence for sentence in sentences if sentence]
    if not sentences:
        raise ValueError(f"{path}: expected a word and its tag on each line, and it has none")
    present = {tag for sentence in sentences for _, _, tag in sentence}
    present |= {f"I-{tag[2:]}" for tag in present if tag.startswith("B-")}
    if classes is None and len(present) < 2:
        raise ValueError(
            f"{path}: expected a word and its tag on each line, and at least two different tags, "
            f"got {min(present)!r:.60} alone"
        )
    rest = sort_classes(present - {OUTSIDE})
    names = list(classes) if classes is not None else [OUTSIDE, *rest][OUTSIDE not in present :]
    numbers = {name: number for number, name in enumerate(names)}
    for number, _, tag in (word for sentence in sentences for word in sentence):
        if tag not in numbers:
            raise ValueError(
                f"{path}, line {number}: expected one of the tags {', '.join(names)}, got {tag!r}"
            )
    return Tagged(
        [[word for _, word, _ in sentence] for sentence in sentences],
        [[numbers[tag] for _, _, tag in sentence] for sentence in sentences],
        names,
    )
