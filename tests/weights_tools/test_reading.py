"""Opening safetensors, pickles and sets of files, against the libraries that write them."""

import json
import pickle
import struct

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from weights_tools.errors import (
    CorruptError,
    MissingShardError,
    TruncatedError,
    UnsupportedDtypeError,
)
from weights_tools.files.reading import by_key, open_weights
from weights_tools.files.writing import Planned, write_safetensors

KEY = "bert.encoder.layer.1.attention.self.query.weight"


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        KEY: torch.randn(3, 4, generator=generator),
        "bert.pooler.dense.bias": torch.randn(5, generator=generator).half(),
        "step": torch.tensor(7),
        "rounded": torch.randn(2, 2, generator=generator).bfloat16(),
        "nothing": torch.zeros(0, 3),
        "flags": torch.tensor([True, False]),
    }


def same(opened, expected: dict[str, torch.Tensor]) -> None:
    assert set(opened.tensors) == set(expected)
    for name, tensor in expected.items():
        stored = opened.tensors[name]
        assert stored.shape == tuple(tensor.shape)
        assert stored.dtype == str(tensor.dtype).removeprefix("torch.")
        wanted = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        assert np.array_equal(stored.read(), wanted.numpy())


def test_safetensors_of_the_library(tmp_path):
    safetensors.torch.save_file(tensors(), tmp_path / "model.safetensors", {"format": "pt"})
    same(open_weights(tmp_path), tensors())


@pytest.mark.parametrize("zipped", [True, False])
def test_pytorch_files_new_and_old(tmp_path, zipped):
    """The official file of 2018 is in the older format, which cannot be mapped."""
    path = tmp_path / "pytorch_model.bin"
    torch.save(tensors(), path, _use_new_zipfile_serialization=zipped)
    same(open_weights(tmp_path), tensors())


def test_a_pickle_with_code_is_not_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "owned"), "w")

    for name, save in (
        ("a.bin", torch.save),
        ("b.bin", lambda v, p: p.write_bytes(pickle.dumps(v))),
    ):
        save({"x": Evil()}, tmp_path / name)
        with pytest.raises(CorruptError, match="not"):
            open_weights(tmp_path / name)
    assert not (tmp_path / "owned").exists()


def test_number_types_that_no_weight_has(tmp_path):
    torch.save({"x": torch.zeros(2).to(torch.float8_e4m3fn)}, tmp_path / "x.bin")
    tensor = open_weights(tmp_path / "x.bin").tensors["x"]
    assert tensor.dtype == "float8_e4m3fn"
    with pytest.raises(UnsupportedDtypeError, match="float8"):
        tensor.read()


def test_a_pickle_without_tensors_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "x.bin")
    with pytest.raises(CorruptError, match="state_dict"):
        open_weights(tmp_path / "x.bin")
    (tmp_path / "y.bin").write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(CorruptError, match="cannot be read|not a plain"):
        open_weights(tmp_path / "y.bin")


