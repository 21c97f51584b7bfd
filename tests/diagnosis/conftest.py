"""One checker for the room: its probe, its reference and what it has tried are made once."""

import pytest

from minibert.diagnosis.checker import Checker


@pytest.fixture(scope="session")
def checker():
    return Checker()


@pytest.fixture(scope="session")
def replay(checker):
    return checker.replay
