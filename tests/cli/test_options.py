"""No option appears or vanishes unseen: every command's options stand in options.txt."""

import argparse
from pathlib import Path

from minibert.cli.main import make_parser

LIST = Path(__file__).with_name("options.txt")


def options_of(parser: argparse.ArgumentParser, name: str) -> list[str]:
    """A line for each option and argument of a parser and of the parsers below it."""
    lines = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command, below in action.choices.items():
                lines += options_of(below, f"{name} {command}")
        elif action.dest != "help":
            lines.append(f"{name}  {' '.join(action.option_strings) or action.metavar}")
    return sorted(lines)


def listing() -> str:
    return "".join(f"{line}\n" for line in options_of(make_parser(), "minibert"))


def test_the_options_are_those_of_the_list():
    assert listing() == LIST.read_text(encoding="utf-8"), (
        "the options differ from tests/cli/options.txt; if they should, write the list anew: "
        "python -m tests.cli.test_options"
    )


if __name__ == "__main__":
    LIST.write_text(listing(), encoding="utf-8")
