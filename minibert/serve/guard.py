"""Who is let in: before a request reaches the service, and before its body is read.

A web page of somebody else's, open in a browser of this machine, can send requests here too. It
cannot read the answers, for no header allows it (CORS). By DNS rebinding, where its own name leads
to this machine for a moment, it could: so the Host must be an address or a name that was allowed.
"""

import hmac
import ipaddress
import json
import time
from collections.abc import Collection
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from minibert.serve.fields import Refusal
from minibert.serve.metrics import Metrics
from minibert.serve.settings import ServeSettings

OPEN = ("/health",)  # without a key


class Guard:
    """An application around the service: host, key, and how many requests there are at a time.

    Once `leaving` is set, every answer asks the client to close the connection.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: ServeSettings,
        metrics: Metrics,
        paths: Collection[str],
        api_key: str | None = None,
    ):
        self.app, self.settings, self.metrics, self.paths = app, settings, metrics, paths
        self.key = api_key.encode() if api_key else None
        names = [name.strip().lower() for name in settings.allowed_hosts.split(",")]
        self.names = {"localhost", settings.host.lower(), *filter(None, names)}
        self.leaving = False
        self.waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.monotonic()
        status = 499  # nobody was there to be answered

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-content-type-options", b"nosniff"))
                if self.leaving:
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        refusal = self._refusal(Request(scope))
        app = refuse(refusal) if refusal else self.app
        self.waiting += 1
        try:
            await app(scope, receive, answer)
        finally:
            self.waiting -= 1
            path = scope["path"] if scope["path"] in self.paths else "other"
            self.metrics.count_request(path, status, time.monotonic() - start)

    def _refusal(self, request: Request) -> Refusal | None:
        """Why a request is not let in; None if it is."""
        hosts = request.headers.getlist("host")
        if not all(map(self._knows, hosts)):
            return Refusal(
                421,
                "this server goes by its address or by localhost. If clients call it by "
                "another name, start it with --allowed-hosts NAME",
            )
        path = request.url.path
        if self.key and path not in OPEN:
            scheme, _, key = request.headers.get("authorization", "").partition(" ")
            right = hmac.compare_digest(key.strip().encode(), self.key)
            if scheme.lower() != "bearer" or not right:
                return Refusal(
                    401,
                    "expected the header Authorization: Bearer KEY with this server's key",
                    "invalid_api_key",
                )
        if request.method == "POST" and self.waiting >= self.settings.queue:
            return Refusal(503, "too many requests at a time: try again in a second", "queue_full")
        return None

    def _knows(self, host: str) -> bool:
        name = host.rpartition(":")[0] if ":" in host.rpartition("]")[2] else host
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name.lower() in self.names
        return True


def refuse(refusal: Refusal, headers: dict[str, str] | None = None) -> Response:
    """The answer that says why there is none."""
    headers = dict(headers or {})
    if refusal.status == 503:
        headers["Retry-After"] = "1"
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Json(refusal.content(), refusal.status, headers)


class Json(JSONResponse):
    """In ASCII: half of a surrogate pair, which a text may hold, has no UTF-8."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
