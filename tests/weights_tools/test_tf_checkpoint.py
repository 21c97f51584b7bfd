"""The TensorFlow reader on real files of Google's, and on every kind of damage to them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import weights_tools.tensorflow.sstable
from tests.conftest import shared
from weights_tools.errors import (
    CorruptError,
    MissingShardError,
    PartitionedTensorError,
    TruncatedError,
    UnsupportedDtypeError,
)
from weights_tools.files.writing import Planned, write_tf_checkpoint
from weights_tools.tensorflow.checkpoint import TFCheckpoint, find_prefix
from weights_tools.tensorflow.sstable import read_table, write_table
from weights_tools.tensorflow.varint import write_varint

REAL = "tf_checkpoints/keras_bert_test_checkpoint"
INDEX = "bert_model.ckpt.index"
DATA = "bert_model.ckpt.data-00000-of-00001"


@pytest.fixture
def real(tmp_path) -> Path:
    """A copy of a complete checkpoint that google-research/bert wrote."""
    for name in (INDEX, DATA):
        shutil.copy(shared(REAL) / name, tmp_path / name)
        (tmp_path / name).chmod(0o644)
    return tmp_path


def small(folder: Path) -> dict[str, np.ndarray]:
    """A checkpoint of our own with several number types."""
    random = np.random.default_rng(0)
    tensors = {
        "a": random.standard_normal((3, 5)).astype(np.float32),
        "b/scalar": np.array(7, dtype=np.int64),
        "c": random.standard_normal(4).astype(np.float16),
        "d/empty": np.zeros((0, 3), dtype=np.float32),
    }
    planned = [
        Planned(name, array.shape, lambda array=array: array, str(array.dtype))
        for name, array in tensors.items()
    ]
    write_tf_checkpoint(folder / "model.ckpt", planned)
    return tensors


def change_entry(folder: Path, name: str, change) -> None:
    """Rewrite one entry of the index, with right checksums, so that the parser itself is tested."""
    index = next(folder.glob("*.index"))
    pairs = [
        (key, change(value) if key == name.encode() else value)
        for key, value in read_table(index.read_bytes())
    ]
    index.write_bytes(write_table(pairs))


def test_every_checksum_of_a_real_checkpoint_holds(real):
    checkpoint = TFCheckpoint(real)
    assert len(checkpoint.entries) == 139
    assert checkpoint.verify() == (real / DATA).stat().st_size == 8420
    assert checkpoint.read("global_step") == 20


def test_values_are_those_at_the_packed_places(real):
    """An independent path: tensors lie back to back in the order of their names."""
    checkpoint, at = TFCheckpoint(real), 0
    raw = (real / DATA).read_bytes()
    for name in sorted(checkpoint.entries, key=str.encode):
        array = checkpoint.read(name)
        assert array.tobytes() == raw[at : at + array.nbytes]
        at += array.nbytes
    assert at == len(raw)


def test_writing_it_again_gives_the_same_bytes(real, tmp_path):
    """Our writer against TensorFlow's: index and data file are identical, byte by byte."""
    checkpoint = TFCheckpoint(real)
    planned = [
        Planned(name, entry.shape, lambda name=name: checkpoint.read(name), entry.dtype)
        for name, entry in checkpoint.entries.items()
    ]
    again = tmp_path / "again"
    again.mkdir()
    write_tf_checkpoint(again / "bert_model.ckpt", planned)
    assert (again / DATA).read_bytes() == (real / DATA).read_bytes()
    assert (again / INDEX).read_bytes() == (real / INDEX).read_bytes()


@pytest.mark.parametrize(
    ("name", "tensors", "size"),
    [
        ("google_uncased_L-8_H-512_A-8", 142, 166_673_648),
        ("google_chinese_L-12_H-768_A-12", 206, 411_529_768),
        ("hfl_chinese_wwm", 207, 411_529_776),
    ],
)
def test_real_index_files_list_all_their_tensors(name, tensors, size):
    folder = shared(f"tf_checkpoints/tf_index_only/{name}")
    checkpoint = TFCheckpoint(folder)
    listed = json.loads((folder / "tensors.json").read_text())
    assert len(checkpoint.entries) == len(listed) == tensors
    for tensor, known in listed.items():
        entry = checkpoint.entries[tensor]
        assert entry.shape == tuple(known.get("shape", ()))
        assert (entry.offset, entry.size) == (known.get("offset", 0), known["size"])
        assert entry.crc == known["crc32c_masked"]
    assert sum(entry.size for entry in checkpoint.entries.values()) == size


