"""ELECTRA: not "which word stood here?" at a few places, but "is this word the one?" at all.

A small generator, a BERT with a masked-word head, fills the blanks with plausible words. The
discriminator, the model that is kept, says of every token whether it was replaced: a loss at
each token and not at each seventh, so less text teaches as much. Both are BERTs without pooler. The
token table may be narrower than the hidden states (as in ALBERT); where it is not, there is no
matrix between. A file holds a generator or a discriminator, and the one has no use of the other.

Source: Clark et al. 2020; google-research/electra; transformers, `modeling_electra.py`.
"""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from minibert.core.checks import check_labels
from minibert.core.config import CHECKS, COUNT, BertConfig
from minibert.core.encoder import activation_function
from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel, by_name_or_number, initialize
from minibert.variants.albert import FactorisedEmbeddings, FactorisedMaskedWordHead
from minibert.variants.config import VariantConfig
from minibert.weights.names import NAME_TABLE, Architecture, classes_of


@dataclasses.dataclass(frozen=True)
class ElectraConfig(VariantConfig):
    """A BERT's fields, and E, the width of the token table. The defaults are ELECTRA-small.

    >>> ElectraConfig().embedding_size, ElectraConfig().hidden_size
    (128, 256)
    """

    embedding_size: int = 128
    hidden_size: int = 256
    num_attention_heads: int = 4
    intermediate_size: int = 1024

    model_type: ClassVar[str] = "electra"
    checks = {**CHECKS, "embedding_size": COUNT}


class ReplacedTokenOutput(NamedTuple):
    """loss (), and logits (B, T): above 0 where a token seems to have been replaced."""

    loss: Tensor | None
    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None

    def __getitem__(self, key: Any) -> Any:  # type: ignore[override]
        return by_name_or_number(self, key)


class ReplacedTokenHead(nn.Module):
    """Hidden states (B, T, H) -> one score a token (B, T)."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.transform = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = activation_function(config.hidden_act)
        self.logits = nn.Linear(config.hidden_size, 1)
        initialize(self, config.initializer_range)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.logits(self.activation(self.transform(hidden_states))).squeeze(-1)  # (B, T)


def replaced_token_loss(logits: Tensor, labels: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Mean binary cross-entropy in nats over the tokens that are not padding; `labels` (B, T) are
    1 where a token was replaced.

    >>> import torch
    >>> replaced_token_loss(torch.zeros(1, 2), torch.tensor([[1, 0]]), None)  # log 2
    tensor(0.6931)
    """
    check_labels("labels", labels, logits[..., None].expand(*logits.shape, 2))
    if attention_mask is not None:
        logits, labels = logits[attention_mask == 1], labels[attention_mask == 1]
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))


class ElectraModel(BertModel):
    """(B, T) -> (B, T, H); there is no pooler."""

    def __init__(self, config: ElectraConfig, add_pooling_layer: bool = False):
        super().__init__(config, add_pooling_layer)
        if config.embedding_size != config.hidden_size:
            self.embeddings = FactorisedEmbeddings(config)
            initialize(self, config.initializer_range)


class ElectraForPreTraining(BertForPreTraining):
    """A discriminator, or with the masked-word head a generator.

    `labels` (B, T) are the words of a generator, and for a discriminator 1 where a token was
    replaced, else 0; its output is a `ReplacedTokenOutput`.
    """

    def __init__(
        self,
        bert: BertModel,
        masked_word: bool = False,
        next_sentence: bool = False,
        replaced_token: bool = True,
    ):
        super().__init__(bert, masked_word, next_sentence)
        if masked_word:
            self.masked_word = FactorisedMaskedWordHead(bert.config)
            self.masked_word.activation = activation_function("gelu")
        self.replaced_token = ReplacedTokenHead(bert.config) if replaced_token else None

    def forward(
        self,
        input_ids: Tensor,
        *,
        labels: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **others: Any,
    ) -> Any:
        if self.replaced_token is None:
            return super().forward(
                input_ids, labels=labels, attention_mask=attention_mask, **others
            )
        output = self.bert(input_ids, attention_mask=attention_mask, **others)
        logits = self.replaced_token(output.last_hidden_state)  # (B, T)
        loss = None if labels is None else replaced_token_loss(logits, labels, attention_mask)
        return ReplacedTokenOutput(loss, logits, output.hidden_states, output.attentions)


ROWS = """    embeddings.project.*                 embeddings_project.*
    masked_word.transform.*              generator_predictions.dense.*
    masked_word.norm.*                   generator_predictions.LayerNorm.*
    masked_word.bias                     generator_lm_head.bias
    replaced_token.transform.*           discriminator_predictions.dense.*
    replaced_token.logits.*              discriminator_predictions.dense_prediction.*
"""

ELECTRA = Architecture(
    ElectraConfig,
    ElectraModel,
    ElectraForPreTraining,
    NAME_TABLE.partition("    pooler")[0] + ROWS,
    tied={"generator_lm_head.weight": "embeddings.word_embeddings.weight"},
    prefix="electra",
    classes={**classes_of("Electra"), ("replaced_token",): "ElectraForPreTraining"},
)
