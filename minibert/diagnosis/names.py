"""What the tensors are called in sentences and in formulas."""

import re

# tensor -> (what it is, how the papers write it)
TITLES = {
    "embeddings.token": ("the token vectors", "E, Devlin figure 2"),
    "embeddings.segment": ("the segment vectors", "E_A and E_B, Devlin figure 2"),
    "embeddings.position": ("the position vectors", "E_0, E_1, ..., Devlin figure 2"),
    "embeddings.sum": ("the sum of the embeddings", "token + segment + position"),
    "embeddings.norm": ("the embeddings after LayerNorm", "LayerNorm(sum)"),
    "attention.query": ("the queries", "Q = x W^Q + b"),
    "attention.key": ("the keys", "K = x W^K + b"),
    "attention.value": ("the values", "V = x W^V + b"),
    "attention.scores": ("the attention scores", "Q K^T / sqrt(d_k), Vaswani equation 1"),
    "attention.masked_scores": ("the masked scores", "Q K^T / sqrt(d_k) + bias"),
    "attention.probabilities": ("the attention probabilities", "softmax(...), Vaswani equation 1"),
    "attention.context": ("the merged heads", "Concat(head_1, ..., head_A), Vaswani 3.2.2"),
    "attention.output": ("the output of attention", "Concat(...) W^O + b, Vaswani 3.2.2"),
    "attention_sum": ("the sum of attention and residual", "x + Sublayer(x), Vaswani 3.1"),
    "attention_norm": ("the hidden states after the first LayerNorm", "LayerNorm(x + Sublayer(x))"),
    "feed_forward.up": ("what enters the activation", "x W_1 + b_1, Vaswani equation 2"),
    "feed_forward.activation": ("what leaves the activation", "GELU(x W_1 + b_1)"),
    "feed_forward.down": ("the feed-forward output", "GELU(x W_1 + b_1) W_2 + b_2"),
    "output_sum": ("the sum of feed-forward and residual", "x + Sublayer(x), Vaswani 3.1"),
    "output_norm": ("the hidden states that leave the block", "LayerNorm(x + Sublayer(x))"),
    "last_hidden_state": ("the last hidden states", "T_i, Devlin figure 1"),
    "pooler.dense": ("the pooler before tanh", "C W + b"),
    "pooler.activation": ("pooler_output", "tanh(C W + b)"),
    "masked_word.transform": ("the masked-word transform", "T_i W + b"),
    "masked_word.activation": ("the masked-word transform after GELU", "GELU(T_i W + b)"),
    "masked_word.norm": ("the masked-word transform after LayerNorm", "LayerNorm(GELU(...))"),
    "masked_word.logits": ("the scores of the words", "LayerNorm(...) E^T + b"),
    "next_sentence.logits": ("the next-sentence scores", "pooler_output W + b"),
    "loss": ("the loss", "masked-word + next-sentence"),
}


def title(name: str) -> str:
    """A tensor's name in words.

    >>> title("encoder.blocks.0.attention.scores")
    'the attention scores of block 0 (Q K^T / sqrt(d_k), Vaswani equation 1)'
    >>> title("gelu")
    'gelu'
    """
    block = re.fullmatch(r"encoder\.blocks\.(\d+)\.(.+)", name)
    known = TITLES.get(block[2] if block else name)
    if known is None:
        return name
    words, formula = known
    if block:
        words = words.replace("the block", f"block {block[1]}")
        words += "" if f"block {block[1]}" in words else f" of block {block[1]}"
    return f"{words} ({formula})"
