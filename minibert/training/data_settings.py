"""What decides the examples that BERT is trained on."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """What decides the examples; written beside them.

    length       T, the pieces of a row, with [CLS] and two [SEP]
    mask_share   the share of pieces that are chosen
    whole_words  choose all pieces of a word, or none
    short_share  the share of rows that aim at a random, shorter length
    duplicates   passes over the text, each with other chunks and other hidden words
    held_out     the share of documents kept apart to measure on
    """

    length: int = 128
    mask_share: float = 0.15
    whole_words: bool = False
    short_share: float = 0.1
    duplicates: int = 1
    held_out: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if not 8 <= self.length < 2**15:
            raise ValueError(f"length must be at least 8 and below {2**15}, got {self.length}")
        if self.duplicates < 1:
            raise ValueError(f"duplicates must be at least 1, got {self.duplicates}")
        for name in ("mask_share", "short_share", "held_out"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")

    @property
    def most_hidden(self) -> int:
        """P, the most pieces that are chosen in one row."""
        return max(1, round(self.mask_share * (self.length - 3)))
