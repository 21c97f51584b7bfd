"""Every token of every text, with its vector and its place in the text; and words among them."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from minibert.core.model import BertModel
from minibert.core.rules import Rule, lowercase, strip_accents
from minibert.fast.bert import Engine
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.vectors.embed import chunk_by_chunk, count_cut
from minibert.vectors.nearest import unit
from minibert.vectors.plan import EmbedSettings, Plan
from minibert.vectors.recipe import Recipe
from minibert.vectors.windows import fast_for, run_windows, windows_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

TOKEN_CHUNK = 256  # texts that are run and given back together


class TokenVectors(NamedTuple):
    """All tokens of one text: names, places (start, end) in the text, vectors (T, H) float32.

    [CLS] and [SEP] are among them, at (0, 0).
    """

    tokens: list[str]
    offsets: list[tuple[int, int]]
    vectors: np.ndarray


@torch.inference_mode()
def token_states(
    engine: Engine, tokenizer: Tokenizer, pieces: Sequence[list[int]], plan: Plan
) -> list[np.ndarray]:
    """The vectors (T, H) of every token of texts that are ids already, [CLS] and [SEP] among them.
    For a plan without a prompt."""
    windows = [w for n, ids in enumerate(pieces) for w in windows_of(n, ids, tokenizer, plan)]
    states: dict[int, np.ndarray] = {}
    for chosen, group, _ in run_windows(fast_for(engine, windows, plan), windows, plan):
        for i, state in zip(chosen, group.float().cpu().numpy()):
            states[i] = state[windows[i].counted]
    arrays: list[list[np.ndarray]] = [[] for _ in pieces]
    for i, window in enumerate(windows):
        arrays[window.text].append(states[i])
    joined = [np.concatenate(parts) for parts in arrays]
    return [unit(vectors) for vectors in joined] if plan.normalize else joined


def token_chunk(
    engine: Engine, tokenizer: Tokenizer, texts: Sequence[str], plan: Plan
) -> tuple[list[TokenVectors], int]:
    """The vectors of every token of some texts, and how many texts were cut."""
    plan = dataclasses.replace(plan, prefix="", skipped=0)  # offsets are places in the text itself
    pieces = [tokenizer.pieces(plan.prepare(text, tokenizer)) for text in texts]
    results = []
    left = tokenizer.truncation_side == "left"
    cls, sep = (tokenizer.special_tokens[name] for name in ("cls_token", "sep_token"))
    for text, vectors in zip(
        pieces, token_states(engine, tokenizer, [p.ids for p in pieces], plan)
    ):
        room = len(vectors) - 2
        part = slice(len(text.ids) - room, None) if left else slice(room)
        offsets = [(0, 0), *text.offsets[part], (0, 0)]
        results.append(TokenVectors([cls, *text.tokens[part], sep], offsets, vectors))
    return results, count_cut((p.ids for p in pieces), plan)


def embed_tokens(
    model: BertModel,
    tokenizer: Tokenizer,
    texts: Iterable[str],
    *,
    recipe: Recipe,
    engine: Engine | None = None,
    progress: bool = False,
    **settings: Unpack[EmbedSettings],
) -> list[TokenVectors]:
    """Every token of every text, with its place in the text. As `embed` otherwise."""
    plan = Plan.of(model, tokenizer, recipe, **settings)
    chunks = chunk_by_chunk(
        token_chunk, engine or Engine(model), tokenizer, texts, plan, TOKEN_CHUNK, progress
    )
    return [tokens for chunk in chunks for tokens in chunk]


def span_vectors(tokens: TokenVectors, spans: Iterable[tuple[int, int]]) -> np.ndarray:
    """The mean of the pieces that touch each span (start, end) of characters: (n, H).

    >>> tokens = TokenVectors(["[CLS]", "ri", "##ver"], [(0, 0), (0, 2), (2, 5)],
    ...                       np.array([[9.0], [1.0], [3.0]]))
    >>> span_vectors(tokens, [(0, 5), (3, 4)]).tolist()
    [[2.0], [3.0]]
    """
    rows = []
    for start, end in spans:
        inside = [i for i, (a, b) in enumerate(tokens.offsets) if a < end and b > start]
        if not inside:
            raise ValueError(
                f"no piece of the text lies in the characters {start}..{end}: the span is empty, "
                f"blank, or beyond where the text was cut"
            )
        rows.append(tokens.vectors[inside].mean(axis=0))
    return np.stack(rows) if rows else np.empty((0, tokens.vectors.shape[1]), np.float32)


# Scripts that put no spaces between words: Thai and Lao, Burmese, Khmer, kana, ideographs.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)


def _continues(edge: str, neighbour: str) -> bool:
    """Whether a character beside the edge of a word makes it part of a longer one."""
    return bool(re.match(r"\w", neighbour)) and not any(map(_UNSPACED.match, (edge, neighbour)))


def spans_of(text: str, word: str, rules: Collection[Rule] = ()) -> list[tuple[int, int]]:
    """Where a word stands in a text, as a word of its own; in scripts without spaces, anywhere.

    A letter with its accent is the same in one character or in two. `rules` are the tokenizer's
    (`tokenizer.steps`): what it lower-cases, or strips of accents, is found without regard to them.

    >>> spans_of("The bank, not the banker: bank.", "bank")
    [(4, 8), (26, 30)]
    >>> spans_of("Caf\\u00e9, cafe\\u0301!", "caf\\u00e9", [lowercase])
    [(0, 4), (6, 11)]
    """

    def fold(part: str) -> str:
        part = unicodedata.normalize("NFD", part)
        names = {rule.__name__ for rule in rules}
        for rule in (lowercase, strip_accents):
            if rule.__name__ in names:
                part = unicodedata.normalize("NFD", rule(part))
        return part

    # A letter and the marks on it are compared as one, and never cut apart.
    starts = [n for n, char in enumerate(text) if not n or unicodedata.category(char)[0] != "M"]
    folded, letters = "", {0: 0}
    for number, (start, end) in enumerate(pairwise([*starts, len(text)])):
        letters[len(folded)] = number
        folded += fold(text[start:end])
    letters[len(folded)] = len(starts)
    spans = []
    for match in re.finditer(r"\s+".join(map(re.escape, fold(word).split())) or "(?!)", folded):
        first, last = letters.get(match.start()), letters.get(match.end())
        if first is None or last is None:
            continue
        before = text[starts[first - 1]] if first else " "
        end = [*starts, len(text)][last]
        if _continues(match[0][0], before) or _continues(match[0][-1], text[end : end + 1]):
            continue
        spans.append((starts[first], end))
    return spans
