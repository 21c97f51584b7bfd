"""The build of the tutorials: on a tiny repository of two chapters, and the real check of all."""

import dataclasses
import doctest
import importlib.util
import json
import os
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import minibert
from minibert import view
from tutorials import build
from tutorials.build import site_writer
from tutorials.building import checking, rules, running, writing
from tutorials.building.chapter import chapter_files, read_chapter
from tutorials.building.compare import first_difference, same_line
from tutorials.building.reference import API, NAME, public_object
from tutorials.building.rules import find_quotation
from tutorials.building.running import seconds_shown
from tutorials.building.source import note_markdown, rows_of

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = [path.stem for path in chapter_files(ROOT / "tutorials")]
LONG = [  # they train or read much
    path.stem
    for path in chapter_files(ROOT / "tutorials")
    if seconds_shown(read_chapter(path)) >= 15
]
SHORT = [name for name in CHAPTERS if name not in LONG]
with_sphinx = pytest.mark.skipif(
    importlib.util.find_spec("myst_parser") is None, reason="pages need Sphinx and myst-parser"
)

FIRST = """\
# 1. First

What is half of three?

<!-- head -->
<!-- /head -->

A [token](glossary.md#token) has [a file](../lib/thing.py#L4), and a later
[place](02_second.md#a-place). It costs $x_1 = \\frac{1}{2}$, or `$HOME` in code, or 5 $ and 6 $.

```math
\\mathrm{softmax}\\left(\\frac{Q K^{\\top}}{\\sqrt{D}}\\right) V
```

```python
import math

print("pi is", round(math.pi, 3))
3 / 2
```

```python lib/thing.py
def twice(x):
...
    return y
```

```python
# alt: a wide box that is empty, three times as wide as it is high
class Picture:
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="300" height="100" viewBox="0 0 300 100"/>'
    interactive = "yes"

    def page(self):
        return "<!doctype html><title>A page</title><p>of its own</p>"


Picture()
```

```python no-run
this is no Python
```

> [!WARNING]
> **What wrong looks like.** A half.

> [!NOTE]
> No bold words here.

<details><summary><b>Predict first.</b> Why?</summary>

Because `1 < 2`.

</details>

| a | b |
|---|---|
| 1 | 2 |

<!-- nav -->
<!-- /nav -->
"""

SECOND = """\
# 2. Second

Where is it?

## A place

```python
print([n**2 for n in range(4)])
```

```python
quiet = 1
```

## A place

See [the first](01_first.md) and [the other place](#a-place-1).

<!-- nav -->
<!-- /nav -->
"""

