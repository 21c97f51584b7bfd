"""minibert: BERT from scratch in clean PyTorch, to read, to trust and to use.

>>> import minibert
>>> minibert.BertConfig().hidden_size
768

Names are looked up on first use, so that `import minibert` costs no torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "BertConfig": "core.config",
    "Tokenizer": "tokenizer.batch",
    "Batch": "tokenizer.batch",
    "BertModel": "core.model",
    "BertOutput": "core.model",
    "BertForPreTraining": "core.heads",
    "PreTrainingOutput": "core.heads",
    "LoadReport": "weights.loading",
    "Trace": "trace",
    "compare": "trace",
    "Bert": "bert",
    "load": "bert",
}

__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'minibert' has no attribute {name!r}; it has {__all__}")
    return getattr(import_module(f"minibert.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
