"""A file of texts, one a line, of any length -> a file of vectors, row by row.

The file streams through in chunks, so a million lines need no more memory than a few thousand.
What is finished stands in OUT.part, and OUT.part.0.json says how far it is and with which
settings: after Ctrl-C, a full disk or a power cut the same command goes on from there. OUT itself
appears when it is complete. OUT.part is locked by the one who writes it. The source is read twice,
to count its lines and to embed them, so it must be a plain file that nobody writes to meanwhile.

Three formats, by the ending of the name: `.npy` (N, W), `.safetensors` with the one tensor
"vectors" (N, W), and `.jsonl`, every token of every text. The first two are a header of 128 bytes
and the rows, so that row n can be written before row n - 1 is there. The lines of the third have
the keys and the decimals of Google's script.

Under `torchrun` every process takes each n-th chunk and writes its rows at their place in the one
file, so that the rows are in the order of the lines however many devices there are.

What is checked before the work begins: all of the file is UTF-8, there is room on the disk, the
output may be written. An empty line is a text, [CLS] [SEP], and has its row: row n is line n.

Source: google-research/bert `extract_features.py`.
"""

import dataclasses
import errno
import glob
import hashlib
import json
import os
import shutil
import struct
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any, NamedTuple

from tqdm import tqdm

from minibert.fast.bert import Engine
from minibert.fast.same import count_states
from minibert.system.files import check_unlocked, check_writable, locked
from minibert.system.lines import Chunk, check_plain, count_lines, read_chunks
from minibert.system.processes import count, rank, wait_for_all
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.vectors.embed import CHUNK, embed_chunk
from minibert.vectors.plan import Plan
from minibert.vectors.tokens import TOKEN_CHUNK, TokenVectors, token_chunk
from minibert.weights.identity import identity

HEADER = 128  # bytes before the first row, in both formats of numbers
FORMATS = (".npy", ".safetensors", ".jsonl")


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
    bytes: int = 0  # where the last of them ends in the output
    cut: int = 0

    def write(self, path: Path) -> None:
        temporary = path.with_name(path.name + ".new")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(json.dumps({**dataclasses.asdict(self), "checksum": self.checksum()}))
            _flush(file)
        temporary.replace(path)

    @classmethod
    def read(cls, path: Path) -> "State":
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            checksum = content.pop("checksum")
            state = cls(**content)
            if not isinstance(state.settings, dict) or checksum != state.checksum():
                raise ValueError("it is not what was written")
            return state
        except (ValueError, TypeError, LookupError, AttributeError, OSError, RecursionError):
            raise ValueError(f"{path} is damaged: start anew (restart)") from None

    def checksum(self) -> str:
        """Of the place; the settings are compared with those of today."""
        place = json.dumps([self.chunks, self.digest, self.bytes, self.cut])
        return hashlib.blake2b(place.encode(), digest_size=8).hexdigest()


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
    real = check_paths(source, target)
    _check_options(Path(target), plan, errors)
    run = _Run(engine, tokenizer, Path(source), real, Path(target).suffix, plan, errors)
    new = not run.part.exists()
    try:
        with locked(run.part, Path(target)) if run.rank == 0 else nullcontext():
            if run.rank == 0:
                check_unlocked(real)
            run.begin(restart)
            new = False
            run.write_chunks(progress)
            return run.finish()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise OSError(
            f"no space left on the disk for {target}. What is finished is kept in "
            f"{run.part.name}: make room and run the same again"
        ) from error
    finally:
        if new and run.rank == 0 and run.part.is_file() and not run.part.stat().st_size:
            run.part.unlink()  # it holds nothing but the lock


