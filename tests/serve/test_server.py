"""The server at a real socket: right answers, refusals in words, limits, and an orderly end."""

import base64
import http.client
import json
import random
import re
import socket
import threading
import time

import numpy as np
import pytest

import minibert
import minibert.serve.run
from minibert.serve.app import ENDPOINTS
from minibert.tasks.classification import BertClassifier
from minibert.tasks.saved import save_task
from minibert.view.live.page import live_page
from tests.serve.serving import serving

TEXTS = ["The river bank was flooded.", "", "A man went in.", "he", "the " * 9]
SCRIPT = '<script>alert(1)</script>"\x00\x1b[31m\u202e'


@pytest.fixture(scope="module")
def server(bert):
    with serving(bert) as running:
        yield running


def rows_of(answer):
    assert answer.status == 200, answer.content
    return np.array([row["embedding"] for row in answer.json["data"]], dtype=np.float32)


# ---- Vectors ----


def test_vectors_are_those_of_embed(minilm):
    texts = [*TEXTS, "Bank-robbery; naïve, 中文", "long " * 100]
    expected = minilm.embed(texts)
    with serving(minilm, name="sentence-transformers/all-MiniLM-L6-v2") as server:
        answer = server.post("/v1/embeddings", {"input": texts, "model": "all-MiniLM-L6-v2"})
        assert np.abs(rows_of(answer) - expected).max() < 1e-6
        assert [row["index"] for row in answer.json["data"]] == list(range(len(texts)))
        lengths = [len(minilm.tokenizer(text)["input_ids"][0]) for text in texts]
        assert answer.json["usage"] == {"prompt_tokens": sum(lengths), "total_tokens": sum(lengths)}
        coded = server.post("/v1/embeddings", {"input": texts, "encoding_format": "base64"}).json
        for row, vector in zip(coded["data"], expected, strict=True):
            numbers = np.frombuffer(base64.b64decode(row["embedding"]), dtype="<f4")
            assert np.abs(numbers - vector).max() < 1e-6
        for path in ("/embed", "/encode"):
            field = "texts" if path == "/encode" else "inputs"
            given = server.post(path, {field: texts}).json
            assert (
                np.abs(np.array(given["result"] if field == "texts" else given) - expected).max()
                < 1e-6
            )
        short = rows_of(server.post("/v1/embeddings", {"input": texts, "dimensions": 7}))
        cut = expected[:, :7]
        assert np.abs(short - cut / np.linalg.norm(cut, axis=1, keepdims=True)).max() < 1e-6


@pytest.mark.parametrize(
    "settings",
    [
        {"pooling": "max", "layer": -2},
        {"pooling": "cls", "layer": [-1, -2], "normalize": True},
        {"pooling": "pooler"},
        {"long_texts": "windows"},
    ],
)
def test_how_vectors_are_made(bert, server, settings):
    texts = [*TEXTS, "river bank man " * 9]
    with pytest.warns() if "long_texts" not in settings else threading.Lock():
        expected = bert.embed(texts, **settings)
    answer = server.post("/v1/embeddings", {"input": texts, **settings})
    assert np.abs(rows_of(answer) - expected).max() < 1e-5
    with serving(bert, embedding=settings) as other:
        assert (
            np.abs(rows_of(other.post("/v1/embeddings", {"input": texts})) - expected).max() < 1e-5
        )


def test_no_text_is_cut_in_silence(bert, server):
    long = "river " * 30
    refused = server.post("/embed", {"inputs": ["he", long]})
    assert refused.status == 413 and "text 1 has 32 tokens, and 16 are read" in refused.error
    assert server.post("/embed", {"inputs": ["he", long], "truncate": True}).status == 200
    for path, body in (("/v1/embeddings", {"input": long}), ("/encode", {"texts": [long]})):
        assert "1 of 1 texts are longer than 16 tokens" in server.post(path, body).json["warning"]
        short = server.post(path, {name: ["he"] for name in body})
        assert "warning" not in short.json
    answer = server.post("/fill-mask", {"inputs": f"{long} [MASK]"})
    assert answer.status == 413 and "33 tokens" in answer.error and "around" in answer.error


