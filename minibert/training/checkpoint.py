"""Stop, and go on as if nothing had happened: the checkpoint, and the signals.

A checkpoint is written beside the old one and takes its place when it is whole, so there is a good
one at any moment. It holds tensors, numbers and strings; loading it runs no code.
"""

import contextlib
import dataclasses
import math
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from minibert.core.config import BertConfig
from minibert.core.heads import BertForPreTraining
from minibert.system import processes
from minibert.system.files import folder_written_whole, written_whole
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.training.batches import Examples
from minibert.training.settings import TrainSettings
from minibert.training.step import Sums
from minibert.weights.identity import identity
from minibert.weights.loading import save_weights

NAME = "checkpoint.pt"
MODEL = "model"

MAY_CHANGE_ON_RESUME = {
    "steps",
    "minutes",
    "micro_batch_size",
    "compile",
    "log_every",
    "eval_every",
    "eval_rows",
    "save_every",
    # names that older checkpoints have
    "at_once",
    "evaluate_every",
    "evaluate_rows",
}


@dataclasses.dataclass
class State:
    """Where training stands, besides weights and optimizer."""

    step: int = 0
    phase: int = 0
    rows: int = 0  # read in this phase
    tokens: int = 0  # up to the last row of the log
    seconds: float = 0.0
    sums: Tensor = dataclasses.field(  # since then
        default_factory=lambda: torch.zeros(len(Sums._fields), dtype=torch.float64)
    )


def write_checkpoint(
    folder: Path, parts: dict[str, Any], run: dict[str, Any], state: State
) -> None:
    """Write checkpoint.pt into the folder, whole or not at all.

    parts  "model", "optimizer", "averaged" if there is one: what has a state_dict
    """
    content = {
        **{name: part.state_dict() for name, part in parts.items()},
        "run": run,
        "state": dataclasses.asdict(state),
    }
    save_whole(content, folder / NAME)


def save_whole(content: dict[str, Any], path: Path) -> None:
    """Write tensors, numbers and strings, whole or not at all. Raises OSError, in words."""
    with written_whole(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # which is what torch makes of a full disk
            raise OSError(f"cannot write {path}, the older one is as it was: {error}") from None


def read_checkpoint(
    folder: Path, parts: dict[str, Any], run: dict[str, Any], fresh: State | None = None
) -> State:
    """Fill the parts from the folder's checkpoint; a fresh State if it has none.

    Raises ValueError if the checkpoint is damaged, or belongs to another run; FileExistsError if
    the folder holds a model that no checkpoint belongs to, since a run would write over it.
    """
    path, fresh = folder / NAME, fresh or State()
    if not path.exists():
        if (folder / MODEL).exists():
            raise FileExistsError(
                f"{folder / MODEL} is there and no {NAME} beside it: a run would write its own "
                "model in that place. Choose a new output folder"
            )
        return fresh
    with intact(path):
        content = torch.load(path, map_location="cpu", weights_only=True)
        theirs = {**dataclasses.asdict(TrainSettings()), **content["run"]}  # older: fewer settings
        rows = content["state"]["step"] * theirs["batch_size"]  # older: equal batches
        state = _checked(State(**{"rows": rows, **content["state"]}), fresh)
        if "data.pieces" in theirs:  # the name in older checkpoints
            theirs["data.num_tokens"] = theirs.pop("data.pieces")
    # Older checkpoints do not say which tokenizer, and have other names for the weights.
    unknown = set() if "data.tokenizer" in theirs else {"data.tokenizer", "start"}
    check_same_run(path, theirs, run, MAY_CHANGE_ON_RESUME | unknown)
    with intact(path):
        for name, part in parts.items():
            part.load_state_dict(content[name])
    return state


def check_same_run(
    path: Path, theirs: dict[str, Any], ours: dict[str, Any], may_change: set[str]
) -> None:
    """Raise ValueError if a checkpoint is of a run with other settings than ours."""
    different = [
        f"{name} {theirs.get(name)!r}, now {ours.get(name)!r}"
        for name in sorted({*theirs, *ours} - may_change)
        if theirs.get(name) != ours.get(name)
    ]
    if different:
        raise ValueError(
            f"{path} is of another run: {'; '.join(different)}. Go on with the settings it was "
            "begun with, or choose a new output folder"
        )


def _checked(state: State, fresh: State) -> State:
    """Raises ValueError unless each field is of the type of a fresh one, and none is negative."""
    for field in dataclasses.fields(State):
        value = getattr(state, field.name)
        if type(value) is not type(getattr(fresh, field.name)):
            raise ValueError(f"{field.name} is a {type(value).__name__}")
        if isinstance(value, Tensor) and value.shape != fresh.sums.shape:
            raise ValueError(f"{field.name} has the shape {tuple(value.shape)}")
        if not isinstance(value, Tensor) and not 0 <= value < math.inf:
            raise ValueError(f"{field.name} is {value}")
    return state


@contextlib.contextmanager
def intact(path: Path) -> Iterator[None]:
    """Inside, whatever goes wrong says that the checkpoint is damaged: a ValueError."""
    try:
        yield
    except Exception as error:  # torch raises half a dozen kinds for damaged files
        reason = str(error).partition("\n")[0] or "it ends too early"
        raise ValueError(
            f"{path} is damaged, or no checkpoint of a run ({reason}): choose a new output folder"
        ) from None


def describe_run(
    settings: TrainSettings,
    config: BertConfig,
    phases: Sequence[Examples],
    start: BertForPreTraining | None = None,
) -> dict[str, Any]:
    """What makes a run the same run: settings, sizes, the texts it learns from, and the weights
    it starts from, if they are given."""
    about = {
        **dataclasses.asdict(settings),
        **{f"config.{name}": value for name, value in config.to_dict().items()},
        "start": None if start is None else identity(start),
    }
    for number, examples in enumerate(phases):
        data = dataclasses.asdict(examples.settings)
        data |= {"rows": len(examples), "num_tokens": examples.statistics["num_tokens"]}
        data |= {"tokenizer": identity(tokenizer=Tokenizer.from_folder(examples.folder))}
        about |= {f"data{number or ''}.{name}": value for name, value in data.items()}
    return about


def export_model(folder: Path, model: BertForPreTraining, vocabulary: Path) -> None:
    """Put model and tokenizer into the folder, in the place of older ones, for `minibert.load`."""
    longest = model.config.max_position_embeddings
    tokenizer = Tokenizer.from_folder(vocabulary, model_max_length=longest)
    with folder_written_whole(folder, replace=True) as new:
        save_weights(model, new)
        tokenizer.save_vocabulary(new)


class StopRequest:
    """Inside, SIGINT, SIGTERM and SIGHUP do no more than set `signal`. A second one acts as
    ever; one that is ignored, as under nohup, stays so."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # no other thread may
            for number in (signal.SIGINT, *processes.STOP_SIGNALS):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self.before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        processes.leave_terminal(number)
        signal.signal(number, self.before[number])

    def anywhere(self, device: torch.device) -> bool:
        """Whether any of the processes got a signal, which then is the signal of all; all of them
        have to ask at the same time."""
        self.signal = int(processes.largest(self.signal or 0, device)) or None
        return self.signal is not None

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
