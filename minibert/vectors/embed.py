"""Text -> vectors: any layer, any pooling, any number of texts, of any length.

The way of a text: the tokenizer's pieces; a window of at most 512 tokens, or several; through the
model beside texts of like length; the layers asked for, combined; pooled to one vector. What a
text gets does not depend on the texts beside it, but for rounding; with `deterministic=True` each
text runs alone and gets the same bits in any company.

Source: Devlin et al. 2018, section 5.3 (layers as features).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from minibert.core.model import BertModel
from minibert.fast.bert import Engine
from minibert.tokenizer.arguments import is_text
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.vectors.plan import EmbedSettings, Plan
from minibert.vectors.pooling import POOLS, join_windows
from minibert.vectors.recipe import Recipe
from minibert.vectors.windows import Window, fast_for, run_windows, windows_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

CHUNK = 4096  # texts that are sorted by length, run and given back together


def embed_chunk(
    engine: Engine, tokenizer: Tokenizer, texts: Sequence[str], plan: Plan
) -> tuple[np.ndarray, int]:
    """Vectors (n, W) float32 of some texts, all run before any is given back; how many were cut."""
    pieces = [plan.ids(text, tokenizer) for text in texts]
    return embed_pieces(engine, tokenizer, pieces, plan), count_cut(pieces, plan)


@torch.inference_mode()
def embed_pieces(
    engine: Engine, tokenizer: Tokenizer, pieces: Sequence[list[int]], plan: Plan
) -> np.ndarray:
    """The same of texts that are ids already, without [CLS] and [SEP]."""
    windows = [w for n, ids in enumerate(pieces) for w in windows_of(n, ids, tokenizer, plan)]
    fast = fast_for(engine, windows, plan)
    order: list[int] = []
    columns = []
    for chosen, states, pooler_output in run_windows(fast, windows, plan):
        order += chosen
        mask = torch.zeros(states.shape[:2], dtype=torch.int64)
        for row, i in zip(mask, chosen):
            row[windows[i].counted] = 1
        columns.append(_pool(states, mask.to(states.device), pooler_output, plan))
    pooled = torch.cat(columns).float().cpu()
    if len(windows) == len(pieces):
        vectors = torch.empty_like(pooled)
        vectors[order] = pooled
    else:
        vectors = _join(pooled, order, windows, plan, len(pieces))
    if plan.normalize:
        vectors = torch.nn.functional.normalize(vectors, dim=-1)
    vectors = vectors[:, : plan.truncate_dim]
    if plan.renormalize and plan.truncate_dim:
        vectors = torch.nn.functional.normalize(vectors, dim=-1)
    return vectors.numpy()


def _pool(states: Tensor, mask: Tensor, pooler_output: Tensor | None, plan: Plan) -> Tensor:
    """(n, T, H), which tokens count (n, T), pooler_output (n, H) -> (n, pools x H)."""
    columns = []
    for name in plan.pools:
        if name == "pooler":
            assert pooler_output is not None
            columns.append(pooler_output)
        else:
            columns.append(POOLS[name](states.float(), mask))
    return torch.cat([column.float() for column in columns], dim=-1)


def _join(
    pooled: Tensor, order: Sequence[int], windows: Sequence[Window], plan: Plan, count: int
) -> Tensor:
    """Vectors of windows, in the order they were run -> vectors of texts."""
    by_window = torch.empty_like(pooled)
    by_window[list(order)] = pooled
    rows: list[list[int]] = [[] for _ in range(count)]
    for number, window in enumerate(windows):
        rows[window.text].append(number)
    return torch.stack(
        [
            by_window[row[0]]
            if len(row) == 1
            else join_windows(by_window[row], [windows[i].size for i in row], plan.pools)
            for row in rows
        ]
    )


def embed(
    model: BertModel,
    tokenizer: Tokenizer,
    texts: Iterable[str],
    *,
    recipe: Recipe,
    engine: Engine | None = None,
    progress: bool = False,
    **settings: Unpack[EmbedSettings],
) -> np.ndarray:
    """One vector per text: (N, W) float32, in the order of `texts`; an empty text is [CLS] [SEP].

    `texts` may be a list or anything that yields texts. `settings` are `EmbedSettings`. Texts
    longer than the limit are cut, with a warning, or read in windows. Raises TypeError and
    ValueError, in words.
    """
    plan = Plan.of(model, tokenizer, recipe, **settings)
    if not plan.pools:
        raise ValueError('pooling "none" gives no single vector: use embed_tokens')
    arrays = [np.empty((0, plan.width(model.config)), dtype=np.float32)]
    arrays += chunk_by_chunk(
        embed_chunk, engine or Engine(model), tokenizer, texts, plan, CHUNK, progress
    )
    return np.concatenate(arrays)


Result = TypeVar("Result")


def chunk_by_chunk(
    run: Callable[[Engine, Tokenizer, Sequence[str], Plan], tuple[Result, int]],
    engine: Engine,
    tokenizer: Tokenizer,
    texts: Iterable[str],
    plan: Plan,
    size: int,
    progress: bool,
) -> list[Result]:
    results = []
    count = longer = 0
    total = len(texts) if isinstance(texts, Sequence) else None
    with tqdm(total=total, unit="text", disable=not progress) as bar:
        for chunk in chunks_of(texts, size, plan.words):
            result, cut = run(engine, tokenizer, chunk, plan)
            results.append(result)
            count, longer = count + len(chunk), longer + cut
            bar.update(len(chunk))
    if longer:
        warnings.warn(cut_in_words(longer, count, plan), stacklevel=4)
    return results


def count_cut(pieces: Iterable[Sequence[int]], plan: Plan) -> int:
    """How many of the texts, given as ids, are cut because they are longer than the limit."""
    if plan.long_texts != "cut":
        return 0
    return sum(len(ids) > plan.limit - 2 for ids in pieces)


def cut_in_words(longer: int, count: int, plan: Plan) -> str:
    """What to tell about texts that were cut."""
    return (
        f"{longer:,} of {count:,} texts are longer than {plan.limit} tokens and were cut there; "
        f'long_texts="windows" reads them whole'
    )


def chunks_of(texts: Iterable[str], size: int, words: bool = False) -> Iterator[list[str]]:
    """Lists of up to `size` texts, or lists of `words`. Raises TypeError for what is none, and says
    which it is.

    >>> list(chunks_of(["a", "b", "c"], 2))
    [['a', 'b'], ['c']]
    """
    kind = type(texts).__name__
    if isinstance(texts, str | bytes):
        raise TypeError("expected a list of texts, got one: use embed([text])")
    if isinstance(texts, Mapping | set | frozenset) or hasattr(texts, "columns"):
        raise TypeError(
            f"expected a list of texts, got a {kind}, which has names or no order: choose what to "
            f"read, as in list(texts.values()), sorted(texts) or table['text']"
        )
    if not hasattr(texts, "__iter__"):
        raise TypeError(f"expected a list of texts, got {kind}: {texts!r:.60}")
    remaining = iter(texts)
    count = 0
    while chunk := list(islice(remaining, size)):
        for number, text in enumerate(chunk, count):
            if words and not is_text(text, True):
                raise TypeError(
                    f"with is_split_into_words, expected a list of words as number {number}, got "
                    f"{type(text).__name__}: {text!r:.60}"
                )
            if not words and not isinstance(text, str):
                raise TypeError(
                    f"expected a text (str) as number {number}, got {type(text).__name__}: "
                    f"{text!r:.60}. Decode bytes; replace None by an empty text or leave it out"
                )
        yield chunk
        count += len(chunk)