def test_bert_as_service_json(bert, server):
    """The request and the answer of its README, and what its server really sent: `result`."""
    body = {"id": 123, "texts": ["The river bank", "a man!"], "is_tokenized": False}
    answer = server.post("/encode", body).json
    assert answer["id"] == 123 and answer["status"] == 200
    expected = bert.embed(body["texts"])
    assert np.abs(np.array(answer["results"]) - expected).max() < 1e-5
    assert answer["result"] == answer["results"]


def test_tokens_of_ones_own(bert, server):
    tokens = [["the", "banks!"], ["rivers", "in", "bank", "##s"]]
    body = {"texts": tokens, "is_tokenized": True, "show_tokens": True, "pooling": "NONE"}
    answer = server.post("/encode", body).json
    assert answer["tokens"] == [
        ["[CLS]", "the", "[UNK]", "[SEP]"],
        ["[CLS]", "[UNK]", "in", "bank", "##s", "[SEP]"],
    ]
    whole = np.array(answer["result"])
    assert whole.shape == (2, 6, bert.config.hidden_size)
    assert not whole[0, 4:].any() and whole[0, :4].any(axis=1).all()
    typed = bert.embed(["in bank"], pooling="none")[0]
    plain = server.post("/encode", {"texts": ["in bank"], "pooling": "NONE"}).json["result"][0]
    assert np.abs(np.array(plain) - typed.vectors).max() < 1e-5


@pytest.mark.parametrize(
    ("name", "pools"),
    [
        ("REDUCE_MEAN", lambda s: s.mean(0)),
        ("REDUCE_MAX", lambda s: s.max(0)),
        ("REDUCE_MEAN_MAX", lambda s: np.concatenate([s.mean(0), s.max(0)])),
        ("CLS_TOKEN", lambda s: s[0]),
        ("FIRST_TOKEN", lambda s: s[0]),
        ("SEP_TOKEN", lambda s: s[-1]),
        ("LAST_TOKEN", lambda s: s[-1]),
    ],
)
def test_its_pooling_names(bert, server, name, pools):
    """What its documentation says of each, from the readable model's second-to-last layer."""
    output = bert.model(**bert.tokenizer(["the river"]), output_hidden_states=True)
    states = output.hidden_states[-2][0].detach().numpy()
    body = {"texts": ["the river"], "pooling": name, "layer": -2}
    row = server.post("/encode", body).json["result"][0]
    assert np.abs(np.array(row) - pools(states)).max() < 1e-5


# ---- The rest of a BERT ----


def test_pieces(bert, server):
    answer = server.post("/tokenize", {"inputs": ["The banks", "he"]}).json
    assert [token["token"] for token in answer[0]] == ["[CLS]", "the", "bank", "##s", "[SEP]"]
    assert [token["text"] for token in answer[0][1:4]] == ["The", "bank", "s"]
    assert [token["special"] for token in answer[1]] == [True, False, True]
    assert [token["id"] for token in answer[0]] == bert.tokenizer("The banks")["input_ids"][
        0
    ].tolist()
    bare = server.post("/tokenize", {"inputs": "he", "add_special_tokens": False}).json
    assert len(bare) == 1 and len(bare[0]) == 1


def test_guesses_for_masks(bert, server):
    text = "The [MASK] bank was [MASK]"
    answer = server.post("/fill-mask", {"inputs": text, "top_k": 3}).json
    for mask, predictions in zip(answer, bert.fill_mask(text, top=3), strict=True):
        for guess, prediction in zip(mask, predictions, strict=True):
            assert (guess["token_str"], guess["token"]) == prediction[:2]
            assert abs(guess["score"] - prediction.probability) < 1e-6
    assert (
        server.post("/fill-mask", {"inputs": [text] * 2}).json
        == [server.post("/fill-mask", {"inputs": text}).json] * 2
    )
    answer = server.post("/fill-mask", {"inputs": "no blank"})
    assert answer.status == 400 and "nothing to fill" in answer.error


