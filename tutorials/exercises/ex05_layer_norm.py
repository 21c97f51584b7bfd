"""Exercise 05. LayerNorm by hand, without nn.LayerNorm.

Check yourself: python -m tutorials.check 05
"""

from torch import Tensor

from tutorials.exercises.todo import TODO


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Each vector to mean 0 and variance 1, then times `weight`, plus `bias`.

    x             (batch, tokens, hidden)
    weight, bias  (hidden,), the paper's gamma and beta
    result        (batch, tokens, hidden)

    BERT's epsilon is 1e-12; it is added to the variance, which is the biased one.

    >>> layer_norm(torch.tensor([[[1.0, 3.0]]]), torch.tensor([1.0, 2.0]), torch.tensor([0.0, 5.0]))
    tensor([[[-1.,  7.]]])
    """
    return TODO("normalise over the last axis")
