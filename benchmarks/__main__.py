"""minibert side by side with its peers, in one run.

    python -m benchmarks                        all parts, about twenty minutes
    python -m benchmarks --quick                fewer rounds and shapes, in float32: 2 to 3 minutes
    python -m benchmarks --only shapes end      some of: shapes, end, start, training
    python -m benchmarks --write                also into benchmarks/results/
    python -m benchmarks --base FOLDER          the official bert-base-uncased, say

Every figure is a ratio of interleaved runs, so read the ratios and not the times: they survive a
machine that is busy with other things, times do not.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its threads would compete with the products
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

import torch
import transformers

from benchmarks import end_to_end, fixed_shapes, measure, process_start
from benchmarks.measured_models import make_base
from minibert.fast.linear import why_slow
from minibert.system.lines import print_any_text

PARTS = ("shapes", "end", "start", "training")
ROOT = Path(__file__).parent.parent


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as Markdown; ratios with their quartiles."""

    def cell(name: str, value: Any) -> str:
        if value is None:
            return "–"
        if isinstance(value, measure.Timing):
            return f"{value.median:.2f} ({value.low:.2f}–{value.high:.2f})"
        if name == "error":
            return f"{value:.0e}"
        if name == "cosine":
            return f"{value:.5f}"
        if name == "peak":
            return f"{value:.0%}"
        return f"{value:,.2f}" if isinstance(value, float) else str(value)

    head = list(rows[0])
    lines = [head, ["---"] * len(head)]
    lines += [[cell(name, value) for name, value in row.items()] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def shapes_table(rows: list[dict[str, Any]]) -> str:
    """One line per candidate, one column per shape: ratio, share of the peak."""
    shapes = list(dict.fromkeys(row["shape"] for row in rows))
    names = list(dict.fromkeys(row["candidate"] for row in rows))
    lines = []
    for name in names:
        row_of = {row["shape"]: row for row in rows if row["candidate"] == name}
        cells = {
            str(shape): f"{row_of[shape]['ratio'].median:.2f} ({row_of[shape]['peak']:.0%})"
            for shape in shapes
        }
        error = max(row["error"] for row in row_of.values())
        lines.append({"candidate": name, **cells, "error": error})
    return table(lines)


def report(arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The text, and the figures behind it."""
    texts: list[str] = []
    machine = measure.machine()
    figures: dict[str, Any] = {"machine": machine}
    quick = arguments.quick
    lower = not (quick or arguments.no_lower_precision)
    bf16 = lower and why_slow("bfloat16", torch.device("cpu")) is None
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        base = arguments.base
        if base is None and {"shapes", "start"} & set(arguments.only):
            base = make_base(scratch / "base")
        if "shapes" in arguments.only:
            figures["shapes"] = fixed_shapes.run(base, scratch, quick, bf16)
            texts.append(
                "**bert-base, fixed shapes** (texts, tokens): times as fast as transformers with "
                "fused attention, in brackets the share of the machine's matrix-product peak in "
                "float32; largest difference to transformers' eager path\n\n"
                + shapes_table(figures["shapes"])
            )
        if "end" in arguments.only:
            figures["end to end"] = end_to_end.run(scratch, quick, bf16, int8=lower)
            texts.append(
                f"**{100 if quick else '1,000'} real sentences of mixed length**, "
                "all-MiniLM-L6-v2, tokenization included: times as fast as "
                "sentence-transformers, median (quartiles)\n\n" + table(figures["end to end"])
            )
        if "start" in arguments.only:
            rows, loading = process_start.run(base, quick)
            figures["start"], figures["loading, milliseconds"] = rows, loading
            texts.append(
                "**From process start to the first vector**, bert-base on the local disk: times "
                "as fast as transformers; peak memory\n\n" + table(rows) + "\n\nLoading the "
                f"weights takes {loading:.0f} ms of that."
            )
        if "training" in arguments.only:
            figures["training"] = training(quick)
            texts.append("**A training step**, 4 × 256, float32\n\n" + figures["training"])
    facts = [
        value if key in ("date", "processor") else f"{key} {value}"
        for key, value in machine.items()
    ]
    texts.append(f"Measured with `python -m benchmarks` on {', '.join(facts)}.")
    return "\n\n".join(texts), figures


def training(quick: bool) -> str:
    """What `training_step.py` prints, as it is."""
    threads = str(torch.get_num_threads())
    command = [sys.executable, "-m", "benchmarks.training_step", "--threads", threads]
    if quick:
        command += ["--steps", "3"]
    process = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return "```\n" + process.stdout.rstrip() + "\n```"


def write(text: str, figures: dict[str, Any]) -> None:
    """Into benchmarks/results/, as DATE.json and DATE.md."""
    folder = ROOT / "benchmarks" / "results"
    folder.mkdir(exist_ok=True)
    name = figures["machine"]["date"]
    (folder / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (folder / f"{name}.md").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    print_any_text()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--base", type=Path, metavar="FOLDER")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--no-lower-precision", action="store_true", help="float32 alone")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    text, figures = report(arguments)
    print(text)
    if arguments.write:
        write(text, figures)


if __name__ == "__main__":
    main()
