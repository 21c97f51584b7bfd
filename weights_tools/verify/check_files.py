"""Are these the published files? Size and sha256 against `golden/fingerprints.json`.

A file that is not a published one proves nothing: a converted model has the same numbers in other
files. Only what cannot be explained so is a failure: the published size with other bytes, or
another vocabulary under the claimed name.
"""

from pathlib import Path
from typing import Any

from minibert.weights.hub import checksum
from weights_tools.verify.pack import known_fingerprints
from weights_tools.verify.verdict import FAIL, INFO, NOT_RUN, PASS, Row


def check_files(path: Path, claim: str | None) -> list[Row]:
    """Compare the files beside a model with what was published under their names."""
    folder = path if path.is_dir() else path.parent
    releases = known_fingerprints()
    names = dict.fromkeys(name for release in releases.values() for name in release["files"])
    rows = []
    for name in names:
        file = folder / name
        if file.is_file():
            rows.append(_check_file(file, releases, claim))
    if not rows:
        rows.append(Row("files", "fingerprints", NOT_RUN, "no file with a published fingerprint"))
    return rows


def _check_file(file: Path, releases: dict[str, dict[str, Any]], claim: str | None) -> Row:
    digest, size = checksum(file), file.stat().st_size
    published = {
        name: release["files"][file.name]
        for name, release in releases.items()
        if file.name in release["files"]
    }
    same = [name for name, known in published.items() if known["sha256"] == digest]
    if same:
        return Row("files", file.name, PASS, f"is that of {', '.join(same)}")
    claimed = [
        known for name, known in published.items() if claim and releases[name]["model"] == claim
    ]
    damaged = any(known.get("bytes") == size for known in claimed)
    if damaged:
        return Row("files", file.name, FAIL, "has the published size, but other bytes: damaged?")
    if claimed and file.name == "vocab.txt":
        return Row("files", file.name, FAIL, f"is not the vocabulary of {claim}")
    return Row("files", file.name, INFO, "is not a published file; saved anew, or another model")
