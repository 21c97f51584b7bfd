"""The file of a SentencePiece model (`spiece.model`, `sentencepiece.bpe.model`, `spm.model`), read
without the library that wrote it.

It is a message of protocol buffers: fields one after the other, each a number, a wire type and a
value. Sources: https://protobuf.dev/programming-guides/encoding/ and google/sentencepiece
`sentencepiece_model.proto`, whose field numbers these are.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

UNIGRAM = 1  # TrainerSpec.model_type
UNKNOWN, CONTROL, USER_DEFINED = 2, 3, 4  # SentencePiece.type; 1 is a normal piece


class ScoredPiece(NamedTuple):
    """A piece of the vocabulary. Its id is its place in the file."""

    piece: str
    score: float
    type: int


class SentencePieceModel(NamedTuple):
    """What the file says: the pieces, and how a text is normalised before it is cut."""

    pieces: list[ScoredPiece]
    unknown_id: int
    charsmap: bytes


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A whole number, seven bits a byte, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            break
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
    raise ValueError(f"expected a whole number that ends, at byte {place}")


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message: numbers, floats, and bytes for texts and for messages in it.

    >>> list(fields(b"\\x08\\x96\\x01\\x12\\x02hi"))
    [(1, 150), (2, b'hi')]
    """
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, wire = key >> 3, key & 7
        value: Any
        if wire == 0:
            value, place = _varint(data, place)
            yield number, value
            continue
        if wire not in (1, 2, 5):
            raise ValueError(f"expected a wire type of 0, 1, 2 or 5, got {wire} at byte {place}")
        size = {1: 8, 5: 4}.get(wire)
        if size is None:
            size, place = _varint(data, place)
        value = data[place : place + size]
        if len(value) < size:
            raise ValueError(
                f"expected {size} bytes of field {number} at byte {place}, got {len(value)}"
            )
        place += size
        yield number, value if wire == 2 else struct.unpack("<f" if wire == 5 else "<d", value)[0]


def read_model(data: bytes) -> SentencePieceModel:
    """The bytes of a model file → what it says. Raises ValueError, in words."""
    pieces: list[ScoredPiece] = []
    unknown_id, charsmap = 0, b""
    message: dict[int, Any]
    try:
        for number, value in fields(data):
            if number == 1:
                message = {1: b"", 2: 0.0, 3: 1, **dict(fields(value))}
                if not isinstance(message[2], float):
                    raise TypeError(f"a score of {message[2]!r:.20}")
                pieces.append(ScoredPiece(message[1].decode(), message[2], int(message[3])))
            elif number == 2:
                message = {3: UNIGRAM, 35: 0, 40: 0, **dict(fields(value))}
                unknown_id = message[40]
                if message[3] != UNIGRAM or message[35]:
                    raise ValueError(
                        f"expected a Unigram model without bytes for unknown characters, got "
                        f"model type {message[3]}, byte_fallback {message[35]}"
                    )
            elif number == 3:
                charsmap = bytes(dict(fields(value)).get(2, b""))
    except (TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ValueError(f"expected the fields of a SentencePiece model ({error})") from None
    if not pieces:
        raise ValueError(f"expected the pieces of a SentencePiece model, got {len(data)} bytes")
    if not unknown_id < len(pieces):
        raise ValueError(f"expected an unknown piece below {len(pieces)}, got number {unknown_id}")
    for number, piece in enumerate(pieces):
        if not math.isfinite(piece.score):
            raise ValueError(
                f"expected a score for piece {number}, {piece.piece!r}, got {piece.score}"
            )
    return SentencePieceModel(pieces, unknown_id, charsmap)
