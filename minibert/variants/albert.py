"""ALBERT: one block, applied L times, and a token table of which the width is its own.

All blocks share one set of weights, so that depth costs no parameters. The table is V x E with
E = 128, and one matrix E x H makes hidden states of its vectors: what a word means by itself needs
fewer numbers than what it means in a text. Beside the masked words it was trained on the order of
two neighbouring sentences (0 as they stood, 1 swapped) in place of the next sentence. Its GELU is
the tanh one ("gelu_new"), and the published files drop nothing; who sets hidden_dropout_prob gets
BERT's two places, of which transformers has the first alone.

Source: Lan et al. 2019; google-research/albert; transformers, `modeling_albert.py`. Left out:
several groups of blocks, which no published model has.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from minibert.core.config import CHECKS, COUNT, PROBABILITY
from minibert.core.embeddings import BertEmbeddings
from minibert.core.encoder import BertBlock
from minibert.core.heads import (
    BertForPreTraining,
    MaskedWordHead,
    NextSentenceHead,
    PreTrainingOutput,
)
from minibert.core.model import BertModel, initialize
from minibert.variants.config import VariantConfig
from minibert.weights.names import NAME_TABLE, Architecture, classes_of


@dataclasses.dataclass(frozen=True)
class AlbertConfig(VariantConfig):
    """A BERT's fields, and E, the width of the token table. The defaults are ALBERT-xxlarge.

    >>> AlbertConfig(hidden_size=768, num_attention_heads=12).embedding_size
    128
    """

    vocab_size: int = 30000
    embedding_size: int = 128
    hidden_size: int = 4096
    num_attention_heads: int = 64
    intermediate_size: int = 16384
    hidden_act: str = "gelu_new"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    classifier_dropout_prob: float = 0.1

    model_type: ClassVar[str] = "albert"
    fixed: ClassVar[Mapping[str, Any]] = {"num_hidden_groups": 1, "inner_group_num": 1}
    checks = {**CHECKS, "embedding_size": COUNT, "classifier_dropout_prob": PROBABILITY}


class FactorisedEmbeddings(BertEmbeddings):
    """BERT's embeddings of width E, then a matrix E x H; ELECTRA has them too."""

    def __init__(self, config: Any):
        narrow = {"hidden_size": config.embedding_size, "num_attention_heads": 1}
        super().__init__(dataclasses.replace(config, **narrow))
        self.project = nn.Linear(config.embedding_size, config.hidden_size)

    def forward(self, input_ids: Tensor, **others: Any) -> Tensor:
        return self.project(super().forward(input_ids, **others))  # (B, T, H)


class FactorisedMaskedWordHead(MaskedWordHead):
    """The head of a table of width E: its transform leads from H to E."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.transform = nn.Linear(config.hidden_size, config.embedding_size)
        self.norm = nn.LayerNorm(config.embedding_size, eps=config.layer_norm_eps)
        initialize(self, config.initializer_range)


class SentenceOrderHead(NextSentenceHead):
    """As the next-sentence head, with dropout before it: [:, 0] as they stood, [:, 1] swapped."""

    def __init__(self, config: AlbertConfig):
        super().__init__(config)
        self.dropout = nn.Dropout(config.classifier_dropout_prob)
        initialize(self, config.initializer_range)

    def forward(self, pooler_output: Tensor) -> Tensor:
        return super().forward(self.dropout(pooler_output))  # (B, 2)


class AlbertModel(BertModel):
    """(B, T) -> (B, T, H). Its L blocks are one module that stands in L places."""

    def __init__(self, config: AlbertConfig, add_pooling_layer: bool = True):
        super().__init__(dataclasses.replace(config, num_hidden_layers=1), add_pooling_layer)
        self.config = config
        self.embeddings = FactorisedEmbeddings(config)
        self.encoder.blocks = nn.ModuleList([BertBlock(config)] * config.num_hidden_layers)
        initialize(self, config.initializer_range)


class AlbertForPreTraining(BertForPreTraining):
    """The model with its two heads; `seq_relationship_logits` are about the order."""

    def __init__(self, bert: BertModel, masked_word: bool = True, next_sentence: bool = True):
        super().__init__(bert, masked_word, next_sentence)
        if masked_word:
            self.masked_word = FactorisedMaskedWordHead(bert.config)
        if next_sentence:
            assert isinstance(bert.config, AlbertConfig)
            self.next_sentence = SentenceOrderHead(bert.config)

    def forward(  # type: ignore[override]
        self, input_ids: Tensor, *, sentence_order_label: Tensor | None = None, **others: Any
    ) -> PreTrainingOutput:
        return super().forward(input_ids, next_sentence_label=sentence_order_label, **others)


ROWS = """    embeddings.project.*                 encoder.embedding_hidden_mapping_in.*
    encoder.blocks.0.attention.query.*   encoder.BLOCK.attention.query.*
    encoder.blocks.0.attention.key.*     encoder.BLOCK.attention.key.*
    encoder.blocks.0.attention.value.*   encoder.BLOCK.attention.value.*
    encoder.blocks.0.attention.output.*  encoder.BLOCK.attention.dense.*
    encoder.blocks.0.attention_norm.*    encoder.BLOCK.attention.LayerNorm.*
    encoder.blocks.0.feed_forward.up.*   encoder.BLOCK.ffn.*
    encoder.blocks.0.feed_forward.down.* encoder.BLOCK.ffn_output.*
    encoder.blocks.0.output_norm.*       encoder.BLOCK.full_layer_layer_norm.*
    pooler.dense.*                       pooler.*
    masked_word.transform.*              predictions.dense.*
    masked_word.norm.*                   predictions.LayerNorm.*
    masked_word.bias                     predictions.bias
    next_sentence.logits.*               sop_classifier.classifier.*
"""

BLOCK = "albert_layer_groups.0.albert_layers.0"

ALBERT = Architecture(
    AlbertConfig,
    AlbertModel,
    AlbertForPreTraining,
    NAME_TABLE.partition("    encoder")[0] + ROWS.replace("BLOCK", BLOCK),
    tied={
        "predictions.decoder.weight": "embeddings.word_embeddings.weight",
        "predictions.decoder.bias": "predictions.bias",
    },
    prefix="albert",
    classes={
        **classes_of("Albert"),
        ("masked_word", "next_sentence"): "AlbertForPreTraining",
    },
)
