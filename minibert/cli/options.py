"""What the commands of the command line have in common: a description, examples, a model."""

import argparse
import os
from collections.abc import Callable
from typing import Any

DEFAULT_MODEL = "google-bert/bert-base-uncased"


def add_command(
    commands: Any, run: Callable, name: str, help: str, *examples: str
) -> argparse.ArgumentParser:
    """A sub-parser whose arguments go to `run`, with examples below its help."""
    parser = commands.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog="example:\n  " + "\n  ".join(examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_model(parser: argparse.ArgumentParser) -> None:
    """-m, --model: MINIBERT_MODEL where it is set."""
    parser.add_argument(
        "-m",
        "--model",
        default=os.environ.get("MINIBERT_MODEL", DEFAULT_MODEL),
        help="a folder, or a name on the hub (%(default)s)",
    )
