"""The golden pack: its form, its sources, and that independent recordings in it agree."""

import copy
import hashlib
import json

import numpy as np
import pytest
import torch
import transformers

from tests.conftest import shared
from weights_tools.errors import CorruptError
from weights_tools.verify.pack import FOLDER, PACKS, known_fingerprints, load_pack, take

BASE = load_pack("bert-base-uncased")
BY_ID = {check.id: check for check in BASE.checks}


def test_there_are_enough_published_results():
    gates = BASE.gates
    assert len(gates) >= 40
    assert len({(check.input, check.output, str(check.index)) for check in gates}) >= 40
    assert len({BASE.sources[check.source]["repository"] for check in gates}) >= 10
    full = [check for check in gates if check.printed == "float32" and check.expected.size >= 768]
    assert len(full) >= 20  # whole tensors, not only a few printed digits
    for check in gates:
        source = BASE.sources[check.source]
        assert source["repository"] and source["licence"] and check.path


def test_every_kind_of_output_is_covered():
    outputs = {check.output.split("[")[0].split(":")[0] for check in BASE.gates}
    assert outputs >= {
        *("parameter", "hidden_states", "attentions", "last_hidden_state", "pooler_output"),
        *("prediction_logits", "prediction_probabilities", "seq_relationship_logits", "top_words"),
        *("masked_word_loss", "next_sentence_loss", "pretraining_loss", "trace", "cosine"),
    }
    assert {check.hidden_act for check in BASE.gates} == {"gelu", "gelu_new", "any"}


def test_what_is_not_known_for_certain_is_a_lead():
    leads = {check.source for check in BASE.checks if check.kind == "lead"}
    assert leads >= {"mccormick", "tf-hub-tutorial", "bert-as-service", "bert-embedding"}
    variants = [id for id in BY_ID if id.startswith("bank-river")]
    assert variants == ["bank-river-segment-0", "bank-river-segment-1"]


def test_independent_recordings_agree():
    """Two recordings of the same sentences, by other people with other code."""
    for name in ("last-hidden-state", "pooler-output"):
        for row in (0, 1):
            other = {"last-hidden-state": "last", "pooler-output": "pooler"}[name]
            first = BY_ID[f"stages-{name}-{row}"].expected
            assert np.abs(first - BY_ID[f"minbert-{other}-{row}"].expected).max() < 1e-5
    # Google's TensorFlow and a PyTorch course: the vector of [CLS] before the first block
    cls = BY_ID["rbert-pair-hidden-0"].expected[0]
    assert np.abs(cls - BY_ID["stages-embed-outputs-0"].expected[0]).max() < 5e-6
    printed = BY_ID["i-am-sinan-embeddings"]
    assert np.allclose(cls[printed.index[2]], printed.expected[0], atol=2e-5)
    # two notebooks that print the same rows of the tables
    first, second = BY_ID["ldh13-position-rows"], BY_ID["mrtanke-position-rows"]
    assert np.array_equal(first.expected, second.expected[[0, 5]])


def test_allowances_are_noise_and_not_mistakes():
    """Every recording that two sources made fits into its allowance five times; tanh for erf,
    which moves the states by 1e-3 and their worst digits by more, does not fit into any."""
    for name in ("last-hidden-state", "pooler-output"):
        for row in (0, 1):
            check = BY_ID[f"stages-{name}-{row}"]
            other = BY_ID[f"minbert-{name.split('-')[0]}-{row}"]
            assert np.abs(check.expected - other.expected).max() * 5 < check.allowed.min()
    state, last = (BY_ID[f"rbert-pair-hidden-{layer}"] for layer in (0, 12))
    assert state.allowed.max() < 1.1e-5 and 4e-5 < last.allowed.min() < last.allowed.max() < 6e-5
    assert max(float(check.allowed.max()) for check in BASE.gates if check.printed != "ids") < 6e-3
    integration = BY_ID["hf-integration"]
    assert np.allclose(integration.allowed, 5e-5 + 5e-5)  # four decimals, and noise
    digits = BY_ID["mrtanke-position-rows"]
    assert digits.allowed[0, 0] == pytest.approx(5e-7 + 1e-7)  # 0.017505
    assert digits.allowed[0, 3] == pytest.approx(5e-10 + 1e-7)  # 3.3437e-05


