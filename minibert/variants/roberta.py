"""RoBERTa: BERT trained longer and better; the model itself differs in where positions start.

It was trained on ten times the text, with larger batches, masks drawn anew at each pass, no
next-sentence task (so there is one segment), and byte-level pieces. The numbers of the model
differ in three places. Positions are counted from pad_token_id + 1 = 2, and padding has position
1, which is a leftover of the library it was written in: of the table's 514 rows a text may use 512.
Here `max_position_embeddings` is 512, what a text may use; in config.json it is 514. The head for
masked words has names of its own, and always the exact GELU.

XLM-RoBERTa (100 languages) and CamemBERT (French) are the same model with Unigram pieces.

Source: Liu et al. 2019; Conneau et al. 2019; transformers, `modeling_roberta.py`.
"""

import dataclasses
from typing import Any, ClassVar

from torch import Tensor, nn

from minibert.core.config import CHECKS, COUNT, BertConfig
from minibert.core.embeddings import BertEmbeddings
from minibert.core.encoder import activation_function
from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel, initialize
from minibert.variants.config import VariantConfig
from minibert.weights.names import NAME_TABLE, Architecture, classes_of


@dataclasses.dataclass(frozen=True)
class RobertaConfig(VariantConfig):
    """A BERT's fields, with RoBERTa's [PAD].

    >>> config = RobertaConfig.from_dict({"max_position_embeddings": 514})
    >>> config.max_position_embeddings, config.to_dict()["max_position_embeddings"]
    (512, 514)
    """

    vocab_size: int = 50265
    pad_token_id: int = 1

    model_type: ClassVar[str] = "roberta"
    checks = {**CHECKS, "pad_token_id": (lambda value: type(value) is int and value >= 0, "an id")}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> BertConfig:
        """Of the rows of the table those of padding, and before, do not count."""
        pad = values.get("pad_token_id", cls.pad_token_id)
        rows = values.get("max_position_embeddings", cls.max_position_embeddings)
        if type(pad) is int and COUNT[0](rows):
            values = {**values, "max_position_embeddings": rows - pad - 1}
        return super().from_dict(values)

    def to_dict(self) -> dict[str, Any]:
        """As `config.json` has them, with all rows of the table."""
        rows = self.max_position_embeddings + self.pad_token_id + 1
        return {**super().to_dict(), "max_position_embeddings": rows}


@dataclasses.dataclass(frozen=True)
class XLMRobertaConfig(RobertaConfig):
    """RoBERTa's fields under another `model_type`."""

    vocab_size: int = 30522
    model_type: ClassVar[str] = "xlm-roberta"


@dataclasses.dataclass(frozen=True)
class CamembertConfig(XLMRobertaConfig):
    """RoBERTa's fields under another `model_type`."""

    model_type: ClassVar[str] = "camembert"


class RobertaEmbeddings(BertEmbeddings):
    """Positions count the tokens that are not padding, from pad_token_id + 1."""

    def __init__(self, config: RobertaConfig):
        super().__init__(config)
        self.pad = config.pad_token_id
        rows = config.max_position_embeddings + self.pad + 1
        self.position = nn.Embedding(rows, config.hidden_size, padding_idx=self.pad)

    def forward(
        self,
        input_ids: Tensor,
        *,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        if position_ids is None:
            is_token = (input_ids != self.pad).long()  # (B, T)
            position_ids = is_token.cumsum(dim=1) * is_token + self.pad  # (B, T)
        return super().forward(
            input_ids, token_type_ids=token_type_ids, position_ids=position_ids
        )  # (B, T, H)


class RobertaModel(BertModel):
    """(B, T) -> (B, T, H); published files have a pooler, which nothing trained."""

    def __init__(self, config: RobertaConfig, add_pooling_layer: bool = True):
        super().__init__(config, add_pooling_layer)
        self.embeddings = RobertaEmbeddings(config)
        initialize(self, config.initializer_range)


class RobertaForMaskedLM(BertForPreTraining):
    """The model with the masked-word head, which may be missing."""

    def __init__(self, bert: BertModel, masked_word: bool = True, next_sentence: bool = False):
        super().__init__(bert, masked_word, next_sentence)
        if self.masked_word is not None:
            self.masked_word.activation = activation_function("gelu")


ROWS = """    masked_word.transform.*              lm_head.dense.*
    masked_word.norm.*                   lm_head.layer_norm.*
    masked_word.bias                     lm_head.bias
"""

ROBERTA = Architecture(
    RobertaConfig,
    RobertaModel,
    RobertaForMaskedLM,
    NAME_TABLE.partition("    masked_word")[0] + ROWS,
    tied={
        "lm_head.decoder.weight": "embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    },
    prefix="roberta",
    classes=classes_of("Roberta"),
)
XLM_ROBERTA = dataclasses.replace(
    ROBERTA, config_class=XLMRobertaConfig, classes=classes_of("XLMRoberta")
)
CAMEMBERT = dataclasses.replace(
    ROBERTA, config_class=CamembertConfig, classes=classes_of("Camembert")
)
