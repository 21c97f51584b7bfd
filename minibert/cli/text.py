"""A text's pieces, the words for its [MASK]s, whether one sentence follows another."""

import argparse
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

from minibert.cli.options import (
    add_model_command,
    add_texts,
    add_two_texts,
    load_model,
    load_tokenizer,
    print_json,
    texts_of,
)


def add_commands(commands: Any) -> None:
    """Add `tokenize`, `fill-mask` and `next-sentence` to the sub-parsers of `minibert`."""
    p = add_model_command(
        commands,
        tokenize,
        "tokenize",
        "text -> word pieces, ids and places in the text",
        "minibert tokenize 'Unaffable, naïve!'",
        "minibert tokenize --explain 'naïve'",
    )
    add_texts(p)
    p.add_argument("--explain", action="store_true", help="show what each rule did, step by step")

    p = add_model_command(
        commands,
        fill_mask,
        "fill-mask",
        "the likeliest words for every [MASK]",
        "minibert fill-mask 'Paris is the [MASK] of France.'",
        "minibert fill-mask 'She is a [MASK].' --targets doctor,nurse",
        "minibert fill-mask 'He lives in [MASK] [MASK].' --jointly",
    )
    add_texts(p)
    p.add_argument("--targets", metavar="WORD,WORD", help="compare these words alone")
    p.add_argument(
        "--jointly",
        action="store_true",
        help="all blanks of a text together, from left to right, each word given those before it",
    )
    p.add_argument("--top", type=int, default=5, metavar="N", help="words per blank (%(default)s)")

    p = add_model_command(
        commands,
        next_sentence,
        "next-sentence",
        "does sentence B follow sentence A?",
        "minibert next-sentence 'He opened the door.' 'Then he went in.'",
    )
    add_two_texts(p)


def tokenize(arguments: argparse.Namespace) -> None:
    if arguments.explain and arguments.json:
        raise ValueError(
            "--explain is to be read, --json is for programs: leave one of the two out"
        )
    texts = texts_of(arguments)
    tokenizer = load_tokenizer(arguments)
    for text in texts:
        if arguments.explain:
            from minibert.tokenizer.explain import explain, format_explanation

            print(format_explanation(explain(tokenizer, text), colour=sys.stdout.isatty()))
            continue
        pieces = tokenizer.pieces(text)
        if arguments.json:
            keys = {"tokens": pieces.tokens, "input_ids": pieces.ids, "offsets": pieces.offsets}
            print_json({"text": text, **keys})
            continue
        rows = [
            (token, number, f"{start}:{end}", text[start:end])
            for token, number, (start, end) in zip(
                pieces.tokens, pieces.ids, pieces.offsets, strict=True
            )
        ]
        print(_table(("piece", "id", "place", "text"), rows))


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns as wide as their widest cell; numbers to the right, words to the left."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(_columns(row[i]) for row in cells) for i in range(len(header))]
    right = [bool(rows) and isinstance(rows[0][i], int | float) for i in range(len(header))]
    lines = []
    for row in cells:
        gaps = [" " * (width - _columns(cell)) for cell, width in zip(row, widths)]
        padded = [gap + cell if r else cell + gap for cell, gap, r in zip(row, gaps, right)]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes: two for 中, none for a combining accent."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def fill_mask(arguments: argparse.Namespace) -> None:
    texts = texts_of(arguments)
    if arguments.top < 1:
        raise ValueError(f"--top must be at least 1, got {arguments.top}")
    if arguments.jointly and arguments.targets is not None:
        raise ValueError("--jointly compares all words: leave out --targets, or --jointly")
    targets = None if arguments.targets is None else arguments.targets.split(",")
    bert = load_model(arguments)
    for text in texts:
        if arguments.jointly:
            _print_fillings(text, bert.fill_jointly(text, arguments.top), arguments.json)
            continue
        blanks = bert.fill_mask(text, arguments.top, targets)
        if arguments.json:
            print_json({"text": text, "masks": [[p._asdict() for p in b] for b in blanks]})
            continue
        for number, predictions in enumerate(blanks, 1):
            print(f"{text}   (blank {number} of {len(blanks)})" if len(blanks) > 1 else text)
            for p in predictions:
                print(f"  {p.probability:7.4f}  {p.token}")


def _print_fillings(text: str, fillings: Sequence[Any], as_json: bool) -> None:
    if as_json:
        print_json({"text": text, "fillings": [one._asdict() for one in fillings]})
        return
    print(text)
    for one in fillings:
        print(f"  {one.probability:7.4f}  {' '.join(one.tokens)}")


def next_sentence(arguments: argparse.Namespace) -> None:
    probability = load_model(arguments).next_sentence(arguments.first, arguments.second)
    if arguments.json:
        print_json({"is_next": probability})
    else:
        print(f"{probability:.4f}  probability that B follows A")
