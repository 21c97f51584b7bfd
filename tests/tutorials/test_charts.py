"""The chapters' charts: one style, numbers that can be read, figures that fit the page."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tutorials import charts
from tutorials.building.rules import WIDEST, svg_problem

IMAGES = Path(__file__).resolve().parents[2] / "tutorials" / "img"
FIGURES = [p for p in sorted(IMAGES.glob("*.svg")) if "xlink" in p.read_text(encoding="utf-8")]


def test_a_picture_closes_its_figure():
    plt.plot([0, 1], [1, 2])
    plt.title("Loss")
    assert charts.picture().title == "Loss" and not plt.get_fignums()


def test_the_first_four_lines_differ_in_more_than_colour():
    lines = [plt.plot([0, 1], [n, n])[0] for n in range(4)]
    looks = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines]
    plt.close()
    assert all(len(set(kind)) == 4 for kind in zip(*looks))


def test_numbers_can_be_read_on_their_cells():
    image = plt.imshow([[0.0, 0.25], [0.5, 1.0]])
    charts.write_numbers(image)
    shown = {text.get_text(): text.get_color() for text in image.axes.texts}
    places = [text.get_position() for text in image.axes.texts]
    plt.close()
    assert shown == {"0.00": "black", "0.25": "black", "0.50": "black", "1.00": "white"}
    assert places == [(0, 0), (1, 0), (0, 1), (1, 1)]  # column, row


def test_a_logarithmic_table_shows_its_zeros():
    image = plt.imshow(np.array([[0.0, 1e-6, 1.0]]), norm="log")
    charts.write_numbers(image, "{:.2g}")
    shown = [text.get_text() for text in image.axes.texts]
    plt.close()
    assert shown == ["0", "1e-06", "1"]


def test_a_picture_fits_the_page():
    plt.barh(["a", "b"], [1, 2])
    svg = charts.picture().svg
    assert svg_problem(svg) is None
    width = float(re.search(r'width="([\d.]+)pt"', svg)[1]) * 4 / 3
    assert 0.8 * WIDEST < width <= WIDEST


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)
def test_letters_of_a_figure_are_large(path):
    root = ET.parse(path).getroot()
    styles = [node.get("style", "") for node in root.iter() if node.tag.endswith("text")]
    sizes = [
        float(size) for style in styles for size in re.findall(r"font-size: ([\d.]+)px", style)
    ]
    assert root.get("role") == "img" and root.get("aria-label")
    assert sizes and min(sizes) * 4 / 3 >= 9  # a power of ten is written small
    assert np.median(sizes) * 4 / 3 >= 14
