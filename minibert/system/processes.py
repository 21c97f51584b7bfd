"""As many threads as there are processors for this process.

torch counts the processors of the machine. In a container with a share of two of them it would
start sixty-four threads, which then wait for each other.
"""

import os
from pathlib import Path


def available_cpus() -> int:
    """How many processors this process may really use: its affinity, and its container's share.

    >>> available_cpus() >= 1
    True
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        share = int(quota) / int(period)  # "max" means no limit, and is no number
    except (OSError, ValueError):
        return count or 1
    return max(1, min(count or 1, round(share)))


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
