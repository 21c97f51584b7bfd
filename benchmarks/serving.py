"""The server under load: `python -m benchmarks.serving`, under four minutes, with all-MiniLM-L6-v2.

64 clients, on this machine, send requests of 1 to 16 real sentences; every answer is compared with
the model's own. In each round the same texts go, in turns,

    through `bert.embed`, all in one list (the measure of what is possible here),
    through `minibert serve`,
    through a plain server around sentence-transformers: Starlette, uvicorn, `encode` in a thread.

Then two servers that have too much to do: one with a short queue, which must answer 503 and go on,
and one that gets SIGTERM under load, which must answer whatever was sent on an open connection.

The clients run in this process, beside the servers, and take their share of the processors.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minibert
from benchmarks.measure import machine
from benchmarks.measured_models import MINILM, sentences
from minibert.system.files import written_whole
from minibert.system.processes import use_threads

CLIENTS = 64
PLAIN = "--plain-server"
Loads = list[tuple[list[str], np.ndarray]]  # the texts of a request, and their vectors


class Result(NamedTuple):
    """What became of a round's requests."""

    texts: int
    seconds: float
    latencies: list[float]
    statuses: list[int]
    wrong: int
    lost: int

    def summary(self) -> dict[str, Any]:
        """Texts per second; milliseconds that half, and 99 of 100, of the answers took."""
        ranks = statistics.quantiles(self.latencies, n=100) if len(self.latencies) > 1 else [0] * 99
        return {
            "texts_per_second": round(self.texts / self.seconds, 1),
            "p50_ms": round(1000 * ranks[49], 1),
            "p99_ms": round(1000 * ranks[98], 1),
            "answered": self.statuses.count(200),
            "refused": len(self.statuses) - self.statuses.count(200),
            "wrong": self.wrong,
            "lost": self.lost,
        }


