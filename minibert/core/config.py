"""The numbers that define a BERT, and the checks on them.

Field names are those of `config.json` on the Hugging Face hub; Google's `bert_config.json`
uses the same ones. The defaults are bert-base-uncased.

Letters used in every shape comment of this library:

    B  batch              A  attention heads (12)         I  intermediate size (3072)
    T  tokens             D  size of one head (64)        L  blocks (12)
    H  hidden size (768)  H = A x D                       V  vocabulary (30522)

Source: Devlin et al. 2018, section 3 "Model Architecture"; google-research/bert `modeling.py`,
class BertConfig.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

ACTIVATIONS = ("gelu", "gelu_new")

# Switches of other models that a config.json may carry: only these values are BERT.
FIXED_FIELDS = {
    "model_type": "bert",
    "is_decoder": False,
    "add_cross_attention": False,
    "position_embedding_type": "absolute",
    "tie_word_embeddings": True,
}


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """Sizes and switches of one BERT.

    Raises ValueError or TypeError if a value cannot be a BERT.

    >>> config = BertConfig(hidden_size=20, num_attention_heads=4, intermediate_size=44)
    >>> config.head_size
    5
    >>> BertConfig(hidden_size=20, num_attention_heads=3)
    Traceback (most recent call last):
    ...
    ValueError: hidden_size must be a multiple of num_attention_heads, got 20 and 3: ...
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"  # "gelu" is exact (erf); "gelu_new" is the tanh approximation
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12  # TensorFlow's default of 2018; PyTorch's would be 1e-5
    pad_token_id: int | None = 0

    @property
    def head_size(self) -> int:
        """D, the width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            self._check_field(field.name, getattr(self, field.name))
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size must be a multiple of num_attention_heads, got {self.hidden_size} "
                f"and {self.num_attention_heads}: every head takes an equal share"
            )
        if self.pad_token_id is not None and self.pad_token_id >= self.vocab_size:
            raise ValueError(
                f"pad_token_id must be below vocab_size {self.vocab_size}, got {self.pad_token_id}"
            )

    @staticmethod
    def _check_field(name: str, value: Any) -> None:
        if name == "hidden_act":
            if value not in ACTIVATIONS:
                raise ValueError(f"hidden_act must be one of {ACTIVATIONS}, got {value!r}")
        elif name == "pad_token_id":
            if value is not None and (type(value) is not int or value < 0):
                raise ValueError(f"pad_token_id must be an id or None, got {value!r}")
        elif name.endswith("_prob"):
            if type(value) not in (int, float) or not 0 <= value < 1:
                raise ValueError(f"{name} must be a probability in [0, 1), got {value!r}")
        elif name in ("initializer_range", "layer_norm_eps"):
            if type(value) not in (int, float) or not 0 < value < 1:
                raise ValueError(f"{name} must be a small positive number, got {value!r}")
        elif type(value) is not int or not 0 < value < 2**31:
            raise ValueError(f"{name} must be a positive whole number, got {value!r}")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "BertConfig":
        """Build from the contents of a `config.json`; keys that do not change the numbers
        (`transformers_version`, `pooler_type`, ...) are left out.

        >>> BertConfig.from_dict({"hidden_size": 128, "num_attention_heads": 2}).head_size
        64
        """
        for name, only in FIXED_FIELDS.items():
            if values.get(name, only) != only:
                raise ValueError(
                    f"not a BERT encoder: {name} must be {only!r}, got {values[name]!r}; "
                    f"minibert computes BERT as published and nothing else"
                )
        ours = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in ours})

    @classmethod
    def from_json_file(cls, path: str | Path) -> "BertConfig":
        """Read `config.json` (Hugging Face) or `bert_config.json` (Google)."""
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"{path} is not a JSON file: {error}") from None
        if not isinstance(values, dict) or "hidden_size" not in values:
            raise ValueError(f"{path} is not a BERT config: expected an object with 'hidden_size'")
        return cls.from_dict(values)

    def to_dict(self) -> dict[str, Any]:
        """The fields as a dict, with `model_type`, as `config.json` wants them."""
        return {"model_type": "bert", **dataclasses.asdict(self)}
