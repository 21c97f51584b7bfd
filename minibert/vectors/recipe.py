"""How a model's sentence vectors are meant to be made: sentence-transformers' small files.

A folder of sentence-transformers says in `modules.json` what its vectors were trained for: which
pooling, of unit length or not, how many tokens. That is the default for that model. A folder
without these files gets the plain mean.

Source: the files that https://github.com/huggingface/sentence-transformers writes.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from minibert.system.files import read_json
from minibert.vectors.pooling import pools_of

MODULES = "sentence_transformers.models"

# Their name -> ours, in the order in which they put several side by side.
MODES = {
    "cls_token": "cls",
    "cls": "cls",
    "max_tokens": "max",
    "max": "max",
    "mean_tokens": "mean",
    "mean": "mean",
    "lasttoken": "last",
}
WRITTEN = {"cls": "cls_token", "max": "max_tokens", "mean": "mean_tokens", "last": "lasttoken"}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model's sentence vectors are made.

    pooling     a name of `minibert.vectors.pooling`; several joined by "+" stand side by side
    normalize   vectors of length 1
    max_length  tokens that are read of a text, [CLS] and [SEP] included
    lower       the text is put in lower case before the tokenizer sees it
    prompt      words put before every text
    """

    pooling: str = "mean"
    normalize: bool = False
    max_length: int | None = None
    lower: bool = False
    prompt: str = ""

    @classmethod
    def from_folder(cls, folder: Path) -> "Recipe":
        """Read sentence-transformers' files; the plain recipe where there are none.

        Raises ValueError for modules that minibert does not compute.
        """
        if not (folder / "modules.json").is_file():
            return cls()
        pooling, normalize = "mean", False
        for module in read_json(folder / "modules.json", kind=list):
            kind = str(module.get("type")).rsplit(".", 1)[-1]
            if kind == "Pooling":
                path = folder / str(module.get("path", "1_Pooling")) / "config.json"
                pooling = _pooling(read_json(path))
            elif kind == "Normalize":
                normalize = True
            elif kind != "Transformer":
                raise ValueError(
                    f"{folder}/modules.json asks for {kind}, which minibert does not compute: "
                    f"its vectors would not be those of this model"
                )
        settings = _settings(folder / "sentence_bert_config.json")
        whole = _settings(folder / "config_sentence_transformers.json")
        name = whole.get("default_prompt_name")
        prompt = "" if name is None else whole.get("prompts", {}).get(name, "")
        lower = bool(settings.get("do_lower_case", False))
        return cls(pooling, normalize, settings.get("max_seq_length"), lower, prompt)

    def save(self, folder: Path, hidden_size: int) -> None:
        """Write sentence-transformers' files for this recipe into `folder`."""
        kinds = ["Transformer", "Pooling"]
        if self.normalize:
            kinds.append("Normalize")
        paths = ["", "1_Pooling", "2_Normalize"]
        modules = [
            {"idx": i, "name": str(i), "path": paths[i], "type": f"{MODULES}.{kind}"}
            for i, kind in enumerate(kinds)
        ]
        chosen = pools_of(self.pooling)
        modes: dict[str, Any] = {
            f"pooling_mode_{theirs}": ours in chosen for ours, theirs in WRITTEN.items()
        }
        if list(chosen) != [ours for ours in WRITTEN if ours in chosen]:
            # Older versions join pools in a fixed order. Any other order needs the `pooling_mode`
            # list of version 5.4.
            modes = {"pooling_mode": ["lasttoken" if ours == "last" else ours for ours in chosen]}
        _write_json(folder / "modules.json", modules)
        (folder / "1_Pooling").mkdir()
        pooling = {"word_embedding_dimension": hidden_size, **modes}
        _write_json(folder / "1_Pooling" / "config.json", pooling)
        if self.max_length is not None or self.lower:
            settings = {"max_seq_length": self.max_length, "do_lower_case": self.lower}
            _write_json(folder / "sentence_bert_config.json", settings)
        if self.prompt:
            prompts = {"prompts": {"text": self.prompt}, "default_prompt_name": "text"}
            _write_json(folder / "config_sentence_transformers.json", prompts)


def _pooling(config: dict[str, Any]) -> str:
    """Their pooling settings -> our name for them."""
    if config.get("include_prompt", True) is False:
        raise ValueError("this model leaves its prompt out of the mean: not supported")
    if "pooling_mode" in config:  # sentence-transformers 5.4 and later
        modes = config["pooling_mode"]
        names = [modes] if isinstance(modes, str) else list(modes)
    else:
        keys = [key for key, value in config.items() if value and key.startswith("pooling_mode_")]
        names = [key.removeprefix("pooling_mode_") for key in keys]
    unknown = [name for name in names if name not in MODES]
    if unknown or not names:
        raise ValueError(f"this folder pools by {unknown or names}, expected some of {list(MODES)}")
    in_order = sorted(names, key=list(MODES).index) if "pooling_mode" not in config else names
    return "+".join(MODES[name] for name in in_order)


def _settings(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
