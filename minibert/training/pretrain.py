"""Pretraining: hide words, guess them, correct the weights; ten thousand times and more.

`step.py` is one step; here is the loop around it. Nothing random is carried along: the rows and
the dropout of step s depend on the seed and s alone. So a checkpoint is weights, the optimizer's
averages and a number. Going on from it, with the same settings and as many processes, gives the
very numbers of a run that was never stopped.

Source: Devlin et al. 2018, section 3.1 and appendix A.2.
"""

import copy
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from minibert.core.config import BertConfig
from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel
from minibert.system import processes
from minibert.training.batches import Examples, rows_of_step
from minibert.training.checkpoint import (
    MODEL,
    State,
    StopRequest,
    describe_run,
    export_model,
    read_checkpoint,
    write_checkpoint,
)
from minibert.training.run_log import RunLog
from minibert.training.settings import TrainSettings
from minibert.training.start import start_from_counts
from minibert.training.step import (
    PretrainingSums,
    Sums,
    learning_rate,
    make_optimizer,
    means,
    training_step,
)


class Result(NamedTuple):
    """Where training stands: finished, or stopped by a signal and ready to go on."""

    step: int
    finished: bool
    signal: int | None
    folder: Path
    rank: int


def pretrain(
    data: str | Path,
    output: str | Path,
    start: BertConfig | BertForPreTraining,
    settings: TrainSettings | None = None,
    *,
    progress: bool = False,
) -> Result:
    """Train on a folder of `prepare`; go on where `output` holds a checkpoint.

    start  a config, for new weights, or a model to go on training

    `output` gets checkpoint.pt, log.csv and, at every save, the model as a folder that
    `minibert.load` reads. SIGINT and SIGTERM save and stop after the step in hand. A model to
    start from stays as it is. Raises ValueError if data and model do not fit, or the checkpoint is
    of another run, FileExistsError if `output` holds a model and no checkpoint.
    """
    settings = settings or TrainSettings()
    with processes.join() as device, StopRequest() as stop:
        run = Run(Path(data), Path(output), start, settings, device)
        bar = tqdm(total=settings.steps, initial=run.state.step, unit="step", disable=not progress)
        while not run.finished and not stop.anywhere(device):
            run.step()
            bar.update()
            if run.due(settings.log_every) or run.due(settings.eval_every):
                measured = run.measure(with_heldout=run.due(settings.eval_every))
                bar.set_postfix({name: f"{value:.3g}" for name, value in measured.items()})
            if run.due(settings.save_every):
                run.save()
        if not run.finished:
            run.save()
        bar.close()
        return Result(run.state.step, run.finished, stop.signal, run.output, processes.rank())


class Run:
    """All that a run holds; `state` and the weights are what a checkpoint keeps of it."""

    def __init__(
        self,
        data: Path,
        output: Path,
        start: BertConfig | BertForPreTraining,
        settings: TrainSettings,
        device: torch.device,
    ):
        self.output, self.settings, self.device = output, settings, device
        self.examples = Examples(data)
        self.heldout = Examples(data, "heldout") if self.examples.settings.held_out else None
        torch.manual_seed(settings.seed)
        if isinstance(start, BertConfig):
            self.model = BertForPreTraining(BertModel(start))
        elif settings.count_first:
            raise ValueError("count_first is for new weights; the model to start from has some")
        else:
            self.model = copy.deepcopy(start)
        check_fit(self.examples, self.model.config)
        self.module: nn.Module = PretrainingSums(self.model, settings.bf16)
        self.module.to(device).train()
        self.optimizer = make_optimizer(self.model, settings)

        if processes.rank() == 0:
            output.mkdir(parents=True, exist_ok=True)
        given = None if isinstance(start, BertConfig) else start
        self.identity = describe_run(settings, self.model.config, self.examples, given)
        self.state = read_checkpoint(output, self.model, self.optimizer, self.identity)
        if settings.count_first and self.state.step == 0:
            start_from_counts(self.model, self.examples)
        self.began = time.monotonic() - self.state.seconds
        self.log = RunLog(output / "log.csv", self.state.step) if processes.rank() == 0 else None

        if processes.count() > 1:
            self.module = DistributedDataParallel(self.module)
        if settings.compile:
            self.module.compile()

    @property
    def finished(self) -> bool:
        return self.state.step >= self.settings.steps

    def due(self, every: int) -> bool:
        """Whether something done every so many steps is to be done now; at the end it is."""
        return self.state.step % every == 0 or self.finished

    def step(self) -> None:
        """One training step, and what it adds to the sums since the last measurement."""
        state, settings = self.state, self.settings
        batches = batches_of_step(self.examples, state.step, settings, self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(state.step, settings)
        torch.manual_seed(seed_of(settings.seed, state.step, processes.rank()))  # for dropout
        sums = training_step(self.module, self.optimizer, batches, settings.clip).cpu()
        state.sums += sums
        state.tokens += int(sums[0])
        state.step += 1
        state.seconds = time.monotonic() - self.began

    def measure(self, with_heldout: bool) -> dict[str, float]:
        """Means since the last call, and over held-out rows if asked for; into the log."""
        measured = means(self.state.sums)
        self.state.sums = State().sums
        if with_heldout and self.heldout is not None:
            rows = self.settings.eval_rows
            measured |= evaluate_heldout(self.module, self.heldout, rows, self.device)
        if self.log is not None:
            state, rate = self.state, learning_rate(self.state.step - 1, self.settings)
            self.log.write(state.step, state.tokens, state.seconds, rate, measured)
        return measured

    def save(self) -> None:
        """Write the checkpoint, and the model for everybody."""
        if processes.rank() == 0:
            write_checkpoint(self.output, self.model, self.optimizer, self.identity, self.state)
            export_model(self.output / MODEL, self.model, self.examples.folder)


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
    examples: Examples, step: int, settings: TrainSettings, device: torch.device
) -> list[dict[str, Tensor]]:
    """This device's share of the step's rows, in batches of `micro_batch_size` rows."""
    rows = rows_of_step(step, settings.batch_size, len(examples), settings.seed)
    mine = rows[processes.rank() :: processes.count()]
    if len(mine) == 0:
        raise ValueError(
            f"batch_size must be at least the number of devices, {processes.count()}, got "
            f"{settings.batch_size}"
        )
    size = settings.micro_batch_size or len(mine)
    return [
        {name: tensor.to(device) for name, tensor in examples.batch(mine[at : at + size]).items()}
        for at in range(0, len(mine), size)
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
