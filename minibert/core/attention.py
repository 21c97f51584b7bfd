"""How a token chooses what to read: mask, scaled dot product, many heads.

Two forms with one meaning. The explicit one is written as the formula

    softmax(Q K^T / sqrt(D) + bias) V

and is used whenever attention probabilities are asked for; PyTorch's fused
`scaled_dot_product_attention` is used otherwise. They differ by rounding alone.

Not in the paper: the query, key and value projections have biases, and dropout falls on the
attention probabilities too.

Source: Vaswani et al. 2017, section 3.2, equation 1; google-research/bert `modeling.py`,
function attention_layer.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minibert.core.config import BertConfig


def attention_bias_from_mask(attention_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Turn a mask (B, T), 1 = may be read, 0 = padding, into a bias to add to the scores.

    The bias (B, 1, 1, T) is the same for every head and for every query: what is hidden are
    columns. Hidden columns get the most negative number, whose exponential is 0. (Google's code
    of 2018 has -10000 here, which float16 can hold; minus infinity would give NaN in a row with
    nothing to read.)

    >>> attention_bias_from_mask(torch.tensor([[1, 1, 0]]), torch.float32)
    tensor([[[[ 0.0000e+00,  0.0000e+00, -3.4028e+38]]]])
    """
    nothing = torch.zeros(attention_mask.shape, dtype=dtype, device=attention_mask.device)  # (B, T)
    bias = nothing.masked_fill(attention_mask == 0, torch.finfo(dtype).min)  # (B, T)
    return bias[:, None, None, :]  # (B, 1, 1, T)


class BertAttention(nn.Module):
    """Every token reads all tokens of its text, in A different ways at once.

    (B, T, H) -> (B, T, H), and the probabilities (B, A, T, T) if `explicit`, else None.
    Rows of the probabilities are queries (who reads), columns are keys (who is read). Each row
    sums to 1, but in training, where dropout follows.

    >>> attention = BertAttention(BertConfig(hidden_size=20, num_attention_heads=4))
    >>> output, probabilities = attention(torch.randn(2, 3, 20), explicit=True)
    >>> output.shape, probabilities.shape
    (torch.Size([2, 3, 20]), torch.Size([2, 4, 3, 3]))
    """

    def __init__(self, config: BertConfig):
        super().__init__()
        H = config.hidden_size
        self.heads = config.num_attention_heads
        self.scale = config.head_size**-0.5
        self.query = nn.Linear(H, H)
        self.key = nn.Linear(H, H)
        self.value = nn.Linear(H, H)
        self.scores = nn.Identity()
        self.masked_scores = nn.Identity()
        self.probabilities = nn.Softmax(dim=-1)  # over the keys
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)
        self.context = nn.Identity()
        self.output = nn.Linear(H, H)

    def split_heads(self, projected: Tensor) -> Tensor:
        """(B, T, H) -view-> (B, T, A, D) -transpose-> (B, A, T, D)

        A `view` straight to (B, A, T, D) would have the same shape, and mix up the tokens.
        """
        B, T, H = projected.shape
        return projected.view(B, T, self.heads, H // self.heads).transpose(1, 2)  # (B, A, T, D)

    def merge_heads(self, context: Tensor) -> Tensor:
        """(B, A, T, D) -transpose-> (B, T, A, D) -reshape-> (B, T, H)"""
        B, A, T, D = context.shape
        return context.transpose(1, 2).reshape(B, T, A * D)  # (B, T, H)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, attention_bias: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Equation 1, step by step; all heads of all texts at once."""
        scores = self.scores(query @ key.transpose(2, 3) * self.scale)  # (B, A, T, T)
        masked_scores = scores  # (B, A, T, T)
        if attention_bias is not None:
            masked_scores = scores + attention_bias  # (B, A, T, T)
        masked_scores = self.masked_scores(masked_scores)  # (B, A, T, T)
        probabilities = self.dropout(self.probabilities(masked_scores))  # (B, A, T, T)
        context = probabilities @ value  # (B, A, T, D)
        return context, probabilities

    def forward(
        self, hidden_states: Tensor, attention_bias: Tensor | None = None, explicit: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        query = self.split_heads(self.query(hidden_states))  # (B, A, T, D)
        key = self.split_heads(self.key(hidden_states))  # (B, A, T, D)
        value = self.split_heads(self.value(hidden_states))  # (B, A, T, D)
        probabilities = None
        if explicit:
            context, probabilities = self.attend(query, key, value, attention_bias)
        else:
            p = self.dropout.p if self.training else 0.0
            context = F.scaled_dot_product_attention(query, key, value, attention_bias, p)
        context = self.context(self.merge_heads(context))  # (B, T, H)
        output = self.output(context)  # (B, T, H)
        return output, probabilities
