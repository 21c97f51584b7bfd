"""The catalogue, the probe and the search: does each known mistake show, and get its own name?"""

import copy
import dataclasses
import random

import pytest
import torch
import transformers

from minibert.diagnosis.catalogue.all import EQUIVALENT, model_mistakes
from minibert.diagnosis.catalogue.attention import Steps
from minibert.diagnosis.catalogue.block import blocks, change_block, own_norms
from minibert.diagnosis.catalogue.mistake import (
    CATALOGUE,
    PARTS,
    attentions,
    mistake,
    override,
    patched,
)
from minibert.diagnosis.functions import adamw_step, mask_tokens
from minibert.diagnosis.probe import full_batch, probe_batch, probe_config, probe_model
from minibert.diagnosis.report import Check, Diagnosis
from minibert.diagnosis.search import Replay, explain
from minibert.diagnosis.traces import TOLERANCE, first_difference, observe
from minibert.weights.loading import hugging_face_state

FINAL = ("last_hidden_state", "pooler.activation", "masked_word.logits", "next_sentence.logits")


# ---- The probe ----


def test_the_probe_agrees_with_transformers():
    """So that "reference" means more than our own output."""
    ours, batch = probe_model(), full_batch()
    config = transformers.BertConfig(**ours.config.to_dict())
    theirs = transformers.BertForPreTraining(config).double().eval()
    theirs.load_state_dict(hugging_face_state(ours), strict=False)
    with torch.no_grad():
        a, b = ours(**batch), theirs(**batch)
    real = batch["attention_mask"].bool()
    assert torch.allclose(a.prediction_logits[real], b.prediction_logits[real], rtol=0, atol=1e-12)
    assert torch.allclose(a.seq_relationship_logits, b.seq_relationship_logits, rtol=0, atol=1e-12)
    assert torch.allclose(a.loss, b.loss, rtol=0, atol=1e-12)


def test_no_two_dimensions_of_the_probe_are_equal():
    config, batch = probe_config(), full_batch()
    B, T = batch["input_ids"].shape
    sizes = [B, T, config.hidden_size, config.num_attention_heads, config.head_size]
    sizes += [config.intermediate_size, config.vocab_size, config.max_position_embeddings]
    assert len(set(sizes)) == len(sizes)
    assert {3, 4, 5, 7} >= set(batch["attention_mask"].sum(1).tolist())


def test_the_left_padded_probe_has_a_real_token_with_the_id_of_padding():
    batch = probe_batch(left_padding=True)
    assert bool(((batch["input_ids"] == 0) & (batch["attention_mask"] == 1)).any())
    right = probe_batch()
    assert not bool(((right["input_ids"] == 0) & (right["attention_mask"] == 1)).any())


def test_the_probe_is_the_same_for_the_same_seed_and_fits_float32():
    one, same, other = probe_model(0), probe_model(0), probe_model(1)
    for name, tensor in one.named_parameters():
        assert torch.equal(tensor, same.get_parameter(name))
        assert not torch.equal(tensor, other.get_parameter(name))
        assert torch.equal(tensor, tensor.float().double())
        assert bool(tensor.std() > 0)  # no bias is 0, no LayerNorm weight is 1


# ---- The catalogue ----


def test_the_catalogue_is_large_and_every_entry_complete():
    assert len(CATALOGUE) >= 60
    assert len(model_mistakes()) >= 64
    assert {each.part for each in CATALOGUE.values()} == set(PARTS)
    for name, each in CATALOGUE.items():
        assert each.id == name
        assert len(set(each.hints)) == 3 and all(each.hints), name
        assert each.hints[0].endswith((".", "?")), name
        assert each.symptom.endswith(".") and len(each.symptom) < 120, name
        assert "case noted" not in each.seen, name
    symptoms = [each.symptom for each in CATALOGUE.values()]
    assert len(set(symptoms)) == len(symptoms)
    assert set(EQUIVALENT) <= set(CATALOGUE) and all(EQUIVALENT.values())


@pytest.mark.parametrize("kind", ["model", "train", "gradient"])
def test_a_patch_leaves_no_trace_in_the_model(kind):
    model, batch = probe_model(), full_batch()
    before, tensors = str(model), observe(model, batch)
    parameters = {name: (id(p), p.clone()) for name, p in model.named_parameters()}
    for each in CATALOGUE.values():
        if each.kind == kind:
            with patched(model, [each]):
                pass
    assert str(model) == before
    assert {name: id(p) for name, p in model.named_parameters()} == {
        name: number for name, (number, _) in parameters.items()
    }
    assert all(torch.equal(model.get_parameter(n), p) for n, (_, p) in parameters.items())
    assert first_difference(tensors, observe(model, batch), batch["attention_mask"], 0.0) is None


