"""Exercise 15. One block: where the sums, the norms and the dropouts stand.

Check yourself: python -m tutorials.check 15
"""

from collections.abc import Callable

from torch import Tensor

from tutorials.exercises.todo import TODO

Part = Callable[[Tensor], Tensor]


def block(
    x: Tensor,
    attention: Part,
    feed_forward: Part,
    attention_norm: Part,
    output_norm: Part,
    dropout: Part,
) -> Tensor:
    """(batch, tokens, hidden) -> (batch, tokens, hidden)

    attention, feed_forward, attention_norm, output_norm and dropout are functions of one tensor,
    given to you. BERT normalises after each sum. Dropout is called twice.

    The check calls you once with a dropout that lets everything pass, and once with one that
    drops everything.

    >>> double, minus_one, same = lambda x: 2 * x, lambda x: x - 1, lambda x: x
    >>> block(torch.tensor([[[1.0]]]), double, double, minus_one, same, same)
    tensor([[[6.]]])
    """
    return TODO("attention, dropout, sum, norm; feed-forward, dropout, sum, norm")
