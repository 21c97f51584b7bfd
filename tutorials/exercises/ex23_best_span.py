"""Exercise 23. The part of a text that answers a question.

Check yourself: python -m tutorials.check 23
"""

from torch import Tensor

from tutorials.exercises.todo import TODO


def best_span(
    start_logits: Tensor, end_logits: Tensor, is_text: Tensor, longest: int
) -> tuple[int, int]:
    """-> (first, last), the places of the answer's first and last token, two whole numbers.

    start_logits, end_logits  (T,), how well an answer begins and ends at each token
    is_text                   (T,), 1 at the tokens of the text, 0 at [CLS], question and [SEP]
    longest                   the most tokens that an answer may have

    Of all answers that lie in the text, end where they begin or later, and are not too long, the
    one with the highest sum of its two scores.

    >>> scores = torch.tensor([9.0, 1.0, 3.0, 2.0]), torch.tensor([9.0, 5.0, 2.0, 1.0])
    >>> best_span(*scores, torch.tensor([0, 1, 1, 1]), 2)
    (1, 1)
    """
    return TODO("sums of all pairs; minus infinity where there is no answer; the largest")
