"""A file of texts, one a line, of any length -> a file of vectors, row by row.

The file streams through in chunks, so a million lines need no more memory than a few thousand.
What is finished stands in OUT.part, and OUT.part.0.json says how far it is and with which
settings: after Ctrl-C, a full disk or a power cut the same command goes on from there. OUT itself
appears when it is complete. The source is read twice, to count its lines and to embed them, so it
must be a plain file that nobody writes to meanwhile.

Three formats, by the ending of the name: `.npy` (N, W), `.safetensors` with the one tensor
"vectors" (N, W), and `.jsonl`, every token of every text.

Under `torchrun` every process takes each n-th chunk and writes its rows at their place in the one
file, so that the rows are in the order of the lines however many devices there are.

What is checked before the work begins: all of the file is UTF-8, there is room on the disk, the
output may be written. An empty line is a text, [CLS] [SEP], and has its row: row n is line n.
"""

import dataclasses
import datetime
import errno
import glob
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch.distributed
from tqdm import tqdm

from minibert.fast.engine import Engine
from minibert.system.files import check_writable
from minibert.system.lines import count_lines, read_chunks
from minibert.tokenizer.batch import Tokenizer
from minibert.vectors.embed import CHUNK, TOKEN_CHUNK, embed_chunk, token_chunk
from minibert.vectors.plan import Plan
from minibert.vectors.vector_formats import FORMATS, HEADER, header, json_line


class Done(NamedTuple):
    """What was written: rows, numbers in each (0 for .jsonl), and how many texts were cut."""

    rows: int
    width: int
    cut: int


@dataclasses.dataclass
class State:
    """How far a process is: written after every chunk, read on resuming."""

    settings: dict[str, Any]
    chunks: int = 0  # of this process
    digest: str = ""  # of the input up to the last of them
    bytes: int = 0  # of the output, .jsonl
    cut: int = 0

    def write(self, path: Path) -> None:
        temporary = path.with_name(path.name + ".new")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(json.dumps(dataclasses.asdict(self)))
            _to_disk(file)
        temporary.replace(path)

    @classmethod
    def read(cls, path: Path) -> "State":
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError, OSError):
            raise ValueError(f"{path} is damaged: start anew (restart)") from None


def embed_file(
    engine: Engine,
    tokenizer: Tokenizer,
    source: str | Path,
    target: str | Path,
    plan: Plan,
    *,
    errors: str = "strict",
    restart: bool = False,
    progress: bool = False,
) -> Done:
    """Write the vectors of the lines of `source` to `target`; go on where an earlier run stopped.

    errors   "strict" refuses bytes that are not UTF-8; "replace" reads each as U+FFFD
    restart  start anew, whatever an earlier run left

    Raises FileNotFoundError, PermissionError, OSError or ValueError, in words.
    """
    source, target = Path(source), Path(target)
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    _check_wishes(target, plan, errors, world)
    rows = count_lines(source, errors)
    width = 0 if target.suffix == ".jsonl" else plan.width(engine.model.config)
    part = target.with_name(target.name + ".part")
    states = [part.with_name(f"{part.name}.{number}.json") for number in range(world)]
    settings = {
        "format": target.suffix,
        "lines": rows,
        "processes": world,
        "model": _print_of(engine, tokenizer),
        **json.loads(json.dumps(dataclasses.asdict(plan))),
    }
    left = _states_of(part)
    begun = not restart and part.is_file() and any(State.read(path).chunks for path in left)
    _wait_for_all(world)
    if not begun:
        _check_room(target, HEADER + rows * width * 4)
        if rank == 0:  # states go first and come last: where one is, OUT.part has its header
            for path in left:
                path.unlink()
            with part.open("wb") as file:
                file.write(header(target.suffix, rows, width))
                _to_disk(file)
        _wait_for_all(world)
        State(settings).write(states[rank])
    _wait_for_all(world)
    for path in _states_of(part):  # an earlier run's, and those of the other processes of this one
        _check_same(path, settings)
    state = State.read(states[rank])
    try:
        _run(engine, tokenizer, source, part, states, state, plan, errors, progress)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise OSError(
            f"no space left on the disk for {target}. What is finished is kept in {part.name}: "
            f"make room and run the same again"
        ) from error
    _wait_for_all(world)
    cut = sum(State.read(path).cut for path in states)
    _wait_for_all(world)
    if rank == 0:
        part.replace(target)
        for path in states:
            path.unlink()
    return Done(rows, width, cut)


