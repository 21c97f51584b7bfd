"""Each library as a function (input_ids, attention_mask) -> last hidden states, made once.

Everyone gets its best known form: transformers with fused attention, onnxruntime with its BERT
fusions, OpenVINO with its own compilation.
"""

import importlib.util
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

from minibert.fast.bert import FastBert
from minibert.weights.loading import load_weights

Forward = Callable[[torch.Tensor, torch.Tensor], object]
THREADS = torch.get_num_threads()


def transformers_model(folder: Path, attention: str, dtype: torch.dtype = torch.float32) -> Forward:
    import transformers

    model = transformers.BertModel.from_pretrained(
        folder, attn_implementation=attention, add_pooling_layer=False, dtype=dtype
    ).eval()

    def forward(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return model(input_ids, attention_mask=attention_mask).last_hidden_state

    return forward


def minibert_model(folder: Path, packed: bool, precision: str | None = None) -> Forward:
    model = load_weights(folder)[0].bert
    model.pooler = None
    fast = FastBert(model, precision, packed=packed)

    def forward(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return fast(input_ids, attention_mask=attention_mask).last_hidden_state

    return forward


def export_onnx(folder: Path, target: Path) -> Path:
    """transformers' model as an ONNX file, any batch size and length."""
    import transformers

    model = transformers.BertModel.from_pretrained(
        folder, attn_implementation="eager", add_pooling_layer=False
    ).eval()

    class States(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask):
            return self.model(input_ids, attention_mask=attention_mask).last_hidden_state

    names = ["input_ids", "attention_mask"]
    ids = torch.ones(2, 9, dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            States(),
            (ids, torch.tensor([[1] * 9, [1] * 5 + [0] * 4])),
            str(target),
            dynamo=False,  # the graph that onnxruntime's fusions were written for
            opset_version=17,
            input_names=names,
            output_names=["states"],
            dynamic_axes={name: {0: "B", 1: "T"} for name in [*names, "states"]},
        )
    return target


def onnxruntime_model(path: Path, heads: int, hidden_size: int) -> Forward:
    import onnxruntime
    from onnxruntime.transformers import optimizer

    fused = path.with_name("fused-" + path.name)
    fused_model = optimizer.optimize_model(
        str(path), model_type="bert", num_heads=heads, hidden_size=hidden_size, opt_level=0
    )
    fused_model.save_model_to_file(str(fused))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(str(fused), options, providers=["CPUExecutionProvider"])

    def forward(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> np.ndarray:
        feed = {"input_ids": input_ids.numpy(), "attention_mask": attention_mask.numpy()}
        return session.run(None, feed)[0]

    return forward


def openvino_model(path: Path, precision: str = "f32") -> Forward:
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": str(THREADS),
    }
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    request = compiled.create_infer_request()

    def forward(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> np.ndarray:
        result = request.infer([input_ids.numpy(), attention_mask.numpy()], share_outputs=True)
        return result[0]

    return forward


def embedder(
    forward: Forward, tokenizer_file: Path, max_length: int = 256, batch_size: int = 32
) -> Callable[[list[str]], np.ndarray]:
    """Sentences -> unit vectors with a bare runtime, the way its users write it.

    The tokenizer in Rust, batches sorted by length, padding, the mean over the tokens.
    """
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(tokenizer_file))
    tokenizer.enable_truncation(max_length)
    tokenizer.enable_padding()

    def embed(texts: list[str]) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        pooled: list[np.ndarray] = []
        for start in range(0, len(texts), batch_size):
            batch = tokenizer.encode_batch([texts[i] for i in order[start : start + batch_size]])
            ids = torch.tensor([row.ids for row in batch])
            mask = torch.tensor([row.attention_mask for row in batch])
            states = np.asarray(forward(ids, mask))
            weight = mask.numpy()[:, :, None].astype(np.float32)
            means = (states * weight).sum(1) / weight.sum(1)
            pooled.extend(means / np.linalg.norm(means, axis=1, keepdims=True))
        vectors = np.empty((len(texts), pooled[0].shape[-1]), np.float32)
        vectors[order] = np.stack(pooled)
        return vectors

    return embed


def installed(names: Iterable[str]) -> list[str]:
    """Those of the packages that are here."""
    return [name for name in names if importlib.util.find_spec(name) is not None]
