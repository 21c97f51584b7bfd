"""Known mistakes of the embeddings: positions, segments, the sum and its LayerNorm."""

from functools import partial

import torch
from torch import Tensor, nn

from minibert.core.heads import BertForPreTraining
from minibert.diagnosis.catalogue.mistake import blocks, mistake, override

wrong_embeddings = partial(mistake, "embeddings")
wrong_position = partial(wrong_embeddings, changes="position")
wrong_segment = partial(wrong_embeddings, changes="segment")
wrong_epsilon = partial(
    wrong_embeddings,
    changes="norm eps+embedding norm",
    hints="""
    ? How many LayerNorms does your model make, and how many of them are told an epsilon?
    @ The LayerNorm of the embeddings alone differs, and a little: look for a small constant.
    ! nn.LayerNorm(H, eps=1e-12) in the embeddings, too.
    """,
)


class Computed(nn.Module):
    """A lookup that is not the table's own: `Computed(embedding, f)(ids)` is f(embedding, ids)."""

    def __init__(self, table, function):
        super().__init__()
        self.weight = table.weight
        self.function = function

    def forward(self, ids: Tensor) -> Tensor:
        return self.function(self.weight, ids)


def replace_lookup(model: BertForPreTraining, name: str, function) -> None:
    embeddings = model.bert.embeddings
    setattr(embeddings, name, Computed(getattr(embeddings, name), function))


@wrong_position(seen="codertimo/BERT-pytorch#53; google-research/bert#483")
def position_sinusoidal(model):
    """The positions are sine and cosine waves; the learned position table is not used.

    ? The weights file holds 512 position vectors. Who trained them, and who reads them?
    @ Look at the position vectors, before anything is added.
    ! Look positions up in the learned table, one vector for each place.
    """

    def waves(weight, ids):
        half = torch.arange(0, weight.shape[1], 2, dtype=weight.dtype)
        angle = ids[..., None] / 10000 ** (half / weight.shape[1])
        return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)

    replace_lookup(model, "position", waves)


@wrong_position(seen="graykode/nlp-tutorial#22")
def position_from_one(model):
    """The positions are counted from 1.

    ? Which row of the position table belongs to the first token?
    @ Compare your first position vector with the rows of the table.
    ! Count from 0: torch.arange(T).
    """
    replace_lookup(model, "position", lambda weight, ids: weight[ids + 1])


@wrong_position(seen="ports between BERT and RoBERTa")
def position_from_two(model):
    """The positions start at 2, as RoBERTa's do.

    ? Which row of the position table belongs to the first token, and in which model is it row 2?
    @ RoBERTa counts positions from pad_token_id + 1; BERT does not.
    ! Count from 0: torch.arange(T).
    """
    replace_lookup(model, "position", lambda weight, ids: weight[ids + 2])


@wrong_position(seen="unfinished implementations")
def position_missing(model):
    """No position vector is added.

    ? How does your model tell 'dog bites man' from 'man bites dog'?
    @ The sum in the embeddings has three terms.
    ! Add the position vector to the token and segment vectors.
    """
    replace_lookup(model, "position", lambda weight, ids: weight[ids] * 0)


@wrong_position(seen="graykode/nlp-tutorial#22")
def position_skips_padding(model):
    """The positions count only the tokens that are not padding.

    ? With padding on the left, what is the position of [CLS]?
    @ The position is the column in the batch, padding included.
    ! Use torch.arange(T) for every text; do not take a running sum of the mask.
    """

    def forward(original, input_ids, *, attention_mask=None, **others):
        if attention_mask is not None:
            others["position_ids"] = (attention_mask.cumsum(dim=1) - 1).clamp(min=0)
        return original(input_ids, attention_mask=attention_mask, **others)

    override(model.bert, "forward", forward)


@wrong_segment(seen="labml.ai annotated BERT; course solutions")
def segment_missing(model):
    """No segment vector is added.

    ? How does your model know where sentence A ends and sentence B begins?
    @ The sum in the embeddings has three terms; even segment 0 has a vector that is not zero.
    ! Add the segment vector of token_type_ids, also where they are all 0.
    """
    replace_lookup(model, "segment", lambda weight, ids: weight[ids] * 0)


@wrong_segment(seen="minBERT, where the segments are fixed to 0")
def segment_all_zero(model):
    """Every token gets the vector of segment 0; token_type_ids are ignored.

    ? What happens to token_type_ids on their way to the segment table?
    @ Only the tokens of the second sentence differ.
    ! Look token_type_ids up, instead of zeros.
    """
    replace_lookup(model, "segment", lambda weight, ids: weight[ids * 0])


