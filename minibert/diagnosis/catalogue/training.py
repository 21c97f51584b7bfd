"""Known mistakes that eval mode cannot show: dropout's place, and paths that carry no gradient."""

from torch import nn

from minibert.diagnosis.catalogue.block import change_block
from minibert.diagnosis.catalogue.mistake import attentions, blocks, mistake, override


@mistake(
    "dropout",
    seen="three public course solutions that pass the course's own check",
    kind="train",
    changes="block order",
)
def dropout_after_norm(model):
    """Dropout falls on what leaves LayerNorm, not on the dense layer's output.

    ? Draw one block. Where do its two dropouts on hidden states stand?
    @ After each output's dense layer, before the sum.
    ! norm(dropout(dense(x)) + residual).
    """
    for block in blocks(model):

        def forward(original, x, bias=None, explicit=False, block=block):
            attended, probabilities = block.attention(x, bias, explicit)
            middle = block.dropout(block.attention_norm(block.attention_sum(attended + x)))
            summed = block.output_sum(block.feed_forward(middle) + middle)
            return block.dropout(block.output_norm(summed)), probabilities

        override(block, "forward", forward)


@mistake(
    "dropout",
    seen="a public course solution that passes the course's own check",
    kind="train",
    changes="block order",
)
def dropout_after_sum(model):
    """Dropout falls on the residual sum, not on the dense layer's output.

    ? Draw one block. Where do its two dropouts on hidden states stand?
    @ After each output's dense layer, before the sum.
    ! norm(dropout(dense(x)) + residual).
    """
    for block in blocks(model):

        def forward(original, x, bias=None, explicit=False, block=block):
            attended, probabilities = block.attention(x, bias, explicit)
            summed = block.attention_sum(block.dropout(attended + x))
            middle = block.attention_norm(summed)
            summed = block.output_sum(block.dropout(block.feed_forward(middle) + middle))
            return block.output_norm(summed), probabilities

        override(block, "forward", forward)


@mistake(
    "dropout",
    seen="a public course solution that passes the course's own check",
    kind="train",
    changes="block dropout",
)
def dropout_before_dense(model):
    """Dropout falls on the input of the dense layers, not on their output.

    ? Draw one block. Where do its two dropouts on hidden states stand?
    @ After each output's dense layer, before the sum.
    ! norm(dropout(dense(x)) + residual).
    """
    for block in blocks(model):
        block.early_dropout, block.dropout = block.dropout, nn.Identity()

        def dropped_first(original, x, dropout=block.early_dropout):
            return original(dropout(x))

        override(block.attention.output, "forward", dropped_first)
        override(block.feed_forward.down, "forward", dropped_first)


@mistake(
    "dropout",
    seen="course solutions that define dropout and never call it",
    kind="train",
    changes="block dropout",
)
def dropout_missing_in_blocks(model):
    """The hidden states of the blocks get no dropout.

    ? Draw one block. Where do its two dropouts on hidden states stand?
    @ After each output's dense layer, before the sum.
    ! norm(dropout(dense(x)) + residual).
    """
    for block in blocks(model):
        block.dropout = nn.Identity()


@mistake("dropout", seen="course solutions", kind="train", changes="block order")
def dropout_missing_after_feed_forward(model):
    """Dropout falls on attention's output alone; the feed-forward output gets none.

    ? Draw one block. Where do its two dropouts on hidden states stand?
    @ After each output's dense layer, before the sum.
    ! norm(dropout(dense(x)) + residual).
    """

    def compute(block, x, attend, think):
        middle = block.attention_norm(block.attention_sum(attend(x) + x))
        return block.output_norm(block.output_sum(block.feed_forward(middle) + middle))

    change_block(model, compute)


@mistake(
    "dropout",
    seen="eight of 23 public course solutions that define it",
    kind="train",
    changes="attention dropout",
)
def attention_dropout_missing(model):
    """The attention probabilities get no dropout.

    ? Which tensor inside attention is dropped out?
    @ It is not in the paper, but in the released code: after softmax.
    ! dropout(softmax(scores)) @ value.
    """
    for attention in attentions(model):
        attention.dropout = nn.Dropout(0.0)