def test_a_compressed_index_is_read(monkeypatch):
    """A real index with a Snappy block; its names and shapes must be those of a BERT base."""
    blocks = []
    plain = weights_tools.tensorflow.sstable.decompress
    monkeypatch.setattr(
        weights_tools.tensorflow.sstable,
        "decompress",
        lambda data: blocks.append(data) or plain(data),
    )
    entries = TFCheckpoint(shared("tf_checkpoints/tf_index_only/covbert")).entries
    assert len(blocks) == 1
    model = {name: entry for name, entry in entries.items() if "adam" not in name}
    assert len(entries) == 3 * 206 + 1 and len(model) == 206 + 1
    assert entries["bert/embeddings/word_embeddings"].shape == (30522, 768)
    kernel = "bert/encoder/layer_11/intermediate/dense/kernel"
    assert entries[kernel].shape == entries[f"{kernel}/adam_v"].shape == (768, 3072)
    end = 0
    for entry in sorted(entries.values(), key=lambda entry: entry.offset):
        assert entry.offset == end  # no gap: every number of the index is right
        end += entry.size


def test_every_way_of_naming_it(real):
    for source in (real, real / "bert_model.ckpt", real / INDEX):
        assert find_prefix(source) == real / "bert_model.ckpt"
    with pytest.raises(FileNotFoundError, match=r"other\.index is not there"):
        find_prefix(real / "other")
    shutil.copy(real / INDEX, real / "second.index")
    with pytest.raises(FileNotFoundError, match="expected one"):
        find_prefix(real)


def test_number_types_and_empty_tensors(tmp_path):
    tensors = small(tmp_path)
    checkpoint = TFCheckpoint(tmp_path)
    assert checkpoint.verify() == sum(array.nbytes for array in tensors.values())
    for name, array in tensors.items():
        got = checkpoint.read(name)
        assert got.dtype == array.dtype and got.shape == array.shape
        assert np.array_equal(got, array)
    assert isinstance(checkpoint.read("a").base, np.memmap)  # mapped, not copied
    assert not checkpoint.read("a").flags.writeable


def test_bfloat16_is_widened_exactly(tmp_path):
    values = np.array([1.0, -2.5, 0.15625, 3e38], dtype=np.float32)
    upper = (values.view(np.uint32) >> 16).astype(np.uint16)
    write_tf_checkpoint(tmp_path / "m", [Planned("x", (4,), lambda: upper.view(np.int16), "int16")])
    change_entry(tmp_path, "x", lambda value: b"\x08\x0e" + value[2:])  # type 14
    got = TFCheckpoint(tmp_path).read("x")
    assert got.dtype == np.float32
    assert np.array_equal(got, (upper.astype(np.uint32) << 16).view(np.float32))


def test_several_blocks(tmp_path):
    names = [f"layer_{i:03d}/kernel" for i in range(100)]
    planned = [Planned(name, (2,), lambda: np.ones(2)) for name in names]
    write_tf_checkpoint(tmp_path / "m", planned, block_size=256)
    assert list(TFCheckpoint(tmp_path).entries) == names


def test_a_flipped_byte_in_the_data_names_the_tensor(real):
    entries = TFCheckpoint(real).entries
    raw = (real / DATA).read_bytes()
    for name, entry in list(entries.items())[::3]:
        wrong = bytearray(raw)
        wrong[entry.offset + entry.size // 2] ^= 0x10
        (real / DATA).write_bytes(wrong)
        with pytest.raises(CorruptError, match="checksum") as error:
            TFCheckpoint(real).verify()
        assert repr(name) in str(error.value)


@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_a_flipped_byte_anywhere_in_the_index_is_reported(real, step):
    """All of the 4,497 bytes: none goes unchecked."""
    raw = (real / INDEX).read_bytes()
    positions = [*range(0, len(raw) - 80, step), *range(len(raw) - 80, len(raw))]
    for position in positions:
        wrong = bytearray(raw)
        wrong[position] ^= 1 << position % 8
        (real / INDEX).write_bytes(wrong)
        with pytest.raises(CorruptError, match=INDEX):
            TFCheckpoint(real)


def test_truncated_files(real):
    data, index = (real / DATA).read_bytes(), (real / INDEX).read_bytes()
    (real / DATA).write_bytes(data[:8000])
    with pytest.raises(TruncatedError, match=r"cut off: tensor 'global_step' ends at byte 8420"):
        TFCheckpoint(real).verify()
    with pytest.raises(TruncatedError, match="8000"):
        TFCheckpoint(real).read("global_step")
    (real / DATA).write_bytes(data + b"\0")
    with pytest.raises(CorruptError, match="do not belong together"):
        TFCheckpoint(real).verify()
    for size in (0, 47, 48, 2000, len(index) - 1):
        (real / INDEX).write_bytes(index[:size])
        with pytest.raises(CorruptError, match="index"):
            TFCheckpoint(real)


def test_a_missing_data_file(real):
    (real / DATA).rename(real / "bert_model.ckpt.data-00000-of-00002")
    with pytest.raises(
        MissingShardError, match=r"is missing.*'bert_model\.ckpt\.data-00000-of-00002'"
    ):
        TFCheckpoint(real).verify()
    assert len(TFCheckpoint(real).entries) == 139  # listing needs the index alone


def test_a_pointer_instead_of_the_data():
    folder = shared("tf_checkpoints/tf_index_only/google_uncased_L-8_H-512_A-8")
    pointer = (folder / "data.LFS_POINTER.txt").read_bytes()
    assert pointer.startswith(b"version https://git-lfs")


def test_a_git_lfs_pointer_is_explained(real):
    (real / DATA).write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:30\nsize 9\n"
    )
    with pytest.raises(MissingShardError, match="git lfs pull"):
        TFCheckpoint(real).read("global_step")