THING = '''\
"""A thing, to be *read* <here>."""


def twice(x):
    """Two times.

    >>> twice(1)
    2
    """
    # The sum, because it is shorter.
    y = x + x
    return y


class Bare:
    def nothing(self):
        return None
'''


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A repository of two chapters, built once; it is only copied."""
    root = tmp_path_factory.mktemp("built")
    files = {
        "README.md": "<!-- reading list -->\n1. [thing](lib/thing.py)\n<!-- /reading list -->\n",
        "lib/thing.py": THING,
        "tutorials/README.md": "# All\n\nStart here.\n\n<!-- contents -->\n<!-- /contents -->\n",
        "tutorials/01_first.md": FIRST,
        "tutorials/02_second.md": SECOND,
        "tutorials/glossary.md": "# Glossary\n\n## token\n\nA piece of text.\n",
        "tutorials/build.py": "",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert build.main([], root) == 0
    return root


@pytest.fixture
def tree(built, tmp_path):
    return Path(shutil.copytree(built, tmp_path / "tree"))


def swap(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, (old, text)
    path.write_text(text.replace(old, new), encoding="utf-8")


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_what_the_build_writes(tree):
    text = (tree / "tutorials/01_first.md").read_text()
    assert "3 / 2\n```\n\n<!-- out -->\n```text\npi is 3.142\n1.5\n```\n<!-- /out -->\n" in text
    image = "![a wide box that is empty, three times as wide as it is high](img/01_first-1.svg)"
    assert f"<!-- out -->\n{image}\n<!-- /out -->" in text
    assert re.search(r"<!-- head -->\n\*1 minute to read · about \d+ s to run", text)
    assert "[Contents](README.md) · [2. Second →](02_second.md)" in text
    second = (tree / "tutorials/02_second.md").read_text()
    assert second.count("<!-- out -->") == 1  # a cell that gives nothing has no output
    assert "[← 1. First](01_first.md) · [Contents](README.md) · [Glossary →]" in second
    contents = (tree / "tutorials/README.md").read_text()
    assert "[1. First](01_first.md) (1 min)  \n  What is half of three?" in contents
    names = [path.name for path in (tree / "tutorials/notebooks").iterdir()]
    assert sorted(names) == ["01_first.ipynb", "02_second.ipynb"]


def test_a_second_build_gives_the_same_bytes(tree):
    before = everything(tree)
    assert build.main([], tree) == 0
    assert everything(tree) == before


def test_check_is_content_and_writes_nothing(tree, capsys):
    before = everything(tree)
    assert build.main(["--check"], tree) == 0
    assert everything(tree) == before
    assert capsys.readouterr().out.startswith("files: 4; cells run: 4, in ")


def check_fails(tree: Path, capsys, *expected: str) -> str:
    capsys.readouterr()
    before = everything(tree)
    assert build.main(["--check"], tree) == 1
    said = capsys.readouterr().out
    for words in expected:
        assert words in said
    assert everything(tree) == before
    return said


TAMPERING = {
    "a printed number": (
        ("pi is 3.142", "pi is 3.152"),
        "01_first.md:25: stale: expected 'pi is 3.142', got 'pi is 3.152'",
    ),
    "a printed word": (("\npi is 3.142", "\npie is 3.142"), "stale: expected 'pi is"),
    "a whole number": (("\n1.5\n", "\n2\n"), "stale: expected '1.5', got '2'"),
    "an output removed": (("\n1.5\n```", "\n```"), "expected '1.5', got '```'"),
    "a cell": (("3 / 2", "3 / 4"), "stale: expected '0.75', got '1.5'"),
    "a quoted line": (("    return y", "    return z"), "not verbatim in lib/thing.py"),
    "the quoted file": (("python lib/thing.py", "python lib/none.py"), "lib/none.py, which does"),
    "the alt line": (
        ("# alt: a wide box that is empty, three times as wide as it is high\n", ""),
        "the cell shows a figure: say in a line `# alt: ...`",
    ),
    "a shown alt text": (("![a wide box", "![a box"), "stale: expected '![a wide box"),
    "no shown alt text": (
        ("![a wide box that is empty, three times as wide as it is high]", "![]"),
        "has the alt text ''",
    ),
    "an alt text that says nothing": (
        ("# alt: a wide box that is empty, three times as wide as it is high", "# alt: a plot"),
        "the alt text 'a plot' is too short",
    ),
    "a link": (("](../lib/thing.py#L4)", "](../lib/thin.py#L4)"), "broken link: ../lib/thin.py"),
    "a line": (("thing.py#L4", "thing.py#L400"), "thing.py has no line #L400"),
    "an anchor": (
        ("02_second.md#a-place)", "02_second.md#no-place)"),
        "01_first.md:10: broken link: 02_second.md has no heading for #no-place",
    ),
    "a way out": (("../lib/thing.py#L4", "../../secret"), "leads out of the repository"),
    "a glossary term": (
        ("glossary.md#token", "glossary.md#tokem"),
        "01_first.md:9: unknown glossary term: glossary.md has no heading for #tokem",
    ),
    "a formula": (("\\frac{1}{2}$", "\\frac{1}{2}\\unheardof$"), "which MathML lacks"),
    "a chapter's name": (
        ("[2. Second →]", "[2. Two →]"),
        "01_first.md:74: stale: expected '[Contents](README.md) · [2. Second →]",
    ),
    "a misspelt mark": (("python no-run", "python norun"), "after ```python, got 'norun'"),
    "a marker": (("<!-- /nav -->", ""), "<!-- nav --> has no <!-- /nav -->"),
    "the prose": (("A half.", "Two halves."), "stale notebook: notebooks/01_first.ipynb"),
    "the budget": (
        ("<!-- head -->", "<!-- budget: 0.001 s -->\n\n<!-- head -->"),
        "over its time budget: expected at most 0 s",
    ),
    "the level of a heading": (
        ("What is half", "### What is half"),
        "a heading of level 2 or less",
    ),
    "a second title": (("What is half", "# What is half"), "expected one title"),
}


@pytest.fixture
def remembered(monkeypatch):
    """The same cells are run once: a kernel takes a second, and most of it is not tested here."""
    run_cells = running._run

    def run(root, chapter, *rest):
        code = tuple(cell.code for cell in chapter.cells)
        if code not in RUNS:
            RUNS[code] = run_cells(root, chapter, *rest)
        return dataclasses.replace(RUNS[code], chapter=chapter)

    monkeypatch.setattr(running, "_run", run)


RUNS: dict[tuple[str, ...], running.Run] = {}


@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_is_caught(tree, capsys, remembered, what):
    (old, new), said = TAMPERING[what]
    swap(tree / "tutorials/01_first.md", old, new)
    check_fails(tree, capsys, said)


def test_tampering_outside_of_the_chapter_is_caught(tree, capsys, remembered):
    swap(tree / "lib/thing.py", "    return y\n", "    return x + x\n")
    (tree / "tutorials/img/01_first-1.svg").unlink()
    (tree / "tutorials/img/01_first-2.svg").write_text("<svg/>")
    (tree / "tutorials/img/07_gone-1.svg").write_text("<svg/>")
    swap(tree / "tutorials/notebooks/02_second.ipynb", "range(4)", "range(5)")
    (tree / "tutorials/notebooks/07_gone.ipynb").write_text("{}")
    said = check_fails(
        tree,
        capsys,
        "expected lines of the file, got 'return y'",
        "missing figure: img/01_first-1.svg",
        "orphaned figure: no cell makes img/01_first-2.svg",
        "07_gone-1.svg:1: orphaned figure",
        "stale notebook: notebooks/02_second.ipynb",
        "07_gone.ipynb:1: orphaned notebook",
    )
    assert "problems: 7" in said  # the missing figure is a broken link, too
    (tree / "tutorials/notebooks/02_second.ipynb").unlink()
    check_fails(tree, capsys, "missing notebook: notebooks/02_second.ipynb")


def test_numbers_to_one_in_a_thousand(tree, remembered):
    swap(tree / "tutorials/01_first.md", "pi is 3.142", "pi is 3.143")
    assert build.main(["--check"], tree) == 0
    assert same_line("loss 2.3e-03, T 7", "loss 2.3001e-03, T 7")
    assert not same_line("loss 2.3e-03, T 7", "loss 2.3e-03, T 8")
    assert not same_line("loss 2.3e-03", "loss 2.4e-03")
    assert not same_line("loss 0.5", "loss -0.5")
    assert not same_line("loss 0.5", "loss nan")
    assert not same_line("exactly 0.0", "exactly 0.1")
    assert same_line("difference 1.2e-07", "difference 4.8e-07")
    assert not same_line("difference 1.2e-07", "difference 4.8e-05")
    assert not same_line("difference 1.2e-08", "difference 4.8e-06")
    assert not same_line("a1 b2", "a1 b3")
    assert first_difference("a\nb", "a\nb\nc") == (2, "(no more lines)", "c")


def test_a_cell_that_raises_is_shown_and_the_others_go_on(tree, capsys):
    swap(tree / "tutorials/01_first.md", "3 / 2", "half = 3\nhalf / 0")
    swap(tree / "tutorials/02_second.md", "n**2", "n**3")
    before = (tree / "tutorials/01_first.md").read_text()
    assert build.main([], tree) == 1
    said = capsys.readouterr().out
    assert "tutorials/01_first.md:21: the cell raised ZeroDivisionError: division by zero" in said
    assert "    half / 0\n" in said
    assert (tree / "tutorials/01_first.md").read_text() == before
    assert "[0, 1, 8, 27]" in (tree / "tutorials/02_second.md").read_text()


@pytest.mark.parametrize(
    ("code", "said"),
    {
        "half = = 3": "02_second.md:8: the cell raised SyntaxError",
        "import os\nos._exit(3)": "the cell raised the end of its process, with code 3",
        "raise SystemExit(2)": "02_second.md:8: the cell raised SystemExit: 2",
        "object()": "prints an address in memory",
        "import os\nos.getcwd()": "prints a path of this machine",
        "# alt: five words of no picture\n1": "its last expression is no figure",
        "class P:\n    svg = '<svg width=\"901\"/>'\n# alt: a very very wide box\nP()": "901 px",
    }.items(),
)
def test_what_a_cell_may_not_do(tree, capsys, code, said):
    swap(tree / "tutorials/02_second.md", "print([n**2 for n in range(4)])", code)
    before = (tree / "tutorials/02_second.md").read_text()
    assert build.main(["02"], tree) == 1
    assert said in capsys.readouterr().out
    assert (tree / "tutorials/02_second.md").read_text() == before


def test_a_cell_that_hangs_is_ended(tree, capsys, monkeypatch):
    monkeypatch.setattr(running, "PATIENCE", 1)
    path = tree / "tutorials/02_second.md"
    swap(path, "quiet = 1", "import time\ntime.sleep(60)")
    swap(path, "Where is it?", "Where is it?\n\n<!-- budget: 0.2 s -->")
    assert build.main(["02"], tree) == 1
    assert "02_second.md:20: the cell raised no answer within 1 s" in capsys.readouterr().out


def test_lines_are_those_of_the_chapter_and_values_as_repr_says_them(tree, capsys):
    path = tree / "tutorials/02_second.md"
    swap(
        path,
        "quiet = 1",
        "\n\ndef half(x):\n    return x / 0\n\n\n{n: 'long' * n for n in range(9)}",
    )
    assert build.main(["02"], tree) == 0
    assert f"\n{ {n: 'long' * n for n in range(9)} }\n" in path.read_text()
    swap(path, "{n: 'long' * n for n in range(9)}\n```\n", "half(1)\n```\n")
    assert build.main(["02"], tree) == 1
    assert "02_second.md:21: the cell raised ZeroDivisionError" in capsys.readouterr().out


def test_what_cells_write_past_python_is_not_mistaken_for_results(tree):
    code = "import os, subprocess\n_ = os.write(1, b'noise')\n_ = subprocess.run(['echo', '{}'])"
    swap(tree / "tutorials/02_second.md", "quiet = 1", code)
    assert build.main(["02"], tree) == 0
    assert (tree / "tutorials/02_second.md").read_text().count("<!-- out -->") == 1


def test_cells_of_a_chapter_share_their_names_and_chapters_do_not(tree):
    swap(tree / "tutorials/02_second.md", "quiet = 1", "'math' in globals(), sum(range(4))")
    assert build.main([], tree) == 0
    assert "(False, 6)" in (tree / "tutorials/02_second.md").read_text()


def test_a_cell_whose_need_is_absent_keeps_its_output(tree, capsys):
    path = tree / "tutorials/02_second.md"
    swap(path, "```python\nprint", "```python needs=no_such_package\nprint")
    swap(path, "[0, 1, 4, 9]", "[from the last run with it]")
    assert build.main(["02"], tree) == 0
    assert "[from the last run with it]" in path.read_text()
    reason = "the package no_such_package is not installed; its output is kept"
    assert f"not re-run: tutorials/02_second.md:8: {reason}" in capsys.readouterr().out
    assert build.main(["--check"], tree) == 0
    assert "not re-run: 1; problems: 0" in capsys.readouterr().out

    swap(path, "needs=no_such_package", "needs=json")
    assert build.main(["02"], tree) == 0
    assert "[0, 1, 4, 9]" in path.read_text()


def test_what_builds_on_a_cell_that_was_not_run_must_be_marked_too(tree, capsys):
    path = tree / "tutorials/02_second.md"
    swap(path, "```python\nprint", "```python needs=no_such_package\nsquares = 1\nprint")
    swap(path, "quiet = 1", "squares + 1")
    assert build.main(["02"], tree) == 1
    assert "mark it needs=no_such_package, too" in capsys.readouterr().out
    swap(path, "```python\nsquares + 1", "```python needs=no_such_package\nsquares + 1")
    assert build.main(["02"], tree) == 0
    assert "it has no output yet" in capsys.readouterr().out


def test_where_the_needs_are_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    running.why_absent.cache_clear()
    running.official_folder.cache_clear()
    monkeypatch.delenv("MINIBERT_SST2", raising=False)
    assert "MINIBERT_SST2" in running.why_absent("sst2")
    running.why_absent.cache_clear()
    monkeypatch.setenv("MINIBERT_SST2", str(tmp_path))
    (tmp_path / "train.tsv").touch()
    assert running.why_absent("sst2").endswith("has no dev.tsv")
    running.why_absent.cache_clear()
    (tmp_path / "dev.tsv").touch()
    assert running.why_absent("sst2") is None

    monkeypatch.setenv("MINIBERT_OFFICIAL", str(tmp_path / "nowhere"))
    assert "MINIBERT_OFFICIAL" in running.why_absent("weights")
    running.why_absent.cache_clear()
    running.official_folder.cache_clear()
    monkeypatch.setenv("MINIBERT_OFFICIAL", str(tmp_path))
    assert running.why_absent("weights") is None
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "vocab.txt").write_text("[PAD]\n")
    with running.weights_by_name() as environment:
        from huggingface_hub import try_to_load_from_cache

        from minibert.weights.known_models import PINNED

        commit = PINNED[running.OFFICIAL].revision
        found = try_to_load_from_cache(
            running.OFFICIAL, "config.json", cache_dir=environment["HF_HUB_CACHE"], revision=commit
        )
        assert Path(found).samefile(tmp_path / "config.json")
    running.why_absent.cache_clear()
    running.official_folder.cache_clear()


def test_a_chapter_that_was_edited_meanwhile_is_left_alone(tree, capsys):
    path = tree / "tutorials/02_second.md"
    more = "from pathlib import Path\np = Path('tutorials/02_second.md')\n"
    more += "_ = p.write_text(p.read_text() + 'My edit.')"
    swap(path, "quiet = 1", more)
    assert build.main(["02"], tree) == 1
    assert "edited while its cells ran" in capsys.readouterr().out
    assert path.read_text().endswith("My edit.")


@pytest.mark.parametrize("name", ["02", "2", "02_second", "tutorials/02_second.md"])
def test_one_chapter_by_name(tree, capsys, name):
    assert build.main([name], tree) == 0
    assert capsys.readouterr().out.startswith("files: 1; cells run: 2,")


def test_no_such_chapter(tree):
    with pytest.raises(SystemExit, match="got '07'; there are README, 01_first, 02_second"):
        build.main(["07"], tree)


def test_the_form_of_a_chapter(tmp_path):
    path = tmp_path / "03_form.md"
    path.write_text(
        "# Form\n\n> ```python\n> 1\n> ```\n\n```py\n1\n```\n\n<!-- out -->\n<!-- /out -->\n\n"
        "```python needs=\n1\n```\n\n<!-- budget: long -->\n\n````md\n```python\n1\n```\n````\n"
    )
    chapter = read_chapter(path)
    said = [(problem.line, problem.text[:24]) for problem in chapter.problems]
    assert said == [
        (3, "a cell inside a list or "),
        (7, "write ```python, so that"),
        (11, "this output follows no c"),
        (14, "expected nothing, no-run"),
        (18, "expected e.g. <!-- budge"),
    ]
    assert chapter.cells == []


def test_quotations():
    source = "class A:\n    x = 1\n\n    y = 2\n    z = 3\n"
    assert find_quotation("x = 1\n\ny = 2", source) == (2, 0, "")
    assert find_quotation("    x = 1\n    ...\n    z = 3", source) == (2, 0, "")
    assert find_quotation("z = 3\n...\nx = 1", source)[1:] == (
        2,
        "expected lines of the file, got 'x = 1'",
    )
    assert find_quotation("x = 1\nz = 3", source)[1] == 1  # not one after the other
    assert find_quotation("x = 1\n  y = 2", source)[2]  # another indentation
    assert find_quotation("x = 1\n...\ny  = 2", source)[1] == 2


def test_notebooks_are_free_of_outputs_and_speak_jupyter(tree):
    book = json.loads((tree / "tutorials/notebooks/01_first.ipynb").read_text())
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in book["cells"]]
    code = [source for kind, source in cells if kind == "code"]
    prose = "\n".join(source for kind, source in cells if kind == "markdown")
    assert all(not cell.get("outputs") for cell in book["cells"])
    assert len({cell["id"] for cell in book["cells"]}) == len(cells)
    assert "%pip install" in code[0] and len(code) == 3
    assert code[1].endswith("3 / 2")
    assert "<!--" not in prose and "[!WARNING]" not in prose and "pi is 3.142" not in prose
    assert "$$\n\\mathrm{softmax}" in prose
    assert "](02_second.ipynb#a-place)" in prose and "](../glossary.md#token)" in prose
    assert "](../../lib/thing.py#L4)" in prose
    assert "```python no-run" in prose


def run_notebook(path: Path) -> None:
    """Run a notebook as Jupyter would; cells whose needs are absent are passed over."""
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(path, as_version=4)
    for cell in book.cells:
        tags = cell.metadata.get("tags", [])
        if any(running.why_absent(tag.removeprefix("needs=")) for tag in tags):
            cell.metadata["tags"] = [*tags, "skip-execution"]
    NotebookClient(book, timeout=600, resources={"metadata": {"path": path.parent}}).execute()


def test_a_notebook_runs(tree, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    run_notebook(tree / "tutorials/notebooks/01_first.ipynb")


class Page(HTMLParser):
    """What a test wants to know of a page: its tags in order."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def every(self, name: str) -> list[dict]:
        return [attributes for tag, attributes in self.tags if tag == name]


