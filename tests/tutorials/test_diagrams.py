"""The diagrams: the files are what the script draws, and the map has its places."""

import doctest
import re
from xml.etree import ElementTree

import pytest

from tests.conftest import ROOT
from tutorials.building import diagrams
from tutorials.building.diagrams import BOXES, FOLDER, ROUND, bert_map, chapter_numbers


def test_the_map_is_what_is_drawn():
    assert (FOLDER / "map.svg").read_text("utf-8") == diagrams.map_file(), (
        "run python -m tutorials.building.diagrams"
    )


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.svg")), ids=lambda path: path.stem)
def test_a_diagram_is_whole_and_its_links_lead_somewhere(path):
    drawing = path.read_text("utf-8")
    assert re.fullmatch(r"\S.*\S", re.search("<title>(.*?)</title>", drawing)[1])
    root = ElementTree.fromstring(drawing)
    for link in re.findall(r'href="([^"]+)"', drawing):
        assert (FOLDER / link).resolve().is_file(), link
    right = max(
        float(box.get("x", 0)) + float(box.get("width", 0))
        for box in root.iter("{http://www.w3.org/2000/svg}rect")
    )
    assert right <= float(root.get("width"))


def test_every_chapter_has_its_place_and_is_shown_there():
    places = [set(box.chapters) for box in BOXES] + [set(row[2]) for row in ROUND]
    pages = chapter_numbers(ROOT / "tutorials")
    for number in pages:
        assert any(number in chapters for chapters in places), f"{number} is not on the map"
        boxes = bert_map(pages, here=number).count(diagrams.MARK)
        assert boxes == 2 * sum(number in chapters for chapters in places)
    assert diagrams.MARK not in bert_map(pages)
    assert 'href="07' not in bert_map({"01": "01.html"})


def test_every_file_of_the_core_has_its_place():
    files = {path.name for path in (ROOT / "minibert/core").glob("*.py")}
    helpers = {"__init__.py", "checks.py", "config.py", "unicode_classes.py"}
    assert {box.file for box in BOXES} == files - helpers


def test_examples_in_docstrings():
    assert doctest.testmod(diagrams).failed == 0
