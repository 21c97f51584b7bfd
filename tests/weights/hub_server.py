"""A stand-in for the Hugging Face hub: a web server on this machine, in a thread of the test.

It speaks the two parts of the hub's interface that downloading a model needs, and it can be told
to misbehave:

    GET       /api/models/{repo}/revision/{revision}     the commit and its files, with checksums
    HEAD, GET /{repo}/resolve/{revision}/{file}           one file; with Range, from the middle on

    with HubServer() as server:
        commit = server.commit("org/name", {"config.json": b"{}"})  # "main" is this commit now
        ...  # let the client load from server.url
        assert server.downloads() == ["config.json"]
"""

import hashlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import huggingface_hub
from huggingface_hub import constants, file_download

Files = dict[str, bytes]


@dataclass(frozen=True)
class Request:
    method: str
    parts: tuple[str, ...]  # of the path
    range: str | None


def is_large(name: str) -> bool:
    """True for a file that the hub keeps outside git, under its sha256."""
    return name.endswith((".safetensors", ".bin", ".h5"))


def git_sum(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def checksum(name: str, content: bytes) -> str:
    """The checksum by which the hub names a file: sha256 of large ones, git's sha1 of others."""
    return hashlib.sha256(content).hexdigest() if is_large(name) else git_sum(content)


class HubServer:
    """Repositories in memory, a log of requests, and switches for what is to go wrong."""

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, Files]] = {}  # repo -> commit -> its files
        self.branches: dict[tuple[str, str], str] = {}  # (repo, branch) -> commit
        self.log: list[Request] = []
        # Switches: what happens to the content of a file, once per name.
        self.break_after: dict[str, int] = {}  # file -> bytes sent, then the line is closed
        self.reset_after: dict[str, int] = {}  # file -> bytes sent, then the line is reset
        self.damage: set[str] = set()  # files with one wrong byte on the way
        self.cut_short: set[str] = set()  # files sent, as if whole, without their last byte
        # Switches that stay until they are taken back.
        self.refuse: dict[str, tuple[int, str]] = {}  # repo -> status, X-Error-Code; its files too
        self.refuse_files: dict[str, tuple[int, str]] = {}  # the same, but the listing is given
        self.after_listing: Callable[[], object] = lambda: None

    def commit(self, repo: str, files: Files, branch: str = "main") -> str:
        """Add a commit to a repository, and let the branch point to it."""
        commits = self.commits.setdefault(repo, {})
        seed = f"{repo} {len(commits)} {sorted(files)}"
        commit = hashlib.sha1(seed.encode()).hexdigest()
        commits[commit] = files
        self.branches[repo, branch] = commit
        return commit

    def downloads(self) -> list[str]:
        """The names of all files of which content was asked for, in order."""
        parts = [request.parts for request in self.log if request.method == "GET"]
        return ["/".join(part[4:]) for part in parts if part[2:3] == ("resolve",)]

    def __enter__(self) -> "HubServer":
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()
        self._running = True
        return self

    def stop(self) -> None:
        """Let nobody answer at `url` any more."""
        if self._running:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._running = False

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextmanager
def hub_for_this_process(monkeypatch, cache: Path) -> Iterator[HubServer]:
    """A stand-in, with this process's client talking to it, no token and an empty cache."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    if hasattr(huggingface_hub, "close_session"):
        huggingface_hub.close_session()  # an open one has read the proxy settings already
    with HubServer() as stand_in:
        monkeypatch.setattr(constants, "ENDPOINT", stand_in.url)
        template = stand_in.url + "/{repo_id}/resolve/{revision}/{filename}"
        for module in (constants, file_download):
            if hasattr(module, "HUGGINGFACE_CO_URL_TEMPLATE"):
                monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
        yield stand_in


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        # A slash inside a revision arrives quoted: split first.
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        self.hub.log.append(Request(self.command, tuple(parts), self.headers.get("Range")))
        if parts[:2] == ["api", "models"] and parts[4:5] == ["revision"]:
            self._listing("/".join(parts[2:4]), parts[5])
        elif parts[2:3] == ["resolve"]:
            self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._refuse(404, "")

    def _commit(self, repo: str, revision: str) -> str | None:
        """The commit that is meant; None once the refusal has been sent."""
        commits = self.hub.commits.get(repo)
        if repo in self.hub.refuse:
            self._refuse(*self.hub.refuse[repo])
        elif commits is None:
            self._refuse(401, "RepoNotFound")
        elif revision in commits:
            return revision
        elif (repo, revision) in self.hub.branches:
            return self.hub.branches[repo, revision]
        else:
            self._refuse(404, "RevisionNotFound")
        return None

    def _listing(self, repo: str, revision: str) -> None:
        commit = self._commit(repo, revision)
        if commit is None:
            return
        siblings = []
        for name, content in self.hub.commits[repo][commit].items():
            entry: dict = {"rfilename": name, "size": len(content), "blobId": git_sum(content)}
            if is_large(name):
                sha256 = checksum(name, content)
                entry["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 134}
                entry["blobId"] = git_sum(f"pointer to {sha256}".encode())
            siblings.append(entry)
        answer = {"_id": "0", "id": repo, "modelId": repo, "sha": commit, "siblings": siblings}
        self._send(json.dumps(answer).encode(), {"Content-Type": "application/json"})
        self.hub.after_listing()

    def _file(self, repo: str, revision: str, name: str) -> None:
        commit = self._commit(repo, revision)
        if commit is None:
            return
        content = self.hub.commits[repo][commit].get(name)
        if repo in self.hub.refuse_files:
            self._refuse(*self.hub.refuse_files[repo])
        elif content is None:
            self._refuse(404, "EntryNotFound")
        else:
            self._content(name, content, commit)

    def _content(self, name: str, content: bytes, commit: str) -> None:
        headers = {
            "ETag": f'"{checksum(name, content)}"',
            "X-Repo-Commit": commit,
            "Accept-Ranges": "bytes",
        }
        if self.command == "HEAD":
            self._send(content, headers)
            return
        if name in self.hub.damage:
            self.hub.damage.remove(name)
            content = content[:-1] + bytes([content[-1] ^ 1])
        if name in self.hub.cut_short:
            self.hub.cut_short.remove(name)
            content = content[:-1]
        start, status = 0, 200
        if asked := self.headers.get("Range"):
            start, status = int(asked.removeprefix("bytes=").split("-")[0]), 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if name in self.hub.reset_after:
            self._send(content[start:], headers, status, self.hub.reset_after.pop(name))
            # Closing without any time to linger is a reset.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            socket.close(self.connection.detach())
        else:
            self._send(content[start:], headers, status, self.hub.break_after.pop(name, None))

    def _refuse(self, status: int, code: str) -> None:
        self._send(b"{}", {"X-Error-Code": code} if code else {}, status)

    def _send(
        self, body: bytes, headers: dict[str, str], status: int = 200, stop: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:stop])