@wrong_segment(seen="a widespread tutorial line, segments_ids = [1] * len(tokens)")
def segment_all_one(model):
    """Every token gets the vector of segment 1.

    ? Which number has the first sentence?
    @ Only the tokens of the first sentence differ.
    ! The first sentence is segment 0, the second is segment 1.
    """
    replace_lookup(model, "segment", lambda weight, ids: weight[ids * 0 + 1])


@wrong_segment(seen="codertimo/BERT-pytorch numbers segments 1 and 2")
def segment_swapped(model):
    """The segments 0 and 1 are exchanged.

    ? Which number has the first sentence?
    @ All tokens differ, by the difference of the two segment vectors.
    ! The first sentence is segment 0, the second is segment 1.
    """
    replace_lookup(model, "segment", lambda weight, ids: weight[1 - ids])


@wrong_embeddings(seen="labml.ai; d2l's Transformer code", changes="token")
def embedding_scaled(model):
    """The token vectors are multiplied by the square root of the hidden size.

    ? Where does the factor sqrt(H) come from: this paper, or the one on translation?
    @ The original Transformer scales its embeddings; BERT does not.
    ! Leave the factor out.
    """
    factor = model.config.hidden_size**0.5
    replace_lookup(model, "token", lambda weight, ids: weight[ids] * factor)


@wrong_embeddings(seen="embeddings multiplied by (ids != 0)", changes="token")
def pad_vector_zero(model):
    """The vector of [PAD] is set to zero, although the weights file has one.

    ? What does padding_idx do to the gradient, and what does it do to loaded weights?
    @ Only places with id 0 differ, and they may be real tokens.
    ! Keep the row of the weights file; padding is hidden by the mask, not by zeros.
    """
    replace_lookup(model, "token", lambda weight, ids: weight[ids] * (ids != 0)[..., None])


@wrong_embeddings(seen="d2l; labml.ai; codertimo/BERT-pytorch", changes="embedding norm")
def embedding_norm_missing(model):
    """There is no LayerNorm after the sum of the embeddings.

    ? How large are the vectors that enter block 0? How large should they be?
    @ The released code normalises the sum before block 0; the paper's figure does not show it.
    ! Apply LayerNorm to token + segment + position.
    """
    model.bert.embeddings.norm = nn.Identity()


@wrong_epsilon(seen="moon-hotel/BertWithPretrained")
def embedding_norm_eps_1e5(model):
    """The LayerNorm of the embeddings alone has the epsilon 1e-5, PyTorch's default."""
    model.bert.embeddings.norm.eps = 1e-5


@wrong_epsilon(seen="HyunJae0/BERT-pytorch-implementation")
def embedding_norm_eps_1e6(model):
    """The LayerNorm of the embeddings alone has the epsilon 1e-6."""
    model.bert.embeddings.norm.eps = 1e-6


def join_by(model, join):
    """Let `join(layer, token, segment, place)` stand for the sum of the vectors and LayerNorm."""
    layer = model.bert.embeddings

    def forward(original, input_ids, *, token_type_ids=None, position_ids=None):
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1]).expand_as(input_ids)
        vectors = (
            layer.token(input_ids),
            layer.segment(token_type_ids),
            layer.position(position_ids),
        )
        return layer.dropout(join(layer, *vectors))

    override(layer, "forward", forward)


@wrong_embeddings(changes="embedding norm")
def position_after_norm(model):
    """The position vector is added after LayerNorm, not before.

    ? Which vectors does the LayerNorm of the embeddings see?
    @ Sum first, then normalise.
    ! LayerNorm(token + segment + position).
    """
    join_by(
        model, lambda layer, token, segment, place: layer.norm(layer.sum(token + segment)) + place
    )


@wrong_embeddings(changes="embedding norm")
def norm_of_token_alone(model):
    """Only the token vector is normalised; segment and position are added after it.

    ? Which vectors does the LayerNorm of the embeddings see?
    @ Sum first, then normalise.
    ! LayerNorm(token + segment + position).
    """
    join_by(
        model, lambda layer, token, segment, place: layer.norm(layer.sum(token)) + segment + place
    )


@mistake("block", seen="habits of other encoders", changes="block input")
def position_in_every_block(model):
    """The input of every block gets the position vectors added again.

    ? How often does a token need to be told where it stands?
    @ Compare what enters block 1 with what left block 0.
    ! Add position vectors once, in the embeddings.
    """
    table = model.bert.embeddings.position
    for block in blocks(model)[1:]:

        def forward(original, hidden_states, *others):
            return original(hidden_states + table.weight[: hidden_states.shape[1]], *others)

        override(block, "forward", forward)
