"""Clients: bert-as-service's calls by ours, and those of others as they are installed."""

import base64
import threading
import time

import numpy as np
import pytest

import minibert.serve.run
from minibert.serve import BertClient
from tests.serve.serving import serving

TEXTS = ["First do it", "then do it right", "then do it better", "", "the river bank " * 3]


@pytest.fixture(scope="module")
def server(bert):
    with serving(bert) as running:
        yield running


@pytest.fixture
def client(server):
    with BertClient(port=server.port, timeout=60_000) as client:
        yield client


def near(vectors, expected):
    return np.shape(vectors) == expected.shape and np.abs(vectors - expected).max() < 1e-5


def test_encode(bert, server, client):
    vectors = client.encode(TEXTS)
    assert isinstance(vectors, np.ndarray) and near(vectors, bert.embed(TEXTS))
    with BertClient("127.0.0.1", server.port, server.port + 1, output_fmt="list") as lists:
        vectors = lists.encode(TEXTS)
        assert isinstance(vectors, list) and near(vectors, bert.embed(TEXTS))


def test_tokens(bert, client):
    tokens = [["the", "bank", "##s"], ["he"]]
    vectors, shown = client.encode(tokens, is_tokenized=True, show_tokens=True)
    assert near(vectors, bert.embed(["the banks", "he"]))
    assert shown == [["[CLS]", "the", "bank", "##s", "[SEP]"], ["[CLS]", "he", "[SEP]"]]


def test_every_token(bert):
    with serving(bert, embedding={"pooling": "NONE"}) as server, BertClient(port=server.port) as c:
        texts = ["he"] * 300 + ["the river"]  # two parts, of different lengths
        vectors = c.encode(texts)
        assert vectors.shape == (301, 4, bert.config.hidden_size)
        assert near(vectors[300], bert.embed(["the river"], pooling="none")[0].vectors)
        assert not vectors[0, 3].any()


def test_many_texts(bert, client):
    texts = [f"word{20 + n % 30} word{20 + n % 17}" for n in range(700)]
    assert near(client.encode(texts), bert.embed(texts))


def test_without_waiting(bert, client):
    requests = [TEXTS[:n] for n in range(1, 6)] * 4
    for texts in requests:
        assert client.encode(texts, blocking=False) is None
    vectors = client.fetch_all()
    assert client.fetch_all() is None and len(vectors) == len(requests)
    for texts, rows in zip(requests, vectors):
        assert near(rows, bert.embed(texts))
    client.encode(TEXTS, blocking=False)
    client.encode(TEXTS[:2], blocking=False)
    assert near(client.fetch_all(concat=True), bert.embed([*TEXTS, *TEXTS[:2]]))
    client.encode(TEXTS, blocking=False)
    assert client.status["num_pending_request"] == 1
    for number, rows, tokens in client.fetch():
        assert number == client.status["num_request"] and near(rows, bert.embed(TEXTS))
        assert tokens is None


def test_a_generator_without_end(bert, client):
    def texts():
        while True:
            yield TEXTS

    expected = bert.embed(TEXTS)
    count = 0
    for answer in client.encode_async(texts(), max_num_batch=20):
        assert answer.shape == expected.shape and near(answer.embedding, expected)
        count += 1
    assert count == 20


def test_threads_may_share_one(bert, client):
    wrong = []

    def run(n):
        texts = [f"word{20 + n}"] * 3
        for _ in range(5):
            if not near(client.encode(texts), bert.embed(texts)):
                wrong.append(n)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


def test_what_is_wrong(bert, server, client):
    for texts in ("one text", [1], [["a"]], None, ("a",)):
        with pytest.raises(TypeError, match="expected a list of texts"):
            client.encode(texts)
    with pytest.raises(TypeError, match="lists of tokens"):
        client.encode(["a"], is_tokenized=True)
    with pytest.raises(ValueError, match="one text or more"):
        client.encode([])
    with pytest.raises(ValueError, match=r"refuses this \(400\): pairs of sentences"):
        client.encode(["a ||| b"])
    with pytest.warns(UserWarning, match="1 of 1 texts are longer than 16 tokens"):
        client.encode(["the " * 20])
    with pytest.raises(AttributeError, match="output_fmt"):
        BertClient(port=server.port, output_fmt="tensor")
    client.encode(["a ||| b"], blocking=False)
    with pytest.raises(ValueError, match="pairs of sentences"):
        list(client.fetch())
    assert client.fetch_all() is None


