"""Exercise 18. A score for every word of the vocabulary.

Check yourself: python -m tutorials.check 18
"""

from torch import Tensor

from tutorials.exercises.todo import TODO


def masked_word_scores(
    hidden_states: Tensor, weights: dict[str, Tensor], token_table: Tensor
) -> Tensor:
    """(batch, tokens, hidden) -> (batch, tokens, vocabulary)

    Linear layer, exact GELU, LayerNorm (epsilon 1e-12), then the dot product with every row of
    the token table (vocabulary, hidden), plus one bias for each word.

    weights  a dict: "transform.weight", "transform.bias", "norm.weight", "norm.bias", and "bias"
             (vocabulary,)

    >>> weights = {"transform.weight": torch.eye(2), "transform.bias": torch.zeros(2)}
    >>> weights |= {"norm.weight": torch.ones(2), "norm.bias": torch.zeros(2)}
    >>> weights["bias"] = torch.tensor([0.0, 0.5, 0.0])
    >>> table = torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 1.0]])
    >>> masked_word_scores(torch.tensor([[[2.0, 1.0]]]), weights, table)
    tensor([[[ 1.0000, -0.5000,  2.0000]]])
    """
    return TODO("transform, then compare with every word")
