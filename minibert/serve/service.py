"""What is answered: vectors, pieces, guesses for [MASK], classes.

The forms are those of interfaces that have clients: OpenAI's /v1/embeddings, bert-as-service's
/encode, /embed, /tokenize and /predict as text-embeddings-inference has them.

A text that is longer than the model reads is never cut in silence: /embed and /predict refuse it
unless "truncate" is true, the others say so in a field "warning".

Sources: https://platform.openai.com/docs/api-reference/embeddings;
https://github.com/jina-ai/clip-as-service, tag v1.10.0 (bert-as-service);
https://huggingface.github.io/text-embeddings-inference.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

import anyio
import numpy as np
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from minibert.bert import Bert
from minibert.fast.bert import PACKING_PAYS, Engine
from minibert.serve.batcher import Batcher, read_of
from minibert.serve.fields import PLAN, Refusal, texts_of
from minibert.serve.guard import Guard, Json
from minibert.serve.metrics import Metrics
from minibert.serve.settings import ServeSettings
from minibert.tasks.classification import BertClassifier, Class
from minibert.vectors.embed import count_cut, cut_in_words
from minibert.vectors.nearest import unit
from minibert.vectors.plan import Plan
from minibert.vectors.windows import windows_of

Answer = TypeVar("Answer")

LONG_WORK = 20_000  # characters or numbers: more are worked on beside the event loop
TRUNCATE = 'ask for "truncate": true, which cuts it there'
SLICE = 32  # texts that are classified before others have their turn


class Service:
    """A model and what is answered with its help.

    name        by which clients may call the model
    embedding   how vectors are made, as `Bert.plan` takes it; a request may say otherwise
    """

    def __init__(
        self,
        bert: Bert,
        settings: ServeSettings,
        name: str,
        embedding: Mapping[str, Any] | None = None,
        batch_tokens: int | None = None,
    ):
        self.bert, self.settings, self.name = bert, settings, name
        self.embedding = dict(embedding or {})
        self.plan = bert.plan(**self.embedding)
        engine = Engine(bert.model)
        engine.for_tokens(PACKING_PAYS, self.plan.precision)  # packs, before the first request
        self.batcher = Batcher(engine, bert.tokenizer, batch_tokens)
        self.metrics = Metrics()
        self.started = time.time()
        self.guard: Guard | None = None
        self.page: str | None = None

    # ---- The model ----

    async def _outcome(self, request: Request, future: Future[Answer]) -> Answer:
        """What the model's thread says; if the client leaves meanwhile, it is not asked."""
        outcome = asyncio.wrap_future(future)
        gone = asyncio.ensure_future(_disconnect(request))
        both: set[asyncio.Future[Any]] = {outcome, gone}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not outcome.done():
                raise ClientDisconnect
            return outcome.result()
        finally:
            gone.cancel()
            outcome.cancel()

    def _plan(self, body: Mapping[str, Any]) -> Plan:
        own = {name: body[name] for name in PLAN if name in body}
        return self.bert.plan(**{**self.embedding, **own}) if own else self.plan

    async def _pieces(self, texts: Sequence[str], plan: Plan) -> list[list[int]]:
        tokenizer = self.bert.tokenizer
        if not plan.pools:  # every token's vector: a prompt is none of the text's
            plan = dataclasses.replace(plan, prefix="", skipped=0)

        def tokenize() -> list[list[int]]:
            return [tokenizer.ids(plan.prepare(text, tokenizer)) for text in texts]

        return await _beside(sum(map(len, texts)), tokenize)

    async def _rows(
        self, request: Request, pieces: Sequence[list[int]], plan: Plan
    ) -> list[np.ndarray]:
        self.metrics.texts += len(pieces)
        self.metrics.cut += count_cut(pieces, plan)
        rows = await self._outcome(request, self.batcher.submit(pieces, plan))
        if not all(np.isfinite(row).all() for row in rows):
            raise Refusal(500, "the model's vectors are not finite: are its weights whole?")
        return rows

    async def _check_lengths(self, texts: Sequence[str], advice: str) -> None:
        """Raises Refusal for texts that the model cannot read whole, as they are."""
        tokenizer = self.bert.tokenizer
        pieces = await _beside(
            sum(map(len, texts)), lambda: [tokenizer.ids(text) for text in texts]
        )
        check_lengths(pieces, self.bert.config.max_position_embeddings, advice)

    # ---- Vectors ----

    async def embeddings(self, request: Request, body: Mapping[str, Any]) -> Response:
        wanted = body.get("model", self.name)
        if wanted not in (self.name, self.name.rpartition("/")[2]):
            raise Refusal(
                404,
                f"this server has the model {self.name}, not {wanted[:100]!r}, whose vectors would "
                f"be others: ask for {self.name}",
                "model_not_found",
            )
        texts = texts_of(body["input"], self.settings)
        plan = self._plan(body)
        if not plan.pools:
            raise Refusal(400, 'pooling "none" gives no single vector: use /encode')
        pieces = await self._pieces(texts, plan)
        rows = _shortened(np.stack(await self._rows(request, pieces, plan)), body, plan)
        tokens = sum(read_of(ids, plan) for ids in pieces)
        content: dict[str, Any] = {
            "object": "list",
            "model": self.name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            **_warning(pieces, plan),
        }

        def render() -> Response:
            vectors = (
                map(_base64, rows) if body.get("encoding_format") == "base64" else rows.tolist()
            )
            content["data"] = [
                {"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)
            ]
            return Json(content)

        return await _beside(rows.size, render)

    async def embed(self, request: Request, body: Mapping[str, Any]) -> Response:
        texts = texts_of(body["inputs"], self.settings)
        plan = self._plan(body)
        pieces = await self._pieces(texts, plan)
        if plan.long_texts == "cut" and not body.get("truncate"):
            check_lengths(pieces, plan.limit, TRUNCATE)
        rows = await self._rows(request, pieces, plan)
        if plan.pools:
            rows = list(_shortened(np.stack(rows), body, plan))
        size = sum(row.size for row in rows)
        return await _beside(size, lambda: Json([row.tolist() for row in rows]))

    async def encode(self, request: Request, body: Mapping[str, Any]) -> Response:
        plan, tokenizer = self._plan(body), self.bert.tokenizer
        texts = body["texts"]
        if body.get("is_tokenized"):
            if not all(isinstance(text, list) and _all_strings(text) for text in texts):
                raise Refusal(400, 'with "is_tokenized", texts must be lists of tokens (strings)')
            texts_of(["".join(text) for text in texts], self.settings)
            plan = dataclasses.replace(plan, prefix="", skipped=0)
            pieces = [list(tokenizer.convert_tokens_to_ids(text)) for text in texts]
        else:
            if not _all_strings(texts):
                raise Refusal(
                    400, 'texts must be strings; lists of tokens go with "is_tokenized": true'
                )
            if any(" ||| " in text for text in texts):
                raise Refusal(
                    400,
                    'pairs of sentences (" ||| ") are not encoded: send each by itself; /embed '
                    "takes a text that just has such a mark in it",
                )
            pieces = await self._pieces(texts_of(texts, self.settings), plan)
        rows = await self._rows(request, pieces, plan)
        whole = np.stack(rows) if plan.pools else _padded(rows)
        content = {"id": body.get("id"), "status": 200, **_warning(pieces, plan)}
        if body.get("show_tokens"):
            limits = [plan.limit if plan.long_texts == "cut" else len(ids) + 2 for ids in pieces]
            read = [
                windows_of(0, ids, tokenizer, dataclasses.replace(plan, limit=limit))[0].ids
                for ids, limit in zip(pieces, limits)
            ]
            content["tokens"] = [tokenizer.convert_ids_to_tokens(ids) for ids in read]

        def render() -> Response:
            if body.get("encoding_format") == "base64":
                return Json({**content, "result": _base64(whole), "shape": whole.shape})
            # Its README has "results", its server sent "result".
            vectors = whole.tolist()
            return Json({**content, "result": vectors, "results": vectors})

        return await _beside(whole.size, render)

    # ---- The rest of a BERT ----

    async def tokenize(self, request: Request, body: Mapping[str, Any]) -> Response:
        texts = texts_of(body["inputs"], self.settings)
        special = body.get("add_special_tokens", True)
        tokenizer = self.bert.tokenizer

        def entry(number: int, token: str, text: str, *place: int) -> dict[str, Any]:
            start, stop = place or (None, None)
            where = {"special": not place, "start": start, "stop": stop}
            return {"id": number, "token": token, "text": text, **where}

        def around(name: str) -> list[dict[str, Any]]:
            token = tokenizer.special_tokens[name]
            number = tokenizer.convert_tokens_to_ids(token)
            return [entry(number, token, token)] if special else []

        def tokens_of(text: str) -> list[dict[str, Any]]:
            tokens, ids, offsets, _ = tokenizer.pieces(text)
            rows = [entry(n, t, text[a:b], a, b) for n, t, (a, b) in zip(ids, tokens, offsets)]
            return [*around("cls_token"), *rows, *around("sep_token")]

        size = sum(map(len, texts))
        return await _beside(size, lambda: Json([tokens_of(text) for text in texts]))

    async def fill_mask(self, request: Request, body: Mapping[str, Any]) -> Response:
        texts = texts_of(body["inputs"], self.settings)
        top = body.get("top_k", 5)
        if top > 1000:
            raise Refusal(400, f"top_k must be 1000 or less, got {top}")
        await self._check_lengths(texts, "send the part around the [MASK]")
        answers = []
        for text in texts:
            work = partial(self.bert.fill_mask, text, top)
            masks: Any = await self._outcome(request, self.batcher.call(work))
            answers.append(
                [
                    [{"score": p.probability, "token": p.id, "token_str": p.token} for p in mask]
                    for mask in masks
                ]
            )
        self.metrics.texts += len(texts)
        return Json(answers[0] if isinstance(body["inputs"], str) else answers)

    async def predict(self, request: Request, body: Mapping[str, Any]) -> Response:
        if not isinstance(self.bert.head, BertClassifier):
            raise Refusal(
                404,
                f"{self.name} has no classifier: start the server with a folder that `minibert "
                f"finetune` wrote, or with a model that was fine-tuned elsewhere to classify",
            )
        texts = texts_of(body["inputs"], self.settings)
        if not body.get("truncate"):
            await self._check_lengths(texts, TRUNCATE)
        answers = []

        def classify(part: list[str]) -> list[list[Class]]:
            with warnings.catch_warnings():  # that a text was cut: the client asked for it
                warnings.simplefilter("ignore")
                return self.bert.classify(part)

        for start in range(0, len(texts), SLICE):
            work = partial(classify, texts[start : start + SLICE])
            for classes in await self._outcome(request, self.batcher.call(work)):
                answers.append([c._asdict() for c in classes])
        self.metrics.texts += len(texts)
        return Json(answers[0] if isinstance(body["inputs"], str) else answers)


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _beside(size: int, work: Callable[[], Answer]) -> Answer:
    """`work()`; if it is long, in a thread, so that other requests go on."""
    return work() if size < LONG_WORK else await anyio.to_thread.run_sync(work)


def check_lengths(pieces: Sequence[Sequence[int]], limit: int, advice: str) -> None:
    for number, ids in enumerate(pieces):
        if len(ids) + 2 > limit:
            raise Refusal(
                413,
                f"text {number} has {len(ids) + 2} tokens, and {limit} are read: shorten it, or "
                f"{advice}",
            )


def _shortened(rows: np.ndarray, body: Mapping[str, Any], plan: Plan) -> np.ndarray:
    """The first `dimensions` numbers; vectors that had length 1 have it again, as OpenAI's."""
    wanted = body.get("dimensions", rows.shape[1])
    if wanted > rows.shape[1]:
        raise Refusal(400, f"dimensions must lie in 1..{rows.shape[1]}, got {wanted}")
    if wanted == rows.shape[1]:
        return rows
    return unit(rows[:, :wanted]) if plan.normalize else rows[:, :wanted]


def _padded(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Matrices (T, H) -> (n, longest T, H), zeros below."""
    whole = np.zeros((len(rows), max(map(len, rows)), rows[0].shape[1]), dtype=np.float32)
    for number, row in enumerate(rows):
        whole[number, : len(row)] = row
    return whole


def _warning(pieces: Sequence[Sequence[int]], plan: Plan) -> dict[str, str]:
    cut = count_cut(pieces, plan)
    return {"warning": cut_in_words(cut, len(pieces), plan)} if cut else {}


def _base64(numbers: np.ndarray) -> str:
    return base64.b64encode(numbers.astype("<f4").tobytes()).decode()


def _all_strings(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
