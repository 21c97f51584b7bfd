"""Memory that is kept from one pass to the next. It changes no number.

A forward pass takes and frees hundreds of large tensors. glibc gives such memory back to the
system at once, and the system clears every page before it hands it out again.

The request holds for the whole process: memory that was used once stays with it until it ends. So
a program may make it, and the library does not. Where it is not understood, nothing happens.

Source: mallopt(3).
"""

import contextlib
import ctypes

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # malloc.h


def keep_memory() -> None:
    """Ask glibc to keep freed memory for the next tensor instead of giving it back."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(MMAP_MAX, 0)
        libc.mallopt(TRIM_THRESHOLD, 2**31 - 1)
