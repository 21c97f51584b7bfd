"""The longest match of `core/wordpiece.py`, by walking down a trie instead of trying every end.

The linear-time matcher of Song et al. 2021, section 3, https://arxiv.org/abs/2012.15524, is not
used: pieces are short, so that a plain trie is as fast here, and simpler.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any


class Trie(dict[str, list[Any]]):
    """First letter → node; a node is [letter → node, id of the token that ends here, or None].

    A first letter's branch is built when it is first asked for, which halves the time to start.
    `waiting` keeps the tokens even after a branch is built, because another thread may build the
    same branch at the same time.

    >>> Trie([("a", 0), ("ann", 1)])["a"]
    [{'n': [{'n': [{}, 1]}, None]}, 0]
    """

    def __init__(self, tokens: Iterable[tuple[str, int]]) -> None:
        self.waiting: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for token, number in tokens:
            self.waiting[token[:1]].append((token, number))

    def __reduce__(self) -> tuple[Any, ...]:  # as deep as the longest token, it cannot be pickled
        return Trie, ([item for items in self.waiting.values() for item in items],)

    def __missing__(self, first: str) -> list[Any]:
        root: list[Any] = [{}, None]
        if first not in self.waiting:
            return root
        for token, number in self.waiting[first]:
            node = root
            for letter in token[1:]:
                branches = node[0]
                if letter not in branches:
                    branches[letter] = [{}, None]
                node = branches[letter]
            node[1] = number
        self[first] = root
        return root


def build_tries(vocab: Mapping[str, int]) -> tuple[Trie, Trie]:
    """One trie for first pieces, one for the pieces that are written with "##"."""
    items = vocab.items()
    first = Trie((token, number) for token, number in items if not token.startswith("##"))
    later = Trie((token[2:], number) for token, number in items if token.startswith("##"))
    return first, later


def match(word: str, tries: tuple[Trie, Trie]) -> list[int] | None:
    """The ids of the pieces of `longest_match_first`, by walking down the tries.

    Each walk goes as far as it can, remembers the last token it passed, and returns to its end.

    >>> match("ann", build_tries({"a": 0, "an": 1, "##n": 2}))
    [1, 2]
    """
    trie, later = tries
    ids: list[int] = []
    start = 0
    while start < len(word):
        branches, longest = trie[word[start]]
        end = longest_end = start + 1
        for letter in word[end:]:
            if letter not in branches:
                break
            branches, number = branches[letter]
            end += 1
            if number is not None:
                longest, longest_end = number, end
        if longest is None:
            return None
        ids.append(longest)
        trie, start = later, longest_end
    return ids
