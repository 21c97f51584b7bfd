"""The layers of tasks on variants of BERT, as transformers' classes write them. They are read, and
answer; training and saving are for BERT itself.

Tags and answers are read off every token by one layer, as of BERT. What reads [CLS] goes through a
dense layer first: BERT's pooler by another name, and with another function behind it.

Source: transformers, the classes ...ForSequenceClassification and ...ForMultipleChoice of each.
"""

import copy
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from minibert.core.model import BertModel, BertPooler
from minibert.system.files import read_json
from minibert.tasks.choices import BertChooser
from minibert.tasks.classification import BertClassifier
from minibert.tasks.questions import BertReader
from minibert.tasks.task import TaskModel
from minibert.tasks.tokens import BertTagger
from minibert.weights.files import find_config, find_weights, read_tensors


class Way(NamedTuple):
    """From [CLS] to the scores: a dense layer, "" for the encoder's own pooler; the function behind
    it; and the last layer."""

    dense: str
    activation: type[nn.Module]
    last: str = "classifier"


OWN_POOLER = Way("", nn.Tanh)
BEFORE_LAST = Way("classifier.dense", nn.Tanh, "classifier.out_proj")
DISTILBERT = Way("pre_classifier", nn.ReLU)
DEBERTA = Way("pooler.dense", nn.GELU)
# transformers' word for it; the way for classes of texts; the way for choices
FAMILIES = {
    "distilbert": ("DistilBert", DISTILBERT, DISTILBERT),
    "roberta": ("Roberta", BEFORE_LAST, OWN_POOLER),
    "xlm-roberta": ("XLMRoberta", BEFORE_LAST, OWN_POOLER),
    "camembert": ("Camembert", BEFORE_LAST, OWN_POOLER),
    "albert": ("Albert", OWN_POOLER, OWN_POOLER),
    "electra": (
        "Electra",
        BEFORE_LAST._replace(activation=nn.GELU),
        Way("sequence_summary.summary", nn.GELU),
    ),
    "deberta-v2": ("DebertaV2", DEBERTA, DEBERTA),
}
KINDS: tuple[type[TaskModel], ...] = (BertClassifier, BertTagger, BertReader, BertChooser)


def task_of_variant(path: Path, bert: BertModel) -> TaskModel | None:
    """The encoder, shared, under the layer that the files beside it hold; None if they hold none.

    Raises ValueError if layer and config.json do not fit.
    """
    folder, files = find_weights(path)
    config = read_json(find_config(folder))
    model_type = config["model_type"]
    if model_type not in FAMILIES:
        raise ValueError(
            f"minibert reads none of the kind {model_type}: {folder} answers as an encoder"
        )
    word, texts, choices = FAMILIES[model_type]
    names = {f"{word}{kind.architecture.removeprefix('Bert')}": kind for kind in KINDS}
    name = (config.get("architectures") or [None])[0]
    if name not in names:
        return None
    kind = names[name]
    way = {BertClassifier: texts, BertChooser: choices}.get(kind, Way("", nn.Tanh, kind.layer))
    tensors = {key: tensor for file in files for key, tensor in read_tensors(file).items()}
    dense = _linear(tensors, way.dense) if way.dense else None
    last = _linear(tensors, way.last)
    if last is None or (way.dense and dense is None):
        raise ValueError(f"{folder} is to be a {name}, and lacks {way.dense or way.last}")
    encoder = copy.copy(bert)
    encoder._modules = dict(bert._modules)
    if dense is not None:
        pooler = BertPooler(bert.config)
        pooler.dense = dense
        pooler.activation = way.activation()  # type: ignore[assignment]
        encoder.pooler = pooler
    model = kind.from_settings(encoder, config, last.out_features)
    if (model.classifier.in_features, model.classifier.out_features) != (
        last.in_features,
        last.out_features,
    ):
        raise ValueError(f"the {way.last} of {folder} does not fit its config.json")
    model.classifier = last
    return model.to(bert.embeddings.token.weight).eval()


def _linear(tensors: dict[str, Tensor], name: str) -> nn.Linear | None:
    weight, bias = tensors.get(f"{name}.weight"), tensors.get(f"{name}.bias")
    if weight is None or bias is None or weight.dim() != 2 or len(bias) != len(weight):
        return None
    layer: Any = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer
