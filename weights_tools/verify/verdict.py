"""The table that `verify` gives back: one row per thing that was checked, and what follows."""

import dataclasses
from typing import Any

PASS, FAIL, NOT_RUN, INFO = "pass", "FAIL", "not run", "info"

TELL_US = (
    "All of them compare with numbers that stand on one page alone, where a slip of the pen "
    "cannot be excluded; everything confirmed by more agrees. Please tell us, in an issue of "
    "minibert's repository with this table (minibert weights verify FOLDER --json)"
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the verdict. The errors are absolute differences, at the worst place.

    `certain` is False where the expected numbers stand on one page alone, copied by hand.
    """

    section: str
    name: str
    status: str
    detail: str = ""
    allowed: float | None = None
    errors: dict[str, float] = dataclasses.field(default_factory=dict)
    fits: str = ""
    certain: bool = True


@dataclasses.dataclass(frozen=True)
class Verdict:
    """All rows, and what follows from them."""

    source: str
    rows: tuple[Row, ...]

    @property
    def failed(self) -> tuple[Row, ...]:
        """The rows that failed, in the order of computation."""
        return tuple(row for row in self.rows if row.status == FAIL)

    @property
    def summary(self) -> str:
        """One sentence."""
        passed = [row for row in self.rows if row.status == PASS]
        golden = sum(row.section == "golden" and bool(row.errors) for row in passed)
        files = [row.name for row in passed if row.section == "files"]
        known = f". Known files: {', '.join(files)}" if files else ""
        if self.failed:
            told = f"FAILED: {len(self.failed)} rows, the first is {self.failed[0].name}"
            return told if any(row.certain for row in self.failed) else f"{told}. {TELL_US}"
        if golden:
            return f"VERIFIED: {golden} published results reproduced, nothing failed{known}"
        if any(row.section == "transformers" for row in passed):
            return (
                f"AGREES WITH TRANSFORMERS: the computation is right on these weights; "
                f"no published numbers apply to show where they come from{known}"
            )
        return f"NOT RUN: nothing that could prove anything has been computed{known}"

    @property
    def exit_code(self) -> int:
        """0 if something was proved and nothing failed, 1 if something failed, 3 if nothing ran."""
        if self.failed:
            return 1
        return 3 if self.summary.startswith("NOT RUN") else 0

    def to_dict(self) -> dict[str, Any]:
        """The same, for `--json`."""
        rows = [dataclasses.asdict(row) for row in self.rows]
        return {"source": self.source, "summary": self.summary, "rows": rows}

    def __str__(self) -> str:
        lines = [self.source]
        width = max([len(row.name) for row in self.rows], default=0)
        for section in dict.fromkeys(row.section for row in self.rows):
            rows = [row for row in self.rows if row.section == section]
            columns = list(dict.fromkeys(name for row in rows for name in row.errors))
            heading = "".join(f"  {name:>9}" for name in columns)
            heading += "    allowed  fits" if section == "golden" and columns else ""
            lines += ["", f"{section:<{width + 9}}{heading}"]
            for row in rows:
                cells = "".join(f"  {_short(row.errors.get(name)):>9}" for name in columns)
                if section == "golden" and columns:
                    cells += f"  {_short(row.allowed):>9}  {row.fits:<9}"
                text = f"{row.status:<7}  {row.name:<{width}}{cells}  {row.detail}"
                lines.append(text.rstrip())
        return "\n".join([*lines, "", self.summary])


def _short(number: float | None) -> str:
    return "" if number is None else f"{number:.1e}"
