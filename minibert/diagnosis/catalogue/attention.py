"""Known mistakes of attention: scale, softmax, heads, projections.

Changes of a method's whole body come first, changes of its arguments or its result after them:
mistakes are applied in this order, and the later ones keep the earlier ones.
"""

from functools import partial

import torch
from torch import nn

from minibert.diagnosis.catalogue.mistake import attentions, mistake, override


def drop_bias(linear):
    linear.bias = None


def transpose(linear):
    linear.weight = nn.Parameter(linear.weight.detach().T)


def take_parameters(module, other):
    """Let `module` compute with the parameters of `other`."""
    module.weight, module.bias = other.weight, other.bias


wrong_attention = partial(mistake, "attention", each=attentions)
wrong_scale = partial(
    wrong_attention,
    seen="public course solutions; forks of published BERTs",
    changes="scale",
    hints="""
    ? What is the variance of the dot product of two vectors of D independent numbers?
    @ Look at the step between Q K^T and the mask.
    ! Divide the scores by the square root of the head size, head_size ** 0.5.
    """,
)
wrong_roles = partial(
    wrong_attention,
    seen="minBERT's signature takes (key, query, value); course solutions",
    changes="roles",
)
wrong_bias = partial(
    wrong_attention,
    hints="""
    ? The paper's projections have no bias. Does the weights file have one?
    @ The difference is the same vector at every token.
    ! nn.Linear(H, H), with its bias.
    """,
)
transposed = partial(
    mistake,
    "weights",
    seen="huggingface/transformers#8887; a debugging list of Redwood's MLAB",
    hints="""
    ? In which order are the axes of a kernel in your file, and in your framework?
    @ TensorFlow stores kernels as (in, out), PyTorch as (out, in); square ones load either way.
    ! Transpose the kernel once when you load it.
    """,
)


@wrong_scale()
def scale_missing(attention):
    """The scores are not divided by the square root of the head size."""
    attention.scale = 1.0


@wrong_scale()
def scale_by_hidden_size(attention):
    """The scores are divided by the square root of the hidden size, not of the head size.

    @ The dot product runs over the numbers of one head.
    """
    attention.scale = attention.key.out_features**-0.5


@wrong_scale()
def scale_without_root(attention):
    """The scores are divided by the head size itself, without the root (or twice by the root)."""
    attention.scale = attention.heads / attention.key.out_features


@wrong_scale()
def scale_by_heads(attention):
    """The scores are divided by the square root of the number of heads.

    ? Which axis of your tensor holds the numbers that are summed in the dot product?
    @ A shape was read at the wrong index.
    """
    attention.scale = attention.heads**-0.5


@wrong_scale()
def scale_multiplied(attention):
    """The scores are multiplied by the square root of the head size."""
    attention.scale = (attention.key.out_features / attention.heads) ** 0.5


@wrong_scale(seen="a shape read at the wrong index")
def scale_by_tokens(attention):
    """The scores are divided by the square root of the number of tokens.

    @ A shape was read at the wrong index.
    """

    def attend(original, query, key, value, bias, right=attention.scale):
        wrong = query.shape[2] ** -0.5
        return original(query * (wrong / right), key, value, bias)

    override(attention, "attend", attend)


