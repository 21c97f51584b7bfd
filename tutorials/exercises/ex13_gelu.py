"""Exercise 13. GELU by hand, without nn.GELU.

Check yourself: python -m tutorials.check 13
"""

from torch import Tensor

from tutorials.exercises.todo import TODO


def gelu(x: Tensor) -> Tensor:
    """x times the normal distribution function at x: the exact form, with torch.erf.

    x, result: any shape

    >>> gelu(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.1587,  0.0000,  0.8413])
    """
    return TODO("x * 0.5 * (1 + erf(...))")
