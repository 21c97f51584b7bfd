"""Every number of every variant, against transformers. Would miss: what needs a real vocabulary."""

import re

import pytest
import torch
import torch.nn.functional as F

from minibert.core.encoder import BertBlock
from minibert.weights.names import HEADS, name_table
from tests.parity.test_ladder import assert_close
from tests.variants.twins import (
    CASES,
    batch_for,
    inputs_of_twin,
    labels_for,
    twin_of,
    variant,
)

WANTED = {"output_hidden_states": True, "output_attentions": True}


def logits_of(output) -> dict[str, torch.Tensor]:
    """The logits of either side by one set of names."""
    fields = output._asdict() if hasattr(output, "_asdict") else dict(output)
    names = {"sop_logits": "seq_relationship_logits", "logits": "prediction_logits"}
    return {
        names.get(name, name): tensor
        for name, tensor in fields.items()
        if name.endswith("logits") and tensor is not None
    }


def assert_same(ours, theirs, tolerance: float) -> None:
    for kind in ("hidden_states", "attentions"):
        rows = zip(getattr(ours, kind), getattr(theirs, kind), strict=True)
        for layer, (a, b) in enumerate(rows):
            assert_close(a, b, tolerance, f"{kind} {layer}")
    mine, expected = logits_of(ours), logits_of(theirs)
    assert mine.keys() == expected.keys() and mine
    for name, logits in mine.items():
        assert_close(logits, expected[name], tolerance, name)


def loss_of(theirs, batch, labels) -> torch.Tensor:
    """Of the discriminator in float64, too, which transformers rounds to float32."""
    loss = theirs.loss
    if loss.dtype != torch.float64:
        real = batch["attention_mask"] == 1
        loss = F.binary_cross_entropy_with_logits(
            theirs.logits[real], labels["labels"][real].double()
        )
        assert_close(theirs.loss, loss, 1e-6, "rounded loss")
    return loss


def pairs(model, twin, kind):
    """(our name, our parameter, the twin's); None where the twin has none."""
    names = {ours: theirs for theirs, ours in name_table(model.config, kind).items()}
    theirs = dict(twin.named_parameters(remove_duplicate=False))  # the table, and its tied twin
    for name, parameter in model.named_parameters():
        key = names[name.removeprefix("bert.")]
        head = name.split(".")[0] in HEADS
        yield name, parameter, theirs.get(key if head else f"{kind.prefix}.{key}")


@pytest.mark.rung(2)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", CASES)
def test_all_numbers_and_gradients_float64(case, seed):
    model, kind = variant(case, seed)
    twin = twin_of(model, kind, case)
    batch = batch_for(case, seed)
    labels = labels_for(case, batch)
    ours = model(**batch, **labels, **WANTED)
    theirs = twin(**inputs_of_twin(case, batch), **labels, **WANTED)
    assert_same(ours, theirs, 1e-12)
    loss = loss_of(theirs, batch, labels)
    assert_close(ours.loss, loss, 1e-12, "loss")
    ours.loss.backward()
    loss.backward()
    for name, parameter, twin_parameter in pairs(model, twin, kind):
        if name.startswith("bert.pooler.") and "next_sentence" not in CASES[case][1]:
            assert parameter.grad is None  # no head reads it
            continue
        grad = twin_parameter.grad
        scale = max(1.0, float(grad.abs().max()))
        assert_close(parameter.grad / scale, grad / scale, 1e-12, f"gradient of {name}")
        if not name.endswith("attention.key.bias"):  # softmax does not see it
            assert float(parameter.grad.abs().max()) > 1e-6, f"{name} has no gradient"


@pytest.mark.rung(2)
@pytest.mark.parametrize("case", CASES)
def test_float32(case):
    """Bit-equal, but for the tanh GELU, which transformers writes out in other steps."""
    model, kind = variant(case)
    model = model.float()
    twin = twin_of(model, kind, case)
    batch = batch_for(case)
    with torch.no_grad():
        ours = model(**batch, **WANTED)
        theirs = twin(**inputs_of_twin(case, batch), **WANTED)
    assert_same(ours, theirs, 1e-4 if model.config.hidden_act == "gelu_new" else 0.0)


@pytest.mark.rung(2)
def test_float32_of_wide_heads():
    """What DeBERTa multiplies must lie in memory as there, or heads of 64 are rounded otherwise."""
    model, kind = variant("deberta-buckets", hidden_size=768, num_attention_heads=12)
    model = model.float()
    batch = batch_for("deberta-buckets")
    with torch.no_grad():
        ours, theirs = model(**batch, **WANTED), twin_of(model, kind, "deberta")(**batch, **WANTED)
    assert_same(ours, theirs, 0.0)


