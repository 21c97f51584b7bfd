"""files.py: what is written appears whole, or not at all, and by one process at a time."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minibert.system.files import check_writable, folder_written_whole, read_json, written_whole
from tests.conftest import ROOT


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError, MemoryError])
def test_an_interruption_leaves_the_old_file(tmp_path, stop):
    path = tmp_path / "vectors.npy"
    path.write_text("old")
    with pytest.raises(stop), written_whole(path) as temporary:
        temporary.write_text("half of the n")
        raise stop
    assert path.read_text() == "old"
    assert names(tmp_path) == ["vectors.npy"]


def test_a_full_disk(tmp_path):
    path = tmp_path / "vectors.npy"
    with (
        pytest.raises(OSError, match="no space left on the disk"),
        written_whole(path) as temporary,
    ):
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert names(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_really_full_device(tmp_path):
    full = Path("/dev/full")
    with pytest.raises(OSError, match="no space"), written_whole(tmp_path / "x"):
        full.write_text("x")


def test_where_nothing_can_be_written(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="the folder .*nowhere does not exist"):
        check_writable(tmp_path / "nowhere" / "x")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="no permission in the folder"):
        check_writable(tmp_path / "x")


def test_a_folder_in_place_of_the_file(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(OSError, match="it is a folder"), written_whole(tmp_path / "x") as temporary:
        temporary.write_text("new")


posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such links and locks")


@posix
@pytest.mark.parametrize("write", [written_whole, folder_written_whole])
def test_one_process_at_a_time(tmp_path, write):
    """And within a process one thread: the second is refused, and disturbs nothing."""
    with write(tmp_path / "x") as first:
        with pytest.raises(BlockingIOError, match="another process is writing .*x: wait"):
            write(tmp_path / "x").__enter__()
        assert first.exists()
    assert names(tmp_path) == ["x"]


KILLED = """
import os, sys
from pathlib import Path
from minibert.system.files import folder_written_whole, written_whole
target = Path(sys.argv[1])
with written_whole(target / "file") as new, folder_written_whole(target / "f") as folder:
    new.write_text("half")
    (folder / "inside").mkdir()
    (folder / "inside" / "half").touch()
    os._exit(1)
"""


def test_what_a_killed_process_left_is_used(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT)
    assert len(names(tmp_path)) == 2
    with written_whole(tmp_path / "file"), folder_written_whole(tmp_path / "f") as folder:
        assert not names(folder)
    assert names(tmp_path) == ["f", "file"] and not (tmp_path / "file").read_text()


@posix
def test_through_links(tmp_path):
    """A link stays a link, and what it leads to is written, there or not."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "old").write_text("old")
    for name, target in [("a", "empty"), ("b", "new"), ("c", "old"), ("d", "absent")]:
        (tmp_path / name).symlink_to(tmp_path / target)
    for name in "ab":
        with folder_written_whole(tmp_path / name) as folder:
            (folder / "x").touch()
    for name in "cd":
        with written_whole(tmp_path / name) as file:
            file.write_text("new")
    assert all((tmp_path / name).is_symlink() for name in "abcd")
    assert names(tmp_path / "empty") == names(tmp_path / "new") == ["x"]
    assert (tmp_path / "old").read_text() == (tmp_path / "absent").read_text() == "new"
    (tmp_path / "e").symlink_to(tmp_path / "no" / "folder")
    with pytest.raises(FileNotFoundError, match="the folder .*no does not exist"):
        check_writable(tmp_path / "e")


def test_the_folder_one_is_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (".", tmp_path, "../" + tmp_path.name):
        with pytest.raises(FileExistsError, match="it is the folder you are in"):
            folder_written_whole(name).__enter__()
    for name in ("", "."):
        with pytest.raises(IsADirectoryError, match="name a file in it"):
            written_whole(name).__enter__()
    assert not names(tmp_path)