def test_sets_of_files(tmp_path):
    whole = tensors()
    parts = {
        "model-1.safetensors": [KEY, "step"],
        "model-2.safetensors": [k for k in whole if k not in (KEY, "step")],
    }
    for file, names in parts.items():
        safetensors.torch.save_file({name: whole[name] for name in names}, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    weight_map = {name: file for file, names in parts.items() for name in names}
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    same(open_weights(tmp_path), whole)

    for lost in (
        {**weight_map, "more": "model-1.safetensors"},
        {k: v for k, v in weight_map.items() if k != "step"},
    ):
        index.write_text(json.dumps({"weight_map": lost}))
        with pytest.raises(CorruptError, match="do not hold|does not say"):
            open_weights(tmp_path)
    index.write_text(json.dumps({"weight_map": weight_map}))
    (tmp_path / "model-2.safetensors").unlink()
    with pytest.raises(MissingShardError, match=r"model-2\.safetensors is missing"):
        open_weights(index)


@pytest.mark.parametrize(
    "name", ["../secret.safetensors", "/etc/passwd", "a/b", "..", "", 7, "C:\\x", "a\0b"]
)
def test_an_index_cannot_point_elsewhere(tmp_path, name):
    (tmp_path / "in").mkdir()
    safetensors.torch.save_file({"x": torch.ones(2)}, tmp_path / "secret.safetensors")
    index = tmp_path / "in" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": name}}))
    with pytest.raises(CorruptError, match="expected the name of a f|expected a"):
        open_weights(tmp_path / "in")


def test_links_inside_a_folder_are_followed(tmp_path):
    """The hub's cache is made of links to files elsewhere."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    safetensors.torch.save_file({"x": torch.ones(2)}, tmp_path / "blobs" / "abc")
    (tmp_path / "snapshot" / "model.safetensors").symlink_to(tmp_path / "blobs" / "abc")
    assert list(open_weights(tmp_path / "snapshot").tensors) == ["x"]


def header(values, body=b"", length=None) -> bytes:
    text = values if isinstance(values, bytes) else json.dumps(values).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


GOOD = {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", TruncatedError),
        (b"version https://git-lfs.github.com/spec/v1\n", MissingShardError),
        (header(GOOD, b"\0" * 7), TruncatedError),
        (header(GOOD, b"\0" * 9), CorruptError),
        (header(GOOD, b"\0" * 8, length=1 << 60), CorruptError),
        (header(GOOD, b"\0" * 8, length=99_999_999), CorruptError),
        (header(b"[]"), CorruptError),
        (header(b"{"), CorruptError),
        (header(b"[" * 100_000), CorruptError),
        (header(b'{"x": 1, "x": 1}'), CorruptError),
        (header({"x": {"dtype": "F32", "shape": [2]}}), CorruptError),
        (header({"x": 3}), CorruptError),
        (
            header({"x": {**GOOD["x"], "dtype": "F8_E4M3", "shape": [8]}}, b"\0" * 8),
            UnsupportedDtypeError,
        ),
        (header({"x": {**GOOD["x"], "dtype": "F8_E4M3"}}, b"\0" * 8), CorruptError),
        (header({"x": {**GOOD["x"], "dtype": "F80"}}, b"\0" * 8), CorruptError),
        (header({"x": {**GOOD["x"], "dtype": ["F32"]}}, b"\0" * 8), CorruptError),
        (header({"x": {**GOOD["x"], "shape": [3]}}, b"\0" * 8), CorruptError),
        (header({"x": {**GOOD["x"], "shape": [-2]}}, b"\0" * 8), CorruptError),
        (header({"x": {**GOOD["x"], "shape": [2.0]}}, b"\0" * 8), CorruptError),
        (header({"x": {**GOOD["x"], "shape": [True, 2]}}, b"\0" * 8), CorruptError),
        (header({"x": {**GOOD["x"], "data_offsets": [8, 0]}}, b"\0" * 8), CorruptError),
        (header({"x": {**GOOD["x"], "data_offsets": [0, 8, 9]}}, b"\0" * 8), CorruptError),
        (header({"x": {**GOOD["x"], "data_offsets": [4, 12]}}, b"\0" * 12), CorruptError),
        (header({"x": GOOD["x"], "y": GOOD["x"]}, b"\0" * 8), CorruptError),
    ],
)
def test_broken_safetensors(tmp_path, content, kind):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(kind, match="model.safetensors"):
        open_weights(path)


def test_our_writer_is_read_by_the_library(tmp_path):
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    path = tmp_path / "model.safetensors"
    planned = [
        Planned("a", (4, 3), lambda: array.T),
        Planned("b", (), lambda: np.array(3), "int64"),
        Planned("c", (0,), lambda: np.zeros(0)),
    ]
    write_safetensors(path, planned)
    got = safetensors.numpy.load_file(path)
    assert np.array_equal(got["a"], array.T) and got["b"] == 3 and got["c"].shape == (0,)
    with safetensors.safe_open(path, "np") as opened:
        assert opened.metadata() == {"format": "pt"}


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    def broken():
        raise ValueError("no numbers")

    with pytest.raises(ValueError, match="no numbers"):
        write_safetensors(
            tmp_path / "x", [Planned("a", (1,), lambda: np.ones(1)), Planned("b", (1,), broken)]
        )
    with pytest.raises(ValueError, match="planned"):
        write_safetensors(tmp_path / "x", [Planned("a", (2,), lambda: np.ones(1))])
    assert list(tmp_path.iterdir()) == []


def test_two_names_for_one_tensor_are_an_error(tmp_path):
    names = ["bert.embeddings.LayerNorm.gamma", "embeddings.LayerNorm.weight"]
    safetensors.torch.save_file({name: torch.ones(2) for name in names}, tmp_path / "x.safetensors")
    with pytest.raises(CorruptError, match="both mean"):
        by_key(open_weights(tmp_path / "x.safetensors"))


def test_nothing_to_open(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no weights: expected model.safetensors"):
        open_weights(tmp_path)
    with pytest.raises(FileNotFoundError, match="is not there"):
        open_weights(tmp_path / "no" / "model.ckpt")
