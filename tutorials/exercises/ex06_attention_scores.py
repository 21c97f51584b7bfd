"""Exercise 06. How well does each query fit each key?

Check yourself: python -m tutorials.check 06
"""

from torch import Tensor

from tutorials.exercises.todo import TODO


def attention_scores(query: Tensor, key: Tensor) -> Tensor:
    """The scaled dot products, Q K^T / sqrt(d_k) in equation 1 of Vaswani et al.

    query   (batch, heads, queries, head_size)
    key     (batch, heads, keys, head_size)
    result  (batch, heads, queries, keys)

    >>> query = torch.tensor([[[[1.0, 1.0, 1.0, 1.0]]]])
    >>> key = torch.tensor([[[[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 2.0]]]])
    >>> attention_scores(query, key)
    tensor([[[[5., 1.]]]])
    """
    return TODO("multiply every query with every key")