def make_loads(bert: minibert.Bert, count: int, seed: int = 0) -> Loads:
    """Requests of 1 to 16 sentences, half of them of one."""
    rng = random.Random(seed)
    lines = sentences()
    requests = [
        rng.choices(lines, k=1 if rng.random() < 0.5 else rng.randint(2, 16)) for _ in range(count)
    ]
    vectors = iter(bert.embed([text for texts in requests for text in texts]))
    return [(texts, np.stack([next(vectors) for _ in texts])) for texts in requests]


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, texts: Sequence[str]
) -> tuple[int, bytes, bool]:
    """Status, content, and whether the server asks to close."""
    body = json.dumps({"input": texts, "encoding_format": "base64"}).encode()
    head = (
        "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    answer = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = re.search(rb"content-length: (\d+)", answer)
    assert length
    status = int(answer.split(maxsplit=2)[1])
    return status, await reader.readexactly(int(length[1])), b"connection: close" in answer


async def send_all(port: int, loads: Loads, again: float = 0.0) -> Result:
    """Each request once, by clients that send the next when they have the answer to the last.

    With `again`, until so many seconds are over, or the server takes no more.
    """
    latencies: list[float] = []
    answers: list[tuple[int, int, bytes]] = []
    lost = 0
    numbers = iter(range(len(loads) if not again else 10**9))
    start = time.perf_counter()

    async def client() -> None:
        nonlocal lost
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            if again and time.perf_counter() - start > again:
                break
            begun = time.perf_counter()
            try:
                status, content, last = await _ask(reader, writer, loads[number % len(loads)][0])
            except (OSError, asyncio.IncompleteReadError):
                lost += 1
                break
            latencies.append(time.perf_counter() - begun)
            answers.append((number % len(loads), status, content))
            if last:
                break
        writer.close()

    await asyncio.wait_for(asyncio.gather(*(client() for _ in range(CLIENTS))), 120)
    seconds = time.perf_counter() - start
    wrong = texts = 0
    for number, status, content in answers:  # after the time is taken
        if status == 200:
            rows = [base64.b64decode(row["embedding"]) for row in json.loads(content)["data"]]
            vectors = np.stack([np.frombuffer(row, dtype="<f4") for row in rows])
            expected = loads[number][1]
            wrong += vectors.shape != expected.shape or np.abs(vectors - expected).max() > 1e-5
            texts += len(rows)
    statuses = [status for _, status, _ in answers]
    return Result(texts, seconds, latencies, statuses, int(wrong), lost)


@contextlib.contextmanager
def running(*words: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server's process, and its port."""
    with subprocess.Popen(
        [sys.executable, "-m", *words], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr
            for line in process.stderr:
                if place := re.search(r"at http://127\.0\.0\.1:(\d+)", line):
                    break
            else:
                raise RuntimeError(f"no server came of {' '.join(words)}")
            yield process, int(place[1])
        finally:
            process.terminate()
            process.communicate(timeout=90)


def minibert_server(*options: str) -> Any:
    return running("minibert", "serve", str(MINILM), "--port", "0", "--queue", "1000", *options)


def plain_server() -> None:
    """What one writes in ten minutes around sentence-transformers; runs until it is ended."""
    import threading

    import uvicorn
    from sentence_transformers import SentenceTransformer
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from minibert.serve.run import listen
    from minibert.serve.settings import ServeSettings

    use_threads()
    model = SentenceTransformer(str(MINILM), device="cpu")
    one_at_a_time = threading.Lock()  # without it the threads of torch fight for the processors

    def encode(texts: list[str]) -> np.ndarray:
        with one_at_a_time:
            return model.encode(texts, show_progress_bar=False)

    async def embeddings(request: Request) -> JSONResponse:
        rows = await run_in_threadpool(encode, (await request.json())["input"])
        coded = [base64.b64encode(row.tobytes()).decode() for row in rows]
        return JSONResponse({"data": [{"embedding": row} for row in coded]})

    app = Starlette(routes=[Route("/v1/embeddings", embeddings, methods=["POST"])])
    listener = listen(ServeSettings(port=0))
    print(f"plain server at http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
    server.run(sockets=[listener])


def side_by_side(bert: minibert.Bert, rounds: int, seconds: float) -> dict[str, Any]:
    """Rounds of about so many seconds for each of the three."""
    probe = make_loads(bert, 200)
    texts = [text for load, _ in probe for text in load]
    begun = time.perf_counter()
    bert.embed(texts)
    rate = len(texts) / (time.perf_counter() - begun)
    loads = make_loads(bert, max(CLIENTS, round(rate * seconds * len(probe) / len(texts))), seed=1)
    texts = [text for load, _ in loads for text in load]
    results: dict[str, list[Result]] = {"minibert serve": [], "plain server": []}
    in_a_list = []
    with minibert_server() as (_, ours), running("benchmarks.serving", PLAIN) as (_, plain):
        ports = {"minibert serve": ours, "plain server": plain}
        for port in ports.values():
            asyncio.run(send_all(port, probe))  # warm
        for number in range(rounds):
            begun = time.perf_counter()
            bert.embed(texts)
            in_a_list.append(len(texts) / (time.perf_counter() - begun))
            for name in list(ports)[:: 1 if number % 2 else -1]:
                results[name].append(asyncio.run(send_all(ports[name], loads)))
    report: dict[str, Any] = {
        "requests": len(loads),
        "texts": len(texts),
        "bert.embed, one list": {"texts_per_second": round(statistics.median(in_a_list), 1)},
    }
    for name, runs in results.items():
        report[name] = [run.summary() for run in runs]
    for name, bases in (
        ("minibert serve / bert.embed", in_a_list),
        ("minibert serve / plain server", [r.texts / r.seconds for r in results["plain server"]]),
    ):
        ratios = [r.texts / r.seconds / b for r, b in zip(results["minibert serve"], bases)]
        report[name] = round(statistics.median(ratios), 3)
    return report


def overload(bert: minibert.Bert) -> dict[str, Any]:
    """A queue of 8 for 64 clients: every request is answered, by vectors or by 503."""
    with minibert_server("--queue", "8") as (_, port):
        return asyncio.run(send_all(port, make_loads(bert, 100), again=5.0)).summary()


def stopped(bert: minibert.Bert) -> dict[str, Any]:
    """SIGTERM after two seconds of load."""

    async def load_and_stop(process: subprocess.Popen[str], port: int) -> Result:
        load = asyncio.ensure_future(send_all(port, make_loads(bert, 100), again=30.0))
        await asyncio.sleep(2)
        process.send_signal(signal.SIGTERM)
        return await load

    with minibert_server() as (process, port):
        result = asyncio.run(load_and_stop(process, port)).summary()
        return {**result, "exit_code": process.wait(60)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each of the three, a round")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT.json")
    parser.add_argument(PLAIN, action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plain_server:
        plain_server()
        return
    use_threads()
    bert = minibert.load(MINILM)
    report = {
        "machine": machine(),
        "clients": CLIENTS,
        "load": side_by_side(bert, arguments.rounds, arguments.seconds),
        "overload": overload(bert),
        "stopped": stopped(bert),
    }
    text = json.dumps(report, indent=2) + "\n"
    if arguments.output:
        with written_whole(arguments.output) as new:
            new.write_text(text, encoding="utf-8")
    print(text, end="")
    load, full, end = report["load"], report["overload"], report["stopped"]
    checked = [*load["minibert serve"], *load["plain server"], full, end]
    good = {
        "0.85 of bert.embed in one list": load["minibert serve / bert.embed"] >= 0.85,
        "ahead of the plain server": load["minibert serve / plain server"] > 1,
        "every answer right": not any(run["wrong"] for run in checked),
        "no request lost": not any(run["lost"] for run in checked),
        "overload is refused, and the rest answered": full["refused"] > 0 and full["answered"] > 0,
        "SIGTERM ends it in order": end["exit_code"] == 0,
    }
    for words, holds in good.items():
        print(f"{'yes' if holds else 'NO ':3}  {words}")
    sys.exit(not all(good.values()))


if __name__ == "__main__":
    main()
