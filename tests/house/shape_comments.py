"""Check `# (B, T, H)` comments: run the code, and compare each with the tensor assigned there."""

import ast
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch

SHAPE = re.compile(r"#\s*\(((?:[A-Z0-9]|,|\s)*)\)\s*$")


def stated_shapes(path: Path) -> dict[int, tuple[str, tuple[str, ...], int]]:
    """Last line of a statement -> (name assigned, or "return"; letters; first line)."""
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    found = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign | ast.Return):
            match = SHAPE.search(lines[node.end_lineno - 1])
            if match is None:
                continue
            name = "return"
            if isinstance(node, ast.Assign):
                if not isinstance(node.targets[0], ast.Name):
                    continue
                name = node.targets[0].id
            letters = tuple(part.strip() for part in match[1].split(",") if part.strip())
            found[node.end_lineno] = (name, letters, node.lineno)
    commented = {number for number, line in enumerate(lines, 1) if SHAPE.search(line)}
    unread = commented - set(found)
    assert not unread, f"{path.name}: shape comments on lines that assign nothing: {sorted(unread)}"
    return found


class ShapeWatcher:
    """Traces the execution of some files, and keeps what their shape comments got wrong."""

    def __init__(self, paths: list[Path], sizes: dict[str, int]):
        self.stated = {str(path): stated_shapes(path) for path in paths}
        self.sizes = sizes
        self.checked: set[tuple[str, int]] = set()
        self.wrong: list[str] = []

    def run(self, function: Callable[[], Any]) -> None:
        sys.settrace(self._enter)
        try:
            function()
        finally:
            sys.settrace(None)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        stated = self.stated.get(frame.f_code.co_filename)
        if stated is None:
            return None
        last = {"line": frame.f_lineno}

        def step(frame: FrameType, event: str, argument: Any) -> Any:
            # at a new line (or the return) the statement that began on the line before is done
            for end, (name, letters, start) in stated.items():
                if start <= last["line"] <= end and (event == "return" or frame.f_lineno != start):
                    self._compare(frame, end, name, letters, event, argument)
            last["line"] = frame.f_lineno
            return step

        return step

    def _compare(
        self, frame: FrameType, line: int, name: str, letters: tuple, event: str, argument: Any
    ) -> None:
        if name == "return" and event != "return":
            return
        value = argument if name == "return" else frame.f_locals.get(name)
        if not isinstance(value, torch.Tensor):
            return
        expected = tuple(int(one) if one.isdigit() else self.sizes[one] for one in letters)
        file = frame.f_code.co_filename
        self.checked.add((file, line))
        if tuple(value.shape) != expected:
            text = f"({', '.join(letters)})"
            self.wrong.append(
                f"{Path(file).name}:{line} says {text} = {expected}, it is {tuple(value.shape)}"
            )

    def unchecked(self) -> list[str]:
        """Comments on lines that never ran."""
        return [
            f"{Path(file).name}:{line}"
            for file, stated in self.stated.items()
            for line in stated
            if (file, line) not in self.checked
        ]
