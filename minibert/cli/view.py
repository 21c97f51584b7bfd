"""What happens inside for a text: a list of tensors, a picture, or a page in which BERT lives."""

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minibert.cli.options import (
    add_command,
    add_model,
    add_model_command,
    add_texts,
    load_model,
    load_tokenizer,
    print_json,
    texts_of,
)
from minibert.system.files import written_whole

if TYPE_CHECKING:
    from minibert.view import Picture

ATTENTION_OPTIONS = ("pair", "block", "head", "query", "beside")


def add_commands(commands: Any) -> None:
    """Add `trace`, `view` and `live` to the sub-parsers of `minibert`."""
    p = add_model_command(
        commands,
        trace,
        "trace",
        "every intermediate tensor: name, shape, norm",
        "minibert trace 'The river bank.'",
        "minibert trace --save t.npz 'The river bank.'",
    )
    add_texts(p)
    p.add_argument("--pair", metavar="B", help="a second sentence")
    p.add_argument("--save", metavar="OUT.npz", help="write the tensors to a numpy archive")

    p = add_model_command(
        commands,
        view,
        "view",
        "a picture: who reads whom, the pieces, the layers",
        "minibert view 'The river bank was flooded.' -o bank.html",
        "minibert view --what lens 'The river [MASK] was flooded.' -o lens.svg",
    )
    p.add_argument("text", metavar="TEXT")
    p.add_argument("--pair", metavar="B", help="a second sentence")
    p.add_argument(
        "--what",
        choices=("attention", "tokens", "lens", "shapes"),
        default="attention",
        help="all heads; characters to ids; guesses for [MASK] by layer; every tensor to scale",
    )
    p.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help=".html, a page that needs no network, or .svg (attention.html, tokens.html, ...)",
    )
    p.add_argument(
        "--block",
        type=int,
        metavar="N",
        help="the head that is shown large (the one in which words read other words most)",
    )
    p.add_argument("--head", type=int, metavar="N", help="(the same)")
    p.add_argument("--query", metavar="TOKEN", help="what this token reads")
    p.add_argument("--beside", metavar="TEXT", help="another text, to compare head by head")

    p = add_command(
        commands,
        live,
        "live",
        "a page in which BERT itself runs: type, look inside, break it; needs no network",
        "minibert live",
        "minibert live --model my-bert --int8 -o my-bert.html",
    )
    add_model(p, "minibert-tiny")
    p.add_argument("-o", "--output", metavar="OUT", default="live.html", help="(%(default)s)")
    p.add_argument(
        "--int8",
        action="store_true",
        help="store the weights in one byte each, with a scale for each row, not in two; the page "
        "says by how much its numbers differ",
    )


def trace(arguments: argparse.Namespace) -> None:
    texts = texts_of(arguments)
    if arguments.save and len(texts) > 1:
        raise ValueError(f"--save takes one text, got {len(texts)}")
    if arguments.save and Path(arguments.save).exists():
        raise FileExistsError(f"{arguments.save} is there already: choose a new name")
    with written_whole(arguments.save) if arguments.save else nullcontext() as new:
        bert = load_model(arguments)
        for text in texts:
            traced: Any = bert.trace(text, arguments.pair)
            if arguments.json:
                rows = [dict(zip(("name", "shape", "norm"), row)) for row in traced.rows()]
                print_json({"text": text, "tokens": traced.tokens, "tensors": rows})
            else:
                print(" ".join(traced.tokens[0]), traced, sep="\n")
            if new is not None:
                import numpy as np

                arrays: Any = {name: tensor.numpy() for name, tensor in traced.items()}
                with new.open("wb") as file:
                    np.savez(file, **arrays)


def view(arguments: argparse.Namespace) -> None:
    from minibert.view.picture import check_name

    what = arguments.what
    options = {name: getattr(arguments, name) for name in ATTENTION_OPTIONS}
    options = {name: value for name, value in options.items() if value is not None}
    if options and what != "attention":
        raise ValueError(f"--{next(iter(options))} goes with --what attention, not with {what}")
    output = Path(arguments.output or f"{what}.html")
    if not arguments.output and output.exists():
        raise FileExistsError(f"{output} is there already: name the file with -o")
    check_name(output)
    with written_whole(output) as new:
        picture = _picture(arguments, options)
        new.write_bytes(picture.content(output.suffix))
    if arguments.json:
        print_json({"output": str(output), "title": picture.title})
    else:
        print(f"{output}: {picture.title}")


def _picture(arguments: argparse.Namespace, options: dict[str, Any]) -> "Picture":
    from minibert import view

    if arguments.what == "tokens":
        return view.tokenization(load_tokenizer(arguments), arguments.text)
    bert = load_model(arguments)
    if arguments.what == "lens":
        return view.lens(bert, arguments.text)
    if arguments.what == "shapes":
        return view.shapes(bert, arguments.text)
    return view.attention(bert, arguments.text, **options)


def live(arguments: argparse.Namespace) -> None:
    from minibert.view.live.page import live_page
    from minibert.view.picture import check_name

    output = Path(arguments.output)
    if output.suffix != ".html":
        raise ValueError(f"expected a name that ends in .html, got {output.name!r}")
    check_name(output)
    with written_whole(output) as new:
        precision = "int8" if arguments.int8 else "float16"
        new.write_text(live_page(load_model(arguments), precision=precision), encoding="utf-8")
        size = new.stat().st_size
    print(f"{output}: {size / 1e6:.1f} MB; open it in a browser")
