"""Run the tutorials: refresh what their cells print and show, and their notebooks.

The chapters are the Markdown files of this folder; tutorials/building/chapter.py tells their
form. With --check everything is run again, nothing is written, and the exit code is 1 where a
chapter does not say what its cells give.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from minibert.system.lines import print_any_text
from tutorials.building import checking, rules, writing
from tutorials.building.chapter import Chapter, Problem, chapter_files, read_chapter
from tutorials.building.running import Run, run_chapters

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Do what the command line says; `root` is the repository whose tutorials are meant."""
    options = parse(arguments)
    print_any_text()
    write_site = site_writer() if options.html or options.source else None
    if options.source and write_site:
        print(f"wrote {write_site(root, options.source, with_chapters=False)}")
        return 0
    every = [read_chapter(path) for path in chapter_files(root / "tutorials")]
    chosen = select(every, options.chapters)
    problems = [problem for chapter in chosen for problem in chapter.problems]
    runs = []
    to_run = [chapter for chapter in chosen if not chapter.problems]
    if options.html and not options.chapters and not options.check:
        to_run = []  # the pages are made of what has been run
    for run in watched(root, to_run):
        runs.append(run)
        failed = checking.failures(run, root)
        if options.check:
            failed += [] if failed else checking.stale(run, every)
            failed += checking.over_budget(run)
            chapter = run.chapter
        else:
            chapter = run.chapter if failed else writing.save(run, every)
        problems += failed + chapter.problems + rules.judge(chapter, root)
    if options.check and not options.chapters:
        problems += checking.strangers(root / "tutorials", every)
    if options.html and write_site:
        print(f"wrote {write_site(root, options.html)}")
    for problem in sorted(problems, key=lambda problem: (problem.file, problem.line)):
        print(problem)
    print(summary(runs, problems))
    return 1 if problems else 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tutorials.build",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help="04, say; default: all")
    parser.add_argument("--check", action="store_true", help="compare; write nothing")
    parser.add_argument(
        "--html",
        type=Path,
        metavar="DIR",
        help="write all chapters as they stand, and the library's files beside their comments, as "
        "pages that need no network; cells are run only with --check or for chapters named",
    )
    parser.add_argument(
        "--source",
        type=Path,
        metavar="DIR",
        help="only write the pages of the library's files; no cell is run",
    )
    return parser.parse_args(arguments)


def site_writer() -> Callable[..., Path]:
    """What writes the pages; a sentence where Sphinx is not installed."""
    try:
        from tutorials.building.web_site import write_site
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"expected the package {error.name} for the pages, which is not installed: "
            "with Python 3.11 or newer, pip install '.[site]'"
        ) from None
    return write_site


def select(every: list[Chapter], names: list[str]) -> list[Chapter]:
    """The chapters that were asked for, by number, name or path."""
    chosen = []
    for name in names:
        stem = Path(name).stem
        found = [c for c in every if c.name == stem or c.name.split("_")[0] == stem.zfill(2)]
        if not found:
            known = ", ".join(chapter.name for chapter in every)
            raise SystemExit(f"expected a chapter, got {name!r}; there are {known}")
        chosen += found
    return chosen or every


def watched(root: Path, chapters: list[Chapter]) -> Iterator[Run]:
    """Run the chapters behind a progress bar, which only a person at a terminal sees."""
    cells = sum(len(chapter.cells) for chapter in chapters)
    with tqdm(total=cells, unit="cell", leave=False, disable=not sys.stderr.isatty()) as bar:

        def progress(chapter: Chapter) -> None:
            bar.set_description(chapter.name, refresh=False)
            bar.update()

        yield from run_chapters(root, chapters, progress)


def summary(runs: list[Run], problems: list[Problem]) -> str:
    """How many cells ran and how long; every cell that did not, and why."""
    lines = []
    absent = [(run.chapter, n, why) for run in runs for n, why in sorted(run.absent.items())]
    for chapter, number, why in sorted(absent, key=lambda entry: (entry[0].file, entry[1])):
        cell = chapter.cells[number - 1]
        output = "its output is kept" if cell.out else "it has no output yet"
        lines.append(f"not re-run: {chapter.file}:{cell.line}: {why}; {output}")
    ran = sum(len(run.results) for run in runs)
    seconds = sum(run.seconds for run in runs)
    lines.append(
        f"files: {len(runs)}; cells run: {ran}, in {seconds:.0f} s of processor time; "
        f"not re-run: {len(absent)}; problems: {len(problems)}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
