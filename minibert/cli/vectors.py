"""The vectors of texts: compare two, write those of a file, search among them."""

import argparse
import dataclasses
import os
from pathlib import Path
from typing import Any

from minibert.cli.options import (
    SENTENCE_MODEL,
    add_model_command,
    add_two_texts,
    is_terminal,
    load_model,
    print_json,
    say,
    standard_input,
)
from minibert.cli.settings import add_settings, read_settings
from minibert.system.settings import option

# Sentences of which no two are about the same: what a cosine is worth depends on the model.
UNRELATED = [
    "The bread is still warm from the oven.",
    "Her train was cancelled because of the snow.",
    "The court rejected the appeal in March.",
    "Whales sleep with half of their brain.",
    "He scored twice in the second half.",
    "Copper conducts electricity better than iron.",
    "They painted the kitchen yellow.",
    "The orchestra plays Mozart tonight.",
    "Prices rose faster than wages last year.",
    "My grandfather kept bees behind the house.",
    "The patient was given two tablets a day.",
    "A dry summer ruined the grape harvest.",
]


@dataclasses.dataclass
class VectorOptions:
    """How vectors are made. The library has the defaults: what is left out is not handed on."""

    layer: str | None = option(
        None, "0 embeddings ... 12 or -1 last block, or several, as in --layer=-4,-3", "N,..."
    )
    combine: str | None = option(None, "several layers: concat, sum or mean")
    pooling: str | None = option(None, "mean, max, mean-max, cls, last or pooler (the model's own)")
    normalize: bool = option(False, "to length 1")
    max_length: int | None = option(None, "tokens of a text (the model's own)")
    truncate_dim: int | None = option(None, "the first N numbers of a vector alone")
    mask_cls_sep: bool = option(False, "[CLS] and [SEP] do not count")
    long_texts: str | None = option(None, "cut at that length, or read in windows")
    precision: str | None = option(None, "bfloat16, float16 or int8: faster, other numbers")
    even_if_slow: bool = option(False, "a precision that this processor is slow in")


@dataclasses.dataclass
class FileOptions(VectorOptions):
    """And how those of a file are written."""

    batch_tokens: int | None = option(None, "tokens at a time")
    deterministic: bool = option(False, "the same bits in any company")
    restart: bool = option(False, "start anew, do not resume")


def add_commands(commands: Any) -> None:
    """Add `similarity`, `embed` and `nearest` to the sub-parsers of `minibert`."""
    p = add_model_command(
        commands,
        similarity,
        "similarity",
        "cosine of two texts' vectors",
        "minibert similarity 'A cat sat down.' 'A kitten was sitting.'",
        default=SENTENCE_MODEL,
    )
    add_two_texts(p)
    _add_similarity(p)
    _add_prompt(p)

    p = add_model_command(
        commands,
        embed,
        "embed",
        "a file of texts, one a line -> a file of vectors",
        "minibert embed sentences.txt -o vectors.npy",
        "minibert embed sentences.txt -o tokens.jsonl --layer=-1,-2,-3,-4",
        "torchrun --nproc-per-node 2 -m minibert embed sentences.txt -o vectors.npy",
        default=SENTENCE_MODEL,
    )
    p.add_argument("file", metavar="FILE", help="UTF-8 text, one text a line; - is standard input")
    p.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help=".npy or .safetensors: an array, a row per line; .jsonl: every token, as Google's "
        "extract_features.py writes them",
    )
    add_embed_settings(p, FileOptions)
    _add_prompt(p)
    _add_errors(p)

    p = add_model_command(
        commands,
        nearest,
        "nearest",
        "the lines of a file whose vectors lie nearest",
        "minibert nearest 'A cat sat down.' vectors.npy sentences.txt",
        default=SENTENCE_MODEL,
    )
    p.add_argument("text", metavar="TEXT")
    p.add_argument("vectors", metavar="VECTORS.npy", help="made by minibert embed")
    p.add_argument("file", metavar="FILE", help="the lines they were made of")
    p.add_argument("--top", type=int, default=5, metavar="N", help="lines to show (%(default)s)")
    _add_similarity(p)
    _add_prompt(p)
    _add_errors(p)


def add_embed_settings(parser: argparse.ArgumentParser, options: type = VectorOptions) -> None:
    """How vectors are made, read by `embed_settings`, and where."""
    add_settings(parser, options)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1 (%(default)s)")


def embed_settings(arguments: argparse.Namespace, options: type = VectorOptions) -> dict[str, Any]:
    """Those that were given."""
    values = vars(read_settings(options, arguments))
    settings = {n: value for n, value in values.items() if value is not None and value is not False}
    if "layer" in settings:
        settings["layer"] = _layers(settings["layer"])
    return settings