def assert_sound(site: Path) -> dict[str, Page]:
    """No page asks a network for anything, links lead somewhere, headings are in order."""
    pages = {p: Page((site / p).read_text("utf-8")) for p in map(str, pages_of(site))}
    ids = {name: {a["id"] for _, a in page.tags if "id" in a} for name, page in pages.items()}
    for name, page in pages.items():
        for tag, attributes in page.tags:
            for key in ("src", "srcset", "data", "poster", "href"):
                if key in attributes and tag not in ("a", "use"):
                    assert not re.match(r"\w+://|//", attributes[key]), (name, tag, attributes)
                    address = attributes[key].partition("?")[0].partition("#")[0]
                    assert ((site / name).parent / address).is_file(), (name, attributes)
        for link in page.every("a"):
            target, _, anchor = link.get("href", "").partition("#")
            if re.match(r"https?://", target):
                continue
            path = ((site / name).parent / target).resolve() if target else site / name
            assert path.is_file(), (name, link)
            inside = str(path.relative_to(site.resolve())) if target else name
            state = Path(inside).name == "live.html"  # its anchors are what the reader sees there
            assert not anchor or state or anchor in ids[inside], (name, link)
        levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1 and levels.count(1) == 1, (name, levels)
        assert all(b <= a + 1 for a, b in zip(levels, levels[1:])), (name, levels)
        assert page.every("html")[0]["lang"] == "en"
        assert all("alt" in image for image in page.every("img"))
        assert "#furo-main-content" in [link.get("href") for link in page.every("a")]
    for path in site.rglob("*.css"):
        assert not re.search(r"@import|url\(\W*https?:", path.read_text("utf-8")), path
    return pages


