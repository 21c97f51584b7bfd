"""Open a file or folder of weights, of any kind, without reading the numbers yet.

Four kinds: safetensors, PyTorch pickles (`.bin`, read without executing anything in them),
sets of either in several files, and TensorFlow checkpoints. All give the same thing: a list of
tensors with name, number type and shape, each of which can be read when it is wanted.

Source: `torch.load`; the index files of transformers.
"""

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from minibert.weights.files import WEIGHT_FILES, read_shard_index, read_tensors
from weights_tools.errors import (
    CorruptError,
    MissingShardError,
    TruncatedError,
    UnsupportedDtypeError,
    refuse_pointer,
)
from weights_tools.names import Meaning, meaning_of_pytorch, meaning_of_tf
from weights_tools.tensorflow.checkpoint import TFCheckpoint, find_prefix

_SAFETENSORS_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file. `read()` gives its numbers, bfloat16 widened to float32."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str
    meaning: Meaning
    read: Callable[[], np.ndarray]

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def shape_as_pytorch(self) -> tuple[int, ...]:
        """The shape that `read_as_pytorch` gives."""
        return self.shape[::-1] if self.meaning.transposed else self.shape

    def read_as_pytorch(self) -> np.ndarray:
        """The numbers in PyTorch's orientation: a TensorFlow kernel is turned round (a view)."""
        return self.read().T if self.meaning.transposed else self.read()


@dataclasses.dataclass(frozen=True)
class WeightFiles:
    """An opened file or set of files: what kind it is, its files, its tensors by name."""

    kind: str
    files: tuple[Path, ...]
    tensors: Mapping[str, StoredTensor]


def open_weights(source: str | Path) -> WeightFiles:
    """Open `source`: a weight file, a TensorFlow prefix, or a folder that holds one of them.

    Raises FileNotFoundError where there is nothing to open, and a `WeightsError` where what is
    there cannot be trusted.
    """
    path = Path(source)
    if path.is_dir():
        present = [path / name for name in WEIGHT_FILES if (path / name).is_file()]
        if not present and not list(path.glob("*.index")):
            raise FileNotFoundError(
                f"{path} has no weights: expected {', '.join(WEIGHT_FILES)} or a TensorFlow *.index"
            )
        path = present[0] if present else find_prefix(path)
    if path.name.endswith(".index.json"):
        return _open_sharded(path)
    if path.is_file() and path.suffix != ".index":
        opener = _open_safetensors if path.suffix == ".safetensors" else _open_pickle
        return opener(path)
    if not Path(f"{path.with_suffix('') if path.suffix == '.index' else path}.index").is_file():
        raise FileNotFoundError(
            f"{path} is not there: give a .safetensors or .bin file, the prefix of a TensorFlow "
            f"checkpoint, or a folder with one of them"
        )
    return _open_tensorflow(path)


def by_key(weights: WeightFiles) -> tuple[dict[str, StoredTensor], dict[str, str], list[str]]:
    """The tensors of the model by Hugging Face key; what is ignored, and why; names unknown."""
    keys: dict[str, StoredTensor] = {}
    ignored: dict[str, str] = {}
    unknown = []
    for tensor in weights.tensors.values():
        key = tensor.meaning.key
        if key is None and tensor.meaning.ignored is not None:
            ignored[tensor.name] = tensor.meaning.ignored
        elif key is None:
            unknown.append(tensor.name)
        elif key in keys:
            raise CorruptError(f"{keys[key].name!r} and {tensor.name!r} both mean {key}")
        else:
            keys[key] = tensor
    return keys, ignored, unknown


def _open_tensorflow(path: Path) -> WeightFiles:
    checkpoint = TFCheckpoint(path)
    shards = sorted({entry.shard for entry in checkpoint.entries.values()})
    tensors = {
        name: StoredTensor(
            name,
            entry.dtype,
            entry.shape,
            checkpoint.data_file(entry.shard).name,
            meaning_of_tf(name),
            lambda name=name: checkpoint.read(name),  # type: ignore[misc]
        )
        for name, entry in checkpoint.entries.items()
    }
    files = (Path(f"{checkpoint.prefix}.index"), *map(checkpoint.data_file, shards))
    return WeightFiles("TensorFlow checkpoint", files, tensors)