def _add_prompt(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--prompt-name", metavar="NAME", help='of the model\'s own prompts, such as "query"'
    )


def _add_similarity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--similarity",
        metavar="WORD",
        help="cosine, dot, euclidean or manhattan, a distance counting negatively (the model's "
        "own, else cosine)",
    )


def _add_errors(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--errors",
        default="strict",
        choices=("strict", "replace"),
        help="bytes that are not UTF-8: refused, or each read as U+FFFD",
    )


def similarity(arguments: argparse.Namespace) -> None:
    import numpy as np

    bert = load_model(arguments)
    name = arguments.similarity or bert.recipe.similarity
    prompt: Any = {"prompt_name": arguments.prompt_name}
    score = bert.similarity(arguments.first, arguments.second, name, **prompt)
    table = bert.similarity(UNRELATED, UNRELATED, name, **prompt)
    others = table[np.triu_indices(len(UNRELATED), k=1)]
    if arguments.json:
        print_json({name: score, "unrelated": float(others.mean())})
    else:
        print(f"{score:.4f}  {name} of the two vectors")
        print(f"{others.mean():.4f}  that of unrelated sentences in this model, on average; "
              f"one pair in ten has {np.quantile(others, 0.9):.4f} or more")  # fmt: skip


def embed(arguments: argparse.Namespace) -> None:
    import shutil
    import tempfile

    from minibert.vectors.file import check_paths

    output = Path(arguments.output)
    settings = embed_settings(arguments, FileOptions)
    settings |= {"errors": arguments.errors, "prompt_name": arguments.prompt_name}
    if output.suffix == ".jsonl":
        settings.setdefault("pooling", "none")
    if arguments.file == "-" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(
            "standard input can be read once, and every process of torchrun reads the texts: "
            "write them to a file first"
        )
    if Path(arguments.file).suffix in (".csv", ".tsv", ".jsonl"):
        say(
            f"{arguments.file} is read as one text a line: whole lines, header, commas "
            "and tabs included. Of a table cut out the column of the texts first"
        )
    device = check_device(arguments.device)
    check_paths(None if arguments.file == "-" else arguments.file, output)
    bert = load_model(arguments)
    bert.to(device)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(arguments.file)
        if arguments.file == "-":
            source = Path(folder) / "standard input"
            with source.open("wb") as file:
                shutil.copyfileobj(standard_input(), file)
        try:
            done = bert.embed_file(source, output, progress=is_terminal(), **settings)
        except KeyboardInterrupt:
            say(f"what is finished is kept in {output}.part; the same command goes on from there")
            raise
    if int(os.environ.get("RANK", "0")):
        return
    if done.cut:
        say(
            f"{done.cut:,} of {done.rows:,} lines were too long for the model and were "
            f"cut; --long-texts windows reads them whole"
        )
    shape = [done.rows, done.width] if done.width else [done.rows]
    if arguments.json:
        print_json({"output": str(output), "shape": shape})
    elif done.width:
        print(f"{output}: {done.rows} vectors of {done.width} numbers (float32)")
    else:
        print(f"{output}: {done.rows} texts, a line of JSON each")


def _layers(words: str) -> list[int]:
    try:
        return [int(number) for number in words.split(",")]
    except ValueError:
        raise ValueError(
            f"--layer takes numbers, as in --layer=-1 or --layer=-4,-3: got {words}"
        ) from None


def check_device(name: str) -> str:
    """The device by name; under torchrun each process has a GPU of its own."""
    import torch

    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    known = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        known.append("mps")
    if name not in known:
        raise ValueError(f"no device {name} here: --device takes {', '.join(known)}")
    return name


def nearest(arguments: argparse.Namespace) -> None:
    from minibert.system.lines import read_lines
    from minibert.vectors.nearest import open_vectors

    count = sum(1 for _ in read_lines(arguments.file, arguments.errors))
    vectors = open_vectors(arguments.vectors)
    if count != len(vectors):
        raise ValueError(
            f"{arguments.vectors} has {len(vectors)} rows, {arguments.file} {count} lines: "
            f"the vectors were made of another file"
        )
    bert = load_model(arguments)
    settings: Any = {"prompt_name": arguments.prompt_name}
    similarity = arguments.similarity or bert.recipe.similarity
    (answers,) = bert.nearest([arguments.text], vectors, arguments.top, similarity, **settings)
    rows = {row for row, _ in answers}
    again = enumerate(read_lines(arguments.file, arguments.errors))
    lines = {row: line for row, line in again if row in rows}
    for row, score in answers:
        if arguments.json:
            print_json({"line": row + 1, similarity: score, "text": lines[row]})
        else:
            print(f"{score:.4f}  {lines[row]}")