def pages_of(site: Path) -> list[Path]:
    found = [path.relative_to(site) for path in sorted(site.rglob("*.html"))]
    return [p for p in found if p.parts[0] != "interactive" and p.name not in ("search.html",)]


@with_sphinx
def test_the_site(tree, tmp_path, capsys, remembered):
    site = tmp_path / "site"
    assert build.main(["--html", str(site)], tree) == 0
    assert capsys.readouterr().err == ""  # Sphinx has nothing to complain of
    first_page = (site / "index.html").read_text("utf-8")
    assert "url=tutorials/README.html" in first_page
    (site / "index.html").unlink()
    pages = assert_sound(site)
    assert set(pages) == {
        *(f"tutorials/{name}.html" for name in ("01_first", "02_second", "glossary", "README")),
        "lib/thing.html",
    }
    first, text = pages["tutorials/01_first.html"], (site / "tutorials/01_first.html").read_text()
    assert [formula["display"] for formula in first.every("math")] == ["inline", "block"]
    assert "<mfrac>" in text and "<msqrt>" in text
    assert '<span class="pre">$HOME</span>' in text and "5 $ and 6 $" in text
    boxes = [box["class"] for box in first.every("div") if "admonition" in box.get("class", "")]
    assert boxes == ["admonition warning", "admonition note"] and "[!" not in text
    image = next(image for image in first.every("img") if image["alt"].startswith("a wide box"))
    assert (site / "tutorials" / image["src"]).is_file()
    assert (site / "interactive/01_first-1.html").read_text("utf-8").endswith("of its own</p>")
    assert '<a href="../interactive/01_first-1.html">' in text
    frames = [frame["src"] for frame in first.every("iframe")]
    assert frames == ["../interactive/01_first-1.html"] and "pictures.js" in text
    tips = [link.get("title") for link in first.every("a") if "#token" in link.get("href", "")]
    assert tips and set(tips) == {"A piece of text."}
    assert re.search(r'href="../lib/thing.html#L-4">.*lib/thing.py.*</a>', text)
    assert "# alt:" not in text and "<!-- " not in text.partition("<article")[2]
    assert "[Contents]" not in text
    following = [link["href"] for link in first.every("a") if "next-page" in link.get("class", "")]
    assert following == ["02_second.html"]
    assert 'href="02_second.html#a-place">' in text
    search = (site / "searchindex.js").read_text("utf-8")
    assert search.startswith("Search.setIndex(") and '"flood"' not in search and '"half":' in search
    before = everything(site)
    assert build.main(["--check", "--html", str(site)], tree) == 0
    (site / "index.html").unlink()
    assert everything(site) == before


