"""A model for other programs: the Hugging Face layout, ONNX, Google's TensorFlow names.

ONNX goes through PyTorch's own exporter, and what comes out is run in onnxruntime and compared
with the model before the file gets its name.
"""

import dataclasses
import logging
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minibert.core.config import BertConfig
from minibert.core.heads import BertForPreTraining
from minibert.system.files import folder_written_whole
from minibert.weights.loading import load_weights
from weights_tools.convert import TOKENIZER_FILES
from weights_tools.errors import WeightsError

_TOLERANCE = 1e-4
_LARGEST_ONE_FILE = 1_500_000_000  # ONNX allows 2 GB; larger weights go to a file beside it
_OPSET = 18  # the exporter's own; LayerNormalization came with 17


@dataclasses.dataclass(frozen=True)
class OnnxReport:
    """Where the file is, its inputs and outputs, and how far onnxruntime was from the model."""

    file: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    largest_difference: float

    def to_dict(self) -> dict[str, Any]:
        """The same, for `--json`."""
        return {**dataclasses.asdict(self), "file": str(self.file)}

    def __str__(self) -> str:
        return (
            f"{self.file}: {', '.join(self.inputs)} -> {', '.join(self.outputs)}; "
            f"onnxruntime differs by at most {self.largest_difference:.1e}"
        )


class _Exported(nn.Module):
    """The model with its arguments in a fixed order and its outputs in a tuple, as ONNX has it."""

    def __init__(self, model: BertForPreTraining, heads: bool):
        super().__init__()
        self.model = model
        self.names = ["last_hidden_state"]
        if model.bert.pooler is not None:
            self.names.append("pooler_output")
        self.heads = heads
        if heads and model.masked_word is not None:
            self.names.append("prediction_logits")
        if heads and model.next_sentence is not None:
            self.names.append("seq_relationship_logits")

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor
    ) -> tuple[Tensor, ...]:
        encoded = self.model.bert(
            input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        )
        outputs = [encoded.last_hidden_state]
        if encoded.pooler_output is not None:
            outputs.append(encoded.pooler_output)
        if self.heads and self.model.masked_word is not None:
            table = self.model.bert.embeddings.token.weight
            outputs.append(self.model.masked_word(encoded.last_hidden_state, table))
        if self.heads and self.model.next_sentence is not None:
            outputs.append(self.model.next_sentence(encoded.pooler_output))
        return tuple(outputs)


def export_onnx(source: str | Path, folder: str | Path, *, heads: bool = False) -> OnnxReport:
    """Write `folder/model.onnx` (and its data file, if large), with config and tokenizer.

    Inputs are `input_ids`, `attention_mask` and `token_type_ids` (batch, tokens), of any
    size up to the model's; outputs are `last_hidden_state`, `pooler_output` and, with
    `heads`, the logits of the two pretraining heads.

    Raises ImportError if onnx, onnxscript or onnxruntime is missing, and a `WeightsError` if
    onnxruntime's numbers differ by more than 1e-4; the folder is then not made.
    """
    needed = ("onnx", "onnxscript", "onnxruntime")
    if missing := [name for name in needed if find_spec(name) is None]:
        raise ImportError(f"ONNX needs {' and '.join(missing)}: pip install {' '.join(missing)}")
    source, folder = Path(source), Path(folder)
    model, _ = load_weights(source)
    wrapped = _Exported(model, heads).eval()
    example = probe(model.config, rows=2, tokens=8)
    with folder_written_whole(folder) as new:
        file = new / "model.onnx"
        batch = torch.export.Dim("batch")
        tokens = torch.export.Dim("tokens", max=model.config.max_position_embeddings)
        _write_onnx(wrapped, example, {0: batch, 1: tokens}, file)
        worst = _compare(file, wrapped)
        if not worst <= _TOLERANCE:
            raise WeightsError(
                f"onnxruntime differs from the model by {worst:.1e}, more than {_TOLERANCE:.0e}: "
                f"nothing was written. Try other versions of onnxscript and onnxruntime"
            )
        beside = source if source.is_dir() else source.parent
        for name in ("config.json", *TOKENIZER_FILES):
            if (beside / name).is_file():
                (new / name).write_bytes((beside / name).read_bytes())
    return OnnxReport(folder / "model.onnx", tuple(example), tuple(wrapped.names), worst)


def _write_onnx(
    wrapped: _Exported, example: dict[str, Tensor], sizes: dict[int, Any], file: Path
) -> None:
    """Trace the model and save the graph, without the exporter's notes about our source files."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    try:
        log.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                wrapped,
                tuple(example.values()),
                input_names=list(example),
                output_names=wrapped.names,
                dynamic_shapes=dict.fromkeys(example, sizes),
                opset_version=_OPSET,
                dynamo=True,
                verbose=False,
            )
    finally:
        log.setLevel(level)
    assert program is not None  # it is None for the older exporter alone
    for node in program.model.graph:
        node.metadata_props.clear()
    numbers = sum(parameter.numel() for parameter in wrapped.parameters())
    program.save(str(file), external_data=numbers * 4 > _LARGEST_ONE_FILE)


def probe(config: BertConfig, rows: int, tokens: int) -> dict[str, Tensor]:
    """Random words in two segments; in every row but the first, the last third is padding."""
    tokens = min(tokens, config.max_position_embeddings)
    generator = torch.Generator().manual_seed(rows * 1000 + tokens)
    mask = torch.ones(rows, tokens, dtype=torch.int64)
    mask[1:, tokens - tokens // 3 :] = 0
    segments = torch.zeros(rows, tokens, dtype=torch.int64)
    segments[:, tokens // 2 :] = min(1, config.type_vocab_size - 1)
    ids = torch.randint(config.vocab_size, (rows, tokens), generator=generator)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}


def _compare(file: Path, wrapped: _Exported) -> float:
    """The largest difference over several sizes, none of them the one that was exported."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for rows, tokens in ((1, 5), (3, 17), (2, 64)):
        batch = probe(wrapped.model.config, rows, tokens)
        got = session.run(None, {name: tensor.numpy() for name, tensor in batch.items()})
        with torch.no_grad():
            expected = wrapped(*batch.values())
        for ours, theirs in zip(expected, got, strict=True):
            worst = max(worst, float((ours - torch.from_numpy(theirs)).abs().max()))
    return worst
