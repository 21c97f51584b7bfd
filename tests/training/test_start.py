"""Starting values from counts, against counts made by hand."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.training.batches import Examples
from minibert.training.start import (
    count_neighbours,
    label_shares,
    plain_ids,
    ppmi_vectors,
    start_from_counts,
)
from tests.parity.twins import TINY
from tests.training.text_samples import prepared


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return Examples(prepared(tmp_path_factory.mktemp("counts")))


def test_neighbours_are_counted(examples):
    special = Tokenizer.from_folder(examples.folder).special_ids
    expected: Counter[tuple[int, int]] = Counter()
    one_pass = len(examples) // examples.settings.duplicates
    for row in plain_ids(examples.rows[:one_pass]).tolist():
        for i, a in enumerate(row):
            for j, b in enumerate(row):
                if 0 < abs(i - j) <= 3 and a not in special and b not in special:
                    expected[a, b] += 1 / abs(i - j)
    counts = count_neighbours(examples, 61, window=3)
    assert expected and torch.equal(counts, counts.T)
    for (a, b), value in expected.items():
        assert abs(counts[a, b] - value) < 1e-2
    assert abs(float(counts.sum()) - sum(expected.values())) < 1


def test_plain_ids_have_no_masks(examples):
    mask = Tokenizer.from_folder(examples.folder).mask_id
    assert (examples.rows["ids"] == mask).any() and not (plain_ids(examples.rows) == mask).any()


def test_products_of_vectors_are_the_information():
    """With as many dimensions as pieces, and a matrix that has roots, the products are exact."""
    generator = torch.Generator().manual_seed(0)
    together = torch.rand(12, 12, generator=generator) + 0.1
    together = together + together.T + 20 * torch.eye(12)
    vectors = ppmi_vectors(together, 12)
    totals = together.sum(1)
    smooth = totals**0.75 / (totals**0.75).sum()
    expected = (together / (totals[:, None] * smooth)).log().clamp(min=0)
    left, values, _ = torch.linalg.svd(expected)
    assert torch.allclose(vectors @ vectors.T, left @ values.diag() @ left.T, atol=1e-3)


def test_the_bias_is_the_best_guess_without_reading(examples):
    """With all else at nothing, the loss is the entropy of the pieces' shares."""
    model = BertForPreTraining(BertModel(TINY))
    start_from_counts(model, examples)
    labels = examples.rows["labels"][: len(examples)]
    chosen = labels[np.arange(labels.shape[1]) < examples.rows["chosen"][:, None]]
    counts = np.bincount(chosen, minlength=61) + 1
    shares = label_shares(examples, 61)
    assert abs(float(shares.sum()) - 1) < 1e-5
    assert np.allclose(shares.numpy(), counts / counts.sum(), atol=1e-6)
    guess = model.masked_word.bias.softmax(-1)
    assert torch.allclose(guess, shares, atol=1e-6)
    assert -float(shares.log()[chosen.astype(int)].mean()) < 0.95 * math.log(61)


def test_the_table_keeps_its_scale_and_its_special_rows(examples):
    torch.manual_seed(0)
    model = BertForPreTraining(BertModel(TINY))
    before = model.bert.embeddings.token.weight.detach().clone()
    start_from_counts(model, examples)
    after = model.bert.embeddings.token.weight.detach()
    special = sorted(Tokenizer.from_folder(examples.folder).special_ids)
    assert torch.equal(after[special], before[special])
    changed = (after != before).any(1)
    assert changed.sum() > 20
    assert abs(float(after[changed].std()) - TINY.initializer_range) < 1e-4
