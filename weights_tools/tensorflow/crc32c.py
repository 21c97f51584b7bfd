"""CRC-32C, the checksum inside TensorFlow checkpoints, at NumPy speed.

A CRC is a remainder: the message is read as one long polynomial over the two-element field and
divided by a fixed polynomial of degree 32. Two facts make it fast without any C code:

* it is linear, so the remainder of `A + B` follows from those of `A` and `B`;
* moving `A` forward by n zero bytes multiplies its remainder by a constant.

So a message can be *folded*: its first half is moved onto its second half and xor-ed into it,
which leaves a message of half the length with the same remainder. Nineteen folds bring two
megabytes down to one 32-bit word, and each fold is a table lookup over a whole array.

Source: the polynomial and the mask are those of LevelDB (`util/crc32c.h`) and TensorFlow
(`tsl/lib/hash/crc32c.h`); test vectors are in RFC 3720, appendix B.4. Bits are stored
"reflected": the highest bit of a word is the lowest power of x.
"""

from functools import lru_cache
from typing import Any

import numpy as np

_POLYNOMIAL = 0x82F63B78  # Castagnoli, reflected
_CHUNK = 1 << 21  # bytes folded at a time: bounds the memory, and stays in the processor's cache
_SHORT = 512  # below this many bytes, one lookup per byte is quicker than folding


def _byte_table() -> list[int]:
    table = []
    for byte in range(256):
        remainder = byte
        for _ in range(8):
            remainder = (remainder >> 1) ^ (_POLYNOMIAL if remainder & 1 else 0)
        table.append(remainder)
    return table


_TABLE = _byte_table()


def crc32c(data: Any) -> int:
    """The CRC-32C of `data` (bytes, or anything with a buffer, such as a NumPy array).

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    octets = np.frombuffer(memoryview(data).cast("B") if len(data) else b"", dtype=np.uint8)
    crc = 0xFFFFFFFF
    for start in range(0, octets.size, _CHUNK):
        crc = _advance(crc, octets[start : start + _CHUNK])
    return crc ^ 0xFFFFFFFF


def mask_crc(crc: int) -> int:
    """Turn a CRC into the form stored in files: rotated by 15 bits, plus a constant.

    LevelDB does this because a CRC of data that itself contains CRCs is a weak check.

    >>> hex(mask_crc(0xE3069283))
    '0xc78ab0e5'
    """
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _advance(crc: int, octets: np.ndarray) -> int:
    """Carry the running remainder over `octets`."""
    words_end = octets.size - octets.size % 4 if octets.size >= _SHORT else 0
    if words_end:
        crc = _fold(crc, octets[:words_end].view("<u4"))
    for byte in octets[words_end:].tolist():
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc


def _fold(crc: int, words: np.ndarray) -> int:
    """The remainder after `words` (32 bits each), by halving them until one is left."""
    size = 1 << (words.size - 1).bit_length()
    message = np.zeros(size, dtype=np.uint32)  # zeros in front of a message change nothing
    message[size - words.size :] = words
    message[size - words.size] ^= np.uint32(crc)
    while message.size > 1:
        half = message.size // 2
        message = _shift(message[:half], half) ^ message[half:]
    return _times_x32(int(message[0]))


def _times_x32(remainder: int) -> int:
    """Four zero bytes further: the remainder of a word that stands at the end of the message."""
    for _ in range(4):
        remainder = (remainder >> 8) ^ _TABLE[remainder & 0xFF]
    return remainder


def _shift(remainders: np.ndarray, words: int) -> np.ndarray:
    """Move every remainder forward by `words` zero words."""
    low, high = _shift_tables(words)
    halves = remainders.view(np.uint16)  # little-endian: low half first
    moved = low.take(halves[0::2], mode="wrap")  # "wrap" saves NumPy its check of the indices
    moved ^= high.take(halves[1::2], mode="wrap")
    return moved


@lru_cache(maxsize=32)
def _shift_tables(words: int) -> tuple[np.ndarray, np.ndarray]:
    """What the shift does to each value of the low, and of the high, 16 bits of a remainder."""
    images = _shifted_bits(words)
    return _all_sums(images[:16]), _all_sums(images[16:])


@lru_cache(maxsize=32)
def _shifted_bits(words: int) -> tuple[int, ...]:
    """The image of each of the 32 bits, for a power of two: shifting by n is n/2 done twice."""
    if words == 1:
        return tuple(_times_x32(1 << bit) for bit in range(32))
    once = _shifted_bits(words // 2)
    return tuple(_apply(once, image) for image in once)


def _apply(images: tuple[int, ...], remainder: int) -> int:
    """A linear map, given by the images of the 32 bits, applied to one remainder."""
    result = 0
    for bit in range(32):
        if remainder >> bit & 1:
            result ^= images[bit]
    return result


def _all_sums(images: tuple[int, ...]) -> np.ndarray:
    """The xor of every subset of `images`: entry i takes those whose bit is set in i."""
    sums = np.zeros(1, dtype=np.uint32)
    for image in images:
        sums = np.concatenate([sums, sums ^ np.uint32(image)])
    return sums
