"""The listing and the comparison of weight files."""

import numpy as np
import pytest
import safetensors.torch
import torch

from minibert.core.config import BertConfig
from minibert.weights.loading import hugging_face_state, save_weights
from minibert.weights.names import name_table
from tests.conftest import shared
from tests.parity.twins import TINY, trained_like
from weights_tools.convert import convert_to_tf, expected_shapes
from weights_tools.names import (
    meaning_of_pytorch,
    meaning_of_tf,
    our_name_of,
    part_of,
    tf_name_of,
)
from weights_tools.show import Statistics, diff, show, statistics


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    save_weights(trained_like().float(), folder)
    return folder


def test_statistics_against_numpy():
    array = np.random.default_rng(0).standard_normal((700, 3000)).astype(np.float32)
    found = statistics(array)
    assert np.isclose(found.mean, array.mean(dtype=np.float64), rtol=1e-9)
    assert np.isclose(found.std, array.std(dtype=np.float64), rtol=1e-9)
    assert found.largest == np.abs(array).max()
    assert statistics(array.T).std == pytest.approx(found.std)
    array[3, 4] = np.nan
    assert statistics(array).nans == 1 and np.isfinite(statistics(array).std)
    assert statistics(np.zeros((0, 2))) == Statistics(0.0, 0.0, 0.0)
    assert statistics(np.array([1.0, np.inf])).largest == np.inf


def test_totals_of_a_base_model_are_the_known_number(tmp_path):
    """A real index of BERT base in Chinese has another vocabulary; the blocks are the same."""
    listing = show(shared("tf_checkpoints/tf_index_only/google_chinese_L-12_H-768_A-12"))
    assert listing.totals["blocks"] == 12 * 7_087_872
    assert listing.totals["encoder (embeddings, blocks, pooler)"] == 102_267_648
    assert any("no statistics" in note for note in listing.notes)
    english = sum(
        int(np.prod(shape))
        for key, shape in expected_shapes(BertConfig()).items()
        if key.startswith("bert.")
    )
    assert english == 109_482_240
    base = show(shared("tf_checkpoints/tf_index_only/covbert"))
    assert base.totals["encoder (embeddings, blocks, pooler)"] == 109_482_240


def test_listing_of_a_model(model):
    listing = show(model)
    rows = {row.name: row for row in listing.rows}
    state = hugging_face_state(trained_like().float())
    assert set(rows) == set(state)
    for key, tensor in state.items():
        row = rows[key]
        assert row.shape == tuple(tensor.shape) and row.size == tensor.numel()
        assert row.statistics.largest == pytest.approx(float(tensor.abs().max()))
        assert row.our_name and row.part != "unknown"
    table = name_table(TINY)
    for key in state:
        assert our_name_of(key) == table[key.removeprefix("bert.")]
    text = str(listing)
    assert "encoder.blocks.2.attention.query.weight" in text and "block 2 attention" in text


def test_names_go_both_ways():
    """Every tensor of a BERT has one TensorFlow name, which means that tensor again."""
    keys = list(expected_shapes(BertConfig()))
    names = [tf_name_of(key) for key in keys]
    assert len({name for name, _ in names}) == len(keys) == 206
    for key, (name, transposed) in zip(keys, names, strict=True):
        meaning = meaning_of_tf(name)
        assert (meaning.key, meaning.transposed) == (key, transposed)
        assert meaning_of_pytorch(key).key == key
        assert part_of(key) != "unknown"
        for slot in ("adam_m", "adam_v"):
            assert meaning_of_tf(f"{name}/{slot}").ignored == "optimizer slot"
    real = shared("tf_checkpoints/tf_index_only/google_chinese_L-12_H-768_A-12")
    assert {name for name, _ in names} == {row.name for row in show(real).rows}
    with pytest.raises(KeyError):
        tf_name_of("bert.encoder.layer.0.nothing")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("module.bert.pooler.dense.bias", "bert.pooler.dense.bias"),
        ("_orig_mod.bert.bert.pooler.dense.bias", "bert.pooler.dense.bias"),
        ("0.auto_model.pooler.dense.bias", "bert.pooler.dense.bias"),
        ("model.cls.predictions.bias", "cls.predictions.bias"),
        ("embeddings.LayerNorm.beta", "bert.embeddings.LayerNorm.bias"),
        (
            "bert.encoder.layer.12.output.LayerNorm.gamma",
            "bert.encoder.layer.12.output.LayerNorm.weight",
        ),
        ("roberta.pooler.dense.bias", "roberta.pooler.dense.bias"),
        ("gpt.pooler.dense.bias", None),
        ("bert.encoder.layer.x.output.dense.bias", None),
    ],
)
def test_old_and_foreign_names(name, key):
    assert meaning_of_pytorch(name).key == key


