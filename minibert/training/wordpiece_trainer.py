"""Learn the vocabulary: start from characters, join the commonest pair of pieces, repeat.

This is byte-pair encoding with WordPiece's "##" marks, as Hugging Face's `WordPieceTrainer` does
it, and it gives the same vocabulary. Google never released the trainer that made BERT's. Schuster
and Nakajima (2012) describe one that joins the pair which makes a language model of the text
likeliest; Hugging Face's counts pairs instead.

One thing cannot be reproduced: the reference numbers the "##" characters in the order in which it
meets them in a randomly seeded hash map, and numbers decide between pairs of equal count. So its
vocabularies differ from run to run in a few tokens. Here they are numbered in sorted order, and
the same text always gives the same vocabulary. Pass the reference's order to get its very list.

Source: Sennrich et al. 2016, https://arxiv.org/abs/1508.07909, section 3.2; huggingface/tokenizers
`models/bpe/trainer.rs`.
"""

import heapq
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from minibert.core.rules import (
    clean,
    isolate_ideographs,
    isolate_punctuation,
    lowercase,
    strip_accents,
)
from minibert.system.lines import decode_line
from minibert.tokenizer.vocabulary import SPECIAL_TOKENS

Pair = tuple[int, int]


def read_lines(files: Iterable[str | Path], progress: bool = False) -> Iterator[str]:
    """The lines of UTF-8 text files, with a blank line after each file.

    Raises FileNotFoundError, or ValueError for a file that is not UTF-8.
    """
    paths = [Path(file) for file in files]
    size = sum(path.stat().st_size for path in paths)
    with tqdm(total=size, unit="B", unit_scale=True, desc="read", disable=not progress) as bar:
        for path in paths:
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    bar.update(len(line))
                    yield decode_line(line, number, path)
            yield ""


def count_words(lines: Iterable[str], do_lower_case: bool = True) -> Counter[str]:
    """How often each word occurs, after the tokenizer's own rules.

    >>> count_words(["The bank, the river.", "Rivers!"]).most_common(2)
    [('the', 2), ('bank', 1)]
    """
    chunks: Counter[str] = Counter()
    for line in lines:
        chunks.update(line.split(" "))  # no rule acts across a space: each chunk once is enough
    words: Counter[str] = Counter()
    for chunk, times in chunks.items():
        for word in _words(chunk, do_lower_case):
            words[word] += times
    return words


_find_ascii_words = re.compile("[A-Za-z0-9]+|[^A-Za-z0-9]").findall


def _words(chunk: str, do_lower_case: bool) -> list[str]:
    if chunk.isascii() and chunk.isprintable():  # what all the rules amount to here
        return _find_ascii_words(chunk.lower() if do_lower_case else chunk)
    text = isolate_ideographs(clean(chunk))
    if do_lower_case:
        text = lowercase(strip_accents(text))
    return isolate_punctuation(text).split()


def train_vocabulary(
    words: Mapping[str, int],
    vocab_size: int = 30522,
    *,
    min_frequency: int = 2,
    limit_alphabet: int = 1000,
    special_tokens: Sequence[str] = tuple(SPECIAL_TOKENS.values()),
    continuations: Sequence[str] | None = None,
    progress: bool = False,
) -> list[str]:
    """The vocabulary, in order of ids: special tokens, characters, "##" characters, joined pairs.

    words           how often each word occurs (see count_words)
    min_frequency   pairs that occur less often are not joined
    limit_alphabet  the number of different characters kept, the commonest; others are left out,
                    with a warning that says what of the text becomes [UNK]
    continuations   the "##" characters in the order to be used; sorted if None

    Raises ValueError if the characters alone exceed `vocab_size`.

    >>> train_vocabulary({"low": 5, "lower": 2}, 11, special_tokens=["[UNK]"])
    ['[UNK]', 'e', 'l', 'o', 'r', 'w', '##e', '##o', '##r', '##w', 'lo']
    """
    alphabet = _alphabet(words, limit_alphabet)
    if lost := _lost_in_words(words, alphabet):
        warnings.warn(lost, stacklevel=2)
    inner = {f"##{c}" for word in words for c in word[1:] if c in alphabet}
    if continuations is None:
        continuations = sorted(inner)
    if set(continuations) != inner or len(continuations) != len(inner):
        raise ValueError(
            f"expected the {len(inner)} '##' characters of the text, each once, got "
            f"{len(continuations)}. Take them from a vocabulary of the same text and alphabet."
        )
    tokens = list(dict.fromkeys([*special_tokens, *sorted(alphabet), *continuations]))
    if len(tokens) > vocab_size:
        raise ValueError(
            f"expected a vocabulary of at least {len(tokens)} tokens, since {len(special_tokens)} "
            f"special tokens and all characters are in it; got vocab_size {vocab_size}. Ask for a "
            f"larger vocabulary, or a smaller limit_alphabet than {limit_alphabet}."
        )
    ids = {token: number for number, token in enumerate(tokens)}
    spelled = []
    for word in words:
        marked = [word[0], *(f"##{c}" for c in word[1:])]
        spelled.append([ids[piece] for piece, c in zip(marked, word) if c in alphabet])
    with tqdm(
        total=vocab_size, initial=len(tokens), unit="tokens", desc="join", disable=not progress
    ) as bar:
        for _ in _join_pairs(spelled, list(words.values()), tokens, vocab_size, min_frequency):
            bar.update()
    return tokens


