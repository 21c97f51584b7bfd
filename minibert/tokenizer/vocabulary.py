"""What tokens there are: their ids, both ways, and those that are looked for in the text itself."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from minibert.tokenizer.character_tables import SPACES

SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
_WORD_CATEGORIES = ("Mn", "Mc", "Me", "Nl", "Nd", "Pc")


def number_tokens(tokens: Iterable[str], source: str = "the vocabulary") -> dict[str, int]:
    """Tokens in order → {token: id}. Raises ValueError for a duplicate.

    >>> number_tokens(["[UNK]", "river"])
    {'[UNK]': 0, 'river': 1}
    """
    vocab: dict[str, int] = {}
    for number, token in enumerate(tokens):
        if token in vocab:
            raise ValueError(
                f"{source}: expected every token once, got {token!r} as number {vocab[token]} and "
                f"{number}. Remove one of them only if the model was trained that way; otherwise "
                "get the file again."
            )
        vocab[token] = number
    return vocab


def join_wordpieces(tokens: Sequence[str]) -> str:
    """Word pieces → text.

    >>> join_wordpieces(["un", "##able", "."])
    'unable.'
    """
    words = [t[2:] if t.startswith("##") else " " + t for t in tokens[1:]]
    # Of the reference's clean-up rules, only these four can match a single piece.
    tidy = [word[1:] if word in (" .", " ?", " !", " ,") else word for word in words]
    return "".join([*tokens[:1], *tidy])


def without_spaces(text: str) -> str:
    """The reference's `clean_up_tokenization`: no spaces before signs and inside contractions.

    >>> without_spaces("i ' m here , you do n't see .")
    "i'm here, you don't see."
    """
    for ending in (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're"):
        text = text.replace(ending, ending.strip())
    return text


def as_lists(ids: Any) -> Any:
    """Ids as an int, a list, or lists of lists: of a tensor, an array, or anything that yields ids.

    >>> as_lists((7, [8]))
    [7, [8]]
    """
    if hasattr(ids, "tolist"):
        ids = ids.tolist()
    if isinstance(ids, int):
        return ids
    if isinstance(ids, (str, bytes, Mapping, float)) or not isinstance(ids, Iterable):
        raise TypeError(
            f"expected ids, whole numbers, got {type(ids).__name__}: {ids!r:.60}. Of a batch give "
            'batch["input_ids"]; a token\'s id is convert_tokens_to_ids(token).'
        )
    return [as_lists(part) for part in ids]


class AddedToken(NamedTuple):
    """A token and how it is looked for; the fields are those of a `tokenizer.json`."""

    content: str
    id: int
    special: bool = False
    normalized: bool = False  # look for it in the normalised text, not in the one given
    single_word: bool = False  # only where no character of a word touches it
    lstrip: bool = False  # take the spaces to its left as well
    rstrip: bool = False


def _in_words(neighbours: str) -> bool:
    """Whether one of these characters belongs to words: letters, digits, marks and joiners."""
    return any(
        char.isalnum() or char in "\u200c\u200d" or unicodedata.category(char) in _WORD_CATEGORIES
        for char in neighbours
    )


class AddedTokens:
    """Finds added tokens: the leftmost first, and of two that start together the longer.

    >>> mask = AddedToken("[MASK]", 103)
    >>> list(AddedTokens({"[MASK]": mask}).split("a [MASK]"))
    [(0, 2, None), (2, 8, 103)]
    """

    def __init__(self, tokens: Mapping[str, AddedToken]) -> None:
        self.tokens = {spelling: token for spelling, token in tokens.items() if spelling}
        spellings = sorted(self.tokens, key=len, reverse=True)
        self.search = re.compile("|".join(map(re.escape, spellings)) or "(?!)").search
        self._spaces = re.compile(f"[{SPACES.pattern}]*").match

    def split(self, text: str) -> Iterator[tuple[int, int, int | None]]:
        """Cut a text into (start, end, id), where the id is None between added tokens."""
        done = position = 0
        while match := self.search(text, position):
            token = self.tokens[match[0]]
            start, position = match.span()
            if token.single_word and _in_words(
                text[max(start - 1, 0) : start] + text[position : position + 1]
            ):
                continue
            if token.lstrip:
                start -= self._spaces(text[done:start][::-1]).end()  # type: ignore[union-attr]
            if token.rstrip:
                position = self._spaces(text, position).end()  # type: ignore[union-attr]
            if done < start:
                yield done, start, None
            yield start, position, token.id
            done = position
        if done < len(text):
            yield done, len(text), None


class Vocabulary:
    """Word pieces, and the tokens that are looked for in the text itself.

    `vocab` maps tokens to ids, or lists them in order of their ids. `special_tokens` gives other
    names to those of `SPECIAL_TOKENS`; `added_tokens` are strings, or fields of `AddedToken`;
    `join` makes a text of tokens.
    Raises ValueError for a vocabulary that has duplicates or lacks [UNK].
    """

    def __init__(
        self,
        vocab: Mapping[str, int] | Sequence[str],
        special_tokens: Mapping[str, str] | None = None,
        added_tokens: Iterable[str | Mapping[str, Any]] = (),
        join: Callable[[Sequence[str]], str] = join_wordpieces,
    ) -> None:
        self.join = join
        self.wordpieces = dict(vocab) if isinstance(vocab, Mapping) else number_tokens(vocab)
        self.special_tokens = {**SPECIAL_TOKENS, **(special_tokens or {})}
        unknown = self.special_tokens["unk_token"]
        if unknown not in self.wordpieces:
            raise ValueError(
                f"expected a vocabulary with {unknown}, for words that it cannot spell; got "
                f"{len(self.wordpieces)} tokens without it. Is this the vocabulary of a BERT?"
            )
        self.vocab = dict(self.wordpieces)
        self.added: dict[str, AddedToken] = {}
        known = [token for token in self.special_tokens.values() if token in self.vocab]
        specials = [{"content": token, "special": True} for token in known]
        for entry in chain(specials, added_tokens):
            fields: Any = (
                {"content": entry, "normalized": True} if isinstance(entry, str) else entry
            )
            token = fields["content"]
            number = self.vocab.setdefault(token, fields.get("id", len(self.vocab)))
            self.added[token] = AddedToken(**{**fields, "id": number})
        if len(set(self.vocab.values())) < len(self.vocab):
            raise ValueError(
                f"expected an id of its own for each of {len(self.vocab)} tokens, got "
                f"{len(set(self.vocab.values()))} ids. Get the vocabulary again."
            )
        self.inverse = {number: token for token, number in self.vocab.items()}
        self.special_ids = {token.id for token in self.added.values() if token.special}
        self.unk_id = self.vocab[unknown]
        # None where the vocabulary lacks the token
        self.pad_id: Any = self.vocab.get(self.special_tokens["pad_token"])
        self.cls_id: Any = self.vocab.get(self.special_tokens["cls_token"])
        self.sep_id: Any = self.vocab.get(self.special_tokens["sep_token"])
        self.mask_id: Any = self.vocab.get(self.special_tokens["mask_token"])

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """A token's id, or a list of them; that of [UNK] for what the vocabulary lacks."""
        if isinstance(tokens, str):
            return self.vocab.get(tokens, self.unk_id)
        return [self.vocab.get(token, self.unk_id) for token in tokens]

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """An id's token, or a list of them, or lists of lists. Raises KeyError, TypeError."""
        ids = as_lists(ids)
        if isinstance(ids, int):
            if ids not in self.inverse:
                raise KeyError(
                    f"expected an id of this vocabulary, up to {max(self.inverse)}: {ids}"
                )
            return self.inverse[ids]
        skipped = self.special_ids if skip_special_tokens else ()
        parts = [part for part in ids if isinstance(part, list) or part not in skipped]
        return [self.convert_ids_to_tokens(part, skip_special_tokens) for part in parts]

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """Ids → text. It is normalised text: case, accents and most of the spacing are gone.

        >>> Vocabulary(["[UNK]", "un", "##able", "."]).decode([1, 2, 3])
        'unable.'
        """
        skipped = self.special_ids if skip_special_tokens else ()
        return self.join(
            [self.inverse[n] for n in map(int, ids) if n in self.inverse and n not in skipped]
        )

    @property
    def vocab_size(self) -> int:
        """The number of word pieces, without added tokens; with them, it is the len(...)."""
        return len(self.wordpieces)

    def __len__(self) -> int:
        return len(self.vocab)