@with_sphinx
def test_the_library_beside_its_comments(tree, tmp_path):
    assert build.main(["--source", str(tmp_path / "only")], tree) == 0
    (tmp_path / "only/index.html").unlink()
    pages = assert_sound(tmp_path / "only")
    assert set(pages) == {"lib/thing.html"}
    text = (tmp_path / "only/lib/thing.html").read_text("utf-8")
    lines = {a["id"] for _, a in pages["lib/thing.html"].tags if a.get("id", "").startswith("L-")}
    told = {f"L-{n}" for n, line in enumerate(THING.split("\n"), 1) if line}
    assert told <= lines  # a link to any line leads somewhere
    assert "The sum, because it is shorter." in text and "&lt;here&gt;" in text
    rows = rows_of(THING)
    notes = [row.note.split("\n")[0] for row in rows]
    assert notes == [
        "A thing, to be *read* <here>.",
        "Two times.",
        "The sum, because it is shorter.",
        "",
        "",
    ]
    shown = {n for row in rows for n in row.lines}
    said = "\n".join(row.note for row in rows)
    for n, line in enumerate(THING.split("\n"), 1):
        words = line.strip().strip('"#').strip()
        assert n in shown or words in said, f"line {n} was lost: {line}"


def test_no_line_of_the_library_is_lost():
    for path in [*(ROOT / "minibert").rglob("*.py"), *(ROOT / "tutorials").glob("*.py")]:
        text = path.read_text(encoding="utf-8")
        rows = rows_of(text)
        shown = [n for row in rows for n in row.lines]
        assert shown == sorted(set(shown)), path
        said = "".join("\n".join(row.note for row in rows).replace('"""', "").split())
        for n, line in enumerate(text.split("\n"), 1):
            words = line.strip().lstrip("#").replace('\\"""', "").replace('"""', "")
            words = "".join(words.split())
            assert n in shown or words.replace("\\\\", "\\") in said, (path.name, n, line)


