"""Exercise 16. [CLS] to pooler_output.

Check yourself: python -m tutorials.check 16
"""

from torch import Tensor

from tutorials.exercises.todo import TODO


def pooler(hidden_states: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The first token's vector through a linear layer and tanh.

    hidden_states  (batch, tokens, hidden)
    weight         (hidden, hidden), as (out, in)
    bias           (hidden,)
    result         (batch, hidden)

    >>> pooler(torch.tensor([[[0.5], [9.0]]]), torch.tensor([[2.0]]), torch.tensor([0.0]))
    tensor([[0.7616]])
    """
    return TODO("first token, linear layer, tanh")
