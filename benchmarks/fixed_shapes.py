"""Fixed shapes: (texts, tokens) without padding through a bert-base, float32 and below."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import peers
from benchmarks.apart import Apart
from benchmarks.measure import flops, interleaved, product_peak, ratio, summary
from minibert.core.config import BertConfig

SHAPES = ((1, 16), (1, 128), (8, 128), (32, 128), (8, 512))
BASE = "transformers sdpa"


def forwards(folder: Path, scratch: Path, bf16: bool) -> dict[str, Apart]:
    """Everyone who is installed, in float32; with `bf16` also in that."""
    config = BertConfig.from_json_file(folder / "config.json")
    apart = {
        "transformers eager": Apart(peers.transformers_model, folder, "eager"),
        BASE: Apart(peers.transformers_model, folder, "sdpa"),
        "minibert": Apart(peers.minibert_model, folder, True),
        "minibert, not packed": Apart(peers.minibert_model, folder, False),
    }
    installed = peers.installed(["onnx", "onnxruntime", "openvino"])
    if "onnx" in installed:
        path = peers.export_onnx(folder, scratch / "base.onnx")
        if "onnxruntime" in installed:
            heads, width = config.num_attention_heads, config.hidden_size
            apart["onnxruntime"] = Apart(peers.onnxruntime_model, path, heads, width)
        if "openvino" in installed:
            apart["OpenVINO"] = Apart(peers.openvino_model, path)
            if bf16:
                apart["OpenVINO bf16"] = Apart(peers.openvino_model, path, "bf16")
    if bf16:
        apart["transformers bf16"] = Apart(peers.transformers_model, folder, "sdpa", torch.bfloat16)
        apart["minibert bf16"] = Apart(peers.minibert_model, folder, True, "bfloat16")
        apart["minibert int8"] = Apart(peers.minibert_model, folder, True, "int8")
    return apart


def run(folder: Path, scratch: Path, quick: bool, bf16: bool) -> list[dict[str, Any]]:
    """One row per shape and candidate: ratio to transformers sdpa, error, share of the peak."""
    config = BertConfig.from_json_file(folder / "config.json")
    peak = product_peak()  # before the others start to work
    candidates = forwards(folder, scratch, bf16)
    rows = []
    for B, T in SHAPES[:3] if quick else SHAPES:
        ids = torch.randint(999, 30000, (B, T), generator=torch.Generator().manual_seed(B * T))
        for candidate in candidates.values():
            candidate.prepare(ids, torch.ones_like(ids))
        fewest, most, tokens = (2, 6, 1000) if quick else (4, 25, 8000)
        times = interleaved(candidates, max(fewest, min(most, tokens // (B * T))), 0.03)
        outputs = {name: candidate.result() for name, candidate in candidates.items()}
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
    for candidate in candidates.values():
        candidate.close()
    return rows
