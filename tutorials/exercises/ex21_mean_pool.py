"""Exercise 21. One vector for a whole text.

Check yourself: python -m tutorials.check 21
"""

from torch import Tensor

from tutorials.exercises.todo import TODO


def mean_pool(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    """The mean of the vectors of the real tokens.

    hidden_states   (batch, tokens, hidden)
    attention_mask  (batch, tokens), 1 for real tokens, 0 for padding
    result          (batch, hidden)

    >>> states = torch.tensor([[[1.0], [3.0], [100.0]]])
    >>> mean_pool(states, torch.tensor([[1, 1, 0]]))
    tensor([[2.]])
    """
    return TODO("mean over the real tokens")
