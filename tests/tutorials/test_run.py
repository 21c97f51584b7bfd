"""`python -m tutorials.run`: a chapter's cells, then its names at a prompt."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytest.importorskip("IPython", reason="IPython is absent")


def run(typed: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tutorials.run", *arguments]
    return subprocess.run(command, input=typed, cwd=ROOT, capture_output=True, text=True)


def test_the_cells_run_and_their_names_are_there():
    """A name of the chapter, typed at the prompt."""
    done = run("text.upper()\n", "01")
    assert done.returncode == 0 and "Your turn" in done.stdout, done.stderr
    assert done.stdout.index("---- line") < done.stdout.index("Your turn")
    assert "RIVER-BANK" in done.stdout.partition("Your turn")[2]


def test_no_such_chapter_is_said():
    done = run("", "99")
    assert done.returncode == 1 and "expected a chapter, got '99'" in done.stderr
