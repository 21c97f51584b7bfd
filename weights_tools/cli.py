"""The command line: `python -m weights_tools COMMAND`. Each command calls one function.

Exit codes: 0 done, 1 refused, failed or different (the reason is on standard error), 2 wrong
usage, 3 `verify` had nothing to run, 130 stopped by Ctrl-C.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    try:
        return arguments.run(arguments)
    except KeyboardInterrupt:
        print("weights_tools: stopped; nothing half-written was kept", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, `head` say, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        print(f"weights_tools: {error}", file=sys.stderr)
        return 1


def make_parser() -> argparse.ArgumentParser:
    """The commands and their options, each with an example."""
    parser = argparse.ArgumentParser(
        prog="python -m weights_tools",
        description="For people who handle BERT checkpoints: get, look into, convert, prove.",
        epilog="python -m weights_tools COMMAND --help explains each command, with an example.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    add = _adder(commands, _fetch, "fetch", "get an official model by its short name")
    p = add(
        "python -m weights_tools fetch bert-base-uncased --to models/bert-base-uncased",
        "python -m weights_tools fetch --list",
    )
    p.add_argument("name", nargs="?", metavar="NAME", help="a short name, or org/name on the hub")
    p.add_argument("--to", metavar="DIR", help="a new folder (default: the hub's cache)")
    p.add_argument("--list", action="store_true", help="print the short names")
    p.add_argument("--dry-run", action="store_true", help="say what would be downloaded, no more")

    add = _adder(commands, _show, "show", "what is in a weight file, and is it the same as another")
    p = add(
        "python -m weights_tools show uncased_L-12_H-768_A-12/bert_model.ckpt",
        "python -m weights_tools show model.safetensors --diff pytorch_model.bin",
    )
    p.add_argument("file", metavar="FILE_OR_DIR", help=".safetensors, .bin, TensorFlow, a folder")
    p.add_argument(
        "--diff", metavar="OTHER", help="compare tensor by tensor; exit code 1 if not the same"
    )

    add = _adder(commands, _convert, "convert", "Google's checkpoint, or any other, to a folder")
    p = add("python -m weights_tools convert uncased_L-12_H-768_A-12.zip models/bert-base-uncased")
    p.add_argument("source", metavar="SRC", help="a folder, a TensorFlow prefix, a file or a zip")
    p.add_argument("folder", metavar="DST", help="a new folder")
    _case_arguments(p)

    add = _adder(commands, _export, "export", "a model for other programs")
    p = add(
        "python -m weights_tools export models/bert-base-uncased bert-onnx --format onnx",
        "python -m weights_tools export models/bert-base-uncased bert-tf --format tf",
    )
    p.add_argument("source", metavar="SRC", help="a model folder")
    p.add_argument("folder", metavar="DST", help="a new folder")
    p.add_argument("--format", choices=("hf", "onnx", "tf"), default="hf", help="(%(default)s)")
    p.add_argument("--heads", action="store_true", help="onnx: with the pretraining heads")
    _case_arguments(p)

    add = _adder(
        commands, _verify, "verify", "is it the model it claims to be, and do we compute it right"
    )
    p = add(
        "python -m weights_tools verify models/bert-base-uncased",
        "python -m weights_tools verify            # the golden numbers alone: are they in order",
    )
    p.add_argument("model", nargs="?", metavar="DIR", help="a folder, a file, a TensorFlow prefix")
    p.add_argument("--claim", metavar="NAME", help="what the model says it is, as in bert-tiny")
    p.add_argument("--pack", metavar="FILE", help="another golden pack, a JSON file")
    p.add_argument("--no-transformers", action="store_true", help="without that comparison")
    return parser


def _adder(commands: Any, run: Callable[..., int], name: str, summary: str) -> Callable[..., Any]:
    def add(*examples: str) -> argparse.ArgumentParser:
        parser = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog="example:\n  " + "\n  ".join(examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.set_defaults(run=run)
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        return parser

    return add


def _case_arguments(parser: argparse.ArgumentParser) -> None:
    case = parser.add_mutually_exclusive_group()
    case.add_argument(
        "--uncased",
        dest="lowercase",
        action="store_true",
        default=None,
        help="the vocabulary is lower-cased (default: what the name says)",
    )
    case.add_argument("--cased", dest="lowercase", action="store_false", help="it is not")


def _tell(arguments: argparse.Namespace, result: Any) -> None:
    print(json.dumps(result.to_dict(), indent=1) if arguments.json else result)


def _progress() -> bool:
    return sys.stderr.isatty()


def _fetch(arguments: argparse.Namespace) -> int:
    from weights_tools.fetch import NAMES, fetch, plan, say_on_stderr

    if arguments.list:
        print(json.dumps(NAMES, indent=1) if arguments.json else _columns(NAMES))
        return 0
    if arguments.name is None:
        raise ValueError("which model? python -m weights_tools fetch --list has the short names")
    if arguments.dry_run:
        found = plan(arguments.name)
        print(json.dumps(vars(found), indent=1) if arguments.json else found)
        return 0
    folder = fetch(arguments.name, arguments.to, say=say_on_stderr)
    print(json.dumps({"folder": str(folder)}) if arguments.json else folder)
    return 0


def _columns(names: dict[str, str]) -> str:
    width = max(map(len, names))
    return "\n".join(f"{name:<{width}}  {repository}" for name, repository in names.items())


def _show(arguments: argparse.Namespace) -> int:
    from weights_tools.show import diff, show

    if arguments.diff is None:
        _tell(arguments, show(arguments.file, progress=_progress()))
        return 0
    difference = diff(arguments.file, arguments.diff, progress=_progress())
    _tell(arguments, difference)
    return 0 if difference.same else 1


def _convert(arguments: argparse.Namespace) -> int:
    from weights_tools.convert import convert

    lowercase = arguments.lowercase
    report = convert(arguments.source, arguments.folder, lowercase=lowercase, progress=_progress())
    _tell(arguments, report)
    return 0


def _export(arguments: argparse.Namespace) -> int:
    if arguments.format == "hf":
        return _convert(arguments)
    if arguments.format == "tf":
        from weights_tools.convert import convert_to_tf

        _tell(arguments, convert_to_tf(arguments.source, arguments.folder, progress=_progress()))
        return 0
    from weights_tools.export import export_onnx

    _tell(arguments, export_onnx(arguments.source, arguments.folder, heads=arguments.heads))
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from weights_tools.verify.command import verify

    verdict = verify(
        arguments.model,
        claim=arguments.claim,
        pack=arguments.pack,
        with_transformers=not arguments.no_transformers,
        progress=_progress(),
    )
    _tell(arguments, verdict)
    return verdict.exit_code
