"""1,000 real sentences of mixed length -> vectors, tokenization included, by
all-MiniLM-L6-v2; and by the sentence model in the box, whose vectors are others."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import minibert
from benchmarks import peers
from benchmarks.apart import Apart
from benchmarks.measure import interleaved, ratio, summary
from benchmarks.measured_models import MINILM, sentences
from minibert.vectors.nearest import cosines
from minibert.weights.known_models import SENTENCE_NAME

BASE = "sentence-transformers"
Embed = Callable[[list[str]], np.ndarray]


def sentence_transformers(dtype: torch.dtype) -> Embed:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(MINILM), device="cpu").to(dtype)
    if dtype == torch.float32:
        return lambda texts: model.encode(texts, show_progress_bar=False)
    return lambda texts: (
        model.encode(texts, show_progress_bar=False, convert_to_tensor=True).float().numpy()
    )


def minibert_embed(model: str | Path = MINILM, **settings: Any) -> Embed:
    return partial(minibert.load(model).embed, **settings)


def bare_runtime(make: Callable[..., peers.Forward], *arguments: Any) -> Embed:
    return peers.embedder(make(*arguments), MINILM / "tokenizer.json")


def embedders(scratch: Path, bf16: bool, int8: bool) -> dict[str, Apart]:
    """Everyone who is installed."""
    apart = {
        BASE: Apart(sentence_transformers, torch.float32),
        "minibert": Apart(minibert_embed),
        f"minibert, {SENTENCE_NAME}": Apart(partial(minibert_embed, SENTENCE_NAME)),
        "minibert, deterministic": Apart(partial(minibert_embed, deterministic=True)),
    }
    installed = peers.installed(["onnx", "onnxruntime", "openvino"])
    if "onnx" in installed:
        path = peers.export_onnx(MINILM, scratch / "minilm.onnx")
        if "onnxruntime" in installed:
            apart["onnxruntime"] = Apart(bare_runtime, peers.onnxruntime_model, path, 12, 384)
        if "openvino" in installed:
            apart["OpenVINO"] = Apart(bare_runtime, peers.openvino_model, path)
            if bf16:
                apart["OpenVINO bf16"] = Apart(bare_runtime, peers.openvino_model, path, "bf16")
    if bf16:
        apart["sentence-transformers bf16"] = Apart(sentence_transformers, torch.bfloat16)
        apart["minibert bf16"] = Apart(partial(minibert_embed, precision="bfloat16"))
    if int8:
        apart["minibert int8"] = Apart(partial(minibert_embed, precision="int8"))
    return apart


def run(scratch: Path, quick: bool, bf16: bool, int8: bool) -> list[dict[str, Any]]:
    """One row per candidate: ratio to sentence-transformers, error, smallest cosine."""
    texts = sentences()[: 100 if quick else 1000]
    candidates = embedders(scratch, bf16, int8)
    for candidate in candidates.values():
        candidate.prepare(texts)
    times = interleaved(candidates, 3 if quick else 5, 0.03)
    vectors = {name: candidate.result() for name, candidate in candidates.items()}
    for candidate in candidates.values():
        candidate.close()
    exact = vectors[BASE]
    same = {name: found.shape == exact.shape for name, found in vectors.items()}
    return [
        {
            "candidate": name,
            "sentences per second": len(texts) / summary(times[name]).median,
            "ratio": ratio(times, name, BASE),
            "error": float(np.abs(vectors[name] - exact).max()) if same[name] else None,
            "cosine": float(np.diag(cosines(vectors[name], exact)).min()) if same[name] else None,
        }
        for name in candidates
    ]
