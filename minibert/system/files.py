"""Output files that are written whole or not at all, and JSON files that are what they should be.

What is written goes to a temporary name in the same folder, `.NAME.minibert.part`, and takes its
real name in one step when it is complete. A full disk or Ctrl-C leaves the old file as it was.

While it is written the temporary name is locked, so that a second process with the same target is
refused. The system takes the lock from a process that is killed: whoever comes next uses the name.
"""

import contextlib
import errno
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # on Windows: there nothing is locked
    fcntl = None  # type: ignore[assignment]

REASONS = {
    errno.ENOSPC: "no space left on the disk; nothing was kept of the new file",
    errno.EDQUOT: "your share of the disk is used up; nothing was kept of the new file",
    errno.EFBIG: "the file is larger than this system lets it be; nothing was kept of it",
    errno.EISDIR: "it is a folder; name a file in it",
    errno.EACCES: "no permission",
    errno.EROFS: "the disk is read-only",
}


@contextmanager
def written_whole(path: str | Path, inputs: Iterable[str | Path] = ()) -> Iterator[Path]:
    """Yield a temporary path; on leaving without an error it becomes `path`.

    inputs  files that are read for it, none of which it may replace

    Raises OSError, in words, if `path` may not be written (`check_writable`), another process
    writes it, or the disk is full.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "words.txt"
    >>> with written_whole(target) as temporary:
    ...     _ = temporary.write_text("hello")
    >>> target.read_text()
    'hello'
    """
    path = check_writable(path, inputs)
    temporary = _part_of(path)
    with _in_words(path, temporary), locked(temporary, path):
        try:
            os.truncate(temporary, 0)  # what a killed process left
            mode = stat.S_IMODE(temporary.stat().st_mode)
            yield temporary
            _complete(temporary, mode)
            temporary.replace(path)
        except BaseException:  # once it is renamed the name may be another process'
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def folder_written_whole(path: str | Path, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder; on leaving without an error it becomes the folder `path`.

    `path` must not exist, or be empty: no file of somebody else's is ever overwritten. With
    `replace`, the new files go into the old folder, each in the place of an older one in one step.
    Raises OSError as `written_whole` does.
    """
    path = _check_folder(Path(path), replace)
    temporary = _part_of(path)
    with _in_words(path, temporary), locked(temporary, path, folder=True):
        try:
            _check_folder(path, replace)  # again: who had the lock may have filled it
            for left in temporary.iterdir():  # by a killed process
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            yield temporary
            mode = stat.S_IMODE(temporary.stat().st_mode)
            for file in temporary.rglob("*"):
                _complete(file, mode)
            if replace and path.exists():
                for file in sorted(temporary.rglob("*")):
                    goal = path / file.relative_to(temporary)
                    goal.mkdir(exist_ok=True) if file.is_dir() else file.replace(goal)
                shutil.rmtree(temporary, ignore_errors=True)
            else:
                with contextlib.suppress(FileNotFoundError):
                    path.rmdir()
                temporary.replace(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def check_writable(path: str | Path, inputs: Iterable[str | Path] = ()) -> Path:
    """Raise OSError now if `path` could not be written later, after the long work, or if it is one
    of the `inputs`. Gives the path behind links: a link stays, and what it leads to is written."""
    real = Path(os.path.realpath(path))
    if real.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder; name a file in it")
    if Path(path).exists() and not Path(path).is_file():
        raise OSError(f"cannot write {path}: it is a pipe or a device; name a plain file")
    if real.exists() and any(Path(name).exists() and real.samefile(name) for name in inputs):
        raise FileExistsError(
            f"cannot write {path}: it is also read, and would be lost; choose another name"
        )
    _check_parent(path, real)
    return real


def _check_folder(path: Path, replace: bool) -> Path:
    """As `check_writable`, for a folder."""
    real = Path(os.path.realpath(path))
    if real.exists() and not (real.is_dir() and (replace or not any(real.iterdir()))):
        raise FileExistsError(f"{path} exists and is not an empty folder: choose a new name")
    if real.exists() and not replace and (real.samefile(".") or real.is_mount()):
        kind = "the folder you are in" if real.samefile(".") else "a disk of its own"
        raise FileExistsError(
            f"cannot write {path}: it is {kind}, and cannot be replaced; name a new folder in it"
        )
    _check_parent(path, real)
    return real


def _check_parent(path: str | Path, real: Path) -> None:
    if not real.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {real.parent} does not exist")
    if not os.access(real.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"cannot write {path}: no permission in the folder {real.parent}")


@contextmanager
def locked(path: Path, target: Path, folder: bool = False) -> Iterator[None]:
    """Inside, the file or folder `path`, made if it is not there, belongs to this process alone.

    Raises BlockingIOError that names the `target` if it belongs to another one. Disks that know no
    locks, as some in networks, are not locked.
    """
    if fcntl is None:
        path.mkdir(exist_ok=True) if folder else path.touch()
        yield
        return
    descriptor = _lock(path, target, folder)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(path: Path, target: Path, folder: bool) -> int:
    while True:
        if folder:
            path.mkdir(exist_ok=True)
        flags = os.O_RDONLY if folder else os.O_RDWR | os.O_CREAT
        try:
            descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:  # the one who had it is done, and has just renamed it
            if not path.parent.is_dir():
                raise
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:  # renamed between the two steps
            pass
        except BlockingIOError:
            os.close(descriptor)
            raise _busy(target) from None
        except OSError:
            return descriptor
        os.close(descriptor)


def check_unlocked(path: Path) -> None:
    """Raise BlockingIOError if another process holds the file `path`: it has just renamed what it
    wrote, and is not done yet."""
    if fcntl is None or not path.is_file():
        return
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy(path) from None
        except OSError:  # a disk that knows no locks
            return


def _busy(target: Path) -> BlockingIOError:
    return BlockingIOError(
        f"another process is writing {target}: wait until it is done, stop it, or choose another "
        "name"
    )


def read_json(path: str | Path, what: str = "a JSON file", kind: type = dict) -> Any:
    """The content of a JSON file, which must be an object, or a list if `kind` is `list`.

    what  what the file should be, for the error

    Raises FileNotFoundError, or ValueError with the file's name.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not {what}: expected JSON, got {error}") from None
    if not isinstance(content, kind):
        expected = "a JSON object" if kind is dict else "a list"
        raise ValueError(
            f"{path} is not {what}: it must hold {expected}, got a {type(content).__name__}"
        )
    return content


def write_json(path: Path, content: Any) -> None:
    """Indented, and in ASCII."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


Kinds = tuple[str, tuple[type, ...], Sequence[str]]


def check_kinds(path: str | Path, content: Mapping[str, Any], kinds: Iterable[Kinds]) -> None:
    """Raise ValueError for a key of another kind than it must be; null says nothing.

    kinds  what it must be, in words; as types; the keys
    """
    for expected, types, keys in kinds:
        for key in keys:
            value = content.get(key)
            if value is not None and type(value) not in types:
                raise ValueError(
                    f"{path}: expected {key} to be {expected}, got {value!r:.60}. "
                    "Correct the file, or get it again."
                )


def _part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.minibert.part")


def _complete(path: Path, mode: int) -> None:
    """On the disk, since a power cut may follow, and readable for all who may read new files:
    `mode` is that of the temporary file or folder, safetensors gives its files another."""
    if path.is_file():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    path.chmod(mode if path.is_dir() else mode & 0o666)


@contextmanager
def _in_words(path: Path, temporary: Path) -> Iterator[None]:
    """What the system says of the output, in words; what it says of other files goes by."""
    try:
        yield
    except OSError as error:
        named = str(error.filename or temporary)
        if error.errno not in REASONS or not named.startswith(str(temporary)):
            raise
        raise type(error)(f"cannot write {path}: {REASONS[error.errno]}") from error