@pytest.mark.parametrize("name", ["chapter", "compare", "rules", "running", "source", "writing"])
def test_examples_in_docstrings(name):
    module = importlib.import_module(f"tutorials.building.{name}")
    assert doctest.testmod(module).failed == 0


@with_sphinx
def test_links_to_what_is_no_page_stay_text(tree, tmp_path):
    swap(tree / "tutorials/02_second.md", "See [the first]", "See [this](../lib/) and [the first]")
    site_writer()(tree, tmp_path / "site")
    text = (tmp_path / "site/tutorials/02_second.html").read_text("utf-8")
    assert re.search(r"See (<[^a][^>]*>)+this(</[^a][^>]*>)+ and", text)


def test_pages_without_sphinx_are_refused_in_a_sentence(tree, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "tutorials.building.web_site", raising=False)
    monkeypatch.setitem(sys.modules, "sphinx.application", None)
    with pytest.raises(SystemExit, match=r"expected the package sphinx.* pip install '\.\[site\]'"):
        build.main(["--html", str(tmp_path / "site")], tree)


def test_notes_are_text_in_which_nothing_is_markup_but_code():
    assert note_markdown("a *b* <c> $d$ `e * f` {g}") == r"a \*b\* \<c\> \$d\$ `e * f` \{g\}"


