"""What a command line names: a Python object, a file of arrays, a name table."""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minibert.diagnosis.students import StudentError
from minibert.system.files import read_json


def load_target(text: str) -> Any:
    """What `package.module:name`, `file.py:name` or a file of arrays holds.

    A Python target is imported, which runs its code. Raises StudentError if it cannot be.
    """
    place, _, name = text.partition(":")
    path = Path(place)
    if path.suffix in (".npz", ".safetensors"):
        return read_arrays(path)
    try:
        if path.suffix == ".py":
            module = import_file(path)
        else:
            sys.path.insert(0, str(Path.cwd()))
            try:
                module = importlib.import_module(place)
            finally:
                sys.path.pop(0)
    except BaseException as error:
        raise StudentError(f"cannot import {place}: {type(error).__name__}: {error}") from error
    if name:
        if not hasattr(module, name):
            raise StudentError(f"{place} has no {name!r}; it has {_public(module)}")
        return getattr(module, name)
    if hasattr(module, "build"):
        return module.build
    raise StudentError(
        f"say which object of {place} is the model, as {place}:NAME; it has {_public(module)}"
    )


def _public(module: Any) -> list[str]:
    return [name for name in vars(module) if not name.startswith("_")][:12]


def import_file(path: Path) -> Any:
    """The module that a Python file holds; its code is run.

    Raises whatever that code raises, and ImportError for code that ends the program.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    name = f"_imported_{path.stem}"  # nobody else's module has this name
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look for the module they are in
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception):
            raise ImportError(
                f"{path} ends the program while it is imported ({type(error).__name__}: {error}); "
                'put what does so under: if __name__ == "__main__"'
            ) from error
        raise
    finally:
        sys.path.pop(0)
    return module


def read_arrays(path: Path) -> dict[str, Tensor]:
    """The arrays of a `.npz` or `.safetensors` file. Raises StudentError for a bad file."""
    if not path.is_file():
        raise StudentError(f"there is no file {path}")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return {name: torch.as_tensor(archive[name]) for name in archive.files}
        from safetensors.torch import load_file

        return load_file(path)
    except Exception as error:
        raise StudentError(f"{path} is not a readable {path.suffix} file: {error}") from error


def read_names(path: Path) -> dict[str, str]:
    """A name table from a JSON file. Raises StudentError if it is none."""
    try:
        table = read_json(path)
    except (OSError, ValueError) as error:
        raise StudentError(f"cannot read the name table: {error}") from None
    if not all(isinstance(v, str) for v in table.values()):
        raise StudentError(f"{path} must hold one JSON object, your name -> Hugging Face's name")
    return table
