"""Exercise 22. One step of AdamW.

Check yourself: python -m tutorials.check 22
"""

from torch import Tensor

from tutorials.exercises.todo import TODO


def adamw_step(
    parameter: Tensor, gradient: Tensor, m: Tensor, v: Tensor, step: int
) -> tuple[Tensor, Tensor, Tensor]:
    """-> (parameter, m, v), new tensors; the old ones stay as they are.

    parameter, gradient  tensors of one shape
    m, v                 running means of the gradient and of its square, 0 at the start
    step                 1 for the first step

    Learning rate 0.01, betas 0.9 and 0.999, eps 1e-8, weight decay 0.1. Both means are corrected
    for their start at 0; eps is added to the root; the decay is decoupled from
    the gradient, and taken of the old parameter.

    >>> zero = torch.zeros(2)
    >>> start, gradient = torch.tensor([1.0, 0.0]), torch.tensor([5.0, -5.0])
    >>> parameter, m, v = adamw_step(start, gradient, zero, zero, 1)
    >>> parameter
    tensor([0.9890, 0.0100])
    """
    return TODO("update m and v, correct them, step, decay")
