"""Options from the fields of a settings dataclass: help and default stand there, and only there.

`learning_rate: float = option(1e-3, "the highest, ...")` becomes --learning-rate X.
"""

import argparse
import dataclasses
import typing
from collections.abc import Collection
from typing import Any

METAVARS = {int: "N", float: "X", str: "WORD"}


def add_settings(
    parser: Any, settings: type, *, omit: Collection[str] = (), **defaults: Any
) -> None:
    """Add an option for each field but those to `omit`; `defaults` replace the dataclass's own."""
    types = typing.get_type_hints(settings)
    for field in dataclasses.fields(settings):
        if field.name in omit:
            continue
        flag = f"--{field.name.replace('_', '-')}"
        help = field.metadata["help"].replace("%", "%%")
        default = defaults.get(field.name, field.default)
        kind = typing.get_args(types[field.name]) or (types[field.name],)
        if kind[0] is bool:
            parser.add_argument(flag, action="store_true", help=help)
            continue
        if default is not None:
            help += " (%(default)s)"
        metavar = field.metadata.get("metavar") or METAVARS[kind[0]]
        parser.add_argument(flag, type=kind[0], default=default, metavar=metavar, help=help)


def read_settings(settings: type, arguments: argparse.Namespace) -> Any:
    """The dataclass with the values of its options; an omitted field has its default."""
    names = [field.name for field in dataclasses.fields(settings)]
    values = vars(arguments)
    return settings(**{name: values[name] for name in names if name in values})