@pytest.mark.parametrize(
    "chapters",
    [SHORT[::2], SHORT[1::2], pytest.param(LONG, marks=pytest.mark.slow)],
    ids=["even", "odd", "long"],
)
def test_all_chapters_are_what_their_cells_give(chapters, capsys):
    """The real check, `python -m tutorials.build --check`, in parts for several processes."""
    code = build.main(["--check", *chapters])
    said = capsys.readouterr().out
    assert code == 0, said


def test_the_long_chapters_are_well_formed():
    """What can be said of them without running them."""
    assert 2 <= len(LONG) <= 6 and len(SHORT) >= 18
    for name in LONG:
        chapter = read_chapter(ROOT / "tutorials" / f"{name}.md")
        assert [*chapter.problems, *rules.judge(chapter, ROOT)] == []


def test_every_figure_and_notebook_belongs_to_a_chapter():
    every = [read_chapter(ROOT / "tutorials" / f"{name}.md") for name in CHAPTERS]
    assert checking.strangers(ROOT / "tutorials", every) == []


def test_no_chapter_takes_longer_than_twenty_minutes():
    """As the README says; the appendices are no chapters."""
    every = [read_chapter(ROOT / "tutorials" / f"{name}.md") for name in CHAPTERS]
    minutes = {c.name: writing.reading_minutes(c) for c in every if c.numbered}
    assert len(minutes) >= 20 and max(minutes.values()) <= 20, minutes


