"""What several tests share: data that may be absent, and the summary of the parity ladder."""

import os
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("MINIBERT_DATA", ROOT.parent / "shared" / "data"))

RUNGS = {
    1: "the formula: reference fixture, and a forward pass in NumPy and one in JavaScript",
    2: "tiny, trained-like: against transformers in float64 and float32",
    3: "real trained weights: all-MiniLM-L6-v2, BERT-tiny",
    4: "base size 12 x 768: bit equality with transformers' eager path",
    5: "official files: against transformers and published numbers",
    6: "the test of the tests: known mistakes are caught",
}


def shared(name: str) -> Path:
    """The path of a file of the optional test data, or skip the test and say which is missing."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"test data absent: {name} (set MINIBERT_DATA to the folder that holds it)")
    return path


OUTCOMES: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))


def pytest_configure(config):
    config.addinivalue_line("markers", "rung(number): a rung of the parity ladder")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    marker = item.get_closest_marker("rung")
    if marker and (report.when == "call" or report.skipped or report.failed):
        report.rung = marker.args[0]
    return report


def pytest_runtest_logreport(report):
    """Also called for the reports of parallel workers, which travel with their attributes."""
    if hasattr(report, "rung"):
        reason = report.longrepr[2] if report.skipped else report.nodeid
        OUTCOMES[report.rung][report.outcome].append(reason)


def pytest_terminal_summary(terminalreporter):
    if not OUTCOMES:
        return
    terminalreporter.section("parity ladder")
    for number, title in RUNGS.items():
        outcomes = OUTCOMES[number]
        counts = [f"{len(outcomes[o])} {o}" for o in ("passed", "failed", "skipped") if outcomes[o]]
        terminalreporter.line(f"{number}  {title}: {', '.join(counts) or 'not selected'}")
        for reason in sorted(set(outcomes["skipped"])):
            terminalreporter.line(f"     not run: {reason.removeprefix('Skipped: ')}")
