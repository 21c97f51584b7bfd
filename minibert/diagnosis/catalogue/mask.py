"""Known mistakes of the attention mask: who may be read, and from which step on."""

from functools import partial

import torch

from minibert.core.attention import attention_bias_from_mask
from minibert.diagnosis.catalogue.mistake import attentions, mistake, override

wrong_mask = partial(mistake, "mask", changes="mask")
HIDE = torch.finfo(torch.float64).min


def change_bias(model, function):
    """Let the encoder get `function(bias)` instead of the bias (B, 1, 1, T)."""

    def encode(original, hidden_states, attention_bias=None, **others):
        if attention_bias is not None:
            attention_bias = function(attention_bias)
        return original(hidden_states, attention_bias, **others)

    override(model.bert.encoder, "forward", encode)


@wrong_mask(seen="AES-NPCR#7; huggingface/candle#1798; padded batches without a mask")
def mask_missing(model):
    """There is no attention mask: padding is read as text.

    ? Does the result for a text change when it is padded further?
    @ Only texts with padding differ; in them, the probabilities of padding are not 0.
    ! Add a very negative number to the scores of padding, before softmax.
    """
    change_bias(model, lambda bias: None)


@wrong_mask(
    seen="nyu-mll/jiant#465; pytorch/pytorch#120488; course solutions that fill where a bias is 0"
)
def mask_inverted(model):
    """The mask is inverted: real tokens are hidden, padding is read.

    ? What does 1 mean in your mask, and what does your attention do where it is 1?
    @ In padded texts all probability lies on the padding.
    ! 1 means read. Add 0 where the mask is 1, and the very negative number where it is 0.
    """
    change_bias(model, lambda bias: torch.zeros_like(bias).masked_fill(bias == 0, HIDE))


@wrong_mask(seen="additive masks without their factor")
def mask_too_weak(model):
    """The mask is far too weak: padding gets -1 instead of a very negative number.

    ? How much probability is left to a score after 1 is taken off it?
    @ In padded texts the probabilities of padding are small, but not 0.
    ! Use -10000 or the most negative number of the dtype.
    """
    change_bias(model, lambda bias: -1.0 * (bias < 0))


@wrong_mask(seen="huggingface/transformers#542; course solutions")
def mask_added_raw(model):
    """The mask of 0 and 1 itself is added to the scores.

    ? What must be added to a score to hide it, and what to leave it as it is?
    @ The scores of real tokens are larger by 1.
    ! Turn the mask into a bias first: 0 where it is 1, very negative where it is 0.
    """
    change_bias(model, lambda bias: (bias == 0).to(bias.dtype))


@wrong_mask(seen="pytorch_advanced#175")
def mask_hides_rows(model):
    """The mask hides rows instead of columns: padded queries, not padded keys.

    ? Rows are queries, who reads; columns are keys, who is read. Which must be hidden?
    @ In padded texts, real tokens still read the padding.
    ! Give the mask the shape (B, 1, 1, T), so that it is the same for every query.
    """
    change_bias(model, lambda bias: bias.transpose(2, 3))


@wrong_mask(seen="code adapted from GPT implementations")
def mask_causal(model):
    """Every token may read only itself and the tokens before it, as in a text generator.

    ? Does BERT read in one direction, or in both?
    @ The probabilities are 0 above the diagonal.
    ! Hide padding alone; leave the causal mask to decoders.
    """

    def causal(bias):
        T = bias.shape[-1]
        later = torch.ones(T, T, dtype=torch.bool).triu(1)
        return bias.masked_fill(later, HIDE)

    change_bias(model, causal)


@wrong_mask(seen="graykode/nlp-tutorial")
def mask_from_ids(model):
    """The mask is guessed from the ids (id 0 is padding); attention_mask is ignored.

    ? Who says which tokens are padding: the mask, or the ids?
    @ Only texts in which a real token has id 0 differ.
    ! Use the attention_mask that was passed.
    """
    held = {}

    def forward(original, input_ids, **others):
        held["ids"] = input_ids
        return original(input_ids, **others)

    override(model.bert, "forward", forward)
    change_bias(model, lambda bias: attention_bias_from_mask(held["ids"] != 0, bias.dtype))


@wrong_mask(seen="loops over blocks that forget an argument")
def mask_in_first_block_only(model):
    """Only the first block gets the mask.

    ? How many blocks read the other tokens?
    @ Block 0 is right; block 1 reads padding.
    ! Pass the attention bias to every block.
    """
    for attention in attentions(model)[1:]:
        override(
            attention,
            "attend",
            lambda original, query, key, value, bias: original(query, key, value, None),
        )


@wrong_mask(
    seen="huggingface/transformers#542; course solutions that multiply by the mask",
    changes="mask+masked scores",
    each=attentions,
)
def mask_multiplied(attention):
    """The scores are multiplied by the mask.

    ? exp(0) is 1. What probability does a score of 0 get?
    @ The masked scores of padding are 0, not very negative.
    ! Add a very negative number to the scores of padding.
    """
    override(
        attention.masked_scores,
        "forward",
        lambda original, scores: original(scores.masked_fill(scores < HIDE / 2, 0.0)),
    )


@wrong_mask(seen="abisee/pointer-generator#88")
def mask_after_softmax(model):
    """The mask is applied after softmax, to the probabilities.

    ? What do the probabilities of one query sum to after the mask?
    @ In padded texts the rows of the probabilities sum to less than 1.
    ! Mask the scores, then take softmax.
    """
    held = {}

    def keep(bias):
        held["visible"] = bias == 0

    change_bias(model, keep)
    for attention in attentions(model):
        override(
            attention.probabilities,
            "forward",
            lambda original, scores: original(scores) * held["visible"],
        )


@wrong_mask(seen="huggingface/transformers#2506")
def mask_and_segments_swapped(model):
    """Mask and segments are exchanged: the mask is used as segments, the segments as the mask.

    ? In which order does your model take its arguments, and in which order do you pass them?
    @ The second argument by place is the mask in some libraries and the segments in others.
    ! Pass them by name: model(ids, attention_mask=..., token_type_ids=...).
    """
    held = {}

    def forward(original, input_ids, *, attention_mask=None, token_type_ids=None, **others):
        held["mask"], held["segments"] = attention_mask, token_type_ids
        return original(
            input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids, **others
        )

    def embed(original, input_ids, *, token_type_ids=None, position_ids=None):
        return original(input_ids, token_type_ids=held["mask"], position_ids=position_ids)

    def encode(original, hidden_states, attention_bias=None, **others):
        bias = attention_bias_from_mask(held["segments"], hidden_states.dtype)
        return original(hidden_states, bias, **others)

    override(model.bert, "forward", forward)
    override(model.bert.embeddings, "forward", embed)
    override(model.bert.encoder, "forward", encode)
