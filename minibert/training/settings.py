"""What can be set: how examples are made, how to pretrain, how to fine-tune.

Each field carries a line of help, and the command line makes an option of each: `learning_rate`
is --learning-rate, with the default that stands here. No torch in this file: the command line
reads it before it knows which command is wanted.
"""

import dataclasses
import math

from minibert.system.settings import check_at_least, option


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """What decides the examples; written beside them."""

    length: int = option(128, "T, tokens of a row, [CLS] and [SEP] too")
    mask_share: float = option(0.15, "share of pieces that are chosen")
    whole_words: bool = option(False, "choose all pieces of a word")
    short_share: float = option(0.1, "share of rows that aim at a random, shorter length")
    duplicates: int = option(1, "passes over the text, each with other hidden words")
    held_out: float = option(0.01, "share of documents kept apart to measure on")
    seed: int = option(0, "of all that is drawn")

    def __post_init__(self) -> None:
        if not 8 <= self.length < 2**15:
            raise ValueError(f"length must be at least 8 and below {2**15}, got {self.length}")
        check_at_least(self, 1, "duplicates")
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

    steps: int = option(10_000, "after which the learning rate is 0")
    minutes: float | None = option(None, "train so long instead; the schedule follows the clock")
    last_phase: float = option(0.1, "share of the run for the last data folder of several")
    fresh_masks: bool = option(False, "hide other words at every step, not those in the folder")
    batch_size: int = option(64, "rows of a step, over all devices")
    first_batch_size: int | None = option(
        None, "rows of the first steps, doubled up to the batch size"
    )
    ramp: float = option(0.05, "share of the run with smaller batches")
    micro_batch_size: int | None = option(
        None, "rows that one device holds at once (all of its share)"
    )
    learning_rate: float = option(1e-3, "the highest, after the warm-up")
    warmup: float = option(0.05, "share of the steps")
    weight_decay: float = option(0.01, "of matrices; biases and LayerNorms have none")
    beta2: float = option(0.999, "AdamW's memory for the squares of gradients")
    clip: float = option(1.0, "longer gradients are shortened to it")
    average: float | None = option(
        None, "decay of a moving average of the weights in the last phase"
    )
    bf16: bool = option(False, "compute in bfloat16 where that is safe, not in float32")
    compile: bool = option(False, "torch.compile: slow to start, then faster on a GPU")
    count_first: bool = option(False, "start new weights from counts over the text")
    seed: int = option(0, "of weights, order and dropout")
    log_every: int = option(50, "steps to a row of the log")
    eval_every: int = option(1000, "steps to a look at held-out rows")
    eval_rows: int = option(1024, "held-out rows of one look")
    save_every: int = option(1000, "steps to a save")

    def __post_init__(self) -> None:
        check_at_least(self, 1, "steps", "batch_size", "log_every", "eval_every", "eval_rows")
        check_at_least(self, 1, "save_every")
        check_at_least(self, 1, "micro_batch_size", "first_batch_size")
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

    learning_rate: float = option(5e-4, "the highest, after the warm-up")
    max_length: int = option(64, "tokens read of a text, [CLS] and [SEP] too")
    similarity_weight: float = option(
        10.0, "with a teacher: of the cosines within a batch, beside the directions"
    )
    scale: float = option(20.0, "with pairs: what cosines are multiplied by")
    highest_score: float = option(1.0, "with scores: that of two texts that mean the same")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 2, "batch_size")
        check_at_least(self, 3, "max_length")
        for name in ("scale", "highest_score"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.similarity_weight < 0:
            raise ValueError(f"similarity_weight must be at least 0, got {self.similarity_weight}")


@dataclasses.dataclass(frozen=True)
class FinetuneSettings:
    """How to fine-tune. The paper found the rates 5e-5, 3e-5 and 2e-5, 2 to 4 epochs, and batches
    of 16 or 32 to work well (appendix A.3); a small BERT takes a larger rate."""

    epochs: int = option(3, "passes over the training texts")
    batch_size: int = option(32, "texts of a step")
    learning_rate: float = option(5e-5, "the highest, after the warm-up")
    warmup: float = option(0.1, "share of the steps")
    weight_decay: float = option(0.01, "of matrices; biases and LayerNorms have none")
    clip: float = option(1.0, "longer gradients are shortened to it")
    max_length: int | None = option(
        None, "tokens of a row, [CLS] and [SEP] too (128, for questions 384)"
    )
    patience: int | None = option(
        None, "stop after so many epochs without a better score, keep the best"
    )
    freeze: bool = option(False, "train the new layer alone, on a BERT that stays as it is")
    bf16: bool = option(False, "compute in bfloat16 where that is safe, not in float32")
    seed: int = option(0, "of the new layer, order and dropout")
    save_every: int = option(1000, "steps to a checkpoint")

    def __post_init__(self) -> None:
        check_at_least(self, 1, "epochs", "batch_size", "save_every")
        check_at_least(self, 1, "patience")
        check_at_least(self, 3, "max_length")
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
