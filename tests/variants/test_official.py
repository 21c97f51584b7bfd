"""Rung 5 for the variants: their official files, where the hub's cache has them.

None comes with the tests; without one its case is skipped, and says so. What is asked of a folder
here, all of `verify`, tests/weights_tools/test_variants.py asks of small ones.
"""

import pytest

from minibert.weights import hub
from weights_tools.fetch import NAMES
from weights_tools.verify.command import verify
from weights_tools.verify.pack import PACKS, load_pack


@pytest.mark.rung(5)
@pytest.mark.parametrize("name", [name for name in PACKS if not name.startswith("bert-")])
def test_official_file(name):
    """The tokenizer's ids, every layer and head beside transformers, and published numbers."""
    try:
        folder = hub.resolve(NAMES[name], local_files_only=True).path
    except OSError:
        pytest.skip("official files of variants absent (minibert weights fetch NAME)")
    verdict = verify(folder, claim=name)
    passed = {row.name for row in verdict.rows if row.status == "pass"}
    assert {check.id for check in load_pack(name).certain.checks} <= passed
    assert not [row for row in verdict.failed if row.certain], str(verdict)