@pytest.mark.slow
@pytest.mark.rung(4)
@pytest.mark.parametrize("case", ["distilbert", "roberta", "albert-erf", "generator", "deberta"])
def test_base_size(case):
    """12 blocks of 768, float32: bit-equal. ALBERT with the exact GELU, as above; DeBERTa as
    version 3, on texts of 154 tokens, in which distances share rows."""
    sizes = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
    more: dict = {"embedding_size": 128} if case in ("albert-erf", "generator") else {}
    batch = batch_for(case)
    if case == "deberta":
        more = {"max_position_embeddings": 512, "position_buckets": 256}
        ids = batch["input_ids"].repeat(1, 22)
        batch = {name: tensor.repeat_interleave(22, dim=1) for name, tensor in batch.items()}
        batch["input_ids"] = ids
    model, kind = variant(case, **sizes, **more, intermediate_size=3072)
    model = model.float()
    twin = twin_of(model, kind, case)
    with torch.no_grad():
        ours = model(**batch, **WANTED)
        theirs = twin(**inputs_of_twin(case, batch), **WANTED)
    assert_same(ours, theirs, 0.0)


@pytest.mark.parametrize("case", ["distilbert", "roberta", "albert", "generator", "deberta"])
@pytest.mark.parametrize("site", ["hidden", "attention"])
def test_dropout_sites(case, site):
    """With nearly everything dropped in train mode, what is left stands where it stands there:
    DistilBERT has one place less than BERT. ALBERT's feed-forward is not compared: its files drop
    nothing, and transformers has no dropout there at all."""
    if (case, site) == ("albert", "hidden"):
        for_albert = variant(case)[0]
        assert type(for_albert.bert.encoder.blocks[0]) is BertBlock
        return
    model, kind = variant(case)
    twin = twin_of(model, kind, case)
    for side in (model, twin):
        for name, module in side.named_modules():
            if isinstance(module, torch.nn.Dropout):
                of_attention = re.search(r"attention(\.self)?\.(attention_)?dropout$", name)
                wanted = "attention" if of_attention else "hidden"
                # at the entrance nothing is dropped, so that something is left to compare
                module.p = 1.0 if site == wanted and "embeddings" not in name else 0.0
        side.train()
    batch = batch_for(case)
    with torch.no_grad():
        ours = model(**batch, **WANTED)
        theirs = twin(**inputs_of_twin(case, batch), **WANTED)
        quiet = model.eval()(**batch, **WANTED)
    for layer, (a, b) in enumerate(zip(ours.hidden_states, theirs.hidden_states, strict=True)):
        assert_close(a, b, 1e-12, f"hidden state {layer}")
    assert float((ours.hidden_states[-1] - quiet.hidden_states[-1]).abs().max()) > 1e-3
    mine, expected = logits_of(ours), logits_of(theirs)
    for name, logits in mine.items():
        assert_close(logits, expected[name], 1e-12, name)


@pytest.mark.rung(2)
@pytest.mark.parametrize(
    "case", ["distilbert", "roberta", "albert", "generator", "discriminator", "deberta-buckets"]
)
def test_twenty_steps_of_training(case):
    """In train mode: dropout draws in the same places and in the same order, so that from one seed
    both sides drop the same numbers; losses, and after 20 steps all weights, are equal."""
    model, kind = variant(case)
    twin = twin_of(model, kind, case)
    batch = batch_for(case)
    labels = labels_for(case, batch)
    optimizers = [torch.optim.AdamW(side.train().parameters(), lr=3e-3) for side in (model, twin)]
    losses = []
    for step in range(20):
        torch.manual_seed(step)
        ours = model(**batch, **labels, output_attentions=True).loss
        torch.manual_seed(step)
        theirs = loss_of(twin(**inputs_of_twin(case, batch), **labels), batch, labels)
        assert_close(ours, theirs, 1e-9, f"loss of step {step}")
        for optimizer, loss in zip(optimizers, (ours, theirs)):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(ours.item())
    assert losses[-1] < losses[0]
    start = dict(variant(case)[0].named_parameters())
    for name, parameter, twin_parameter in pairs(model, twin, kind):
        if parameter.grad is not None:
            assert_close(parameter, twin_parameter, 1e-9, name)
            assert not torch.equal(parameter, start[name]), f"{name} has not learned"
