"""Bad input to the model: each its own error that says expected, got, and what to do."""

import pytest
import torch
from transformers.activations import ACT2FN, get_activation

from minibert.core.checks import check_labels
from minibert.core.config import BertConfig
from minibert.core.encoder import activation_function
from minibert.fast.bert import FastBert
from tests.parity.twins import TINY, tiny_batch, trained_like, twin_of

IDS = torch.tensor([[5, 6, 7]])


@pytest.fixture(scope="module")
def model():
    return trained_like()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"input_ids": torch.tensor([[5, 61]])}, ValueError, "0..60, got 61"),
        ({"input_ids": torch.tensor([[5, -1]])}, ValueError, "0..60, got -1"),
        ({"input_ids": IDS.float()}, TypeError, "whole numbers .*float32"),
        ({"input_ids": [[5, 6]]}, TypeError, "a tensor, got list"),
        ({"input_ids": IDS[0]}, ValueError, r"\(batch, tokens\), got \(3,\)"),
        ({"input_ids": IDS[:0]}, ValueError, r"got \(0, 3\)"),
        ({"input_ids": IDS[:, :0]}, ValueError, r"got \(1, 0\)"),
        (
            {"input_ids": torch.ones(1, 17, dtype=torch.long)},
            ValueError,
            "16 tokens.*got 17.*trunc",
        ),
        ({"token_type_ids": torch.tensor([[0, 1, 2]])}, ValueError, "0..1, got 2.*first sentence"),
        (
            {"token_type_ids": torch.tensor([[0, 1]])},
            ValueError,
            r"expected \(1, 3\), got \(1, 2\)",
        ),
        ({"position_ids": torch.tensor([[0, 1, 16]])}, ValueError, "0..15, got 16"),
        ({"attention_mask": [[1, 1, 1]]}, TypeError, "attention_mask must be a tensor, got list"),
        ({"token_type_ids": [[0, 0, 0]]}, TypeError, "token_type_ids must be a tensor, got list"),
        ({"position_ids": [[0, 1, 2]]}, TypeError, "position_ids must be a tensor, got list"),
        (
            {"attention_mask": torch.ones(1, 4)},
            ValueError,
            r"expected \(1, 3\), or .* got \(1, 4\)",
        ),
        ({"attention_mask": torch.tensor([[0, -10000, 0]])}, ValueError, "1 .read. and 0"),
        ({"attention_mask": torch.tensor([[1, 0.5, 0]])}, ValueError, "1 .read. and 0"),
        ({"attention_mask": torch.zeros(1, 3)}, ValueError, "row 0.*nothing to read"),
    ],
)
def test_refused(model, arguments, error, words):
    with pytest.raises(error, match=words):
        model.bert(**{"input_ids": IDS, **arguments})


def test_mask_by_place_is_refused(model):
    """The classic: model(ids, segments), where the second place once meant something else."""
    with pytest.raises(TypeError, match="positional"):
        model.bert(IDS, torch.zeros_like(IDS))


def test_padding_without_a_mask_is_said(model):
    with pytest.warns(UserWarning, match="attention_mask"):
        model.bert(torch.tensor([[5, 6, 0]]))


@pytest.mark.parametrize("kind", [torch.bool, torch.int32, torch.int64, torch.float32])
def test_masks_of_any_number_type(model, kind):
    batch = tiny_batch()
    expected = model(**batch).prediction_logits
    batch["attention_mask"] = batch["attention_mask"].to(kind)
    assert torch.equal(model(**batch).prediction_logits, expected)


def test_labels():
    logits = torch.zeros(2, 3, 8)
    with pytest.raises(ValueError, match="no place to take a loss"):
        check_labels("labels", torch.full((2, 3), -100), logits)
    with pytest.raises(ValueError, match=r"0\.\.7"):
        check_labels("labels", torch.full((2, 3), 8), logits)
    with pytest.raises(ValueError, match=r"shape \(2, 3\), got \(2, 4\)"):
        check_labels("labels", torch.zeros(2, 4, dtype=torch.long), logits)
    with pytest.raises(ValueError, match=r"shape \(2, 3\), got \(3, 2\)"):
        check_labels("labels", torch.zeros(3, 2, dtype=torch.long), logits)
    with pytest.raises(TypeError, match="labels must be a tensor, got list"):
        check_labels("labels", [[0, 0, 0]] * 2, logits)
    with pytest.raises(ValueError, match="no head"):
        check_labels("labels", torch.zeros(2, 3, dtype=torch.long), None)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"hidden_size": 770}, "multiple of num_attention_heads, got 770 and 12"),
        ({"hidden_act": "relu"}, "hidden_act must be one of .*'relu'"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be a positive whole number, got 0"),
        ({"vocab_size": "30522"}, "vocab_size must be"),
        ({"vocab_size": True}, "vocab_size must be"),
        ({"hidden_dropout_prob": 1.5}, "probability"),
        ({"layer_norm_eps": 0.0}, "small positive"),
        ({"pad_token_id": 30522}, "below vocab_size"),
        ({"pad_token_id": -1}, "pad_token_id"),
        ({"model_type": "roberta"}, "not a BERT encoder: model_type"),
        ({"is_decoder": True}, "is_decoder"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
    ],
)
def test_configs_that_are_no_bert(fields, words):
    with pytest.raises(ValueError, match=words):
        BertConfig.from_dict({**BertConfig().to_dict(), **fields})


