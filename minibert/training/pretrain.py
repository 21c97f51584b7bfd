"""Pretraining: hide words, guess them, correct the weights; ten thousand times and more.

`step.py` is one step, `loop.py` what every long training does. Going on from a checkpoint, with the
same settings and as many processes, gives the very numbers of a run that was never stopped; but for
a run by the clock (`minutes`), whose number of steps is the machine's.

Several data folders are phases of one run, with one rise and fall of the learning rate: the paper
reads rows of 128 pieces in nine tenths of its steps and of 512 in the last.

Source: Devlin et al. 2018, section 3.1 and appendix A.2.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from minibert.core.config import BertConfig
from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel
from minibert.system import processes
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.training.batches import Examples, rows_from
from minibert.training.checkpoint import MODEL, describe_run, export_model
from minibert.training.fresh_masks import FreshMasks
from minibert.training.loop import Result, Run, train
from minibert.training.run_log import MEASURED
from minibert.training.settings import TrainSettings
from minibert.training.start import repeat_positions, start_from_counts
from minibert.training.step import (
    PretrainingSums,
    Sums,
    learning_rate,
    means,
    training_step,
)


def pretrain(
    data: str | Path | Sequence[str | Path],
    output: str | Path,
    start: BertConfig | BertForPreTraining,
    settings: TrainSettings | None = None,
    *,
    progress: bool = False,
) -> Result:
    """Train on a folder of `prepare`, or on several one after the other; go on where `output`
    holds a checkpoint.

    start  a config, for new weights, or a model to go on training

    `output` gets checkpoint.pt, log.csv and, at every save, the model as a folder that
    `minibert.load` reads. SIGINT, SIGTERM and SIGHUP save and stop after the step in hand. A model
    to start from stays as it is. Raises ValueError if data and model do not fit, the checkpoint is
    of another run, or the loss is NaN; FileExistsError if `output` holds a model and no checkpoint;
    BlockingIOError if another process trains there.
    """
    settings = settings or TrainSettings()
    folders = [data] if isinstance(data, str | Path) else data

    def make_run(device: torch.device) -> PretrainingRun:
        return PretrainingRun([Path(f) for f in folders], Path(output), start, settings, device)

    return train(Path(output), make_run, progress=progress)


class PretrainingRun(Run):
    """What there is to a run besides what all runs have: phases, masks, both losses."""

    model: BertForPreTraining

    def __init__(
        self,
        data: Sequence[Path],
        output: Path,
        start: BertConfig | BertForPreTraining,
        settings: TrainSettings,
        device: torch.device,
    ):
        self.phases = [Examples(folder, device=device) for folder in data]
        for examples in self.phases[1:]:
            examples.check_tokenizer(Tokenizer.from_folder(data[0]), str(data[0]))
        torch.manual_seed(settings.seed)
        if isinstance(start, BertConfig):
            model = BertForPreTraining(BertModel(start))
        elif settings.count_first:
            raise ValueError("count_first is for new weights; the model to start from has some")
        else:
            model = copy.deepcopy(start)
        for examples in self.phases:
            check_fit(examples, model.config)
        self.sums = PretrainingSums(model, settings.bf16).to(device).train()
        self.module: nn.Module = self.sums
        weights = None if isinstance(start, BertConfig) else start
        identity = describe_run(settings, model.config, self.phases, weights)
        super().__init__(model, output, settings, device, identity, Sums._fields, MEASURED)
        if settings.count_first and self.state.step == 0:
            start_from_counts(model, self.phases[0])
        self.enter_phase(self.state.phase)

        if processes.count() > 1:
            self.module = DistributedDataParallel(self.module)
        if settings.compile:
            self.module.compile(dynamic=False)
            self.rehearse()
        self.start_clock()

    def rehearse(self) -> None:
        """Let torch.compile see every shape before the clock of the schedule starts."""
        for examples in self.phases:
            self.sums.most_hidden = examples.settings.most_hidden
            for size in self.settings.batch_sizes:
                for batch in self.batches(examples, self.rows_in(examples, size), start=0):
                    sums = self.module(**batch)
                    (sums.mlm_loss + sums.nsp_loss).backward()
        self.optimizer.zero_grad()
        self.sums.most_hidden = self.examples.settings.most_hidden

    def rows_in(self, examples: Examples, size: int) -> int:
        """As many rows as hold the tokens of `size` rows of the first phase."""
        return max(1, size * self.phases[0].settings.length // examples.settings.length)

    def batches(self, examples: Examples, size: int, start: int) -> list[dict[str, Tensor]]:
        """This device's share of a step: `size` rows after the first `start`."""
        step, settings = self.state.step, self.settings
        return batches_of_step(examples, step, settings, self.device, start, size, self.masks)

    def phase_now(self) -> int:
        """The number of the data folder to read from: the last has its share, the others share
        the rest."""
        settings, before_last = self.settings, len(self.phases) - 1
        share = self.done / settings.total / (1 - settings.last_phase)
        return min(int(share * before_last), before_last)

    def enter_phase(self, number: int) -> None:
        """Read from another folder from now on."""
        self.examples = self.phases[number]
        folder, about = self.examples.folder, self.examples.settings
        self.unseen = Examples(folder, "heldout", self.device) if about.held_out else None
        self.sums.most_hidden = about.most_hidden
        tokenizer = Tokenizer.from_folder(folder)
        self.masks = None
        if self.settings.fresh_masks:
            if about.whole_words:
                raise ValueError(f"{folder} hides whole words, fresh_masks hides single pieces")
            self.masks = FreshMasks(tokenizer, about.mask_share, self.device)
        if number > self.state.phase:
            before = max(examples.settings.length for examples in self.phases[:number])
            repeat_positions(self.model, before)
            self.state.phase, self.state.rows = number, 0

    def step(self) -> None:
        """One training step, and what it adds to the sums since the last measurement."""
        state, settings = self.state, self.settings
        if self.phase_now() > state.phase:
            self.enter_phase(self.phase_now())
        torch.manual_seed(seed_of(settings.seed, state.step, processes.rank()))  # masks, dropout
        size = self.rows_in(self.examples, settings.batch_size_at(self.done))
        batches = self.batches(self.examples, size, state.rows)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.done, settings)
        sums = training_step(self.module, self.optimizer, batches, settings.clip)
        if self.averaged is not None and state.phase == len(self.phases) - 1:
            self.averaged.update_parameters(self.model)
        self.step_done(sums, size)

    def means(self) -> dict[str, float]:
        return means(self.state.sums)

    def heldout(self) -> dict[str, float]:
        if self.unseen is None:
            return {}
        best = cast(BertForPreTraining, self.best)
        sums = PretrainingSums(best, self.settings.bf16, self.sums.most_hidden)
        return evaluate_heldout(sums, self.unseen, self.settings.eval_rows, self.device)

    def export(self) -> None:
        """Write the model for everybody."""
        if processes.rank() == 0:
            best = cast(BertForPreTraining, self.best)
            export_model(self.output / MODEL, best, self.examples.folder)