@mistake("dropout", seen="codertimo/BERT-pytorch#85", kind="train", changes="attention dropout")
def attention_dropout_on_scores(model):
    """Attention's dropout falls on the scores before softmax, not on the probabilities.

    ? What probability does a score of 0 get?
    @ Look at the order of softmax and dropout.
    ! dropout(softmax(scores)) @ value.
    """
    for attention in attentions(model):

        def attend(original, query, key, value, bias, attention=attention):
            scores = attention.scores(query @ key.transpose(2, 3) * attention.scale)
            scores = attention.dropout(scores if bias is None else scores + bias)
            probabilities = attention.probabilities(attention.masked_scores(scores))
            return probabilities @ value, probabilities

        def forward(original, hidden_states, bias=None, explicit=False):
            return original(hidden_states, bias, True)

        override(attention, "attend", attend)
        override(attention, "forward", forward)


@mistake("dropout", seen="public course solutions", kind="train", changes="embedding dropout")
def embedding_dropout_missing(model):
    """The embeddings get no dropout.

    ? How many places of the whole model have dropout?
    @ The first place is right behind the LayerNorm of the embeddings.
    ! dropout(norm(token + segment + position)).
    """
    model.bert.embeddings.dropout = nn.Identity()


@mistake("dropout", kind="train", changes="embedding dropout")
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


@mistake("gradient", seen="d2l-ai/d2l-en#2121", kind="gradient")
def position_detached(model):
    """The position table gets no gradient.

    ? Which of your parameters has no gradient after loss.backward()?
    @ Look for .data, .detach(), .numpy(), torch.tensor(...) and no_grad on its way.
    ! Use the parameter itself, not its .data.
    """
    detach_table(model, "position")


@mistake("gradient", seen="constants in place of the table", kind="gradient")
def segment_detached(model):
    """The segment table gets no gradient.

    ? Which of your parameters has no gradient after loss.backward()?
    @ Look for .data, .detach(), .numpy(), torch.tensor(...) and no_grad on its way.
    ! Use the parameter itself, not its .data.
    """
    detach_table(model, "segment")


@mistake(
    "gradient",
    seen="d2l's masked-word head; huggingface/transformers#14809",
    kind="gradient",
    changes="tie",
)
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


@mistake(
    "gradient",
    seen="probabilities kept for pictures with .detach()",
    kind="gradient",
    changes="softmax gradient",
)
def probabilities_detached(model):
    """The attention probabilities are cut from the gradient: query and key learn nothing.

    ? Which of your parameters has no gradient after loss.backward()?
    @ Look for .data, .detach(), .numpy(), torch.tensor(...) and no_grad on its way.
    ! Let the probabilities stay a part of the graph.
    """
    for attention in attentions(model):
        override(attention.probabilities, "forward", lambda original, x: original(x).detach())


@mistake(
    "gradient",
    seen="hidden states collected with .detach()",
    kind="gradient",
    changes="stream gradient",
)
def blocks_detached(model):
    """The residual stream is cut from the gradient between blocks.

    ? Down to which block does your gradient reach?
    @ Look for .data, .detach(), .numpy(), torch.tensor(...) and no_grad on its way.
    ! Do not detach the hidden states that one block hands to the next.
    """
    for block in blocks(model)[1:]:
        override(block, "forward", lambda original, x, *others: original(x.detach(), *others))


@mistake("gradient", seen="frozen encoders left frozen", kind="gradient", changes="pooler gradient")
def pooler_detached(model):
    """The pooler is cut from the gradient of the encoder.

    ? What does the next-sentence loss teach the encoder?
    @ Look for .data, .detach(), .numpy(), torch.tensor(...) and no_grad on its way.
    ! Hand the pooler the hidden state itself.
    """
    override(model.bert.pooler, "forward", lambda original, hidden: original(hidden.detach()))
