"""Processes and threads: who am I, how many are we, how many processors may we use, am I to stop.

`torchrun` starts one process per device and tells each its number in the environment. Without it
everything here is the plain case: process 0 of 1.

torch counts the processors of the machine. In a container with a share of two of them it would
start sixty-four threads, which then wait for each other.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:  # torch is imported where it is used: `minibert tokenize` does without
    import torch
    from torch import Tensor

Answer = TypeVar("Answer")


# ---- Several processes ----


@contextlib.contextmanager
def join() -> Iterator[torch.device]:
    """Yield the device of this process; inside, the processes of torchrun know each other."""
    import torch
    import torch.distributed as dist

    gpu = torch.cuda.is_available()
    if "RANK" not in os.environ:
        yield torch.device("cuda" if gpu else "cpu")
        return
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if gpu else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def count() -> int:
    """How many processes work together.

    >>> count(), rank()
    (1, 0)
    """
    import torch.distributed as dist

    return dist.get_world_size() if _joined() else int(os.environ.get("WORLD_SIZE", 1))


def rank() -> int:
    """The number of this process among them, from 0. Number 0 writes the files."""
    import torch.distributed as dist

    return dist.get_rank() if _joined() else int(os.environ.get("RANK", 0))


def _joined() -> bool:
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized()


def add_up(values: Tensor) -> Tensor:
    """The sum of all processes' values, in place; the same on all of them afterwards."""
    import torch.distributed as dist

    if _joined():
        dist.all_reduce(values)
    return values


def largest(value: float, device: torch.device) -> float:
    """The largest of all processes' values, the same on all of them."""
    import torch
    import torch.distributed as dist

    if not _joined():
        return value
    values = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(values, dist.ReduceOp.MAX)
    return float(values)


def wait_for_all() -> None:
    """Wait until every process has come this far, however long the slowest takes."""
    import datetime

    import torch.distributed as dist

    if count() > 1:
        if not _joined():
            dist.init_process_group("gloo", timeout=datetime.timedelta(days=30))
        dist.barrier()


# ---- Threads ----


def available_cpus() -> int:
    """How many processors this process may really use: its affinity, and its container's share.

    >>> available_cpus() >= 1
    True
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        share = int(quota) / int(period)  # "max" means no limit, and is no number
    except (OSError, ValueError):
        return cpus or 1
    return max(1, min(cpus or 1, round(share)))


def use_threads(wanted: int | None = None) -> None:
    """Let torch use `wanted` threads; by default its own choice, up to `available_cpus`.

    Raises ValueError for fewer than one.
    """
    import torch

    if wanted is not None and wanted < 1:
        raise ValueError(
            f"expected at least 1 thread, got {wanted}: leave the number out for one a processor"
        )
    torch.set_num_threads(wanted or min(torch.get_num_threads(), available_cpus()))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch uses one thread: tiny tensors are computed faster by one than by several."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


# ---- Strangers' code ----


class Silent(Exception):
    """A process ended, or was ended, before it gave its answer; the message says how and in which
    `step`."""

    def __init__(self, step: str, words: str):
        super().__init__(f"{step}: {words}" if step else words)
        self.step = step


def apart(
    work: Callable[..., Answer], *arguments: Any, seconds: float, in_steps: bool = False
) -> Answer:
    """What `work(*arguments)` gives, computed in a process of its own.

    With `in_steps` the first argument of `work` is a function to be called as each step begins:
    `begin(name)`. Every step has `seconds` of its own, or `begin(name, times)` so many times that.

    Whatever `work` prints goes to standard error. Raises Silent if the process ends without an
    answer, by os._exit() or a crash, or is still silent after `seconds`; it is then killed. The
    message names the step. On Linux the process is a fork; elsewhere `work`, arguments and answer
    must be picklable.

    >>> apart(sum, [1, 2], seconds=60)
    3
    """
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    sys.stdout.flush()  # or a fork would print it once more
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, work, arguments, in_steps), daemon=True)
    process.start()
    theirs.close()
    try:
        step, limit = "", seconds
        deadline = time.monotonic() + limit
        while True:
            # The process is asked, not its sentinel, which a child of its own would keep open.
            alive = process.is_alive()
            if ours.poll(0.05 if alive else 0):
                kind, *values = ours.recv()
                if kind == "answer":
                    return values[0]
                step, limit = values[0], seconds * values[1]
                deadline = time.monotonic() + limit
            elif not alive:
                raise EOFError
            elif time.monotonic() > deadline:
                words = f"it did not end within {limit:g} seconds: is there an endless loop?"
                raise Silent(step, words)
    except EOFError:
        process.join()
        words = f"its process ended in the middle, with exit code {process.exitcode}: look for "
        raise Silent(step, words + "os._exit(), or a crash") from None
    finally:
        process.kill()
        process.join()
        ours.close()


def _answer(
    pipe: Any, work: Callable[..., Any], arguments: tuple[Any, ...], in_steps: bool
) -> None:
    def begin(name: str, times: float = 1) -> None:
        pipe.send(("step", name, times))

    import torch

    torch.set_num_threads(1)  # a fork has none of the threads that OpenMP would wait for
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # at Ctrl-C the caller ends this process
    sys.stdout = sys.stderr
    os.dup2(2, 1)
    pipe.send(("answer", work(*([begin] if in_steps else []), *arguments)))


# ---- Signals ----


STOP_SIGNALS = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


class Stop(KeyboardInterrupt):
    """Somebody asked the process to end, by the signal whose number is the argument."""


@contextlib.contextmanager
def stop_signals() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP raise Stop as Ctrl-C raises KeyboardInterrupt, so that what is
    being written is kept or removed. A signal that is ignored, as under nohup, stays so."""

    def stop(number: int, frame: object) -> None:
        leave_terminal(number)
        raise Stop(number)

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():  # no other thread may
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_terminal(number: int) -> None:
    """After SIGHUP the terminal is gone: what is written there goes nowhere instead of failing."""
    for stream in (1, 2):
        if number == getattr(signal, "SIGHUP", None) and os.isatty(stream):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
