"""Write weight files one tensor at a time, so that a model never has to be in memory whole.

Both writers take `Planned` tensors: their places in the file follow from the shapes alone, and
the numbers are asked for when their turn comes.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from minibert.system.files import written_whole
from weights_tools.tensorflow.checkpoint import DTYPES
from weights_tools.tensorflow.crc32c import crc32c, mask_crc
from weights_tools.tensorflow.sstable import write_table
from weights_tools.tensorflow.varint import write_varint

_SAFETENSORS_NAMES = {"float32": "F32", "int64": "I64"}
_TF_NUMBERS = {name: number for number, name in DTYPES.items()}


class Planned(NamedTuple):
    """A tensor to be written; `read` gives its numbers when they are needed."""

    name: str
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]
    dtype: str = "float32"

    def numbers(self) -> np.ndarray:
        """The numbers as they go to the file: little-endian, in the order of the last axis."""
        array = np.ascontiguousarray(self.read(), dtype=np.dtype(self.dtype).newbyteorder("<"))
        if array.size != int(np.prod(self.shape)):
            raise ValueError(f"{self.name} has shape {array.shape}, planned {self.shape}")
        return array.reshape(-1)


def write_safetensors(path: Path, tensors: Sequence[Planned], *, progress: bool = False) -> None:
    """Write a `.safetensors` file: length of the header, header, numbers without a gap."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for tensor in tensors:
        end = at + int(np.prod(tensor.shape)) * np.dtype(tensor.dtype).itemsize
        header[tensor.name] = {
            "dtype": _SAFETENSORS_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [at, end],
        }
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers start at a multiple of 8
    with written_whole(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tqdm(tensors, desc=path.name, disable=not progress):
            file.write(memoryview(tensor.numbers()).cast("B"))


def write_tf_checkpoint(
    prefix: Path, tensors: Sequence[Planned], *, block_size: int = 1 << 18, progress: bool = False
) -> None:
    """Write `prefix.index` and `prefix.data-00000-of-00001` as TensorFlow does.

    Tensors are sorted by name and lie back to back; the index has a checksum of each.
    """
    header = _field(1, 1) + _field(3, _field(1, 1))  # one data file; format version 1
    pairs = [(b"", header)]
    at = 0
    data, index = Path(f"{prefix}.data-00000-of-00001"), Path(f"{prefix}.index")
    with written_whole(data) as temporary, temporary.open("wb") as file:
        ordered = sorted(tensors, key=lambda tensor: tensor.name.encode())
        for tensor in tqdm(ordered, desc=data.name, disable=not progress):
            numbers = tensor.numbers()
            file.write(memoryview(numbers).cast("B"))
            crc = mask_crc(crc32c(numbers))
            entry = _entry(_TF_NUMBERS[tensor.dtype], tensor.shape, at, numbers.nbytes, crc)
            pairs.append((tensor.name.encode(), entry))
            at += numbers.nbytes
    with written_whole(index) as temporary:
        temporary.write_bytes(write_table(pairs, block_size))


def _entry(dtype: int, shape: tuple[int, ...], offset: int, size: int, crc: int) -> bytes:
    """A BundleEntryProto; the checksum has a fixed width, everything else is a varint."""
    axes = b"".join(_field(2, _field(1, length), keep_empty=True) for length in shape)
    message = _field(1, dtype) + _field(2, axes, keep_empty=True)
    message += _field(4, offset) + _field(5, size)
    return message + write_varint(6 << 3 | 5) + crc.to_bytes(4, "little")


def _field(number: int, content: int | bytes, keep_empty: bool = False) -> bytes:
    """One protocol-buffer field; zeros are left out, as the format demands."""
    if not content and not keep_empty:
        return b""
    if isinstance(content, int):
        return write_varint(number << 3) + write_varint(content)
    return write_varint(number << 3 | 2) + write_varint(len(content)) + content
