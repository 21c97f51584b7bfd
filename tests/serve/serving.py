"""A server in a thread of the test, at a real socket, and requests to it."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

pytest.importorskip("starlette", reason="the extra serve is absent: starlette")
pytest.importorskip("uvicorn", reason="the extra serve is absent: uvicorn")

from minibert.serve.app import application
from minibert.serve.run import listen, make_server
from minibert.serve.service import Service
from minibert.serve.settings import ServeSettings


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def error(self) -> str:
        return self.json["error"]["message"]


class Running(NamedTuple):
    port: int
    service: Service

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request on a connection of its own; `body` is bytes, or becomes JSON."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            headers = {"Content-Type": "application/json", **headers}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        return self.ask("POST", path, body, **headers)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, the model does nothing."""
        go, there = threading.Event(), threading.Event()

        def wait() -> None:
            there.set()
            go.wait(60)

        self.service.batcher.call(wait)
        assert there.wait(60)
        try:
            yield
        finally:
            go.set()


@contextmanager
def serving(
    bert: Any, *, name: str = "tiny", key: str | None = None, batch_tokens: int | None = None,
    embedding: Any = None, **settings: Any,
) -> Iterator[Running]:  # fmt: skip
    chosen = ServeSettings(port=0, **settings)
    service = Service(bert, chosen, name, embedding, batch_tokens)
    with listen(chosen) as listener:
        server = make_server(application(service, key), chosen)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        port = listener.getsockname()[1]
        thread.start()
        try:
            yield Running(port, service)
        finally:
            server.should_exit = True
            thread.join(60)
    assert not thread.is_alive() and not service.batcher.thread.is_alive()