class Steps(nn.Module):
    """A function as a module, so that its result keeps the name of the module it stands for."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@wrong_attention(seen="two forks; an answer choice in Redwood's MLAB", changes="softmax")
def softmax_over_queries(attention):
    """Softmax runs over the queries, so that columns sum to 1 instead of rows.

    ? Which axis should sum to 1: all the readers of one token, or all that one token reads?
    @ Look at the dim of softmax.
    ! softmax(dim=-1), over the keys.
    """
    attention.probabilities = nn.Softmax(dim=-2)


@wrong_attention(
    seen="course solutions with dim=1 and the comment 'correct dim??'", changes="softmax"
)
def softmax_over_heads(attention):
    """Softmax runs over the heads.

    ? Which axis should sum to 1?
    @ Look at the dim of softmax: axis 1 of (B, A, T, T) is the heads.
    ! softmax(dim=-1), over the keys.
    """
    attention.probabilities = nn.Softmax(dim=1)


@wrong_attention(seen="softmax inside and outside a helper", changes="softmax")
def softmax_twice(attention):
    """Softmax is taken twice.

    ? How large can the difference of two probabilities be, and what does softmax make of it?
    @ The probabilities are almost equal everywhere.
    ! Take softmax once.
    """
    attention.probabilities = Steps(lambda x: x.softmax(dim=-1).softmax(dim=-1))


@wrong_attention(seen="a fork; rasbt/LLMs-from-scratch#61", changes="split heads")
def split_by_view(attention):
    """The heads are cut out by a view to (B, A, T, D), which mixes the tokens.

    ? Print a tensor of 0, 1, 2, ... before and after: which numbers end up in head 0 of token 0?
    @ A view keeps the order in memory; the axis that is cut is the last one.
    ! View to (B, T, A, D), then transpose tokens and heads.
    """

    def split(original, projected):
        B, T, H = projected.shape
        return projected.contiguous().view(B, attention.heads, T, H // attention.heads)

    override(attention, "split_heads", split)


@wrong_attention(seen="einops patterns with (d h) for (h d)", changes="split heads")
def split_interleaved(attention):
    """The heads are interleaved: head a takes every A-th number instead of D in a row.

    ? Which numbers of the vector belong to head 0: the first D, or every A-th?
    @ Look at the order of A and D in the view.
    ! View to (B, T, A, D): the head is the slower axis.
    """

    def split(original, projected):
        B, T, H = projected.shape
        parts = projected.view(B, T, H // attention.heads, attention.heads)
        return parts.permute(0, 3, 1, 2)

    override(attention, "split_heads", split)


@wrong_attention(seen="ports between codes that call both 'heads'", changes="heads+scale")
def heads_and_head_size_swapped(attention):
    """There are as many heads as a head should have numbers, and the other way round.

    ? With 20 numbers and 4 heads, how many numbers has one head?
    @ The probabilities have another number of heads.
    ! num_attention_heads counts heads; the head size is hidden_size / num_attention_heads.
    """
    attention.heads = attention.key.out_features // attention.heads
    attention.scale = (attention.key.out_features / attention.heads) ** -0.5


@wrong_attention(seen="unfinished implementations", changes="heads+scale")
def one_head(attention):
    """There is one head of full width.

    ? How many tables of probabilities does one block have?
    @ The vectors are not cut into heads.
    ! Cut queries, keys and values into heads before the dot product.
    """
    attention.heads, attention.scale = 1, attention.key.out_features**-0.5


@wrong_attention(seen="four forks; allenai/allennlp#953", changes="merge heads")
def merge_without_transpose(attention):
    """The heads are merged without moving the head axis back behind the tokens.

    ? Which numbers stand beside each other in memory before your reshape?
    @ The numbers are the right ones, in the wrong order.
    ! Transpose (B, A, T, D) to (B, T, A, D), then reshape to (B, T, H).
    """

    def merge(original, context):
        B, A, T, D = context.shape
        return context.reshape(B, T, A * D)

    override(attention, "merge_heads", merge)


@wrong_attention(seen="einops patterns with (d h) for (h d)", changes="merge heads")
def merge_interleaved(attention):
    """The heads are merged interleaved: the numbers of one head do not stand in a row.

    ? Where do the D numbers of head 0 stand in the merged vector?
    @ The numbers are the right ones, in the wrong order within each token.
    ! Transpose (B, A, T, D) to (B, T, A, D), then reshape to (B, T, H).
    """

    def merge(original, context):
        B, A, T, D = context.shape
        return context.permute(0, 2, 3, 1).reshape(B, T, A * D)

    override(attention, "merge_heads", merge)


@wrong_attention(
    seen="uygarkurt/BERT-PyTorch; sahilnishad/BERT-from-Scratch-using-PyTorch",
    changes="axes+mask",
)
def attention_over_texts(attention):
    """Attention runs over the texts of the batch, not over the tokens of a text, without a mask.

    ? Which axis of its input does nn.TransformerEncoderLayer take for the tokens?
    @ Other neighbours in the batch change a text's numbers.
    ! batch_first=True, and src_key_padding_mask=(attention_mask == 0).
    """

    def forward(original, hidden_states, bias=None, explicit=False):
        attended, probabilities = original(hidden_states.transpose(0, 1), None, explicit)
        return attended.transpose(0, 1), probabilities

    override(attention, "forward", forward)


def reorder(attention, order):
    """Let attend(query, key, value) get its three tensors in another order."""

    def attend(original, query, key, value, bias):
        three = (query, key, value)
        return original(*(three[place] for place in order), bias)

    override(attention, "attend", attend)


@wrong_roles()
def query_and_key_swapped(attention):
    """Query and key are exchanged.

    ? Rows of the scores are queries, who reads. What do your rows stand for?
    @ Compare the order of arguments where attention is called and where it is defined.
    ! scores = query @ key.transpose(-2, -1).
    """
    reorder(attention, (1, 0, 2))


@wrong_roles()
def key_and_value_swapped(attention):
    """Key and value are exchanged.

    ? Which of the three is weighted and summed?
    @ Compare the order of arguments where attention is called and where it is defined.
    ! softmax(query @ key^T) @ value.
    """
    reorder(attention, (0, 2, 1))


@wrong_roles()
def query_and_value_swapped(attention):
    """Query and value are exchanged.

    ? Which of the three is weighted and summed?
    @ Compare the order of arguments where attention is called and where it is defined.
    ! softmax(query @ key^T) @ value.
    """
    reorder(attention, (2, 1, 0))


@wrong_attention(seen="copied lines", changes="key bias+key kernel")
def key_uses_query_weights(attention):
    """Keys are projected with the query's weights.

    ? How many projection matrices does one block have?
    @ A line was copied and one name in it was not changed.
    ! Use the key's own weights for the keys.
    """
    take_parameters(attention.key, attention.query)


@wrong_attention(seen="copied lines", changes="value bias+value kernel")
def value_uses_key_weights(attention):
    """Values are projected with the key's weights.

    ? How many projection matrices does one block have?
    @ A line was copied and one name in it was not changed.
    ! Use the value's own weights for the values.
    """
    take_parameters(attention.value, attention.key)


@wrong_bias(seen="lucidrains/x-transformers#37", changes="query bias+key bias+value bias")
def qkv_bias_missing(attention):
    """Query, key and value are projected without their biases.

    ! nn.Linear(H, H), with its bias, for all three.
    """
    drop_bias(attention.query)
    drop_bias(attention.key)
    drop_bias(attention.value)


@wrong_bias(seen="partial loading of a joint query-key-value bias", changes="query bias")
def query_bias_missing(attention):
    """The query is projected without its bias."""
    drop_bias(attention.query)


@wrong_bias(seen="models that leave it out by design, such as Whisper", changes="key bias")
def key_bias_missing(attention):
    """The key is projected without its bias."""
    drop_bias(attention.key)


@wrong_bias(seen="partial loading of a joint query-key-value bias", changes="value bias")
def value_bias_missing(attention):
    """The value is projected without its bias."""
    drop_bias(attention.value)


@transposed(changes="query kernel+key kernel+value kernel", each=attentions)
def qkv_kernels_transposed(attention):
    """The kernels of query, key and value are used transposed."""
    transpose(attention.query)
    transpose(attention.key)
    transpose(attention.value)


@transposed(changes="output kernel", each=attentions)
def output_kernel_transposed(attention):
    """The kernel of attention's output projection is used transposed."""
    transpose(attention.output)


