"""Exercise 08. Equation 1, whole.

Check yourself: python -m tutorials.check 08
"""

from torch import Tensor

from tutorials.exercises.todo import TODO


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt(d_k) + bias) V

    query   (batch, heads, queries, head_size)
    key     (batch, heads, keys, head_size)
    value   (batch, heads, keys, head_size)
    bias    (batch, 1, 1, keys), 0 for keys that may be read, very negative for the others
    result  (batch, heads, queries, head_size)

    >>> zero, value = torch.zeros(1, 1, 2, 1), torch.tensor([[[[2.0], [4.0]]]])
    >>> attend(zero, zero, value, torch.tensor([[[[0.0, 0.0]]]]))
    tensor([[[[3.],
              [3.]]]])
    >>> attend(zero, zero, value, torch.tensor([[[[0.0, -10000.0]]]]))
    tensor([[[[2.],
              [2.]]]])
    """
    return TODO("scores, bias, softmax, weighted sum")
