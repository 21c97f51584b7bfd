"""What a file of vectors looks like: `.npy`, `.safetensors`, and the lines of `.jsonl`.

The two formats of numbers are a header of 128 bytes and the rows, so that row n can be written
before row n - 1 is there. The lines hold every token of a text, with the keys and the decimals of
Google's script.

Source: google-research/bert `extract_features.py`.
"""

import json
import struct

from minibert.vectors.nearest import TokenVectors

HEADER = 128  # bytes before the first row, in both formats of numbers
FORMATS = (".npy", ".safetensors", ".jsonl")


def npy_header(rows: int, width: int) -> bytes:
    """The first 128 bytes of a .npy file of float32 (rows, width)."""
    text = str({"descr": "<f4", "fortran_order": False, "shape": (rows, width)})
    filled = text.ljust(HEADER - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(filled)) + filled.encode("ascii")


def safetensors_header(rows: int, width: int) -> bytes:
    """The first 128 bytes of a .safetensors file with one float32 tensor, "vectors"."""
    entry = {"dtype": "F32", "shape": [rows, width], "data_offsets": [0, rows * width * 4]}
    text = json.dumps({"vectors": entry}, separators=(",", ":")).ljust(HEADER - 8)
    return struct.pack("<Q", len(text)) + text.encode("ascii")


def header(suffix: str, rows: int, width: int) -> bytes:
    """What stands before the first row."""
    if suffix == ".jsonl":
        return b""
    return npy_header(rows, width) if suffix == ".npy" else safetensors_header(rows, width)


def json_line(number: int, tokens: TokenVectors, layers: tuple[int, ...], count: int) -> str:
    """One text as `extract_features.py` writes it; layers are counted from the end, -1 the last.

    "linex_index" is spelled as in the original.
    """
    layered = tokens.vectors.reshape(len(tokens.tokens), len(layers), -1)
    features = [
        {
            "token": token,
            "layers": [
                {"index": layer - count, "values": [round(float(x), 6) for x in values]}
                for layer, values in zip(layers, rows)
            ],
        }
        for token, rows in zip(tokens.tokens, layered)
    ]
    return json.dumps({"linex_index": number, "features": features}, ensure_ascii=False) + "\n"
