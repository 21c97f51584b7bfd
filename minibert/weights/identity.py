"""Which model is this? A short name for a model with its tokenizer, to go on with the same one.

Whoever resumes work compares it: anything that changes a number changes the name.
"""

import hashlib
import json
from typing import Any

import torch

from minibert.tokenizer.pipeline import Pipeline
from minibert.tokenizer.tokenizer import Tokenizer


def identity(model: torch.nn.Module | None = None, tokenizer: Tokenizer | None = None) -> str:
    """A digest of every number of the weights, the config, the modules' classes, the vocabulary
    and the tokenizer's settings.

    >>> tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "river"])
    >>> cased = Tokenizer(tokenizer.vocab, do_lower_case=False)
    >>> identity(tokenizer=cased) == identity(tokenizer=tokenizer)
    False
    """
    digest = hashlib.blake2b(digest_size=16)
    about: dict[str, Any] = {}
    if model is not None:
        about["config"] = model.config.to_dict()  # type: ignore[operator, union-attr]
        about["modules"] = [(name, type(part).__name__) for name, part in model.named_modules()]
        tensors = {name: tensor.detach() for name, tensor in model.state_dict().items()}
        about["tensors"] = [(name, str(t.dtype), t.shape) for name, t in tensors.items()]
        for tensor in tensors.values():
            digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
    if tokenizer is not None:
        about["vocab"] = sorted(tokenizer.vocab.items())
        about["tokenizer"] = [type(tokenizer.engine).__name__, tokenizer.settings]
        if isinstance(tokenizer.engine, Pipeline):
            about["parts"] = tokenizer.engine.to_json()  # its merges or scores, and normalizers
        about["special tokens"] = tokenizer.special_tokens
        about["added tokens"] = [token._asdict() for token in tokenizer.added.values()]
        about["template"] = tokenizer.template._asdict()
    digest.update(json.dumps(about, sort_keys=True).encode())
    return digest.hexdigest()
