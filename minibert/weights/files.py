"""Files that hold tensors: find them in a folder, and read them without trusting them.

safetensors is preferred to .bin. Both are memory-mapped. Pickled code in a .bin is never run,
and an index of shards opens no file outside its own folder.
"""

import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open

from minibert.system.files import read_json

if TYPE_CHECKING:
    from torch import Tensor

# The first of these that a folder or repository has is taken: safetensors before pickles.
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def beside(folder: Path, name: object, source: str) -> Path:
    """The file or folder `name` in `folder`. Raises ValueError for a name that leads elsewhere:
    nothing outside the folder is opened because a file says so."""
    if not isinstance(name, str) or name[:1] in ("", ".") or set(name) & set("/\\:\0"):
        raise ValueError(
            f"{folder / source} names {name!r:.100}: expected the name of a folder or file beside "
            f"it; only files beside it are opened"
        )
    return folder / name


def read_modules(folder: Path) -> list[dict[str, Any]]:
    """The modules of a folder of sentence-transformers; none where there is no modules.json."""
    path = folder / "modules.json"
    modules = read_json(path, kind=list) if path.is_file() else []
    if not all(isinstance(module, dict) for module in modules):
        raise ValueError(f"{path} must hold a list of objects, one a module: get it again")
    return modules


def model_folder(folder: Path) -> Path:
    """Where in a folder of sentence-transformers the model is: up to 2021 in `0_Transformer`.

    Raises ValueError for a modules.json that names another place than a folder beside it.
    """
    for module in read_modules(folder):
        if str(module.get("type")).endswith((".Transformer", ".BERT")) and module.get("path"):
            inside = beside(folder, module["path"], "modules.json")
            if not inside.is_dir():
                raise ValueError(f"{folder}/modules.json says that the model is in {inside.name}: "
                                 f"expected the name of a folder beside it")  # fmt: skip
            return inside
    return folder


def find_config(folder: Path) -> Path:
    """The config beside the weights: `config.json`, or Google's `bert_config.json`."""
    for name in ("config.json", "bert_config.json"):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"no config.json in {folder}: it holds the sizes that the weights need")


def find_weights(path: Path) -> tuple[Path, list[Path]]:
    """The folder, and its weights file or shards. safetensors is preferred to .bin."""
    path = model_folder(path)
    part = path.suffix.startswith((".index", ".data-")) or Path(f"{path}.index").is_file()
    if part and not path.is_dir():
        raise _unconverted(path.parent, re.sub(r"\.(index|data-[^.]*)$", "", str(path)))
    if path.is_file():
        return path.parent, _shards(path) if path.name.endswith(".index.json") else [path]
    for name in WEIGHT_FILES:
        if (path / name).is_file():
            return find_weights(path / name)
    indexes = sorted(path.glob("*.index"), key=lambda index: (len(index.name), index.name))
    if indexes:  # the last, if there are model.ckpt-0 and model.ckpt-343
        raise _unconverted(path, str(indexes[-1].with_suffix("")))
    raise FileNotFoundError(
        f"no weights in {path}: expected model.safetensors or pytorch_model.bin (or their "
        f".index.json with shards), got {_listed(path)}"
    )


def _listed(folder: Path) -> str:
    names = sorted(file.name for file in folder.glob("*"))
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "no files"


def _unconverted(folder: Path, prefix: str) -> FileNotFoundError:
    source = folder if len(list(folder.glob("*.index"))) == 1 else prefix
    return FileNotFoundError(
        f"{folder} holds a TensorFlow checkpoint: convert it first, "
        f"python -m weights_tools convert {source} NEW_FOLDER"
    )


def read_shard_index(index: Path) -> dict[str, str]:
    """Tensor -> the file that holds it. A path to another folder is refused with ValueError."""
    try:
        files = read_json(index)["weight_map"]
        names = set(files.values())
    except (ValueError, KeyError, TypeError, AttributeError):
        names = set()
    if not names:
        raise ValueError(
            f'{index} is no index of weights: expected {{"weight_map": {{tensor: file}}}}'
        )
    for name in names:
        beside(index.parent, name, index.name)
    return files


def _shards(index: Path) -> list[Path]:
    names = sorted(set(read_shard_index(index).values()))
    for name in names:
        if not (index.parent / name).is_file():
            raise FileNotFoundError(f"{index.name} names the shard {name}, which is not there")
    return [index.parent / name for name in names]


def is_complete(file: Path) -> bool:
    """Whether a .safetensors file can be opened, which compares its length with its header's."""
    try:
        with safe_open(file, framework="numpy"):
            return True
    except Exception:
        return False


def read_tensors(file: Path) -> "dict[str, Tensor]":
    """All tensors of one .safetensors or .bin file, memory-mapped. Pickled code is never run."""
    import torch  # not at the top: hub.py needs this file, and `minibert tokenize` no torch

    try:
        str(file).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{str(file)!r} is no path in UTF-8, as readers of weights need it: "
                         f"rename the folder") from None  # fmt: skip
    with file.open("rb") as opened:  # a file that may not be read says so here
        zipped = opened.read(2) == b"PK"  # before torch 1.6 a .bin was no zip archive
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as tensors:
                return {key: tensors.get_tensor(key) for key in tensors.keys()}  # noqa: SIM118
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{file} was not opened: it is damaged, or it holds more than tensors, and running "
            f"pickled code from a weights file is not safe ({str(error).splitlines()[0]})"
        ) from None
    except Exception as error:  # torch raises half a dozen kinds for damaged files
        raise ValueError(
            f"{file} is damaged or incomplete ({file.stat().st_size:,} bytes): "
            f"{str(error).partition(chr(10))[0]}. Fetch it again"
        ) from None
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(t, torch.Tensor) for name, t in content.items()
    ):
        raise ValueError(
            f"{file} is not a weights file: expected a dict of names and tensors, as "
            f"model.state_dict() gives it"
        )
    for name, tensor in content.items():
        if tensor.layout is not torch.strided or tensor.is_meta or tensor.is_quantized:
            kind = "meta" if tensor.is_meta else str(tensor.layout)
            raise ValueError(
                f"{file}: {name} holds no plain numbers ({kind}, {tensor.dtype}): save it as a "
                f"dense tensor of floating-point numbers"
            )
    return content
