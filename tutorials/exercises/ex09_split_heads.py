"""Exercise 09. One vector, cut into heads.

Check yourself: python -m tutorials.check 09
"""

from torch import Tensor

from tutorials.exercises.todo import TODO


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(batch, tokens, hidden) -> (batch, heads, tokens, head_size)

    Head 0 of a token takes the first head_size numbers of its vector, head 1 the next, and so on.

    >>> split_heads(torch.tensor([[[1, 2, 3, 4], [5, 6, 7, 8]]]), 2)
    tensor([[[[1, 2],
              [5, 6]],
    <BLANKLINE>
             [[3, 4],
              [7, 8]]]])
    """
    return TODO("cut the last axis, then move the heads")
