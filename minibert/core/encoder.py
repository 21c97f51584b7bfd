"""One block, twelve times: attention, feed-forward, and a residual sum around each.

BERT normalises *after* the sum ("post-LN"), as the original Transformer does; most later models
normalise before. LayerNorm takes the biased variance, and eps inside the root:

    (x - mean) / sqrt(variance + eps) * weight + bias

and torch's `nn.LayerNorm` is exactly that. `weight` and `bias` are the paper's gamma and beta.

Source: Vaswani et al. 2017, section 3.1 and 3.3; Hendrycks & Gimpel 2016 (GELU);
google-research/bert `modeling.py`, function transformer_model.
"""

from torch import Tensor, nn

from minibert.core.attention import BertAttention
from minibert.core.config import BertConfig


def activation_function(name: str) -> nn.Module:
    """GELU, x times the normal distribution function at x.

    "gelu" is exact (erf), as in Google's release of October 2018 and in transformers;
    "gelu_new" approximates with tanh, as in Google's code since February 2019. They differ by up
    to 4.7e-4, and after twelve blocks by about 1e-3: too much for rounding.

    >>> activation_function("gelu_new")
    GELU(approximate='tanh')
    """
    return nn.GELU(approximate={"gelu": "none", "gelu_new": "tanh"}[name])


class BertFeedForward(nn.Module):
    """Each token by itself: H -up-> I -GELU-> I -down-> H."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.up = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = activation_function(config.hidden_act)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden_states: Tensor) -> Tensor:
        raised = self.activation(self.up(hidden_states))  # (B, T, I)
        return self.down(raised)  # (B, T, H)


class BertBlock(nn.Module):
    """Read from the other tokens, then think alone.

        -+-> attention -> dropout -> (+) -> norm -+-> feed_forward -> dropout -> (+) -> norm ->
         +---------------------------->+          +------------------------------->+

    (B, T, H) -> (B, T, H), and the attention probabilities (B, A, T, T) if `explicit`.
    """

    def __init__(self, config: BertConfig):
        super().__init__()
        H, eps = config.hidden_size, config.layer_norm_eps
        self.attention = BertAttention(config)
        self.attention_sum = nn.Identity()
        self.attention_norm = nn.LayerNorm(H, eps=eps)
        self.feed_forward = BertFeedForward(config)
        self.output_sum = nn.Identity()
        self.output_norm = nn.LayerNorm(H, eps=eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self, hidden_states: Tensor, attention_bias: Tensor | None = None, explicit: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        attended, probabilities = self.attention(hidden_states, attention_bias, explicit)
        summed = self.attention_sum(self.dropout(attended) + hidden_states)  # (B, T, H)
        middle = self.attention_norm(summed)  # (B, T, H)

        summed = self.output_sum(self.dropout(self.feed_forward(middle)) + middle)  # (B, T, H)
        output = self.output_norm(summed)  # (B, T, H)
        return output, probabilities


class BertEncoder(nn.Module):
    """L blocks in a row.

    Returns the last hidden state (B, T, H); with `keep_states` also what entered the first block
    and what left every block, L + 1 tensors (B, T, H); with `explicit` also the L attention
    probabilities (B, A, T, T).
    """

    def __init__(self, config: BertConfig):
        super().__init__()
        self.blocks = nn.ModuleList(BertBlock(config) for _ in range(config.num_hidden_layers))

    def forward(
        self,
        hidden_states: Tensor,
        attention_bias: Tensor | None = None,
        *,
        keep_states: bool = False,
        explicit: bool = False,
    ) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        states, attentions = [hidden_states], []
        for block in self.blocks:
            hidden_states, probabilities = block(hidden_states, attention_bias, explicit)
            if keep_states:
                states.append(hidden_states)
            if probabilities is not None:
                attentions.append(probabilities)
        return hidden_states, tuple(states), tuple(attentions)
