"""Known mistakes that eval mode cannot show: dropout's place, and paths that carry no gradient."""

from functools import partial

from torch import nn

from minibert.diagnosis.catalogue.block import wrong_order
from minibert.diagnosis.catalogue.mistake import attentions, blocks, mistake, override

wrong_dropout = partial(mistake, "dropout", kind="train")
PLACES = """
    ? Draw one block. Where do its two dropouts on hidden states stand?
    @ After each output's dense layer, before the sum.
    ! norm(dropout(dense(x)) + residual).
    """
block_dropout = partial(wrong_dropout, each=blocks, hints=PLACES)
attention_dropout = partial(wrong_dropout, changes="attention dropout", each=attentions)
wrong_gradient = partial(mistake, "gradient", kind="gradient")
cut_off = partial(
    wrong_gradient,
    hints="""
    ? Which of your parameters has no gradient after loss.backward()?
    @ Look for .data, .detach(), .numpy(), torch.tensor(...) and no_grad on its way.
    """,
)


@block_dropout(
    seen="three public course solutions that pass the course's own check", changes="block order"
)
def dropout_after_norm(block):
    """Dropout falls on what leaves LayerNorm, not on the dense layer's output."""

    def forward(original, x, bias=None, explicit=False):
        attended, probabilities = block.attention(x, bias, explicit)
        middle = block.dropout(block.attention_norm(block.attention_sum(attended + x)))
        summed = block.output_sum(block.feed_forward(middle) + middle)
        return block.dropout(block.output_norm(summed)), probabilities

    override(block, "forward", forward)


@block_dropout(
    seen="a public course solution that passes the course's own check", changes="block order"
)
def dropout_after_sum(block):
    """Dropout falls on the residual sum, not on the dense layer's output."""

    def forward(original, x, bias=None, explicit=False):
        attended, probabilities = block.attention(x, bias, explicit)
        summed = block.attention_sum(block.dropout(attended + x))
        middle = block.attention_norm(summed)
        summed = block.output_sum(block.dropout(block.feed_forward(middle) + middle))
        return block.output_norm(summed), probabilities

    override(block, "forward", forward)


@block_dropout(
    seen="a public course solution that passes the course's own check", changes="block dropout"
)
def dropout_before_dense(block):
    """Dropout falls on the input of the dense layers, not on their output."""
    block.early_dropout, block.dropout = block.dropout, nn.Identity()

    def dropped_first(original, x, dropout=block.early_dropout):
        return original(dropout(x))

    override(block.attention.output, "forward", dropped_first)
    override(block.feed_forward.down, "forward", dropped_first)


@block_dropout(
    seen="course solutions that define dropout and never call it", changes="block dropout"
)
def dropout_missing_in_blocks(block):
    """The hidden states of the blocks get no dropout."""
    block.dropout = nn.Identity()


@wrong_order("dropout", seen="course solutions", kind="train", hints=PLACES)
def dropout_missing_after_feed_forward(block, x, attend, think):
    """Dropout falls on attention's output alone; the feed-forward output gets none."""
    middle = block.attention_norm(block.attention_sum(attend(x) + x))
    return block.output_norm(block.output_sum(block.feed_forward(middle) + middle))


@attention_dropout(seen="eight of 23 public course solutions that define it")
def attention_dropout_missing(attention):
    """The attention probabilities get no dropout.

    ? Which tensor inside attention is dropped out?
    @ It is not in the paper, but in the released code: after softmax.
    ! dropout(softmax(scores)) @ value.
    """
    attention.dropout = nn.Dropout(0.0)


@attention_dropout(seen="codertimo/BERT-pytorch#85")
def attention_dropout_on_scores(attention):
    """Attention's dropout falls on the scores before softmax, not on the probabilities.

    ? What probability does a score of 0 get?
    @ Look at the order of softmax and dropout.
    ! dropout(softmax(scores)) @ value.
    """

    def attend(original, query, key, value, bias):
        scores = attention.scores(query @ key.transpose(2, 3) * attention.scale)
        scores = attention.dropout(scores if bias is None else scores + bias)
        probabilities = attention.probabilities(attention.masked_scores(scores))
        return probabilities @ value, probabilities

    def forward(original, hidden_states, bias=None, explicit=False):
        return original(hidden_states, bias, True)

    override(attention, "attend", attend)
    override(attention, "forward", forward)


@block_dropout(
    seen="public implementations with one probability for all dropouts",
    changes="attention dropout+block dropout",
)
def attention_dropout_of_hidden_rate(block):
    """Attention's dropout has the probability of the hidden states' dropout.

    ? How many probabilities of dropout does the config hold?
    @ attention_probs_dropout_prob is there for the attention probabilities alone.
    ! nn.Dropout(config.attention_probs_dropout_prob).
    """
    block.attention.dropout = nn.Dropout(block.dropout.p)


extra_dropout = partial(
    wrong_dropout,
    hints="""
    ? How many places of one block have dropout?
    @ Count the dropouts between two LayerNorms.
    ! Leave it out: embeddings, attention probabilities, and the two dense outputs have dropout.
    """,
)


