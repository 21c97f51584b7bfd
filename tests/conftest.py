"""What several tests share: data that may be absent, trained-like models, the ladder's summary."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("MINIBERT_DATA", ROOT.parent / "shared" / "data"))


def shared(name: str) -> Path:
    """The path of a file of the optional test data, or skip the test and say which is missing."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"test data absent: {name} (set MINIBERT_DATA to the folder that holds it)")
    return path
