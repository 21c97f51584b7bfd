"""files.py: what is written appears whole, or not at all."""

import errno
import os
from pathlib import Path

import pytest

from minibert.system.files import check_writable, folder_written_whole, read_json, written_whole


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
