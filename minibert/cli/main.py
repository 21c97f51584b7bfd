"""The command line: `minibert COMMAND`. Thin: each command calls one function of the library.

Exit codes: 0 done, 1 refused or failed (the reason is on standard error), 2 wrong usage,
128 + N stopped by signal N (130 by Ctrl-C). Heavy imports stand inside the commands:
`minibert tokenize` needs no torch.
"""

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any

from minibert import __version__
from minibert.cli import diagnose, sentences, serve, tasks, text, training, vectors, view
from minibert.cli.options import Parser
from minibert.system.lines import print_any_text
from minibert.system.processes import Stop, stop_signals

GROUP = "minibert.commands"  # entry points: functions that add their commands to the sub-parsers
# What is told in a sentence; python -W error makes errors of warnings.
ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    OSError,
    ImportError,
    MemoryError,
    RecursionError,
    Warning,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    return run_parser(make_parser(), argv)


def run_parser(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None = None, prog: str = "minibert"
) -> int:
    """Parse `argv` (by default the program's own), run the command, give the exit code.

    Each sub-parser names its command by `set_defaults(run=...)`: a function of the parsed
    arguments that returns an exit code, or None for 0. Errors and warnings go to standard error
    after `prog`.
    """
    mute = _open_streams()
    arguments = parser.parse_args(argv)
    try:
        if mute and not any(vars(arguments).get(name) for name in ("output", "folder", "to")):
            raise ValueError("standard output is closed, and the answer goes there: redirect it")
        with stop_signals(), _warnings_in_words(prog):
            code = arguments.run(arguments) or 0
            sys.stdout.flush()  # a reader that has gone is noticed here, not after the end
            return code
    except KeyboardInterrupt as error:
        print(f"{prog}: stopped", file=sys.stderr)
        return 128 + (error.args[0] if isinstance(error, Stop) else signal.SIGINT)
    except BrokenPipeError:  # the reader, `head` say, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ERRORS as error:
        if os.environ.get("MINIBERT_DEBUG"):
            raise
        print(f"{prog}: {_in_words(error)}", file=sys.stderr)
        return 1


@contextmanager
def _warnings_in_words(prog: str) -> Iterator[None]:
    """Print warnings as the other messages are, without the path and line that they come from."""

    def show(message: Warning | str, *where: Any, **more: Any) -> None:
        print(f"{prog}: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        if not os.environ.get("MINIBERT_DEBUG"):
            warnings.showwarning = show
        yield


def _open_streams() -> bool:
    """Give a process that was started without standard streams some that lead nowhere, before a
    file takes their numbers; standard input stays None. Whether standard output was closed."""
    closed = [name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None]
    for name in closed:
        number = ("stdin", "stdout", "stderr").index(name)
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
        if number:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))
    print_any_text()
    return "stdout" in closed


def _in_words(error: BaseException) -> Any:
    if isinstance(error, KeyError):
        return error.args[0]
    if isinstance(error, OSError) and error.strerror:
        return (
            f"cannot open {error.filename}: {error.strerror}" if error.filename else error.strerror
        )
    return error


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="minibert",
        description="BERT from scratch: from the command line.",
        epilog="minibert COMMAND --help explains each command, with an example. "
        "MINIBERT_MODEL=NAME sets the model for all; MINIBERT_DEBUG=1 shows tracebacks.",
    )
    parser.add_argument("--version", action="version", version=f"minibert {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in (text, vectors, view, training, tasks, sentences, serve):
        module.add_commands(commands)
    _add_plugins(commands)
    diagnose.add_commands(commands)
    return parser


def _add_plugins(commands: Any) -> None:
    """The commands of other packages, which this library does not import: `weights_tools`' here."""
    for entry in entry_points(group=GROUP):
        try:
            entry.load()(commands)
        except Exception as error:  # whatever is wrong there, the other commands work
            print(
                f"minibert: the commands of {entry.value} are left out, since they cannot be "
                f"loaded ({type(error).__name__}: {error}): update or remove that package",
                file=sys.stderr,
            )
    if "verify" in commands.choices:
        return
    if find_spec("weights_tools"):  # installed before it had entry points, or not installed
        import_module("weights_tools.cli").add_commands(commands)
    else:
        absent = commands.add_parser("verify", help="needs the package weights_tools")
        absent.add_argument("words", nargs="*", metavar="DIR")
        absent.set_defaults(run=_refuse_verify)


def _refuse_verify(arguments: argparse.Namespace) -> None:
    raise ValueError(
        "verify is a command of the package weights_tools, which is not installed; "
        "`pip install .` in minibert's repository installs both"
    )


if __name__ == "__main__":
    sys.exit(main())
