"""Exercise 24. Labels of words become labels of tokens.

Check yourself: python -m tutorials.check 24
"""

from collections.abc import Sequence

from tutorials.exercises.todo import TODO


def token_labels(word_ids: Sequence[int | None], labels: Sequence[int]) -> list[int]:
    """-> a label for each token: that of its word at the word's first piece, -100 elsewhere.

    word_ids  for each token the number of its word; None for [CLS], [SEP] and [PAD]
    labels    for each word its class

    >>> token_labels([None, 0, 1, 1, None], [3, 7])
    [-100, 3, 7, -100, -100]
    """
    return TODO("look at each token and at the one before it")
