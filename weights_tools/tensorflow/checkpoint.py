"""Read Google's `bert_model.ckpt.index` and `.data-00000-of-00001` without TensorFlow.

The index is a sorted table (`sstable.py`). Its first entry, with an empty name, is a header;
every other one is a variable: number type, shape, and where its bytes are in the data file, with
a checksum of them. The data file is nothing but those bytes, one tensor after the other.

Values of the table are protocol buffers. Only the few fields that are needed are read, by hand.

Source: TensorFlow `core/protobuf/tensor_bundle.proto`, `core/framework/types.proto` and
`core/util/tensor_bundle/tensor_bundle.cc`.
"""

import dataclasses
import math
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from weights_tools.errors import (
    CorruptError,
    MissingShardError,
    PartitionedTensorError,
    TruncatedError,
    UnsupportedDtypeError,
    WeightsError,
    refuse_pointer,
)
from weights_tools.tensorflow.crc32c import crc32c, mask_crc
from weights_tools.tensorflow.sstable import read_table
from weights_tools.tensorflow.varint import read_varint

# Numbers of TensorFlow's DataType, and ours. bfloat16 is the upper half of a float32.
DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    19: "float16",
}
_OTHER_DTYPES = {7: "string", 8: "complex64", 18: "complex128", 20: "resource", 21: "variant"}
_MOST_AXES = 8


@dataclasses.dataclass(frozen=True)
class TensorEntry:
    """What the index says about one variable. `crc` is masked, as it is stored."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int

    @property
    def is_number(self) -> bool:
        """Whether the tensor can be read; text and the like cannot."""
        return self.dtype in DTYPES.values()


class TFCheckpoint:
    """A TensorFlow checkpoint, opened: its index is read, its data is not.

    `source` is the folder, the prefix (`.../bert_model.ckpt`) or the index file. Raises
    FileNotFoundError, or a `WeightsError` that names what is wrong.

    `entries` lists every variable by name. `read` gives one as an array that is mapped from
    the file, not copied, after checking its checksum.
    """

    def __init__(self, source: str | Path):
        self.prefix = find_prefix(source)
        index = Path(f"{self.prefix}.index")
        try:
            self.shards, self.entries = _parse_index(index.read_bytes())
        except WeightsError as error:
            raise type(error)(f"{index}: {error}") from None

    def data_file(self, shard: int) -> Path:
        """The path of one data file."""
        return Path(f"{self.prefix}.data-{shard:05d}-of-{self.shards:05d}")

    def check_files(self) -> None:
        """Every data file is there and exactly as long as the index says."""
        for shard in sorted({entry.shard for entry in self.entries.values()}):
            path = self.data_file(shard)
            last = max(
                (entry for entry in self.entries.values() if entry.shard == shard),
                key=lambda entry: entry.offset + entry.size,
            )
            size, expected = self._size(shard), last.offset + last.size
            if size > expected:
                raise CorruptError(
                    f"{path} has {size} bytes, the index describes {expected}: "
                    f"the two files do not belong together"
                )
            if size < expected:
                self._check_inside(last)

    def read(self, name: str, verify: bool = True) -> np.ndarray:
        """The tensor `name`, read-only; bfloat16, which NumPy lacks, is widened to float32.

        Raises `UnsupportedDtypeError`, `MissingShardError`, `TruncatedError`, or
        `CorruptError` where the bytes do not give the checksum of the index.
        """
        entry = self.entries[name]
        if not entry.is_number:
            raise UnsupportedDtypeError(
                f"tensor {name!r} holds {entry.dtype} values; a weight is made of numbers. "
                f"Leave it out, or save the checkpoint without it"
            )
        self._check_inside(entry)
        path = self.data_file(entry.shard)
        stored = np.dtype("<u2" if entry.dtype == "bfloat16" else entry.dtype)
        count = entry.size // stored.itemsize
        array = np.empty(0, stored)  # an empty file cannot be mapped
        if count:
            array = np.memmap(path, stored, "r", entry.offset, (count,))
        array = array.reshape(entry.shape)
        if verify and mask_crc(crc32c(array.reshape(-1))) != entry.crc:
            raise CorruptError(
                f"tensor {name!r} is damaged: bytes {entry.offset} to {entry.offset + entry.size} "
                f"of {path} do not give the checksum of the index. Get the file again"
            )
        if entry.dtype == "bfloat16":
            return widen_bfloat16(array)
        return np.asarray(array)

    def verify(self, progress: bool = False) -> int:
        """Check every tensor against its checksum; gives back how many bytes that were."""
        self.check_files()
        names = [entry.name for entry in self.entries.values() if entry.is_number]
        for name in tqdm(names, desc="checksums", disable=not progress):
            self.read(name)
        return sum(self.entries[name].size for name in names)

    def _size(self, shard: int) -> int:
        path = self.data_file(shard)
        if not path.is_file():
            there = sorted(file.name for file in path.parent.glob(f"{self.prefix.name}.data-*"))
            raise MissingShardError(
                f"{path} is missing: the index needs {self.shards} data file(s), the folder has "
                f"{there or 'none'}. Put it beside the index"
            )
        return path.stat().st_size

    def _check_inside(self, entry: TensorEntry) -> None:
        size, end = self._size(entry.shard), entry.offset + entry.size
        if end <= size:
            return
        path = self.data_file(entry.shard)
        refuse_pointer(path)
        raise TruncatedError(
            f"{path} is cut off: tensor {entry.name!r} ends at byte {end}, the file has {size}. "
            f"Get the file again"
        )


def find_prefix(source: str | Path) -> Path:
    """The path that a checkpoint's files have in common, from any way of naming it."""
    path = Path(source)
    if path.is_dir():
        indexes = sorted(path.glob("*.index"))
        if len(indexes) != 1:
            raise FileNotFoundError(
                f"expected one *.index file in {path}, found {[file.name for file in indexes]}; "
                f"give the path of the one you mean"
            )
        return indexes[0].with_suffix("")
    if path.suffix == ".index":
        path = path.with_suffix("")
    if not Path(f"{path}.index").is_file():
        raise FileNotFoundError(f"{path}.index is not there: a TensorFlow checkpoint has one")
    return path


