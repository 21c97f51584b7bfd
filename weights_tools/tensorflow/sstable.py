"""The sorted table of keys and values that a TensorFlow `.index` file is.

From the end of the file backwards:

    footer        48 bytes: where the other two are, zeros, and a magic number
    index block   one entry per data block: where it is
    meta block    empty in checkpoints
    data blocks   the keys and values, sorted by key

A block is a list of entries. Neighbouring keys are alike, so an entry stores how many bytes its
key shares with the one before, then the rest of the key, then the value. After each block come
one byte, its compression, and a checksum of both.

Source: LevelDB `doc/table_format.md` and `table/block_builder.cc`; TensorFlow
`core/lib/io/format.cc`.
"""

from typing import NamedTuple

from weights_tools.errors import CorruptError, TruncatedError
from weights_tools.tensorflow.crc32c import crc32c, mask_crc
from weights_tools.tensorflow.snappy import decompress
from weights_tools.tensorflow.varint import read_varint, write_varint

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_TRAILER = 5  # compression, checksum
_RESTART_INTERVAL = 16  # every 16th key is stored whole


class Handle(NamedTuple):
    """Where a block is: its first byte, and its size without the trailer."""

    offset: int
    size: int


def read_table(data: bytes) -> list[tuple[bytes, bytes]]:
    """All keys and values of a table file, every checksum verified.

    Raises `CorruptError`.

    >>> read_table(write_table([(b"a", b"1"), (b"ab", b"2")]))
    [(b'a', b'1'), (b'ab', b'2')]
    """
    if len(data) < _FOOTER:
        raise TruncatedError(f"a checkpoint index has at least {_FOOTER} bytes, got {len(data)}")
    footer = data[-_FOOTER:]
    if int.from_bytes(footer[40:], "little") != _MAGIC:
        raise CorruptError(
            "the last eight bytes are not those of a checkpoint index: the file is cut off, "
            "damaged, or something else"
        )
    meta, at = _read_handle(footer, 0)
    index, at = _read_handle(footer, at)
    if at > 40 or any(footer[at:40]):
        raise CorruptError("the footer of the index is damaged: expected zeros after the handles")
    _read_block(data, meta, "the meta block")
    blocks = [meta, index]
    pairs: list[tuple[bytes, bytes]] = []
    for _, separator in _entries(_read_block(data, index, "the list of blocks")):
        handle, _ = _read_handle(separator, 0)
        blocks.append(handle)
        block = _read_block(data, handle, f"the block of names at byte {handle.offset}")
        pairs += _entries(block)
    _check_tiling(blocks, len(data) - _FOOTER)
    for (before, _), (after, _) in zip(pairs, pairs[1:], strict=False):
        if before >= after:
            raise CorruptError(f"names are not in order: {after!r} follows {before!r}")
    return pairs


def write_table(pairs: list[tuple[bytes, bytes]], block_size: int = 1 << 18) -> bytes:
    """A table file with these keys, which must be sorted; uncompressed, as TensorFlow writes it."""
    out = bytearray()
    index = []
    block: list[tuple[bytes, bytes]] = []
    filled = 0
    for number, (key, value) in enumerate(pairs):
        block.append((key, value))
        filled += len(key) + len(value)
        is_last = number + 1 == len(pairs)
        if filled >= block_size or is_last:
            separator = _after(key) if is_last else key
            index.append((separator, _append_block(out, block)))
            block, filled = [], 0
    footer = _append_block(out, []) + _append_block(out, index, restart_interval=1)
    return bytes(out) + footer.ljust(40, b"\0") + _MAGIC.to_bytes(8, "little")


def _after(key: bytes) -> bytes:
    """A short key that sorts after `key`; LevelDB closes a table with one."""
    for at, byte in enumerate(key):
        if byte != 0xFF:
            return key[:at] + bytes([byte + 1])
    return key


def _append_block(
    out: bytearray, pairs: list[tuple[bytes, bytes]], restart_interval: int = _RESTART_INTERVAL
) -> bytes:
    """Add a block and its trailer to `out`; gives back its handle, encoded."""
    contents = bytearray()
    restarts = [0]
    previous = b""
    for number, (key, value) in enumerate(pairs):
        shared = 0
        if number % restart_interval:
            while shared < min(len(key), len(previous)) and key[shared] == previous[shared]:
                shared += 1
        elif number:
            restarts.append(len(contents))
        lengths = (shared, len(key) - shared, len(value))
        contents += b"".join(map(write_varint, lengths)) + key[shared:] + value
        previous = key
    for restart in [*restarts, len(restarts)]:
        contents += restart.to_bytes(4, "little")
    handle = write_varint(len(out)) + write_varint(len(contents))
    contents += b"\0"  # no compression
    out += contents + mask_crc(crc32c(contents)).to_bytes(4, "little")
    return handle


def _read_handle(data: bytes, at: int) -> tuple[Handle, int]:
    offset, at = read_varint(data, at)
    size, at = read_varint(data, at)
    return Handle(offset, size), at


def _read_block(data: bytes, handle: Handle, label: str) -> bytes:
    """The contents of a block, checked and decompressed."""
    end = handle.offset + handle.size
    if end + _TRAILER > len(data) - _FOOTER:
        raise CorruptError(
            f"{label} should end at byte {end + _TRAILER}, inside the footer or past it"
        )
    checked = data[handle.offset : end + 1]
    stored = int.from_bytes(data[end + 1 : end + _TRAILER], "little")
    if mask_crc(crc32c(checked)) != stored:
        raise CorruptError(f"{label} fails its checksum: bytes of the file are wrong. Get it again")
    compression = checked[-1]
    if compression == 0:
        return checked[:-1]
    if compression == 1:
        return decompress(checked[:-1])
    raise CorruptError(f"{label} has compression {compression}; expected 0 (none) or 1 (Snappy)")


def _entries(contents: bytes) -> list[tuple[bytes, bytes]]:
    """The keys and values of a block. The restart list at its end only serves random access."""
    if len(contents) < 4:
        raise CorruptError("a block of the index is too short to be one")
    restarts = int.from_bytes(contents[-4:], "little")
    end = len(contents) - 4 - 4 * restarts
    if end < 0:
        raise CorruptError(f"a block of the index claims {restarts} restarts, more than fit")
    entries = []
    key, at = b"", 0
    while at < end:
        shared, at = read_varint(contents, at)
        fresh, at = read_varint(contents, at)
        size, at = read_varint(contents, at)
        if shared > len(key) or at + fresh + size > end:
            raise CorruptError(f"an entry of the index, after {key!r}, runs out of its block")
        key = key[:shared] + contents[at : at + fresh]
        value = contents[at + fresh : at + fresh + size]
        at += fresh + size
        entries.append((key, value))
    return entries


def _check_tiling(blocks: list[Handle], end: int) -> None:
    """Blocks follow each other without a gap, so that no byte of the file goes unchecked."""
    at = 0
    for block in sorted(blocks):
        if block.offset != at:
            raise CorruptError(f"a block of the index starts at byte {block.offset}, expected {at}")
        at += block.size + _TRAILER
    if at != end:
        raise CorruptError(f"the blocks of the index end at byte {at}, expected {end}")
