"""Text files line by line, as UTF-8; an error names the file and the line.

A line ends at a line feed and nowhere else. A carriage return before it is dropped, and so is the
byte-order mark that some editors put before the first line.
"""

import hashlib
import io
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple


def print_any_text() -> None:
    """From now on standard output writes what its encoding lacks as an escape, such as \\u4e2d.

    The consoles of Windows are often not UTF-8. For the programs, not for the library.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def decode_lines(lines: Iterable[bytes], name: str | Path, errors: str = "strict") -> Iterator[str]:
    """The lines of an open file, as texts without their ends.

    name    what the lines come from, for the error
    errors  "strict" refuses bytes that are not UTF-8; "replace" reads each as U+FFFD

    Raises ValueError that names the line if it is not UTF-8.

    >>> list(decode_lines([b"one\\r\\n", b"two"], "words.txt"))
    ['one', 'two']
    """
    for number, line in enumerate(lines, 1):
        yield decode_line(line, number, name, errors)


def decode_line(line: bytes, number: int, name: str | Path, errors: str = "strict") -> str:
    """One line, whose number counts from 1, as `decode_lines` gives it."""
    try:
        text = line.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name}, line {number}: expected UTF-8 text, got byte {line[error.start]:#04x} at "
            f"position {error.start}, which is not UTF-8. Convert the file first; --errors "
            f'replace (errors="replace"), where there is this option, reads it as U+FFFD'
        ) from None
    if number == 1:
        text = text.removeprefix("\ufeff")
    return text.removesuffix("\n").removesuffix("\r")


def read_lines(path: str | Path, errors: str = "strict") -> Iterator[str]:
    """The lines of a file, as `decode_lines` gives them."""
    with Path(path).open("rb") as file:
        yield from decode_lines(file, path, errors)


def check_plain(source: Path) -> None:
    """Raise ValueError for a pipe, a device or a folder."""
    if source.exists() and not source.is_file():
        raise ValueError(
            f"expected a plain file, which can be read twice, got {source}: a pipe, a device or a "
            f"folder. Write the texts to a file first; on the command line, - is standard input"
        )


def count_lines(source: Path, errors: str) -> int:
    """How many lines there are. Raises ValueError if there are none, if one is not UTF-8, or if
    the source cannot be read a second time."""
    check_plain(source)
    count = sum(1 for _ in read_lines(source, errors))
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
            texts.append(decode_line(line, count, source, errors))
            if len(texts) == size:
                yield Chunk(number, number * size, texts, running.hexdigest())
                number, texts = number + 1, []
    if texts:
        yield Chunk(number, number * size, texts, running.hexdigest())
