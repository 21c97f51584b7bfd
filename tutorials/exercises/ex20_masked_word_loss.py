"""Exercise 20. How surprised was the model at the hidden words?

Check yourself: python -m tutorials.check 20
"""

from torch import Tensor

from tutorials.exercises.todo import TODO


def masked_word_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy, in nats, over the places that have a label -> one number, a tensor ().

    logits  (batch, tokens, vocabulary), scores before softmax
    labels  (batch, tokens), an id, or -100 where no loss is taken

    >>> masked_word_loss(torch.zeros(1, 3, 8), torch.tensor([[-100, 5, -100]]))  # log 8
    tensor(2.0794)
    """
    return TODO("cross-entropy at the labelled places")