def test_mistakes_also_apply_to_a_copy_in_place():
    model = copy.deepcopy(probe_model())
    CATALOGUE["scale_missing"].apply(model)
    assert all(block.attention.scale == 1.0 for block in blocks(model))
    with pytest.raises(TypeError, match="a mistake of mean_pool"):
        CATALOGUE["pool_over_padding"].apply(model)


@pytest.mark.parametrize("each", model_mistakes(), ids=lambda each: each.id)
def test_every_mistake_alone_is_named_exactly(replay, each):
    tensors = replay.tensors([each])
    right = replay.cached(())
    outputs = max(float((tensors[name] - right[name]).abs().max()) for name in FINAL)
    assert not any(tensor.isnan().any() for tensor in tensors.values())
    if each.id in EQUIVALENT:
        assert outputs < TOLERANCE
    else:
        assert outputs > 1e-6
        assert replay.explain(tensors) == [(each.id,)]


def test_the_reference_needs_no_explanation(replay):
    assert replay.explain(replay.tensors()) == [()]


@pytest.mark.parametrize("count", [50, pytest.param(200, marks=pytest.mark.slow)])
def test_pairs_are_explained(replay, count):
    """Seeded pairs: at least nine in ten exactly, and none by a wrong name."""
    generator, pairs = random.Random(0), []
    usable = [each for each in model_mistakes() if each.id not in EQUIVALENT]
    while len(pairs) < count:
        one, other = generator.sample(usable, 2)
        if not one.excludes(other):
            pairs.append((one, other))
    exact, wrong = 0, []
    for pair in pairs:
        found = replay.explain(replay.tensors(pair))
        ids = tuple(sorted(each.id for each in pair))
        exact += found == [ids]
        # Beside softmax over the heads, a weak mask gives the numbers of none: both are said.
        if ids not in found and any(not set(names) <= set(ids) for names in found):
            wrong.append((ids, found))
    assert not wrong
    assert exact >= 0.9 * count


def scale_of(value):
    def change(model):
        for block in blocks(model):
            block.attention.scale = value

    return change


def activation(function):
    def change(model):
        for block in blocks(model):
            block.feed_forward.activation = Steps(function)

    return change


def wrapped(path, function):
    """Change the result of one submodule of every block."""

    def change(model):
        for block in blocks(model):
            override(block.get_submodule(path), "forward", lambda f, *x: function(f(*x)))

    return change


def norms_with(**changes):
    def change(model):
        for norm in own_norms(model):
            for name, value in changes.items():
                setattr(norm, name, value)

    return change


def parallel(model):
    def compute(block, x, attend, think):
        return block.output_norm(block.output_sum(attend(block.attention_norm(x)) + think(x) + x))

    change_block(model, compute)


def mask_last_token(model):
    def forward(original, input_ids, *, attention_mask=None, **others):
        mask = attention_mask.clone()
        mask[:, -1] = 0
        return original(input_ids, attention_mask=mask, **others)

    override(model.bert, "forward", forward)


def reversed_positions(model):
    table = model.bert.embeddings.position
    override(table, "forward", lambda f, ids: f(6 - ids))


def two_blocks_swapped(model):
    stack = model.bert.encoder.blocks
    first, second = stack[0], stack[1]
    stack[0], stack[1] = second, first


def segments_averaged(model):
    table = model.bert.embeddings.segment
    override(table, "forward", lambda f, ids: (f(ids) + f(1 - ids)) / 2)


