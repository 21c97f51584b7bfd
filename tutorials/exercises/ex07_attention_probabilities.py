"""Exercise 07. From scores to probabilities.

Check yourself: python -m tutorials.check 07
"""

from torch import Tensor

from tutorials.exercises.todo import TODO


def attention_probabilities(scores: Tensor) -> Tensor:
    """Softmax: how much does each query read from each key?

    scores  (batch, heads, queries, keys)
    result  (batch, heads, queries, keys)

    Which axis must sum to 1? Think of who reads and who is read.

    >>> attention_probabilities(torch.tensor([[[[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]]]))
    tensor([[[[0.5000, 0.5000],
              [0.5000, 0.5000],
              [0.5000, 0.5000]]]])
    """
    return TODO("softmax along the right axis")
