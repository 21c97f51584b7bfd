"""What is kept of texts that are too long: as Hugging Face `tokenizers` decides it.

Google's original pops one piece after the other off the longer text, with slightly other results.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def truncated_lengths(lengths: Sequence[int], room: int, strategy: str) -> list[int]:
    """How many pieces of one text, or of each of two, are kept when `room` are allowed in all.

    "longest_first" shortens the longer text to the other's length, then both alike; of an odd
    number the second keeps one more, or the first if it is the longer one. "only_first" and
    "only_second" leave the other text whole.

    >>> truncated_lengths([10, 4], 9, "longest_first")
    [5, 4]
    >>> truncated_lengths([10, 10], 9, "longest_first")
    [4, 5]
    >>> truncated_lengths([10, 4], 9, "only_second")
    Traceback (most recent call last):
      ...
    ValueError: expected a second text of more than the 5 pieces that have to go, got 4. ...
    """
    excess = sum(lengths) - room
    if excess <= 0:
        return list(lengths)
    if strategy == "only_second" and len(lengths) == 1:
        raise ValueError('truncation="only_second" expected pairs of texts, got single texts.')
    if room == 0:
        return [0] * len(lengths)
    if strategy == "longest_first":
        if len(lengths) == 1:
            return [room]
        short = min(lengths)
        long = short if short > room else max(short, room - short)
        if short + long > room:
            short, long = room // 2, room - room // 2
        return [long, short] if lengths[0] > lengths[1] else [short, long]
    which = ["only_first", "only_second"].index(strategy)
    if lengths[which] <= excess:
        raise ValueError(
            f"expected a {('first', 'second')[which]} text of more than the {excess} pieces that "
            f'have to go, got {lengths[which]}. Use truncation="longest_first" or a larger '
            "max_length."
        )
    shortened = list(lengths)
    shortened[which] -= excess
    return shortened


def windows(length: int, size: int, stride: int, side: str) -> list[range]:
    """Ranges of at most `size` that cover `length`, neighbours sharing `stride` positions.

    >>> windows(7, 4, 2, "right")
    [range(0, 4), range(2, 6), range(4, 7)]
    >>> windows(7, 4, 2, "left")
    [range(3, 7), range(1, 5), range(0, 3)]
    """
    if length <= size:
        return [range(length)]
    if stride >= size:
        raise ValueError(
            f"expected a stride below the {size} pieces that a window holds, got {stride}. "
            "Use a smaller stride or a larger max_length."
        )
    count = 1 + math.ceil((length - size) / (size - stride))
    starts = [number * (size - stride) for number in range(count)]
    ranges = [range(start, min(start + size, length)) for start in starts]
    if side == "left":
        ranges = [range(length - part.stop, length - part.start) for part in ranges]
    return ranges


def cut(
    lengths: Sequence[int], room: int, strategy: str, stride: int, side: str, *, windowed: bool
) -> list[tuple[range, ...]]:
    """The parts of a text, or of two, that stand in rows: the kept ones, then those cut off.

    >>> cut([5, 2], 5, "longest_first", 0, "right", windowed=True)
    [(range(0, 3), range(0, 2)), (range(3, 5), range(0, 2))]
    """
    sizes = truncated_lengths(lengths, room, strategy)
    if not windowed:
        pairs = zip(lengths, sizes, strict=True)
        return [tuple(range(n - k, n) if side == "left" else range(k) for n, k in pairs)]
    parts = [windows(n, k, stride, side) for n, k in zip(lengths, sizes, strict=True)]
    if len(parts) == 1:
        return [(part,) for part in parts[0]]
    first, second = parts
    later = [(a, b) for a in first[1:] for b in second]
    return [(first[0], second[0]), *later, *((first[0], b) for b in second[1:])]
