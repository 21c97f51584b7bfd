"""A client of `minibert serve` with the calls of bert-as-service's: one import line changes.

    from bert_serving.client import BertClient      # before
    from minibert.serve import BertClient           # now

It speaks HTTP, needs numpy alone, and may be shared by threads. Other than there: lists of any
length are sent in parts, a server that has too much to do is asked again, texts that were cut are
a warning, and several clients with one `identity` do not share answers.

Source: https://github.com/jina-ai/clip-as-service, tag v1.10.0 (bert-as-service).
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import queue
import threading
import time
import uuid
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

PART = 256  # texts that are sent at a time
AT_A_TIME = 8  # requests that are not waited for


class Response(NamedTuple):
    """What `fetch` yields: the number of the request, its vectors, and the tokens if asked for."""

    id: int
    embedding: Any
    tokens: list[list[str]] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return np.shape(self.embedding)


class BertClient:
    """Vectors of texts from a running `minibert serve`.

    ip, port      where it listens
    output_fmt    "ndarray", or "list" for lists of lists of floats
    show_server_config  print the server's status at the start
    timeout       milliseconds for an answer; -1: as long as it takes
    ignore_all_checks   do not ask the server for its status at the start
    api_key       the server's key; default: MINIBERT_API_KEY

    port_out, identity, check_version, check_length and check_token_info are taken and not needed.
    Raises ConnectionError if no server answers, TimeoutError, ValueError with what the server says
    of a request, and TypeError for what is no list of texts.
    """

    def __init__(
        self,
        ip: str = "localhost",
        port: int = 8125,
        port_out: int | None = None,
        output_fmt: str = "ndarray",
        show_server_config: bool = False,
        identity: str | bytes | None = None,
        check_version: bool = True,
        check_length: bool = True,
        check_token_info: bool = True,
        ignore_all_checks: bool = False,
        timeout: float = -1,
        api_key: str | None = None,
    ):
        if output_fmt not in ("ndarray", "list"):
            raise AttributeError(f'output_fmt must be "ndarray" or "list", got {output_fmt!r}')
        self.ip, self.port, self.port_out = ip, port, port_out
        self.output_fmt, self.timeout = output_fmt, timeout
        self.identity = identity or str(uuid.uuid4()).encode()
        self.request_id = 0
        self.pending_request: set[int] = set()
        self._key = api_key or os.environ.get("MINIBERT_API_KEY")
        self._done: queue.Queue[Response | Exception] = queue.Queue()
        self._connections = threading.local()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(AT_A_TIME, "BertClient")
        if not ignore_all_checks or show_server_config:
            status = self.server_status
            if show_server_config:
                print("server config:", json.dumps(status, indent=2), sep="\n")

    def __enter__(self) -> BertClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._pool.shutdown(cancel_futures=True)
        self._drop()

    @property
    def status(self) -> dict[str, Any]:
        """How this client is."""
        return {
            "identity": self.identity,
            "num_request": self.request_id,
            "num_pending_request": len(self.pending_request),
            "pending_request": self.pending_request,
            "output_fmt": self.output_fmt,
            "server_ip": self.ip,
            "port": self.port,
            "port_out": self.port_out,
            "timeout": self.timeout,
        }

    @property
    def server_status(self) -> dict[str, Any]:
        """How the server is: its model, its settings, what it has done."""
        return self._ask("GET", "/status/server")

    def encode(
        self,
        texts: Sequence[Any],
        blocking: bool = True,
        is_tokenized: bool = False,
        show_tokens: bool = False,
    ) -> Any:
        """One vector per text, (n, W); with the server's pooling "none" (n, longest T, H).

        texts         a list of strings, or with `is_tokenized` a list of lists of tokens
        blocking      False: give None at once, and the vectors to `fetch` and `fetch_all`
        show_tokens   give (vectors, tokens)
        """
        kind = list if is_tokenized else str
        if not isinstance(texts, list) or not all(isinstance(text, kind) for text in texts):
            raise TypeError(
                f"expected a list of {'lists of tokens' if is_tokenized else 'texts (str)'}, got "
                f"{texts!r:.60}"
            )
        if not texts:
            raise ValueError("expected one text or more, got none")
        with self._lock:
            self.request_id += 1
            number = self.request_id
        if not blocking:
            self.pending_request.add(number)
            self._pool.submit(self._encode_later, number, texts, is_tokenized, show_tokens)
            return None
        answer = self._encode(number, texts, is_tokenized, show_tokens)
        return (answer.embedding, answer.tokens) if show_tokens else answer.embedding

    def fetch(self, delay: float = 0.0) -> Iterator[Response]:
        """What `encode(blocking=False)` has asked for, as it comes: (id, embedding, tokens)."""
        time.sleep(delay)
        while self.pending_request:
            answer = self._done.get()
            if isinstance(answer, Exception):
                raise answer
            self.pending_request.discard(answer.id)
            yield answer

    def fetch_all(self, sort: bool = True, concat: bool = False) -> Any:
        """All of it, as a list in the order of the requests; one array with `concat`; None if
        nothing was asked for."""
        if not self.pending_request:
            return None
        answers = list(self.fetch())
        if sort:
            answers.sort(key=lambda answer: answer.id)
        vectors = [answer.embedding for answer in answers]
        if not concat:
            return vectors
        if self.output_fmt == "list":
            return [row for rows in vectors for row in rows]
        return np.concatenate(vectors)

    def encode_async(
        self,
        batch_generator: Iterable[Sequence[Any]],
        max_num_batch: int | None = None,
        delay: float = 0.1,
        **settings: Any,
    ) -> Iterator[Response]:
        """Lists of texts, from a generator that may be endless -> their vectors as they come."""
        for texts in islice(batch_generator, max_num_batch):
            self.encode(texts, **{**settings, "blocking": False})
            if len(self.pending_request) >= AT_A_TIME:
                yield next(self.fetch())
        yield from self.fetch()

    def _encode_later(self, number: int, *arguments: Any) -> None:
        try:
            self._done.put(self._encode(number, *arguments))
        except Exception as error:
            self.pending_request.discard(number)
            self._done.put(error)

    def _encode(
        self, number: int, texts: Sequence[Any], is_tokenized: bool, show_tokens: bool
    ) -> Response:
        parts, tokens = [], []
        for start in range(0, len(texts), PART):
            body = {
                "id": number,
                "texts": texts[start : start + PART],
                "is_tokenized": is_tokenized,
                "show_tokens": show_tokens,
                "encoding_format": "base64",
            }
            answer = self._ask("POST", "/encode", json.dumps(body).encode())
            if "warning" in answer:
                warnings.warn(answer["warning"], stacklevel=4)
            numbers = np.frombuffer(base64.b64decode(answer["result"]), dtype="<f4")
            parts.append(numbers.reshape(answer["shape"]))
            tokens += answer.get("tokens", [])
        longest = max(part.shape[1] for part in parts)
        if parts[0].ndim == 3:  # every token: as long as the longest text of all
            parts = [np.pad(p, ((0, 0), (0, longest - p.shape[1]), (0, 0))) for p in parts]
        vectors = np.concatenate(parts)
        embedding = vectors.tolist() if self.output_fmt == "list" else vectors
        return Response(number, embedding, tokens if show_tokens else None)

    def _ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        """The answer of the server; one that is full is asked again until the time is up."""
        end = time.monotonic() + self.timeout / 1000 if self.timeout >= 0 else float("inf")
        while True:
            status, content = self._send(method, path, body, end)
            try:
                answer = json.loads(content)
            except ValueError:
                raise ConnectionError(
                    f"{self.ip}:{self.port} does not answer as minibert serve: {content[:60]!r}"
                ) from None
            if status == 200:
                return answer
            error = answer.get("error", {})
            if error.get("code") != "queue_full":
                raise ValueError(f"the server refuses this ({status}): {error.get('message')}")
            if time.monotonic() + 1 > end:
                raise TimeoutError(f"the server was full for {self.timeout:g} ms")
            time.sleep(1)

    def _send(self, method: str, path: str, body: bytes | None, end: float) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"} if body else {}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        while True:
            old = getattr(self._connections, "open", None)
            connection = old or http.client.HTTPConnection(self.ip, self.port)
            self._connections.open = connection
            connection.timeout = max(end - time.monotonic(), 0.001) if end < float("inf") else None
            try:
                if connection.sock:
                    connection.sock.settimeout(connection.timeout)
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                return response.status, response.read()
            except TimeoutError:
                self._drop()
                raise TimeoutError(
                    f"no answer from {self.ip}:{self.port} within {self.timeout:g} ms: is it at "
                    f"work on more than that? A larger timeout, or fewer texts at a time"
                ) from None
            except (OSError, http.client.HTTPException) as error:
                self._drop()
                if old is None:  # else the server may have closed a connection that lay idle
                    raise ConnectionError(
                        f"no server answers at {self.ip}:{self.port} ({error}): start one with "
                        f"`minibert serve`"
                    ) from None

    def _drop(self) -> None:
        connection = getattr(self._connections, "open", None)
        if connection:
            connection.close()
        self._connections.open = None