def test_what_is_certain():
    """Files that were read, and numbers with two sources; what confirms gives the same numbers."""
    certain = {check.id for check in BASE.certain.checks}
    assert {"hf-integration", "fill-man-order", "minbert-last-0", "rbert-pair-hidden-12"} < certain
    assert not {"fill-man-scores", "bumblebee-nsp", "dog-last", "hf-export"} & certain
    assert BY_ID["hf-integration"].sources == 3 and BY_ID["bumblebee-nsp"].sources == 1
    rows = [BY_ID[f"{who}-segment-row"] for who in ("ldh13", "mrtanke")]
    assert np.array_equal(rows[0].expected, rows[1].expected)
    assert np.array_equal(BY_ID["fill-man-order"].expected, BY_ID["hf-export"].expected)


def test_attention_rows_sum_to_one():
    for check in BASE.gates:
        if check.output.startswith("attentions"):
            assert np.abs(check.expected.sum(axis=-1) - 1).max() < 1e-6


def test_the_arrays_are_the_recordings():
    """Carried over unchanged: against the files themselves, where they are present."""
    recorded = np.load(shared("golden/google_tf/bert_base_uncased_rbert.npz"))
    for number, layer in enumerate((0, 9, 10, 11, 12)):
        for mine, theirs in (("pair", "seq1"), ("single", "seq2")):
            got = BY_ID[f"rbert-{mine}-hidden-{layer}"].expected
            assert np.array_equal(got, recorded[f"{theirs}_hidden"][number])
    for number, layer in enumerate((9, 10, 11, 12)):
        got = BY_ID[f"rbert-single-attention-{layer}"].expected
        assert np.array_equal(got, recorded["seq2_attention"][number])
        assert BY_ID[f"rbert-single-attention-{layer}"].output == f"attentions[{layer - 1}]"
    course = torch.load(shared("golden/minbert_sanity/sanity_check.data"), weights_only=True)
    whole = course["last_hidden_state"].detach().numpy()
    assert np.array_equal(BY_ID["minbert-last-0"].expected, whole[0, :4])
    assert np.array_equal(BY_ID["minbert-last-1"].expected, whole[1])


def test_ids_are_those_of_the_texts():
    """Every text of an input gives its ids, by the official vocabulary and another tokenizer."""
    vocab = shared("tf_checkpoints/tf_index_only/google_uncased_L-8_H-512_A-8/vocab.txt")
    known = known_fingerprints()["google-bert/bert-base-uncased"]["files"]["vocab.txt"]
    assert hashlib.sha256(vocab.read_bytes()).hexdigest() == known["sha256"]
    tokenizer = transformers.BertTokenizer(str(vocab), do_lower_case=True)
    seen = 0
    for name, values in BASE.inputs.items():
        text, ids = values.get("text"), values["input_ids"]
        if text is None or "mask" in values.get("note", ""):
            continue
        if isinstance(text, str):
            rows = [tokenizer(text).input_ids]
        elif len(ids) == 1:
            encoded = tokenizer(*text)
            rows = [encoded.input_ids]
            assert values.get("token_type_ids", [encoded.token_type_ids]) == [
                encoded.token_type_ids
            ], name
        else:
            rows = [tokenizer(one).input_ids for one in text]
        for row, expected in zip(ids, rows, strict=True):
            assert row[: len(expected)] == expected, name
            assert not any(row[len(expected) :]), name
        seen += 1
    assert seen >= 20


def test_fingerprints_are_well_formed():
    releases = known_fingerprints()
    assert len(releases["google-bert/bert-base-uncased"]["files"]) == 6
    for release in releases.values():
        for file in release["files"].values():
            assert len(file["sha256"]) == 64 and int(file["sha256"], 16)
    tensorflow = shared("tf_checkpoints/tf_index_only")
    for name, folder in (
        ("google uncased_L-8_H-512_A-8 (TensorFlow)", "google_uncased_L-8_H-512_A-8"),
        ("google chinese_L-12_H-768_A-12 (TensorFlow)", "google_chinese_L-12_H-768_A-12"),
    ):
        for file in ("bert_model.ckpt.index", "vocab.txt"):
            digest = hashlib.sha256((tensorflow / folder / file).read_bytes()).hexdigest()
            assert releases[name]["files"][file]["sha256"] == digest


def test_take():
    array = np.arange(24).reshape(2, 3, 4)
    assert take(array, None) is array
    assert np.array_equal(take(array, [1, None, [0, -1]]), array[1][:, [0, -1]])
    assert take(array, [0, 1, 2]) == 6


