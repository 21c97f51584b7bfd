"""What the commands of `minibert` do: read, call one function of the library, print.

Every command takes the parsed arguments. Heavy imports stand inside.
"""

import argparse
import json
import os
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def _texts(arguments: argparse.Namespace) -> list[str]:
    if arguments.text and arguments.text != ["-"]:
        return arguments.text
    if sys.stdin.isatty():
        raise ValueError('no text given: minibert COMMAND "a text", or pipe lines into it')
    return _lines(sys.stdin.buffer.read(), "standard input")


def _lines(content: bytes, name: str) -> list[str]:
    try:
        lines = content.decode("utf-8").removeprefix("\ufeff").split("\n")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"{name} is not UTF-8 text: line {line}, byte {error.start}") from None
    lines = [line.removesuffix("\r") for line in lines]
    return lines[:-1] if lines[-1] == "" else lines


def _load(arguments: argparse.Namespace) -> Any:
    from minibert.bert import load
    from minibert.system.processes import use_threads

    use_threads()
    return load(arguments.model)


def _print_json(content: Any) -> None:
    print(json.dumps(content, ensure_ascii=False))


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns as wide as their widest cell; numbers to the right, words to the left."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(_columns(row[i]) for row in cells) for i in range(len(header))]
    right = [bool(rows) and isinstance(rows[0][i], int | float) for i in range(len(header))]
    lines = []
    for row in cells:
        gaps = [" " * (width - _columns(cell)) for cell, width in zip(row, widths)]
        padded = [gap + cell if r else cell + gap for cell, gap, r in zip(row, gaps, right)]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes: two for 中, none for a combining accent."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def _tokenizer(arguments: argparse.Namespace) -> Any:
    """The tokenizer alone, which needs no torch."""
    from minibert.tokenizer.batch import Tokenizer
    from minibert.weights.hub import resolve

    return Tokenizer.from_folder(resolve(arguments.model, tokenizer_only=True).path)


def tokenize(arguments: argparse.Namespace) -> None:
    tokenizer = _tokenizer(arguments)
    for text in _texts(arguments):
        if arguments.explain:
            from minibert.tokenizer.explain import explain, format_explanation

            print(format_explanation(explain(tokenizer, text), colour=sys.stdout.isatty()))
            continue
        pieces = tokenizer.pieces(text)
        if arguments.json:
            keys = {"tokens": pieces.tokens, "input_ids": pieces.ids, "offsets": pieces.offsets}
            _print_json({"text": text, **keys})
            continue
        rows = [
            (token, number, f"{start}:{end}", text[start:end])
            for token, number, (start, end) in zip(
                pieces.tokens, pieces.ids, pieces.offsets, strict=True
            )
        ]
        print(_table(("piece", "id", "place", "text"), rows))


def fill_mask(arguments: argparse.Namespace) -> None:
    bert = _load(arguments)
    for text in _texts(arguments):
        blanks = bert.fill_mask(text, top=arguments.top)
        if arguments.json:
            _print_json({"text": text, "masks": [[p._asdict() for p in b] for b in blanks]})
            continue
        for number, predictions in enumerate(blanks, 1):
            print(f"{text}" + (f"   (blank {number} of {len(blanks)})" if len(blanks) > 1 else ""))
            for p in predictions:
                print(f"  {p.probability:7.4f}  {p.token}")


def next_sentence(arguments: argparse.Namespace) -> None:
    probability = _load(arguments).next_sentence(arguments.first, arguments.second)
    if arguments.json:
        _print_json({"is_next": probability})
    else:
        print(f"{probability:.4f}  probability that B follows A")


def similarity(arguments: argparse.Namespace) -> None:
    cosine = float(_load(arguments).similarity([arguments.first], [arguments.second])[0, 0])
    if arguments.json:
        _print_json({"cosine": cosine})
    else:
        print(f"{cosine:.4f}  cosine of the two vectors")


