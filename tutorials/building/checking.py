"""Does a chapter still say what its cells give? Nothing is written here."""

import dataclasses
from pathlib import Path

from tutorials.building import rules, writing
from tutorials.building.chapter import Cell, Chapter, Problem
from tutorials.building.compare import first_difference
from tutorials.building.running import Result, Run


def failures(run: Run, root: Path) -> list[Problem]:
    """What is wrong with the run itself, whatever the chapter says."""
    problems = []
    for cell in run.chapter.cells:
        result = run.results.get(cell.number)
        if result and (text := fault(cell, result, root)):
            problems.append(Problem(run.chapter.file, result.line or cell.line, text))
    return problems


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
    chapter, problems = run.chapter, []

    def note(line: int, text: str) -> None:
        problems.append(Problem(chapter.file, line, text))

    # The run time shown is one machine's, and only has to be there.
    fresh = writing.rendered(dataclasses.replace(run, seconds=0.0), chapters)
    if difference := first_difference(chapter.text, fresh):
        i, got, wanted = difference
        note(i + 1, f"stale: expected {wanted!r}, got {got!r}")
    for cell in chapter.cells:
        image = f"![{writing.escaped(cell.alt or '')}](img/{cell.figure})"
        result = run.results.get(cell.number)
        if result is None and cell.alt is not None and cell.out and image not in cell.out.text:
            note(cell.out.start + 1, f"stale figure: expected {image}")
        if result and result.svg and cell.figure and not figure(chapter, cell).is_file():
            note(cell.line, f"missing figure: img/{cell.figure}")
        if result and result.page and not writing.interactive(chapter, cell).is_file():
            note(cell.line, f"missing page: interactive/{writing.interactive(chapter, cell).name}")
    for path in writing.orphans(chapter):
        note(1, f"orphaned figure: no cell makes {path.parent.name}/{path.name}")
    path = writing.notebook_path(chapter)
    if chapter.numbered and not path.is_file():
        note(1, f"missing notebook: notebooks/{path.name}")
    elif chapter.numbered and path.read_text(encoding="utf-8") != writing.notebook_text(chapter):
        note(1, f"stale notebook: notebooks/{path.name} differs from the chapter")
    return problems


def figure(chapter: Chapter, cell: Cell) -> Path:
    return chapter.path.parent / "img" / (cell.figure or "")


def strangers(folder: Path, chapters: list[Chapter]) -> list[Problem]:
    """Figures and notebooks that belong to no chapter at all."""
    names = {chapter.name for chapter in chapters}
    problems = []
    for path in sorted((folder / "img").glob("*.svg")):
        if path.stem.rpartition("-")[0] not in names:
            problems.append(Problem(f"{folder.name}/img/{path.name}", 1, "orphaned figure"))
    for path in sorted((folder / "notebooks").glob("*.ipynb")):
        if path.stem not in names:
            problems.append(Problem(f"{folder.name}/notebooks/{path.name}", 1, "orphaned notebook"))
    return problems
