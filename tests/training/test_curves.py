"""The curves of a training run: the log's numbers, and a sentence where matplotlib is missing."""

import sys

import numpy as np
import pytest

from minibert.training.curves import PANELS, check_matplotlib, curves

HEADER = "step,tokens,mlm_loss,mlm_accuracy,nsp_accuracy,heldout_mlm_loss\n"


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.csv"
    rows = (
        f"{n},{n * 1000},{8 - n / 20},{n / 100},0.5,{'' if n % 5 else 8 - n / 30}\n"
        for n in range(1, 41)
    )
    path.write_text(HEADER + "".join(rows))
    return path


def test_panels_and_lines_are_the_log(log):
    panels = curves(log).axes
    assert [axes.get_title("left") for axes in panels] == [name for name, _ in PANELS]
    training, held_out = panels[0].lines
    steps = np.arange(1, 41)
    assert np.allclose(training.get_xdata(), steps / 1000)
    assert np.allclose(training.get_ydata(), 8 - steps / 20)
    assert np.allclose(held_out.get_xdata(), steps[4::5] / 1000)
    assert [len(axes.lines) for axes in panels] == [2, 1, 1]  # the others were not measured
    assert training.get_label() == "training: from 7.95 to 6"
    assert all(axes.get_legend() and axes.get_xlabel() == "million tokens" for axes in panels)


def test_a_file_that_is_no_log(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no log of a training run"):
        curves(tmp_path / "x.csv")
    with pytest.raises(FileNotFoundError):
        curves(tmp_path / "absent.csv")


def test_a_log_without_the_columns(tmp_path):
    (tmp_path / "x.csv").write_text("step,tokens,loss\n1,2,3\n")
    with pytest.raises(ValueError, match="expected the columns tokens and mlm_loss"):
        curves(tmp_path / "x.csv")


def test_without_matplotlib(log, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for call in (check_matplotlib, lambda: curves(log)):
        with pytest.raises(ImportError, match=r"pip install .*\[tutorials\]"):
            call()
