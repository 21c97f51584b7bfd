"""Pairs, groups and small vectors: the results of sentence-transformers' functions."""

import numpy as np
import pytest
import torch
from sentence_transformers import util
from sentence_transformers.util import quantize_embeddings

from minibert.vectors.mining import (
    as_bits,
    as_int8,
    communities,
    nearest_bits,
    paraphrase_mining,
    value_ranges,
)

RNG = np.random.default_rng(0)
CENTRES = RNG.normal(size=(9, 32))
VECTORS = (CENTRES[RNG.integers(0, 9, 300)] + 0.6 * RNG.normal(size=(300, 32))).astype(np.float32)


@pytest.mark.parametrize("top, most", [(100, 500_000), (3, 500_000), (20, 50)])
def test_pairs(top, most):
    theirs = util.paraphrase_mining_embeddings(torch.from_numpy(VECTORS), top_k=top, max_pairs=most)
    ours = paraphrase_mining(VECTORS, top, most)
    assert {pair[1:] for pair in ours} == {(a, b) for _, a, b in theirs} and len(ours) >= 50
    assert np.allclose([pair.score for pair in ours], [pair[0] for pair in theirs], atol=1e-6)


@pytest.mark.parametrize("threshold, least", [(0.75, 10), (0.6, 3), (0.9, 2), (0.99, 5)])
def test_groups(threshold, least):
    theirs = util.community_detection(torch.from_numpy(VECTORS), threshold, least)
    assert communities(VECTORS, threshold, least) == theirs
    assert threshold > 0.9 or len(theirs) > 3


def test_small_vectors():
    some, ranges = VECTORS[:200], value_ranges(VECTORS[:200])
    assert np.array_equal(as_int8(VECTORS, ranges), quantize_embeddings(VECTORS, "int8", ranges))
    assert np.array_equal(as_bits(some), quantize_embeddings(some, "ubinary"))
    flat = np.ones((3, 8), np.float32)
    assert np.array_equal(
        as_int8(flat, value_ranges(flat)), quantize_embeddings(flat, "int8", value_ranges(flat))
    )


def test_search_among_bits():
    pytest.importorskip("faiss", reason="faiss is absent")

    from sentence_transformers.util.quantization import semantic_search_faiss

    bits = as_bits(VECTORS)
    theirs, _ = semantic_search_faiss(
        VECTORS[:5], bits, corpus_precision="ubinary", top_k=10, rescore_multiplier=30
    )
    for ours, expected in zip(nearest_bits(VECTORS[:5], bits, 10, rescore=30), theirs):
        assert np.allclose([score for _, score in ours], [hit["score"] for hit in expected], 1e-5)
        assert {row for row, _ in ours} == {hit["corpus_id"] for hit in expected}
