"""Commands for people who handle checkpoints: `minibert weights`, `minibert verify`.

`python -m weights_tools COMMAND` is the same as `minibert weights COMMAND`.

Exit codes: 0 done, 1 refused, failed or different (the reason is on standard error), 2 wrong
usage, 3 `verify` had nothing to run, 130 stopped by Ctrl-C.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

from minibert.cli.main import run_parser
from minibert.cli.options import Parser, add_command, finite, is_terminal

SUMMARY = "get checkpoints, look into them, convert them, prove them"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    program = "python -m weights_tools"
    parser = Parser(
        prog=program,
        description="For people who handle BERT checkpoints: get, look into, convert, prove.",
        epilog=f"{program} COMMAND --help explains each command, with an example.",
    )
    _add_all(parser.add_subparsers(metavar="COMMAND", required=True), program)
    return run_parser(parser, argv, "weights_tools")


def add_commands(commands: Any) -> None:
    """Add `verify` and `weights` to the commands of `minibert`."""
    _add_verify(commands, "minibert")
    example = "minibert weights show models/bert-base-uncased"
    weights = add_command(commands, main, "weights", SUMMARY, example)
    _add_all(weights.add_subparsers(metavar="COMMAND", required=True), "minibert weights")


def _add_all(commands: Any, program: str) -> None:
    p = _add(
        commands,
        _fetch,
        "fetch",
        "get an official model by its short name",
        f"{program} fetch bert-base-uncased --to models/bert-base-uncased",
        f"{program} fetch --list",
    )
    p.add_argument("name", nargs="?", metavar="NAME", help="a short name, or org/name on the hub")
    p.add_argument("--to", metavar="DIR", help="a new folder (default: the hub's cache)")
    p.add_argument("--list", action="store_true", help="print the short names")
    p.add_argument("--dry-run", action="store_true", help="say what would be downloaded, no more")

    p = _add(
        commands,
        _show,
        "show",
        "what is in a weight file, and is it the same as another",
        f"{program} show uncased_L-12_H-768_A-12/bert_model.ckpt",
        f"{program} show model.safetensors --diff pytorch_model.bin",
    )
    p.add_argument("file", metavar="FILE_OR_DIR", help=".safetensors, .bin, TensorFlow, a folder")
    p.add_argument(
        "--diff", metavar="OTHER", help="compare tensor by tensor; exit code 1 if not the same"
    )

    p = _add(
        commands,
        _convert,
        "convert",
        "Google's checkpoint, or any other, to a folder",
        f"{program} convert uncased_L-12_H-768_A-12.zip models/bert-base-uncased",
    )
    p.add_argument("source", metavar="SRC", help="a folder, a TensorFlow prefix, a file or a zip")
    p.add_argument("folder", metavar="DST", help="a new folder")
    _case_arguments(p)

    p = _add(
        commands,
        _export,
        "export",
        "a model for other programs",
        f"{program} export models/bert-base-uncased bert-onnx --format onnx",
        f"{program} export models/bert-base-uncased bert-tf --format tf",
    )
    p.add_argument("source", metavar="SRC", help="a model folder")
    p.add_argument("folder", metavar="DST", help="a new folder")
    p.add_argument("--format", choices=("hf", "onnx", "tf"), default="hf", help="(%(default)s)")
    p.add_argument("--heads", action="store_true", help="onnx: with the pretraining heads")
    _case_arguments(p)
    _add_verify(commands, program)


def _add_verify(commands: Any, program: str) -> None:
    p = _add(
        commands,
        _verify,
        "verify",
        "is this model the one it claims to be, and do we compute it right?",
        f"{program} verify models/bert-base-uncased",
        f"{program} verify            # the golden numbers alone: are they in order",
    )
    p.add_argument("model", nargs="?", metavar="DIR", help="a folder, a file, a TensorFlow prefix")
    p.add_argument("--claim", metavar="NAME", help="what the model says it is, as in bert-tiny")
    p.add_argument("--pack", metavar="FILE", help="another golden pack, a JSON file")
    p.add_argument("--no-transformers", action="store_true", help="without that comparison")


def _add(commands: Any, run: Callable, name: str, help: str, *examples: str) -> Any:
    parser = add_command(commands, run, name, help, *examples)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


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
    print(json.dumps(finite(result.to_dict()), indent=1) if arguments.json else result)


def _fetch(arguments: argparse.Namespace) -> int:
    from weights_tools.fetch import NAMES, fetch, plan, say_on_stderr

    if arguments.list:
        width = max(map(len, NAMES))
        lines = (f"{name:<{width}}  {repository}" for name, repository in NAMES.items())
        print(json.dumps(NAMES, indent=1) if arguments.json else "\n".join(lines))
        return 0
    if arguments.name is None:
        raise ValueError("which model? python -m weights_tools fetch --list has the short names")
    if arguments.dry_run:
        download = plan(arguments.name)
        print(json.dumps(vars(download), indent=1) if arguments.json else download)
        return 0
    folder = fetch(arguments.name, arguments.to, say=say_on_stderr)
    print(json.dumps({"folder": str(folder)}) if arguments.json else folder)
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from weights_tools.show import diff, show

    if arguments.diff is None:
        _tell(arguments, show(arguments.file, progress=is_terminal()))
        return 0
    difference = diff(arguments.file, arguments.diff, progress=is_terminal())
    _tell(arguments, difference)
    return 0 if difference.same else 1


def _convert(arguments: argparse.Namespace) -> int:
    from weights_tools.convert import convert

    lowercase = arguments.lowercase
    progress = is_terminal()
    report = convert(arguments.source, arguments.folder, lowercase=lowercase, progress=progress)
    _tell(arguments, report)
    return 0


def _export(arguments: argparse.Namespace) -> int:
    if arguments.format == "hf":
        return _convert(arguments)
    if arguments.format == "tf":
        from weights_tools.convert import convert_to_tf

        _tell(arguments, convert_to_tf(arguments.source, arguments.folder, progress=is_terminal()))
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
        progress=is_terminal(),
    )
    _tell(arguments, verdict)
    return verdict.exit_code
