"""The command line: `minibert COMMAND`. Thin: each command calls one function of the library.

Exit codes: 0 done, 1 refused or failed (the reason is on standard error), 2 wrong usage,
130 stopped by Ctrl-C. Heavy imports stand inside the commands: `minibert tokenize` needs no torch.
"""

import argparse
import os
import runpy
import sys
from collections.abc import Callable, Sequence

from minibert.cli import diagnose
from minibert.cli.options import add_command, add_model
from minibert.cli.text import (
    embed,
    fill_mask,
    nearest,
    next_sentence,
    similarity,
    tokenize,
    trace,
    view,
)
from minibert.cli.training_options import add_commands

# Commands with a module of their own, run as `python -m MODULE ARGUMENTS ...`.
ELSEWHERE = {
    "verify": ("weights_tools", ["verify"], "is this model the one it claims to be?"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in ELSEWHERE:
        return _run_elsewhere(*words)
    return run_parser(make_parser(), words)


def run_parser(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None = None, prog: str = "minibert"
) -> int:
    """Parse `argv` (by default the program's own), run the command, give the exit code.

    Each sub-parser names its command by `set_defaults(run=...)`: a function of the parsed
    arguments that returns an exit code, or None for 0. Errors go to standard error after `prog`.
    """
    arguments = parser.parse_args(argv)
    if os.environ.get("MINIBERT_DEBUG"):
        return arguments.run(arguments) or 0
    try:
        code = arguments.run(arguments) or 0
        sys.stdout.flush()  # a reader that has gone is noticed here, not after the end
        return code
    except KeyboardInterrupt:
        print(f"{prog}: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, `head` say, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, KeyError, OSError, ImportError, MemoryError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        print(f"{prog}: {message}", file=sys.stderr)
        return 1


def _run_elsewhere(command: str, *words: str) -> int:
    module, first, _ = ELSEWHERE[command]
    before, sys.argv = sys.argv, [f"minibert {command}", *first, *words]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=False)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    finally:
        sys.argv = before
    return 0


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="minibert",
        description="BERT from scratch: from the command line.",
        epilog="minibert COMMAND --help explains each command, with an example. "
        "MINIBERT_MODEL=NAME sets the model for all; MINIBERT_DEBUG=1 shows tracebacks.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(run: Callable, name: str, help: str, *examples: str) -> argparse.ArgumentParser:
        command = add_command(commands, run, name, help, *examples)
        add_model(command)
        command.add_argument("--json", action="store_true", help="one JSON object per line")
        return command

    p = add(
        tokenize,
        "tokenize",
        "text -> word pieces, ids and places in the text",
        "minibert tokenize 'Unaffable, naïve!'",
        "minibert tokenize --explain 'naïve'",
    )
    _text_argument(p)
    p.add_argument("--explain", action="store_true", help="show what each rule did, step by step")

    p = add(
        fill_mask,
        "fill-mask",
        "the likeliest words for every [MASK]",
        "minibert fill-mask 'Paris is the [MASK] of France.'",
    )
    _text_argument(p)
    p.add_argument("--top", type=int, default=5, metavar="N", help="words per blank (5)")

    p = add(
        next_sentence,
        "next-sentence",
        "does sentence B follow sentence A?",
        "minibert next-sentence 'He opened the door.' 'Then he went in.'",
    )
    p.add_argument("first", metavar="A")
    p.add_argument("second", metavar="B")

    p = add(
        similarity,
        "similarity",
        "cosine of two texts' vectors",
        "minibert similarity 'A cat sat down.' 'A kitten was sitting.'",
    )
    p.add_argument("first", metavar="A")
    p.add_argument("second", metavar="B")

    p = add(
        embed,
        "embed",
        "a file of texts, one a line -> a file of vectors",
        "minibert embed sentences.txt -o vectors.npy",
        "minibert embed sentences.txt -o tokens.jsonl --layer=-1,-2,-3,-4",
        "torchrun --nproc-per-node 2 -m minibert embed sentences.txt -o vectors.npy",
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
    p.add_argument(
        "--layer",
        default="-1",
        help="0 embeddings ... 12 or -1 last block, or several, as in --layer=-4,-3",
    )
    p.add_argument("--combine", default="concat", help="several layers: concat, sum or mean")
    p.add_argument("--pooling", help="mean, max, mean-max, cls, last or pooler (the model's own)")
    p.add_argument("--normalize", action="store_true", default=None, help="to length 1")
    p.add_argument("--max-length", type=int, metavar="N", help="tokens of a text (the model's own)")
    p.add_argument("--long-texts", default="cut", help="cut at that length, or read in windows")
    p.add_argument("--batch-tokens", type=int, metavar="N", help="tokens at a time")
    p.add_argument("--precision", help="bfloat16, float16 or int8: faster, other numbers")
    p.add_argument("--deterministic", action="store_true", help="the same bits in any company")
    _errors_argument(p)
    p.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1 (%(default)s)")
    p.add_argument("--restart", action="store_true", help="start anew, do not resume")

    p = add(
        nearest,
        "nearest",
        "the lines of a file whose vectors lie nearest",
        "minibert nearest 'A cat sat down.' vectors.npy sentences.txt",
    )
    p.add_argument("text", metavar="TEXT")
    p.add_argument("vectors", metavar="VECTORS.npy", help="made by minibert embed")
    p.add_argument("file", metavar="FILE", help="the lines they were made of")
    p.add_argument("--top", type=int, default=5, metavar="N", help="lines to show (5)")
    _errors_argument(p)

    p = add(
        trace,
        "trace",
        "every intermediate tensor: name, shape, norm",
        "minibert trace 'The river bank.'",
        "minibert trace --save t.npz 'The river bank.'",
    )
    _text_argument(p)
    p.add_argument("--pair", metavar="B", help="a second sentence")
    p.add_argument("--save", metavar="OUT.npz", help="write the tensors to a numpy archive")

    p = add(
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
    p.add_argument("--block", type=int, metavar="N", help="the head that is shown large (0)")
    p.add_argument("--head", type=int, metavar="N", help="(0)")
    p.add_argument("--query", metavar="TOKEN", help="what this token reads")

    add_commands(commands)
    for name, (_, _, help) in ELSEWHERE.items():
        commands.add_parser(name, help=help, add_help=False)
    diagnose.add_commands(commands)
    return parser


def _text_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "text", nargs="*", metavar="TEXT", help="(default: lines of standard input)"
    )


def _errors_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--errors",
        default="strict",
        choices=("strict", "replace"),
        help="bytes that are not UTF-8: refused, or each read as U+FFFD",
    )


if __name__ == "__main__":
    sys.exit(main())
