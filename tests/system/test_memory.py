"""memory.py: the request to the system is seen to be granted, in a process of their own."""

import subprocess
import sys

import pytest

REPORT = """
import resource, torch
from minibert.system.memory import keep_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(8 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
"""


def run(code: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", REPORT + code], capture_output=True, text=True, check=True
    )
    return [int(number) for number in done.stdout.split()]


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is of glibc, on Linux")
def test_kept_memory_is_not_cleared_again():
    without, with_ = run("print(faults()); keep_memory(); faults(); print(faults())")
    assert with_ < without / 5


def test_where_the_request_is_not_understood_nothing_happens(monkeypatch):
    import ctypes

    from minibert.system.memory import keep_memory

    def absent(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", absent)
    keep_memory()