def _open_sharded(index: Path) -> WeightFiles:
    """A set of files with an index that says which tensor is in which."""
    try:
        weight_map = read_shard_index(index)
    except ValueError as error:
        raise CorruptError(str(error)) from None
    tensors: dict[str, StoredTensor] = {}
    files = []
    for name in dict.fromkeys(weight_map.values()):
        path = index.parent / name
        if not path.is_file():
            raise MissingShardError(f"{path} is missing: {index.name} needs it. Fetch it too")
        files.append(path)
        part = _open_safetensors(path) if path.suffix == ".safetensors" else _open_pickle(path)
        for tensor in part.tensors.values():
            if weight_map.get(tensor.name) != name:
                raise CorruptError(f"{path} holds {tensor.name!r}, which {index.name} does not say")
            tensors[tensor.name] = tensor
    if lost := sorted(set(weight_map) - set(tensors)):
        raise CorruptError(f"{index} lists tensors that its files do not hold: {lost[:5]}")
    return WeightFiles(f"{len(files)} files", (index, *files), tensors)


def read_json(path: Path) -> Any:
    """The contents of a JSON file, or a `CorruptError` that names it."""
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"{path} is not JSON: {error}") from None


def _open_safetensors(path: Path) -> WeightFiles:
    refuse_pointer(path)
    tensors = {}
    try:
        with safe_open(path, "numpy") as header:
            for name in header.keys():  # noqa: SIM118
                entry = header.get_slice(name)
                dtype, shape = entry.get_dtype(), tuple(entry.get_shape())
                if dtype not in _SAFETENSORS_DTYPES:
                    raise UnsupportedDtypeError(f"{path}: tensor {name!r} has number type {dtype}")
                known = _SAFETENSORS_DTYPES[dtype]
                tensors[name] = StoredTensor(
                    name,
                    known,
                    shape,
                    path.name,
                    meaning_of_pytorch(name),
                    functools.partial(_read_safetensors, path, name, known),
                )
    except SafetensorError as error:
        short = any(words in str(error) for words in ("too small", "not fully covered"))
        raise (TruncatedError if short else CorruptError)(
            f"{path}, {path.stat().st_size} bytes, is no whole safetensors file: {error}. Get it "
            f"again"
        ) from None
    return WeightFiles("safetensors", (path,), tensors)


def _read_safetensors(path: Path, name: str, dtype: str) -> np.ndarray:
    with safe_open(path, "pt" if dtype == "bfloat16" else "numpy") as file:
        tensor = file.get_tensor(name)
    return _to_numpy(tensor) if dtype == "bfloat16" else tensor


def _open_pickle(path: Path) -> WeightFiles:
    """A PyTorch file; whatever else is pickled in it is not executed."""
    try:
        values = read_tensors(path)
    except Exception as error:  # torch raises half a dozen kinds for damaged files
        raise CorruptError(f"{path} cannot be read as a PyTorch file: {error}") from None
    if not all(isinstance(name, str) for name in values):
        raise CorruptError(f"{path} does not hold tensors by name; save model.state_dict() in it")
    tensors = {
        name: StoredTensor(
            name,
            str(value.dtype).removeprefix("torch."),
            tuple(value.shape),
            path.name,
            meaning_of_pytorch(name),
            lambda value=value: _to_numpy(value),  # type: ignore[misc]
        )
        for name, value in values.items()
    }
    return WeightFiles("PyTorch pickle", (path,), tensors)


def _to_numpy(tensor: Any) -> np.ndarray:
    import torch

    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    try:
        return tensor.detach().numpy()
    except (TypeError, RuntimeError) as error:
        raise UnsupportedDtypeError(f"a tensor of {tensor.dtype} cannot be read: {error}") from None


def iterate_numbers(array: np.ndarray, chunk: int = 1 << 20) -> Iterator[np.ndarray]:
    """The numbers of an array as float64, a bounded number at a time, in the array's own order."""
    flat = array.reshape(-1) if array.flags.c_contiguous else array.T.reshape(-1)
    for start in range(0, flat.size, chunk):
        yield np.asarray(flat[start : start + chunk], dtype=np.float64)
