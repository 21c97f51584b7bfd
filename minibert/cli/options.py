"""What the commands share: how one is added, its options, its texts, its model."""

import argparse
import difflib
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from minibert.system.lines import decode_lines
from minibert.weights.known_models import BUNDLED_NAME, SENTENCE_NAME

if TYPE_CHECKING:
    from minibert.bert import Bert
    from minibert.tokenizer.tokenizer import Tokenizer
    from minibert.training.loop import Result

T = TypeVar("T")


class Unasked(str):
    """The model that nobody named; where it cannot be had, the one in the box does."""


DEFAULT_MODEL = Unasked("google-bert/bert-base-uncased")
SENTENCE_MODEL = Unasked(SENTENCE_NAME)


class Parser(argparse.ArgumentParser):
    """Takes "- 5 degrees" for a text, not for options, and says how to give one like "-cold".

    >>> parser = Parser()
    >>> _ = parser.add_argument("text")
    >>> parser.parse_args(["-more or less"]).text
    '-more or less'
    """

    _words: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._words = list(sys.argv[1:] if args is None else args)
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:  # said here, by the command that has the options
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._meant(unknown)}")
        return namespace, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = ", ".join(map(str, action.choices))
            close = _similar(str(value), map(str, action.choices))
            raise argparse.ArgumentError(
                action, f"invalid choice: {value!r}{close}; choose from {known}"
            )

    def _meant(self, words: Sequence[str]) -> str:
        options = [option for option in self._option_string_actions if option.startswith("--")]
        for word in words:
            if word.startswith("--") and (close := _similar(word.partition("=")[0], options)):
                return close
        return ""

    def _parse_optional(self, arg_string: str) -> Any:
        if " " in arg_string.partition("=")[0]:  # no option has a space in its name
            return None
        if arg_string.startswith("-h") and arg_string != "-h":  # not -h: it takes no value
            self.error(f"unrecognized arguments: {arg_string}")
        return super()._parse_optional(arg_string)

    def error(self, message: str) -> Any:
        known = self._option_string_actions
        if any(w.startswith("-") and w.partition("=")[0] not in known for w in self._words):
            message += (
                ". A text that begins with a dash stands behind all options, after --: "
                f'{self.prog} -- "-text"; or after =, as in --pair=-text'
            )
        super().error(message)


def _similar(word: str, known: Iterable[str]) -> str:
    """What may have been meant.

    >>> _similar("fill_mask", ["fill-mask", "finetune", "view"])
    ' (did you mean fill-mask?)'
    """
    close = difflib.get_close_matches(word, list(known), n=2)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


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


def add_model(parser: argparse.ArgumentParser, default: str = DEFAULT_MODEL) -> None:
    """-m, --model: MINIBERT_MODEL where it is set."""
    parser.add_argument(
        "-m",
        "--model",
        default=os.environ.get("MINIBERT_MODEL", default),
        help=f"a folder, a name on the hub, or in the box: {BUNDLED_NAME}, and {SENTENCE_NAME} for "
        "vectors (%(default)s)",
    )


def add_model_command(
    commands: Any,
    run: Callable,
    name: str,
    help: str,
    *examples: str,
    default: str = DEFAULT_MODEL,
) -> argparse.ArgumentParser:
    """`add_command`, for one that loads a model and may print JSON."""
    parser = add_command(commands, run, name, help, *examples)
    add_model(parser, default)
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    return parser


def add_texts(parser: argparse.ArgumentParser) -> None:
    """TEXT ..., read by `texts_of`."""
    parser.add_argument(
        "text", nargs="*", metavar="TEXT", help="(default: lines of standard input)"
    )


def add_two_texts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", metavar="A")
    parser.add_argument("second", metavar="B")


def texts_of(arguments: argparse.Namespace) -> list[str]:
    """The texts of the command line, or the lines of standard input."""
    if arguments.text and arguments.text != ["-"]:
        return arguments.text
    if sys.stdin is not None and sys.stdin.isatty():
        raise ValueError('no text given: minibert COMMAND "a text", or pipe lines into it')
    return list(decode_lines(standard_input(), "standard input"))


def standard_input() -> BinaryIO:
    """Its bytes. Raises ValueError if it is closed."""
    if sys.stdin is None:
        raise ValueError("standard input is closed: pipe lines into it, or give a text or a file")
    return sys.stdin.buffer


def add_threads(parser: Any) -> None:
    """--threads N."""
    parser.add_argument("--threads", type=int, metavar="N", help="(one a processor at hand)")


def say(words: str) -> None:
    """On standard error, where it does not mix with the answer."""
    print(f"minibert: {words}", file=sys.stderr)


def end_of_run(result: "Result", of: str = "") -> int:
    """Say how a training ended; gives the exit code."""
    if result.finished:
        print(f"done: {result.folder / 'model'}, after {result.step} steps")
        return 0
    say(f"stopped and saved after {result.step} {of}steps. The same command goes on from there")
    return 128 + (result.signal or 0)


def is_terminal() -> bool:
    """Whether somebody may watch standard error: there progress is shown."""
    return sys.stderr.isatty()


def load_model(arguments: argparse.Namespace, threads: int | None = None) -> "Bert":
    from minibert.bert import load
    from minibert.system.processes import use_threads

    use_threads(threads)
    if arguments.model is SENTENCE_MODEL:
        say(f"this is {SENTENCE_NAME}, the small sentence model in the box (-m NAME takes another)")
    return _or_in_the_box(load, arguments.model)


def load_tokenizer(arguments: argparse.Namespace) -> "Tokenizer":
    """The tokenizer alone, which needs no torch."""
    from minibert.tokenizer.tokenizer import Tokenizer
    from minibert.weights.files import model_folder
    from minibert.weights.hub import resolve

    def load(name: str) -> Tokenizer:
        return Tokenizer.from_folder(model_folder(resolve(name, tokenizer_only=True).path))

    return _or_in_the_box(load, arguments.model)


def _or_in_the_box(load: Callable[[str], T], name: str) -> T:
    """load(name); without a network the model in the box, if no model was asked for."""
    from minibert.weights.hub_errors import HubUnreachable

    try:
        return load(name)
    except HubUnreachable:
        if not isinstance(name, Unasked):
            raise
        say(
            f"{name} is not on this machine and the hub is out of reach: this is "
            f"{BUNDLED_NAME}, the small model in the box (-m NAME takes another)"
        )
        return load(BUNDLED_NAME)


def print_json(content: Any) -> None:
    """One line of JSON; where standard output is not UTF-8, with \\u escapes."""
    unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower() in ("utf-8", "utf8")
    print(json.dumps(finite(content), ensure_ascii=not unicode))


def finite(content: Any) -> Any:
    """What JSON can hold: null for NaN and infinity.

    >>> finite({"loss": float("nan"), "step": 1})
    {'loss': None, 'step': 1}
    """
    return json.loads(json.dumps(content), parse_constant=lambda name: None)
