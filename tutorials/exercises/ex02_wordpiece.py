"""Exercise 02. A word to word pieces: greedy, longest piece first.

Check yourself: python -m tutorials.check 02
"""

from collections.abc import Container

from tutorials.exercises.todo import TODO


def wordpiece(word: str, vocab: Container[str]) -> list[str]:
    """A word and the vocabulary (a dict or set of pieces) -> a list of pieces.

    All pieces but the first are looked up with "##" in front. A word that cannot be cut
    completely, or is longer than 100 characters, is ["[UNK]"].

    >>> wordpiece("unaffable", {"un", "una", "##ff", "##able"})
    ['una', '##ff', '##able']
    >>> wordpiece("unclear", {"un", "##able"})
    ['[UNK]']
    """
    return TODO("cut the word into pieces")