def test_a_partitioned_tensor_is_refused(tmp_path):
    small(tmp_path)
    change_entry(tmp_path, "a", lambda value: value + b"\x3a\x00")  # field 7, a slice
    with pytest.raises(PartitionedTensorError, match="'a' was saved in slices"):
        TFCheckpoint(tmp_path)


def test_text_is_listed_but_not_read(tmp_path):
    small(tmp_path)
    change_entry(tmp_path, "a", lambda value: b"\x08\x07" + value[2:])  # type 7, string
    checkpoint = TFCheckpoint(tmp_path)
    assert checkpoint.entries["a"].dtype == "string"
    with pytest.raises(UnsupportedDtypeError, match="'a' holds string values"):
        checkpoint.read("a")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: b"\x08\x01" + v[2:] + b"\x18\x05", "data file 5 of 1"),
        (lambda v: v + b"\x28\x08", "takes 60 bytes, the index says 8"),
        (lambda v: v + b"\x12\x05\x12\x03\x08\x80", "ends inside|inside a number"),
        (lambda v: v + b"\x12\x04\x12\x02\x08\x07", "takes 28 bytes, the index says 60"),
        (lambda v: v + b"\x12" + write_varint(36) + b"\x12\x02\x08\x01" * 9, "no tensor has"),
        (lambda v: b"\x0b" + v, "unknown kind 3"),
        (lambda v: b"\x0a\x01\x00" + v, "text where a number"),
        (lambda v: b"\x10\x01" + v, "number where a message"),
    ],
)
def test_entries_that_contradict_themselves(tmp_path, change, message):
    small(tmp_path)
    change_entry(tmp_path, "a", change)
    with pytest.raises(CorruptError, match=message):
        TFCheckpoint(tmp_path)


def test_the_checksum_of_an_empty_tensor_counts_too(tmp_path):
    small(tmp_path)
    assert TFCheckpoint(tmp_path).read("d/empty").shape == (0, 3)
    change_entry(tmp_path, "d/empty", lambda value: value[:-1] + bytes([value[-1] ^ 1]))
    with pytest.raises(CorruptError, match="'d/empty' is damaged"):
        TFCheckpoint(tmp_path).read("d/empty")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"\x08\x00", "0 data files"),
        (b"\x08\xff\xff\x7f", "data files"),
        (b"\x08\x01\x10\x01", "big-endian"),
    ],
)
def test_headers_that_cannot_be(tmp_path, header, message):
    small(tmp_path)
    change_entry(tmp_path, "", lambda _: header)
    with pytest.raises(ValueError, match=message):
        TFCheckpoint(tmp_path)


def test_tables_that_cannot_be():
    with pytest.raises(CorruptError, match="not in order"):
        read_table(write_table([(b"b", b""), (b"a", b"")]))
    with pytest.raises(CorruptError, match="no tensor|no header"):
        weights_tools.tensorflow.checkpoint._parse_index(write_table([(b"b", b"")]))
    whole = write_table([(b"a", b"1")])
    with pytest.raises(CorruptError, match="starts at byte|ends? at byte|checksum"):
        read_table(b"\0" * 5 + whole)
