"""From a model to a server that runs until it is told to stop, and then finishes what it has begun.

uvicorn speaks HTTP. What it leaves open is closed here: a client that sends nothing, or half of a
request's head, or does not take its answer, is let go after a while; and when the server stops, a
connection that lies idle stays open for a moment, since a request may be on its way in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from minibert.serve.guard import Guard
from minibert.serve.settings import ServeSettings

PATIENCE = 20.0  # seconds for a request's head, and for a client to take more of its answer
LINGER = 0.5  # seconds that an idle connection stays open when the server stops
CONNECTIONS = 1000
KEEP_ALIVE = 60  # seconds between two requests

Base: Any = object if TYPE_CHECKING else AutoHTTPProtocol


class Connection(Base):
    """uvicorn's, with an end to its patience."""

    timer: asyncio.TimerHandle | None = None

    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
        self._wait(self._close_if_idle)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._idle():
            self._wait(None)
        elif self.timer is None:
            self._wait(self._close_if_idle)

    def connection_lost(self, error: Exception | None) -> None:
        self._wait(None)
        super().connection_lost(error)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait(self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._wait(None)

    def shutdown(self) -> None:
        if self._idle():
            self.loop.call_later(LINGER, super().shutdown)
        else:
            super().shutdown()

    def _wait(self, then: Any) -> None:
        """Start the timer anew, or stop it."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer = self.loop.call_later(PATIENCE, then) if then else None

    def _close_if_idle(self) -> None:
        self.timer = None
        if self._idle():
            self.transport.close()


class Server(uvicorn.Server):
    """uvicorn's; as soon as it is told to stop, answers ask the clients to close."""

    guard: Guard

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.guard.leaving = True
        super().handle_exit(sig, frame)


def make_server(guard: Guard, settings: ServeSettings) -> Server:
    """A server for the application, to be run by `run(sockets=[...])`."""
    config = uvicorn.Config(
        guard,
        http=Connection,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=round(settings.seconds + 5),
    )
    server = Server(config)
    server.guard = guard
    return server


def listen(settings: ServeSettings) -> socket.socket:
    """The socket at which clients are awaited. Raises OSError in words."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=1024)
    except OSError as error:
        raise OSError(
            f"cannot listen at {settings.host}, port {settings.port}: {error.strerror or error}. "
            f"Is another server there? Choose another --port, or 0 for any"
        ) from None


def run(guard: Guard, settings: ServeSettings, listener: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM; then finish what was begun."""
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again at the end
        make_server(guard, settings).run(sockets=[listener])
    counts = guard.metrics.requests
    print(f"minibert: stopped after {counts.total():,} requests", file=sys.stderr)
