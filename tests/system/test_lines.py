"""lines.py: one reader of lines, whatever stands in the file."""

import os
import subprocess
import sys

import pytest

from minibert.system.lines import read_lines


def test_lines_end_at_line_feeds_alone(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes("\ufeffone\x0bstill\u2028one\r\n\ntwo\r".encode())
    assert list(read_lines(path)) == ["one\x0bstill\u2028one", "", "two"]


def test_the_error_names_the_file_and_the_line(tmp_path):
    path = tmp_path / "latin1.txt"
    path.write_bytes(b"one\nZo\xeb\n")
    with pytest.raises(ValueError, match="latin1.txt, line 2: .* byte 0xeb at position 2"):
        list(read_lines(path))
    assert list(read_lines(path, "replace")) == ["one", "Zo\ufffd"]


@pytest.mark.parametrize("encoding", ["cp1252", "gbk", "ascii", "utf-8"])
def test_any_text_on_any_console(encoding):
    text = "naïve → 中 😀"
    code = (
        "from minibert.system.lines import print_any_text as f; import sys; f(); print(sys.argv[1])"
    )
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-c", code, text]
    done = subprocess.run(command, env=env, capture_output=True, check=True)
    shown = done.stdout.decode(encoding).rstrip("\r\n")
    assert shown == text.encode(encoding, "backslashreplace").decode(encoding)
