"""trace.py: complete, exact, and right about the first difference."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from minibert.trace import Trace, compare, record
from tests.parity.twins import TINY, tiny_batch, trained_like, twin_of

ATTENTION = ("query", "key", "value", "scores", "masked_scores", "probabilities", "context")
PER_BLOCK = [f"attention.{name}" for name in (*ATTENTION, "output")]
PER_BLOCK += ["attention_sum", "attention_norm"]
PER_BLOCK += [f"feed_forward.{name}" for name in ("up", "activation", "down")]
PER_BLOCK += ["output_sum", "output_norm"]


@pytest.fixture(scope="module")
def model():
    return trained_like()


@pytest.fixture(scope="module")
def traced(model):
    return record(model, tiny_batch())


def test_every_intermediate_in_order(traced):
    expected = [f"embeddings.{name}" for name in ("token", "segment", "position", "sum", "norm")]
    for block in range(TINY.num_hidden_layers):
        expected += [f"encoder.blocks.{block}.{name}" for name in PER_BLOCK]
    expected += ["pooler.dense", "pooler.activation"]
    expected += [f"masked_word.{name}" for name in ("transform", "activation", "norm", "logits")]
    expected += ["next_sentence.logits"]
    assert list(traced) == expected


def test_the_traced_run_gives_the_untraced_numbers(model, traced):
    output = model(**tiny_batch(), output_hidden_states=True, output_attentions=True)
    assert torch.equal(traced["masked_word.logits"], output.prediction_logits)
    assert torch.equal(traced["next_sentence.logits"], output.seq_relationship_logits)
    assert torch.equal(traced["embeddings.norm"], output.hidden_states[0])
    for block in range(3):
        name = f"encoder.blocks.{block}"
        assert torch.equal(traced[f"{name}.output_norm"], output.hidden_states[block + 1])
        assert torch.equal(traced[f"{name}.attention.probabilities"], output.attentions[block])
    assert not any(module._forward_hooks for module in model.modules()), "hooks left behind"


def test_against_the_intermediates_of_transformers(model, traced):
    """The names mean what they say: each tensor is that of the same place in transformers."""
    twin = twin_of(model)
    places = {
        "embeddings.token": "bert.embeddings.word_embeddings",
        "embeddings.segment": "bert.embeddings.token_type_embeddings",
        "embeddings.norm": "bert.embeddings.LayerNorm",
        "pooler.dense": "bert.pooler.dense",
        "pooler.activation": "bert.pooler.activation",
        "masked_word.transform": "cls.predictions.transform.dense",
        "masked_word.norm": "cls.predictions.transform.LayerNorm",
        "masked_word.logits": "cls.predictions.decoder",
    }
    for n in range(3):
        ours, theirs = f"encoder.blocks.{n}.", f"bert.encoder.layer.{n}."
        for part in ("query", "key", "value"):
            places[f"{ours}attention.{part}"] = f"{theirs}attention.self.{part}"
        places[f"{ours}attention.output"] = f"{theirs}attention.output.dense"
        places[f"{ours}attention_norm"] = f"{theirs}attention.output.LayerNorm"
        places[f"{ours}feed_forward.up"] = f"{theirs}intermediate.dense"
        places[f"{ours}feed_forward.activation"] = f"{theirs}intermediate.intermediate_act_fn"
        places[f"{ours}feed_forward.down"] = f"{theirs}output.dense"
        places[f"{ours}output_norm"] = f"{theirs}output.LayerNorm"
    seen = {}
    for place in places.values():
        twin.get_submodule(place).register_forward_hook(
            lambda module, inputs, output, place=place: seen.__setitem__(place, output)
        )
    inputs = {}
    for n in range(3):
        layer = twin.bert.encoder.layer[n]
        for name, module in (
            ("attention_sum", layer.attention.output),
            ("output_sum", layer.output),
        ):
            module.LayerNorm.register_forward_pre_hook(
                lambda module, args, name=f"encoder.blocks.{n}.{name}": inputs.__setitem__(
                    name, args[0]
                )
            )
    with torch.no_grad():
        twin(**tiny_batch())
    for ours, theirs in places.items():
        assert torch.allclose(traced[ours], seen[theirs], rtol=0, atol=1e-12), ours
    for name, tensor in inputs.items():
        assert torch.allclose(traced[name], tensor, rtol=0, atol=1e-12), name


def test_scores_and_context_by_formula(traced):
    query, key, value = (
        traced[f"encoder.blocks.0.attention.{name}"].view(3, 7, 4, 5)
        for name in ("query", "key", "value")
    )
    scores = torch.einsum("bqad,bkad->baqk", query, key) / 5**0.5
    assert torch.allclose(traced["encoder.blocks.0.attention.scores"], scores, atol=1e-12)
    probabilities = traced["encoder.blocks.0.attention.probabilities"]
    context = torch.einsum("baqk,bkad->bqad", probabilities, value).reshape(3, 7, 20)
    assert torch.allclose(traced["encoder.blocks.0.attention.context"], context, atol=1e-12)


def test_compare_names_the_first_difference(traced):
    def changed(name, edit):
        tensors = {key: tensor.clone() for key, tensor in traced.items()}
        edit(tensors[name])
        return compare(traced, tensors, tolerance=1e-9)

    name = "encoder.blocks.1.feed_forward.down"
    found = changed(name, lambda t: t[2, 3].add_(0.25))
    assert (found.name, found.rows, found.what) == (name, ((2, 3),), "token")
    assert found.difference == pytest.approx(0.25) and found.share == pytest.approx(1 / 21)
    name = "encoder.blocks.2.attention.scores"
    found = changed(name, lambda t: t[1, 3].mul_(2))
    assert (found.name, found.rows, found.what) == (name, ((1, 3),), "head")
    found = changed("pooler.dense", lambda t: t[0].fill_(torch.nan))
    assert found.name == "pooler.dense" and "pooler.dense" in str(found)
    found = changed("pooler.dense", lambda t: t[0, 17].add_(1))
    assert "at (text, feature) (0, 17)" in str(found)


def test_how_low_padding_is_pushed_makes_no_difference(traced):
    """-10000 (Google), the most negative float (transformers): the same computation."""
    tensors = dict(traced)
    for name in [name for name in traced if name.endswith("masked_scores")]:
        google = traced[name.replace("masked_scores", "scores")] - 10_000
        tensors[name] = torch.where(traced[name] < -1e30, google, traced[name])
    assert compare(traced, tensors, tolerance=1e-9) is None
    weak = {**traced, name: traced[name].clamp(min=-1.0)}
    assert compare(traced, weak, tolerance=1e-9).name == name


def test_only_scores_have_a_lowest_number():
    first, second = torch.tensor([[-2000.0]]), torch.tensor([[-9000.0]])
    assert compare({"masked_scores": first}, {"masked_scores": second}) is None
    assert compare({"x": first}, {"x": second}).difference == 7000
    assert compare({"x": first * torch.inf}, {"x": second}).name == "x"
    norms = [norm for _, _, norm in Trace({"x": first, "masked_scores": first}).rows()]
    assert norms == [2000, 0]


@pytest.mark.parametrize("name", ["x", "masked_scores"])
def test_nan_is_shown_and_differs(name):
    tensors = {name: torch.full((1, 1, 2), torch.nan)}
    assert str(Trace(tensors)).endswith(" nan")
    assert compare(tensors, tensors).name == name


def test_compare_missing_and_misshapen(traced):
    short = {name: tensor for name, tensor in traced.items() if name != "embeddings.sum"}
    assert "not in the second trace" in str(compare(traced, short))
    assert "shape (3, 7, 20)" in str(
        compare(traced, {**traced, "embeddings.sum": torch.zeros(3, 20)})
    )


def test_threads_share_a_model(model):
    """Only what the own thread runs is recorded, beside traces and plain calls of others."""
    batches = [tiny_batch(seed=seed) for seed in range(4)]
    right = [record(model, batch) for batch in batches]

    def run(number):
        batch = batches[number % 4]
        if number % 3 == 0:
            with torch.no_grad():
                logits = model(**batch, output_attentions=True).prediction_logits
            return torch.equal(logits, right[number % 4]["masked_word.logits"])
        trace = record(model, batch)
        same = list(trace) == list(right[number % 4])
        return same and compare(right[number % 4], trace, tolerance=0) is None

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(run, range(240)))
    assert not any(module._forward_hooks for module in model.modules()), "hooks left behind"


def test_a_block_that_stands_in_two_places():
    model = trained_like()
    model.bert.encoder.blocks[2] = model.bert.encoder.blocks[0]
    traced = record(model, tiny_batch())
    states = model(**tiny_batch(), output_hidden_states=True, output_attentions=True).hidden_states
    assert list(traced) == list(record(trained_like(), tiny_batch()))
    for block in range(3):
        assert torch.equal(traced[f"encoder.blocks.{block}.output_norm"], states[block + 1])


def test_refusals(model):
    half = trained_like()
    half.bert.encoder.blocks[1].train()
    with pytest.raises(ValueError, match="eval mode"):
        record(half, tiny_batch())
    with pytest.raises(ValueError, match="eval mode"):
        record(trained_like().train(), tiny_batch())
    with pytest.raises(KeyError, match="did you mean.*embeddings.token"):
        record(model, tiny_batch())["token"]


def test_the_table(traced):
    lines = str(traced).splitlines()
    assert len(lines) == len(traced) + 1
    row = next(line for line in lines if "blocks.0.attention.masked_scores" in line)
    assert "(3, 4, 7, 7)" in row and float(row.split()[-1]) < 1e4


def test_encoder_alone(model):
    bare = record(model.bert, tiny_batch())
    whole = record(model, tiny_batch())
    assert isinstance(bare, Trace)
    assert compare(bare, whole, tolerance=0) is None
