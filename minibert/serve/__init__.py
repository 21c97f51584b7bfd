"""BERT behind an interface: a server over HTTP, and a client for it. Read `settings.py`, what can
be set; `batcher.py`, how requests share the model; `fields.py`, what a request may say;
`service.py`, what is answered, and `state.py`, how the server is; `app.py`, which path gives it;
`guard.py`, who is let in; `metrics.py`, what is counted; `run.py`, from start to end; `client.py`,
bert-as-service's client; `embedder.py`, for the workers of Ray Data, Spark and Dask.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors
    from minibert.serve.client import BertClient as BertClient


def __getattr__(name: str) -> Any:
    """The client on first use: the command line reads the settings alone."""
    if name != "BertClient":
        raise AttributeError(f"module 'minibert.serve' has no attribute {name!r}")
    return import_module("minibert.serve.client").BertClient
