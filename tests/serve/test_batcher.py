"""How texts of several requests share the model."""

import threading

import numpy as np
import pytest

import minibert.serve.batcher
from minibert.fast.bert import Engine
from minibert.serve.batcher import Batcher, read_of
from minibert.vectors.embed import embed_pieces

IDS = [[5, 6, 7], [8], [9, 10, 11, 5, 6], [], [7, 7], [12, 5]]


@pytest.fixture
def batcher(bert):
    batcher = Batcher(Engine(bert.model), bert.tokenizer, batch_tokens=12)
    yield batcher
    batcher.close()


@pytest.fixture
def held(batcher):
    """The model's thread waits for this event."""
    go, there = threading.Event(), threading.Event()
    batcher.call(lambda: (there.set(), go.wait(60)))
    assert there.wait(60)
    yield go
    go.set()


@pytest.fixture
def batches(monkeypatch):
    """What went through the model together."""
    seen = []

    def watched(engine, tokenizer, pieces, plan):
        seen.append([list(ids) for ids in pieces])
        return embed_pieces(engine, tokenizer, pieces, plan)

    monkeypatch.setattr(minibert.serve.batcher, "embed_pieces", watched)
    return seen


def expected(bert, ids):
    """By the readable model, text by text: the mean over all tokens."""
    import torch

    row = torch.tensor([[bert.tokenizer.cls_id, *ids, bert.tokenizer.sep_id]])
    states = bert.model(row, attention_mask=torch.ones_like(row)).last_hidden_state
    return states[0].mean(dim=0).detach().numpy()


def test_every_text_gets_its_own_vector(bert, batcher):
    rows = batcher.submit(IDS, bert.plan()).result(60)
    for ids, row in zip(IDS, rows, strict=True):
        assert np.allclose(row, expected(bert, ids), atol=1e-5)


def test_what_waits_goes_together_and_within_the_budget(bert, batcher, held, batches):
    plan = bert.plan()
    futures = [batcher.submit([ids], plan) for ids in IDS]
    held.set()
    rows = [future.result(60)[0] for future in futures]
    for ids, row in zip(IDS, rows):
        assert np.allclose(row, expected(bert, ids), atol=1e-5)
    assert batches == [[[5, 6, 7], [8]], [[9, 10, 11, 5, 6], []], [[7, 7], [12, 5]]]
    assert all(sum(read_of(ids, plan) for ids in batch) <= 12 for batch in batches)
    assert batcher.batches == 3 and batcher.tokens == sum(len(ids) + 2 for ids in IDS)


def test_a_large_request_lets_a_small_one_through(bert, batcher, held, batches):
    large = batcher.submit([[5] * 8] * 5, bert.plan())
    small = batcher.submit([[6]], bert.plan())
    done = []
    for name, future in (("large", large), ("small", small)):
        future.add_done_callback(lambda _, name=name: done.append(name))
    held.set()
    large.result(60)
    assert done == ["small", "large"] and batches.index([[6]]) == 1


def test_a_text_beyond_the_budget_goes_alone(bert, batcher, batches):
    batcher.submit([[5] * 13, [6]], bert.plan()).result(60)
    assert batches == [[[5] * 13], [[6]]]


def test_plans_are_not_mixed(bert, batcher, held, batches):
    plans = [bert.plan(), bert.plan(pooling="cls"), bert.plan()]
    futures = [batcher.submit([[5, 6]], plan) for plan in plans]
    held.set()
    mean, cls, again = (future.result(60)[0] for future in futures)
    assert batches == [[[5, 6], [5, 6]], [[5, 6]]]
    assert np.allclose(mean, again, atol=1e-6) and not np.allclose(mean, cls, atol=1e-2)


def test_only_the_one_at_fault_fails(bert, batcher, held):
    plan = bert.plan()
    good, bad, also = (batcher.submit([ids], plan) for ids in ([5], [10**6], [6, 7]))
    held.set()
    with pytest.raises(ValueError, match="the model reads ids in 0"):
        bad.result(60)
    assert np.allclose(good.result(60)[0], expected(bert, [5]), atol=1e-5)
    assert np.allclose(also.result(60)[0], expected(bert, [6, 7]), atol=1e-5)


def test_who_has_gone_is_not_computed(bert, batcher, held, batches):
    gone = batcher.submit([[5]], bert.plan())
    there = batcher.submit([[6]], bert.plan())
    assert gone.cancel()
    held.set()
    there.result(60)
    assert batches == [[[6]]]


def test_a_large_one_that_goes_midway(bert, batcher, batches):
    future = batcher.submit([[5] * 8] * 50, bert.plan())
    batcher.submit([[6]], bert.plan()).result(60)
    assert future.cancel()
    batcher.submit([[7]], bert.plan()).result(60)
    count = len(batches)
    batcher.submit([[8]], bert.plan()).result(60)
    assert count < 50 and len(batches) == count + 1


def test_calls_take_their_turn(batcher):
    assert batcher.call(lambda: threading.current_thread().name).result(60) == "model"
    with pytest.raises(KeyError):
        batcher.call(lambda: {}["a"]).result(60)


def test_closing_finishes_what_is_queued(bert):
    batcher = Batcher(Engine(bert.model), bert.tokenizer)
    futures = [batcher.submit([[5]], bert.plan()) for _ in range(20)]
    batcher.close()
    assert all(future.done() for future in futures)
    with pytest.raises(RuntimeError):
        batcher.submit([[5]], bert.plan())
