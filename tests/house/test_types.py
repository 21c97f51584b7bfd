"""What a type checker, and so an editor, knows of the public face."""

import re
import sys

import pytest

mypy = pytest.importorskip("mypy.api")

CHECK = "import minibert\nbert = minibert.load('x')\n"


@pytest.fixture(autouse=True)
def recursion_limit():
    """mypy raises that of the process it runs in; other tests hold on to Python's own."""
    limit = sys.getrecursionlimit()
    yield
    sys.setrecursionlimit(limit)


def errors_of(code: str) -> str:
    """What mypy says of `code` after a model was loaded."""
    output, trouble, _ = mypy.run(["--ignore-missing-imports", "-c", CHECK + code])
    assert not trouble
    return output


def test_load_gives_a_bert():
    assert 'Revealed type is "minibert.bert.Bert"' in errors_of("reveal_type(bert)")


def test_an_unknown_option_is_refused():
    assert "Success" in errors_of("bert.embed(['a'], layer=3, pooling='cls')")
    assert re.search("error: .*embed", errors_of("bert.embed(['a'], layre=3)"))
