"""DistilBERT: six blocks that learned from BERT's twelve, without segments and without a pooler.

It was trained to give the probabilities of a BERT (and hidden states in its direction), starting
from every second of its blocks. No next-sentence task was left, so there was no use for segments
and pooler. In training nothing is dropped between attention and the sum, once less than in BERT.
Everything else is BERT under other names. Its tokenizer gives token_type_ids for a pair; nothing
reads them.

Source: Sanh et al. 2019; transformers, `modeling_distilbert.py`. Left out: sine-wave positions.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from minibert.core.config import BertConfig
from minibert.core.encoder import BertBlock
from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel, initialize
from minibert.variants.config import NoTable, VariantConfig
from minibert.weights.names import Architecture, classes_of


@dataclasses.dataclass(frozen=True)
class DistilBertConfig(VariantConfig):
    """A BERT's fields; in config.json most have other names.

    >>> DistilBertConfig.from_dict({"dim": 20, "n_heads": 4}).head_size
    5
    """

    num_hidden_layers: int = 6

    model_type: ClassVar[str] = "distilbert"
    renamed: ClassVar[Mapping[str, str]] = {
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim",
        "hidden_act": "activation",
        "hidden_dropout_prob": "dropout",
        "attention_probs_dropout_prob": "attention_dropout",
    }
    fixed: ClassVar[Mapping[str, Any]] = {"sinusoidal_pos_embds": False, "layer_norm_eps": 1e-12}


class DistilBertBlock(BertBlock):
    """Without the dropout after attention; the same numbers where nothing is dropped."""

    def forward(
        self, hidden_states: Tensor, attention_bias: Tensor | None = None, explicit: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        attended, probabilities = self.attention(hidden_states, attention_bias, explicit)
        summed = self.attention_sum(attended + hidden_states)  # (B, T, H)
        middle = self.attention_norm(summed)  # (B, T, H)

        summed = self.output_sum(self.dropout(self.feed_forward(middle)) + middle)  # (B, T, H)
        output = self.output_norm(summed)  # (B, T, H)
        return output, probabilities

    in_eval = BertBlock, forward  # fast/ may copy it as a BertBlock


class DistilBertModel(BertModel):
    """(B, T) -> (B, T, H); there is no pooler."""

    def __init__(self, config: BertConfig, add_pooling_layer: bool = False):
        super().__init__(config, add_pooling_layer)
        # token_type_ids are taken, and not read
        self.embeddings.add_module("segment", NoTable(config))
        blocks = (DistilBertBlock(config) for _ in range(config.num_hidden_layers))
        self.encoder.blocks = nn.ModuleList(blocks)
        initialize(self, config.initializer_range)


NAME_TABLE = """
    minibert                             Hugging Face
    embeddings.token.weight              embeddings.word_embeddings.weight
    embeddings.position.weight           embeddings.position_embeddings.weight
    embeddings.norm.*                    embeddings.LayerNorm.*
    encoder.blocks.N.attention.query.*   transformer.layer.N.attention.q_lin.*
    encoder.blocks.N.attention.key.*     transformer.layer.N.attention.k_lin.*
    encoder.blocks.N.attention.value.*   transformer.layer.N.attention.v_lin.*
    encoder.blocks.N.attention.output.*  transformer.layer.N.attention.out_lin.*
    encoder.blocks.N.attention_norm.*    transformer.layer.N.sa_layer_norm.*
    encoder.blocks.N.feed_forward.up.*   transformer.layer.N.ffn.lin1.*
    encoder.blocks.N.feed_forward.down.* transformer.layer.N.ffn.lin2.*
    encoder.blocks.N.output_norm.*       transformer.layer.N.output_layer_norm.*
    masked_word.transform.*              vocab_transform.*
    masked_word.norm.*                   vocab_layer_norm.*
    masked_word.bias                     vocab_projector.bias
"""

DISTILBERT = Architecture(
    DistilBertConfig,
    DistilBertModel,
    BertForPreTraining,
    NAME_TABLE,
    tied={"vocab_projector.weight": "embeddings.word_embeddings.weight"},
    prefix="distilbert",
    classes=classes_of("DistilBert"),
)
