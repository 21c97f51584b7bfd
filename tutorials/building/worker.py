"""Run the cells of one chapter in this process, and tell the parent what each of them gave.

Started by file name, in the folder where the cells expect to be. The chapter comes as JSON on
the standard input: its file's name, and the cells with their line numbers. The results leave as
one line of JSON each, on the standard output; what cells write there is caught before.
"""

import ast
import contextlib
import io
import json
import os
import resource
import sys
import traceback
import types
from pathlib import Path
from typing import Any


def main() -> None:
    # The cells' own processes, and libraries in C, may write to 1: that must not reach the parent.
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    task = json.load(sys.stdin)
    sys.path[:1] = [str(Path.cwd()), str(Path(__file__).resolve().parents[2])]
    sys.argv = [task["file"]]
    limit = int(task["limit"])
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    pages = Path(task["pages"]) if task["pages"] else None
    for cell in task["cells"]:
        result = run(cell, task["file"], module.__dict__, pages)
        print(json.dumps({"cell": cell["number"], **result}), file=report, flush=True)
        if "error" in result:
            break
    print(json.dumps({"seconds": processor_seconds()}), file=report, flush=True)


def run(
    cell: dict[str, Any], file: str, names: dict[str, Any], pages: Path | None
) -> dict[str, Any]:
    """Run one cell: what it printed, the picture it ended with, or how it failed."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            value = evaluate(cell, file, names)
        svg = as_svg(value)
        if svg is None and value is not None:
            print(repr(value), file=printed)
        if svg is not None and pages and cell["figure"] and getattr(value, "interactive", ""):
            page = pages / Path(cell["figure"]).with_suffix(".html").name
            page.write_text(value.page(), encoding="utf-8")
    except (Exception, SystemExit) as error:
        return failure(error, file, cell, printed.getvalue())
    return {"text": printed.getvalue(), "svg": svg}


def evaluate(cell: dict[str, Any], file: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook would; the value of its last line, if that is an expression."""
    # Blank lines in front give every line the number that it has in the chapter.
    tree = ast.parse("\n" * (cell["line"] - 1) + cell["code"], file)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, file, "exec"), names)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), file, "eval"), names)


def as_svg(value: Any) -> str | None:
    """The SVG of a picture of `minibert.view`; None for anything else."""
    svg = getattr(value, "svg", None)
    if not isinstance(svg, str):
        return None
    return svg if svg.endswith("\n") else svg + "\n"


def failure(error: BaseException, file: str, cell: dict[str, Any], printed: str) -> dict[str, Any]:
    """Where in the chapter it happened, and the last line of the traceback."""
    line = cell["line"]
    if isinstance(error, SyntaxError) and error.filename == file and error.lineno:
        line = error.lineno
    else:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
        line = (frames[-1].lineno or line) if frames else line
    last = traceback.format_exception_only(type(error), error)[-1].strip()
    return {"error": last, "line": line, "text": printed}


def processor_seconds() -> float:
    """The processor time of this process and its children: a busy machine does not change it."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
