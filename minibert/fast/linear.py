"""One linear layer, four ways: as it is, copied, packed for the processor, in 8 bits; and the
promise that float32 means float32.

A matrix product is fast when the weights lie in the order in which the processor's vector
registers take them up. oneDNN reorders each weight once, then computes in plain float32. These
packed kernels are those that torch's own compiler uses; they are not a promised interface, so
`packing_works` tries them before anyone trusts them.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Weights = tuple[Tensor, Tensor | None]  # weight (out, in) and bias (out,)


class Linear(Protocol):
    """x (N, in) -> x W^T + b, then GELU or a sum with `residual`: (N, out)."""

    def __call__(
        self, x: Tensor, *, gelu: str | None = None, residual: Tensor | None = None
    ) -> Tensor: ...


class PlainLinear:
    """torch's own product, on the model's own weights. Several layers over one input stand side
    by side in the result."""

    def __init__(self, layers: Sequence[Weights], dtype: torch.dtype):
        self.layers = layers  # they keep their own dtype

    def __call__(
        self, x: Tensor, *, gelu: str | None = None, residual: Tensor | None = None
    ) -> Tensor:
        parts = [F.linear(x, weight, bias) for weight, bias in self.layers]
        product = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
        if gelu is not None:
            product = F.gelu(product, approximate=gelu)
        return product if residual is None else product + residual


class FusedLinear(PlainLinear):
    """A copy of the weights, in any precision; several layers joined into one product."""

    def __init__(self, layers: Sequence[Weights], dtype: torch.dtype):
        super().__init__([_joined(layers, dtype)], dtype)


class PackedLinear:
    """oneDNN's product on weights that were reordered for it once (CPU)."""

    def __init__(self, layers: Sequence[Weights], dtype: torch.dtype):
        weight, self.bias = _joined(layers, dtype)
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())

    def __call__(
        self, x: Tensor, *, gelu: str | None = None, residual: Tensor | None = None
    ) -> Tensor:
        product = torch.ops.mkldnn._linear_pointwise
        if residual is not None:
            return product.binary(x, residual, self.weight, self.bias, "add")
        if gelu is not None:
            return product(x, self.weight, self.bias, "gelu", [], gelu)
        return product(x, self.weight, self.bias, "none", [], "")


class Int8Linear:
    """Weights in 8 bits, one scale per row; inputs rounded to 8 bits as they come (CPU)."""

    def __init__(self, layers: Sequence[Weights], dtype: torch.dtype, largest: int | None = None):
        largest = largest or (63 if int8_saturates() else 127)
        weight, bias = _joined(layers, torch.float32)
        scale = (weight.abs().amax(dim=1) / largest).clamp(min=1e-12)
        zero = torch.zeros_like(scale, dtype=torch.int64)
        if not hasattr(torch.ops.quantized, "linear_prepack"):
            raise ValueError("this build of torch has no int8 kernels: use bfloat16 or float32")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch announces that it will move this function
            small = torch.quantize_per_channel(weight, scale, zero, 0, torch.qint8)
        self.packed = torch.ops.quantized.linear_prepack(small, bias)

    def __call__(
        self, x: Tensor, *, gelu: str | None = None, residual: Tensor | None = None
    ) -> Tensor:
        product = torch.ops.quantized.linear_dynamic(x, self.packed, False)
        if gelu is not None:
            product = F.gelu(product, approximate=gelu)
        return product if residual is None else product + residual


@cache
def int8_saturates() -> bool:
    """Whether sums of two products of 8 bits overflow here, as on x86 processors without VNNI.

    Then the weights take 7 bits: the inputs, which share one scale, need theirs more.

    >>> isinstance(int8_saturates(), bool)
    True
    """
    ones = torch.ones(64, 64)
    product = Int8Linear([(ones, None)], torch.float32, largest=127)(ones)
    return bool((product - 64).abs().max() > 1)


# Names of what multiplies in bfloat16: of x86, and of ARM as torch and as Linux call it.
BFLOAT16_UNITS = {"avx512_bf16", "amx_bf16", "bf16", "sve_bf16", "svebf16"}


