"""Exercise 10. The heads, back in one vector.

Check yourself: python -m tutorials.check 10
"""

from torch import Tensor

from tutorials.exercises.todo import TODO


def merge_heads(context: Tensor) -> Tensor:
    """(batch, heads, tokens, head_size) -> (batch, tokens, hidden)

    The inverse of split_heads.

    >>> merge_heads(torch.tensor([[[[1, 2], [5, 6]], [[3, 4], [7, 8]]]]))
    tensor([[[1, 2, 3, 4],
             [5, 6, 7, 8]]])
    """
    return TODO("move the heads back, then join")
