"""Text -> vectors: any layer, any pooling, any number of texts, of any length.

The way of a text: the tokenizer's pieces; a window of at most 512 tokens, or several; through the
model beside texts of like length; the layers asked for, combined; pooled to one vector. What a
text gets does not depend on the texts beside it, but for rounding; with `deterministic=True` each
text runs alone and gets the same bits in any company.

Source: Devlin et al. 2018, section 5.3 (layers as features).
"""

import dataclasses
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from minibert.batch import Tokenizer
from minibert.config import BertConfig
from minibert.fast import Engine, FastBert, cut_by_tokens, groups_of
from minibert.model import BertModel
from minibert.pooling import COMBINATIONS, POOLS, combine_layers, join_windows, pools_of
from minibert.recipe import Recipe

CHUNK = 4096  # texts that are sorted by length, run and given back together
TOKEN_CHUNK = 256  # the same where every token is kept
OVERLAP = 64  # tokens that neighbouring windows of a long text share
LONG_TEXTS = ("cut", "windows")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to compute, checked once: made by `Plan.of`.

    layers         numbers of hidden states, 0 (embeddings) to L
    combine        "concat", "sum" or "mean" of several layers
    pools          names of `minibert.pooling.POOLS`, or "pooler"; empty keeps all tokens
    normalize      vectors of length 1
    limit          tokens of a window, [CLS] and [SEP] included
    long_texts     "cut" at the limit, or read in "windows"
    batch_tokens   tokens that go through the model at a time; None: what suits the device
    deterministic  every text alone, always packed: the same bits in any company
    precision      None (the model's own), "float32", "bfloat16", "float16", "int8"
    compile        through torch.compile
    prefix, lower  what becomes of a text before the tokenizer sees it
    """

    layers: tuple[int, ...]
    combine: str
    pools: tuple[str, ...]
    normalize: bool
    limit: int
    long_texts: str
    batch_tokens: int | None
    deterministic: bool
    precision: str | None
    compile: bool
    prefix: str
    lower: bool

    @classmethod
    def of(
        cls,
        model: BertModel,
        tokenizer: Tokenizer,
        recipe: Recipe,
        *,
        layer: int | Sequence[int] = -1,
        combine: str = "concat",
        long_texts: str = "cut",
        batch_tokens: int | None = None,
        deterministic: bool = False,
        precision: str | None = None,
        compile: bool = False,
    ) -> "Plan":
        """Raises ValueError for what cannot be computed, in words."""
        layers = [layer] if isinstance(layer, int) else list(layer)
        states = model.config.num_hidden_layers + 1
        for number in layers:
            if not -states <= number < states:
                raise ValueError(f"layer must lie in {-states}..{states - 1}, got {number}")
        if not layers:
            raise ValueError("layer must name at least one layer, got none")
        for name, value, known in (
            ("combine", combine, COMBINATIONS),
            ("long_texts", long_texts, LONG_TEXTS),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        if batch_tokens is not None and batch_tokens < 1:
            raise ValueError(f"batch_tokens must be 1 or more, got {batch_tokens}")
        counted = tuple(number % states for number in layers)
        pools = pools_of(recipe.pooling)
        if "pooler" in pools and model.pooler is None:
            raise ValueError('these weights have no pooler: choose another pooling, such as "mean"')
        if "pooler" in pools and counted != (states - 1,):
            raise ValueError(f"the pooler reads the last layer alone, got layer {layer}: use -1")
        longest = model.config.max_position_embeddings
        limit = min(recipe.max_length or tokenizer.model_max_length, longest)
        if limit < 3:
            raise ValueError(
                f"max_length must be 3 or more, for [CLS], a piece, [SEP]: got {limit}"
            )
        return cls(
            counted,
            combine,
            pools,
            recipe.normalize,
            limit,
            long_texts,
            batch_tokens,
            deterministic,
            precision,
            compile,
            recipe.prompt,
            recipe.lower,
        )

    def width(self, config: BertConfig) -> int:
        """Numbers in a vector."""
        layers = len(self.layers) if self.combine == "concat" else 1
        return config.hidden_size * layers * max(1, len(self.pools))

    def prepare(self, text: str) -> str:
        text = self.prefix + text
        return text.lower() if self.lower else text


class TokenVectors(NamedTuple):
    """All tokens of one text: names, places (start, end) in the text, vectors (T, H) float32.

    [CLS] and [SEP] are among them, at (0, 0).
    """

    tokens: list[str]
    offsets: list[tuple[int, int]]
    vectors: np.ndarray


# ---- Texts -> windows ----


class Window(NamedTuple):
    """Tokens that go through the model together, [CLS] ... [SEP]; those of `kept` count."""

    text: int
    ids: list[int]
    kept: slice

    @property
    def size(self) -> int:
        return self.kept.stop - self.kept.start


def cut_windows(length: int, room: int, overlap: int) -> list[tuple[range, range]]:
    """A text of `length` pieces -> its windows of at most `room`: (pieces read, pieces kept).

    Neighbours share `overlap` pieces, and each keeps the half that lies nearer to its middle: every
    piece is kept once, with context on both sides.

    >>> for read, kept in cut_windows(10, 6, 2): print(read, kept)
    range(0, 6) range(0, 5)
    range(4, 10) range(5, 10)
    """
    windows = []
    start = kept = 0
    while True:
        end = min(start + room, length)
        stop = end if end == length else end - (overlap - overlap // 2)
        windows.append((range(start, end), range(kept, stop)))
        if end == length:
            return windows
        start, kept = start + room - overlap, stop


def windows_of(number: int, ids: list[int], tokenizer: Tokenizer, plan: Plan) -> list[Window]:
    """The pieces of text `number` -> windows with [CLS] and [SEP]."""
    room = plan.limit - 2
    if plan.long_texts == "cut" or len(ids) <= room:
        ids = [tokenizer.cls_id, *ids[:room], tokenizer.sep_id]
        return [Window(number, ids, slice(0, len(ids)))]
    windows = []
    for read, kept in cut_windows(len(ids), room, min(OVERLAP, room // 2)):
        part = [tokenizer.cls_id, *ids[read.start : read.stop], tokenizer.sep_id]
        first = 0 if kept.start == 0 else kept.start - read.start + 1
        last = len(part) if kept.stop == len(ids) else kept.stop - read.start + 1
        windows.append(Window(number, part, slice(first, last)))
    return windows


# ---- Windows -> vectors ----


def run_windows(
    fast: FastBert, windows: Sequence[Window], plan: Plan
) -> Iterator[tuple[list[int], Tensor]]:
    """Yield (which windows, all of one length; their states (n, T, H), layers combined)."""
    order = sorted(range(len(windows)), key=lambda i: len(windows[i].ids), reverse=True)
    lengths = [len(windows[i].ids) for i in order]
    budget = 1 if plan.deterministic else plan.batch_tokens or fast.batch_tokens
    for part in cut_by_tokens(lengths, budget):
        chosen, order = order[: len(part)], order[len(part) :]
        ids = [token for i in chosen for token in windows[i].ids]
        states = fast.states(torch.tensor(ids, device=fast.device), part, plan.layers)
        combined = combine_layers(states, plan.combine)
        for count, T in groups_of(part):
            group, combined = combined[: count * T], combined[count * T :]
            yield chosen[:count], group.view(count, T, -1)
            chosen = chosen[count:]


@torch.inference_mode()
def embed_chunk(
    engine: Engine, tokenizer: Tokenizer, texts: Sequence[str], plan: Plan
) -> tuple[np.ndarray, int]:
    """Vectors (n, W) float32 of some texts, all run before any is given back; how many were cut."""
    pieces = [tokenizer.ids(plan.prepare(text)) for text in texts]
    windows = [w for n, ids in enumerate(pieces) for w in windows_of(n, ids, tokenizer, plan)]
    fast = _fast_for(engine, windows, plan)
    order: list[int] = []
    found = []
    for chosen, states in run_windows(fast, windows, plan):
        order += chosen
        if all(windows[i].size == states.shape[1] for i in chosen):
            found.append(_pool(states, plan, engine.model))
            continue
        for i, state in zip(chosen, states):
            found.append(_pool(state[None, windows[i].kept], plan, engine.model))
    pooled = torch.cat(found).float().cpu()
    if len(windows) == len(texts):
        vectors = torch.empty_like(pooled)
        vectors[order] = pooled
    else:
        vectors = _join(pooled, order, windows, plan, len(texts))
    if plan.normalize:
        vectors = torch.nn.functional.normalize(vectors, dim=-1)
    longer = sum(len(ids) > plan.limit - 2 for ids in pieces) if plan.long_texts == "cut" else 0
    return vectors.numpy(), longer


def _fast_for(engine: Engine, windows: Sequence[Window], plan: Plan) -> FastBert:
    tokens = sum(len(window.ids) for window in windows)
    return engine.for_tokens(
        tokens, plan.precision, always_packed=plan.deterministic, compile=plan.compile
    )


def _pool(states: Tensor, plan: Plan, model: BertModel) -> Tensor:
    """(n, T, H), nothing of it padding -> (n, pools x H)."""
    mask = torch.ones(states.shape[:2], dtype=torch.int64, device=states.device)
    columns = []
    for name in plan.pools:
        if name == "pooler":
            assert model.pooler is not None
            columns.append(model.pooler(states.to(model.pooler.dense.weight.dtype)))
        else:
            columns.append(POOLS[name](states.float() if name == "mean" else states, mask))
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


@torch.inference_mode()
def token_chunk(
    engine: Engine, tokenizer: Tokenizer, texts: Sequence[str], plan: Plan
) -> tuple[list[TokenVectors], int]:
    """The vectors of every token of some texts, and how many texts were cut."""
    bare = dataclasses.replace(plan, prefix="")  # offsets are places in the text itself
    pieces = [tokenizer.pieces(bare.prepare(text)) for text in texts]
    windows = [w for n, p in enumerate(pieces) for w in windows_of(n, p.ids, tokenizer, plan)]
    states: dict[int, np.ndarray] = {}
    for chosen, group in run_windows(_fast_for(engine, windows, plan), windows, plan):
        for i, state in zip(chosen, group.float().cpu().numpy()):
            states[i] = state[windows[i].kept]
    kept: list[list[np.ndarray]] = [[] for _ in texts]
    for i, window in enumerate(windows):
        kept[window.text].append(states[i])
    found = []
    cls, sep = (tokenizer.special_tokens[name] for name in ("cls_token", "sep_token"))
    for text, arrays in zip(pieces, kept):
        vectors = np.concatenate(arrays)
        if plan.normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        room = len(vectors) - 2
        offsets = [(0, 0), *text.offsets[:room], (0, 0)]
        found.append(TokenVectors([cls, *text.tokens[:room], sep], offsets, vectors))
    longer = sum(len(p.ids) > plan.limit - 2 for p in pieces) if plan.long_texts == "cut" else 0
    return found, longer


# ---- What users call ----


def embed(
    model: BertModel,
    tokenizer: Tokenizer,
    texts: Iterable[str],
    *,
    recipe: Recipe,
    engine: Engine | None = None,
    progress: bool = False,
    **settings: Any,
) -> np.ndarray:
    """One vector per text: (N, W) float32, in the order of `texts`; an empty text is [CLS] [SEP].

    `texts` may be a list or anything that yields texts. `settings` are those of `Plan.of`. Texts
    longer than the limit are cut, with a warning, or read in windows. Raises TypeError and
    ValueError, in words.
    """
    plan = Plan.of(model, tokenizer, recipe, **settings)
    if not plan.pools:
        raise ValueError('pooling "none" gives no single vector: use embed_tokens')
    arrays = [np.empty((0, plan.width(model.config)), dtype=np.float32)]
    arrays += _chunk_by_chunk(
        embed_chunk, engine or Engine(model), tokenizer, texts, plan, CHUNK, progress
    )
    return np.concatenate(arrays)


def embed_tokens(
    model: BertModel,
    tokenizer: Tokenizer,
    texts: Iterable[str],
    *,
    recipe: Recipe,
    engine: Engine | None = None,
    progress: bool = False,
    **settings: Any,
) -> list[TokenVectors]:
    """Every token of every text, with its place in the text. As `embed` otherwise."""
    plan = Plan.of(model, tokenizer, recipe, **settings)
    chunks = _chunk_by_chunk(
        token_chunk, engine or Engine(model), tokenizer, texts, plan, TOKEN_CHUNK, progress
    )
    return [tokens for chunk in chunks for tokens in chunk]


Found = TypeVar("Found")


def _chunk_by_chunk(
    run: Callable[[Engine, Tokenizer, Sequence[str], Plan], tuple[Found, int]],
    engine: Engine,
    tokenizer: Tokenizer,
    texts: Iterable[str],
    plan: Plan,
    size: int,
    progress: bool,
) -> list[Found]:
    found = []
    count = longer = 0
    total = len(texts) if isinstance(texts, Sequence) else None
    with tqdm(total=total, unit="text", disable=not progress) as bar:
        for chunk in chunks_of(texts, size):
            result, cut = run(engine, tokenizer, chunk, plan)
            found.append(result)
            count, longer = count + len(chunk), longer + cut
            bar.update(len(chunk))
    if longer:
        warnings.warn(cut_in_words(longer, count, plan), stacklevel=4)
    return found


def cut_in_words(longer: int, count: int, plan: Plan) -> str:
    """What to tell about texts that were cut."""
    return (
        f"{longer:,} of {count:,} texts are longer than {plan.limit} tokens and were cut there; "
        f'long_texts="windows" reads them whole'
    )


def chunks_of(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of up to `size` texts. Raises TypeError for what is no text, and says which it is.

    >>> list(chunks_of(["a", "b", "c"], 2))
    [['a', 'b'], ['c']]
    """
    if isinstance(texts, str | bytes):
        raise TypeError("expected a list of texts, got one: use embed([text])")
    remaining = iter(texts)
    count = 0
    while chunk := list(islice(remaining, size)):
        for number, text in enumerate(chunk, count):
            if not isinstance(text, str):
                raise TypeError(
                    f"expected a text (str) as number {number}, got {type(text).__name__}: "
                    f"{text!r:.60}. Decode bytes; replace None by an empty text or leave it out"
                )
        yield chunk
        count += len(chunk)


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
    found = re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", text)
    return [match.span() for match in found if word]


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine of every row of one array with every row of another, (n, m).

    >>> cosines(np.array([[1.0, 0.0]]), np.array([[2.0, 0.0], [1.0, 1.0]])).round(4).tolist()
    [[1.0, 0.7071]]
    """

    def unit(rows: np.ndarray) -> np.ndarray:
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    return unit(first) @ unit(second).T


class Neighbour(NamedTuple):
    """A row of the vectors searched, and its cosine with the query."""

    row: int
    cosine: float


def nearest(
    queries: np.ndarray, vectors: np.ndarray, top: int = 5, block: int = 65536
) -> list[list[Neighbour]]:
    """For each query (n, H) the `top` nearest rows of `vectors` (N, H), best first.

    `vectors` may be memory-mapped, np.load(path, mmap_mode="r"): it is read a block at a time.

    >>> nearest(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0], [1.0, 1.0]]), top=1)[0][0].row
    1
    """
    if queries.ndim != 2 or vectors.ndim != 2 or queries.shape[1] != vectors.shape[1]:
        raise ValueError(
            f"expected vectors of one width, got {queries.shape} and {vectors.shape}: were they "
            f"made with the same model, layers and pooling?"
        )
    if top < 1:
        raise ValueError(f"top must be 1 or more, got {top}")
    best = np.empty((len(queries), 0))
    rows = np.empty((len(queries), 0), dtype=np.int64)
    for start in range(0, len(vectors), block):
        found = cosines(queries, np.asarray(vectors[start : start + block], dtype=np.float32))
        numbers = np.arange(start, start + found.shape[1])
        best = np.concatenate([best, found], axis=1)
        rows = np.concatenate([rows, np.broadcast_to(numbers, found.shape)], axis=1)
        order = np.argsort(-best, axis=1, kind="stable")[:, :top]
        best = np.take_along_axis(best, order, axis=1)
        rows = np.take_along_axis(rows, order, axis=1)
    return [
        [Neighbour(int(row), float(cosine)) for row, cosine in zip(*pair)]
        for pair in zip(rows, best)
    ]
