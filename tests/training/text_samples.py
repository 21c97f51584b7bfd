"""Text for the tests of training: small documents that tell themselves apart, and real text."""

import lzma
from pathlib import Path
from typing import Any

from minibert.tokenizer.tokenizer import Tokenizer
from minibert.training.prepare import prepare
from minibert.training.settings import DataSettings
from minibert.training.wordpiece_trainer import count_words, train_vocabulary


def read_start(path: Path, characters: int) -> list[str]:
    """The lines of the first `characters` of an .xz file."""
    with lzma.open(path, "rt", encoding="utf-8", newline="\n") as file:
        return file.read(characters).split("\n")


# Each document has words of its own, so a segment tells where it comes from.
DOCUMENTS = [
    [
        f"{letter}{letter} " * (3 + (7 * line) % 9) + f"{letter}q. " + f"{letter}w {letter}e done."
        for line in range(12)
    ]
    for letter in "abcdefgh"
]
TEXT = "\n\n".join("\n".join(document) for document in DOCUMENTS)


def prepared(folder: Path, **settings: Any) -> Path:
    """`DOCUMENTS` as examples, in the new folder `folder / "data"`."""
    tokenizer = Tokenizer(train_vocabulary(count_words(TEXT.split("\n")), 61))
    (folder / "text.txt").write_text(TEXT)
    chosen = DataSettings(**{"length": 16, "held_out": 0.3, "duplicates": 2, **settings})
    prepare([folder / "text.txt"], tokenizer, folder / "data", chosen)
    return folder / "data"