@wrong_attention(seen="graykode/nlp-tutorial", changes="output kernel+output bias")
def output_projection_missing(attention):
    """The output projection of attention is missing.

    ? What mixes the heads with each other?
    @ After the heads are merged there is one more linear layer.
    ! Apply the output projection to the merged heads.
    """
    attention.output = nn.Identity()


@wrong_bias(seen="attention code from models without biases", changes="output bias")
def output_bias_missing(attention):
    """The output projection of attention has no bias."""
    drop_bias(attention.output)


@wrong_attention(
    seen="torch.nn.MultiheadAttention returns averaged weights by default", changes="softmax"
)
def probabilities_averaged(attention):
    """All heads use the probabilities of their mean.

    ? Does every head choose for itself what to read?
    @ The probabilities are the same in all heads.
    ! Multiply each head's values by that head's own probabilities.
    """

    def averaged(x):
        probabilities = x.softmax(dim=-1)
        return probabilities.mean(dim=1, keepdim=True).expand_as(probabilities)

    attention.probabilities = Steps(averaged)


@mistake(
    "weights", seen="joint matrices of other model families", changes="key order", each=attentions
)
def key_heads_rolled(attention):
    """The heads of the keys are in another order than those of the queries.

    ? With which key does the query of head 0 meet?
    @ A joint query-key-value matrix was cut in the wrong order.
    ! Cut the joint matrix so that head a of the query meets head a of the key.
    """

    def attend(original, query, key, value, bias):
        return original(query, torch.roll(key, 1, dims=1), value, bias)

    override(attention, "attend", attend)