def widen_bfloat16(array: np.ndarray) -> np.ndarray:
    """The float32 values of bfloat16 numbers given as their 16 bits; exact.

    >>> widen_bfloat16(np.array([0x3F80, 0xC000], dtype=np.uint16))
    array([ 1., -2.], dtype=float32)
    """
    return (array.astype(np.uint32) << 16).view(np.float32)


def _parse_index(data: bytes) -> tuple[int, dict[str, TensorEntry]]:
    """The number of data files, and the variables by name."""
    pairs = read_table(data)
    if not pairs or pairs[0][0] != b"":
        raise CorruptError("the index has no header: its first entry should have an empty name")
    shards = _parse_header(pairs[0][1])
    entries = {}
    for key, value in pairs[1:]:
        try:
            name = key.decode("utf-8")
        except UnicodeDecodeError:
            raise CorruptError(f"the name {key!r} in the index is not text") from None
        entry = _parse_entry(name, value)
        if not 0 <= entry.shard < shards:
            raise CorruptError(f"tensor {name!r} is in data file {entry.shard} of {shards}")
        entries[name] = entry
    return shards, entries


def _parse_header(value: bytes) -> int:
    fields = dict(_fields(value, "the header"))
    shards, big_endian = (_integer(fields.get(number, 0), "the header") for number in (1, 2))
    if big_endian:
        raise UnsupportedDtypeError("the checkpoint is big-endian; only little-endian is read")
    if not 0 < shards < 100_000:
        raise CorruptError(f"the header says {shards} data files; expected 1 to 99999")
    return shards


def _parse_entry(name: str, value: bytes) -> TensorEntry:
    """One BundleEntryProto. A field that is zero is not stored."""
    numbers = {1: 0, 3: 0, 4: 0, 5: 0, 6: 0}  # type, data file, offset, size, checksum
    shape: tuple[int, ...] = ()
    label = f"the entry of {name!r}"
    for field, content in _fields(value, label):
        if field in numbers:
            numbers[field] = _integer(content, label)
        elif field == 2:
            shape = _parse_shape(content, label)
        elif field == 7:
            raise PartitionedTensorError(
                f"tensor {name!r} was saved in slices (a partitioned variable), which this reader "
                f"does not join. Save the checkpoint again without partitioning"
            )
    number, shard, offset, size, crc = numbers.values()
    dtype = DTYPES.get(number) or _OTHER_DTYPES.get(number, f"type {number}")
    if dtype in DTYPES.values():
        width = 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
        if size != math.prod(shape) * width:
            raise CorruptError(
                f"tensor {name!r}: {dtype} of shape {shape} takes {math.prod(shape) * width} "
                f"bytes, the index says {size}"
            )
    return TensorEntry(name, dtype, shape, shard, offset, size, crc)


def _parse_shape(content: int | bytes, label: str) -> tuple[int, ...]:
    """TensorShapeProto: field 2, repeated, is an axis; its field 1 is the length."""
    shape = []
    for field, axis in _fields(content, label):
        if field == 2:
            shape.append(_integer(dict(_fields(axis, label)).get(1, 0), label))
    if len(shape) > _MOST_AXES or any(length >= 1 << 48 for length in shape):
        raise CorruptError(f"{label} has a shape that no tensor has: {shape[:_MOST_AXES]}")
    return tuple(shape)


def _fields(message: int | bytes, label: str) -> Iterator[tuple[int, int | bytes]]:
    """The (field number, content) pairs of a protocol-buffer message."""
    if not isinstance(message, bytes):
        raise CorruptError(f"{label} has a number where a message should be")
    at = 0
    while at < len(message):
        tag, at = read_varint(message, at)
        field, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            number, at = read_varint(message, at)
            yield field, number
            continue
        if wire_type == 2:
            size, at = read_varint(message, at)
        elif wire_type in (1, 5):
            size = 8 if wire_type == 1 else 4
        else:
            raise CorruptError(f"{label} has a field of unknown kind {wire_type}")
        if at + size > len(message):
            raise CorruptError(f"{label} ends inside one of its fields")
        content = message[at : at + size]
        at += size
        if wire_type == 2:
            yield field, content
        else:
            yield field, struct.unpack("<Q" if wire_type == 1 else "<I", content)[0]


def _integer(content: int | bytes, label: str) -> int:
    if isinstance(content, bytes):
        raise CorruptError(f"{label} has text where a number should be")
    return content
