"""Mutated files: an error in words or a correct result, never a crash, never a wrong answer.

Three kinds of file are mutated: TensorFlow checkpoints (also with the checksums made right again,
so that what lies behind them is reached), safetensors files and configs. What a reader accepts is
held against the truth: for TensorFlow the original numbers, for safetensors what the library
itself reads, for configs a model that can be built or is refused.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from minibert.core.config import BertConfig
from weights_tools.errors import WeightsError
from weights_tools.files.reading import open_weights
from weights_tools.files.writing import Planned, write_tf_checkpoint
from weights_tools.tensorflow.checkpoint import TFCheckpoint
from weights_tools.tensorflow.crc32c import crc32c, mask_crc
from weights_tools.tensorflow.sstable import read_table, write_table
from weights_tools.verify.pack import load_pack

COUNTS = [pytest.param(700, id="sample"), pytest.param(33_400, marks=pytest.mark.slow, id="all")]


def mutate(data: bytes, random: np.random.Generator) -> bytes:
    """One to three changes: a bit, a byte, a run of bytes, a cut, an insertion, a repetition."""
    out = bytearray(data)
    for _ in range(random.integers(1, 4)):
        at = int(random.integers(0, len(out) + 1))
        kind = random.integers(0, 6)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << int(random.integers(0, 8))
        elif kind == 1 and at < len(out):
            out[at] = int(random.choice([0, 1, 0x7F, 0x80, 0xFF, random.integers(0, 256)]))
        elif kind == 2:
            run = random.integers(0, 256, int(random.integers(1, 9)), dtype=np.uint8).tobytes()
            out[at : at + len(run)] = run
        elif kind == 3:
            del out[at : at + int(random.integers(1, 20))]
        elif kind == 4:
            out[at:at] = b"\xff" * int(random.integers(1, 12))
        else:
            out[at:at] = out[max(0, at - 30) : at]
    return bytes(out)


def peak_memory() -> int:
    status = Path("/proc/self/status")
    return int(status.read_text().split("VmHWM:")[1].split()[0]) if status.exists() else 0


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("repaired", [False, True], ids=["as it is", "checksums made right"])
def test_tensorflow_checkpoints(tmp_path, count, repaired):
    random = np.random.default_rng(7)
    tensors = {
        f"bert/encoder/layer_{n}/output/dense/kernel": random.standard_normal(
            (4, n + 1), np.float32
        )
        for n in range(4)
    }
    planned = [
        Planned(name, array.shape, lambda array=array: array) for name, array in tensors.items()
    ]
    write_tf_checkpoint(tmp_path / "m", planned, block_size=100)
    index, data = tmp_path / "m.index", tmp_path / "m.data-00000-of-00001"
    good = {index: index.read_bytes(), data: data.read_bytes()}
    pairs, before, accepted = read_table(good[index]), peak_memory(), 0
    for _ in range(count // 2):
        index.write_bytes(good[index])
        data.write_bytes(good[data])
        if repaired:
            changed = list(pairs)
            place = int(random.integers(0, len(pairs)))
            key, value = pairs[place]
            changed[place] = (key, mutate(value, random))
            index.write_bytes(write_table(changed, 100))
        else:
            file = index if random.integers(0, 2) else data
            file.write_bytes(mutate(good[file], random))
        try:
            checkpoint = TFCheckpoint(tmp_path / "m")
            checkpoint.check_files()
            got = {name: checkpoint.read(name) for name in checkpoint.entries}
        except WeightsError as error:
            assert str(tmp_path) in str(error) or "tensor '" in str(error), error
            continue
        accepted += 1
        for name, array in got.items():
            entry = checkpoint.entries[name]
            raw = data.read_bytes()[entry.offset : entry.offset + entry.size]
            assert mask_crc(crc32c(raw)) == entry.crc and array.nbytes in (len(raw), 2 * len(raw))
            if not repaired:  # every byte has a checksum: what is accepted is unchanged
                assert np.array_equal(array, tensors[name])
    assert accepted < count // 4
    assert peak_memory() - before < 100_000  # kilobytes


def library_reads(path: Path) -> dict[str, tuple]:
    with safetensors.safe_open(path, "np") as opened:
        return {
            name: (tuple(opened.get_slice(name).get_shape()), opened.get_slice(name).get_dtype())
            for name in opened.keys()  # noqa: SIM118
        }


@pytest.mark.parametrize("count", COUNTS)
def test_safetensors(tmp_path, count):
    """Whatever ours accepts the library accepts too, with the same names, shapes and bytes."""
    random = np.random.default_rng(8)
    path = tmp_path / "model.safetensors"
    tensors = {
        "bert.pooler.dense.weight": random.standard_normal((3, 3), np.float32),
        "bert.pooler.dense.bias": random.standard_normal(3).astype(np.float16),
        "step": np.array([1, 2]),
    }
    safetensors.numpy.save_file(tensors, path, {"format": "pt"})
    good, before, accepted = path.read_bytes(), peak_memory(), 0
    size = 8 + int.from_bytes(good[:8], "little")
    for number in range(count):
        head = mutate(good[8:size], random)
        if number % 3 == 0:
            content = mutate(good, random)
        else:
            content = len(head).to_bytes(8, "little") + head + good[size:]
        path.write_bytes(content)
        try:
            opened = open_weights(path)
            got = {name: tensor.read() for name, tensor in opened.tensors.items()}
        except WeightsError as error:
            assert "model.safetensors" in str(error)
            continue
        accepted += 1
        known = library_reads(path)
        assert set(known) == set(got)
        for name, (shape, dtype) in known.items():
            assert opened.tensors[name].shape == shape
            if dtype != "BF16":
                with safetensors.safe_open(path, "np") as library:
                    theirs = library.get_tensor(name)
                assert theirs.tobytes() == got[name].tobytes() and theirs.dtype == got[name].dtype
    assert 0 < accepted < count
    assert peak_memory() - before < 100_000


@pytest.mark.parametrize("count", COUNTS)
def test_configs_and_indexes(tmp_path, count):
    """Configs, shard indexes and golden packs: ValueError or TypeError, or something sound."""
    random = np.random.default_rng(9)
    config, before = tmp_path / "config.json", peak_memory()
    good = {
        config: json.dumps(BertConfig().to_dict()).encode(),
        tmp_path / "model.safetensors.index.json": json.dumps(
            {"metadata": {}, "weight_map": {"a": "x.safetensors", "b": "y.safetensors"}}
        ).encode(),
        tmp_path / "pack.json": json.dumps(
            {
                "name": "x",
                "claims": ["x"],
                "config": {"vocab_size": 9, "hidden_size": 4},
                "arrays": None,
                "sources": {},
                "inputs": {},
                "checks": [],
            }
        ).encode(),
    }
    for number in range(count):
        file = list(good)[number % 3]
        file.write_bytes(mutate(good[file], random))
        try:
            if file == config:
                made = BertConfig.from_json_file(file)
                assert made.hidden_size == made.head_size * made.num_attention_heads
                assert all(
                    math.isfinite(v) for v in made.to_dict().values() if isinstance(v, float)
                )
            elif file.name == "pack.json":
                load_pack(file)
            else:
                open_weights(file)
        except (ValueError, TypeError) as error:
            assert str(error)
    assert peak_memory() - before < 100_000
