"""`minibert serve` as a process: from start to end, and what it refuses."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from minibert.cli.main import main

pytest.importorskip("uvicorn", reason="the extra serve is absent: uvicorn")


@contextmanager
def command(*words, **environment):
    """The process, and its port."""
    program = [sys.executable, "-m", "minibert", "serve", *map(str, words), "--port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    process = subprocess.Popen(program, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        first = process.stderr.readline()
        place = re.search(r"at http://127\.0\.0\.1:(\d+)", first)
        assert place, first + process.stderr.read()
        yield process, int(place[1])
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_stopped_under_load(bert, folder):
    """Whatever was sent on an open connection is answered, and rightly; then the process ends."""
    texts = [[f"word{20 + n % 30}"] * (1 + n % 4) for n in range(60)]
    expected = [bert.embed(rows) for rows in texts]
    answered, lost, wrong = [], [], []
    warm, stopped = threading.Barrier(9), threading.Event()

    def client(first):
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        line.connect()
        number = first
        while True:
            if number == first + 3:
                warm.wait(60)
            try:
                line.request("POST", "/embed", json.dumps({"inputs": texts[number % 60]}), kind)
                response = line.getresponse()
                content = json.loads(response.read())
            except (OSError, http.client.HTTPException) as error:
                lost.append(repr(error))
                return
            answered.append(stopped.is_set())
            if response.status != 200 or np.abs(content - expected[number % 60]).max() > 1e-5:
                wrong.append(content)
            if response.will_close:  # asked to leave; a new connection may be refused
                return
            number += 1

    kind = {"Content-Type": "application/json"}
    with command(folder) as (process, port):
        threads = [threading.Thread(target=client, args=(7 * n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        warm.wait(60)
        stopped.set()
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(60)
        assert process.wait(60) == 0
        assert f"stopped after {len(answered)} requests" in process.stderr.read()
    assert not wrong and not lost and sum(answered) >= 8


def test_a_key_in_the_environment(folder):
    with command(folder, "--pooling", "REDUCE_MAX", MINIBERT_API_KEY="s3cret") as (_, port):
        for key, status in (("", 401), ("s3cret", 200)):
            line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            line.request("GET", "/status/server", headers={"Authorization": f"Bearer {key}"})
            response = line.getresponse()
            content = json.loads(response.read())
            line.close()
            assert response.status == status
        assert content["pooling_strategy"] == "max" and content["model_dir"] == folder.name


def test_what_is_refused(folder, capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", str(folder), "--port", str(port)]) == 1
        assert f"cannot listen at 127.0.0.1, port {port}" in capsys.readouterr().err
    for words, said in (
        (["--port", "70000"], "port must lie in 0..65535"),
        (["--queue", "0"], "queue must be more than 0"),
        (["--port", "0", "--pooling", "medium"], "pooling must be one of"),
        (["--port", "0", "--layer", "99"], "layer must lie in"),
        (["--device", "cuda:99"], "no device cuda:99"),
    ):
        assert main(["serve", str(folder), *words]) == 1
        assert said in capsys.readouterr().err
    assert main(["serve", str(folder / "absent"), "--port", "0"]) == 1
    assert "absent" in capsys.readouterr().err
    for module in ("minibert.serve.app", "starlette", "starlette.requests"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "starlette", None)
    monkeypatch.delitem(sys.modules, "minibert.serve.fields", raising=False)
    assert main(["serve", str(folder)]) == 1
    assert "pip install" in capsys.readouterr().err