# Twenty slips that the catalogue does not have, and where each must be found.
UNKNOWN = {
    "scale 1/3": (scale_of(1 / 3), "blocks.0.attention.scores"),
    "scale negative": (scale_of(-(5**-0.5)), "blocks.0.attention.scores"),
    "softplus": (activation(torch.nn.functional.softplus), "blocks.0.feed_forward.activation"),
    "elu": (activation(torch.nn.functional.elu), "blocks.0.feed_forward.activation"),
    "leaky relu": (activation(torch.nn.functional.leaky_relu), "blocks.0.feed_forward.activation"),
    "tanh": (activation(torch.tanh), "blocks.0.feed_forward.activation"),
    "context halved": (wrapped("attention.context", lambda x: x / 2), "blocks.0.attention.context"),
    "queries clipped": (
        wrapped("attention.query", lambda x: x.clamp(-1, 1)),
        "blocks.0.attention.query",
    ),
    "values shifted in time": (
        wrapped("attention.value", lambda x: x.roll(1, 1)),
        "blocks.0.attention.value",
    ),
    "probabilities squared": (
        wrapped("attention.probabilities", lambda x: x * x),
        "blocks.0.attention.probabilities",
    ),
    "down doubled": (wrapped("feed_forward.down", lambda x: 2 * x), "blocks.0.feed_forward.down"),
    "residual doubled": (
        wrapped("attention_sum", lambda x: x + x.mean(-1, keepdim=True) + x.sin()),
        "blocks.0.attention_sum",
    ),
    "norm with eps 1e-7": (norms_with(eps=1e-7), "embeddings.norm"),
    "norm with absolute deviation": (
        norms_with(root=lambda variance: variance.sqrt() * 0.8),
        "embeddings.norm",
    ),
    "parallel block": (parallel, "blocks.0.attention.query"),
    "last token hidden": (mask_last_token, "blocks.0.attention.masked_scores"),
    "positions reversed": (reversed_positions, "embeddings.position"),
    "two blocks swapped": (two_blocks_swapped, "blocks.0.attention.query"),
    "segments averaged": (segments_averaged, "embeddings.segment"),
    "pooler with relu": (
        lambda model: setattr(model.bert.pooler, "activation", torch.nn.ReLU()),
        "pooler.activation",
    ),
}


@pytest.mark.parametrize("slip", UNKNOWN)
def test_an_unknown_mistake_gets_a_place_and_no_name(replay, slip):
    change, place = UNKNOWN[slip]
    batch, model = full_batch(), probe_model()
    change(model)
    tensors = observe(model, batch)
    difference = first_difference(replay.cached(()), tensors, batch["attention_mask"])
    assert difference is not None and difference.name.endswith(place)
    assert replay.explain(tensors) == []


def test_twenty_unknown_mistakes():
    assert len(UNKNOWN) == 20


def test_what_cannot_be_told_apart_is_given_as_several(replay):
    """With outputs alone, -1 at padding and +1 at real tokens are the same to softmax."""
    tensors = replay.tensors([CATALOGUE["mask_too_weak"]])
    outputs = {name: tensors[name] for name in FINAL}
    assert replay.explain(outputs) == [("mask_added_raw",), ("mask_too_weak",)]


def test_three_mistakes_are_found_together(replay):
    names = ("gelu_tanh", "norm_eps_1e5", "scale_missing")
    tensors = replay.tensors([CATALOGUE[name] for name in names])
    assert replay.explain(tensors) == [names]


def test_sets_that_are_too_many_are_not_tried():
    """Of thirty mistakes there are 435 pairs, and 4,060 sets of three."""
    known = [dataclasses.replace(CATALOGUE["relu"], id=f"m{n}", changes=f"{n}") for n in range(30)]
    tried = []

    def compute(mistakes):
        tried.append(mistakes)
        return {each.id for each in mistakes}

    def explained(observed, loosely=None):
        return explain(known, compute, set.__eq__, observed, loosely=loosely)

    assert explained({"none of them"}) == ([], False, 2)
    assert len(tried) == 1 + 30 + 435
    assert explained({"m3", "m5"}) == ([("m3", "m5")], True, 2)
    assert explained({"m3", "m5"}, set.__lt__) == ([("m3", "m5")], True, 2)
    assert explained({"m3", "m5", "m7"}, set.__lt__).sets == [("m3",), ("m5",), ("m7",)]


