"""Tools for people who handle BERT checkpoints: `python -m weights_tools COMMAND`.

fetch    get an official model by its short name
show     list a file's tensors; compare two files
convert  Google's TensorFlow checkpoint, or any other weights, to a folder that everybody loads
export   the Hugging Face layout, ONNX, TensorFlow names
verify   is this the model it claims to be, and is our computation right on it

To read, in this order: `varint`, `crc32c`, `snappy` and `sstable` are the layers of
Google's format, `tf_checkpoint` reads it; `names` says what tensors are called, and
`weight_files` opens every kind of file alike; the commands stand on those.
"""
