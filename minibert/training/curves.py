"""The log of a run as a picture: losses and accuracies over the tokens read.

matplotlib is not needed for anything else, so it is asked for here alone.
"""

from pathlib import Path

from minibert.files import written_whole
from minibert.training.checkpoint import read_log

PANELS = (
    ("masked words: loss (nats)", "word_loss"),
    ("masked words: accuracy", "word_accuracy"),
    ("next sentence: accuracy", "pair_accuracy"),
)


def draw_curves(log: str | Path, picture: str | Path) -> None:
    """Draw a log.csv into a .png, .svg or .pdf file.

    Raises ImportError, with the command that helps, where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            "drawing curves needs matplotlib, which is not installed: pip install matplotlib. "
            "The numbers themselves are in the log."
        ) from None
    rows = read_log(log)
    figure = Figure(figsize=(12, 3.5), layout="constrained")
    for axes, (title, name) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        for label, key, style in (("training", name, "-"), ("held out", f"heldout_{name}", "o-")):
            points = [(row["tokens"] / 1e6, row[key]) for row in rows if key in row]
            if points:
                axes.plot(*zip(*points), style, label=label, markersize=3)
        axes.set_title(title)
        axes.set_xlabel("million tokens")
        axes.grid(alpha=0.3)
        axes.legend()
    picture = Path(picture)
    with written_whole(picture) as temporary:
        figure.savefig(temporary, format=picture.suffix.removeprefix(".") or "png", dpi=120)
