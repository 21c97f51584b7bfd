"""Run the cells of each chapter in a fresh Jupyter kernel, two chapters at a time."""

import importlib.util
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from subprocess import DEVNULL

from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode, v4

from tutorials.building.chapter import Cell, Chapter

AT_A_TIME = 2
PATIENCE = 120  # seconds that any cell may take; a chapter's budget may allow more
OFFICIAL = "google-bert/bert-base-uncased"
CLOCK = "sum(__import__('os').times()[:4])"  # the kernel's processor time, its children's too
# What a cell's own processes write is no output of the cell.
KERNEL = ["--ext=tutorials.building.kernel", "--IPKernelApp.capture_fd_output=False"]


@dataclass
class Result:
    """What one cell gave: a text and perhaps a picture, or an error and its line."""

    text: str = ""
    svg: str | None = None
    page: str | None = None  # of an interactive picture
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
    root: Path, chapters: list[Chapter], progress: Callable[[Chapter], None]
) -> Iterator[Run]:
    """Run every chapter, in the folder `root`; yield each when it is done, in any order.

    `progress` is called after every cell.
    """
    longest_first = sorted(chapters, key=seconds_shown, reverse=True)
    with weights_by_name() as environment, ThreadPoolExecutor(AT_A_TIME) as pool:
        jobs = [pool.submit(_run, root, c, environment, progress) for c in longest_first]
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
    root: Path, chapter: Chapter, environment: dict[str, str], progress: Callable[[Chapter], None]
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
    book = v4.new_notebook(cells=[v4.new_code_cell(cell.code) for cell in cells])
    book.cells.append(v4.new_code_cell(CLOCK))
    client = NotebookClient(
        book,
        timeout=int(max(PATIENCE, 6 * chapter.budget)),
        allow_errors=True,
        extra_arguments=KERNEL,
        shutdown_kernel="immediate",
    )
    with client.setup_kernel(cwd=root, env=environment, stdout=DEVNULL, stderr=DEVNULL):
        for i, cell in enumerate(cells):
            try:
                client.execute_cell(book.cells[i], i)
            except (DeadKernelError, CellTimeoutError) as error:
                why = f"no answer within {client.timeout} s"
                if isinstance(error, DeadKernelError):
                    code = client.km.provisioner.process.returncode
                    why = f"the end of its process, with code {code}"
                run.results[cell.number] = Result(error=why, line=cell.line)
                return run
            run.results[cell.number] = result = _result(book.cells[i], cells)
            progress(chapter)
            if result.error:
                result.error += _skipped_before(cell, run)
                break
        client.execute_cell(book.cells[-1], len(cells))
        run.seconds = float(_result(book.cells[-1], cells).text)
    return run


def _result(executed: NotebookNode, cells: list[Cell]) -> Result:
    """What a cell of the notebook gave; a line of its code is told as the chapter counts it."""
    result = Result()
    for output in executed.outputs:
        if output.output_type == "error":
            traceback = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(output.traceback))
            places = re.findall(r"Cell In\[(\d+)\], line (\d+)", traceback)
            number, line = map(int, places[-1] if places else (executed.execution_count, 1))
            cell = cells[number - 1]
            blank = len(cell.code) - len(cell.code.lstrip("\n"))  # IPython drops these lines
            result.line = cell.line + blank + line - 1
            result.error = f"{output.ename}: {output.evalue}"
        elif output.output_type == "stream":
            result.text += output.text if output.name == "stdout" else ""
        elif svg := output.data.get("image/svg+xml"):
            result.svg = svg.rstrip("\n") + "\n"
            result.page = output.data.get("text/html")
        else:
            result.text += output.data["text/plain"] + "\n"
    return result


def _skipped_before(cell: Cell, run: Run) -> str:
    """One failure makes others after it: a hint for a name that a cell not run would have made."""
    skipped = [c for c in run.chapter.cells if c.number in run.absent and c.number < cell.number]
    if not skipped or not (run.results[cell.number].error or "").startswith("NameError"):
        return ""
    return (
        f" (the cell at line {skipped[-1].line} was not run; if this one builds on it, "
        f"mark it needs={','.join(skipped[-1].needs)}, too)"
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
    installed = importlib.util.find_spec(need.replace("-", "_")) is not None
    return None if installed else f"the package {need} is not installed"


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
    """The environment of the kernels: one thread, the same numbers in each run, no network.

    Chapters load the official weights by their name, as a reader would. Where they lie in the
    folder MINIBERT_OFFICIAL, the kernels get a cache of the hub that leads there. Nothing that
    a person set up for IPython is read.
    """
    from minibert.weights.known_models import PINNED

    here = str(Path(__file__).resolve().parents[2])
    with tempfile.TemporaryDirectory() as ipython, tempfile.TemporaryDirectory() as cache_folder:
        environment = dict(os.environ) | {
            "PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")])),
            "IPYTHONDIR": ipython,
            "MPLBACKEND": "agg",
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
        repository = Path(cache_folder) / f"models--{OFFICIAL.replace('/', '--')}"
        (repository / "snapshots").mkdir(parents=True)
        commit = repository / "snapshots" / PINNED[OFFICIAL].revision
        commit.symlink_to(Path(os.environ["MINIBERT_OFFICIAL"]).resolve())
        yield environment | {"HF_HUB_CACHE": cache_folder}
