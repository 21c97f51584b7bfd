"""The lines of a text file, a chunk at a time, each line with its number."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


def decode_line(line: bytes, number: int, errors: str) -> str:
    """One line without its end. Raises ValueError that names the line if it is not UTF-8."""
    try:
        text = line.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"line {number} is not UTF-8 text: byte {line[error.start]:#04x} at place "
            f'{error.start} of the line. Convert the file, or set errors="replace"'
        ) from None
    if number == 1:
        text = text.removeprefix("\ufeff")
    return text.removesuffix("\n").removesuffix("\r")


def survey(source: Path, errors: str) -> int:
    """How many lines there are. Raises ValueError if there are none, if one is not UTF-8, or if
    the source cannot be read a second time."""
    if source.exists() and not source.is_file():
        raise ValueError(
            f"expected a plain file, which can be read twice, got {source}: a pipe, a device or a "
            f"folder. Write the texts to a file first; on the command line, - is standard input"
        )
    count = 0
    with source.open("rb") as file:
        for count, line in enumerate(file, 1):
            decode_line(line, count, errors)
    if not count:
        raise ValueError(f"{source} is empty: expected one text a line")
    return count


class Chunk(NamedTuple):
    number: int
    first: int  # line number of the first text, from 0
    texts: list[str]
    digest: str  # of the file up to the end of this chunk


def read_chunks(source: Path, size: int, errors: str) -> Iterator[Chunk]:
    """The file's lines, `size` at a time, with a digest of all that was read so far."""
    running = hashlib.blake2b(digest_size=16)
    texts: list[str] = []
    number = 0
    with source.open("rb") as file:
        for count, line in enumerate(file, 1):
            running.update(line)
            texts.append(decode_line(line, count, errors))
            if len(texts) == size:
                yield Chunk(number, number * size, texts, running.hexdigest())
                number, texts = number + 1, []
    if texts:
        yield Chunk(number, number * size, texts, running.hexdigest())
