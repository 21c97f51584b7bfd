"""Does a chapter still say what its cells give? Nothing is written here."""

from pathlib import Path

from tutorials.building import rules, writing
from tutorials.building.chapter import Block, Cell, Chapter, Problem
from tutorials.building.compare import first_difference
from tutorials.building.running import Result, Run


def failures(run: Run, root: Path) -> list[Problem]:
    """What is wrong with the run itself, whatever the chapter says."""
    found = []
    for cell in run.chapter.cells:
        result = run.results.get(cell.number)
        text = fault(cell, result, root) if result else None
        if result and text:
            found.append(Problem(run.chapter.file, result.line or cell.line, text))
    return found


def fault(cell: Cell, result: Result, root: Path) -> str | None:
    """Why a cell's result may not stand in the chapter, or None."""
    if result.error:
        code = "\n".join(f"    {line}" for line in cell.code.splitlines())
        return f"the cell raised {result.error}\n{code}"
    if " at 0x" in result.text:
        return "the cell prints an address in memory, which is another one in every run"
    if str(root) in result.text:
        return f"the cell prints a path of this machine, {root}"
    if result.svg is None:
        if cell.alt is None:
            return None
        return "the cell has an `# alt:` line, but its last expression is no figure"
    if cell.alt is None:
        return "the cell shows a figure: say in a line `# alt: ...` what is to be seen in it"
    return rules.svg_problem(result.svg)


def over_budget(run: Run) -> list[Problem]:
    chapter = run.chapter
    if run.seconds <= chapter.budget:
        return []
    text = (
        f"over its time budget: expected at most {chapter.budget:.0f} s of processor time, "
        f"got {run.seconds:.1f} s. Make the cells smaller, or write <!-- budget: "
        f"{run.seconds * 1.5:.0f} s --> under the title"
    )
    return [Problem(chapter.file, 1, text)]


def stale(run: Run, chapters: list[Chapter]) -> list[Problem]:
    """Where the chapter, its figures or its notebook are not what this run gives."""
    chapter, found = run.chapter, []
    for cell in chapter.cells:
        result = run.results.get(cell.number)
        if result is None:
            found += kept(chapter, cell)
            continue
        expected = writing.out_block(cell, result)
        found += differences(chapter, cell.out, expected, cell.end, "output")
        if result.svg is not None and cell.figure and not figure(chapter, cell).is_file():
            found.append(Problem(chapter.file, cell.line, f"missing figure: img/{cell.figure}"))
    makers = {"head": writing.head, "nav": writing.nav, "contents": writing.contents}
    for name, block in chapter.blocks.items():
        # The run time shown is one machine's, and only has to be there.
        unhurried = Run(chapter) if "s to run" in block.text else run
        text = f"<!-- {name} -->\n{makers[name](unhurried, chapters)}\n<!-- /{name} -->"
        found += differences(chapter, block, text, block.start, name)
    for path in writing.orphans(chapter):
        found.append(Problem(chapter.file, 1, f"orphaned figure: no cell makes img/{path.name}"))
    if chapter.numbered:
        path = writing.notebook_path(chapter)
        if not path.is_file():
            found.append(Problem(chapter.file, 1, f"missing notebook: notebooks/{path.name}"))
        elif path.read_text(encoding="utf-8") != writing.notebook_text(chapter):
            text = f"stale notebook: notebooks/{path.name} differs from the chapter"
            found.append(Problem(chapter.file, 1, text))
    return found


def kept(chapter: Chapter, cell: Cell) -> list[Problem]:
    """A cell that was not run: its output is kept, but a picture must have its alt text."""
    if cell.out is None or cell.alt is None:
        return []
    image = f"![{writing.escaped(cell.alt)}](img/{cell.figure})"
    if image in cell.out.text:
        return []
    return [Problem(chapter.file, cell.out.start + 1, f"stale figure: expected {image}")]


def differences(
    chapter: Chapter, block: Block | None, expected: str | None, end: int, what: str
) -> list[Problem]:
    """Compare what stands between two markers with what should."""
    if block is None and expected is None:
        return []
    if block is None:
        return [Problem(chapter.file, end, f"missing {what}: the cell gives one, none is shown")]
    if expected is None:
        return [Problem(chapter.file, block.start + 1, f"stale {what}: the cell gives none")]
    difference = first_difference(block.text, expected)
    if difference is None:
        return []
    i, got, wanted = difference
    text = f"stale {what}: expected {wanted!r}, got {got!r}"
    return [Problem(chapter.file, block.start + 1 + i, text)]


def figure(chapter: Chapter, cell: Cell) -> Path:
    return chapter.path.parent / "img" / (cell.figure or "")


def strangers(folder: Path, chapters: list[Chapter]) -> list[Problem]:
    """Figures and notebooks that belong to no chapter at all."""
    names = {chapter.name for chapter in chapters}
    found = []
    for path in sorted((folder / "img").glob("*.svg")):
        if path.stem.rpartition("-")[0] not in names:
            found.append(Problem(f"{folder.name}/img/{path.name}", 1, "orphaned figure"))
    for path in sorted((folder / "notebooks").glob("*.ipynb")):
        if path.stem not in names:
            found.append(Problem(f"{folder.name}/notebooks/{path.name}", 1, "orphaned notebook"))
    return found
