"""Exercise 11. From a mask of 0 and 1 to a bias that hides padding.

Check yourself: python -m tutorials.check 11
"""

from torch import Tensor

from tutorials.exercises.todo import TODO


def attention_bias(attention_mask: Tensor) -> Tensor:
    """What must be added to the scores, so that nobody reads padding?

    attention_mask  (batch, keys), 1 = may be read, 0 = padding
    result          (batch, 1, 1, keys), float64: 0, or a number so negative that its exponential
                    is 0

    >>> attention_bias(torch.tensor([[1, 1, 0]])) < -1000
    tensor([[[[False, False,  True]]]])
    """
    return TODO("0 where the mask is 1, very negative where it is 0")
