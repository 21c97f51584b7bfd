"""Charts of the chapters: matplotlib in one style, and a figure as a picture that they can show."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from minibert.view.picture import Picture, picture_of

plt.style.use(Path(__file__).with_name("charts.mplstyle"))


def picture(figure: Any = None) -> Picture:
    """The figure as a picture, its title as its name; by default the one that is being drawn.

    >>> _ = plt.plot([0, 1, 2], [8.0, 6.5, 6.1])
    >>> _ = plt.title("Loss")
    >>> picture().title
    'Loss'
    """
    figure = figure or plt.gcf()
    shown = picture_of(figure, figure.get_suptitle() or figure.axes[0].get_title("left"))
    plt.close(figure)
    return shown


def write_numbers(image: Any, form: str = "{:.2f}") -> None:
    """Write every number of a `plt.imshow` into its cell: white on dark, black on pale."""
    for (row, column), value in np.ndenumerate(np.ma.getdata(image.get_array())):
        dark = value > 0 and image.norm(value) > 0.6
        colour = "white" if dark else "black"
        text = form.format(value)
        image.axes.text(column, row, text, ha="center", va="center", color=colour)
