"""Undo Snappy compression, which some TensorFlow index files use for their blocks.

The format is a list of commands: copy these bytes from here, or repeat bytes that were already
written. Source: google/snappy, `format_description.txt`. Only reading is needed.
"""

from weights_tools.errors import CorruptError
from weights_tools.tensorflow.varint import read_varint

_LARGEST = 1 << 26  # an index block is kilobytes; refuse a length that only damage can explain


def decompress(data: bytes) -> bytes:
    """The bytes that were compressed into `data`; `CorruptError` if it is not Snappy.

    >>> decompress(bytes([9, 0b000100_00]) + b"minib" + bytes([0b000_000_01, 5]))
    b'minibmini'
    """
    length, at = read_varint(data, 0)
    if length > _LARGEST:
        raise CorruptError(f"a compressed block claims {length} bytes, more than any index needs")
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        kind, rest = tag & 3, tag >> 2
        if kind == 0:  # a literal: its length, in the tag or in the next 1 to 4 bytes
            extra = max(0, rest - 59)
            size = (_little_endian(data, at, extra) if extra else rest) + 1
            at += extra
            if at + size > len(data):
                raise CorruptError("a compressed block ends inside a run of literal bytes")
            out += data[at : at + size]
            at += size
        else:  # a copy: how many bytes, and how far back they are
            width = (1, 2, 4)[kind - 1]
            offset = _little_endian(data, at, width)
            at += width
            size = rest + 1
            if kind == 1:
                size, offset = (rest & 7) + 4, offset | (rest >> 3) << 8
            if not 0 < offset <= len(out):
                raise CorruptError("a compressed block copies from before its beginning")
            if len(out) + size > length:
                raise CorruptError(f"a compressed block grows past its {length} bytes")
            pattern = out[-offset:][:size]  # shorter than size where the copy repeats itself
            out += (pattern * (size // len(pattern) + 1))[:size]
    if len(out) != length:
        raise CorruptError(f"a compressed block holds {len(out)} bytes, expected {length}")
    return bytes(out)


def _little_endian(data: bytes, at: int, width: int) -> int:
    if at + width > len(data):
        raise CorruptError("a compressed block ends inside a command")
    return int.from_bytes(data[at : at + width], "little")
