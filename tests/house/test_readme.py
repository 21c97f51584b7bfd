"""The README and the docs tell the truth: their links, lists, code and numbers."""

import argparse
import re
from pathlib import Path

import pytest

from minibert.cli.main import main, make_parser
from minibert.weights.loading import save_weights
from tests.house.test_structure import READ_ALONG
from tests.parity import table as parity_table
from tests.parity.twins import trained_like
from tests.test_bert import WORDS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
USING = (ROOT / "docs/using.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def part(name: str, page: str = README) -> str:
    return re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", page, flags=re.S)[1]


@pytest.mark.parametrize(
    "page",
    ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/architecture.md", "docs/using.md"],
)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert links
    for link in links:
        assert ((ROOT / page).parent / link).exists(), f"{page}: {link}"


def test_the_reading_list_is_the_read_along_path():
    assert re.findall(r"^\d\. \[`(\w+)\.py`\]", part("reading list"), flags=re.M) == list(
        READ_ALONG
    )


def tree() -> list[str]:
    """The paths of the commented tree, folders with a slash at the end."""
    paths, parents = [], []
    for line in part("tree", ARCHITECTURE).strip("`\n").splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        parents[depth:] = [name]
        paths.append("".join(parents))
    return paths


def test_the_tree_is_the_repository():
    paths = tree()
    assert len(paths) > 20
    for path in paths:
        assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file(), path
    for package in ("minibert", "weights_tools"):
        for folder in (ROOT / package).iterdir():
            if folder.is_dir() and any(folder.rglob("*.*")) and folder.name != "__pycache__":
                assert f"{package}/{folder.name}/" in paths, f"{folder} is not in the tree"


def test_every_room_is_explained():
    """Each folder of minibert/ but the core and the models has its link below the reading list."""
    rooms = set(re.findall(r"\[`(\w+)/`\]\(minibert/\1\)", README))
    folders = {path.parent.name for path in (ROOT / "minibert").glob("*/__init__.py")}
    assert rooms == folders - {"core"}


def test_the_commands_are_those_there_are():
    actions = make_parser()._actions
    commands = next(a for a in actions if isinstance(a, argparse._SubParsersAction)).choices
    assert re.findall(r"^minibert ([\w-]+)", part("commands", USING), flags=re.M) == list(commands)
    shown = set(re.findall(r"^minibert ([\w-]+) ", README, flags=re.M))
    assert len(shown) >= 5 and shown <= commands.keys()


def printed(name: str) -> list[str]:
    """The lines of the last code block of a part."""
    return part(name).rpartition("\n```")[0].rpartition("```\n")[2].split("\n")


def test_what_the_checker_says(capsys):
    """Every line of the README's, in this order; `...` leaves some out."""
    command = re.search(r"^minibert (diagnose tutorials/.*)$", README, flags=re.M)[1]
    assert main(command.split()) == 1
    said = iter(capsys.readouterr().out.split("\n"))
    for line in printed("diagnose"):
        assert line == "  ..." or line in said, f"not said, or not here: {line}"


def test_what_the_five_lines_print(capsys):
    code = re.search(r"```python\n(.*?)```", part("five lines"), flags=re.S)[1]
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.rstrip().split("\n") == printed("five lines")


def test_the_examples_run(tmp_path, monkeypatch):
    save_weights(trained_like().float(), tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    monkeypatch.chdir(tmp_path)
    namespace: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    assert len(blocks) >= 2
    for block in blocks:
        code = block.replace("google-bert/bert-base-uncased", str(tmp_path))
        exec(compile(code, "README.md", "exec"), namespace)
    assert (tmp_path / "my-bert" / "model.safetensors").exists()


@pytest.mark.parametrize("row", range(len(parity_table.ROWS)))
def test_the_parity_figures_hold(row):
    """Measured again here, no figure is more than ten times the printed one."""
    rung, what, measure = parity_table.ROWS[row]
    printed = re.search(rf"\| {rung} \| {re.escape(what)} \| \w+ \| (\S+)", part("parity"))
    assert printed, f"row missing in the README: python -m tests.parity.table --write ({what})"
    _, difference = measure(quick=True)
    allowed = 10 * float(printed[1])
    assert difference <= allowed, f"{what}: {difference:.1e}, the README says {printed[1]}"


def test_the_cells_that_do_not_run_everywhere_are_counted():
    chapters = "".join(path.read_text("utf-8") for path in (ROOT / "tutorials").glob("*.md"))
    words = ["no", "one", "two", "three", "four", "five", "six"]
    weights = words[chapters.count("```python needs=weights")]
    data = words[chapters.count("```python needs=sst2")]
    assert f"{weights} that need the official weights have not been run yet" in README
    assert f"{data} need data that may not be passed on" in README