class _Run:
    """What one process does for the file, and the paths that all of them share."""

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        source: Path,
        target: Path,
        suffix: str,
        plan: Plan,
        errors: str,
    ):
        self.engine, self.tokenizer, self.plan = engine, tokenizer, plan
        self.source, self.target, self.suffix, self.errors = source, target, suffix, errors
        self.rank, self.world = rank(), count()
        self.rows = count_lines(source, errors)
        self.width = plan.width(engine.model.config) if plan.pools else 0
        self.part = target.with_name(target.name + ".part")
        self.paths = [target.with_name(f"{self.part.name}.{n}.json") for n in range(self.world)]
        self.settings = {
            "format": suffix,
            "lines": self.rows,
            "processes": self.world,
            "model": identity(engine.model, tokenizer),
            **plan.to_dict(),
        }

    def begin(self, restart: bool) -> None:
        """Find the state of an earlier run of the same, or make room and start anew."""
        before = self._states_on_disk()
        there = self.part.stat().st_size if self.part.is_file() else 0
        if there and not before:
            raise FileExistsError(
                f"{self.part} is there, and no {self.paths[0].name} that says whose it is: move it "
                "away, or choose another output"
            )
        states = [] if restart else [State.read(path) for path in before]
        resume = any(state.chunks for state in states) and there >= max(s.bytes for s in states)
        wait_for_all()
        if not resume:
            _check_room(self.target, HEADER + self.rows * self.width * 4)
            # A kill may come between any two steps: state files of old stand beside an empty
            # OUT.part, which none of them fits, and a new one, with no chunk, beside any.
            if self.rank == 0:
                os.truncate(self.part, 0)
                for path in before:
                    path.unlink()
            first = header(self.suffix, self.rows, self.width)
            wait_for_all()
            State(self.settings).write(self.paths[self.rank])
            if self.rank == 0:
                with self.part.open("r+b") as file:
                    file.write(first)
                    _flush(file)
        wait_for_all()
        for path in self._states_on_disk():  # of the other processes, too
            _check_same(path, self.settings)
        self.state = State.read(self.paths[self.rank])

    def _states_on_disk(self) -> list[Path]:
        return sorted(self.part.parent.glob(f"{glob.escape(self.part.name)}.[0-9]*.json"))

    def write_chunks(self, progress: bool) -> None:
        """The chunks of this process that are not done yet, each written before the state."""
        state = self.state
        size = CHUNK if self.plan.pools else TOKEN_CHUNK
        done = seen = 0
        bar = tqdm(total=self.rows, unit="text", disable=not progress or self.rank > 0)
        with self.part.open("r+b") as file, bar:
            for chunk in read_chunks(self.source, size, self.errors):
                seen += len(chunk.texts)
                if seen > self.rows:
                    break
                bar.update(len(chunk.texts))
                if chunk.number % self.world != self.rank:
                    continue
                done += 1
                if done <= state.chunks:
                    if done == state.chunks and chunk.digest != state.digest:
                        raise ValueError(
                            f"{self.source} has changed since {self.part.name} was begun: start "
                            f"anew (restart)"
                        )
                    bar.initial = bar.n  # what was done before does not count as speed
                    continue
                state.cut += self._write(chunk, file)
                state.chunks, state.digest, state.bytes = done, chunk.digest, file.tell()
                state.write(self.paths[self.rank])
        if seen != self.rows:
            raise ValueError(
                f"{self.source} changed while it was read ({self.rows} lines, then {seen}): start "
                f"anew (restart), with a copy that nobody writes to"
            )

    def _write(self, chunk: Chunk, file: IO[bytes]) -> int:
        """The vectors of a chunk to their place in the file; how many texts were cut."""
        if self.plan.pools:
            vectors, cut = embed_chunk(self.engine, self.tokenizer, chunk.texts, self.plan)
            file.seek(HEADER + chunk.first * self.width * 4)
            file.write(vectors.astype("<f4", copy=False).tobytes())
        else:
            texts, cut = token_chunk(self.engine, self.tokenizer, chunk.texts, self.plan)
            states = count_states(self.engine.model)
            file.seek(self.state.bytes)
            for number, tokens in enumerate(texts, chunk.first):
                file.write(json_line(number, tokens, self.plan.layers, states).encode("utf-8"))
            file.truncate()
        _flush(file)
        return cut

    def finish(self) -> Done:
        """When all processes are done, the file takes its name."""
        wait_for_all()
        cut = sum(State.read(path).cut for path in self.paths)
        wait_for_all()
        if self.rank == 0:
            self.part.replace(self.target)
            for path in self.paths:
                path.unlink()
        return Done(self.rows, self.width, cut)


def check_paths(source: str | Path | None, target: str | Path) -> Path:
    """Raise what can be known of the two before a model is loaded; gives the real `target`. The
    source None is standard input."""
    if Path(target).suffix not in FORMATS:
        raise ValueError(f"the output must end in {', '.join(FORMATS)}, got {target}")
    if source is not None:
        check_plain(Path(source))
        Path(source).open("rb").close()
    return check_writable(target, [] if source is None else [source])


def _check_options(target: Path, plan: Plan, errors: str) -> None:
    as_json = target.suffix == ".jsonl"
    if errors not in ("strict", "replace"):
        raise ValueError(f'errors must be "strict" or "replace", got {errors!r}')
    if as_json and (plan.pools or plan.combine != "concat"):
        raise ValueError('.jsonl holds every token and layer: use pooling "none", combine "concat"')
    if plan.words:
        raise ValueError("a file has a text a line: is_split_into_words is for lists of words")
    if not as_json and not plan.pools:
        raise ValueError('pooling "none" keeps every token, which only .jsonl can hold')
    if as_json and count() > 1:
        raise ValueError(".jsonl is written by one process: start it without torchrun")


def _check_room(target: Path, needed: int) -> None:
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise OSError(
            f"{target} would take {needed / 1e6:,.1f} MB, and the disk has {free / 1e6:,.1f} MB "
            f"free: make room, or choose another folder"
        )


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


def _flush(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())


def npy_header(rows: int, width: int) -> bytes:
    """The first 128 bytes of a .npy file of float32 (rows, width)."""
    text = str({"descr": "<f4", "fortran_order": False, "shape": (rows, width)})
    filled = text.ljust(HEADER - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(filled)) + filled.encode("ascii")


def safetensors_header(rows: int, width: int) -> bytes:
    """The first 128 bytes of a .safetensors file with one float32 tensor, "vectors"."""
    entry = {"dtype": "F32", "shape": [rows, width], "data_offsets": [0, rows * width * 4]}
    text = json.dumps({"vectors": entry}, separators=(",", ":")).ljust(HEADER - 8)
    return struct.pack("<Q", len(text)) + text.encode("ascii")


def header(suffix: str, rows: int, width: int) -> bytes:
    """What stands before the first row."""
    if suffix == ".jsonl":
        return b""
    return npy_header(rows, width) if suffix == ".npy" else safetensors_header(rows, width)


def json_line(number: int, tokens: TokenVectors, layers: tuple[int, ...], count: int) -> str:
    """One text as `extract_features.py` writes it; layers are counted from the end, -1 the last.

    "linex_index" is spelled as in the original.
    """
    layered = tokens.vectors.reshape(len(tokens.tokens), len(layers), -1)
    features = [
        {
            "token": token,
            "layers": [
                {"index": layer - count, "values": [round(float(x), 6) for x in values]}
                for layer, values in zip(layers, rows)
            ],
        }
        for token, rows in zip(tokens.tokens, layered)
    ]
    return json.dumps({"linex_index": number, "features": features}, ensure_ascii=False) + "\n"
