"""Fine-tuning: train a BERT under the new layer of a task, all of it, on labelled examples.

What BERT knows was learned without a single label, and it is only nudged: a learning rate some
twenty times smaller than in pretraining (in the paper two to five times), and a few passes over
the examples. The optimizer and the warm-up are those of pretraining. Which task it is, the loop
does not know: it sees rows, a loss and a score (`minibert/tasks/task.py`).

One run tells little. The new layer's first weights and the order of the texts move the accuracy by
a point or more, so a result is the mean over several seeds, with its deviation.

A checkpoint holds weights, the optimizer's averages, what was measured, and the state of the random
numbers: a run that goes on from it gives the numbers of one that was never stopped.

Source: Devlin et al. 2018, section 4.1 and appendix A.3.
"""

import csv
import dataclasses
import hashlib
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from minibert.system.files import folder_written_whole, locked, written_whole
from minibert.system.processes import Stop
from minibert.tasks.labelled import Labelled, batches_by_length
from minibert.tasks.saved import write_task
from minibert.tasks.task import Row, TaskModel, batch_of, measure
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.training.checkpoint import NAME, StopRequest, check_same_run, intact, save_whole
from minibert.training.settings import FinetuneSettings, TrainSettings
from minibert.training.step import learning_rate, make_optimizer
from minibert.weights.identity import identity

LOG_COLUMNS = ("seed", "step", "epoch", "learning_rate", "loss")


def finetune(
    model: TaskModel,
    tokenizer: Tokenizer,
    train: Any,
    settings: FinetuneSettings | None = None,
    *,
    dev: Any = None,
    progress: bool = False,
) -> list[float]:
    """Train the model in place, and leave it in eval mode. Gives the loss of every step.

    dev  examples to measure on after each epoch; `patience` stops by them

    Raises ValueError if the examples have other classes than the model, or the loss is NaN.
    """
    run = Finetuning(model, tokenizer, train, settings or FinetuneSettings(), dev)
    run.run(progress=progress)
    return run.losses


