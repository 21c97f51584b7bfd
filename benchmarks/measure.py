"""Measuring side by side: candidates take turns, so that a noisy machine disturbs all alike."""

import datetime
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from minibert.core.config import BertConfig

PEERS = ("torch", "transformers", "sentence-transformers", "tokenizers", "onnxruntime", "openvino")


class Timing(NamedTuple):
    """Median of the rounds and their quartiles, in seconds."""

    median: float
    low: float
    high: float


def summary(seconds: list[float]) -> Timing:
    """Median and quartiles."""
    if len(seconds) < 2:
        return Timing(seconds[0], seconds[0], seconds[0])
    low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return Timing(median, low, high)


def interleaved(
    candidates: Mapping[str, Callable[[], object]],
    rounds: int,
    pause: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of every round. In a round each candidate runs once; the order turns around.

    A few rounds of warm-up come first. `pause` gives worker threads time to fall asleep; `clock`
    may be time.process_time, of one thread.
    """
    times: dict[str, list[float]] = {name: [] for name in candidates}
    names = list(candidates)
    for number in tqdm(range(-2 if rounds > 5 else -1, rounds), leave=False, disable=None):
        for name in names if number % 2 else reversed(names):
            time.sleep(pause)
            start = clock()
            candidates[name]()
            if number >= 0:
                times[name].append(clock() - start)
    return times


def ratio(times: Mapping[str, list[float]], name: str, base: str) -> Timing:
    """How many times as fast as `base`: median and quartiles over the rounds."""
    pairs = zip(times[base], times[name])
    return summary([base_seconds / seconds for base_seconds, seconds in pairs])


def product_peak(dtype: torch.dtype = torch.float32, rounds: int = 7) -> float:
    """The fastest matrix product this machine shows, in GFLOP/s: packed where that works."""
    from minibert.fast.linear import FusedLinear, PackedLinear, packing_works

    kind = PackedLinear if packing_works(dtype) else FusedLinear
    best = 0.0
    with torch.inference_mode():
        for tokens, width in ((512, 768), (1024, 1024), (1024, 2048)):
            linear = kind([(torch.randn(width, width), torch.randn(width))], dtype)
            x = torch.randn(tokens, width, dtype=dtype)
            for _ in range(rounds):
                start = time.perf_counter()
                linear(x)
                seconds = time.perf_counter() - start
                best = max(best, 2 * tokens * width * width / seconds / 1e9)
    return best


def flops(config: BertConfig, lengths: list[int]) -> float:
    """Floating-point operations of the encoder's matrix products on texts of these lengths."""
    H, inner = config.hidden_size, config.intermediate_size
    linear = 2 * (4 * H * H + 2 * H * inner)  # query, key, value, output; the two of feed-forward
    return sum(config.num_hidden_layers * T * (linear + 4 * T * H) for T in lengths)


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    name = platform.processor() or platform.machine()
    cpu_info = Path("/proc/cpuinfo")
    flags = ""
    if cpu_info.is_file():
        text = cpu_info.read_text(encoding="utf-8")
        if model_name := re.search(r"model name\s*:\s*(.*)", text):
            name = model_name[1]
        known = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_tile")
        words = set(text.split())
        flags = " ".join(flag for flag in known if flag in words)
    described = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "processor": f"{name}, {os.cpu_count()} cores ({flags})",
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
    }
    if torch.cuda.is_available():
        described["gpu"] = torch.cuda.get_device_name()
    for package in PEERS:
        try:
            described[package] = version(package)
        except PackageNotFoundError:
            described[package] = "not installed"
    return described