def test_classes(bert, server, tmp_path):
    """Of a folder as transformers writes it, which says them too."""
    transformers = pytest.importorskip("transformers", reason="transformers is absent")
    answer = server.post("/predict", {"inputs": "he"})
    assert answer.status == 404 and "has no classifier" in answer.error
    model = BertClassifier(bert.model, ["bad", "good", "so-so"]).eval()
    save_task(model, bert.tokenizer, tmp_path / "tuned")
    theirs = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "tuned").eval()
    with serving(minibert.load(tmp_path / "tuned")) as other:
        texts = TEXTS * 9
        answers = other.post("/predict", {"inputs": texts}).json
        for text, classes in zip(texts, answers, strict=True):
            scores = theirs(**bert.tokenizer([text])).logits[0].softmax(-1).tolist()
            expected = sorted(zip(scores, model.classes), reverse=True)
            assert [(pytest.approx(c["score"], abs=1e-5), c["label"]) for c in classes] == expected
        one = other.post("/predict", {"inputs": "he"}).json
        assert [c["label"] for c in one] == [c["label"] for c in answers[3]]
        assert other.post("/predict", {"inputs": "he " * 20}).status == 413
        assert other.post("/predict", {"inputs": "he " * 20, "truncate": True}).status == 200


def test_how_the_server_is(server):
    assert server.ask("GET", "/health").json == {"status": "ok"}
    assert [model["id"] for model in server.ask("GET", "/v1/models").json["data"]] == ["tiny"]
    status = server.ask("GET", "/status/server").json
    assert status["max_seq_len"] == 16 and status["pooling_strategy"] == "mean"
    page = server.ask("GET", "/")
    assert page.status == 200 and page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.content.decode() == live_page(server.service.bert)


def test_a_model_that_the_page_cannot_show(bert, monkeypatch):
    monkeypatch.setattr(minibert.view.live.page, "MOST_BYTES", 1)
    with serving(bert) as server:
        page = server.ask("GET", "/")
    assert page.status == 200 and page.headers["Content-Type"].startswith("text/plain")
    assert all(e.path in page.content.decode() for e in ENDPOINTS)


def test_counts(bert):
    with serving(bert) as server:
        server.post("/embed", {"inputs": ["the", "river"]})
        server.post("/embed", {"inputs": 1})
        server.ask("GET", "/no/such/place")
        text = server.ask("GET", "/metrics").content.decode()
    for line in text.splitlines():
        assert re.fullmatch(
            r'# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [0-9.e+-]+', line
        )
    for line in (
        'minibert_requests_total{path="/embed",status="200"} 1',
        'minibert_requests_total{path="/embed",status="400"} 1',
        'minibert_requests_total{path="other",status="404"} 1',
        "minibert_texts_total 2",
        "minibert_tokens_total 6",
        "minibert_batches_total 1",
        'minibert_request_seconds_bucket{le="+Inf"} 3',
    ):
        assert line in text.splitlines(), text


