"""The curves of a training run, from its log.csv. They are drawn by matplotlib."""

import csv
import importlib.util
from pathlib import Path
from typing import Any

from minibert.training.run_log import read_log

TITLE = "Training, and text that was held out"
PANELS: tuple[tuple[str, str], ...] = (
    ("masked words: loss (nats)", "mlm_loss"),
    ("masked words: accuracy", "mlm_accuracy"),
    ("next sentence: accuracy", "nsp_accuracy"),
)
SENTENCE_PANELS = (
    ("sentence vectors: loss", "loss"),
    ("pairs that people scored: Spearman correlation with the cosines", "spearman"),
)


def check_matplotlib() -> None:
    """Raise ImportError now, and not after the training, where `curves` could not draw."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError(
            "the curves are drawn by matplotlib, which is not installed: it comes with the extra "
            '`tutorials`, pip install ".[tutorials]" in the repository'
        )


def curves(log_csv: str | Path) -> Any:
    """Loss and accuracies over the tokens read, in training and on held-out text: a Figure.

    Raises FileNotFoundError if there is no such file, ValueError if it is no such log.
    """
    check_matplotlib()
    from matplotlib.figure import Figure

    rows = read_log(log_csv)
    measured = {name.removeprefix("heldout_") for row in rows for name in row}
    panels = SENTENCE_PANELS if "spearman" in measured else PANELS
    figure = Figure(figsize=(8.6, 8.6), layout="constrained")
    figure.suptitle(TITLE)
    for axes, (name, key) in zip(figure.subplots(len(panels), squeeze=False).flat, panels):
        for label, column in (("training", key), ("held out", f"heldout_{key}")):
            points = [(row["tokens"] / 1e6, row[column]) for row in rows if column in row]
            if points:
                tokens, values = zip(*points)
                label += f": from {values[0]:.3g} to {values[-1]:.3g}"
                axes.plot(tokens, values, label=label, marker="" if len(points) > 30 else "o")
        if not axes.lines:
            raise ValueError(
                f"{log_csv} is no log of a training run: expected the columns tokens and {key}, "
                "as minibert pretrain and train-sentences write them"
            )
        axes.set_title(name, loc="left")
        axes.set_xlabel("million tokens")
        axes.grid()
        axes.legend()
    return figure


def finetune_curves(log_csv: str | Path) -> Any:
    """The loss of every seed over the steps, and the first measure on the development set: a
    Figure of the log that `minibert finetune` wrote.

    Raises FileNotFoundError if there is no such file, ValueError if it is no such log.
    """
    check_matplotlib()
    from matplotlib.figure import Figure

    with Path(log_csv).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    columns = list(reader.fieldnames or ())
    if not rows or not {"seed", "step", "loss"} <= set(columns):
        raise ValueError(f"{log_csv} is no log of minibert finetune: expected seed, step and loss")
    measures = [name for name in columns if name.startswith("dev_")][:1]
    figure = Figure(figsize=(8.6, 3.4 * (1 + len(measures))), layout="constrained")
    panels = figure.subplots(1 + len(measures), squeeze=False)[:, 0]
    for axes, name in zip(panels, ["loss", *measures]):
        for seed in dict.fromkeys(row["seed"] for row in rows):
            own = [row for row in rows if row["seed"] == seed and row[name]]
            points = [(int(row["step"]), float(row[name])) for row in own]
            axes.plot(*zip(*points), label=f"seed {seed}", marker="" if name == "loss" else "o")
        axes.set_title(name.replace("dev_", "development set: "), loc="left")
        axes.set_xlabel("steps")
        axes.grid()
        axes.legend()
    return figure
