"""memory.py: requests to the system are seen to be granted, in a process of their own."""

import mmap
import subprocess
import sys
from pathlib import Path

import pytest

HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
REPORT = """
import re, resource, torch
from pathlib import Path
from minibert.system.memory import keep_memory, use_large_pages
def huge():
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return int(re.search(r"AnonHugePages: +([0-9]+)", rollup)[1])
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


@pytest.mark.skipif(
    not HUGE.is_file() or "[never]" in HUGE.read_text(), reason="no large pages on this system"
)
def test_large_blocks_move_to_large_pages_and_keep_their_numbers():
    code = """
weights = torch.arange(32 << 20)
before = huge()
use_large_pages()
print(before // 1024, huge() // 1024, int((weights == torch.arange(32 << 20)).all()))
"""
    before, after, same = run(code)
    assert same == 1
    if after == before == 0:
        pytest.skip("this kernel moves nothing on request (before Linux 6.1)")
    assert after - before > 200 or before > 200  # of 256 megabytes


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/maps is of Linux")
def test_a_mapped_file_may_have_any_name(tmp_path, monkeypatch):
    from minibert.system import memory

    path = tmp_path / "gewichte-für-é.bin"
    path.write_bytes(bytes(4096))
    seen = []
    monkeypatch.setattr(memory, "large_blocks", lambda maps: seen.append(maps) or [])
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0):
        memory.use_large_pages()
    assert path.name in seen[0]


def test_where_the_requests_are_not_understood_nothing_happens(monkeypatch):
    import ctypes

    from minibert.system.memory import keep_memory, use_large_pages

    def absent(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", absent)
    keep_memory()
    use_large_pages()
