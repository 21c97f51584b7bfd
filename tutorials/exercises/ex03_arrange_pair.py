"""Exercise 03. Two sentences in one row.

Check yourself: python -m tutorials.check 03
"""

from tutorials.exercises.todo import TODO


def arrange_pair(
    first: list[str], second: list[str], length: int
) -> tuple[list[str], list[int], list[int]]:
    """Two lists of pieces -> (tokens, segments, mask), three lists of `length`.

    tokens:   [CLS] first [SEP] second [SEP] [PAD] ...
    segments: 0 for the first sentence with its [CLS] and [SEP], 1 for the second, 0 for padding
    mask:     1 for real tokens, 0 for padding

    >>> arrange_pair(["a"], ["b"], 6)
    (['[CLS]', 'a', '[SEP]', 'b', '[SEP]', '[PAD]'], [0, 0, 0, 1, 1, 0], [1, 1, 1, 1, 1, 0])
    """
    return TODO("build the three lists")