@with_sphinx
def test_the_real_site_is_sound(tmp_path, capsys):
    site_writer()(ROOT, tmp_path / "site")
    assert capsys.readouterr().err == ""
    (tmp_path / "site/index.html").unlink()
    pages = assert_sound(tmp_path / "site")
    live = (tmp_path / "site/interactive/live.html").read_text("utf-8")
    named = set(re.findall(r'chapter: "(\w+)"|data-chapter="(\w+)"', live))
    for chapter in {first or second for first, second in named}:  # from the page to the chapters
        assert f"tutorials/{chapter}.html" in pages
    assert len(named) >= 8
    reference = pages["docs/api.html"]
    places = {
        node["id"] for tag in ("dt", "section") for node in reference.every(tag) if "id" in node
    }
    for name in NAME.findall((ROOT / API).read_text(encoding="utf-8")):
        assert name in places, "a public name has its docstring on the site"
    assert {"minibert.Bert.embed", "minibert.Tokenizer.from_folder"} <= places


def test_the_reference_has_every_public_name():
    listed = NAME.findall((ROOT / API).read_text(encoding="utf-8"))
    assert len(set(listed)) == len(listed)
    assert {f"minibert.{name}" for name in minibert.__all__} <= {*listed, "minibert.__version__"}
    assert {f"minibert.view.{name}" for name in view.__all__} <= set(listed)
    assert all(public_object(name).__doc__ for name in listed)


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", sorted((ROOT / "tutorials/notebooks").glob("*.ipynb")), ids=lambda path: path.stem
)
def test_real_notebooks_run(path, monkeypatch):
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    run_notebook(path)
