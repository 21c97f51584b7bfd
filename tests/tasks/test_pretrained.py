"""Several blanks together, against every possible filling with transformers' numbers."""

import numpy as np
import pytest
import torch

from minibert.tasks.pretrained import fill_jointly, fill_mask
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.tokenizer.vocabulary import SPECIAL_TOKENS
from tests.parity.twins import trained_like, twin_of

WORDS = [*SPECIAL_TOKENS.values(), "the", "river", "was", "cold", "##s"]
TEXT = "the [MASK] [MASK] was [MASK]"
N = len(WORDS)


@pytest.fixture(scope="module")
def model():
    return trained_like()


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(WORDS)


def every_filling(model, ids, places) -> dict[tuple[int, ...], float]:
    """Each word's probability, given those before it, multiplied; by transformers."""
    twin, fillings = twin_of(model), {(): 1.0}
    for number, place in enumerate(places):
        rows = torch.tensor([ids] * len(fillings))
        rows[:, places[:number]] = torch.tensor(list(fillings), dtype=torch.long)
        with torch.no_grad():
            chances = twin(rows).prediction_logits[:, place].softmax(-1).tolist()
        fillings = {
            (*words, word): before * row[word]
            for (words, before), row in zip(fillings.items(), chances)
            for word in range(N)
        }
    return fillings


def test_a_wide_search_is_every_filling(model, tokenizer):
    ids = tokenizer.encode(TEXT)
    places = [n for n, number in enumerate(ids) if number == tokenizer.mask_id]
    expected = every_filling(model, ids, places)
    best = sorted(expected, key=expected.__getitem__, reverse=True)[:10]
    filled = fill_jointly(model, tokenizer, TEXT, top=10, beams=N * N)
    assert [tuple(one.ids) for one in filled] == best
    assert np.allclose([one.probability for one in filled], [expected[words] for words in best],
                       rtol=1e-10, atol=0)  # fmt: skip
    assert [one.tokens for one in filled] == [[WORDS[word] for word in words] for words in best]
    # A narrow search gives right probabilities, too, and its own best is at most the best.
    greedy, *_ = fill_jointly(model, tokenizer, TEXT, top=1, beams=1)
    assert greedy.probability == pytest.approx(expected[tuple(greedy.ids)], rel=1e-10)
    alone = [blank[0].id for blank in fill_mask(model, tokenizer, TEXT, top=1)]
    assert greedy.ids[0] == alone[0] and tuple(alone) != best[0]


def test_one_blank_is_fill_mask(model, tokenizer):
    one = fill_mask(model, tokenizer, "the [MASK]", top=4)[0]
    both = fill_jointly(model, tokenizer, "the [MASK]", top=4, beams=1)
    assert [p.token for p in one] == [f.tokens[0] for f in both]
    assert np.allclose([p.probability for p in one], [f.probability for f in both], atol=1e-12)


def test_what_cannot_be_filled(model, tokenizer):
    with pytest.raises(ValueError, match="beams must be at least 1, got 0"):
        fill_jointly(model, tokenizer, TEXT, beams=0)
    with pytest.raises(ValueError, match=r"no \[MASK\]"):
        fill_jointly(model, tokenizer, "the river")