def drop_result(module, dropout):
    """Let the result of `module` go through `dropout`."""
    override(module, "forward", lambda original, *inputs: dropout(original(*inputs)))


@extra_dropout(
    seen="codertimo/BERT-pytorch; several BERTs written from scratch",
    changes="activation dropout",
    each=blocks,
)
def dropout_after_activation(block):
    """There is a further dropout inside the feed-forward layer, before or behind GELU."""
    drop_result(block.feed_forward.activation, block.dropout)


@extra_dropout(seen="BERTs written from scratch", changes="merged heads dropout", each=blocks)
def dropout_on_merged_heads(block):
    """There is a further dropout on the merged heads, before attention's output projection."""
    drop_result(block.attention.context, block.dropout)


@extra_dropout(changes="query dropout", each=blocks)
def dropout_on_query_and_key(block):
    """There is a further dropout on queries and keys."""
    drop_result(block.attention.query, block.dropout)
    drop_result(block.attention.key, block.dropout)


@extra_dropout(changes="pooler dropout")
def dropout_on_pooler(model):
    """There is a further dropout on pooler_output.

    ! Leave it out; a classifier that reads pooler_output may have one of its own.
    """
    drop_result(model.bert.pooler.activation, model.bert.embeddings.dropout)


@extra_dropout(changes="head dropout")
def dropout_in_word_head(model):
    """There is a further dropout in the masked-word head.

    ! Leave it out: dense, GELU and LayerNorm are all.
    """
    drop_result(model.masked_word.activation, model.bert.embeddings.dropout)


@wrong_dropout(changes="block dropout", each=blocks)
def dropout_of_whole_columns(block):
    """Dropout on the hidden states drops whole rows of a text at once (Dropout1d or 2d).

    ? Does one draw of your dropout decide about one number, or about many?
    @ nn.Dropout1d and nn.Dropout2d drop whole channels.
    ! nn.Dropout.
    """
    block.dropout = nn.Dropout1d(block.dropout.p)


@wrong_dropout(seen="public course solutions", changes="embedding dropout")
def embedding_dropout_missing(model):
    """The embeddings get no dropout.

    ? How many places of the whole model have dropout?
    @ The first place is right behind the LayerNorm of the embeddings.
    ! dropout(norm(token + segment + position)).
    """
    model.bert.embeddings.dropout = nn.Identity()


@wrong_dropout(changes="embedding dropout")
def embedding_dropout_before_norm(model):
    """The embeddings' dropout comes before LayerNorm, not after it.

    ? What does LayerNorm make of a vector with zeros in it?
    @ The first dropout is right behind the LayerNorm of the embeddings.
    ! dropout(norm(token + segment + position)).
    """
    embeddings = model.bert.embeddings
    embeddings.early_dropout, embeddings.dropout = embeddings.dropout, nn.Identity()
    override(embeddings.norm, "forward", lambda f, x: f(embeddings.early_dropout(x)))


def detach_table(model, name):
    table = getattr(model.bert.embeddings, name)
    override(table, "forward", lambda original, ids: original(ids).detach())


@cut_off(seen="d2l-ai/d2l-en#2121")
def position_detached(model):
    """The position table gets no gradient.

    ! Use the parameter itself, not its .data.
    """
    detach_table(model, "position")


@cut_off(seen="constants in place of the table")
def segment_detached(model):
    """The segment table gets no gradient.

    ! Use the parameter itself, not its .data.
    """
    detach_table(model, "segment")


@wrong_gradient(seen="d2l's masked-word head; huggingface/transformers#14809", changes="tie")
def decoder_not_tied(model):
    """The decoder is a copy of the token table: equal numbers, but not tied.

    ? Where does the gradient of the output layer go?
    @ The token table's gradient lacks the part that comes from the scores of the words.
    ! Use the token table itself in the head: F.linear(x, token.weight, bias).
    """
    override(
        model.masked_word,
        "forward",
        lambda original, hidden, table: original(hidden, table.detach()),
    )


@cut_off(
    seen="probabilities kept for pictures with .detach()",
    changes="softmax gradient",
    each=attentions,
)
def probabilities_detached(attention):
    """The attention probabilities are cut from the gradient: query and key learn nothing.

    ! Let the probabilities stay a part of the graph.
    """
    override(attention.probabilities, "forward", lambda original, x: original(x).detach())


@cut_off(seen="hidden states collected with .detach()", changes="stream gradient")
def blocks_detached(model):
    """The residual stream is cut from the gradient between blocks.

    ? Down to which block does your gradient reach?
    ! Do not detach the hidden states that one block hands to the next.
    """
    for block in blocks(model)[1:]:
        override(block, "forward", lambda original, x, *others: original(x.detach(), *others))


@cut_off(seen="frozen encoders left frozen", changes="pooler gradient")
def pooler_detached(model):
    """The pooler is cut from the gradient of the encoder.

    ? What does the next-sentence loss teach the encoder?
    ! Hand the pooler the hidden state itself.
    """
    override(model.bert.pooler, "forward", lambda original, hidden: original(hidden.detach()))
