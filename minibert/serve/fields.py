"""What the body of a request may say: read, checked, and described for /openapi.json.

One table for each endpoint serves the check and the description. Nothing that a client asks for is
overlooked: a field that is not in the table is refused, and so is one of another type.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
from starlette.requests import Request

from minibert.serve.settings import ServeSettings

Schema = Mapping[str, Any]  # a piece of JSON Schema, as far as `_fits` knows it

STRING: Schema = {"type": "string"}
BOOLEAN: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 1}
TEXTS: Schema = {"anyOf": [STRING, {"type": "array", "items": STRING}]}
ENCODING: Schema = {"type": "string", "enum": ["float", "base64"]}
INTEGER: Schema = {"type": "integer"}
LAYERS: Schema = {"anyOf": [INTEGER, {"type": "array", "items": INTEGER}]}
# How vectors are made, as in `bert.embed`.
PLAN: dict[str, Schema] = {
    "pooling": STRING,
    "layer": LAYERS,
    "normalize": BOOLEAN,
    "long_texts": STRING,
    "prompt_name": STRING,
}
TYPES: dict[str, Any] = {"string": str, "boolean": bool, "integer": int, "array": list}
FOREIGN_IDS = (
    "expected texts, got token ids: they are those of another model's tokenizer, and would be read "
    "as other words. Send the texts themselves; in LangChain: "
    "OpenAIEmbeddings(check_embedding_ctx_length=False)"
)


class Refusal(Exception):
    """An answer other than 200: its status, and what was expected, what came and what to do."""

    def __init__(self, status: int, message: str, code: str | None = None):
        super().__init__(message)
        self.status, self.code = status, code

    def content(self) -> dict[str, Any]:
        """The body of the answer, in the form of OpenAI's errors."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        error = {"message": str(self), "type": kind, "param": None, "code": self.code}
        return {"error": error}


async def read_body(request: Request, settings: ServeSettings) -> dict[str, Any]:
    """The JSON object that was sent. Raises Refusal for what is none, too large, or too slow."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # which a page of another site cannot send unasked
        raise Refusal(
            415, f"expected Content-Type: application/json, got {kind[:60] or 'none'}: set it"
        )
    limit = int(settings.max_megabytes * 1e6)
    size, content = 0, bytearray()
    with anyio.move_on_after(settings.seconds) as patience:
        async for chunk in request.stream():
            size += len(chunk)
            content += chunk
            if size > limit:  # read on all the same: a client that still sends sees no answer
                content.clear()
    if patience.cancelled_caught:
        raise Refusal(408, f"the request did not arrive within {settings.seconds:g} seconds")
    if size > limit:
        raise Refusal(
            413,
            f"the request has {size:,} bytes, and {limit:,} are allowed: send the texts in several "
            f"requests, or start the server with a larger --max-megabytes",
        )
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise Refusal(400, f"the body is not JSON: {reason}") from None
    if not isinstance(body, dict):
        raise Refusal(400, f"expected a JSON object, got a {type(body).__name__}")
    return body


def check_fields(
    body: Mapping[str, Any], fields: Mapping[str, Schema], required: Sequence[str] = ()
) -> dict[str, Any]:
    """The fields that are set; null is none.

    >>> check_fields({"input": "a", "user": None}, {"input": TEXTS, "user": STRING}, ["input"])
    {'input': 'a'}
    """
    for name in body:
        if name not in fields:
            raise Refusal(400, f"no field {name[:60]!r}: the fields are {', '.join(fields)}")
    values = {name: value for name, value in body.items() if value is not None}
    for name in required:
        if name not in values:
            raise Refusal(400, f"the field {name!r} is missing")
    for name, value in values.items():
        if fields[name] is TEXTS and holds_ids(value):
            raise Refusal(400, FOREIGN_IDS)
        if not _fits(value, fields[name]):
            raise Refusal(
                400, f"{name} must be {in_words(fields[name])}, got {json.dumps(value)[:60]}"
            )
    return values


def holds_ids(value: Any) -> bool:
    """Whether these are token ids where texts should be: [1, 2] or [[1, 2], [3]].

    >>> holds_ids([[1, 2], [3]]), holds_ids(["1"])
    (True, False)
    """
    first = value[0] if isinstance(value, list) and value else None
    return type(first) is int or (isinstance(first, list) and first[:1] != [] and holds_ids(first))


def _fits(value: Any, schema: Schema) -> bool:
    if "anyOf" in schema:
        return any(_fits(value, one) for one in schema["anyOf"])
    if type(value) is not TYPES[schema["type"]]:
        return False
    if "enum" in schema:
        return value in schema["enum"]
    if "items" in schema:
        return all(_fits(item, schema["items"]) for item in value)
    return "minimum" not in schema or value >= schema["minimum"]


def in_words(schema: Schema) -> str:
    """
    >>> in_words(TEXTS), in_words(COUNT), in_words(ENCODING)
    ('a string or an array (of strings)', 'an integer, at least 1', 'float or base64')
    """
    if "anyOf" in schema:
        return " or ".join(in_words(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(schema["enum"])
    kind = schema["type"]
    words = f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
    if "items" in schema:
        inner = in_words(schema["items"])
        words += f" (of {inner.partition(' ')[2]}s)"
    return words + (f", at least {schema['minimum']}" if "minimum" in schema else "")


def texts_of(value: Any, settings: ServeSettings) -> list[str]:
    """The texts of a request, one or several. Raises Refusal if they are too many or too long."""
    texts: list[str] = [value] if isinstance(value, str) else value
    if not texts:
        raise Refusal(400, "expected one text or more, got none")
    if len(texts) > settings.max_texts:
        raise Refusal(
            413,
            f"the request has {len(texts):,} texts, and {settings.max_texts:,} are allowed: send "
            f"several requests, or start the server with a larger --max-texts",
        )
    for number, text in enumerate(texts):
        if len(text) > settings.max_characters:
            raise Refusal(
                413,
                f"text {number} has {len(text):,} characters, and {settings.max_characters:,} are "
                f"allowed: cut it, or start the server with a larger --max-characters",
            )
    return texts
