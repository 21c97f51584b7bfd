"""Who am I among the processes; no more threads than the processors that a container may use."""

import os
import time
from pathlib import Path

import pytest
import torch

from minibert.system import processes
from minibert.system.processes import (
    Silent,
    apart,
    available_cpus,
    count,
    one_thread,
    rank,
    use_threads,
)


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


def test_work_apart_may_compute_after_its_caller_did(kept):
    """As from a notebook: OpenMP's threads are not there in a fork, and would be waited for."""
    numbers = torch.randn(2_000_000)
    torch.set_num_threads(2)
    expected = _sum_of_exponentials(numbers)
    assert apart(_sum_of_exponentials, numbers, seconds=30) == pytest.approx(expected)


def _sum_of_exponentials(numbers):
    return torch.exp(numbers).sum().item()


def test_work_apart_gives_its_answer_or_says_that_there_is_none():
    assert apart(divmod, 7, 2, seconds=60) == (3, 1)
    with pytest.raises(Silent, match="exit code 3"):
        apart(os._exit, 3, seconds=60)
    with pytest.raises(Silent, match=r"within 0\.5 seconds"):
        apart(time.sleep, 600, seconds=0.5)


def test_an_answer_larger_than_a_pipe_arrives():
    assert apart(bytes, 3_000_000, seconds=60) == bytes(3_000_000)


def grandchild():
    if os.fork() == 0:
        os.closerange(0, 3)  # who reads what the tests print need not wait
        time.sleep(100)
    os._exit(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_process_that_ends_but_for_a_child_of_its_own_is_not_waited_for():
    start = time.monotonic()
    with pytest.raises(Silent, match="exit code 0"):
        apart(grandchild, seconds=300)
    assert time.monotonic() - start < 90
