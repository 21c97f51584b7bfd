"""`python -m tutorials.run 04`: the cells of a chapter, one after the other, then a prompt.

At the prompt you have every name of the chapter, and may try the next thing. It is IPython's, so
that a cell can be pasted as it stands. A cell that needs what is not here is left out, and said.
"""

import argparse
import os
import sys
from pathlib import Path

from IPython.terminal.interactiveshell import TerminalInteractiveShell

from minibert.system.lines import print_any_text
from tutorials.build import ROOT, select
from tutorials.building.chapter import Chapter, chapter_files, read_chapter
from tutorials.building.running import why_absent


def main(arguments: list[str] | None = None) -> int:
    """Run one chapter; 1 if a cell raised."""
    parser = argparse.ArgumentParser(
        prog="python -m tutorials.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("chapter", metavar="CHAPTER", help="04, say, or a path")
    parser.add_argument("--no-prompt", action="store_true", help="run the cells and end")
    options = parser.parse_args(arguments)
    print_any_text()
    every = [read_chapter(path) for path in chapter_files(ROOT / "tutorials")]
    (chapter,) = select(every, [options.chapter])
    shell = TerminalInteractiveShell.instance(
        user_ns={}, banner1="", simple_prompt=not sys.stdin.isatty(), confirm_exit=False
    )
    os.chdir(ROOT)  # where the cells expect to be
    whole = run_cells(chapter, shell)
    if not options.no_prompt:
        print("\nYour turn: the names of the chapter are here. exit leaves.")
        shell.mainloop()
    return 0 if whole else 1


def run_cells(chapter: Chapter, shell: TerminalInteractiveShell) -> bool:
    """Show each cell and run it, until one raises; whether all went well."""
    print(f"{chapter.title}: {len(chapter.cells)} cells of {Path(chapter.file)}")
    for cell in chapter.cells:
        print(f"\n---- line {cell.line} ----\n{cell.code}\n")
        if reasons := [reason for need in cell.needs if (reason := why_absent(need))]:
            print(f"(left out: {reasons[0]})")
        elif not shell.run_cell(cell.code).success:
            print("The rest of the chapter is left out, since this cell raised an error.")
            return False
    return True


if __name__ == "__main__":
    sys.exit(main())