@posix
def test_devices_pipes_and_inputs_stay(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("/dev/null", tmp_path / "pipe"):
        with pytest.raises(OSError, match="it is a pipe or a device"):
            written_whole(name).__enter__()
    (tmp_path / "corpus").write_text("text")
    (tmp_path / "link").symlink_to("corpus")
    (tmp_path / "hard").hardlink_to(tmp_path / "corpus")
    for name in ("corpus", "link", "hard", f"../{tmp_path.name}/corpus"):
        with pytest.raises(FileExistsError, match="it is also read, and would be lost"):
            written_whole(tmp_path / name, ["absent", tmp_path / "corpus"]).__enter__()
    assert (tmp_path / "corpus").read_text() == "text"


def test_an_error_of_another_file_is_not_blamed_on_the_output(tmp_path):
    with pytest.raises(IsADirectoryError) as caught, written_whole(tmp_path / "out"):
        tmp_path.open()
    assert caught.value.filename == str(tmp_path)


def test_a_file_larger_than_the_system_allows(tmp_path):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        words = "cannot write .*out: the file is larger than"
        with pytest.raises(OSError, match=words), written_whole(tmp_path / "out") as file:
            file.write_bytes(bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not names(tmp_path)


def test_a_folder_that_is_filled_meanwhile(tmp_path):
    """By a process that was done between the check and the lock, or by hand."""
    with folder_written_whole(tmp_path / "model", replace=True) as folder:
        (folder / "weights").write_text("1")
    (tmp_path / "model" / "own").write_text("of the user")
    with folder_written_whole(tmp_path / "model", replace=True) as folder:
        (folder / "weights").write_text("2")
    assert names(tmp_path / "model") == ["own", "weights"] and names(tmp_path) == ["model"]
    assert (tmp_path / "model" / "weights").read_text() == "2"


def test_permissions_are_those_of_other_files(tmp_path):
    with written_whole(tmp_path / "new") as temporary:
        temporary.write_text("x")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_folders(tmp_path):
    with folder_written_whole(tmp_path / "model") as folder:
        (folder / "config.json").write_text("{}")
        assert not (tmp_path / "model").exists()
    assert names(tmp_path / "model") == ["config.json"]
    with pytest.raises(FileExistsError), folder_written_whole(tmp_path / "model"):
        pass
    (tmp_path / "empty").mkdir()
    with pytest.raises(KeyboardInterrupt), folder_written_whole(tmp_path / "empty") as folder:
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt
    assert names(tmp_path / "empty") == []
    assert names(tmp_path) == ["empty", "model"]


def test_all_files_of_a_folder_have_the_usual_permissions(tmp_path):
    before = os.umask(0o022)
    try:
        with folder_written_whole(tmp_path / "model") as folder:
            (folder / "inside").mkdir(mode=0o700)
            (folder / "inside" / "weights").touch(mode=0o600)
    finally:
        os.umask(before)
    model = tmp_path / "model"
    modes = [oct(path.stat().st_mode & 0o777) for path in (model, *sorted(model.rglob("*")))]
    assert modes == ["0o755", "0o755", "0o644"]


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "settings.json is not a table of settings: expected JSON"),
        ("[" * 100_000, "settings.json is not a table of settings: expected JSON"),
        ("[]", "must hold a JSON object, got a list"),
    ],
)
def test_a_json_file_that_is_none(tmp_path, content, message):
    path = tmp_path / "settings.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_json(path, "a table of settings")
    path.write_text('["a"]')
    assert read_json(path, kind=list) == ["a"]


@pytest.mark.parametrize("folder", [False, True])
def test_what_another_process_begins_after_the_renaming_stays(tmp_path, monkeypatch, folder):
    rename, begun = Path.replace, []

    def and_another_begins(path, target):
        rename(path, target)
        path.mkdir() if folder else path.touch()
        begun.append(path)

    monkeypatch.setattr(Path, "replace", and_another_begins)
    with (folder_written_whole if folder else written_whole)(tmp_path / "out") as temporary:
        (temporary / "config.json" if folder else temporary).write_text("{}")
    assert begun and all(path.exists() for path in begun)
