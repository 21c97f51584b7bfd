"""Exercise 04. Three vectors, one sum.

Check yourself: python -m tutorials.check 04
"""

from torch import Tensor

from tutorials.exercises.todo import TODO


def sum_embeddings(
    input_ids: Tensor,
    token_type_ids: Tensor,
    token_table: Tensor,
    segment_table: Tensor,
    position_table: Tensor,
) -> Tensor:
    """What a token is, which sentence it is in, where it stands: one vector of each, added.

    input_ids, token_type_ids   (batch, tokens)
    token_table                 (vocabulary, hidden)
    segment_table               (2, hidden)
    position_table              (longest text, hidden)
    result                      (batch, tokens, hidden), before LayerNorm

    >>> ids, segments = torch.tensor([[1, 0]]), torch.tensor([[0, 1]])
    >>> token, segment = torch.tensor([[1.0], [2.0]]), torch.tensor([[10.0], [20.0]])
    >>> sum_embeddings(ids, segments, token, segment, torch.tensor([[100.0], [200.0], [300.0]]))
    tensor([[[112.],
             [221.]]])
    """
    return TODO("look up three vectors and add them")
