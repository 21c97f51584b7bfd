"""Output files that are written whole or not at all, and JSON files that are what they should be.

What is written goes to a temporary name in the same folder, and takes its real name in one
step when it is complete. A full disk or Ctrl-C leaves the old file as it was.
"""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path; on leaving without an error it becomes `path`.

    Raises OSError, in words, if the folder is missing, may not be written, or the disk is full.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "words.txt"
    >>> with written_whole(target) as temporary:
    ...     _ = temporary.write_text("hello")
    >>> target.read_text()
    'hello'
    """
    path = Path(path)
    check_writable(path)
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(number)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # on the disk before it takes the name: a power cut may follow
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise _in_words(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder; on leaving without an error it becomes the folder `path`.

    `path` must not exist, or be empty: no file of somebody else's is ever overwritten.
    """
    path = Path(path)
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise FileExistsError(f"{path} exists and is not an empty folder: choose a new name")
    check_writable(path)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        for file in temporary.rglob("*"):  # safetensors makes files that only their owner reads
            file.chmod((0o777 if file.is_dir() else 0o666) & ~_umask())
        if path.exists():
            path.rmdir()
        temporary.replace(path)
    except OSError as error:
        raise _in_words(error, path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_writable(path: Path) -> None:
    """Raise OSError now if `path` could not be written later, after the long work."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"cannot write {path}: no permission in the folder {path.parent}")


def read_json(path: str | Path, what: str = "a JSON file", kind: type = dict) -> Any:
    """The content of a JSON file, which must be an object, or a list if `kind` is `list`.

    what  what the file should be, for the error

    Raises FileNotFoundError, or ValueError with the file's name.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not {what}: expected JSON, got {error}") from None
    if not isinstance(content, kind):
        expected = "a JSON object" if kind is dict else "a list"
        raise ValueError(
            f"{path} is not {what}: it must hold {expected}, got a {type(content).__name__}"
        )
    return content


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _in_words(error: OSError, path: Path) -> OSError:
    reasons = {
        errno.ENOSPC: "no space left on the disk; nothing was kept of the new file",
        errno.EISDIR: "it is a folder; name a file in it",
        errno.EACCES: "no permission",
        errno.EROFS: "the disk is read-only",
    }
    if error.errno not in reasons:
        return error
    return type(error)(f"cannot write {path}: {reasons[error.errno]}")
