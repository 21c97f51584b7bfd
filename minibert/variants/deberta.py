"""DeBERTa, versions 2 and 3: what a token is and where it stands are kept apart in every attention.

BERT adds a position to each token once, at the entrance. DeBERTa adds none there. Instead each
block's score of a query i for a key j is a sum of three products,

    content of i with content of j  +  content of i with distance i - j  +  content of j with i - j

over sqrt(3 D). The distances have a table of their own, which goes through the query and key
projections of the block. Near distances have a row each; far ones share rows by their logarithm.
Segments are gone as well: token_type_ids are taken, and not read. What is hidden by the mask is
zero at the entrance, and reads all tokens alike; no other token sees it.

Version 3 was trained as ELECTRA is, on the same model. Version 1 is another model, and the
convolution of v2-xlarge is left out: both are refused. The "enhanced mask decoder" of the paper is
neither in transformers nor here.

Source: He et al. 2020, section 3 and equation 4, and He et al. 2021; transformers,
`modeling_deberta_v2.py`.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from minibert.core.attention import BertAttention
from minibert.core.config import CHECKS, COUNT, BertConfig
from minibert.core.encoder import BertEncoder
from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel, initialize
from minibert.variants.config import NoTable, VariantConfig
from minibert.weights.names import IGNORED, NAME_TABLE, Architecture, classes_of

NUMBER = (lambda value: value == -1 or COUNT[0](value), "a positive whole number, or -1 for none")


@dataclasses.dataclass(frozen=True)
class DebertaConfig(VariantConfig):
    """A BERT's fields, and how distances are told apart. The defaults are DeBERTa-v2-xlarge's.

    >>> DebertaConfig(position_buckets=256).span, DebertaConfig().span
    (256, 512)
    """

    vocab_size: int = 128100
    hidden_size: int = 1536
    num_hidden_layers: int = 24
    num_attention_heads: int = 24
    intermediate_size: int = 6144
    layer_norm_eps: float = 1e-7
    max_relative_positions: int = -1  # the largest distance; -1: max_position_embeddings
    position_buckets: int = -1  # rows for distances of either sign; -1: one for each

    model_type: ClassVar[str] = "deberta-v2"
    fixed: ClassVar[Mapping[str, Any]] = {
        "relative_attention": True,
        "pos_att_type": ["c2p", "p2c"],
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
        "type_vocab_size": 0,
        "conv_kernel_size": 0,
    }
    checks = {**CHECKS, "max_relative_positions": NUMBER, "position_buckets": NUMBER}

    @property
    def longest(self) -> int:
        """The largest distance that is told apart from larger ones."""
        known = self.max_relative_positions
        return known if known > 0 else self.max_position_embeddings

    @property
    def span(self) -> int:
        """How many distances of either sign have a row."""
        return self.position_buckets if self.position_buckets > 0 else self.longest

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> BertConfig:
        """As for every variant; what transformers leaves out by default is not left out here."""
        parts = values.get("pos_att_type", [])
        parts = parts.lower().split("|") if isinstance(parts, str) else parts or []
        size, heads = values.get("hidden_size", 0), values.get("num_attention_heads", 1)
        for name, only in (("embedding_size", size), ("attention_head_size", size // heads)):
            if values.get(name, only) != only:
                raise ValueError(f"{name} must be {only}, as hidden_size says, got {values[name]}")
        defaults = {"relative_attention": False, "position_biased_input": True}
        types = sorted(part.strip() for part in parts)
        silent = {"share_att_key": False, "norm_rel_ebd": "none"}
        return super().from_dict({**defaults, **silent, **values, "pos_att_type": types})


class Distances(NamedTuple):
    """What goes through the blocks in the place of the bias: which keys are hidden (B, 1, T, T),
    the table of distances (2 x span, H), and the row of each pair of places (T, T)."""

    hidden: Tensor | None
    table: Tensor
    rows: Tensor


def distance_rows(T: int, span: int, buckets: int, longest: int) -> Tensor:
    """The row of the table for query i and key j, (T, T): `span` where i = j, more where i > j.

    >>> distance_rows(9, span=4, buckets=4, longest=8)[8]  # beyond 2 the distances share rows
    tensor([7, 7, 7, 7, 7, 7, 6, 5, 4])
    """
    place = torch.arange(T)
    distance = place[:, None] - place  # (T, T)
    if buckets > 0:
        near = buckets // 2
        far = distance.abs().clamp(min=near)  # (T, T)
        share = torch.log(far / near) / torch.log(torch.tensor((longest - 1) / near))  # (T, T)
        bucket = (share * (near - 1)).ceil().long() + near  # (T, T)
        distance = torch.where(far <= near, distance, bucket * distance.sign())  # (T, T)
    return (distance + span).clamp(0, 2 * span - 1)  # (T, T)


class DebertaAttention(BertAttention):
    """Every token reads by content and by distance."""

    def __init__(self, config: BertConfig):
        super().__init__(config)
        self.table_dropout = nn.Dropout(config.hidden_dropout_prob)
        # The root is taken in float32, as in the released code, whatever the model's numbers are.
        self.divisor = float(torch.tensor(3.0 * config.head_size, device="cpu").sqrt())

    def split_heads(self, projected: Tensor) -> Tensor:
        """As in BERT, and the numbers of a head lie together, as in the released code: products
        of matrices that lie otherwise are rounded otherwise."""
        return super().split_heads(projected).contiguous()  # (B, A, T, D)

    def forward(  # type: ignore[override]
        self, hidden_states: Tensor, distances: Distances, explicit: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        query = self.split_heads(self.query(hidden_states))  # (B, A, T, D)
        key = self.split_heads(self.key(hidden_states))  # (B, A, T, D)
        value = self.split_heads(self.value(hidden_states))  # (B, A, T, D)

        B, A, T, _ = query.shape
        table = self.table_dropout(distances.table)[None]  # (1, 2 x span, H)
        distance_query = self.split_heads(self.query(table)).repeat(B, 1, 1, 1)
        distance_key = self.split_heads(self.key(table)).repeat(B, 1, 1, 1)  # (B, A, 2 x span, D)
        rows = distances.rows.expand(B, A, T, T)  # (B, A, T, T)
        by_query = (query @ distance_key.transpose(2, 3)).gather(-1, rows)  # (B, A, T, T)
        by_key = (key @ distance_query.transpose(2, 3)).gather(-1, rows.mT).mT  # (B, A, T, T)
        by_content = query @ (key.transpose(2, 3) / self.divisor)  # (B, A, T, T)
        by_distance = by_query / self.divisor + by_key / self.divisor  # (B, A, T, T)
        scores = self.scores(by_content + by_distance)  # (B, A, T, T)

        masked_scores = scores  # (B, A, T, T)
        if distances.hidden is not None:
            least = torch.finfo(scores.dtype).min
            masked_scores = scores.masked_fill(distances.hidden, least)  # (B, A, T, T)
        masked_scores = self.masked_scores(masked_scores)  # (B, A, T, T)
        probabilities = self.dropout(self.probabilities(masked_scores))  # (B, A, T, T)
        context = self.context(self.merge_heads(probabilities @ value))  # (B, T, H)
        return self.output(context), probabilities if explicit else None


class DebertaEncoder(BertEncoder):
    """L blocks that share one table of distances."""

    def __init__(self, config: DebertaConfig):
        super().__init__(config)
        self.config = config
        for block in self.blocks:
            block.attention = DebertaAttention(config)
        self.distance = nn.Embedding(2 * config.span, config.hidden_size)
        self.distance_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_states: Tensor, attention_bias: Tensor | None = None, **others: Any):
        c, hidden, T = self.config, None, hidden_states.shape[1]
        if attention_bias is not None:
            hidden = attention_bias < 0  # (B, 1, 1, T)
            if hidden.shape[2] != 1:
                raise ValueError("attention_mask must be (batch, tokens): DeBERTa's is no other")
            hidden_states = hidden_states.masked_fill(hidden[:, 0, 0, :, None], 0.0)  # (B, T, H)
            hidden = hidden | hidden.mT  # (B, 1, T, T)
        rows = distance_rows(T, c.span, c.position_buckets, c.longest).to(hidden_states.device)
        distances: Any = Distances(hidden, self.distance_norm(self.distance.weight), rows)
        return super().forward(hidden_states, distances, **others)


class DebertaModel(BertModel):
    """(B, T) -> (B, T, H); there is no pooler."""

    def __init__(self, config: DebertaConfig, add_pooling_layer: bool = False):
        super().__init__(config, add_pooling_layer)
        self.embeddings.add_module("segment", NoTable(config))
        self.embeddings.add_module("position", NoTable(config))
        self.encoder = DebertaEncoder(config)
        initialize(self, config.initializer_range)


ROWS = """
    encoder.distance.weight              encoder.rel_embeddings.weight
    encoder.distance_norm.*              encoder.LayerNorm.*
    masked_word.transform.*              lm_predictions.lm_head.dense.*
    masked_word.norm.*                   lm_predictions.lm_head.LayerNorm.*
    masked_word.bias                     lm_predictions.lm_head.bias
"""
# The rows of BERT come last, so that a model is saved with the head's names of transformers.
_NAMES = NAME_TABLE.strip("\n").splitlines()
_KEPT = [row for row in _NAMES[1:] if not re.search("segment|position|pooler|sentence", row)]
_TABLE = "\n".join([_NAMES[0] + ROWS.rstrip(), *_KEPT])

DEBERTA = Architecture(
    DebertaConfig,
    DebertaModel,
    BertForPreTraining,
    re.sub(r"self\.(query|key|value)", r"self.\1_proj", _TABLE),
    ignored={
        **IGNORED,
        r"embeddings\.position_embeddings\.weight": "positions do not enter with the tokens",
        r"mask_predictions\..*": "the replaced-token head of the training; minibert loads none",
        r"pooler\..*": "part of a head of some task",
    },
    prefix="deberta",
    classes=classes_of("DebertaV2"),
)
