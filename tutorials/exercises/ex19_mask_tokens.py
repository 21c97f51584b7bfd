"""Exercise 19. Which tokens are hidden, and what the model must find.

Check yourself: python -m tutorials.check 19
"""

from torch import Tensor

from tutorials.exercises.todo import TODO


def mask_tokens(
    input_ids: Tensor, chosen: Tensor, action: Tensor, random_ids: Tensor
) -> tuple[Tensor, Tensor]:
    """Prepare ids for masked-word training -> (ids, labels), both (batch, tokens), new tensors.

    input_ids       (batch, tokens); ids 0 to 4 are special tokens, 4 is [MASK]
    chosen, action  (batch, tokens), random numbers in [0, 1)
    random_ids      (batch, tokens), a random word for each place

    A token that is not special is to be predicted where chosen < 0.15. There it becomes [MASK]
    where action < 0.8, the random word where 0.8 <= action < 0.9, and stays where action >= 0.9.
    labels: the original id where a token is to be predicted, -100 elsewhere.

    >>> ids, words = torch.tensor([[2, 7, 8, 9]]), torch.tensor([[5, 5, 5, 5]])
    >>> chosen = torch.tensor([[0.1, 0.1, 0.1, 0.9]])
    >>> action = torch.tensor([[0.5, 0.5, 0.85, 0.5]])
    >>> mask_tokens(ids, chosen, action, words)
    (tensor([[2, 4, 5, 9]]), tensor([[-100,    7,    8, -100]]))
    """
    return TODO("choose, replace, label")
