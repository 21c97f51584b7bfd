"""Commands that are stopped at every file operation, run again, and compared with a quiet run.

`python -m tests.cli.kills` prints a table: at how many points each command was struck, in which
way, and what was wrong. A child process runs the command and is struck at its Nth file operation in
its folder (open, rename, remove, make, ...), of which Python tells an audit hook:

    kill     it ends at once, as by SIGKILL
    SIGTERM  it gets that signal, as from `kill` or a job scheduler
    SIGHUP   or that one, as when a terminal closes
    full     no file can grow beyond N bytes (RLIMIT_FSIZE), as on a full disk
    double   it waits, while a second process runs the same command to its end

Then the same command runs undisturbed, and the folder must be, byte for byte, what it is without
any disturbance: nothing lost, nothing mixed, nothing left over.
"""

import argparse
import math
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import minibert.bert
import minibert.diagnosis.checker
import minibert.tasks.classification
import minibert.training.curves
import minibert.training.finetune
import minibert.training.prepare
import minibert.training.pretrain
import minibert.training.sentences
import minibert.vectors.file
import minibert.view
import minibert.view.live.page
import weights_tools.cli
import weights_tools.convert  # noqa: F401  all of it once, and not in every child
from minibert.cli.main import main
from minibert.weights.loading import save_weights
from tests.parity.twins import trained_like
from tests.test_bert import WORDS
from tests.weights.hub_server import hub_for_this_process
from weights_tools.fetch import NAMES

MODES = ("kill", "SIGTERM", "SIGHUP", "double", "full")
EVENTS = {
    *("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod"),
    *("os.listdir", "os.scandir", "shutil.rmtree", "shutil.copyfile", "shutil.copytree"),
}
FINETUNE = "finetune labels.tsv --dev labels.tsv -m model -o out --epochs 2 --seeds 2 --threads 1"
PRETRAIN = "pretrain data -o out --steps 4 --save-every 2 --log-every 2 --eval-every 2 --hidden 16"
SENTENCES = "train-sentences pairs.tsv -m model -o out --steps 2 --eval scores.csv --threads 1"
COMMANDS = {
    "train-vocab": "train-vocab corpus.txt -o out.txt --size 60 --min-frequency 1",
    "prepare": "prepare corpus.txt --vocab model -o out --length 16 --held-out 0.4",
    "pretrain": f"{PRETRAIN} --heads 2 --blocks 1 --batch-size 4",
    "finetune": f"{FINETUNE} --save-every 1",
    "embed": "embed corpus.txt -m model -o out.npy",
    "embed, every token": "embed corpus.txt -m model -o out.jsonl",
    "convert": "weights convert model out --uncased",
    "convert, a zip": "weights convert google.zip out --uncased",
    "export": "weights export model out --format tf",
    "trace": "trace river -m model --save out.npz",
    "view": "view river -m model -o out.html",
    "dump-probe": "diagnose --dump-probe out",
    "train-sentences": f"{SENTENCES} --save-every 1 --log-every 1 --eval-every 1 --batch-size 4",
    "live": "live -m model -o out.html",
    "fetch": "weights fetch bert-tiny --to out",
}


class Outcome(NamedTuple):
    """How a child process ended, what it said, and how many file operations it came to."""

    code: int
    words: str
    operations: int


