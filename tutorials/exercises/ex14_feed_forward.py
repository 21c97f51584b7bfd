"""Exercise 14. Each token by itself: up, GELU, down.

Check yourself: python -m tutorials.check 14
"""

from torch import Tensor

from tutorials.exercises.todo import TODO


def feed_forward(
    x: Tensor, up_weight: Tensor, up_bias: Tensor, down_weight: Tensor, down_bias: Tensor
) -> Tensor:
    """(batch, tokens, hidden) -> (batch, tokens, hidden), through `intermediate` numbers.

    up_weight    (intermediate, hidden), up_bias (intermediate,)
    down_weight  (hidden, intermediate), down_bias (hidden,)

    The activation is the exact GELU.

    >>> one = torch.ones(1, 1)
    >>> feed_forward(torch.tensor([[[1.0]]]), one, torch.zeros(1), 2 * one, torch.ones(1))
    tensor([[[2.6827]]])
    """
    return TODO("two linear layers with GELU between them")
