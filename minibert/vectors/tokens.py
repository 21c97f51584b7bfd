"""Every token of every text, with its vector and its place in the text; and words among them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from minibert.core.model import BertModel
from minibert.fast.bert import Engine
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.vectors.embed import chunk_by_chunk, count_cut
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
def token_chunk(
    engine: Engine, tokenizer: Tokenizer, texts: Sequence[str], plan: Plan
) -> tuple[list[TokenVectors], int]:
    """The vectors of every token of some texts, and how many texts were cut."""
    plan = dataclasses.replace(plan, prefix="", skipped=0)  # offsets are places in the text itself
    pieces = [tokenizer.pieces(plan.prepare(text, tokenizer)) for text in texts]
    windows = [w for n, p in enumerate(pieces) for w in windows_of(n, p.ids, tokenizer, plan)]
    states: dict[int, np.ndarray] = {}
    for chosen, group, _ in run_windows(fast_for(engine, windows, plan), windows, plan):
        for i, state in zip(chosen, group.float().cpu().numpy()):
            states[i] = state[windows[i].counted]
    arrays: list[list[np.ndarray]] = [[] for _ in texts]
    for i, window in enumerate(windows):
        arrays[window.text].append(states[i])
    results = []
    left = tokenizer.truncation_side == "left"
    cls, sep = (tokenizer.special_tokens[name] for name in ("cls_token", "sep_token"))
    for text, parts in zip(pieces, arrays):
        vectors = np.concatenate(parts)
        if plan.normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        room = len(vectors) - 2
        kept = slice(len(text.ids) - room, None) if left else slice(room)
        offsets = [(0, 0), *text.offsets[kept], (0, 0)]
        results.append(TokenVectors([cls, *text.tokens[kept], sep], offsets, vectors))
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


def spans_of(text: str, word: str) -> list[tuple[int, int]]:
    """Where a word stands in a text, as a word of its own.

    >>> spans_of("The bank, not the banker: bank.", "bank")
    [(4, 8), (26, 30)]
    """
    matches = re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", text)
    return [match.span() for match in matches if word]
