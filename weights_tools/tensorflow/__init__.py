"""Google's checkpoint format, read and written without TensorFlow.

To read, from the bytes upwards: `varint.py`, `crc32c.py`, `snappy.py`, `sstable.py` (the index
file), `checkpoint.py` (tensors).
"""
