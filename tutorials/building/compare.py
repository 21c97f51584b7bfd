"""Is this output still what the cell gives? Text exactly, numbers to one in a thousand.

Whole numbers are text: a shape or a token id is right or wrong. Decimals may differ in their last
digits from one processor to another. Below 1e-5 they are mostly rounding itself, and only their
size is compared.
"""

import re

NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?(?![\w])")
RELATIVE = 1e-3
ROUNDING = 1e-5


def same_number(old: str, new: str) -> bool:
    """True if two printed numbers say the same.

    >>> same_number("7.120", "7.121"), same_number("7.12", "7.52")
    (True, False)
    >>> same_number("1024", "1025"), same_number("2.4e-07", "4.8e-07")
    (False, True)
    """
    if old == new:
        return True
    if not all(re.search("[.eE]", number) for number in (old, new)):
        return False
    a, b = float(old), float(new)
    smaller, larger = sorted((abs(a), abs(b)))
    if 0 < smaller and larger < ROUNDING:
        return larger <= 10 * smaller
    return abs(a - b) <= RELATIVE * larger


def same_line(old: str, new: str) -> bool:
    """True if two lines have the same text around the same numbers.

    >>> same_line("river 0.4120 [1, 2]", "river 0.4121 [1, 2]")
    True
    >>> same_line("river 0.412", "bank 0.412")
    False
    """
    if old == new:
        return True
    numbers = [NUMBER.findall(line) for line in (old, new)]
    around = [NUMBER.split(line) for line in (old, new)]
    return around[0] == around[1] and all(map(same_number, *numbers))


def first_difference(old: str, new: str) -> tuple[int, str, str] | None:
    """The first line that differs: its index, how it reads in `old`, and how in `new`."""
    before, after = old.split("\n"), new.split("\n")
    for i in range(max(len(before), len(after))):
        a = before[i] if i < len(before) else "(no more lines)"
        b = after[i] if i < len(after) else "(no more lines)"
        if not same_line(a, b):
            return i, a, b
    return None
