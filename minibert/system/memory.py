"""Memory that is quick to reach: kept from one pass to the next, and on large pages.

Neither changes a number. A forward pass takes and frees hundreds of large tensors; glibc gives
such memory back to the system at once, and the system clears every page before it hands it out
again. And the weights of bert-base lie on 83,000 pages of 4 kB; finding where each of them is
takes a short text a quarter of its time. Linux can put them on 170 pages of 2 MB instead.

Both are requests to the C library and to Linux, and both hold for the whole process: memory that
was used once stays with it until it ends. Where a request is not understood, nothing happens.

Source: mallopt(3), madvise(2).
"""

import contextlib
import ctypes
import re
from pathlib import Path

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # malloc.h
WILL_BE_HUGE, COLLAPSE = 14, 25  # sys/mman.h: MADV_HUGEPAGE, and MADV_COLLAPSE since Linux 6.1
LARGE_PAGE = 2**21
WORTHWHILE = 4 * LARGE_PAGE


def keep_memory() -> None:
    """Ask glibc to keep freed memory for the next tensor instead of giving it back."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(MMAP_MAX, 0)
        libc.mallopt(TRIM_THRESHOLD, 2**31 - 1)


def use_large_pages() -> None:
    """Ask Linux to move what this process holds in large blocks onto large pages, now."""
    with contextlib.suppress(OSError, AttributeError):
        advise = ctypes.CDLL("libc.so.6").madvise
        # It names every mapped file, and a file's name may hold any bytes.
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
        for start, end in large_blocks(maps):
            first = -(-start // LARGE_PAGE) * LARGE_PAGE
            length = ctypes.c_size_t((end - first) // LARGE_PAGE * LARGE_PAGE)
            for advice in (WILL_BE_HUGE, COLLAPSE):
                advise(ctypes.c_void_p(first), length, advice)


def large_blocks(maps: str) -> list[tuple[int, int]]:
    """(start, end) of the large private blocks that belong to no file, from /proc/self/maps.

    >>> large_blocks("7f0000000000-7f0002000000 rw-p 00000000 00:00 0 \\n"
    ...              "7f0003000000-7f0005000000 r--p 00000000 fe:00 77  /weights\\n"
    ...              "7f0006000000-7f0006001000 rw-p 00000000 00:00 0 \\n")
    [(139637976727552, 139638010281984)]
    """
    line = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) rw-p 0+ 00:00 0 *(?:\[heap\])? *$", re.MULTILINE)
    blocks = [(int(start, 16), int(end, 16)) for start, end in line.findall(maps)]
    return [(start, end) for start, end in blocks if end - start >= WORTHWHILE]