def embed(arguments: argparse.Namespace) -> None:
    import shutil
    import tempfile

    try:
        layers = [int(number) for number in arguments.layer.split(",")]
    except ValueError:
        raise ValueError(
            f"--layer takes numbers, as in --layer=-1 or --layer=-4,-3: got {arguments.layer}"
        ) from None
    output = Path(arguments.output)
    pooling = arguments.pooling or ("none" if output.suffix == ".jsonl" else None)
    if arguments.file == "-" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(
            "standard input can be read once, and every process of torchrun reads the texts: "
            "write them to a file first"
        )
    device = _device(arguments.device)
    bert = _load(arguments)
    bert.pretraining.to(device)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(arguments.file)
        if arguments.file == "-":
            source = Path(folder) / "standard input"
            with source.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
        try:
            done = bert.embed_file(
                source,
                output,
                layer=layers,
                combine=arguments.combine,
                pooling=pooling,
                normalize=arguments.normalize,
                max_length=arguments.max_length,
                long_texts=arguments.long_texts,
                batch_tokens=arguments.batch_tokens,
                precision=arguments.precision,
                deterministic=arguments.deterministic,
                errors=arguments.errors,
                restart=arguments.restart,
                progress=sys.stderr.isatty(),
            )
        except KeyboardInterrupt:
            kept = f"what is finished is kept in {output}.part"
            print(f"minibert: {kept}; the same command goes on from there", file=sys.stderr)
            raise
    if int(os.environ.get("RANK", "0")):
        return
    if done.cut:
        print(
            f"minibert: {done.cut:,} of {done.rows:,} lines were too long for the model and were "
            f"cut; --long-texts windows reads them whole",
            file=sys.stderr,
        )
    shape = [done.rows, done.width] if done.width else [done.rows]
    if arguments.json:
        _print_json({"output": str(output), "shape": shape})
    elif done.width:
        print(f"{output}: {done.rows} vectors of {done.width} numbers (float32)")
    else:
        print(f"{output}: {done.rows} texts, a line of JSON each")


def _device(name: str) -> str:
    """The device by name; under torchrun each process has a GPU of its own."""
    import torch

    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    known = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    known += ["mps"] * torch.backends.mps.is_available()
    if name not in known:
        raise ValueError(f"no device {name} here: --device takes {', '.join(known)}")
    return name


def nearest(arguments: argparse.Namespace) -> None:
    import numpy as np

    from minibert.system.lines import read_chunks

    chunks = read_chunks(Path(arguments.file), 4096, arguments.errors)
    lines = [text for chunk in chunks for text in chunk.texts]
    try:
        vectors = np.load(arguments.vectors, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise ValueError(f"{arguments.vectors} is not a .npy file: {error}") from None
    if len(lines) != len(vectors):
        raise ValueError(
            f"{arguments.vectors} has {len(vectors)} rows, {arguments.file} {len(lines)} lines: "
            f"the vectors were made of another file"
        )
    (found,) = _load(arguments).nearest([arguments.text], vectors, arguments.top)
    for row, cosine in found:
        if arguments.json:
            _print_json({"line": row + 1, "cosine": cosine, "text": lines[row]})
        else:
            print(f"{cosine:.4f}  {lines[row]}")


def trace(arguments: argparse.Namespace) -> None:
    texts = _texts(arguments)
    if arguments.save and len(texts) > 1:
        raise ValueError(f"--save takes one text, got {len(texts)}")
    bert = _load(arguments)
    for text in texts:
        traced = bert.trace(text, arguments.pair)
        if arguments.json:
            rows = [dict(zip(("name", "shape", "norm"), row)) for row in traced.rows()]
            _print_json({"text": text, "tokens": traced.tokens, "tensors": rows})
        else:
            print(" ".join(traced.tokens[0]), traced, sep="\n")
        if arguments.save:
            _save_trace(traced, Path(arguments.save))


def view(arguments: argparse.Namespace) -> None:
    from minibert.view.picture import check_name

    what = arguments.what
    names = ("pair", "block", "head", "query")
    given = {n: getattr(arguments, n) for n in names if getattr(arguments, n) is not None}
    if given and what != "attention":
        raise ValueError(f"--{next(iter(given))} goes with --what attention, not with {what}")
    output = Path(arguments.output or f"{what}.html")
    if not arguments.output and output.exists():
        raise FileExistsError(f"{output} is there already: name the file with -o")
    check_name(output)
    picture = _picture(arguments, what, given)
    picture.save(output)
    if arguments.json:
        _print_json({"output": str(output), "title": picture.title})
    else:
        print(f"{output}: {picture.title}")


def _picture(arguments: argparse.Namespace, what: str, given: dict[str, Any]) -> Any:
    from minibert import view

    if what == "tokens":
        return view.tokenization(_tokenizer(arguments), arguments.text)
    function: Any = {"attention": view.attention, "lens": view.lens, "shapes": view.shapes}[what]
    return function(_load(arguments), arguments.text, **given)


def _save_trace(traced: Any, path: Path) -> None:
    import numpy as np

    from minibert.system.files import written_whole

    with written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **{name: tensor.numpy() for name, tensor in traced.items()})
