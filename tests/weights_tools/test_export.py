"""ONNX and TensorFlow exports, run by other programs."""

import json

import numpy as np
import pytest
import torch

import weights_tools.export
from minibert.weights.loading import save_weights
from tests.parity.twins import TINY, trained_like, twin_of
from weights_tools.errors import WeightsError
from weights_tools.export import export_onnx


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "model"
    source.mkdir()
    save_weights(trained_like(TINY).float(), source)
    for name in ("vocab.txt", "tokenizer.json", "special_tokens_map.json", "added_tokens.json"):
        (source / name).write_text("{}\n")
    return source


def test_onnx_gives_the_numbers_of_transformers(folder, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    report = export_onnx(folder, tmp_path / "onnx", heads=True)
    assert report.largest_difference < 1e-4
    assert sorted(path.name for path in (tmp_path / "onnx").iterdir()) == [
        *("added_tokens.json", "config.json", "model.onnx", "special_tokens_map.json"),
        *("tokenizer.json", "vocab.txt"),
    ]
    session = onnxruntime.InferenceSession(str(tmp_path / "onnx/model.onnx"))
    reference = twin_of(trained_like(TINY)).float()
    for ids, mask, segments in (
        ([[2, 9, 3]], [[1, 1, 1]], [[0, 0, 0]]),
        (
            [[2, 9, 7, 11, 3], [2, 5, 3, 0, 0], [2, 3, 0, 0, 0]],
            [[1] * 5, [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]],
            [[0, 0, 0, 1, 1], [0] * 5, [0] * 5],
        ),
    ):
        batch = {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}
        got = session.run(None, {key: np.array(value) for key, value in batch.items()})
        with torch.no_grad():
            out = reference(
                **{key: torch.tensor(v) for key, v in batch.items()}, output_hidden_states=True
            )
            pooled = reference.bert.pooler(out.hidden_states[-1])
        real = np.array(mask) == 1
        wanted = (out.hidden_states[-1], pooled, out.prediction_logits, out.seq_relationship_logits)
        for name, ours, theirs in zip(report.outputs, got, wanted, strict=True):
            keep = real if ours.ndim == 3 else slice(None)
            assert np.abs(ours[keep] - theirs.numpy()[keep]).max() < 1e-4, name


@pytest.mark.slow
def test_onnx_without_heads_and_without_pooler(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = trained_like(TINY).float()
    model.masked_word = model.next_sentence = None
    model.bert.pooler = None
    source = tmp_path / "encoder"
    source.mkdir()
    save_weights(model, source)
    report = export_onnx(source, tmp_path / "onnx", heads=True)
    assert report.outputs == ("last_hidden_state",)


def test_a_wrong_export_is_not_kept(folder, tmp_path, monkeypatch):
    differences = iter([2e-4, float("nan")])
    monkeypatch.setattr(weights_tools.export, "find_spec", lambda name: True)
    monkeypatch.setattr(weights_tools.export, "_write_onnx", lambda *_: None)
    monkeypatch.setattr(weights_tools.export, "_compare", lambda *_: next(differences))
    for _ in range(2):
        with pytest.raises(WeightsError, match="differs from the model"):
            export_onnx(folder, tmp_path / "onnx")
        assert not (tmp_path / "onnx").exists()


def test_what_is_missing_is_named(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(weights_tools.export, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install onnx onnxscript onnxruntime"):
        export_onnx(folder, tmp_path / "onnx")


def test_the_report_is_plain(tmp_path):
    report = weights_tools.export.OnnxReport(tmp_path / "m.onnx", ("a",), ("b",), 1e-7)
    assert json.loads(json.dumps(report.to_dict()))["largest_difference"] == 1e-7
