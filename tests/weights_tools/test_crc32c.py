"""The checksum against published vectors and against its definition; varints; Snappy."""

import numpy as np
import pytest

from weights_tools.errors import CorruptError
from weights_tools.tensorflow.crc32c import crc32c, mask_crc
from weights_tools.tensorflow.snappy import decompress
from weights_tools.tensorflow.varint import read_varint, write_varint

# RFC 3720, appendix B.4, and the customary check value.
VECTORS = [
    (b"\x00" * 32, 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
    (b"123456789", 0xE3069283),
    (b"", 0),
]


def by_definition(data: bytes) -> int:
    """Long division, one bit at a time."""
    remainder = 0xFFFFFFFF
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = (remainder >> 1) ^ (0x82F63B78 if remainder & 1 else 0)
    return remainder ^ 0xFFFFFFFF


@pytest.mark.parametrize(("data", "expected"), VECTORS)
def test_published_vectors(data, expected):
    assert crc32c(data) == expected
    assert by_definition(data) == expected


def test_every_short_length_and_those_around_the_fold():
    random = np.random.default_rng(0)
    for size in [*range(70), 511, 512, 513, 514, 515, 1023, 1024, 2049, 4099]:
        data = random.integers(0, 256, size, dtype=np.uint8).tobytes()
        assert crc32c(data) == by_definition(data), size


def test_chunks_larger_than_one_fold():
    """Two megabytes are folded at a time: sizes just around that, and beyond."""
    data = np.random.default_rng(1).integers(0, 256, (1 << 22) + 7, dtype=np.uint8)
    for size in ((1 << 21) - 1, 1 << 21, (1 << 21) + 1, data.size):
        whole = crc32c(data[:size])
        # the checksum of the same bytes with another length of the last piece
        assert whole == crc32c(data[:size].tobytes())
    one = data.copy()
    one[1 << 21] ^= 1
    assert crc32c(one) != crc32c(data)


def test_arrays_of_other_types_are_read_as_bytes():
    array = np.arange(1000, dtype=np.float32)
    assert crc32c(array) == by_definition(array.tobytes())


def test_mask_is_undone():
    for crc in (0, 1, 0xFFFFFFFF, 0xE3069283):
        rotated = (mask_crc(crc) - 0xA282EAD8) & 0xFFFFFFFF
        assert ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF == crc
        assert mask_crc(crc) != crc


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**32, 2**63])
def test_varints_come_back(value):
    assert read_varint(write_varint(value) + b"\x07", 0) == (value, len(write_varint(value)))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80" * 11])
def test_broken_varints_are_errors(data):
    with pytest.raises(CorruptError):
        read_varint(data, 0)


def test_snappy_commands():
    """Every kind of command, written by hand from the format's description."""
    long_literal = bytes(range(256)) * 2
    cases = [
        (b"\x00", b""),
        (bytes([3, 2 << 2]) + b"abc", b"abc"),
        (bytes([9, 4 << 2]) + b"minib" + bytes([0b000_000_01, 5]), b"minibmini"),
        # a copy that overlaps itself repeats: "ab" -> "ababab"
        (bytes([6, 1 << 2]) + b"ab" + bytes([0b000_000_01, 2]), b"ababab"),
        # a literal with its length in one more byte, and in two more
        (bytes([70, 60 << 2, 69]) + b"x" * 70, b"x" * 70),
        (write_varint(512) + bytes([61 << 2, 0xFF, 0x01]) + long_literal, long_literal),
        # copies with an offset of two and of four bytes
        (bytes([8, 3 << 2]) + b"abcd" + bytes([3 << 2 | 2, 4, 0]), b"abcdabcd"),
        (bytes([8, 3 << 2]) + b"abcd" + bytes([3 << 2 | 3, 4, 0, 0, 0]), b"abcdabcd"),
    ]
    for packed, plain in cases:
        assert decompress(packed) == plain


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        bytes([3, 2 << 2]) + b"ab",  # the literal is cut off
        bytes([4, 2 << 2]) + b"abc",  # shorter than announced
        bytes([2, 2 << 2]) + b"abc",  # longer than announced
        bytes([8, 3 << 2]) + b"abcd" + bytes([0b000_000_01, 5]),  # from before the beginning
        bytes([8, 3 << 2]) + b"abcd" + bytes([0b000_000_01, 0]),  # from nowhere
        bytes([8, 3 << 2]) + b"abcd" + bytes([3 << 2 | 2, 4]),  # the command is cut off
        write_varint(1 << 40) + b"\x00a",  # a length that would fill the memory
    ],
)
def test_broken_snappy_is_an_error(packed):
    with pytest.raises(CorruptError):
        decompress(packed)
