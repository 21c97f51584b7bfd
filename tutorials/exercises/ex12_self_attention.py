"""Exercise 12. Multi-head self-attention, whole.

Check yourself: python -m tutorials.check 12
"""

from torch import Tensor

from tutorials.exercises.todo import TODO


def self_attention(x: Tensor, bias: Tensor, weights: dict[str, Tensor], heads: int) -> Tensor:
    """Project to queries, keys and values, attend with every head, merge, project again.

    x        (batch, tokens, hidden)
    bias     (batch, 1, 1, tokens), to add to the scores
    weights  a dict: "query.weight", "query.bias", and the same for key, value and output;
             weights are (out, in) as in nn.Linear, so that y = x @ weight.T + bias
    heads    the number of heads
    result   (batch, tokens, hidden)

    You may import your functions of the exercises before, or write it anew.

    >>> eye, zero = torch.eye(2), torch.zeros(2)
    >>> weights = {f"{name}.weight": eye for name in ("query", "key", "value", "output")}
    >>> weights |= {f"{name}.bias": zero for name in ("query", "key", "value", "output")}
    >>> self_attention(torch.ones(1, 3, 2), torch.zeros(1, 1, 1, 3), weights, 2)[0, 0]
    tensor([1., 1.])
    """
    return TODO("project, split, attend, merge, project")
