"""Whatever stops a command, the same command again gives what it would have given at once."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(os.name == "nt", reason="it forks")


@pytest.mark.parametrize(
    "points", [["--total", "14"], pytest.param([], marks=pytest.mark.slow)], ids=["sample", "all"]
)
def test_killed_full_doubled(points):
    """A process of its own, with one thread, because it forks."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.cli.kills", *points],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
