"""Variants whose blocks are BERT's are copied by fast/; the numbers are those of the model."""

import pytest
import torch

from minibert.fast.bert import Engine, FastBert
from minibert.fast.readable import Readable
from minibert.fast.same import what_differs
from minibert.variants.distilbert import DistilBertBlock
from tests.variants.twins import batch_for, variant

COPIED = ["distilbert", "roberta", "albert", "generator", "discriminator"]


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("case", COPIED)
def test_equal_numbers(case, left):
    """Padded on either side, with segments; every hidden state, and the pooler."""
    model = variant(case)[0].float().bert
    batch = batch_for(case)
    if left:
        batch = {name: tensor.flip(1) for name, tensor in batch.items()}
    assert what_differs(model) == ""
    fast = FastBert(model)
    real = batch["attention_mask"] == 1
    with torch.no_grad():
        ours = fast(**batch, output_hidden_states=True)
        theirs = model(**batch, output_hidden_states=True)
    for a, b in zip(ours.hidden_states, theirs.hidden_states, strict=True):
        assert float((a - b)[real].abs().max()) < 1e-5
    if model.pooler is not None and not left:  # where the first token is padding, it is 0
        assert float((ours.pooler_output - theirs.pooler_output).abs().max()) < 1e-5


@pytest.mark.parametrize("case", COPIED)
def test_texts_laid_end_to_end(case):
    """As embed() asks for them: no padding, several lengths."""
    model = variant(case)[0].float().bert
    texts = [[5, 6, 7, 8], [9, 10, 11, 12], [13, 14]]
    ids = torch.tensor([number for text in texts for number in text])
    fast = Engine(model).for_tokens(len(ids))
    assert isinstance(fast, FastBert)
    [states] = fast.states(ids, [4, 4, 2])
    with torch.no_grad():
        rows = [model(torch.tensor([text])).last_hidden_state[0] for text in texts]
    assert float((states - torch.cat(rows)).abs().max()) < 1e-5


def test_one_block_is_packed_once():
    model = variant("albert")[0].float().bert
    assert len(set(FastBert(model).blocks)) == 1


def test_what_is_other_runs_as_it_is_written(monkeypatch):
    """DeBERTa's attention; a hook in the embeddings; a method replaced in the class."""
    assert "encoder" in what_differs(variant("deberta")[0].bert)
    model = variant("roberta")[0].float().bert
    hook = model.embeddings.token.register_forward_hook(lambda *arguments: None)
    assert isinstance(Engine(model).for_tokens(10), Readable)
    hook.remove()
    assert isinstance(Engine(model).for_tokens(10), FastBert)
    monkeypatch.setattr(type(model), "forward", lambda self: None, raising=False)
    assert "RobertaModel" in what_differs(model)
    distil = variant("distilbert")[0].float().bert
    monkeypatch.setattr(DistilBertBlock, "forward", lambda self: None)
    assert "DistilBertBlock" in what_differs(distil)


def test_in_train_mode_nothing_is_copied():
    model = variant("roberta")[0].float().bert.train()
    assert "train mode" in what_differs(model)
