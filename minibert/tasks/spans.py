"""How answers are looked for in a long text. No torch: the command line makes options of it.

Source: google-research/bert `run_squad.py`, its flags and function _check_is_max_context.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import field


@dataclasses.dataclass(frozen=True)
class SpanSettings:
    """How answers are looked for; the defaults and names are those of run_squad.py."""

    doc_stride: int = field(default=128, metadata={"help": "pieces from one window to the next"})
    max_query_length: int = field(default=64, metadata={"help": "pieces read of a question"})
    max_answer_length: int = field(default=30, metadata={"help": "pieces of an answer"})
    n_best_size: int = field(default=20, metadata={"help": "answers listed for a question"})
    null_score_diff_threshold: float = field(
        default=0.0, metadata={"help": "how much better no answer must be than the best one"}
    )

    def __post_init__(self) -> None:
        for name in ("doc_stride", "max_query_length", "max_answer_length", "n_best_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def fullest_window(piece: int, reads: Sequence[range]) -> int:
    """The number of the window in which a piece has most context: the smaller of what stands to its
    left and to its right, and of equal ones the longer window.

    >>> fullest_window(4, [range(0, 6), range(3, 9)]), fullest_window(5, [range(0, 6), range(3, 9)])
    (0, 1)
    """
    scores = [
        min(piece - read.start, read.stop - 1 - piece) + 0.01 * len(read) if piece in read else -1
        for read in reads
    ]
    return scores.index(max(scores))
