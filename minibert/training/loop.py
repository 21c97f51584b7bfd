"""What every long training does: steps to the end, a log, saves, and a stop at any moment.

`pretrain.py` and `sentences.py` say what a step is. A checkpoint is weights, the optimizer's
averages and a few numbers; whatever is drawn at random depends on the seed and the step alone.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from minibert.system import processes
from minibert.system.files import locked
from minibert.training.checkpoint import State, StopRequest, read_checkpoint, write_checkpoint
from minibert.training.run_log import RunLog
from minibert.training.settings import TrainSettings
from minibert.training.step import make_optimizer


class Result(NamedTuple):
    """Where training stands: finished, or stopped by a signal and ready to go on."""

    step: int
    finished: bool
    signal: int | None
    folder: Path
    rank: int


def train(
    output: Path, make_run: Callable[[torch.device], "Run"], *, progress: bool = False
) -> Result:
    """Make the run, or go on where `output` holds its checkpoint, and take its steps."""
    with processes.join() as device, StopRequest() as stop, _alone(output):
        run = make_run(device)
        settings = run.settings
        unit = "step" if settings.minutes is None else "s"
        bar = tqdm(total=settings.total, initial=run.done, unit=unit, disable=not progress)
        if run.finished:  # perhaps it was killed between its last checkpoint and the model
            run.export()
        while not run.finished and not stop.anywhere(device):
            run.step()
            bar.update(run.done - bar.n)
            if run.due(settings.log_every) or run.due(settings.eval_every):
                measured = run.measure(with_heldout=run.due(settings.eval_every))
                bar.set_postfix({name: f"{value:.3g}" for name, value in measured.items()})
            if run.due(settings.save_every):
                run.save()
        if not run.finished:
            run.save()
        bar.close()
        return Result(run.state.step, run.finished, stop.signal, run.output, processes.rank())


def _alone(output: Path) -> AbstractContextManager[None]:
    """Process 0 makes the folder and locks it: two runs would write one log."""
    if processes.rank() > 0:
        return nullcontext()
    output.mkdir(parents=True, exist_ok=True)
    return locked(output.resolve(), output, folder=True)


class Run:
    """All that a run holds; `state` and the weights are what a checkpoint keeps of it."""

    def __init__(
        self,
        model: nn.Module,
        output: Path,
        settings: TrainSettings,
        device: torch.device,
        identity: Mapping[str, Any],
        sums: Sequence[str],
        columns: Sequence[str],
    ):
        """`sums` are the names of what a step adds up, `columns` those of what the log gets."""
        self.model, self.output, self.settings, self.device = model, output, settings, device
        self.averaged: AveragedModel | None = None
        if settings.average is not None:
            ema = get_ema_multi_avg_fn(settings.average)
            self.averaged = AveragedModel(model, multi_avg_fn=ema)
        self.optimizer = make_optimizer(model, settings)
        parts = {"model": model, "optimizer": self.optimizer, "averaged": self.averaged}
        self.parts = {name: part for name, part in parts.items() if part is not None}
        self.identity = dict(identity)
        fresh = State(sums=torch.zeros(len(sums), dtype=torch.float64))
        self.state = read_checkpoint(output, self.parts, self.identity, fresh)
        self.state.sums = self.state.sums.to(device)
        self.log: RunLog | None = None
        if processes.rank() == 0:
            self.log = RunLog(output / "log.csv", self.state.step, columns)

    def start_clock(self) -> None:
        self.began = time.monotonic() - self.state.seconds

    @property
    def done(self) -> float:
        """How much of `settings.total` lies behind."""
        return self.state.step if self.settings.minutes is None else self.state.seconds

    @property
    def finished(self) -> bool:
        return self.done >= self.settings.total

    def due(self, every: int) -> bool:
        """Whether something done every so many steps is to be done now; at the end it is."""
        return self.state.step % every == 0 or self.finished

    def step(self) -> None:
        """One training step, and what it adds to the sums since the last measurement."""
        raise NotImplementedError

    def means(self) -> dict[str, float]:
        """What the sums say of the steps since the last measurement."""
        raise NotImplementedError

    def heldout(self) -> dict[str, float]:
        """What is measured on what training does not see."""
        raise NotImplementedError

    def export(self) -> None:
        """Write the model for everybody."""
        raise NotImplementedError

    def step_done(self, sums: torch.Tensor, rows: int) -> None:
        self.state.sums += sums
        self.state.step += 1
        self.state.rows += rows
        self.state.seconds = processes.largest(time.monotonic() - self.began, self.device)

    def measure(self, with_heldout: bool) -> dict[str, float]:
        """Means since the last call, and over held-out rows if asked for; into the log."""
        state, rate = self.state, self.optimizer.param_groups[0]["lr"]
        self.check_finite()
        measured = self.means()
        state.tokens += int(state.sums[0])
        state.sums.zero_()
        if with_heldout:
            measured |= self.heldout()
        if self.log is not None:
            self.log.write(state.step, state.tokens, state.seconds, rate, measured)
        return measured

    @property
    def best(self) -> nn.Module:
        """The weights' average if there is one by now, else the weights."""
        if self.averaged is not None and self.averaged.n_averaged > 0:
            return self.averaged.module
        return self.model

    def save(self) -> None:
        """Write the checkpoint, and the model for everybody. Raises ValueError for NaN in it."""
        self.check_finite()
        if processes.rank() == 0:
            write_checkpoint(self.output, self.parts, self.identity, self.state)
        self.export()

    def check_finite(self) -> None:
        numbers = [self.state.sums, *self.model.parameters()]
        if not all(bool(tensor.isfinite().all()) for tensor in numbers):
            raise ValueError(
                f"the loss or the weights are no longer numbers (NaN) by step {self.state.step}: "
                f"what {self.output} has of the last save is kept. Try another folder with a "
                "smaller learning_rate, more warm-up, or other weights to start from"
            )
