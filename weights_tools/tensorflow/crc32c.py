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

from functools import cache
from typing import Any

import numpy as np

_POLYNOMIAL = 0x82F63B78  # Castagnoli, reflected
_CHUNK = 1 << 21  # bytes folded at a time: bounds the memory, and stays in the processor's cache
_SHORT = 512  # below this many bytes, one lookup per byte is quicker than folding


def _divide(remainders: np.ndarray, bits: int) -> np.ndarray:
    """Move every remainder forward by some zero bits, one after the other."""
    for _ in range(bits):
        remainders = (remainders >> 1) ^ (remainders & 1) * np.uint32(_POLYNOMIAL)
    return remainders


_TABLE = _divide(np.arange(256, dtype=np.uint32), 8).tolist()


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
    return int(_shift(message, 1)[0])


def _shift(remainders: np.ndarray, words: int) -> np.ndarray:
    """Move every remainder forward by `words` zero words; a power of two."""
    low, high = _tables(words)
    halves = remainders.view(np.uint16)  # little-endian: low half first
    moved = low.take(halves[0::2], mode="wrap")  # "wrap" saves NumPy its check of the indices
    moved ^= high.take(halves[1::2], mode="wrap")
    return moved


@cache
def _tables(words: int) -> np.ndarray:
    """What the shift makes of each low, and each high half of a remainder: half of it, twice."""
    if words > 1:
        return np.stack([_shift(table, words // 2) for table in _tables(words // 2)])
    values = np.arange(1 << 16, dtype=np.uint32)
    return _divide(np.stack([values, values << 16]), 32)
