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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

ACTIVATIONS = ("gelu", "gelu_new")
OF_TANH = ("gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate")
SAME_GELU = {"gelu_python": "gelu", **dict.fromkeys(OF_TANH, "gelu_new")}  # in other libraries

# Switches of other models that a config.json may carry: only these values are BERT.
FIXED_FIELDS = {
    "model_type": "bert",
    "is_decoder": False,
    "add_cross_attention": False,
    "position_embedding_type": "absolute",
    "tie_word_embeddings": True,
}

Check = tuple[Callable[[Any], bool], str]  # whether a value is right, and what it must be
COUNT: Check = (lambda value: type(value) is int and 0 < value < 2**31, "a positive whole number")
PROBABILITY: Check = (
    lambda value: type(value) in (int, float) and 0 <= value < 1,
    "a probability in [0, 1)",
)
SMALL: Check = (
    lambda value: type(value) in (int, float) and 0 < value < 1,
    "a small positive number",
)
CHECKS: dict[str, Check] = {
    "vocab_size": COUNT,
    "hidden_size": COUNT,
    "num_hidden_layers": COUNT,
    "num_attention_heads": COUNT,
    "intermediate_size": COUNT,
    "hidden_act": (lambda value: value in ACTIVATIONS, f"one of {ACTIVATIONS}"),
    "hidden_dropout_prob": PROBABILITY,
    "attention_probs_dropout_prob": PROBABILITY,
    "max_position_embeddings": COUNT,
    "type_vocab_size": COUNT,
    "initializer_range": SMALL,
    "layer_norm_eps": SMALL,
    "pad_token_id": (
        lambda value: value is None or (type(value) is int and value >= 0),
        "an id or None",
    ),
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

    checks: ClassVar[Mapping[str, Check]] = CHECKS

    @property
    def head_size(self) -> int:
        """D, the width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    def __post_init__(self) -> None:
        act = self.hidden_act
        object.__setattr__(self, "hidden_act", SAME_GELU.get(str(act), act))
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            is_right, sentence = self.checks[field.name]
            if not is_right(value):
                raise ValueError(f"{field.name} must be {sentence}, got {value!r}")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size must be a multiple of num_attention_heads, got {self.hidden_size} "
                f"and {self.num_attention_heads}: every head takes an equal share"
            )
        if self.pad_token_id is not None and self.pad_token_id >= self.vocab_size:
            raise ValueError(
                f"pad_token_id must be below vocab_size {self.vocab_size}, got {self.pad_token_id}"
            )

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
            values = json.loads(Path(path).read_text(encoding="utf-8-sig"))
            if not isinstance(values, dict) or "hidden_size" not in values:
                raise ValueError("expected an object with 'hidden_size'")
            return cls.from_dict(values)
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{path} is not a BERT config: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """The fields as a dict, with `model_type`, as `config.json` wants them."""
        return {"model_type": "bert", **dataclasses.asdict(self)}
