"""minibert: BERT from scratch in clean PyTorch, to read, to trust and to use.

>>> import minibert
>>> minibert.BertConfig().hidden_size
768

Names are looked up on first use, so that `import minibert` costs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors
    from minibert.bert import Bert as Bert
    from minibert.bert import load as load
    from minibert.core.config import BertConfig as BertConfig
    from minibert.core.heads import BertForPreTraining as BertForPreTraining
    from minibert.core.heads import PreTrainingOutput as PreTrainingOutput
    from minibert.core.model import BertModel as BertModel
    from minibert.core.model import BertOutput as BertOutput
    from minibert.tokenizer.batch import Batch as Batch
    from minibert.tokenizer.tokenizer import Tokenizer as Tokenizer
    from minibert.trace import Trace as Trace
    from minibert.trace import compare as compare
    from minibert.weights.loading import LoadReport as LoadReport

__version__ = "0.1.0"

_HOME = {
    "BertConfig": "core.config",
    "Tokenizer": "tokenizer.tokenizer",
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