def check_fit(examples: Examples, config: BertConfig) -> None:
    """Raise ValueError if the model cannot read the examples."""
    if examples.vocab_size > config.vocab_size:
        raise ValueError(
            f"{examples.folder} was prepared with a vocabulary of {examples.vocab_size} tokens, "
            f"the model has {config.vocab_size}: prepare the text with the model's own"
        )
    if examples.settings.length > config.max_position_embeddings:
        raise ValueError(
            f"the rows of {examples.folder} are {examples.settings.length} pieces long, the model "
            f"takes {config.max_position_embeddings}: prepare shorter rows, or enlarge "
            "max_position_embeddings"
        )


def batches_of_step(
    examples: Examples,
    step: int,
    settings: TrainSettings,
    device: torch.device,
    start: int | None = None,
    size: int | None = None,
    masks: FreshMasks | None = None,
) -> list[dict[str, Tensor]]:
    """This device's share of the step's rows, in batches of `micro_batch_size` rows.

    They are the `size` rows after the first `start`; by default all steps have `batch_size`.
    """
    size = settings.batch_size if size is None else size
    start = step * size if start is None else start
    rows = rows_from(start, size, len(examples), settings.seed)
    mine = rows[processes.rank() :: processes.count()]
    if len(mine) == 0:
        raise ValueError(
            f"batch_size must be at least the number of devices, {processes.count()}, got {size}"
        )
    micro = settings.micro_batch_size or len(mine)
    parts = [mine[at : at + micro] for at in range(0, len(mine), micro)]
    return [
        {name: tensor.to(device) for name, tensor in examples.batch(part, masks).items()}
        for part in parts
    ]


def seed_of(seed: int, step: int, rank: int) -> int:
    """Another number for every seed, step and device."""
    return (seed * 2**42 + step * 2**12 + rank) % 2**63


@torch.no_grad()
def evaluate_heldout(
    module: nn.Module, heldout: Examples, rows: int, device: torch.device
) -> dict[str, float]:
    """The means over the first `rows` held-out rows, in eval mode; each device takes its share."""
    inner = module.module if isinstance(module, DistributedDataParallel) else module
    training = inner.training
    inner.eval()
    total = torch.zeros(len(Sums._fields), device=device, dtype=torch.float64)
    mine = np.arange(processes.rank(), min(rows, len(heldout)), processes.count())
    for at in range(0, len(mine), 32):
        batch = heldout.batch(mine[at : at + 32])
        sums = inner(**{name: tensor.to(device) for name, tensor in batch.items()})
        total += torch.stack([value.to(total) for value in sums])
    inner.train(training)
    return {f"heldout_{name}": v for name, v in means(processes.add_up(total).cpu()).items()}