def test_a_mistake_of_ones_own(replay, monkeypatch):
    monkeypatch.setattr("minibert.diagnosis.catalogue.mistake.CATALOGUE", {})

    @mistake("attention")
    def own_scale(model):
        """The scale is
        1/3.

        ? Why
        3?
        @ Scores: query
          @ key.
        ! Use 5.
        """
        scale_of(1 / 3)(model)

    from minibert.diagnosis.catalogue import mistake as module

    entry = module.CATALOGUE["own_scale"]
    assert (entry.symptom, *entry.hints) == (
        "The scale is 1/3.",
        "Why 3?",
        "Scores: query @ key.",
        "Use 5.",
    )
    own = Replay(probe_model(), full_batch(), [*model_mistakes(), module.CATALOGUE["own_scale"]])
    assert own.explain(replay.tensors([module.CATALOGUE["own_scale"]])) == [("own_scale",)]
    with pytest.raises(ValueError, match="choose another name"):
        mistake("attention")(own_scale)
    with pytest.raises(ValueError, match="part must be one of"):
        mistake("nowhere")
    with pytest.raises(ValueError, match="kind must be"):
        mistake("attention", kind="other")
    with pytest.raises(ValueError, match="what it replaces"):
        mistake("attention", kind="function")


def test_a_mistake_of_each_part_with_hints_of_its_group(monkeypatch):
    model = probe_model()
    monkeypatch.setattr("minibert.diagnosis.catalogue.mistake.CATALOGUE", {})

    @mistake("attention", each=attentions, hints="? Why?\n@ There.\n! Mend it.")
    def group_scale(attention):
        """It is wrong.

        @ Here.
        """
        attention.scale = 2.0

    from minibert.diagnosis.catalogue.mistake import CATALOGUE

    entry = CATALOGUE["group_scale"]
    assert (entry.symptom, *entry.hints) == ("It is wrong.", "Why?", "Here.", "Mend it.")
    with patched(model, [entry]):
        assert [each.scale for each in attentions(model)] == [2.0] * 3
    assert 2.0 not in [each.scale for each in attentions(model)]
    with pytest.raises(ValueError, match="has no symptom"):
        mistake("attention", hints="? Why?\n@ There.\n! Mend it.")(lambda model: None)


@pytest.mark.parametrize(
    "mark, paragraph", [("x", "symptom"), ("?", "question"), ("@", "place"), ("!", "fix")]
)
@pytest.mark.parametrize("empty", [True, False])
def test_a_docstring_that_lacks_a_paragraph_is_refused(monkeypatch, mark, paragraph, empty):
    monkeypatch.setattr("minibert.diagnosis.catalogue.mistake.CATALOGUE", {})

    def slip(model):
        pass

    lines = ["x It is wrong.", "? Why?", "@ There.", "! Mend it."]
    lines[0] = lines[0] if mark != "x" else ""
    rest = [mark] if empty and mark != "x" else []
    slip.__doc__ = "\n".join([line for line in lines if not line.startswith(mark)] + rest)
    with pytest.raises(ValueError, match=rf"slip\(\) has no {paragraph}"):
        mistake("attention")(slip)


def test_a_mistake_without_a_public_case_has_no_line_for_it():
    told = Diagnosis("x", [Check("numbers", False)], place="there", explanations=[("loss_summed",)])
    assert "Seen in: reduction='sum'" in told.text()
    silent = dataclasses.replace(told, explanations=[("loss_negative",)])
    assert "Fix:" in silent.text() and "Seen in" not in silent.text()


def test_the_number_of_threads_is_restored(replay):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        replay.explain(replay.tensors([CATALOGUE["relu"]]))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


# ---- The small functions ----


def test_adamw_step_is_torchs():
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(5, generator=generator, dtype=torch.float64)
    own = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.AdamW([own], lr=0.01, weight_decay=0.1)
    parameter, m, v = start, torch.zeros(5).double(), torch.zeros(5).double()
    for step in range(1, 6):
        own.grad = torch.randn(5, generator=generator, dtype=torch.float64)
        parameter, m, v = adamw_step(parameter, own.grad, m, v, step)
        optimizer.step()
        assert torch.allclose(parameter, own.detach(), rtol=0, atol=1e-15)


def test_mask_tokens_has_the_papers_shares():
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 61, (300, 400), generator=generator)
    ids[:, 0] = 2
    words = torch.full_like(ids, 7)
    chosen, action = torch.rand(2, 300, 400, generator=generator)
    masked, labels = mask_tokens(ids, chosen, action, words)
    share = (labels[:, 1:] != -100).double().mean()
    assert abs(share - 0.15) < 0.005
    at = labels != -100
    assert abs((masked[at] == 4).double().mean() - 0.8) < 0.01
    assert torch.equal(labels[at], ids[at]) and torch.equal(masked[~at], ids[~at])
    assert bool((labels[:, 0] == -100).all())
