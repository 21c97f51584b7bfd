"""Start a fresh process for each chapter, two at a time, and gather what the cells gave."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tutorials.building.chapter import Cell, Chapter

WORKER = Path(__file__).parent / "worker.py"
AT_A_TIME = 2
OFFICIAL = "google-bert/bert-base-uncased"


@dataclass
class Result:
    """What one cell gave: a text and perhaps a picture, or an error and its line."""

    text: str = ""
    svg: str | None = None
    error: str | None = None
    line: int = 0


@dataclass
class Run:
    """What one chapter gave. A cell that was not run has no result, and a reason in `absent`."""

    chapter: Chapter
    results: dict[int, Result] = field(default_factory=dict)
    absent: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0  # of processor time


def run_chapters(
    root: Path,
    chapters: list[Chapter],
    progress: Callable[[Chapter], None],
    pages: Path | None = None,
) -> Iterator[Run]:
    """Run every chapter, in the folder `root`; yield each when it is done, in any order.

    `progress` is called after every cell. Where `pages` is given, each picture that has a page
    of its own is written there, too.
    """
    longest_first = sorted(chapters, key=seconds_shown, reverse=True)
    with weights_by_name() as environment, ThreadPoolExecutor(AT_A_TIME) as pool:
        jobs = [pool.submit(_run, root, c, environment, progress, pages) for c in longest_first]
        try:
            for job in as_completed(jobs):
                yield job.result()
        finally:
            for job in jobs:
                job.cancel()


def seconds_shown(chapter: Chapter) -> int:
    """The run time that a chapter's head gives; 0 if it has none yet."""
    match = re.search(r"about (\d+) s to run", chapter.text)
    return int(match[1]) if match else 0


def _run(
    root: Path,
    chapter: Chapter,
    environment: dict[str, str],
    progress: Callable[[Chapter], None],
    pages: Path | None,
) -> Run:
    run = Run(chapter)
    for cell in chapter.cells:
        reasons = [reason for need in cell.needs if (reason := why_absent(need))]
        if reasons:
            run.absent[cell.number] = reasons[0]
            progress(chapter)
    cells = [cell for cell in chapter.cells if cell.number not in run.absent]
    if not cells:
        return run
    file = chapter.path.relative_to(root).as_posix()
    limit = max(120, 6 * chapter.budget)
    task = {
        "file": file,
        "limit": limit,
        "pages": str(pages) if pages else None,
        "cells": [
            {"number": c.number, "line": c.line, "code": c.code, "figure": c.figure} for c in cells
        ],
    }
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(
            [sys.executable, str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=root,
            env=environment,
            text=True,
            encoding="utf-8",
        )
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(task))
            process.stdin.close()
            for line in process.stdout:
                _note(run, json.loads(line), progress)
            process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdout.close()
        errors.seek(0)
        said = errors.read().strip().splitlines()
    _blame(run, cells, process.returncode, said, limit)
    return run


def _note(run: Run, news: dict, progress: Callable[[Chapter], None]) -> None:
    if "seconds" in news:
        run.seconds = news["seconds"]
        return
    number = news.pop("cell")
    run.results[number] = Result(**news)
    progress(run.chapter)


def _blame(run: Run, cells: list[Cell], code: int, said: list[str], limit: float) -> None:
    """A process that died gave no result for the cell it died in: say which, and of what."""
    failed = [result for result in run.results.values() if result.error]
    unfinished = [cell for cell in cells if cell.number not in run.results]
    if unfinished and not failed:
        how = f"the process ended with code {code}: {said[-1] if said else 'it said nothing'}"
        if code in (-24, -9):
            how = f"the chapter's process was ended after {limit:.0f} s of processor time"
        run.results[unfinished[0].number] = Result(error=how, line=unfinished[0].line)
    # One failure makes others after it: tell of what is missing only where it was not skipped.
    skipped = [cell for cell in run.chapter.cells if cell.number in run.absent]
    for cell in cells:
        result = run.results.get(cell.number)
        earlier = [other for other in skipped if other.number < cell.number]
        if result and result.error and result.error.startswith("NameError") and earlier:
            result.error += (
                f" (the cell at line {earlier[-1].line} was not run; if this one builds on it, "
                f"mark it needs={','.join(earlier[-1].needs)}, too)"
            )


@cache
def why_absent(need: str) -> str | None:
    """None where what a cell needs is at hand, else the reason why not.

    >>> why_absent("json")
    >>> why_absent("no_such_package")
    'the package no_such_package is not installed'
    """
    if need == "weights":
        if official_folder():
            return None
        return f"the weights of {OFFICIAL} are not here (MINIBERT_OFFICIAL=FOLDER, or the cache)"
    if need == "sst2":
        folder = Path(os.environ.get("MINIBERT_SST2", ""))
        if "MINIBERT_SST2" not in os.environ:
            return "the data of SST-2 are not here (MINIBERT_SST2=FOLDER with train.tsv, dev.tsv)"
        missing = [name for name in ("train.tsv", "dev.tsv") if not (folder / name).is_file()]
        return f"MINIBERT_SST2={folder} has no {' and no '.join(missing)}" if missing else None
    found = importlib.util.find_spec(need.replace("-", "_")) is not None
    return None if found else f"the package {need} is not installed"


@cache
def official_folder() -> Path | None:
    """Where the official weights are: the folder MINIBERT_OFFICIAL, or the hub's cache."""
    from minibert.weights import hub

    if folder := os.environ.get("MINIBERT_OFFICIAL"):
        return Path(folder) if Path(folder).is_dir() else None
    try:
        return hub.resolve(OFFICIAL, local_files_only=True).path
    except OSError:
        return None


@contextmanager
def weights_by_name() -> Iterator[dict[str, str]]:
    """The environment of the workers: one thread, the same numbers in each run, no network.

    Chapters load the official weights by their name, as a reader would. Where they lie in the
    folder MINIBERT_OFFICIAL, the workers get a cache of the hub that leads there.
    """
    environment = dict(os.environ)
    environment |= {
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONIOENCODING": "utf-8",
        "HF_HUB_OFFLINE": "1",
        "TQDM_DISABLE": "1",
        "COLUMNS": "88",
    }
    if not os.environ.get("MINIBERT_OFFICIAL") or official_folder() is None:
        yield environment
        return
    from minibert.weights.known_models import PINNED

    with tempfile.TemporaryDirectory() as cache_folder:
        repository = Path(cache_folder) / f"models--{OFFICIAL.replace('/', '--')}"
        (repository / "snapshots").mkdir(parents=True)
        commit = repository / "snapshots" / PINNED[OFFICIAL].revision
        commit.symlink_to(Path(os.environ["MINIBERT_OFFICIAL"]).resolve())
        yield environment | {"HF_HUB_CACHE": cache_folder}
