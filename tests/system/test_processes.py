"""Who am I among the processes; no more threads than the processors that a container may use."""

import os
from pathlib import Path

import pytest
import torch

from minibert.system import processes
from minibert.system.processes import available_cpus, count, one_thread, rank, use_threads


@pytest.fixture
def kept():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "share, count",
    [("max 100000", 8), ("250000 100000", 2), ("10000 100000", 1), ("9900000 100000", 8)],
)
def test_a_containers_share_is_read(monkeypatch, share, count):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(8), raising=False)
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: share + "\n")
    assert available_cpus() == count


def test_without_such_a_share_the_affinity_counts(monkeypatch):
    def absent(path, encoding):
        raise FileNotFoundError

    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 7}, raising=False)
    monkeypatch.setattr(Path, "read_text", absent)
    assert available_cpus() == 3


def test_torchs_choice_is_lowered_and_never_raised(monkeypatch, kept):
    monkeypatch.setattr(processes, "available_cpus", lambda: 2)
    for chosen, expected in ((6, 2), (1, 1)):
        torch.set_num_threads(chosen)
        use_threads()
        assert torch.get_num_threads() == expected
    use_threads(3)
    assert torch.get_num_threads() == 3
    with pytest.raises(ValueError, match="at least 1 thread, got 0"):
        use_threads(0)


def test_one_thread_inside_and_as_many_as_before_afterwards(kept):
    torch.set_num_threads(3)
    with pytest.raises(KeyError), one_thread():
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == 3


def test_torchrun_tells_each_process_its_number(monkeypatch):
    assert (rank(), count()) == (0, 1)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert (rank(), count()) == (2, 4)
