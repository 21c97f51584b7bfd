"""Known mistakes of LayerNorm, the feed-forward layer, and the way a block is put together."""

from functools import partial, wraps

import torch
import torch.nn.functional as F
from torch import nn

from minibert.diagnosis.catalogue.attention import Steps, drop_bias, take_parameters
from minibert.diagnosis.catalogue.mistake import blocks, mistake, override


def norms(model):
    """Every LayerNorm of the model."""
    return [module for module in model.modules() if isinstance(module, nn.LayerNorm | OwnNorm)]


class OwnNorm(nn.Module):
    """LayerNorm with every step open to change; unchanged, it is nn.LayerNorm."""

    def __init__(self, norm):
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        self.axis, self.unbiased = -1, False
        self.center = lambda x: x.mean(dim=self.axis, keepdim=True)
        self.root = lambda variance: (variance + self.eps).sqrt()

    def forward(self, x):
        variance = x.var(dim=self.axis, keepdim=True, correction=int(self.unbiased))
        normed = (x - self.center(x)) / self.root(variance)
        return normed * self.weight + self.bias


def own_norms(model):
    """Every LayerNorm of the model as an OwnNorm."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.LayerNorm):
                setattr(parent, name, OwnNorm(child))
    return norms(model)


def feed_forwards(model):
    return [block.feed_forward for block in blocks(model)]


wrong_norm = partial(mistake, "norm", each=norms)
wrong_step = partial(mistake, "norm", each=own_norms)
wrong_feed_forward = partial(mistake, "feed_forward", each=feed_forwards)
wrong_activation = partial(wrong_feed_forward, changes="activation")
wrong_block = partial(mistake, "block", each=blocks)
EPS_SEEN = "keras-hub#642; gluon-nlp#1215; lucidrains/x-transformers#37; Redwood's MLAB"


@wrong_norm(seen=EPS_SEEN, changes="norm eps")
def norm_eps_1e5(norm):
    """LayerNorm's epsilon is 1e-5, PyTorch's default, instead of 1e-12.

    ? Which epsilon does the weights' own config.json name?
    @ Everything is almost right: look for a small constant in LayerNorm.
    ! nn.LayerNorm(H, eps=1e-12).
    """
    norm.eps = 1e-5


@wrong_norm(seen="the Annotated Transformer's default", changes="norm eps")
def norm_eps_1e6(norm):
    """LayerNorm's epsilon is 1e-6 instead of 1e-12.

    ? Which epsilon does the weights' own config.json name?
    @ Everything is almost right: look for a small constant in LayerNorm.
    ! nn.LayerNorm(H, eps=1e-12).
    """
    norm.eps = 1e-6


@wrong_norm(seen="keras.layers.LayerNormalization's default", changes="norm eps")
def norm_eps_1e3(norm):
    """LayerNorm's epsilon is 1e-3, Keras's default, instead of 1e-12.

    ? Which epsilon does the weights' own config.json name?
    @ Everything is almost right: look for a small constant in LayerNorm.
    ! epsilon=1e-12.
    """
    norm.eps = 1e-3


@wrong_step(
    seen="the Annotated Transformer and three copies of it; codertimo/BERT-pytorch#30",
    changes="norm variance",
)
def norm_unbiased(norm):
    """LayerNorm uses the unbiased variance, divided by H - 1.

    ? By what does your variance divide the sum of squares?
    @ torch.var and torch.std divide by H - 1 unless told otherwise; numpy divides by H.
    ! x.var(dim=-1, unbiased=False).
    """
    norm.unbiased = True


@wrong_step(seen="the Annotated Transformer; hyunwoongko/transformer#7", changes="norm eps")
def norm_eps_outside_root(norm):
    """LayerNorm adds an epsilon of 1e-6 to the standard deviation, outside the root.

    ? Is epsilon added to the variance or to its root?
    @ Everything is almost right: look for a small constant in LayerNorm.
    ! (x - mean) / sqrt(variance + 1e-12).
    """
    norm.root = lambda variance: variance.sqrt() + 1e-6


@wrong_step(seen="copies of the Annotated Transformer with BERT's epsilon", changes="norm eps")
def norm_tiny_eps_outside_root(norm):
    """LayerNorm adds its epsilon of 1e-12 to the standard deviation, outside the root.

    ? Is epsilon added to the variance or to its root?
    @ Everything is almost right: look for a small constant in LayerNorm.
    ! (x - mean) / sqrt(variance + 1e-12).
    """
    norm.root = lambda variance: variance.sqrt() + 1e-12


@wrong_step(changes="norm eps")
def norm_without_root(norm):
    """LayerNorm divides by the variance, without the root.

    ? What is the standard deviation of the result, before weight and bias?
    @ Look at the denominator.
    ! (x - mean) / sqrt(variance + eps).
    """
    norm.root = lambda variance: variance + norm.eps


@wrong_step(seen="habits from newer models", changes="norm mean")
def norm_mean_kept(norm):
    """LayerNorm does not subtract the mean (that is RMSNorm, but for its denominator).

    ? What is the mean of the result, before weight and bias?
    @ Look at the numerator.
    ! (x - mean) / sqrt(variance + eps).
    """
    norm.center = lambda x: 0.0


@wrong_step(seen="axis mix-ups with BatchNorm", changes="norm axis")
def norm_over_tokens(norm):
    """LayerNorm normalises over the tokens of a text instead of over the features of a token.

    ? Over which axis should each vector have mean 0 and variance 1?
    @ Look at the dim of mean and variance.
    ! mean and variance over the last axis, dim=-1.
    """
    norm.axis = 1


@wrong_norm(
    seen="salesforce/sqlova#24; files with the old names gamma and beta", changes="norm weight"
)
def norm_weight_missing(norm):
    """LayerNorm's weight (gamma) is not used, or was not loaded and is still 1.

    ? In a fresh LayerNorm, what is the weight? And in a trained one?
    @ Old files call it gamma: did your loading report it as missing?
    ! Multiply by the loaded weight.
    """
    norm.weight = nn.Parameter(torch.ones_like(norm.weight))


@wrong_norm(
    seen="salesforce/sqlova#24; files with the old names gamma and beta", changes="norm bias"
)
def norm_bias_missing(norm):
    """LayerNorm's bias (beta) is not used, or was not loaded and is still 0.

    ? In a fresh LayerNorm, what is the bias? And in a trained one?
    @ Old files call it beta: did your loading report it as missing?
    ! Add the loaded bias.
    """
    norm.bias = nn.Parameter(torch.zeros_like(norm.bias))


@wrong_norm(seen="renaming of gamma and beta while loading", changes="norm weight+norm bias")
def norm_weight_and_bias_swapped(norm):
    """LayerNorm's weight and bias are exchanged (gamma and beta).

    ? Which of gamma and beta is multiplied, and which is added?
    @ gamma is near 1 and beta near 0 in a trained model.
    ! normed * gamma + beta; gamma is the weight, beta the bias.
    """
    norm.weight, norm.bias = norm.bias, norm.weight


@wrong_activation(seen="CyberZHG/keras-bert#129; huggingface/candle#900")
def gelu_tanh(layer):
    """The activation is the tanh approximation of GELU, not the exact one.

    ? GELU has two definitions that differ by 0.0005. Which do these weights use?
    @ The differences are largest where the input is near +2.7 and -2.7.
    ! x * 0.5 * (1 + erf(x / sqrt(2))), or nn.GELU() as it is.
    """
    layer.activation = nn.GELU(approximate="tanh")


@wrong_activation(seen="QuickGELU of other model families")
def gelu_sigmoid(layer):
    """The activation is the sigmoid approximation of GELU, x * sigmoid(1.702 x).

    ? GELU has an exact definition and two approximations. Which do these weights use?
    @ The differences are up to 0.02.
    ! x * 0.5 * (1 + erf(x / sqrt(2))), or nn.GELU() as it is.
    """
    layer.activation = Steps(lambda x: x * (1.702 * x).sigmoid())


@wrong_activation(seen="habits from newer models")
def silu(layer):
    """The activation is SiLU (swish), x * sigmoid(x), not GELU.

    ? Which function does hidden_act name?
    @ The shape is like GELU's, but the differences are up to 0.2.
    ! x * 0.5 * (1 + erf(x / sqrt(2))), or nn.GELU() as it is.
    """
    layer.activation = nn.SiLU()


@wrong_activation(seen="d2l's BERT; labml.ai; course solutions")
def relu(layer):
    """The activation is ReLU, not GELU.

    ? The original Transformer has ReLU here. What does BERT have?
    @ All negative inputs of the activation have become 0.
    ! nn.GELU().
    """
    layer.activation = nn.ReLU()


@wrong_activation(seen="two course solutions that call the first layer again after GELU")
def activation_missing(layer):
    """There is no activation, or its result is thrown away.

    ? What are two linear layers in a row without anything between them?
    @ The activation's result equals its input.
    ! Pass GELU's result on to the second linear layer.
    """
    layer.activation = nn.Identity()


@wrong_feed_forward(changes="feed-forward order")
def activation_after_down(layer):
    """GELU comes after the second linear layer, not between the two.

    ? What are two linear layers in a row without anything between them?
    @ Look at the order: up, GELU, down.
    ! down(gelu(up(x))).
    """

    def forward(original, hidden_states):
        return layer.activation(layer.down(layer.up(hidden_states)))

    override(layer, "forward", forward)


@wrong_feed_forward(seen="habits from newer models", changes="up bias+down bias")
def feed_forward_biases_missing(layer):
    """The feed-forward layers have no biases.

    ? Which parameters does the weights file hold for these layers?
    @ The difference is the same vector at every token.
    ! nn.Linear with its bias, for both layers.
    """
    drop_bias(layer.up)
    drop_bias(layer.down)


@wrong_feed_forward(seen="partial loading", changes="down bias")
def down_bias_missing(layer):
    """The second linear layer of the feed-forward part has no bias.

    ? Which parameters does the weights file hold for this layer?
    @ The difference is the same vector at every token.
    ! nn.Linear with its bias.
    """
    drop_bias(layer.down)


def change_block(model, compute):
    """Let `compute(block, x, attend, think)` stand for every block's forward pass.

    attend(x) and think(x) are attention and feed-forward with the dropout after each.
    """
    for block in blocks(model):

        def forward(original, hidden_states, bias=None, explicit=False, block=block):
            tables = []

            def attend(x):
                attended, probabilities = block.attention(x, bias, explicit)
                tables.append(probabilities)
                return block.dropout(attended)

            def think(x):
                return block.dropout(block.feed_forward(x))

            return compute(block, hidden_states, attend, think), tables[0]

        override(block, "forward", forward)


def wrong_order(part="block", **others):
    """Enter the decorated function as `compute` of `change_block`."""

    def enter(compute):
        change = wraps(compute)(lambda model: change_block(model, compute))
        return mistake(part, changes="block order", **others)(change)

    return enter


@wrong_order(seen="unfinished course solutions")
def attention_residual_missing(block, x, attend, think):
    """The residual sum around attention is missing.

    ? What does each of the two sums of a block add up?
    @ Only attention's own output enters the first LayerNorm.
    ! attention_norm(attended + hidden_states).
    """
    middle = block.attention_norm(block.attention_sum(attend(x)))
    return block.output_norm(block.output_sum(think(middle) + middle))


@wrong_order(seen="graykode/nlp-tutorial")
def feed_forward_residual_missing(block, x, attend, think):
    """The residual sum around the feed-forward layer is missing.

    ? What does each of the two sums of a block add up?
    @ Only the feed-forward layer's own output enters the second LayerNorm.
    ! output_norm(feed_forward(middle) + middle).
    """
    middle = block.attention_norm(block.attention_sum(attend(x) + x))
    return block.output_norm(block.output_sum(think(middle)))


@wrong_order(seen="course solutions")
def residual_from_block_input(block, x, attend, think):
    """The second residual sum adds the input of the block, not that of the feed-forward layer.

    ? What does each of the two sums of a block add up?
    @ The wrong tensor is added to the feed-forward layer's output.
    ! output_norm(feed_forward(middle) + middle), where middle left the first LayerNorm.
    """
    middle = block.attention_norm(block.attention_sum(attend(x) + x))
    return block.output_norm(block.output_sum(think(middle) + x))


@wrong_order(seen="half-way mixtures of pre- and post-norm")
def residual_from_sum(block, x, attend, think):
    """The second residual sum adds the sum before the first LayerNorm, not what left it.

    ? What does each of the two sums of a block add up?
    @ The wrong tensor is added to the feed-forward layer's output.
    ! output_norm(feed_forward(middle) + middle), where middle left the first LayerNorm.
    """
    summed = block.attention_sum(attend(x) + x)
    return block.output_norm(block.output_sum(think(block.attention_norm(summed)) + summed))


@wrong_order(seen="parallel blocks of other models")
def feed_forward_reads_block_input(block, x, attend, think):
    """The feed-forward layer reads the input of the block, not attention's result.

    ? What does the feed-forward layer read?
    @ The feed-forward layer starts from the wrong tensor.
    ! feed_forward(middle), where middle left the first LayerNorm.
    """
    middle = block.attention_norm(block.attention_sum(attend(x) + x))
    return block.output_norm(block.output_sum(think(x) + middle))


@wrong_order(seen="codertimo/BERT-pytorch; labml.ai")
def pre_norm(block, x, attend, think):
    """LayerNorm comes before attention and feed-forward (pre-norm), not after the sums.

    ? Does BERT normalise what enters a sublayer, or what leaves the sum?
    @ The hidden states grow with every block.
    ! norm(x + sublayer(x)), not x + sublayer(norm(x)).
    """
    middle = block.attention_sum(attend(block.attention_norm(x)) + x)
    return block.output_sum(think(block.output_norm(middle)) + middle)


@wrong_order()
def norm_before_sum(block, x, attend, think):
    """LayerNorm is applied to the sublayer's output before the sum: x + norm(sublayer(x)).

    ? Does BERT normalise the sublayer's output, or the sum?
    @ The residual stream itself is never normalised.
    ! norm(x + sublayer(x)).
    """
    middle = block.attention_sum(block.attention_norm(attend(x)) + x)
    return block.output_sum(block.output_norm(think(middle)) + middle)


@wrong_block(seen="a fork; course solutions", changes="norm places")
def norm_shared(block):
    """One LayerNorm serves both places of a block.

    ? How many LayerNorms does the weights file hold for one block?
    @ The second LayerNorm computes with the first one's weight and bias.
    ! Two LayerNorms in each block, each with its own weight and bias.
    """
    take_parameters(block.output_norm, block.attention_norm)


@wrong_block(seen="a fork", changes="norm places")
def norms_swapped(block):
    """The two LayerNorms of a block are exchanged.

    ? Which LayerNorm of the weights file belongs to which sum?
    @ attention.output.LayerNorm is the first, output.LayerNorm the second.
    ! Exchange the two.
    """
    first = block.attention_norm.weight, block.attention_norm.bias
    take_parameters(block.attention_norm, block.output_norm)
    block.output_norm.weight, block.output_norm.bias = first


@wrong_block(seen="unfinished implementations", changes="attention norm")
def attention_norm_missing(block):
    """The LayerNorm after attention is missing.

    ? How many LayerNorms does one block have?
    @ The first residual sum goes on without LayerNorm.
    ! attention_norm(attended + hidden_states).
    """
    block.attention_norm = nn.Identity()


@wrong_block(seen="graykode/nlp-tutorial", changes="output norm")
def output_norm_missing(block):
    """The LayerNorm after the feed-forward layer is missing.

    ? How many LayerNorms does one block have?
    @ The second residual sum goes on without LayerNorm.
    ! output_norm(feed_forward(middle) + middle).
    """
    block.output_norm = nn.Identity()


@mistake("block", seen="[layer] * L in Python; ALBERT does it by design", changes="blocks")
def blocks_are_one(model):
    """All blocks compute with the weights of block 0.

    ? Is a list of twelve blocks twelve blocks, or one block twelve times?
    @ Block 0 is right; block 1 uses the same weights again.
    ! [Block() for _ in range(L)], not [Block()] * L.
    """
    first, *others = blocks(model)
    for block in others:
        for name, module in first.named_modules():
            if isinstance(module, nn.Linear | nn.LayerNorm | OwnNorm):
                take_parameters(block.get_submodule(name), module)


@mistake("block", seen="off-by-one loops; hidden_states[-2] taken for the last", changes="blocks")
def last_block_missing(model):
    """The last block is left out.

    ? How many blocks does the config ask for, and how many run?
    @ All blocks are right as far as they run; the last hidden state is one too early.
    ! range(L) runs from 0 to L - 1: L blocks.
    """
    override(blocks(model)[-1], "forward", lambda original, x, *others: (x, None))


@mistake("block", seen="lucidrains/x-transformers#37", changes="final norm")
def final_norm_added(model):
    """There is one more LayerNorm after the last block.

    ? What stands between the last block and the output?
    @ All blocks are right; only the last hidden state differs.
    ! Remove the final LayerNorm: it belongs to pre-norm models.
    """

    def encode(original, *args, **others):
        last, states, attentions = original(*args, **others)
        return F.layer_norm(last, last.shape[-1:], eps=1e-12), states, attentions

    override(model.bert.encoder, "forward", encode)
