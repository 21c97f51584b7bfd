"""Text -> what BERT is trained on: pairs of segments with some words hidden.

    hidden   [CLS] the river [MASK] was flooded [SEP] they moved to violin ground [SEP]
    labels                    bank                                  higher

A document is cut into chunks of sentences that fill a row. A chunk is split at a random sentence
into A and B; with probability 1/2, B is replaced by sentences of another document, and the row's
label says so. Then 15 % of the pieces are chosen: of these, 80 % become [MASK], 10 % another
piece, 10 % stay as they are. Special tokens are never chosen, and never drawn as "another piece".

All of it is drawn once, from a seed, and written to disk as rows of fixed size. Training maps the
file into memory and reads rows in any order; `Example` below says what is in a row.

Where this differs from Google's code: its chunk may be one sentence, which has no next, so more
than half of its B segments are random; here a chunk has at least two sentences, and the share is
one half. It counts special tokens among those of which 15 % are taken, and draws other pieces from
the whole vocabulary, special tokens too. And one of its random documents can be the same document.

Source: Devlin et al. 2018, section 3.1 and appendix A.1 and A.2; google-research/bert
`create_pretraining_data.py`.
"""

import dataclasses
import json
import random
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from minibert.batch import Tokenizer
from minibert.files import folder_written_whole
from minibert.training.vocabulary import read_lines


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """What decides the examples; written beside them.

    length       T, the pieces of a row, with [CLS] and two [SEP]
    mask_share   the share of pieces that are chosen
    whole_words  choose all pieces of a word, or none
    short_share  the share of rows that aim at a random, shorter length
    duplicates   passes over the text, each with other chunks and other hidden words
    held_out     the share of documents kept apart to measure on
    """

    length: int = 128
    mask_share: float = 0.15
    whole_words: bool = False
    short_share: float = 0.1
    duplicates: int = 1
    held_out: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if not 8 <= self.length < 2**15:
            raise ValueError(f"length must be at least 8 and below {2**15}, got {self.length}")
        if self.duplicates < 1:
            raise ValueError(f"duplicates must be at least 1, got {self.duplicates}")
        for name in ("mask_share", "short_share", "held_out"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")

    @property
    def most_hidden(self) -> int:
        """P, the most pieces that are chosen in one row."""
        return max(1, round(self.mask_share * (self.length - 3)))


# ---- Text -> sentences -> ids ----

_sentence_end = re.compile(
    r"(?<!\bMr)(?<!\bMrs)(?<!\bDr)(?<!\bSt)(?<!\b[A-Z])"
    r"[.!?]+[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[A-Z0-9])"
)


def split_sentences(paragraph: str) -> list[str]:
    """A paragraph's sentences. A rule of thumb: now and then it cuts after an abbreviation.

    >>> split_sentences('"Is it deep?" asked Mr. Bank. "It is." Then he swam.')
    ['"Is it deep?" asked Mr. Bank.', '"It is."', 'Then he swam.']
    """
    starts = [0, *(match.end() for match in _sentence_end.finditer(paragraph))]
    sentences = [paragraph[a:b].strip() for a, b in zip(starts, [*starts[1:], None])]
    return [sentence for sentence in sentences if sentence]


class Corpus(NamedTuple):
    """Documents as ids, end to end: sentence s is pieces[sentences[s]:sentences[s + 1]], and
    document d consists of the sentences documents[d] to documents[d + 1] - 1."""

    pieces: Sequence[int]
    sentences: Sequence[int]
    documents: Sequence[int]

    def read(self, first: int, last: int) -> list[int]:
        """The pieces of the sentences `first` to `last` - 1."""
        return list(self.pieces[self.sentences[first] : self.sentences[last]])

    def fill(self, first: int, last: int, room: int) -> int:
        """Where to stop so that the sentences from `first` on hold `room` pieces, or `last`."""
        start = self.sentences[first]
        stop = first + 1
        while stop < last and self.sentences[stop] - start < room:
            stop += 1
        return stop


def read_documents(lines: Iterable[str]) -> Iterator[list[str]]:
    """Lists of lines, cut at blank ones: a line is a paragraph, a blank line ends a document."""
    document: list[str] = []
    for line in chain(lines, [""]):
        if line.strip():
            document.append(line)
        elif document:
            yield document
            document = []


def build_corpus(documents: Iterable[list[str]], tokenizer: Tokenizer) -> Corpus:
    """Documents (lists of paragraphs) -> ids. A special token typed in the text is left out."""
    corpus = Corpus(array("i"), array("q", [0]), array("q", [0]))
    never = tokenizer.special_ids - {tokenizer.unk_id}
    for paragraphs in documents:
        for paragraph in paragraphs:
            for sentence in split_sentences(paragraph):
                ids = tokenizer.ids(sentence)
                if not never.isdisjoint(ids):
                    ids = [number for number in ids if number not in never]
                if ids:
                    corpus.pieces.extend(ids)  # type: ignore[attr-defined]
                    corpus.sentences.append(len(corpus.pieces))  # type: ignore[attr-defined]
        if len(corpus.sentences) - 1 > corpus.documents[-1]:
            corpus.documents.append(len(corpus.sentences) - 1)  # type: ignore[attr-defined]
    return corpus


# ---- Segments ----


class Segments(NamedTuple):
    """A and B, and the numbers of the documents they come from."""

    first: list[int]
    second: list[int]
    documents: tuple[int, int]


def segment_pairs(
    corpus: Corpus, document: int, room: int, short_share: float, rng: random.Random
) -> Iterator[Segments]:
    """The pairs of one document, of at most `room` pieces together.

    Half of them, in the mean, take B from another document; what then remains of the chunk goes
    into the next one. A last sentence that stands alone has no next, and is left out.
    """
    start, end = corpus.documents[document], corpus.documents[document + 1]
    while end - start >= 2:
        target = below(room - 1, rng) + 2 if rng.random() < short_share else room
        stop = max(corpus.fill(start, end, target), start + 2)
        cut = start + 1 + below(stop - start - 1, rng)
        first = corpus.read(start, cut)
        if rng.random() < 0.5:
            other = _other(document, len(corpus.documents) - 1, rng)
            begin, last = corpus.documents[other], corpus.documents[other + 1]
            begin += below(last - begin, rng)
            second = corpus.read(begin, corpus.fill(begin, last, target - len(first)))
            start = cut
        else:
            other = document
            second = corpus.read(cut, stop)
            start = stop
        shorten(first, second, target, rng)
        yield Segments(first, second, (document, other))


def below(limit: int, rng: random.Random) -> int:
    """A random whole number from 0 to limit - 1, the same in all versions of Python."""
    return int(rng.random() * limit)


def _other(document: int, count: int, rng: random.Random) -> int:
    """One of the `count` documents, all but this one equally likely."""
    other = below(count - 1, rng)
    return other + (other >= document)


def shorten(first: list[int], second: list[int], room: int, rng: random.Random) -> None:
    """Take pieces off the longer segment, at a random end, until both fit; in place.

    >>> first, second = [1, 2, 3, 4, 5], [6, 7]
    >>> shorten(first, second, 4, random.Random(0)); len(first), second
    (2, [6, 7])
    """
    while len(first) + len(second) > room:
        longer = first if len(first) > len(second) else second
        del longer[0 if rng.random() < 0.5 else -1]


# ---- Hidden words ----


class Masker:
    """Hides words. `special_ids` are never chosen, and never put in another piece's place."""

    def __init__(self, tokenizer: Tokenizer, settings: DataSettings):
        self.settings = settings
        self.mask_id = tokenizer.mask_id
        self.special_ids = tokenizer.special_ids
        self.ordinary = [n for n in sorted(tokenizer.inverse) if n not in self.special_ids]
        tokens = tokenizer.inverse.items()
        self.inner = {n for n, t in tokens if t.startswith("##")} if settings.whole_words else set()

    def words(self, ids: Sequence[int]) -> list[list[int]]:
        """The places that are chosen together: single pieces, or whole words."""
        words: list[list[int]] = []
        for place, number in enumerate(ids):
            if number in self.special_ids:
                continue
            if number in self.inner and words and words[-1][-1] == place - 1:
                words[-1].append(place)
            else:
                words.append([place])
        return words

    def hide(self, ids: list[int], rng: random.Random) -> tuple[list[int], list[int]]:
        """Hide words in `ids`, in place; the places chosen, in order, and what stood there."""
        words = self.words(ids)
        room = max(1, round(self.settings.mask_share * sum(map(len, words))))
        places: list[int] = []
        for word in sorted(words, key=lambda _: rng.random()):
            if len(places) + len(word) <= room:
                places += word
        places.sort()
        labels = [ids[place] for place in places]
        for place in places:
            draw = rng.random()
            if draw < 0.8:
                ids[place] = self.mask_id
            elif draw < 0.9:
                ids[place] = self.ordinary[below(len(self.ordinary), rng)]
        return places, labels


# ---- Rows on disk ----


def example_type(settings: DataSettings, vocab_size: int) -> np.dtype:
    """One row: T ids (padded with [PAD]), and what is needed to make a batch of them.

    ids          T     with words hidden
    pieces             how many of the ids are not padding
    second             where segment B begins
    places       P     the places chosen, in order; the first `chosen` of them
    labels       P     what stood there
    is_random          1 if B is from another document
    documents    2     the numbers of the documents of A and B
    """
    T, P = settings.length, settings.most_hidden
    number = "<u2" if vocab_size <= 2**16 else "<u4"
    return np.dtype(
        [
            ("ids", number, (T,)),
            ("pieces", "<u2"),
            ("second", "<u2"),
            ("places", "<u2", (P,)),
            ("labels", number, (P,)),
            ("chosen", "<u2"),
            ("is_random", "<u1"),
            ("documents", "<u4", (2,)),
        ]
    )


def make_examples(
    corpus: Corpus, tokenizer: Tokenizer, settings: DataSettings, *, progress: bool = False
) -> Iterator[np.ndarray]:
    """Rows of `example_type`, in blocks. Raises ValueError for fewer than two documents."""
    count = len(corpus.documents) - 1
    if count < 2:
        raise ValueError(
            f"expected at least 2 documents, since half of all next sentences come from another "
            f"one; got {count}. A blank line ends a document."
        )
    rng = random.Random(settings.seed)
    masker = Masker(tokenizer, settings)
    kind = example_type(settings, tokenizer.vocab_size)
    room = settings.length - 3
    rows: list[np.ndarray] = []
    order = [document for _ in range(settings.duplicates) for document in range(count)]
    for document in tqdm(order, desc="hide", unit="documents", disable=not progress):
        for segments in segment_pairs(corpus, document, room, settings.short_share, rng):
            rows.append(make_row(segments, tokenizer, masker, kind, rng))
        if len(rows) >= 2**14:
            yield np.array(rows, dtype=kind)
            rows = []
    yield np.array(rows, dtype=kind)


def make_row(
    segments: Segments, tokenizer: Tokenizer, masker: Masker, kind: np.dtype, rng: random.Random
) -> np.ndarray:
    """[CLS] A [SEP] B [SEP], with words hidden, as one row."""
    first, second, documents = segments
    sep = tokenizer.sep_id
    ids = [tokenizer.cls_id, *first, sep, *second, sep]
    places, labels = masker.hide(ids, rng)
    row = np.zeros((), dtype=kind)
    row["ids"] = tokenizer.pad_id
    row["ids"][: len(ids)] = ids
    row["pieces"], row["second"] = len(ids), len(first) + 2
    row["places"][: len(places)], row["labels"][: len(labels)] = places, labels
    row["chosen"] = len(places)
    row["documents"], row["is_random"] = documents, documents[0] != documents[1]
    return row


def prepare(
    files: Sequence[str | Path],
    tokenizer: Tokenizer,
    folder: str | Path,
    settings: DataSettings | None = None,
    *,
    progress: bool = False,
) -> dict[str, dict[str, float]]:
    """Write the new folder `folder`: train.bin, heldout.bin, data.json, and the tokenizer.

    Returns the statistics of both parts, which also stand in data.json. Raises ValueError for too
    few documents, OSError if the folder cannot be written; it appears whole or not at all.
    """
    settings = settings or DataSettings()
    with folder_written_whole(folder) as new:
        documents = list(read_documents(read_lines(files, progress)))
        chosen = _held_out(len(documents), settings)
        parts = {"train": [d for n, d in enumerate(documents) if n not in chosen]}
        if chosen:
            parts["heldout"] = [documents[n] for n in sorted(chosen)]
        statistics = {}
        for name, texts in parts.items():
            bar = tqdm(texts, desc=f"{name}: cut", unit="documents", disable=not progress)
            corpus = build_corpus(bar, tokenizer)
            with (new / f"{name}.bin").open("wb") as file:
                for block in make_examples(corpus, tokenizer, settings, progress=progress):
                    block.tofile(file)
                if file.tell() == 0:
                    raise ValueError(
                        f"the {len(texts)} documents of the {name} part give no example: expected "
                        "documents of two sentences or more. A line is a paragraph, a blank line "
                        "ends a document."
                    )
            kind = example_type(settings, tokenizer.vocab_size)
            rows = np.memmap(new / f"{name}.bin", dtype=kind, mode="r")
            statistics[name] = measure(rows, tokenizer)
        tokenizer.save_vocabulary(new)
        about = {
            "settings": dataclasses.asdict(settings),
            "vocab_size": tokenizer.vocab_size,
            "files": [Path(file).name for file in files],
            "statistics": statistics,
        }
        (new / "data.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return statistics


def _held_out(count: int, settings: DataSettings) -> set[int]:
    """Which documents are kept apart: at least two, if any."""
    if settings.held_out == 0:
        return set()
    rng = random.Random(settings.seed)
    order = sorted(range(count), key=lambda _: rng.random())
    return set(order[: max(2, round(settings.held_out * count))])


# ---- What came out ----


def measure(rows: np.ndarray, tokenizer: Tokenizer, block: int = 2**14) -> dict[str, float]:
    """Counts and shares, read off the rows themselves: what the paper asks for can be seen here.

    chosen is the share of ordinary pieces; masked, other and same are shares of the chosen ones;
    random_next and its proofs are shares of the rows.
    """
    total: Counter[str] = Counter()
    ordinary = 0
    special = np.array(sorted(tokenizer.special_ids))
    for start in range(0, len(rows), block):
        part = np.asarray(rows[start : start + block])
        chosen = np.arange(part["places"].shape[1]) < part["chosen"][:, None]
        now = np.take_along_axis(part["ids"], part["places"].astype(np.int64), 1)[chosen]
        before = part["labels"][chosen]
        is_random = part["is_random"].astype(bool)
        same_document = part["documents"][:, 0] == part["documents"][:, 1]
        real = np.arange(part["ids"].shape[1]) < part["pieces"][:, None]
        unknown = int((part["ids"] == tokenizer.unk_id).sum())
        ordinary += int(real.sum()) - 3 * len(part) - unknown
        total += Counter(
            {
                "rows": len(part),
                "pieces": int(real.sum()),
                "full": int((part["pieces"] == part["ids"].shape[1]).sum()),
                "chosen": len(now),
                "masked": int((now == tokenizer.mask_id).sum()),
                "same": int((now == before).sum()),
                "random_next": int(is_random.sum()),
                "random_same_document": int((is_random & same_document).sum()),
                "next_other_document": int((~is_random & ~same_document).sum()),
                "special_chosen": int(np.isin(before, special).sum()),
                "unknown": unknown,
            }
        )
    other = total["chosen"] - total["masked"] - total["same"]
    return {
        "rows": total["rows"],
        "pieces": total["pieces"],
        "pieces_per_row": total["pieces"] / total["rows"],
        "full_rows": total["full"] / total["rows"],
        "unknown": total["unknown"] / total["pieces"],
        "chosen": total["chosen"] / ordinary,
        "chosen_masked": total["masked"] / total["chosen"],
        "chosen_other": other / total["chosen"],
        "chosen_same": total["same"] / total["chosen"],
        "special_chosen": total["special_chosen"],
        "random_next": total["random_next"] / total["rows"],
        "random_from_same_document": total["random_same_document"],
        "next_from_other_document": total["next_other_document"],
    }