def make_inputs(folder: Path) -> None:
    """What the commands read, into a new folder."""
    folder.mkdir()
    lines = ["The river was in the bank. He went in. A man was in.", "He was in. The bank went."]
    texts = [*lines, "", *lines[::-1], "", "A river. The man was in the river. He."] * 3
    (folder / "corpus.txt").write_text("\n".join(texts) + "\n")
    rows = [f"the river was {word}\t{label}" for word, label in [("in", "a"), ("he", "b")] * 4]
    (folder / "labels.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n")
    pairs = ["the river was in\ta river", "he went\tthe man was in", "a bank\tthe bank"] * 2
    (folder / "pairs.tsv").write_text("\n".join(pairs) + "\n")
    (folder / "scores.csv").write_text("river,a river,1\nhe,the bank,0\nin the bank,in,0.5\n")
    (folder / "model").mkdir()
    save_weights(trained_like().float(), folder / "model")
    (folder / "model" / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    os.chdir(folder)
    for command in (
        "prepare corpus.txt --vocab model -o data --length 16 --held-out 0.4",
        "weights export model google --format tf",
    ):
        outcome = run(folder, command)
        if outcome.code:
            raise RuntimeError(outcome.words)
    shutil.make_archive("google", "zip", "google")
    shutil.rmtree("google")


class Child:
    """A process that runs a command in `folder`; before its file operation number `at` it strikes.

    room  how many bytes a file may have
    """

    def __init__(
        self,
        folder: Path,
        command: str,
        strike: Callable[[], object] | None = None,
        at: int = 0,
        room: int | None = None,
    ):
        self.reading, writing = os.pipe()  # not a file, which could not grow either
        self.number = os.fork()
        if self.number:
            os.close(writing)
            return
        os.chdir(folder)
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        signal.alarm(300)
        seen = _watch(str(folder), strike, at)
        if room is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        code = 99
        try:
            code = main(command.split())
        finally:
            print(f"\n{len(seen)}", flush=True)
            os._exit(code)

    def outcome(self) -> Outcome:
        with os.fdopen(self.reading) as stream:
            words, _, count = stream.read().rpartition("\n\n")
        code = os.waitstatus_to_exitcode(os.waitpid(self.number, 0)[1])
        return Outcome(code, words or count, int(count) if code == 0 else 0)


def run(folder: Path, command: str, *strike: Any, room: int | None = None) -> Outcome:
    """Run a command as a `Child`, to its end."""
    return Child(folder, command, *strike, room=room).outcome()


def _watch(folder: str, strike: Callable[[], object] | None, at: int) -> list[str]:
    """The file operations in the folder, which are put into the list as they come."""
    seen: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in EVENTS or not isinstance(arguments[0], str | os.PathLike):
            return
        path = os.path.abspath(os.fspath(arguments[0]))  # noqa: PTH100  it tells no hook
        if path.startswith(folder + os.sep):
            seen.append(f"{event} {path}")
            if len(seen) == at and strike is not None:
                strike()

    sys.addaudithook(hook)
    return seen


def content(folder: Path) -> dict[str, Any]:
    """All files by name, as bytes; of a training run without the seconds it took."""
    files: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        files[name] = path.read_bytes() if path.is_file() else None
        if name.endswith("checkpoint.pt"):
            checkpoint = torch.load(path, weights_only=True)
            (checkpoint["state"] or {}).pop("seconds", None)
            files[name] = repr(checkpoint)  # tensors this small are printed whole
        if name.endswith("log.csv"):
            rows = [line.split(",") for line in path.read_text().splitlines()]
            timed = [n for n, column in enumerate(rows[0]) if "second" in column]
            files[name] = [[cell for n, cell in enumerate(r) if n not in timed] for r in rows]
    return files


def check(name: str, mode: str, point: int, inputs: Path, expected: dict[str, Any]) -> str:
    """What is wrong after a strike of this kind; "" if nothing is."""
    folder = inputs.parent / "work"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(inputs.parent / "cache", ignore_errors=True)
    shutil.copytree(inputs, folder)
    command = COMMANDS[name]
    if mode == "double":
        return _check_double(name, point, folder, expected)
    number = getattr(signal, mode, None)
    if mode == "full":
        outcome = run(folder, command, room=point)
        right = outcome.code in (0, 1, 2)
    elif mode == "kill":
        outcome = run(folder, command, lambda: os._exit(137), point)
        right = outcome.code == 137
    else:
        outcome = run(folder, command, lambda: os.kill(os.getpid(), number), point)
        right = outcome.code in (0, 128 + number, -number)  # early, nobody looks after signals
    if not right or "Traceback" in outcome.words or "Errno" in outcome.words:
        return f"ended with {outcome.code}: {outcome.words}"
    again = run(folder, command)
    done = again.code == 0 or "choose a new name" in again.words
    if not done or content(folder) != expected:
        return f"then {again.code}: {again.words} {_difference(content(folder), expected)}"
    return ""


def _check_double(name: str, point: int, folder: Path, expected: dict[str, Any]) -> str:
    waits, told = os.pipe()
    goes_on, release = os.pipe()

    def wait() -> None:
        os.write(told, b".")
        os.read(goes_on, 1)

    child = Child(folder, COMMANDS[name], wait, point)
    os.read(waits, 1)
    second = run(folder, COMMANDS[name])
    os.write(release, b".")
    first = child.outcome()
    for end in (waits, told, goes_on, release):
        os.close(end)
    refusals = "another process is writing", "choose a new", "is there already"
    for one, other in ((first, second), (second, first)):
        refused = other.code in (1, 2) and any(sentence in other.words for sentence in refusals)
        if one.code == 0 and (refused or other.code == 0) and content(folder) == expected:
            return ""
    return f"{first} and {second} {_difference(content(folder), expected)}"


def _difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    differing = sorted(name for name in one.keys() & other if one[name] != other[name])
    return f"extra {sorted(one.keys() - other)} lost {sorted(other.keys() - one)} other {differing}"


def all_points(name: str, inputs: Path) -> tuple[dict[str, Any], list[tuple[str, int]]]:
    """What a command leaves undisturbed, and where it can be struck, in which way."""
    quiet = inputs.parent / "quiet"
    shutil.rmtree(quiet, ignore_errors=True)
    shutil.copytree(inputs, quiet)
    outcome = run(quiet, COMMANDS[name])
    if outcome.code:
        raise RuntimeError(f"{name}: {outcome.words}")
    new = [path for path in quiet.rglob("*") if not (inputs / path.relative_to(quiet)).exists()]
    sizes = sorted({path.stat().st_size for path in new if path.is_file()})
    rooms = {0, 1, *sizes[:-1], *(size // part for size in sizes for part in (2, 3, 5))}
    places = [(mode, at) for mode in MODES[:-1] for at in range(1, outcome.operations + 1)]
    return content(quiet), places + [("full", room) for room in sorted(rooms)]


def strike_all(names: list[str], modes: list[str], total: int | None) -> tuple[int, list[str]]:
    """Strike everywhere, or at so many points drawn at random; how many, and what was wrong."""
    torch.set_printoptions(threshold=10**9, precision=9)
    minibert.vectors.file.CHUNK = minibert.vectors.file.TOKEN_CHUNK = 4
    here, wrong, draw = Path.cwd(), [], random.Random(0)
    with (
        tempfile.TemporaryDirectory() as place,
        pytest.MonkeyPatch.context() as patch,
        hub_for_this_process(patch, Path(place) / "cache") as hub,
    ):
        inputs = Path(os.path.realpath(place)) / "inputs"
        make_inputs(inputs)
        files = {path.name: path.read_bytes() for path in (inputs / "model").iterdir()}
        hub.commit(NAMES["bert-tiny"], files)
        count = 0
        for name in names:
            expected, places = all_points(name, inputs)
            places = [place for place in places if place[0] in modes]
            if total is not None:
                places = draw.sample(places, min(math.ceil(total / len(names)), len(places)))
            for mode, at in places:
                if problem := check(name, mode, at, inputs, expected):
                    wrong.append(f"{name}, {mode} at {at}: {problem}")
            count += len(places)
            numbers = {mode: sum(mode == m for m, _ in places) for mode in modes}
            print(f"{name:20}", *(f"{n:4} {mode}" for mode, n in numbers.items()), flush=True)
        os.chdir(here)
    return count, wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--total", type=int, metavar="N", help="points in all (everywhere)")
    parser.add_argument("--command", nargs="*", default=list(COMMANDS), choices=COMMANDS)
    parser.add_argument("--mode", nargs="*", default=list(MODES), choices=MODES)
    arguments = parser.parse_args()
    number, problems = strike_all(arguments.command, arguments.mode, arguments.total)
    print(*problems, f"{number} points, {len(problems)} wrong", sep="\n")
    sys.exit(bool(problems))
