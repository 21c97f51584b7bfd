"""What can be set: how examples are made, how to pretrain, how to fine-tune.

Each field carries a line of help, and the command line makes an option of each: `learning_rate`
is --learning-rate, with the default that stands here. No torch in this file: the command line
reads it before it knows which command is wanted.
"""

import dataclasses
import math
from dataclasses import field
from typing import Any


def _check_at_least(settings: Any, least: int, *names: str) -> None:
    for name in names:
        if getattr(settings, name) < least:
            raise ValueError(f"{name} must be at least {least}, got {getattr(settings, name)}")


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """What decides the examples; written beside them."""

    length: int = field(default=128, metadata={"help": "T, tokens of a row, [CLS] and [SEP] too"})
    mask_share: float = field(default=0.15, metadata={"help": "share of pieces that are chosen"})
    whole_words: bool = field(default=False, metadata={"help": "choose all pieces of a word"})
    short_share: float = field(
        default=0.1, metadata={"help": "share of rows that aim at a random, shorter length"}
    )
    duplicates: int = field(
        default=1, metadata={"help": "passes over the text, each with other hidden words"}
    )
    held_out: float = field(
        default=0.01, metadata={"help": "share of documents kept apart to measure on"}
    )
    seed: int = field(default=0, metadata={"help": "of all that is drawn"})

    def __post_init__(self) -> None:
        if not 8 <= self.length < 2**15:
            raise ValueError(f"length must be at least 8 and below {2**15}, got {self.length}")
        _check_at_least(self, 1, "duplicates")
        for name in ("mask_share", "short_share", "held_out"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")

    @property
    def most_hidden(self) -> int:
        """P, the most pieces that are chosen in one row."""
        return max(1, round(self.mask_share * (self.length - 3)))


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """How to pretrain; kept in the checkpoint."""

    steps: int = field(default=10_000, metadata={"help": "after which the learning rate is 0"})
    minutes: float | None = field(
        default=None, metadata={"help": "train so long instead; the schedule follows the clock"}
    )
    last_phase: float = field(
        default=0.1, metadata={"help": "share of the run for the last data folder of several"}
    )
    fresh_masks: bool = field(
        default=False, metadata={"help": "hide other words at every step, not those in the folder"}
    )
    batch_size: int = field(default=64, metadata={"help": "rows of a step, over all devices"})
    first_batch_size: int | None = field(
        default=None, metadata={"help": "rows of the first steps, doubled up to the batch size"}
    )
    ramp: float = field(default=0.05, metadata={"help": "share of the run with smaller batches"})
    micro_batch_size: int | None = field(
        default=None, metadata={"help": "rows that one device holds at once (all of its share)"}
    )
    learning_rate: float = field(default=1e-3, metadata={"help": "the highest, after the warm-up"})
    warmup: float = field(default=0.05, metadata={"help": "share of the steps"})
    weight_decay: float = field(
        default=0.01, metadata={"help": "of matrices; biases and LayerNorms have none"}
    )
    beta2: float = field(
        default=0.999, metadata={"help": "AdamW's memory for the squares of gradients"}
    )
    clip: float = field(default=1.0, metadata={"help": "longer gradients are shortened to it"})
    average: float | None = field(
        default=None,
        metadata={"help": "decay of a moving average of the weights in the last phase"},
    )
    bf16: bool = field(
        default=False, metadata={"help": "compute in bfloat16 where that is safe, not in float32"}
    )
    compile: bool = field(
        default=False, metadata={"help": "torch.compile: slow to start, then faster on a GPU"}
    )
    count_first: bool = field(
        default=False, metadata={"help": "start new weights from counts over the text"}
    )
    seed: int = field(default=0, metadata={"help": "of weights, order and dropout"})
    log_every: int = field(default=50, metadata={"help": "steps to a row of the log"})
    eval_every: int = field(default=1000, metadata={"help": "steps to a look at held-out rows"})
    eval_rows: int = field(default=1024, metadata={"help": "held-out rows of one look"})
    save_every: int = field(default=1000, metadata={"help": "steps to a save"})

    def __post_init__(self) -> None:
        _check_at_least(self, 1, "steps", "batch_size", "log_every", "eval_every", "eval_rows")
        _check_at_least(self, 1, "save_every")
        for name in ("micro_batch_size", "first_batch_size"):
            if getattr(self, name) is not None:
                _check_at_least(self, 1, name)
        if (self.first_batch_size or 1) > self.batch_size:
            raise ValueError(
                f"first_batch_size must be at most batch_size, {self.batch_size}, to which it "
                f"grows; got {self.first_batch_size}"
            )
        if self.minutes is not None and not self.minutes > 0:
            raise ValueError(f"minutes must be above 0, got {self.minutes}")
        for name in ("warmup", "ramp", "last_phase", "beta2", "average"):
            if not 0 <= (getattr(self, name) or 0) < 1:
                raise ValueError(f"{name} must be a share in [0, 1), got {getattr(self, name)}")
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate must lie in (0, 1), got {self.learning_rate}")
        if self.clip <= 0 or self.weight_decay < 0:
            raise ValueError(
                "clip must be above 0 and weight_decay not below it, got "
                f"{self.clip} and {self.weight_decay}"
            )

    @property
    def total(self) -> float:
        """What the schedule runs over: steps, or seconds if the run goes by the clock."""
        return self.steps if self.minutes is None else 60 * self.minutes

    @property
    def batch_sizes(self) -> list[int]:
        """Rows of a step, from the first steps to the last."""
        sizes = [self.first_batch_size or self.batch_size]
        while sizes[-1] < self.batch_size:
            sizes.append(min(2 * sizes[-1], self.batch_size))
        return sizes

    def batch_size_at(self, done: float) -> int:
        """Rows of a step when `done` of `total` lie behind: doubled at equal parts of the ramp.

        >>> settings = TrainSettings(steps=1000, batch_size=64, first_batch_size=16, ramp=0.1)
        >>> [settings.batch_size_at(step) for step in (0, 49, 50, 99, 100)]
        [16, 16, 32, 32, 64]
        """
        if done >= self.ramp * self.total:
            return self.batch_size
        doublings = len(self.batch_sizes) - 1
        return self.batch_sizes[int(doublings * done / (self.ramp * self.total))]


@dataclasses.dataclass(frozen=True)
class SentenceSettings(TrainSettings):
    """How to train sentence vectors; kept in the checkpoint. What it does not use of pretraining's
    settings has no option on the command line."""

    learning_rate: float = field(default=5e-4, metadata={"help": "the highest, after the warm-up"})
    max_length: int = field(
        default=64, metadata={"help": "tokens read of a text, [CLS] and [SEP] too"}
    )
    similarity_weight: float = field(
        default=10.0,
        metadata={"help": "with a teacher: of the cosines within a batch, beside the directions"},
    )
    scale: float = field(
        default=20.0, metadata={"help": "with pairs: what cosines are multiplied by"}
    )
    highest_score: float = field(
        default=1.0, metadata={"help": "with scores: that of two texts that mean the same"}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_at_least(self, 2, "batch_size")
        _check_at_least(self, 3, "max_length")
        for name in ("scale", "highest_score"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.similarity_weight < 0:
            raise ValueError(f"similarity_weight must be at least 0, got {self.similarity_weight}")


@dataclasses.dataclass(frozen=True)
class FinetuneSettings:
    """How to fine-tune. The paper found the rates 5e-5, 3e-5 and 2e-5, 2 to 4 epochs, and batches
    of 16 or 32 to work well (appendix A.3); a small BERT takes a larger rate."""

    epochs: int = field(default=3, metadata={"help": "passes over the training texts"})
    batch_size: int = field(default=32, metadata={"help": "texts of a step"})
    learning_rate: float = field(default=5e-5, metadata={"help": "the highest, after the warm-up"})
    warmup: float = field(default=0.1, metadata={"help": "share of the steps"})
    weight_decay: float = field(
        default=0.01, metadata={"help": "of matrices; biases and LayerNorms have none"}
    )
    clip: float = field(default=1.0, metadata={"help": "longer gradients are shortened to it"})
    max_length: int | None = field(
        default=None,
        metadata={"help": "tokens of a row, [CLS] and [SEP] too (128, for questions 384)"},
    )
    patience: int | None = field(
        default=None,
        metadata={"help": "stop after so many epochs without a better score, keep the best"},
    )
    freeze: bool = field(
        default=False, metadata={"help": "train the new layer alone, on a BERT that stays as it is"}
    )
    bf16: bool = field(
        default=False, metadata={"help": "compute in bfloat16 where that is safe, not in float32"}
    )
    seed: int = field(default=0, metadata={"help": "of the new layer, order and dropout"})
    save_every: int = field(default=1000, metadata={"help": "steps to a checkpoint"})

    def __post_init__(self) -> None:
        _check_at_least(self, 1, "epochs", "batch_size", "save_every")
        if self.max_length is not None:
            _check_at_least(self, 3, "max_length")
        if self.patience is not None:
            _check_at_least(self, 1, "patience")
        self.schedule(1)  # which checks the others

    def schedule(self, texts: int) -> TrainSettings:
        """The same as step.py wants it, with the number of steps."""
        return TrainSettings(
            steps=self.epochs * math.ceil(texts / self.batch_size),
            learning_rate=self.learning_rate,
            warmup=self.warmup,
            weight_decay=self.weight_decay,
            clip=self.clip,
        )
