"""Known mistakes behind the encoder: pooler, masked-word head, next-sentence head."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from minibert.diagnosis.catalogue.attention import drop_bias, transpose, transposed
from minibert.diagnosis.catalogue.mistake import mistake, override

wrong_pooler = partial(mistake, "pooler")
wrong_words = partial(mistake, "masked_word")
wrong_transform = partial(
    wrong_words,
    hints="""
    ? How many steps lie between a hidden state and the scores of the words?
    @ dense, GELU, LayerNorm, then the token table and a bias.
    ! norm(gelu(dense(hidden))).
    """,
)
wrong_pair = partial(mistake, "next_sentence")


@wrong_pooler(seen="course solutions", changes="pooler activation")
def pooler_tanh_missing(model):
    """The pooler has no tanh.

    ? Between which numbers does pooler_output lie?
    @ Some numbers of pooler_output are above 1 or below -1.
    ! tanh(dense(first token)).
    """
    model.bert.pooler.activation = nn.Identity()


def pool(model, choose):
    override(model.bert.pooler, "forward", lambda original, hidden: original(choose(hidden)))


@wrong_pooler(seen="habits from text generators", changes="pooler token")
def pooler_takes_last_token(model):
    """The pooler takes the last token instead of the first.

    ? Which token is [CLS]?
    @ Look at the index before the pooler's dense layer.
    ! hidden_states[:, 0].
    """
    pool(model, lambda hidden: hidden[:, -1:])


@wrong_pooler(
    seen="mean pooling mistaken for pooler_output: google-research/bert#164", changes="pooler token"
)
def pooler_takes_mean(model):
    """The pooler takes the mean of all tokens instead of the first token.

    ? Which token's vector does the pooler read?
    @ Despite its name, BERT's pooler takes no mean.
    ! hidden_states[:, 0].
    """
    pool(model, lambda hidden: hidden.mean(dim=1, keepdim=True))


@wrong_pooler(
    seen="google-research/bert#1067; kpe/bert-for-tf2#82", changes="pooler dense+pooler activation"
)
def pooler_missing(model):
    """The pooler is left out: the first token's hidden state is given back as it is.

    ? How many steps lie between [CLS]'s hidden state and pooler_output?
    @ There are a dense layer and tanh.
    ! tanh(dense(first token)).
    """
    model.bert.pooler.dense = nn.Identity()
    model.bert.pooler.activation = nn.Identity()


@transposed(changes="pooler dense")
def pooler_kernel_transposed(model):
    """The pooler's kernel is used transposed."""
    transpose(model.bert.pooler.dense)


def change_words(model, guess):
    """Replace the transform of the masked-word head: hidden (B, T, H) -guess-> (B, T, H)."""
    head = model.masked_word

    def forward(original, hidden, table):
        return head.logits(F.linear(guess(hidden), table, head.bias))

    override(head, "forward", forward)


@wrong_transform(
    seen="labml.ai; course solutions; the paper does not mention the transform", changes="transform"
)
def transform_missing(model):
    """The masked-word head has no transform: the hidden states meet the token table directly.

    ! Apply dense, GELU and LayerNorm before the token table.
    """
    change_words(model, lambda hidden: hidden)


@wrong_transform(changes="head activation")
def transform_activation_missing(model):
    """The masked-word head has no activation."""
    model.masked_word.activation = nn.Identity()


@wrong_words(seen="d2l's masked-word head", changes="head activation")
def transform_relu(model):
    """The masked-word head has ReLU instead of GELU.

    ? Which activation do the blocks use, and which the head?
    @ The activation of the head follows hidden_act.
    ! norm(gelu(dense(hidden))).
    """
    model.masked_word.activation = nn.ReLU()


@wrong_words(seen="models with two GELUs in them", changes="head activation")
def transform_gelu_tanh(model):
    """The masked-word head has the tanh approximation of GELU.

    ? GELU has two definitions that differ by 0.0005. Which do these weights use?
    @ The activation of the head follows hidden_act.
    ! nn.GELU() as it is.
    """
    model.masked_word.activation = nn.GELU(approximate="tanh")


@wrong_transform(changes="head norm")
def transform_norm_missing(model):
    """The masked-word head has no LayerNorm."""
    model.masked_word.norm = nn.Identity()


@wrong_words(seen="huggingface/transformers#1460", changes="word bias")
def word_bias_missing(model):
    """The scores of the words have no bias.

    ? The matrix is the token table. Whose is the bias?
    @ The difference is the same for one word at every token.
    ! Add cls.predictions.bias, one number per word.
    """
    model.masked_word.bias = nn.Parameter(torch.zeros_like(model.masked_word.bias))


@wrong_words(seen="huggingface/transformers#2928", changes="word bias")
def word_bias_twice(model):
    """The bias of the words is added twice.

    ? decoder.bias and predictions.bias: are they two biases, or one under two names?
    @ The difference is the same for one word at every token.
    ! Add it once.
    """
    model.masked_word.bias = nn.Parameter(2 * model.masked_word.bias.detach())


@wrong_words(seen="softmax before nn.CrossEntropyLoss", changes="scores")
def words_softmaxed(model):
    """The masked-word head gives probabilities, not scores.

    ? Which function does cross-entropy apply to what it gets?
    @ Your numbers of one token sum to 1.
    ! Give the scores back; take softmax where probabilities are wanted.
    """
    override(model.masked_word.logits, "forward", lambda original, scores: scores.softmax(dim=-1))


@wrong_words(seen="codertimo/BERT-pytorch, by design", changes="scores")
def words_log_softmaxed(model):
    """The masked-word head gives log-probabilities, not scores.

    ? What does log_softmax subtract from every score of a token?
    @ Your numbers are all negative; the loss is right nonetheless.
    ! Give the scores back; cross-entropy takes log_softmax itself.
    """
    override(model.masked_word.logits, "forward", lambda f, scores: scores.log_softmax(dim=-1))


@transposed(changes="transform")
def transform_kernel_transposed(model):
    """The kernel of the masked-word transform is used transposed."""
    transpose(model.masked_word.transform)


@wrong_pair(
    seen="huggingface/transformers threads on the meaning of label 0", changes="pair scores"
)
def next_sentence_columns_swapped(model):
    """The two scores of the next-sentence head are exchanged.

    ? Which label means that B follows A: 0 or 1?
    @ Your two columns are the reference's in the other order.
    ! Column 0 is 'B follows A', column 1 is 'B is random'.
    """
    head = model.next_sentence.logits
    head.weight = nn.Parameter(head.weight.detach().flip(0))
    head.bias = nn.Parameter(head.bias.detach().flip(0)) if head.bias is not None else None


@wrong_pair(seen="google-research/bert#1067", changes="pair input")
def next_sentence_skips_pooler(model):
    """The next-sentence head reads [CLS]'s hidden state, not pooler_output.

    ? Which of the two vectors of [CLS] was trained on this task?
    @ The pooler is right, but not used.
    ! next_sentence(pooler_output).
    """
    held = {}

    def keep(original, hidden):
        held["cls"] = hidden[:, 0]
        return original(hidden)

    override(model.bert.pooler, "forward", keep)
    override(model.next_sentence, "forward", lambda original, pooled: original(held["cls"]))


@wrong_pair(seen="partial loading", changes="pair bias")
def next_sentence_bias_missing(model):
    """The next-sentence head has no bias.

    ? Which parameters does the weights file hold for this head?
    @ The difference is the same pair of numbers for every text.
    ! nn.Linear(H, 2), with its bias.
    """
    drop_bias(model.next_sentence.logits)
