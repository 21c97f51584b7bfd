"""From the start of a process to its first vector, and the memory that takes at most.

Each candidate is a new process, all weights on the local disk and in the system's file cache.
"""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import interleaved, ratio, summary

REPORT = """
import pathlib
status = dict(
    line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines()
)
peak = int(status["VmHWM"].split()[0])
mapped = int(status["RssFile"].split()[0])
print("RESULT", peak / 1024, mapped / 1024)
"""

PROGRAMS = {
    "transformers": """
import torch, transformers
tokenizer = transformers.AutoTokenizer.from_pretrained(FOLDER)
model = transformers.AutoModel.from_pretrained(FOLDER).eval()
with torch.inference_mode():
    model(**tokenizer(["A first sentence."], return_tensors="pt")).last_hidden_state.mean(1)
""",
    "sentence-transformers": """
from sentence_transformers import SentenceTransformer
SentenceTransformer(FOLDER, device="cpu").encode(["A first sentence."])
""",
    "minibert": """
import minibert
minibert.load(FOLDER).embed(["A first sentence."])
""",
    "minibert, packed": """
import minibert
minibert.load(FOLDER).embed(["A first sentence."], deterministic=True)
""",
}

LOAD = """
import time, minibert.weights.loading, minibert.tokenizer.tokenizer, pathlib
start = time.perf_counter()
minibert.weights.loading.load_weights(pathlib.Path(FOLDER))
print("RESULT", 1000 * (time.perf_counter() - start), 0)
"""


def run_program(name: str, folder: Path, text: str) -> list[float]:
    """Run it in a new process; the two numbers that it prints."""
    process = subprocess.run(
        [sys.executable, "-c", f"FOLDER = {str(folder)!r}\n{text}"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    lines = [line for line in process.stdout.splitlines() if line.startswith("RESULT")]
    if process.returncode or not lines:
        raise RuntimeError(f"{name} failed: {process.stderr[-500:]}")
    return [float(number) for number in lines[-1].split()[1:]]


def run(folder: Path, quick: bool) -> tuple[list[dict[str, Any]], float]:
    """One row per candidate, and the milliseconds that loading takes."""
    memory: dict[str, list[float]] = {}

    def start(name: str) -> None:
        memory[name] = run_program(name, folder, PROGRAMS[name] + REPORT)

    names = [name for name in PROGRAMS if not (quick and name == "sentence-transformers")]
    programs = {name: partial(start, name) for name in names}
    times = interleaved(programs, 1 if quick else 7)
    loading = summary(
        [run_program("load", folder, LOAD)[0] for _ in range(2 if quick else 7)]
    ).median
    rows = [
        {
            "candidate": name,
            "seconds": summary(times[name]).median,
            "ratio": ratio(times, name, "transformers"),
            "megabytes": memory[name][0],
            "of which mapped files": memory[name][1],
        }
        for name in names
    ]
    return rows, loading
