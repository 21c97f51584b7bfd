"""1,000 real sentences of mixed length -> vectors, tokenization included, all-MiniLM-L6-v2."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import minibert
from benchmarks import peers
from benchmarks.measure import interleaved, ratio, summary
from benchmarks.models import MINILM, sentences
from minibert.embed import cosines

BASE = "sentence-transformers"
Embed = Callable[[list[str]], np.ndarray]


def embedders(scratch: Path, bf16: bool) -> dict[str, Embed]:
    """Everyone who is installed."""
    from sentence_transformers import SentenceTransformer

    def sentence_transformers(dtype: torch.dtype) -> Embed:
        model = SentenceTransformer(str(MINILM), device="cpu").to(dtype)
        if dtype == torch.float32:
            return lambda texts: model.encode(texts, show_progress_bar=False)
        return lambda texts: (
            model.encode(texts, show_progress_bar=False, convert_to_tensor=True).float().numpy()
        )

    bert = minibert.load(MINILM)
    found: dict[str, Embed] = {
        BASE: sentence_transformers(torch.float32),
        "minibert": bert.embed,
        "minibert, deterministic": lambda texts: bert.embed(texts, deterministic=True),
    }
    here = peers.installed(["onnx", "onnxruntime", "openvino"])
    if "onnx" in here:
        path = peers.export_onnx(MINILM, scratch / "minilm.onnx")
        words = MINILM / "tokenizer.json"
        if "onnxruntime" in here:
            found["onnxruntime"] = peers.embedder(peers.onnxruntime_model(path, 12, 384), words)
        if "openvino" in here:
            found["OpenVINO"] = peers.embedder(peers.openvino_model(path), words)
            if bf16:
                found["OpenVINO bf16"] = peers.embedder(peers.openvino_model(path, "bf16"), words)
    if bf16:
        found["sentence-transformers bf16"] = sentence_transformers(torch.bfloat16)
        found["minibert bf16"] = lambda texts: bert.embed(texts, precision="bfloat16")
        found["minibert int8"] = lambda texts: bert.embed(texts, precision="int8")
    return found


def run(scratch: Path, quick: bool, bf16: bool) -> list[dict[str, Any]]:
    """One row per candidate: ratio to sentence-transformers, error, smallest cosine."""
    texts = sentences()[: 200 if quick else 1000]
    candidates = embedders(scratch, bf16)
    vectors = {name: embed(texts) for name, embed in candidates.items()}
    times = interleaved(
        {name: partial(embed, texts) for name, embed in candidates.items()},
        3 if quick else 9,
        0.03,
    )
    exact = vectors[BASE]
    return [
        {
            "candidate": name,
            "sentences per second": len(texts) / summary(times[name]).median,
            "ratio": ratio(times, name, BASE),
            "error": float(np.abs(vectors[name] - exact).max()),
            "cosine": float(np.diag(cosines(vectors[name], exact)).min()),
        }
        for name in candidates
    ]
