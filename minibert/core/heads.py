"""What BERT was trained on: fill the blank, and say whether two sentences belong together.

The masked-word head multiplies by the token embedding table itself ("tied"), so it owns no
matrix of its own; it does own a bias, one number per word of the vocabulary. Its dense layer,
GELU and LayerNorm are not in the paper.

Source: Devlin et al. 2018, section 3.1 and appendix A; google-research/bert
`run_pretraining.py`, functions get_masked_lm_output and get_next_sentence_output.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minibert.core.checks import IGNORE, check_labels
from minibert.core.config import BertConfig
from minibert.core.encoder import activation_function
from minibert.core.model import BertModel, by_name_or_number, in_shapes, initialize


class PreTrainingOutput(NamedTuple):
    """loss (), prediction_logits (B, T, V), seq_relationship_logits (B, 2); what was not asked
    for, or what the weights file has no head for, is None."""

    loss: Tensor | None = None
    prediction_logits: Tensor | None = None
    seq_relationship_logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None

    def __getitem__(self, key: Any) -> Any:  # type: ignore[override]
        return by_name_or_number(self, key)

    def __repr__(self) -> str:
        return in_shapes(self)


class MaskedWordHead(nn.Module):
    """Hidden states (B, T, H) -> a score for every word of the vocabulary (B, T, V)."""

    def __init__(self, config: BertConfig):
        super().__init__()
        H = config.hidden_size
        self.transform = nn.Linear(H, H)
        self.activation = activation_function(config.hidden_act)
        self.norm = nn.LayerNorm(H, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.logits = nn.Identity()

    def forward(self, hidden_states: Tensor, token_embedding: Tensor) -> Tensor:
        guess = self.norm(self.activation(self.transform(hidden_states)))  # (B, T, H)
        return self.logits(F.linear(guess, token_embedding, self.bias))  # (B, T, V)


class NextSentenceHead(nn.Module):
    """pooler_output (B, H) -> two scores (B, 2): [:, 0] B follows A, [:, 1] B is random."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.logits = nn.Linear(config.hidden_size, 2)

    def forward(self, pooler_output: Tensor) -> Tensor:
        return self.logits(pooler_output)  # (B, 2)


def masked_word_loss(prediction_logits: Tensor | None, labels: Tensor) -> Tensor:
    """Mean cross-entropy in nats over the labelled places; `labels` (B, T) is -100 elsewhere.

    >>> masked_word_loss(torch.zeros(1, 3, 8), torch.tensor([[-100, 5, -100]]))  # log 8
    tensor(2.0794)
    """
    prediction_logits = check_labels("labels", labels, prediction_logits)  # (B, T, V)
    return F.cross_entropy(prediction_logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORE)


def next_sentence_loss(
    seq_relationship_logits: Tensor | None, next_sentence_label: Tensor
) -> Tensor:
    """Mean cross-entropy in nats; the label (B,) is 0 where B follows A, 1 where it is random."""
    logits = check_labels("next_sentence_label", next_sentence_label, seq_relationship_logits)
    return F.cross_entropy(logits, next_sentence_label, ignore_index=IGNORE)


class BertForPreTraining(nn.Module):
    """BertModel with the two heads it was trained with; either may be missing.

    With `labels` (B, T), `next_sentence_label` (B,) or both, `loss` is their unweighted sum.

    >>> config = BertConfig(vocab_size=61, hidden_size=20, num_hidden_layers=3,
    ...                     num_attention_heads=4, intermediate_size=44)
    >>> output = BertForPreTraining(BertModel(config))(torch.tensor([[2, 5, 3]]))
    >>> output.prediction_logits.shape, output.seq_relationship_logits.shape
    (torch.Size([1, 3, 61]), torch.Size([1, 2]))
    """

    def __init__(self, bert: BertModel, masked_word: bool = True, next_sentence: bool = True):
        super().__init__()
        if next_sentence and bert.pooler is None:
            raise ValueError("the next-sentence head reads pooler_output: the model has no pooler")
        self.config = bert.config
        self.bert = bert
        self.masked_word = MaskedWordHead(bert.config) if masked_word else None
        self.next_sentence = NextSentenceHead(bert.config) if next_sentence else None
        for head in (self.masked_word, self.next_sentence):
            if head is not None:
                initialize(head, bert.config.initializer_range)

    def forward(
        self,
        input_ids: Tensor,
        *,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        **others: object,
    ) -> PreTrainingOutput:
        output = self.bert(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            **others,
        )
        words = None
        pair = None
        losses = []
        if self.masked_word is not None:
            table = self.bert.embeddings.token.weight  # (V, H)
            words = self.masked_word(output.last_hidden_state, table)  # (B, T, V)
        if self.next_sentence is not None:
            pair = self.next_sentence(output.pooler_output)  # (B, 2)
        if labels is not None:
            losses.append(masked_word_loss(words, labels))
        if next_sentence_label is not None:
            losses.append(next_sentence_loss(pair, next_sentence_label))
        loss = torch.stack(losses).sum() if losses else None  # ()
        return PreTrainingOutput(loss, words, pair, output.hidden_states, output.attentions)
