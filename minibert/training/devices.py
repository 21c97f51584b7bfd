"""One process or several: who am I, which device is mine, what do all of us have together.

`torchrun` starts one process per device and tells each its number in the environment. Without it
everything here is the plain case: process 0 of 1.
"""

import contextlib
import os
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor


@contextlib.contextmanager
def join() -> Iterator[torch.device]:
    """Yield the device of this process; inside, the processes of torchrun know each other."""
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
    """How many processes train together.

    >>> count(), rank()
    (1, 0)
    """
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process among them, from 0. Number 0 writes the files."""
    return dist.get_rank() if dist.is_initialized() else 0


def add_up(values: Tensor) -> Tensor:
    """The sum of all processes' values, in place; the same on all of them afterwards."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def largest(values: Tensor) -> Tensor:
    """The largest of all processes' values, in place; the same on all of them afterwards."""
    if dist.is_initialized():
        dist.all_reduce(values, dist.ReduceOp.MAX)
    return values