# ---- What is refused ----


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/embed", b"{", 400, "the body is not JSON"),
        ("/embed", b"\xff\xfe\x00", 400, "the body is not JSON"),
        ("/embed", b"[" * 10_000, 400, "nested too deeply"),
        ("/embed", b'{"inputs": "a", "n": ' + b"1" * 5000 + b"}", 400, "not JSON"),
        ("/embed", b"[]", 400, "expected a JSON object, got a list"),
        ("/embed", b"null", 400, "expected a JSON object"),
        ("/embed", b"", 400, "not JSON"),
        ("/embed", {}, 400, "the field 'inputs' is missing"),
        ("/embed", {"inputs": None}, 400, "the field 'inputs' is missing"),
        ("/embed", {"inputs": []}, 400, "expected one text or more"),
        ("/embed", {"inputs": ["a", 1]}, 400, "inputs must be a string or an array"),
        ("/embed", {"inputs": "a", "normalise": True}, 400, "no field 'normalise': the fields are"),
        ("/embed", {"inputs": "a", "normalize": 1}, 400, "normalize must be a boolean, got 1"),
        ("/embed", {"inputs": "a", "dimensions": True}, 400, "dimensions must be an integer"),
        ("/embed", {"inputs": "a", "dimensions": 0}, 400, "at least 1, got 0"),
        ("/embed", {"inputs": "a", "dimensions": 21}, 400, "dimensions must lie in 1..20"),
        ("/embed", {"inputs": "a", "layer": 99}, 400, "layer must lie in"),
        ("/embed", {"inputs": "a", "pooling": "medium"}, 400, "pooling must be one of"),
        ("/embed", {"inputs": "a", "prompt_name": "x"}, 400, "no prompt 'x'"),
        ("/embed", {"inputs": ["a"] * 30}, 413, "30 texts, and 20 are allowed"),
        ("/embed", {"inputs": ["a", "b" * 501]}, 413, "text 1 has 501 characters"),
        ("/embed", {"inputs": "b" * 30_000}, 413, "bytes, and 20,000 are allowed"),
        ("/v1/embeddings", {"input": [1, 2, 3]}, 400, "check_embedding_ctx_length=False"),
        ("/v1/embeddings", {"input": [[1, 2], [3]]}, 400, "check_embedding_ctx_length=False"),
        ("/v1/embeddings", {"input": "a", "model": "big"}, 404, "has the model tiny, not 'big'"),
        ("/v1/embeddings", {"input": "a", "pooling": "NONE"}, 400, "use /encode"),
        ("/v1/embeddings", {"input": "a", "encoding_format": "x"}, 400, "float or base64"),
        ("/encode", {"texts": "a"}, 400, "texts must be an array"),
        ("/encode", {"texts": [["a"]]}, 400, '"is_tokenized": true'),
        ("/encode", {"texts": ["a"], "is_tokenized": True}, 400, "lists of tokens"),
        ("/encode", {"texts": ["a ||| b"]}, 400, "pairs of sentences"),
        ("/encode", {"texts": ["a"], "id": [1]}, 400, "id must be a string or an integer"),
        ("/fill-mask", {"inputs": "[MASK]", "top_k": 1001}, 400, "top_k must be 1000 or less"),
        ("/nowhere", {}, 404, "no such endpoint"),
        ("/health", {}, 405, "no such endpoint"),
    ],
)  # fmt: skip
def test_refusals(small, path, body, status, words):
    answer = small.post(path, body)
    assert answer.status == status and words in answer.error
    assert small.post("/embed", {"inputs": "he"}).status == 200


@pytest.fixture(scope="module")
def small(bert):
    limits = {"max_texts": 20, "max_characters": 500, "max_megabytes": 0.02}
    with serving(bert, **limits) as running:
        yield running


def test_another_kind_of_body(server):
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = server.post("/embed", {"inputs": "a"}, Content_Type=kind)
        assert answer.status == 415 and "expected Content-Type: application/json" in answer.error
    kind = "application/json; charset=utf-8"
    assert server.post("/embed", {"inputs": "a"}, Content_Type=kind).status == 200


def test_markup_and_control_characters(bert, server):
    """They come back as JSON, which no browser takes for a page."""
    requests = {e.path: dict.fromkeys(e.required, SCRIPT) for e in ENDPOINTS if e.required}
    requests["/encode"] = {"texts": [SCRIPT], "id": SCRIPT}
    requests["/v1/embeddings"]["model"] = SCRIPT
    for path, body in requests.items():
        for answer in (server.post(path, body), server.post(path, {**body, SCRIPT: SCRIPT})):
            assert answer.headers["Content-Type"] == "application/json"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.json
    for place in ("/<script>alert(1)</script>", "/?<script>"):
        answer = server.ask("GET", place)
        assert b"<script>alert(1)" not in answer.content
    half = server.post("/tokenize", b'{"inputs": "the \\ud800 river"}')  # of a surrogate pair
    assert half.status == 400 and "surrogate" in half.error


