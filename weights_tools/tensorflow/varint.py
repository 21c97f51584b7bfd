"""Variable-length integers: seven bits a byte, lowest first, the top bit set on all but the last.

TensorFlow's index files use them for lengths, offsets and protocol-buffer fields.
"""

from weights_tools.errors import CorruptError


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The integer that starts at `at`, and the position after it.

    >>> read_varint(bytes([0b1010_1100, 0b0000_0010, 7]), 0)
    (300, 2)
    """
    value = 0
    for count in range(10):  # 64 bits need at most ten bytes
        if at + count >= len(data):
            raise CorruptError("the data ends inside a number")
        byte = data[at + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, at + count + 1
    raise CorruptError("a number is longer than 64 bits")


def write_varint(value: int) -> bytes:
    """The bytes of a non-negative integer.

    >>> write_varint(300) == bytes([0b1010_1100, 0b0000_0010])
    True
    """
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
