"""Every row of tutorials/notation.md: the name is in the code, the shape is that of a run in which
all sizes differ, the key is in a saved weights file, the chapter exists; and no row is missing."""

import dataclasses
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from minibert.core.config import BertConfig
from minibert.core.heads import PreTrainingOutput
from minibert.core.model import BertOutput
from minibert.trace import record
from minibert.weights.loading import save_weights
from minibert.weights.names import name_table
from tests.house.test_structure import SIZES
from tests.parity.twins import TINY, tiny_batch, tiny_labels, trained_like

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "tutorials" / "notation.md"
TABLES = (
    "In block N",
    "Outside the blocks",
    "Computed in block N",
    "Computed before and after the blocks",
    "In and out",
)
LETTERS = {**SIZES, "P": TINY.max_position_embeddings}


def table(heading: str) -> list[dict[str, str]]:
    """The rows of the table under a heading: {column: cell}."""
    after = re.split(rf"^###? {re.escape(heading)}$", PAGE.read_text(encoding="utf-8"), flags=re.M)
    section = re.split(r"^###? ", after[1], flags=re.M)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def code(cell: str) -> str:
    match = re.fullmatch(r"`([^`]+)`", cell)
    assert match, f"expected one name in backticks, got {cell!r}"
    return match[1]


def shape(cell: str) -> tuple[int, ...]:
    """The numbers for letters such as (B, T, H)."""
    inside = re.fullmatch(r"\((.*)\)", cell)
    assert inside, f"expected letters in brackets, got {cell!r}"
    parts = [part.strip() for part in inside[1].split(",") if part.strip()]
    return tuple(int(part) if part.isdigit() else LETTERS[part] for part in parts)


def blocks(prefix: str) -> list[str]:
    """A prefix with N, for every block."""
    return [prefix.replace(".N.", f".{block}.") for block in range(TINY.num_hidden_layers)]


@pytest.fixture(scope="module")
def model():
    return trained_like()


def test_the_sizes_tell_each_letter_from_the_others():
    values = [LETTERS[letter] for letter in "BTHADIVP"] + [2]
    assert len(set(values)) == len(values)


def test_the_parser_reads_what_stands_there():
    assert [len(table(heading)) for heading in ("Sizes", *TABLES)] == [9, 16, 14, 15, 12, 10]
    assert shape("(B, A, T, T)") == (3, 4, 7, 7) and shape("()") == ()
    with pytest.raises(AssertionError, match="backticks"):
        code("plain")


def test_sizes():
    box = BertConfig.from_json_file(ROOT / "minibert" / "bundled" / "minibert-tiny" / "config.json")
    fields = {field.name for field in dataclasses.fields(BertConfig)} | {"head_size"}
    for row in table("Sizes"):
        field = code(row["field of `BertConfig`"])
        assert field in fields
        assert float(row["bert-base-uncased"]) == getattr(BertConfig(), field), field
        assert float(row["minibert-tiny"]) == getattr(box, field), field
        if row["letter"]:
            assert LETTERS[row["letter"]] == getattr(TINY, field), row


def test_learned_arrays(model, tmp_path):
    save_weights(model, tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    names = {name.removeprefix("bert."): p for name, p in model.named_parameters()}
    keys, seen = name_table(TINY), set()
    inside = zip(blocks("encoder.blocks.N."), blocks("encoder.layer.N."), strict=True)
    places = [("In block N", *pair) for pair in inside] + [("Outside the blocks", "", "")]
    for heading, prefix, key_prefix in places:
        for row in table(heading):
            name = prefix + code(row["name in the code"])
            key = key_prefix + code(row["key in the weights file"])
            assert tuple(names[name].shape) == shape(row["shape"]), name
            assert keys[key] == name
            key = key if key.startswith("cls.") else f"bert.{key}"
            assert torch.equal(saved[key], names[name]), f"{key} holds something else"
            assert name not in seen, f"{name} stands there twice"
            seen.add(name)
    assert seen == set(names), f"not in the table: {sorted(set(names) - seen)[:5]}"


def test_computed_tensors(model):
    trace = record(model, tiny_batch())
    outside = [
        (code(r["name in the trace"]), r) for r in table("Computed before and after the blocks")
    ]
    inside = [
        (prefix + code(r["name in the trace"]), r)
        for prefix in blocks("encoder.blocks.N.")
        for r in table("Computed in block N")
    ]
    for name, row in outside + inside:
        assert tuple(trace[name].shape) == shape(row["shape"]), name
    first = [each for each in outside if each[0].startswith("embeddings.")]
    in_order = first + inside + outside[len(first) :]
    assert [name for name, _ in in_order] == list(trace), "all names, in the order of computation"


def test_in_and_out(model):
    batch = tiny_batch()
    switches = {"output_hidden_states": True, "output_attentions": True}
    outputs = {
        "`BertOutput`": model.bert(**batch, **switches),
        "`PreTrainingOutput`": model(**batch, **tiny_labels(batch)),
    }
    assert isinstance(outputs["`BertOutput`"], BertOutput)
    assert isinstance(outputs["`PreTrainingOutput`"], PreTrainingOutput)
    for row in table("In and out"):
        name, where = code(row["name"]), row["of"]
        got = batch[name] if where == "input" else getattr(outputs[where], name)
        count, _, each = row["shape"].rpartition(" x ")
        if count:
            assert len(got) == {"L": SIZES["L"], "(L + 1)": SIZES["L"] + 1}[count], name
        for tensor in got if count else [got]:
            assert tuple(tensor.shape) == shape(each), name


def test_every_chapter_exists():
    for heading in TABLES:
        for row in table(heading):
            number, target = re.fullmatch(r"\[(\d+)\]\((\S+\.md)\)", row["chapter"]).groups()
            assert target.startswith(f"{int(number):02}_")
            assert (PAGE.parent / target).is_file(), f"there is no chapter {target}"
