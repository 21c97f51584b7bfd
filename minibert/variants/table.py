"""Which model a folder holds: `model_type` in its config.json -> the variant."""

import json
from pathlib import Path
from typing import Any

from minibert.core.config import BertConfig
from minibert.variants.albert import ALBERT
from minibert.variants.deberta import DEBERTA
from minibert.variants.distilbert import DISTILBERT
from minibert.variants.electra import ELECTRA
from minibert.variants.roberta import CAMEMBERT, ROBERTA, XLM_ROBERTA
from minibert.weights.files import find_config
from minibert.weights.names import BERT, Architecture

TABLE = {
    "bert": BERT,
    "distilbert": DISTILBERT,
    "roberta": ROBERTA,
    "xlm-roberta": XLM_ROBERTA,
    "camembert": CAMEMBERT,
    "albert": ALBERT,
    "electra": ELECTRA,
    "deberta-v2": DEBERTA,  # version 3 too
}


def architecture_in(folder: Path) -> Architecture:
    """What the config.json of a folder describes; where it does not say, a BERT.

    Raises ValueError for a model that minibert does not compute.
    """
    try:
        config = find_config(folder)
        values: Any = json.loads(config.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, ValueError, RecursionError):
        return BERT  # whose loader says what is wrong with the files
    name = values.get("model_type", "bert") if isinstance(values, dict) else "bert"
    if not isinstance(name, str) or name not in TABLE:
        raise ValueError(
            f"{config} describes another model: model_type is {name!r}, expected one of "
            f"{', '.join(TABLE)}. minibert computes BERT and these of its variants"
        )
    return TABLE[name]


def architecture_of(config: BertConfig) -> Architecture:
    """The variant that a config belongs to.

    >>> architecture_of(BertConfig()) is BERT
    True
    """
    return next(kind for kind in TABLE.values() if kind.config_class is type(config))