def test_any_body_has_an_answer(server):
    """Random bodies, near the right ones: never an error of the server's own."""
    rng = random.Random(0)
    junk = [
        None,
        True,
        0,
        -1,
        10**30,
        1.5,
        "",
        "he [MASK]",
        [],
        ["a"],
        [["a"]],
        {},
        "NONE",
        [-1],
        "\ud800",
    ]
    codes = set()
    for _ in range(300):
        endpoint = rng.choice([e for e in ENDPOINTS if e.method == "POST"])
        names = rng.sample(list(endpoint.fields), min(len(endpoint.fields), rng.randint(0, 3)))
        body = {name: rng.choice(junk) for name in {*names, *endpoint.required}}
        answer = server.post(endpoint.path, body)
        codes.add(answer.status)
        assert answer.status < 500, (endpoint.path, body, answer.content)
        assert answer.json or answer.content == b"[]"
    assert {200, 400} <= codes


def test_the_description(server):
    document = server.ask("GET", "/openapi.json").json
    assert document["openapi"] == "3.1.0"
    listed = {(m.upper(), path) for path, item in document["paths"].items() for m in item}
    assert listed == {(e.method, e.path) for e in ENDPOINTS}
    for path, item in document["paths"].items():
        for operation in item.values():
            assert operation["summary"] and operation["operationId"] and operation["responses"]
        if "post" in item:
            schema = item["post"]["requestBody"]["content"]["application/json"]["schema"]
            assert set(schema["required"]) <= set(schema["properties"]), path


# ---- Who is let in ----


def test_the_key(bert):
    with serving(bert, key="s3cret-key") as server:
        assert server.ask("GET", "/health").status == 200
        for header in ("", "Bearer wrong", "Bearer s3cret-ke", "Basic s3cret-key", "Bearer ü"):
            for method, path in (("POST", "/embed"), ("GET", "/"), ("GET", "/metrics")):
                answer = server.ask(method, path, Authorization=header.encode().decode("latin-1"))
                assert answer.status == 401 and answer.json["error"]["code"] == "invalid_api_key"
                assert answer.headers["WWW-Authenticate"] == "Bearer"
                assert b"s3cret" not in answer.content and b"wrong" not in answer.content
        right = {"Authorization": "Bearer s3cret-key"}
        assert server.post("/embed", {"inputs": "he"}, **right).status == 200
        broken = server.post("/embed", {"inputs": 1, "s3cret": 1}, **right)
        assert "s3cret-key" not in broken.error


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:1234", 200),
        ("127.0.0.1:8125", 200),
        ("[::1]:8125", 200),
        ("192.168.0.7", 200),
        ("box.lan:8125", 200),
        ("evil.example", 421),
        ("evil.example:8125", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("evil.example@localhost", 421),
        ("[evil]", 421),
        ("", 421),
    ],
)
def test_the_host(bert, host, status):
    """An address or an allowed name: by DNS rebinding a page reaches the server by another."""
    with serving(bert, allowed_hosts="Box.lan, ") as server:
        assert server.ask("GET", "/health", Host=host).status == status


def test_pages_of_others_may_not_read(server):
    answer = server.post("/embed", {"inputs": "he"}, Origin="https://evil.example")
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    preflight = server.ask("OPTIONS", "/embed", Origin="https://evil.example")
    assert preflight.status == 405
    assert not [name for name in preflight.headers if name.lower().startswith("access-control")]


# ---- Under load ----