def _alphabet(words: Mapping[str, int], limit: int) -> set[str]:
    """The commonest characters; of equally common ones, the smaller code points."""
    characters: Counter[str] = Counter()
    for word, times in words.items():
        for c in word:
            characters[c] += times
    return set(sorted(characters, key=lambda c: (-characters[c], c))[:limit])


def _lost_in_words(words: Mapping[str, int], alphabet: set[str]) -> str:
    """What is to be said of characters that no token spells; the empty string if there are none."""
    lost = {character for word in words for character in word} - alphabet
    if not lost:
        return ""
    times = sum(n for word, n in words.items() if not lost.isdisjoint(word))
    return (
        f"{len(lost):,} of {len(lost | alphabet):,} different characters are left out of the "
        f"vocabulary, the rarest: {times:,} of {sum(words.values()):,} words of this text "
        f"({times / sum(words.values()):.2%}) will be [UNK]. A larger limit_alphabet (--alphabet) "
        f"keeps more"
    )


def _join_pairs(
    words: list[list[int]],
    times: list[int],
    tokens: list[str],
    vocab_size: int,
    min_frequency: int,
) -> Iterator[str]:
    """Join the commonest pair in all words, add its token to `tokens`, yield it; again, until
    there are `vocab_size`.

    The heap holds each pair with the count it had when it was pushed, and with the words it stood
    in then. A count that has changed meanwhile is put right when the pair comes up. Of equal
    counts, the pair of smaller ids comes first.
    """
    ids = {token: number for number, token in enumerate(tokens)}
    counts: dict[Pair, int] = defaultdict(int)
    holders: dict[Pair, list[int]] = defaultdict(list)  # the words that hold a pair, in order
    for index, (word, n) in enumerate(zip(words, times)):
        pairs = list(zip(word, word[1:]))
        for pair in pairs:
            counts[pair] += n
        for pair in set(pairs):
            holders[pair].append(index)

    heap = [(-counts[pair], pair, places) for pair, places in holders.items()]
    heapq.heapify(heap)
    while heap and len(tokens) < vocab_size:
        negative, pair, places = heapq.heappop(heap)
        if counts[pair] != -negative:
            heapq.heappush(heap, (-counts[pair], pair, places))
            continue
        if counts[pair] < max(1, min_frequency):
            return
        left, right = pair
        token = tokens[left] + tokens[right].removeprefix("##")
        new = ids.setdefault(token, len(tokens))  # two ways to one string give one token
        if new == len(tokens):
            tokens.append(token)
        holders = defaultdict(list)
        for index in places:
            n = times[index]
            gone, come = _join_in_word(words[index], left, right, new)
            for other in gone:
                counts[other] -= n
            for other in come:
                counts[other] += n
            for other in set(come):
                holders[other].append(index)
        for other, places in holders.items():
            if counts[other] > 0:
                heapq.heappush(heap, (-counts[other], other, places))
        yield token


def _join_in_word(word: list[int], left: int, right: int, new: int) -> tuple[list, list]:
    """Put `new` for each `left right` in the word, in place; the pairs that went and that came.

    >>> word = [3, 1, 2, 4]
    >>> _join_in_word(word, 1, 2, 9), word
    (([(3, 1), (2, 4)], [(3, 9), (9, 4)]), [3, 9, 4])
    """
    gone: list[Pair] = []
    come: list[Pair] = []
    start = 0
    while left in word[start:-1]:
        at = word.index(left, start)
        if word[at + 1] == right:
            if at > 0:
                gone.append((word[at - 1], left))
                come.append((word[at - 1], new))
            if at + 2 < len(word):
                gone.append((right, word[at + 2]))
                come.append((new, word[at + 2]))
            word[at : at + 2] = [new]
        start = at + 1
    return gone, come
