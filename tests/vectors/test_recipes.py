"""The recipes of docs/recipes.md do what they say, where their packages are installed."""

import importlib.util
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"
BEGINNING, *BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
PACKAGES = {block: re.search(r"^(?:import|from) (\w+)", block, re.M)[1] for block in BLOCKS}


@pytest.mark.parametrize("block", BLOCKS, ids=PACKAGES.values())
def test_recipe(block):
    package = PACKAGES[block]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    names = {}
    exec(BEGINNING + block, names)
    if package == "sklearn":
        assert names["found"] == ["food"]
    else:
        assert names["found"] == ["Somebody is having a meal.", "A man is eating food."]


def test_every_recipe_is_there():
    assert set(PACKAGES.values()) == {
        *("faiss", "usearch", "sklearn", "langchain_core", "llama_index", "chromadb")
    }