class Finetuning:
    """One run. `losses` has the loss of every step, `scores` what `dev` gave after each epoch."""

    def __init__(
        self,
        model: TaskModel,
        tokenizer: Tokenizer,
        train: Any,
        settings: FinetuneSettings,
        dev: Any = None,
    ):
        for data in (train, dev):
            if data is not None:
                model.check(data)
        if settings.patience is not None and dev is None:
            raise ValueError("patience waits for a better score: give examples to measure on (dev)")
        self.model, self.tokenizer, self.settings, self.dev = model, tokenizer, settings, dev
        self.longest = model.limit(settings.max_length or model.train_length)
        self.rows = model.rows(tokenizer, train, self.longest)
        if not self.rows:
            raise ValueError("there is nothing to learn from: the examples hold no text")
        self.schedule = settings.schedule(len(self.rows))
        model.bert.requires_grad_(not settings.freeze)
        if model.way.dense and model.bert.pooler is not None:  # that of a variant is new
            model.bert.pooler.requires_grad_(True)
        self.optimizer = make_optimizer(model, self.schedule)
        self.losses: list[float] = []
        self.scores: list[dict[str, float]] = []
        self.epochs = 0  # that are done
        self.best: dict[str, Tensor] | None = None
        torch.manual_seed(settings.seed)

    @property
    def best_epoch(self) -> int:
        """The number of the epoch with the best score so far, from 0."""
        values = [next(iter(score.values())) for score in self.scores]  # the first measure decides
        return values.index(max(values))

    @property
    def finished(self) -> bool:
        patience = self.settings.patience
        if self.epochs == self.settings.epochs or patience is None or not self.scores:
            return self.epochs == self.settings.epochs
        return len(self.scores) - 1 - self.best_epoch >= patience

    def run(
        self,
        *,
        progress: bool = False,
        save: Callable[[], None] | None = None,
        stop: StopRequest | None = None,
    ) -> None:
        """All that is left to do. `save` is called every `save_every` steps, and before Stop is
        raised where `stop` has seen a signal."""
        with tqdm(
            total=self.schedule.steps, initial=len(self.losses), unit="step", disable=not progress
        ) as bar:
            while not self.finished:
                for chosen in self.batches_left():
                    self.step([self.rows[number] for number in chosen])
                    bar.update()
                    bar.set_postfix(loss=f"{np.mean(self.losses[-50:]):.3f}")
                    number = None if stop is None else stop.signal
                    due = len(self.losses) % self.settings.save_every == 0
                    if save and (due or number is not None):
                        save()
                    if number is not None:
                        raise Stop(number)
                self.end_epoch()
        if self.best is not None:
            self.model.load_state_dict(self.best)
        self.model.eval()

    def batches_left(self) -> list[np.ndarray]:
        """The batches of the epoch in hand that have not been learned from."""
        order = np.random.default_rng(self.settings.seed)
        lengths = [row.length for row in self.rows]
        for _ in range(self.epochs + 1):
            batches = batches_by_length(lengths, self.settings.batch_size, order)
        return batches[len(self.losses) - self.epochs * len(batches) :]

    def step(self, rows: Sequence[Row]) -> None:
        """One step: scores, loss, gradient, weights. The loss is the mean of the batch."""
        self.model.train()
        if self.settings.freeze:
            self.model.bert.eval()  # no dropout in it: it says the same of a text every time
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(len(self.losses), self.schedule)
        loss = training_step(self.model, self.optimizer, rows, self.tokenizer.pad_id, self.settings)
        self.losses.append(loss)
        if not math.isfinite(loss):
            raise ValueError(
                f"the loss is {loss} in step {len(self.losses)}: try a smaller "
                "learning_rate, or other weights to start from"
            )

    def end_epoch(self) -> None:
        """Measure, and keep the weights if none were better and `patience` asks for the best."""
        self.epochs += 1
        if self.dev is None:
            return
        self.scores.append(measure(self.model, self.tokenizer, self.dev, self.longest))
        if self.settings.patience is not None and self.best_epoch == len(self.scores) - 1:
            self.best = {n: tensor.clone() for n, tensor in self.model.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """All that a run goes on from."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "losses": self.losses,
            "scores": self.scores,
            "epochs": self.epochs,
            "best": self.best,
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.losses, self.scores = state["losses"], state["scores"]
        self.epochs, self.best = state["epochs"], state["best"]
        torch.set_rng_state(state["random"])
        if state["random_cuda"]:
            torch.cuda.set_rng_state_all(state["random_cuda"])


def training_step(
    model: TaskModel,
    optimizer: torch.optim.Optimizer,
    rows: Sequence[Row],
    pad_id: int,
    settings: FinetuneSettings,
) -> float:
    """One step: scores, loss, gradient, weights. Gives the mean loss of the rows."""
    weight = model.classifier.weight
    with torch.autocast(weight.device.type, torch.bfloat16, enabled=settings.bf16):
        logits = model(**batch_of(rows, pad_id, weight.device))
    loss = model.loss(logits.to(weight.dtype), [row.label for row in rows])
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


class SeedResult(NamedTuple):
    """What a seed gave: the losses of its steps, and the scores after each epoch and of the model
    that is kept."""

    seed: int
    losses: list[float]
    scores: list[dict[str, float]]
    final: dict[str, float]


def finetune_seeds(
    new: Callable[[int], TaskModel],
    tokenizer: Tokenizer,
    train: Any,
    dev: Any,
    settings: FinetuneSettings,
    output: str | Path,
    *,
    seeds: int = 1,
    progress: bool = False,
    report: Callable[[SeedResult], None] = lambda result: None,
) -> list[SeedResult]:
    """Train once for each of `seeds` seeds, and write the model of the first into `output`.

    new     a seed -> a new model
    report  is told of every seed that is done

    `output` also gets log.csv, and checkpoint.pt until all is done: the same call goes on from it.
    SIGINT, SIGTERM and SIGHUP save after the step in hand and raise Stop. Raises ValueError if the
    checkpoint is of another run, FileExistsError if `output` holds something else, BlockingIOError
    if another process trains there.
    """
    output = Path(output)
    path = output / NAME
    output.mkdir(exist_ok=True)
    with locked(output.resolve(), output, folder=True), StopRequest() as stop:
        left = f".{NAME}.minibert.part"  # of a run that was killed at its first save
        if not path.exists() and any(file.name != left for file in output.iterdir()):
            raise FileExistsError(f"{output} exists and is not an empty folder: choose a new name")
        content = _read(path)
        done = [SeedResult(*result) for result in content["done"]] if content else []
        for seed in range(settings.seed, settings.seed + seeds):
            own = dataclasses.replace(settings, seed=seed)
            run = Finetuning(new(seed), tokenizer, train, own, dev)
            if seed == settings.seed:
                about = _about(run, settings, seeds)
                if content:
                    check_same_run(path, content["run"], about, {"save_every"})
                for result in done:
                    report(result)
            if len(done) > seed - settings.seed:
                continue
            if content and content["state"]:
                with intact(path):
                    run.load_state_dict(content["state"])
            content = None

            save = partial(_save, path, about, done, run)
            save()  # from now on the folder is this run's
            run.run(progress=progress, save=save, stop=stop)
            if seed == settings.seed:
                with folder_written_whole(output, replace=True) as part:
                    write_task(run.model, tokenizer, part)
            epoch = run.best_epoch if run.best is not None else -1
            final = run.scores[epoch] if run.scores else {}
            done.append(SeedResult(seed, run.losses, run.scores, final))
            report(done[-1])
            save()
        _write_log(output / "log.csv", done, run.schedule, settings.epochs)
        path.unlink()
    return done


def _about(run: Finetuning, settings: FinetuneSettings, seeds: int) -> dict[str, Any]:
    """What makes a run the same run: settings, sizes, starting weights and examples."""
    data = repr([run.rows, run.dev]).encode()
    return {
        **dataclasses.asdict(settings),
        "seeds": seeds,
        "task": [type(run.model).__name__, *map(str, run.model.settings().items())],
        "start": identity(run.model.bert, run.tokenizer),
        "examples": f"{len(run.rows)} rows, {hashlib.blake2b(data, digest_size=8).hexdigest()}",
    }


def _save(path: Path, about: dict[str, Any], done: list[SeedResult], run: Finetuning) -> None:
    """Write the checkpoint: the seeds that are done, and where the one in hand stands."""
    over = any(result.seed == run.settings.seed for result in done)
    state = None if over else run.state_dict()
    save_whole({"run": about, "done": [tuple(result) for result in done], "state": state}, path)


def _read(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    with intact(path):
        content = torch.load(path, map_location="cpu", weights_only=True)
        return {name: content[name] for name in ("run", "done", "state")}


def _write_log(
    path: Path, results: Sequence[SeedResult], schedule: TrainSettings, epochs: int
) -> None:
    """A row for every step, with what was measured after the last of an epoch."""
    measures = list(results[0].scores[0]) if results[0].scores else []
    with written_whole(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*LOG_COLUMNS, *(f"dev_{name}" for name in measures)])
        writer.writeheader()
        for result in results:
            for step, loss in enumerate(result.losses):
                epoch, place = divmod(step + 1, schedule.steps // epochs)
                rate = learning_rate(step, schedule)
                row: dict[str, Any] = dict(
                    zip(LOG_COLUMNS, (result.seed, step + 1, epoch, f"{rate:.4g}", round(loss, 6)))
                )
                if place == 0 and epoch <= len(result.scores):
                    scores = result.scores[epoch - 1]
                    row |= {f"dev_{name}": round(value, 6) for name, value in scores.items()}
                writer.writerow(row)


def majority(train: Labelled, test: Labelled) -> float:
    """The accuracy of one who always says the commonest class of the training texts."""
    return float((test.labels == np.bincount(train.labels).argmax()).mean())


class Spread(NamedTuple):
    """Mean and standard deviation of a measure over several seeds.

    >>> print(Spread.of([0.7, 0.8, 0.9]))
    80.0 % ± 10.0 %
    """

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
        return cls(float(np.mean(values)), float(deviation))

    def __str__(self) -> str:
        return f"{self.mean:.1%} ± {self.deviation:.1%}".replace("%", " %")
