"""When two results are the same: every comparison of the checkers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def agreeing(a: Tensor, b: Tensor, allowed: float = 0.0) -> Tensor:
    """Where two tensors of one shape differ by no more than `allowed`; NaN is equal to itself.

    >>> agreeing(torch.tensor([1.0, 2.0, torch.nan]), torch.tensor([1.1, 3.0, torch.nan]), 0.2)
    tensor([ True, False,  True])
    """
    return torch.isclose(a.double(), b.double(), rtol=0, atol=allowed, equal_nan=True)


def close(a: Tensor, b: Tensor, allowed: float = 0.0) -> bool:
    """True if two tensors have one shape and agree everywhere."""
    if a.dtype == b.dtype and torch.equal(a, b):  # most are, and this takes no time
        return True
    return a.shape == b.shape and bool(agreeing(a, b, allowed).all())


def distance(a: Tensor, b: Tensor) -> float:
    """The largest difference of two tensors; infinite between two shapes, or beside NaN.

    >>> distance(torch.tensor([1.0, torch.nan]), torch.tensor([1.5, torch.nan]))
    0.5
    """
    if a.shape != b.shape:
        return torch.inf
    a, b = a.double(), b.double()
    apart = (a - b).abs().masked_fill((a == b) | (a.isnan() & b.isnan()), 0)
    return float(apart.nan_to_num(nan=torch.inf).max()) if a.numel() else 0.0


def largest(tensor: Tensor) -> float:
    """The largest absolute number, NaN left out, but at least 1: the unit of a tolerance."""
    return max(1.0, float(tensor.nan_to_num().abs().max())) if tensor.numel() else 1.0


def same(a: Any, b: Any) -> bool:
    """The same value, also inside lists, tuples and dicts; NaN is equal to itself.

    >>> same([torch.ones(2), np.ones(2)], [torch.ones(2), np.ones(2)])
    True
    """
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return isinstance(a, Tensor) and isinstance(b, Tensor) and close(a, b)
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        alike = type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape
        return alike and a.tobytes() == b.tobytes()
    return bool(a == b)
