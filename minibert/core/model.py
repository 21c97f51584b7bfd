"""BERT, whole: embeddings -> encoder -> pooler.

This is the encoder as published, and nothing else: no decoder use, no relative positions, no
generation. The heads that predict words and sentence order stand in `heads.py`; loading weights
is a function of its own, in `weights/`.

Source: Devlin et al. 2018, section 3; google-research/bert `modeling.py`, class BertModel.
"""

from typing import Any, NamedTuple

from torch import Tensor, nn

from minibert.core.attention import attention_bias_from_mask
from minibert.core.checks import ELSEWHERE, check_inputs, refuse_arguments
from minibert.core.config import BertConfig
from minibert.core.embeddings import BertEmbeddings
from minibert.core.encoder import BertEncoder


def by_name_or_number(output: Any, key: Any) -> Any:
    """What `output["last_hidden_state"]` or `output[0]` gives: an output is a tuple with names."""
    if isinstance(key, str):
        if key not in output._fields:
            raise KeyError(f"expected one of {', '.join(output._fields)}, got {key!r}")
        key = output._fields.index(key)
    return tuple.__getitem__(output, key)


def in_shapes(output: Any) -> str:
    """What an output prints as: the name and the shape of each tensor, not its numbers."""
    parts = []
    for name, value in zip(output._fields, output):
        if isinstance(value, Tensor):
            parts.append(f"{name}={tuple(value.shape)}")
        elif value is not None:
            parts.append(f"{name}={len(value)} x {tuple(value[0].shape)}")
    return f"{type(output).__name__}({', '.join(parts)})"


class BertOutput(NamedTuple):
    """What a BERT gives back.

    last_hidden_state  (B, T, H)  one vector per token
    pooler_output      (B, H)     input of the next-sentence head; no good sentence vector.
                                  None where the weights file has no pooler
    hidden_states      L + 1 tensors (B, T, H), [0] the embeddings, [-1] the last_hidden_state
    attentions         L tensors (B, A, T, T)
    """

    last_hidden_state: Tensor
    pooler_output: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None

    def __getitem__(self, key: Any) -> Any:  # type: ignore[override]
        return by_name_or_number(self, key)

    def __repr__(self) -> str:
        return in_shapes(self)


class BertPooler(nn.Module):
    """The first token's vector, [CLS], through a dense layer and tanh: (B, T, H) -> (B, H)."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = nn.Tanh()

    def forward(self, hidden_states: Tensor) -> Tensor:
        first_token = hidden_states[:, 0]  # (B, H)
        return self.activation(self.dense(first_token))  # (B, H)


def initialize(part: nn.Module, std: float) -> None:
    """Give a part the weights of a BERT before training: normal with deviation std, biases 0."""
    for module in part.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=std)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            nn.init.zeros_(module.weight[module.padding_idx])


class BertModel(nn.Module):
    """input_ids (B, T) -> hidden states (B, T, H).

    All arguments but the first go by name: masks and segments, both (B, T) of 0 and 1, are
    easily swapped by position. A mask (B, T, T) says for each token what it may read. Raises
    TypeError or ValueError on input that BERT cannot read.

    >>> import torch
    >>> config = BertConfig(vocab_size=61, hidden_size=20, num_hidden_layers=3,
    ...                     num_attention_heads=4, intermediate_size=44)
    >>> output = BertModel(config).eval()(torch.tensor([[2, 5, 3]]), output_hidden_states=True)
    >>> output.last_hidden_state.shape, output.pooler_output.shape, len(output.hidden_states)
    (torch.Size([1, 3, 20]), torch.Size([1, 20]), 4)
    """

    def __init__(self, config: BertConfig, add_pooling_layer: bool = True):
        super().__init__()
        self.config = config
        self.embeddings = BertEmbeddings(config)
        self.encoder = BertEncoder(config)
        self.pooler = BertPooler(config) if add_pooling_layer else None
        initialize(self, config.initializer_range)

    def __getattr__(self, name: str) -> Tensor | nn.Module:
        if name in ELSEWHERE:
            raise AttributeError(f"BertModel has no {name}: {ELSEWHERE[name]}")
        return super().__getattr__(name)

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        **others: object,
    ) -> BertOutput:
        refuse_arguments(others)
        check_inputs(self.config, input_ids, attention_mask, token_type_ids, position_ids)
        embedded = self.embeddings(
            input_ids, token_type_ids=token_type_ids, position_ids=position_ids
        )  # (B, T, H)
        bias = None
        if attention_mask is not None:
            bias = attention_bias_from_mask(attention_mask, embedded.dtype)  # (B, 1, 1, T)
            if attention_mask.dim() == 3:  # each query has its own: (B, 1, 1, T, T) so far
                bias = bias[:, 0]
        last_hidden_state, hidden_states, attentions = self.encoder(
            embedded,
            bias,
            keep_states=output_hidden_states,
            explicit=output_attentions,
        )
        return BertOutput(
            last_hidden_state,
            self.pooler(last_hidden_state) if self.pooler is not None else None,
            hidden_states if output_hidden_states else None,
            attentions if output_attentions else None,
        )
