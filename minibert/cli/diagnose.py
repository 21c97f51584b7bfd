"""`minibert diagnose`: check a whole model, or write the probe for one outside Python."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minibert.cli.options import add_command
from minibert.system.files import folder_written_whole, write_json
from minibert.system.processes import Silent, apart

if TYPE_CHECKING:
    import torch

    from minibert.diagnosis.checker import Checker
    from minibert.diagnosis.students import Student

DESCRIPTION = """Compare a BERT of your own with the reference, tensor by tensor, on a tiny probe
model, and name the mistake where it is a known one. TARGET is imported, which runs its code."""

TARGETS = """what TARGET may be:
  file.py:NAME or package.module:NAME
      an nn.Module class, built as NAME(config) and filled with the probe's weights by name;
      an nn.Module object of the probe's size;
      a function NAME(config, weights) that returns something to call on a batch: weights are
      numpy arrays under Hugging Face's names, so any framework will do.
      The model takes input_ids, token_type_ids and attention_mask, and returns a tensor, a tuple
      or a dict; the more tensors it returns by name, the finer the diagnosis.
  results.npz or results.safetensors
      tensors computed anywhere from the files of --dump-probe, under the same names.

names of parameters and modules: Hugging Face's, minibert's, or yours with --names table.json,
  {"layers.N.att.wq": "encoder.layer.N.attention.self.query", ...}; N is the block's number.

exit code: 0 no difference, 1 a difference, 2 TARGET could not be checked."""


def add_commands(commands: Any) -> None:
    """Add `diagnose` to the sub-parsers of `minibert`."""
    parser = add_command(
        commands,
        run,
        "diagnose",
        "name the mistake in a BERT of your own",
        "minibert diagnose my_bert.py:MyBert",
    )
    parser.description = DESCRIPTION
    parser.epilog = f"{TARGETS}\n\n{parser.epilog}"
    parser.add_argument("target", nargs="?", metavar="TARGET", help="what to check, see below")
    parser.add_argument(
        "--variant", default="bert", metavar="NAME",
        help="what TARGET is a port of: distilbert, albert, electra, deberta-v2, roberta (also its "
        "tokenizer, a function of (text, vocab, merges) that gives tokens), ...",
    )  # fmt: skip
    parser.add_argument("--names", type=Path, metavar="FILE", help="your names, as JSON")
    parser.add_argument(
        "--mistakes", type=Path, metavar="FILE", help="a Python file that adds mistakes (it is run)"
    )
    parser.add_argument(
        "--accept", default="", metavar="ID,...", help="mistakes that are right in your course"
    )
    parser.add_argument(
        "--hint", type=int, choices=range(4), default=3, help="0: the place alone ... 3: the fix"
    )
    parser.add_argument("--json", action="store_true", help="print the diagnosis as JSON")
    parser.add_argument(
        "--seconds", type=float, default=600, help="how long TARGET may take (default: 600)"
    )
    parser.add_argument(
        "--dump-probe", type=Path, metavar="DIR", help="write weights, inputs and expected tensors"
    )


def run(arguments: argparse.Namespace) -> int:
    """Do what the arguments ask for; returns the exit code.

    A target runs in a process of its own: it can neither end this one nor print into its answer.
    """
    try:
        code, words = apart(_diagnose, arguments, seconds=arguments.seconds)
    except Silent as error:
        code, words = 2, f"{arguments.target} gives no answer: {error}"
    if code == 2 and arguments.json:
        words = json.dumps({"subject": arguments.target, "passed": False, "error": words})
    elif code == 2:
        words = f"minibert: {words}"
    print(words, file=sys.stderr if code == 2 and not arguments.json else sys.stdout)
    return code


def _diagnose(arguments: argparse.Namespace) -> tuple[int, str]:
    """The exit code, and what is to be printed."""
    from minibert.diagnosis.checker import Checker
    from minibert.diagnosis.students import StudentError
    from minibert.diagnosis.targets import read_names

    written = ""
    try:
        if arguments.dump_probe is None and arguments.target is None:
            raise StudentError(
                "say what to diagnose (TARGET), or where to --dump-probe; see --help"
            )
        if arguments.variant != "bert":
            return _diagnose_variant(arguments)
        if arguments.mistakes is not None:
            _add_mistakes(arguments.mistakes)
        checker = Checker(accept=arguments.accept.replace(",", " ").split())
        if arguments.dump_probe is not None:
            written = dump_probe(checker, arguments.dump_probe)
            if arguments.target is None:
                return 0, written
        names = read_names(arguments.names) if arguments.names else {}
        diagnosis = checker.check(make_student(arguments.target, checker, names), arguments.target)
    except (ValueError, OSError) as error:  # a StudentError is a ValueError
        return 2, str(error)
    code = 0 if diagnosis.passed else 1
    if arguments.json:
        return code, json.dumps(diagnosis.to_dict())
    return code, "\n".join([written, diagnosis.text(arguments.hint)]).lstrip("\n")


def _diagnose_variant(arguments: argparse.Namespace) -> tuple[int, str]:
    from minibert.diagnosis.students import StudentError
    from minibert.diagnosis.targets import load_target
    from minibert.diagnosis.variant_checker import VariantChecker

    for name in ("names", "mistakes", "accept", "dump_probe"):
        if getattr(arguments, name):
            option = f"--{name.replace('_', '-')}"
            raise StudentError(f"{option} is for BERT itself: leave it out beside --variant")
    diagnosis = VariantChecker(arguments.variant).check(
        load_target(arguments.target), arguments.target
    )
    text = json.dumps(diagnosis.to_dict()) if arguments.json else diagnosis.text(arguments.hint)
    return 0 if diagnosis.passed else 1, text


def _add_mistakes(path: Path) -> None:
    from minibert.diagnosis.students import StudentError
    from minibert.diagnosis.targets import import_file

    try:
        import_file(path)
    except Exception as error:
        raise StudentError(f"cannot import {path}: {type(error).__name__}: {error}") from error


def make_student(target: str, checker: "Checker", names: dict[str, str]) -> "Student":
    """What `target` names, ready to be checked."""
    from minibert.diagnosis.building import build
    from minibert.diagnosis.students import Arrays
    from minibert.diagnosis.targets import load_target

    loaded = load_target(target)
    if isinstance(loaded, dict):
        return Arrays(loaded, checker.expected, checker.model.config)
    return build(loaded, checker.model, checker.expected, names)


def dump_probe(checker: "Checker", folder: Path) -> str:
    """Write config.json, weights, inputs and expected tensors into a new folder; says what it
    wrote."""
    import numpy as np

    from minibert.weights.loading import hugging_face_state, write_tensors

    state = {name: t.contiguous() for name, t in hugging_face_state(checker.model).items()}
    parts: dict[str, dict[str, torch.Tensor]] = {
        "weights": state,
        "inputs": checker.batch,
        "expected": {name: t.contiguous().clone() for name, t in checker.expected.items()},
    }
    with folder_written_whole(folder) as new:
        write_json(new / "config.json", checker.model.config.to_dict())
        for name, tensors in parts.items():
            arrays: dict[str, Any] = {key: tensor.numpy() for key, tensor in tensors.items()}
            np.savez(new / f"{name}.npz", **arrays)
            write_tensors(tensors, new / f"{name}.safetensors")
    return (
        f"{folder}: config.json, and weights, inputs and expected tensors as .npz and "
        ".safetensors.\nCompute as many of the expected tensors as you can, write them under "
        "their names, and run\n  minibert diagnose results.npz\n"
        "Padded tokens are 0 in expected.*; yours may hold anything there."
    )
