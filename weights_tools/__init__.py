"""Tools for people who handle BERT checkpoints: `minibert weights COMMAND`.

fetch    get an official model by its short name
show     list a file's tensors; compare two files
convert  Google's TensorFlow checkpoint, or any other weights, to a folder that everybody loads
export   the Hugging Face layout, ONNX, TensorFlow names
verify   is this the model it claims to be, and is our computation right on it

To read: `tensorflow/` is Google's format, layer by layer; `names.py` says what tensors are called;
`files/` opens and writes every kind of file alike; the commands stand on those.
"""