def test_answers_are_not_mixed_up(bert):
    """48 clients at a time, each answer compared with the model's own for that text."""
    words = [f"word{n}" for n in range(20, 50)]
    rng = random.Random(0)
    requests = [
        [" ".join(rng.choices(words, k=rng.randint(0, 13))) for _ in range(rng.randint(1, 6))]
        for _ in range(240)
    ]
    expected = [bert.embed(texts) for texts in requests]
    wrong = []

    def client(first):
        for number in range(first, len(requests), 48):
            answer = server.post("/v1/embeddings", {"input": requests[number]})
            if answer.status != 200 or np.abs(rows_of(answer) - expected[number]).max() > 1e-5:
                wrong.append((number, answer.status))

    with serving(bert, batch_tokens=64) as server:
        threads = [threading.Thread(target=client, args=(first,)) for first in range(48)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        batches = server.service.batcher.batches
    assert not wrong and batches > 20


def test_a_full_queue(bert):
    answers = []
    with serving(bert, queue=2) as server:

        def client():
            answers.append(server.post("/embed", {"inputs": "he"}))

        threads = [threading.Thread(target=client) for _ in range(2)]
        with server.held():
            for thread in threads:
                thread.start()
            while server.service.guard.waiting < 2:
                time.sleep(0.01)
            refused = server.post("/embed", {"inputs": "he"})
            assert refused.status == 503 and refused.json["error"]["code"] == "queue_full"
            assert int(refused.headers["Retry-After"]) >= 1
            assert server.ask("GET", "/health").status == 200
        for thread in threads:
            thread.join(60)
        assert server.post("/embed", {"inputs": "he"}).status == 200
    assert [answer.status for answer in answers] == [200, 200]


def test_the_time_is_up(bert):
    with serving(bert, seconds=0.3) as server:
        with server.held():
            answer = server.post("/embed", {"inputs": "he"})
            assert answer.status == 503 and "no answer within 0.3 seconds" in answer.error
            assert answer.headers["Retry-After"]
        tokens = server.service.batcher.tokens
        assert server.post("/embed", {"inputs": "he"}).status == 200
        assert server.service.batcher.tokens == tokens + 3  # nobody computed the first


def test_a_client_that_leaves(bert):
    with serving(bert) as server:
        with server.held():
            body = b'{"inputs": "he"}'
            head = (
                "POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            with socket.create_connection(("127.0.0.1", server.port)) as line:
                line.sendall(head.encode() + body)
                while not server.service.batcher.jobs:
                    time.sleep(0.01)
                job = server.service.batcher.jobs[0]
            deadline = time.monotonic() + 30
            while not job.future.cancelled() and time.monotonic() < deadline:
                time.sleep(0.01)
            assert job.future.cancelled()
        assert server.post("/embed", {"inputs": "he"}).status == 200
        assert server.service.batcher.tokens == 3
    assert server.service.metrics.requests["/embed", 499] == 1


def test_a_hundred_megabytes(bert):
    """Read to the end and thrown away; the client sees why."""

    def body():
        for _ in range(100):
            yield b"x" * 1_000_000

    resource = pytest.importorskip("resource", reason="this system does not tell its memory")

    with serving(bert, max_megabytes=1) as server:
        server.post("/embed", b"x" * 1_100_000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for headers in ({"Content_Length": str(100_000_000)}, {"Transfer_Encoding": "chunked"}):
            line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            headers["Content-Type"] = "application/json"
            line.request(
                "POST", "/embed", body(), headers, encode_chunked="Transfer-Encoding" in headers
            )
            response = line.getresponse()
            assert response.status == 413
            message = json.loads(response.read())["error"]["message"]
            assert "100,000,000 bytes, and 1,000,000 are allowed" in message
            line.close()
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 40_000, f"{grown} kilobytes"
        assert server.post("/embed", {"inputs": "he"}).status == 200


def heard(line):
    """All that comes until the other side closes."""
    line.settimeout(30)
    content = b""
    while part := line.recv(65536):
        content += part
    return content


def test_slow_senders(bert, monkeypatch):
    monkeypatch.setattr(minibert.serve.run, "PATIENCE", 0.4)
    with serving(bert, seconds=0.3) as server:
        place = ("127.0.0.1", server.port)
        with socket.create_connection(place) as line:  # nothing at all
            assert heard(line) == b""
        with socket.create_connection(place) as line:  # half a head
            line.sendall(b"POST /embed HTTP/1.1\r\nHost: loc")
            assert heard(line) == b""
        with socket.create_connection(place) as line:  # half a body
            line.sendall(
                b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b'Content-Length: 100\r\n\r\n{"inputs": '
            )
            answer = line.recv(65536)
            assert b" 408 " in answer.partition(b"\r\n")[0]
            line.sendall(b'"')
            heard(line)  # and is then let go
        with socket.create_connection(place) as line:  # a second request that does not come
            line.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b" 200 " in line.recv(65536)
            line.sendall(b"GET /he")
            heard(line)
        assert server.ask("GET", "/health").status == 200


def test_what_is_no_http(server):
    for content in (
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\nhello\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.port)) as line:
            line.sendall(content)
            line.shutdown(socket.SHUT_WR)
            heard(line)
    assert server.ask("GET", "/health").status == 200