@cache
def processor_features() -> frozenset[str]:
    """What the processor can do, as torch (2.10 and later) or Linux calls it; empty where neither
    says.

    >>> isinstance(processor_features(), frozenset)
    True
    """
    if hasattr(torch.cpu, "get_capabilities"):
        return frozenset(name for name, there in torch.cpu.get_capabilities().items() if there)
    try:
        return frozenset(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return frozenset()


def why_slow(precision: str | None, device: torch.device) -> str | None:
    """Why this precision is slower than float32 on this device; None if it is not known to be.

    Source: pytorch/pytorch#146508, where half precision took 44 to 515 times as long.

    >>> why_slow("float16", torch.device("cpu"))
    'a CPU computes float16 number by number'
    >>> why_slow("float32", torch.device("cpu")), why_slow("float16", torch.device("cuda"))
    (None, None)
    """
    if device.type != "cpu":
        return None
    if precision == "float16":
        return "a CPU computes float16 number by number"
    features = processor_features()
    if precision == "bfloat16" and features and not features & BFLOAT16_UNITS:
        return "this processor has no instructions for bfloat16 (AVX512-BF16, AMX, ARM's BF16)"
    return None


def _joined(layers: Sequence[Weights], dtype: torch.dtype) -> Weights:
    weights, biases = [w for w, _ in layers], [b for _, b in layers if b is not None]
    weight = weights[0] if len(weights) == 1 else torch.cat(weights)
    return weight.to(dtype), torch.cat(biases).to(dtype) if biases else None


def weights_of(layer: nn.Linear) -> Weights:
    return layer.weight.detach(), layer.bias.detach()


def packing_works(dtype: torch.dtype = torch.float32) -> bool:
    """Whether this processor and this build of torch have the packed kernels: tried out.

    >>> isinstance(packing_works(), bool)
    True
    """
    if not torch.backends.mkldnn.is_available() or not hasattr(
        torch.ops.mkldnn, "_reorder_linear_weight"
    ):
        return False
    layer = (torch.linspace(-1, 1, 32 * 48).view(32, 48), torch.linspace(0, 1, 32))
    x = torch.linspace(-1, 1, 7 * 48).view(7, 48).to(dtype)
    try:
        with torch.inference_mode(), full_float32():
            packed, plain = PackedLinear([layer], dtype), FusedLinear([layer], dtype)
            pairs = [(packed(x, gelu=how), plain(x, gelu=how)) for how in (None, "none", "tanh")]
            residual = plain(x)
            pairs.append((packed(x, residual=residual), plain(x, residual=residual)))
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
    close = 1e-5 if dtype == torch.float32 else 5e-2
    return all(torch.allclose(a, b, rtol=0, atol=close) for a, b in pairs)


@contextmanager
def full_float32(device: torch.device | None = None) -> Iterator[None]:
    """Float32 means float32 inside, whatever `torch.set_float32_matmul_precision` or
    `torch.autocast` say outside; `device` is that of the tensors (None: the CPU).

    With "medium" or "high" a processor with bfloat16 or TF32 units computes float32 products in
    those, which costs three digits. Autocast does so everywhere.
    """
    with torch.autocast(device.type if device else "cpu", enabled=False), _full_products():
        yield


@contextmanager
def _full_products() -> Iterator[None]:
    backends: Any = torch.backends
    if hasattr(backends.mkldnn, "matmul"):  # torch 2.9 and later
        holders = [backends.mkldnn.matmul, backends.cuda.matmul]
        before = [holder.fp32_precision for holder in holders]
        changed = [(h, b) for h, b in zip(holders, before) if b not in ("none", "ieee")]
        try:
            for holder, _ in changed:
                holder.fp32_precision = "ieee"
            yield
        finally:
            for holder, value in changed:
                holder.fp32_precision = value
    else:
        precision = torch.get_float32_matmul_precision()
        try:
            torch.set_float32_matmul_precision("highest")
            yield
        finally:
            torch.set_float32_matmul_precision(precision)
