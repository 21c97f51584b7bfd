"""How the variants of BERT carry the layers of tasks, under the names of transformers' classes.

Tags and answers are read off every token by one layer, as of BERT. What reads [CLS] goes through a
dense layer first: BERT has it from pretraining, its pooler; most variants begin with a new one,
under another name, with another function behind it.

Source: transformers, the classes ...ForSequenceClassification and ...ForMultipleChoice of each.
Left out: its dropout before the answers of DistilBERT, and rates of dropout for each layer.
"""

from typing import NamedTuple

from torch import Tensor, nn

from minibert.core.config import BertConfig
from minibert.core.model import BertPooler, initialize


class Way(NamedTuple):
    """From the hidden states to the scores.

    dense       the new dense layer on [CLS]; "" for the encoder's own pooler, or none
    activation  the function behind it
    last        the last layer
    twice       whether there is dropout before the dense layer, too
    """

    dense: str = ""
    activation: type[nn.Module] = nn.Tanh
    last: str = "classifier"
    twice: bool = False


class Family(NamedTuple):
    """transformers' word for the variant, and the ways to classes of texts and to choices."""

    word: str
    texts: Way = Way()
    choices: Way = Way()

    def name(self, architecture: str) -> str:
        """Its class that is as BERT's.

        >>> FAMILIES["distilbert"].name("BertForTokenClassification")
        'DistilBertForTokenClassification'
        """
        return self.word + architecture.removeprefix("Bert")

    def way(self, architecture: str, last: str) -> Way:
        """The way to the scores of BERT's class, which calls its own layer `last`."""
        ways = {
            "BertForSequenceClassification": self.texts,
            "BertForMultipleChoice": self.choices,
        }
        reads_cls = architecture in ways and last == Way().last
        return ways[architecture] if reads_cls else Way(last=last)


TANH = Way("classifier.dense", nn.Tanh, "classifier.out_proj", twice=True)
RELU = Way("pre_classifier", nn.ReLU)
GELU = Way("pooler.dense", nn.GELU)
SUMMARY = Way("sequence_summary.summary", nn.GELU, twice=True)
FAMILIES = {
    "bert": Family("Bert"),
    "distilbert": Family("DistilBert", RELU, RELU),
    "roberta": Family("Roberta", TANH),
    "xlm-roberta": Family("XLMRoberta", TANH),
    "camembert": Family("Camembert", TANH),
    "albert": Family("Albert"),
    "electra": Family("Electra", TANH._replace(activation=nn.GELU), SUMMARY),
    "deberta-v2": Family("DebertaV2", GELU, GELU),
}


def family_of(config: BertConfig) -> Family:
    """The family of a model.

    >>> family_of(BertConfig()).word
    'Bert'
    """
    return FAMILIES[getattr(config, "model_type", "bert")]


class TaskPooler(BertPooler):
    """The dense layer of a way, new: (B, T, H) -> (B, H)."""

    def __init__(self, config: BertConfig, way: Way):
        super().__init__(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob if way.twice else 0.0)
        self.activation = way.activation()  # type: ignore[assignment]
        initialize(self, config.initializer_range)

    def forward(self, hidden_states: Tensor) -> Tensor:
        first_token = self.dropout(hidden_states[:, 0])  # (B, H)
        return self.activation(self.dense(first_token))  # (B, H)
