"""Fixed shapes: (texts, tokens) without padding through a bert-base, float32 and below."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import peers
from benchmarks.measure import flops, interleaved, product_peak, ratio, summary
from minibert.config import BertConfig

SHAPES = ((1, 16), (1, 128), (8, 128), (32, 128), (8, 512))
BASE = "transformers sdpa"


def forwards(folder: Path, scratch: Path, bf16: bool) -> dict[str, peers.Forward]:
    """Everyone who is installed, in float32; with `bf16` also in that."""
    config = BertConfig.from_json_file(folder / "config.json")
    found = {
        "transformers eager": peers.transformers_model(folder, "eager"),
        BASE: peers.transformers_model(folder, "sdpa"),
        "minibert": peers.minibert_model(folder, packed=True),
        "minibert, not packed": peers.minibert_model(folder, packed=False),
    }
    here = peers.installed(["onnx", "onnxruntime", "openvino"])
    if "onnx" in here:
        path = peers.export_onnx(folder, scratch / "base.onnx")
        if "onnxruntime" in here:
            heads, width = config.num_attention_heads, config.hidden_size
            found["onnxruntime"] = peers.onnxruntime_model(path, heads, width)
        if "openvino" in here:
            found["OpenVINO"] = peers.openvino_model(path)
            if bf16:
                found["OpenVINO bf16"] = peers.openvino_model(path, "bf16")
    if bf16:
        found["transformers bf16"] = peers.transformers_model(folder, "sdpa", torch.bfloat16)
        found["minibert bf16"] = peers.minibert_model(folder, True, "bfloat16")
        found["minibert int8"] = peers.minibert_model(folder, True, "int8")
    return found


def run(folder: Path, scratch: Path, quick: bool, bf16: bool) -> list[dict[str, Any]]:
    """One row per shape and candidate: ratio to transformers sdpa, error, share of the peak."""
    config = BertConfig.from_json_file(folder / "config.json")
    candidates = forwards(folder, scratch, bf16)
    peak = product_peak()
    rows = []
    for B, T in SHAPES[:3] if quick else SHAPES:
        ids = torch.randint(999, 30000, (B, T), generator=torch.Generator().manual_seed(B * T))
        mask = torch.ones_like(ids)
        outputs = {n: _array(f(ids, mask)) for n, f in candidates.items()}
        rounds = 5 if quick else max(5, min(25, 25000 // (B * T)))
        runs = {name: partial(forward, ids, mask) for name, forward in candidates.items()}
        times = interleaved(runs, rounds, 0.03)
        for name in candidates:
            seconds = summary(times[name]).median
            rows.append(
                {
                    "shape": (B, T),
                    "candidate": name,
                    "milliseconds": seconds * 1e3,
                    "ratio": ratio(times, name, BASE),
                    "error": float(np.abs(outputs[name] - outputs["transformers eager"]).max()),
                    "peak": flops(config, [T] * B) / seconds / 1e9 / peak,
                }
            )
    return rows


def _array(output: Any) -> np.ndarray:
    return output.float().numpy() if isinstance(output, torch.Tensor) else np.array(output)