def _run(
    engine: Engine,
    tokenizer: Tokenizer,
    source: Path,
    part: Path,
    states: list[Path],
    state: State,
    plan: Plan,
    errors: str,
    progress: bool,
) -> None:
    """The chunks of this process that are not done yet, each written before the state says so."""
    rank, world = int(os.environ.get("RANK", "0")), len(states)
    size = CHUNK if plan.pools else TOKEN_CHUNK
    row_bytes = plan.width(engine.model.config) * 4
    lines = state.settings["lines"]
    done = seen = 0
    bar = tqdm(total=lines, unit="text", disable=not progress or rank > 0)
    with part.open("r+b") as file, bar:
        for chunk in read_chunks(source, size, errors):
            seen += len(chunk.texts)
            if seen > lines:
                break
            bar.update(len(chunk.texts))
            if chunk.number % world != rank:
                continue
            done += 1
            if done <= state.chunks:
                if done == state.chunks and chunk.digest != state.digest:
                    raise ValueError(
                        f"{source} has changed since {part.name} was begun: start anew (restart)"
                    )
                bar.initial = bar.n  # what was done before does not count as speed
                continue
            if plan.pools:
                vectors, cut = embed_chunk(engine, tokenizer, chunk.texts, plan)
                file.seek(HEADER + chunk.first * row_bytes)
                file.write(vectors.astype("<f4", copy=False).tobytes())
            else:
                found, cut = token_chunk(engine, tokenizer, chunk.texts, plan)
                count = engine.model.config.num_hidden_layers + 1
                file.seek(state.bytes)
                for number, tokens in enumerate(found, chunk.first):
                    line = json_line(number, tokens, plan.layers, count)
                    file.write(line.encode("utf-8"))
                file.truncate()
            _to_disk(file)
            state.chunks, state.digest, state.bytes = done, chunk.digest, file.tell()
            state.cut += cut
            state.write(states[rank])
    if seen != lines:
        raise ValueError(
            f"{source} changed while it was read ({lines} lines, then {seen}): start anew "
            f"(restart), with a copy that nobody writes to"
        )


def _check_wishes(target: Path, plan: Plan, errors: str, world: int) -> None:
    as_json = target.suffix == ".jsonl"
    if target.suffix not in FORMATS:
        raise ValueError(f"the output must end in {', '.join(FORMATS)}, got {target}")
    if errors not in ("strict", "replace"):
        raise ValueError(f'errors must be "strict" or "replace", got {errors!r}')
    if as_json and (plan.pools or plan.combine != "concat"):
        raise ValueError('.jsonl holds every token and layer: use pooling "none", combine "concat"')
    if not as_json and not plan.pools:
        raise ValueError('pooling "none" keeps every token, which only .jsonl can hold')
    if as_json and world > 1:
        raise ValueError(".jsonl is written by one process: start it without torchrun")
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {target}: it is a folder; name a file in it")
    check_writable(target)


def _check_room(target: Path, needed: int) -> None:
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise OSError(
            f"{target} would take {needed / 1e6:,.1f} MB, and the disk has {free / 1e6:,.1f} MB "
            f"free: make room, or choose another folder"
        )


def _states_of(part: Path) -> list[Path]:
    return sorted(part.parent.glob(f"{glob.escape(part.name)}.*.json"))


def _check_same(path: Path, settings: dict[str, Any]) -> None:
    """Raise ValueError if a state is of another run than this."""
    then = State.read(path).settings
    for key, value in settings.items():
        if then.get(key) != value:
            raise ValueError(
                f"{path.parent} holds an unfinished run of the same name with another {key}: "
                f"{then.get(key)!r} then, {value!r} now. Use the same, choose another output, or "
                f"start anew (restart)"
            )


def _to_disk(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _print_of(engine: Engine, tokenizer: Tokenizer) -> str:
    """A short digest of the weights (the first numbers of each tensor) and the vocabulary."""
    running = hashlib.blake2b(digest_size=8)
    for parameter in engine.model.parameters():
        running.update(parameter.detach().flatten()[:64].float().cpu().numpy().tobytes())
    running.update("\n".join(tokenizer.vocab).encode("utf-8"))
    return running.hexdigest()


def _wait_for_all(world: int) -> None:
    if world > 1:
        if not torch.distributed.is_initialized():
            # They wait until the slowest has done its share, however long that takes.
            patience = datetime.timedelta(days=30)
            torch.distributed.init_process_group("gloo", timeout=patience)
        torch.distributed.barrier()
