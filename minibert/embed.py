"""Text -> vectors: which layer, which pooling.

BERT gives a vector per token; a vector for a whole text is a choice made afterwards. The mean
over the tokens (padding left out) of one of the last layers is the usual one. The pooler's
output is not: it was trained to tell whether two sentences belong together.

A folder of sentence-transformers says in `modules.json` what its vectors were trained for; such
a recipe is the default for that model.

Source: Devlin et al. 2018, section 5.3 (layers as features); Reimers & Gurevych 2019 (pooling).
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from minibert.batch import Tokenizer
from minibert.model import BertModel


def mean_pool(states: Tensor, attention_mask: Tensor) -> Tensor:
    """(B, T, H), (B, T) -> (B, H): the mean over the real tokens, [CLS] and [SEP] included.

    >>> states = torch.tensor([[[1.0], [3.0], [99.0]]])
    >>> mean_pool(states, torch.tensor([[1, 1, 0]]))
    tensor([[2.]])
    """
    weight = attention_mask[:, :, None].to(states.dtype)  # (B, T, 1)
    return (states * weight).sum(dim=1) / weight.sum(dim=1)  # (B, H)


def max_pool(states: Tensor, attention_mask: Tensor) -> Tensor:
    """(B, T, H), (B, T) -> (B, H): the largest value of each column over the real tokens."""
    hidden = attention_mask[:, :, None] == 0  # (B, T, 1)
    return states.masked_fill(hidden, -torch.inf).amax(dim=1)  # (B, H)


def cls_pool(states: Tensor, attention_mask: Tensor) -> Tensor:
    """(B, T, H), (B, T) -> (B, H): the vector of [CLS]."""
    return states[:, 0]  # (B, H)


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": mean_pool,
    "max": max_pool,
    "cls": cls_pool,
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model's sentence vectors are made, from `modules.json` where there is one."""

    pooling: str = "mean"
    normalize: bool = False
    max_length: int | None = None

    @classmethod
    def from_folder(cls, folder: Path) -> "Recipe":
        """Read sentence-transformers' files; the plain recipe where there are none.

        Raises ValueError for modules that minibert does not compute.
        """
        if not (folder / "modules.json").is_file():
            return cls()
        pooling, normalize = "mean", False
        for module in _read_json(folder / "modules.json"):
            kind = str(module.get("type")).rsplit(".", 1)[-1]
            if kind == "Pooling":
                pooling = _pooling_name(_read_json(folder / "1_Pooling" / "config.json"))
            elif kind == "Normalize":
                normalize = True
            elif kind != "Transformer":
                raise ValueError(f"{folder}/modules.json asks for {kind}, which is not supported")
        settings = folder / "sentence_bert_config.json"
        limit = _read_json(settings).get("max_seq_length") if settings.is_file() else None
        return cls(pooling, normalize, limit)

    def save(self, folder: Path, hidden_size: int) -> None:
        """Write sentence-transformers' files for this recipe into `folder`."""
        kinds = ["Transformer", "Pooling"] + ["Normalize"] * self.normalize
        paths = ["", "1_Pooling", "2_Normalize"]
        modules = [
            {"idx": i, "name": str(i), "path": paths[i], "type": f"{_MODULES}.{kind}"}
            for i, kind in enumerate(kinds)
        ]
        modes = {f"pooling_mode_{key}": name == self.pooling for key, name in _MODES.items()}
        _write_json(folder / "modules.json", modules)
        (folder / "1_Pooling").mkdir()
        pooling = {"word_embedding_dimension": hidden_size, **modes}
        _write_json(folder / "1_Pooling" / "config.json", pooling)
        if self.max_length is not None:
            settings = {"max_seq_length": self.max_length, "do_lower_case": False}
            _write_json(folder / "sentence_bert_config.json", settings)


_MODULES = "sentence_transformers.models"
_MODES = {"mean_tokens": "mean", "max_tokens": "max", "cls_token": "cls"}


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from None


def _pooling_name(config: dict[str, Any]) -> str:
    if "pooling_mode" in config:  # sentence-transformers 5.4 and later
        name = config["pooling_mode"]
        chosen = [name] if isinstance(name, str) else list(name)
    else:
        chosen = [
            _MODES.get(key.removeprefix("pooling_mode_"), key)
            for key, value in config.items()
            if key.startswith("pooling_mode_") and value
        ]
    if len(chosen) != 1 or chosen[0] not in POOLINGS:
        raise ValueError(f"this folder pools by {chosen}; expected one of {list(POOLINGS)}")
    return chosen[0]


def embed(
    model: BertModel,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    recipe: Recipe,
    layer: int = -1,
    batch_size: int = 32,
    progress: bool = False,
) -> np.ndarray:
    """One vector per text: (N, H) float32, in the order of `texts`.

    `layer` counts the hidden states: 0 is the embeddings, L or -1 the last block. Texts longer
    than the model's limit are cut. Texts of like length share a batch, so that little is padded.
    """
    states = model.config.num_hidden_layers + 1
    if not -states <= layer < states:
        raise ValueError(f"layer must lie in {-states}..{states - 1}, got {layer}")
    if recipe.pooling not in POOLINGS:
        raise ValueError(f"pooling must be one of {list(POOLINGS)}, got {recipe.pooling!r}")
    if isinstance(texts, str):
        raise TypeError("expected a list of texts, got one string: use embed([text])")
    limit = min(recipe.max_length or 10**9, model.config.max_position_embeddings)
    vectors = np.empty((len(texts), model.config.hidden_size), dtype=np.float32)
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    bar = tqdm(total=len(texts), unit="text", disable=not progress)
    with torch.inference_mode(), bar:
        for start in range(0, len(texts), batch_size):
            rows = order[start : start + batch_size]
            batch = tokenizer([texts[i] for i in rows], truncation=True, max_length=limit)
            chosen = model(**batch, output_hidden_states=True).hidden_states[layer]  # (B, T, H)
            pooled = POOLINGS[recipe.pooling](chosen, batch["attention_mask"])  # (B, H)
            if recipe.normalize:
                pooled = torch.nn.functional.normalize(pooled, dim=-1)  # (B, H)
            vectors[rows] = pooled.float().numpy()
            bar.update(len(rows))
    return vectors