def test_no_server():
    with pytest.raises(ConnectionError, match="start one with `minibert serve`"):
        BertClient(port=9)
    BertClient(port=9, ignore_all_checks=True).close()


def test_patience(bert, client, server):
    with (
        BertClient(port=server.port, timeout=200) as hasty,
        server.held(),
        pytest.raises(TimeoutError, match="within 200 ms"),
    ):
        hasty.encode(["he"])
    assert near(client.encode(["he"]), bert.embed(["he"]))


def test_a_full_server_is_asked_again(bert):
    with serving(bert, queue=1) as server, BertClient(port=server.port) as client:
        with server.held():
            for _ in range(3):
                client.encode(TEXTS, blocking=False)
        vectors = client.fetch_all()
    assert len(vectors) == 3 and all(near(rows, bert.embed(TEXTS)) for rows in vectors)


def test_a_connection_that_was_closed(bert, monkeypatch):
    """By the server, since it lay idle: a new one is made."""
    monkeypatch.setattr(minibert.serve.run, "KEEP_ALIVE", 0.1)
    with serving(bert) as server, BertClient(port=server.port) as client:
        for _ in range(3):
            assert near(client.encode(["he"]), bert.embed(["he"]))
            time.sleep(0.3)


def test_the_key(bert, monkeypatch):
    with serving(bert, key="s3cret") as server:
        with pytest.raises(ValueError, match=r"\(401\): expected the header Authorization"):
            BertClient(port=server.port)
        BertClient(port=server.port, api_key="s3cret").close()
        monkeypatch.setenv("MINIBERT_API_KEY", "s3cret")
        BertClient(port=server.port).close()


def test_the_status(server, client, capsys):
    assert client.server_status["server_version"] and client.server_status["model_dir"] == "tiny"
    BertClient(port=server.port, show_server_config=True).close()
    assert '"max_seq_len": 16' in capsys.readouterr().out


# ---- Clients that others wrote ----


def test_openai(minilm):
    openai = pytest.importorskip("openai", reason="the extra clients is absent: openai")
    expected = minilm.embed(TEXTS)
    with serving(minilm, name="sentence-transformers/all-MiniLM-L6-v2", key="k") as server:
        url = f"http://127.0.0.1:{server.port}/v1"
        client = openai.OpenAI(base_url=url, api_key="k", max_retries=0)
        model = "all-MiniLM-L6-v2"
        for settings in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}):
            answer = client.embeddings.create(model=model, input=TEXTS, **settings)
            rows = [
                np.frombuffer(base64.b64decode(row.embedding), dtype="<f4")
                if settings.get("encoding_format") == "base64"
                else row.embedding
                for row in answer.data
            ]
            assert np.abs(np.array(rows) - expected).max() < 1e-6
            assert [row.index for row in answer.data] == list(range(len(TEXTS)))
        one = client.embeddings.create(model=model, input=TEXTS[0], dimensions=64).data[0].embedding
        cut = expected[0, :64] / np.linalg.norm(expected[0, :64])
        assert np.abs(np.array(one) - cut).max() < 1e-6
        assert answer.usage.prompt_tokens == sum(
            len(minilm.tokenizer(text)["input_ids"][0]) for text in TEXTS
        )
        assert [m.id for m in client.models.list()] == ["sentence-transformers/all-MiniLM-L6-v2"]
        with pytest.raises(openai.BadRequestError, match="token ids"):
            client.embeddings.create(model=model, input=[[1, 2], [3]])
        with pytest.raises(openai.NotFoundError, match="whose vectors would be others"):
            client.embeddings.create(model="text-embedding-3-small", input="a")
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=url, api_key="wrong").embeddings.create(model=model, input="a")
        client.close()


def test_langchain(minilm):
    langchain = pytest.importorskip(
        "langchain_openai", reason="the extra clients is absent: langchain-openai"
    )
    with serving(minilm, name="all-MiniLM-L6-v2") as server:
        embeddings = langchain.OpenAIEmbeddings(
            model="all-MiniLM-L6-v2",
            base_url=f"http://127.0.0.1:{server.port}/v1",
            api_key="none",
            check_embedding_ctx_length=False,
        )
        rows = np.array(embeddings.embed_documents(TEXTS))
        assert np.abs(rows - minilm.embed(TEXTS)).max() < 1e-6
        row = np.array(embeddings.embed_query(TEXTS[0]))
        assert np.abs(row - minilm.embed(TEXTS[:1])[0]).max() < 1e-6