def spoil(check=None, **changes):
    """The pack as JSON values, with one check or one top-level field changed."""
    values = json.loads((FOLDER / "bert-base-uncased.json").read_text())
    if check is None:
        values.update(changes)
    else:
        entry = next(entry for entry in values["checks"] if entry["id"] == check)
        for field, value in changes.items():
            if value is None:
                entry.pop(field, None)
            else:
                entry[field] = value
    return values


INTEGRATION = "hf-integration"
ALLOWANCES = spoil()["allowances"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (spoil(INTEGRATION, kind="rumour"), "kind or hidden_act"),
        (spoil(INTEGRATION, hidden_act="relu"), "kind or hidden_act"),
        (spoil(INTEGRATION, source="hearsay"), "is not listed"),
        (spoil(INTEGRATION, path=""), "has no path"),
        (spoil(INTEGRATION, source="mccormick"), "repository is known"),
        (spoil(INTEGRATION, allowance="generous"), "the pack's allowances"),
        (spoil(INTEGRATION, allowance=None), "the pack's allowances"),
        (spoil(INTEGRATION, confirmed_by=["transformers"]), "other sources than its own"),
        (spoil(INTEGRATION, confirmed_by=["transformers-docs"]), "other sources than its own"),
        (spoil(INTEGRATION, confirmed_by=["hearsay"]), "hearsay"),
        (spoil(allowances={**ALLOWANCES, "top": {"noise": 5e-5, "origin": ""}}), "its origin"),
        (spoil(INTEGRATION, printed={"decimals": 3}), "stated precision"),
        (spoil(INTEGRATION, index=[0, [0, 1, 2], [1, 2, 3]]), "rows of padding"),
        (spoil(INTEGRATION, index=[0, [1, 2], [1, 2, 3]]), "expected has shape"),
        (spoil(INTEGRATION, index=[0, [1, 2, 11], [1, 2, 3]]), "out of bounds"),
        (spoil(INTEGRATION, output="hidden_states[13]"), "has 13 of them"),
        (spoil(INTEGRATION, output="logits"), "unknown output"),
        (spoil(INTEGRATION, output="masked_word_loss"), "needs labels"),
        (spoil(INTEGRATION, id="minbert-last-0"), "not unique"),
        (spoil(INTEGRATION, array="minbert-last-0"), "'expected' or 'array'"),
        (spoil(INTEGRATION, expected=None), "'expected' or 'array'"),
        (spoil(INTEGRATION, colour="red"), "colour"),
        (spoil("minbert-last-0", index=[0, [0, 1, 2, 4]]), "rows of padding"),
        (spoil("python-pet-snake", index=[[0, 4], [2, 5]]), "rows of padding"),
        (spoil("mlm-scoring-unk", input="minbert"), "needs no input"),
        (spoil(checks=[]), "arrays without a check"),
        (spoil(name=None, arrays="../x.npz"), "plain file name"),
    ],
)
def test_an_unsound_pack_is_refused(tmp_path, values, message):
    (tmp_path / "bert-base-uncased.npz").symlink_to(FOLDER / "bert-base-uncased.npz")
    path = tmp_path / "pack.json"
    path.write_text(json.dumps(values))
    with pytest.raises(CorruptError, match=message):
        load_pack(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_ids": [[0, 30522]]}, "input_ids out of range"),
        ({"input_ids": [[1] * 513]}, "more than the model takes"),
        ({"input_ids": [[1.5]]}, "whole numbers"),
        ({"attention_mask": [[1]]}, "attention_mask must be"),
        ({"surprise": 1}, "unknown fields"),
    ],
)
def test_unsound_inputs_are_refused(tmp_path, change, message):
    (tmp_path / "bert-base-uncased.npz").symlink_to(FOLDER / "bert-base-uncased.npz")
    values = copy.deepcopy(spoil())
    values["inputs"]["fill-model"].update(change)
    (tmp_path / "pack.json").write_text(json.dumps(values))
    with pytest.raises(CorruptError, match=message):
        load_pack(tmp_path / "pack.json")


def test_broken_files_are_errors(tmp_path):
    for content in (b"", b"[]", b'{"arrays": null}', b"\xff"):
        (tmp_path / "pack.json").write_bytes(content)
        with pytest.raises(CorruptError, match="pack.json is not a sound golden pack"):
            load_pack(tmp_path / "pack.json")
    assert all(load_pack(name).checks for name in PACKS)
