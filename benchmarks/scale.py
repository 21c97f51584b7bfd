"""Sentences through Ray Data's workers: the same vectors as one process, and how fast.

    python -m benchmarks.scale SENTENCES.txt [--rows 100000] [--workers 1 2]

Rows are compared one by one and must be in order, none lost or doubled. The last run kills a
worker on the way. Needs ray[data]; the sentences stand one a line.
"""

import argparse
import math
import os
import signal
import tempfile
import threading
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

import minibert
from minibert.serve.embedder import Embedder
from minibert.system.lines import read_lines

BATCH = 1024  # rows that a worker gets at a time


class Watched(Embedder):
    """Says in a folder which process works, so that it can be killed."""

    def __init__(self, folder: str, **settings: Any):
        super().__init__(**settings)
        self.folder = Path(folder)

    def __call__(self, batch: Any) -> Any:
        result = super().__call__(batch)
        with (self.folder / str(os.getpid())).open("a") as file:
            file.write(f"{len(batch['row'])}\n")
        return result


def kill_one(folder: Path, rows: int) -> None:
    """Kill a worker that has done a batch, when about `rows` are done in all."""
    while sum(int(n) for path in folder.iterdir() for n in path.read_text().split()) < rows:
        time.sleep(0.05)
    os.kill(int(next(folder.iterdir()).name), signal.SIGKILL)


def by_ray(texts: list[str], workers: int, kill: bool, batch: int) -> tuple[np.ndarray, float, int]:
    """The vectors in the order of the texts, seconds, and how many processes had a part."""
    import ray.data

    # A dataset keeps the options of the moment in which it was made.
    ray.data.DataContext.get_current().execution_options.preserve_order = True
    rows = [{"row": n, "text": text} for n, text in enumerate(texts)]
    table = ray.data.from_items(rows, override_num_blocks=math.ceil(len(rows) / batch))
    with tempfile.TemporaryDirectory() as folder:
        if kill:
            watch = threading.Thread(
                target=kill_one, args=(Path(folder), len(texts) // 4), daemon=True
            )
            watch.start()
        start = time.perf_counter()
        done = table.map_batches(
            Watched,
            fn_constructor_kwargs={"folder": folder},
            batch_size=batch,
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=1,
        ).to_pandas()
        seconds = time.perf_counter() - start
        processes = len(list(Path(folder).iterdir()))
    found = done["row"].tolist()
    if found != list(range(len(texts))):
        what = "out of order" if sorted(found) == list(range(len(texts))) else "lost or doubled"
        raise SystemExit(f"rows are {what}")
    return np.stack(done["vector"].to_list()), seconds, processes


def main() -> None:
    import ray
    import torch

    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    texts = list(islice(read_lines(arguments.file), arguments.rows))
    torch.set_num_threads(1)  # as each worker has
    bert = minibert.load(Embedder().model)
    start = time.perf_counter()
    expected = bert.embed(texts)
    seconds = time.perf_counter() - start
    print(f"one process: {len(texts):,} rows, {len(texts) / seconds:,.0f} a second", flush=True)
    ray.init(num_cpus=max(arguments.workers), include_dashboard=False, log_to_driver=False)
    last = arguments.workers[-1]
    for workers, kill in [*((n, False) for n in arguments.workers), (last, True)]:
        vectors, seconds, processes = by_ray(texts, workers, kill, arguments.batch)
        print(
            f"Ray, {workers} worker{'s' if workers > 1 else ''}{', one killed' if kill else ''}: "
            f"{len(texts) / seconds:,.0f} a second with its start; {processes} processes; every "
            f"row once, in order; largest difference {np.abs(vectors - expected).max():.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