def test_config_files(tmp_path):
    path = tmp_path / "config.json"
    for content in (b"{", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="config.json is not a"):
            BertConfig.from_json_file(path)
    path.write_text('{"hidden_size": 128, "num_attention_heads": 2, "directionality": "bidi"}')
    assert BertConfig.from_json_file(path).head_size == 64
    assert BertConfig.from_dict(TINY.to_dict()) == TINY


# --- what people type who come from other libraries ----------------------------------------------


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("inputs_embeds", "hook on model.embeddings.token"),
        ("head_mask", "hook on the probabilities"),
        ("return_dict", "named tuple"),
        ("past_key_values", "no decoder"),
        ("offset_mapping", "take it out of the batch"),
    ],
)
def test_arguments_of_other_libraries(model, name, advice):
    for part in (model, model.bert):
        with pytest.raises(TypeError, match=f"BERT reads no {name}: .*{advice}"):
            part(IDS, **{name: None})


def test_the_ways_that_are_named_work(model):
    """inputs_embeds by a hook, against transformers; head_mask by a hook, against no head."""
    twin, batch = twin_of(model), tiny_batch()
    vectors = torch.randn(3, 7, 20, dtype=torch.float64)
    hook = model.bert.embeddings.token.register_forward_hook(lambda *_: vectors)
    ours = model.bert(**batch).last_hidden_state
    hook.remove()
    rest = {name: value for name, value in batch.items() if name != "input_ids"}
    assert (ours - twin.bert(inputs_embeds=vectors, **rest).last_hidden_state).abs().max() < 1e-12
    kept = torch.tensor([1.0, 0.0, 1.0, 1.0]).double()
    attention = model.bert.encoder.blocks[0].attention
    hook = attention.probabilities.register_forward_hook(
        lambda module, inputs, output: output * kept[:, None, None]
    )
    states = model.bert(**batch, output_attentions=True, output_hidden_states=True).hidden_states
    hook.remove()
    weight = twin.bert.encoder.layer[0].attention.output.dense.weight
    weight.data[:, 5:10] = 0  # the columns of head 1
    theirs = twin.bert(**batch, output_hidden_states=True).hidden_states
    assert (states[1] - theirs[1]).abs().max() < 1e-12


def test_outputs_by_name_and_number(model):
    batch = tiny_batch()
    ours, theirs = model.bert(**batch), twin_of(model).bert(**batch)
    for key in ("last_hidden_state", "pooler_output", 0, 1):
        assert (ours[key] - theirs[key]).abs().max() < 1e-12
    assert ours["attentions"] is None and ours[:2][1] is ours.pooler_output
    words = model(**batch)
    assert words["prediction_logits"] is words.prediction_logits is words[1]
    with pytest.raises(KeyError, match="expected one of loss, prediction_logits.*got 'logits'"):
        words["logits"]
    first, *_ = ours  # still a tuple
    assert first is ours.last_hidden_state


@pytest.mark.parametrize("explicit", [True, False])
def test_a_mask_for_each_query(model, explicit):
    """(B, T, T), against transformers' mask of four dimensions: who reads whom."""
    batch = tiny_batch()
    length = batch["input_ids"].shape[1]
    real = batch["attention_mask"]
    mask = torch.ones(length, length, dtype=torch.long).tril() * real[:, None, :] * real[:, :, None]
    ours = model.bert(**{**batch, "attention_mask": mask}, output_attentions=explicit)
    wide = torch.zeros(3, 1, length, length, dtype=torch.float64)
    wide = wide.masked_fill(mask[:, None] == 0, torch.finfo(torch.float64).min)
    theirs = twin_of(model).bert(**{**batch, "attention_mask": wide})
    difference = (ours.last_hidden_state - theirs.last_hidden_state)[real == 1]
    assert difference.abs().max() < 1e-12
    flat = model.bert(**batch).last_hidden_state
    same = model.bert(**{**batch, "attention_mask": real[:, None, :].expand(3, length, length)})
    assert (same.last_hidden_state - flat).abs().max() < 1e-12
    mask[1, 2] = 0  # the others still read it
    with pytest.raises(ValueError, match="row 1, token 2: there is nothing to read"):
        model.bert(**{**batch, "attention_mask": mask})
    with pytest.raises(ValueError, match="readable path"):
        FastBert(model.bert.float())(batch["input_ids"], attention_mask=torch.ones(3, 7, 7))
    model.double()


@pytest.mark.parametrize("name", [name for name in sorted(ACT2FN) if "gelu" in name])
def test_every_name_of_a_gelu(name):
    """A name is taken if its function is one of the two, and refused if it is another."""
    places = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    theirs = get_activation(name)
    try:
        config = BertConfig(hidden_act=name)
    except ValueError:
        for form in ("none", "tanh"):
            ours = torch.nn.functional.gelu(places, approximate=form)
            assert (ours - theirs(places)).abs().max() > 1e-6, "another name of the same function"
        return
    ours = activation_function(config.hidden_act)
    assert (ours(places) - theirs(places)).abs().max() < 1e-10
    assert config.to_dict()["hidden_act"] in ("gelu", "gelu_new")
