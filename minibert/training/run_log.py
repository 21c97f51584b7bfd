"""The log of a training run: a CSV file that gets a row of measurements now and then."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from minibert.system.files import written_whole

PROGRESS = ("step", "tokens", "seconds", "tokens_per_second", "learning_rate")
MEASURED = ("loss", "mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy")


class RunLog:
    """Open the log to resume after `step`. Later rows are dropped, because the resumed run writes
    them again. Raises ValueError if the file is there and is no such log."""

    def __init__(self, path: Path, step: int, measured: Sequence[str] = MEASURED):
        self.path = path
        self.columns = (*PROGRESS, *measured, *(f"heldout_{name}" for name in measured))
        old = _read(path) if path.exists() and path.stat().st_size else []
        rows = [row for row in old if float(row["step"]) <= step]
        self.last = (float(rows[-1]["tokens"]), float(rows[-1]["seconds"])) if rows else (0, 0.0)
        with written_whole(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(rows)

    def write(
        self, step: int, tokens: int, seconds: float, rate: float, measured: Mapping[str, float]
    ) -> None:
        """Add a row: where the run stands, its learning rate, and what was measured."""
        speed = (tokens - self.last[0]) / max(seconds - self.last[1], 1e-9)
        self.last = tokens, seconds
        first = (step, tokens, round(seconds, 1), round(speed), rate)
        row = {**dict(zip(self.columns, first)), **{k: round(v, 6) for k, v in measured.items()}}
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self.columns).writerow(row)


def _today(name: str) -> str:
    """The name of a column; logs of older runs say "word" for mlm and "pair" for nsp.

    >>> _today("heldout_word_loss"), _today("pair_accuracy"), _today("tokens")
    ('heldout_mlm_loss', 'nsp_accuracy', 'tokens')
    """
    return name.replace("word_", "mlm_").replace("pair_", "nsp_")


def read_log(path: str | Path) -> list[dict[str, float]]:
    """The rows of a log as numbers; what was not measured in a row is not in it.

    A last row that a crash cut short is left out. Raises OSError if the file cannot be read,
    ValueError if it is no log of a training run.
    """
    return [{name: float(value) for name, value in row.items()} for row in _read(path)]


def _read(path: str | Path) -> list[dict[str, str]]:
    """The rows as they are written."""
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            lines = [line for line in file if line.endswith("\n")]
        reader = csv.DictReader(lines, strict=True)
        rows = [{_today(name): value for name, value in row.items() if value} for row in reader]
        for row in rows:
            for value in row.values():
                float(value)
        if missing := {"step", "tokens"} - set(reader.fieldnames or ()):
            raise ValueError(f"no column {sorted(missing)[0]}")
    except (ValueError, TypeError, AttributeError, csv.Error) as error:
        raise ValueError(
            f"{path} is no log of a training run ({error}): expected log.csv, as minibert pretrain "
            "writes it"
        ) from None
    return rows