def test_the_same_weights_in_other_clothes(model, tmp_path):
    """TensorFlow names and orientation; old names in a pickle; names that nobody knows."""
    state = hugging_face_state(trained_like().float())
    convert_to_tf(model, tmp_path / "tf")
    assert diff(model, tmp_path / "tf").same
    old = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma"): value for key, value in state.items()
    }
    torch.save(old, tmp_path / "old.bin")
    assert diff(model, tmp_path / "old.bin").same
    strange = {f"w{number}": value for number, value in enumerate(state.values())}
    strange["w3"] = strange["w3"].clone()
    for name, value in strange.items():
        if value.dim() == 2 and int(name[1:]) % 2:
            strange[name] = value.T.contiguous()
    safetensors.torch.save_file(strange, tmp_path / "strange.safetensors")
    found = diff(model, tmp_path / "strange.safetensors")
    assert found.same and len(found.pairs) == len(state)
    assert any(pair.status == "equal, transposed" for pair in found.pairs)


def test_differences_are_found_and_measured(model, tmp_path):
    state = hugging_face_state(trained_like().float())
    key = "bert.encoder.layer.1.output.dense.weight"
    other = {name: value.clone() for name, value in state.items()}
    other[key][3, 2] += 0.25
    query = "bert.encoder.layer.0.attention.self.query.weight"
    other[query] = other[query].T.contiguous()
    del other["bert.pooler.dense.bias"]
    other["extra"] = torch.ones(2)
    other["bert.embeddings.token_type_embeddings.weight"] = torch.ones(3, 20)
    safetensors.torch.save_file(other, tmp_path / "other.safetensors")
    found = diff(model, tmp_path / "other.safetensors")
    status = {pair.first or pair.second: pair for pair in found.pairs}
    assert not found.same
    assert status[key].status == "differs" and status[key].largest == pytest.approx(0.25)
    assert status[query].status == "equal, transposed"
    assert status["bert.pooler.dense.bias"].status == "only in first"
    assert status["extra"].status == "only in second"
    assert status["bert.embeddings.token_type_embeddings.weight"].status == "shapes differ"
    assert "NOT the same weights" in str(found)
    assert sum(pair.status == "equal" for pair in found.pairs) == len(state) - 4


def test_transposed_square_matrices_are_not_confused(model, tmp_path):
    """A TensorFlow kernel that was not turned round has the right shape and wrong numbers."""
    state = {
        key: value.clone() for key, value in hugging_face_state(trained_like().float()).items()
    }
    for key in state:
        if key.endswith("query.weight"):
            state[key] = state[key].T.contiguous()
    safetensors.torch.save_file(state, tmp_path / "wrong.safetensors")
    found = diff(model, tmp_path / "wrong.safetensors")
    assert [pair.status for pair in found.pairs].count("equal, transposed") == 3
    assert "equal, transposed" in str(found)


def test_nan_is_shown(tmp_path):
    safetensors.torch.save_file(
        {"bert.pooler.dense.bias": torch.tensor([1.0, float("nan")])}, tmp_path / "x.safetensors"
    )
    assert "1 NaN!" in str(show(tmp_path / "x.safetensors"))
    assert diff(tmp_path / "x.safetensors", tmp_path / "x.safetensors").same
