"""Which path gives which answer: the application that an ASGI server runs, and its description."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

import minibert
from minibert.serve import state
from minibert.serve.fields import (
    BOOLEAN,
    COUNT,
    ENCODING,
    PLAN,
    STRING,
    TEXTS,
    Refusal,
    Schema,
    check_fields,
    read_body,
)
from minibert.serve.guard import Guard, Json, refuse
from minibert.serve.service import Service
from minibert.view.live.page import live_page


def application(service: Service, api_key: str | None = None) -> Guard:
    """The whole application, to be run by an ASGI server."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await anyio.to_thread.run_sync(service.batcher.close)

    inner = Starlette(
        routes=[Route(e.path, partial(_run, service, e), methods=[e.method]) for e in ENDPOINTS],
        exception_handlers={
            Refusal: lambda request, error: refuse(error),
            ValueError: lambda request, error: refuse(Refusal(400, str(error))),
            HTTPException: _no_such_endpoint,
            ClientDisconnect: lambda request, error: Response(status_code=499),
            Exception: lambda request, error: refuse(
                Refusal(500, "an error of the server's own: its log has more")
            ),
        },
        lifespan=lifespan,
    )
    paths = {endpoint.path for endpoint in ENDPOINTS}
    service.guard = Guard(inner, service.settings, service.metrics, paths, api_key)
    return service.guard


async def _run(service: Service, endpoint: Endpoint, request: Request) -> Response:
    body: dict[str, Any] = {}
    if endpoint.method == "POST":
        body = await read_body(request, service.settings)
        body = check_fields(body, endpoint.fields, endpoint.required)
    with anyio.move_on_after(service.settings.seconds):
        return await endpoint.answer(service, request, body)
    raise Refusal(
        503,
        f"no answer within {service.settings.seconds:g} seconds: send fewer texts at a time, or "
        f"try again when the server has less to do",
    )


class Endpoint(NamedTuple):
    """A path, who answers there, and what the body may say."""

    method: str
    path: str
    answer: Callable[[Service, Request, Mapping[str, Any]], Awaitable[Response]]
    summary: str
    fields: Mapping[str, Schema] = {}
    required: Sequence[str] = ()


async def openapi(service: Service, request: Request, body: Mapping[str, Any]) -> Response:
    return Json(describe(service.name))


async def index(service: Service, request: Request, body: Mapping[str, Any]) -> Response:
    """The live page; of a model that it cannot show, a list of what is served."""
    try:
        service.page = service.page or await anyio.to_thread.run_sync(live_page, service.bert)
    except ValueError as error:
        lines = [f"{e.method:<4}  {e.path:<16}  {e.summary}" for e in ENDPOINTS]
        title = [f"minibert serves {service.name}, without the live page: {error}", ""]
        return PlainTextResponse("\n".join([*title, *lines, ""]))
    return HTMLResponse(service.page)


_ENCODE: dict[str, Schema] = {
    "id": {"anyOf": [STRING, {"type": "integer"}]},
    "texts": {"type": "array"},
    "is_tokenized": BOOLEAN,
    "show_tokens": BOOLEAN,
    "encoding_format": ENCODING,
    **PLAN,
}
_OPENAI: dict[str, Schema] = {
    "input": TEXTS,
    "model": STRING,
    "dimensions": COUNT,
    "encoding_format": ENCODING,
    "user": STRING,
    **PLAN,
}
_EMBED: dict[str, Schema] = {"inputs": TEXTS, "truncate": BOOLEAN, "dimensions": COUNT, **PLAN}
ENDPOINTS = [
    Endpoint("GET", "/", index, "the live page: this model at work in a browser"),
    Endpoint(
        "POST", "/v1/embeddings", Service.embeddings, "vectors, as OpenAI's", _OPENAI, ["input"]
    ),
    Endpoint("GET", "/v1/models", state.models, "the model, as OpenAI's"),
    Endpoint(
        "POST", "/encode", Service.encode, "vectors, as bert-as-service's", _ENCODE, ["texts"]
    ),
    Endpoint("GET", "/status/server", state.status, "the server, as bert-as-service's"),
    Endpoint("POST", "/embed", Service.embed, "vectors, as plain lists", _EMBED, ["inputs"]),
    Endpoint(
        "POST",
        "/tokenize",
        Service.tokenize,
        "pieces, ids and their places",
        {"inputs": TEXTS, "add_special_tokens": BOOLEAN},
        ["inputs"],
    ),
    Endpoint(
        "POST",
        "/fill-mask",
        Service.fill_mask,
        "the likeliest words for every [MASK]",
        {"inputs": TEXTS, "top_k": COUNT},
        ["inputs"],
    ),
    Endpoint(
        "POST",
        "/predict",
        Service.predict,
        "the classes of a fine-tuned model",
        {"inputs": TEXTS, "truncate": BOOLEAN},
        ["inputs"],
    ),
    Endpoint("GET", "/health", state.health, "whether the model is at work"),
    Endpoint("GET", "/metrics", state.show_metrics, "counts, for Prometheus"),
    Endpoint("GET", "/openapi.json", openapi, "a description of all this"),
]


def describe(name: str) -> dict[str, Any]:
    """The interface as OpenAPI 3.1 describes it."""
    paths: dict[str, Any] = {}
    for endpoint in ENDPOINTS:
        operation: dict[str, Any] = {
            "summary": endpoint.summary,
            "operationId": endpoint.answer.__name__,
            "responses": {
                "200": {"description": "the answer"},
                "default": {"description": 'a refusal: {"error": {"message": ...}}'},
            },
        }
        if endpoint.fields:
            schema = {
                "type": "object",
                "properties": endpoint.fields,
                "required": endpoint.required,
                "additionalProperties": False,
            }
            content = {"application/json": {"schema": schema}}
            operation["requestBody"] = {"required": True, "content": content}
        paths[endpoint.path] = {endpoint.method.lower(): operation}
    bearer = {"type": "http", "scheme": "bearer"}
    return {
        "openapi": "3.1.0",
        "info": {"title": f"minibert serve: {name}", "version": minibert.__version__},
        "components": {"securitySchemes": {"key": bearer}},
        "security": [{}, {"key": []}],
        "paths": paths,
    }


async def _no_such_endpoint(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = ", ".join(f"{e.method} {e.path}" for e in ENDPOINTS)
    refusal = Refusal(error.status_code, f"no such endpoint; there are {known}")
    return refuse(refusal, dict(error.headers or {}))
