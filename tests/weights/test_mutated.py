"""Mutated small files: what is refused is refused by a sentence, soon; nothing raises a raw error.

Values of JSON are exchanged for values of other kinds and sizes; bytes are changed at random.
"""

import copy
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minibert.tasks.classification import BertClassifier
from minibert.tasks.saved import load_task, save_task
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.training.batches import Examples
from minibert.training.pretrain import pretrain
from minibert.training.run_log import read_log
from minibert.training.settings import TrainSettings
from minibert.vectors.file import State
from minibert.vectors.recipe import Recipe
from minibert.weights.files import read_shard_index
from minibert.weights.loading import load_weights
from tests.parity.twins import TINY, trained_like
from tests.test_bert import WORDS
from tests.training.text_samples import prepared
from tests.weights_tools.test_fuzz import mutate

ODD = [
    None,
    True,
    -1,
    0,
    1.5,
    3,
    10**9,
    10**30,
    float("nan"),
    "",
    "x",
    "../x",
    [],
    [1],
    {},
    {"a": 1},
]
COUNTS = [pytest.param(40, id="sample"), pytest.param(1000, marks=pytest.mark.slow, id="all")]


def exchange(content: Any, random: np.random.Generator) -> Any:
    """One value of a JSON file, at any depth, becomes another, or goes."""
    content = copy.deepcopy(content)
    place = content
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return ODD[int(random.integers(len(ODD)))]
        key = keys[int(random.integers(len(keys)))]
        if isinstance(place[key], dict | list) and place[key] and random.random() < 0.8:
            place = place[key]
            continue
        if random.random() < 0.2:
            del place[key]
        else:
            place[key] = ODD[int(random.integers(len(ODD)))]
        return content


def make_folder(folder: Path) -> None:
    """A model, classifier, recipe, tokenizer, prepared data, and a run, in one folder."""
    model = trained_like().float()
    tokenizer = Tokenizer([*WORDS, *(f"[unused{n}]" for n in range(61 - len(WORDS)))])
    save_task(BertClassifier(model.bert, ["a", "b"]), tokenizer, folder / "model")
    model_folder = folder / "model"
    recipe = Recipe("mean", True, 12, True, "query: ", prompts={"query": "query: "}, truncate_dim=8)
    recipe.save(model_folder, 20)
    json_tokenizer = {
        "added_tokens": [{"id": 2, "content": "[CLS]", "special": True, "normalized": False}],
        "normalizer": {"type": "BertNormalizer", "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "model": {"type": "WordPiece", "vocab": tokenizer.vocab, "unk_token": "[UNK]"},
    }
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "tokenizer.json").write_text(json.dumps(json_tokenizer))
    (folder / "tokenizer" / "special_tokens_map.json").write_text('{"cls_token": "[CLS]"}')
    (folder / "tokenizer" / "added_tokens.json").write_text('{"[NEW]": 61}')
    (folder / "index.json").write_text('{"weight_map": {"a": "x.bin", "b": "y.bin"}}')
    prepared(folder)
    pretrain(folder / "data", folder / "run", TINY, RUN)
    State({"format": ".npy"}, 3, "ab", 99, 1).write(folder / "state.json")


RUN = TrainSettings(steps=1, batch_size=4, eval_every=1, log_every=1)
GO_ON = dataclasses.replace(RUN, steps=1)
LOADERS: dict[str, Callable[[Path], Any]] = {
    "model/config.json": lambda folder: load_task(folder / "model"),
    "model/modules.json": lambda folder: Recipe.from_folder(folder / "model"),
    "model/1_Pooling/config.json": lambda folder: Recipe.from_folder(folder / "model"),
    "model/sentence_bert_config.json": lambda folder: Recipe.from_folder(folder / "model"),
    "model/config_sentence_transformers.json": lambda folder: Recipe.from_folder(folder / "model"),
    "model/tokenizer_config.json": lambda folder: Tokenizer.from_folder(folder / "model"),
    "model/vocab.txt": lambda folder: Tokenizer.from_folder(folder / "model"),
    "model/model.safetensors": lambda folder: load_weights(folder / "model"),
    "tokenizer/tokenizer.json": lambda folder: Tokenizer.from_folder(folder / "tokenizer"),
    "tokenizer/special_tokens_map.json": lambda folder: Tokenizer.from_folder(folder / "tokenizer"),
    "tokenizer/added_tokens.json": lambda folder: Tokenizer.from_folder(folder / "tokenizer"),
    "index.json": lambda folder: read_shard_index(folder / "index.json"),
    "data/data.json": lambda folder: Examples(folder / "data"),
    "run/checkpoint.pt": lambda folder: pretrain(folder / "data", folder / "run", TINY, GO_ON),
    "run/log.csv": lambda folder: read_log(folder / "run" / "log.csv"),
    "state.json": lambda folder: State.read(folder / "state.json"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("mutated")
    make_folder(path)
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", LOADERS)
def test_no_raw_exception(folder, name, count):
    path = folder / name
    good, random = path.read_bytes(), np.random.default_rng(3)
    if name == "run/checkpoint.pt":
        count //= 4
    wrong = []
    LOADERS[name](folder)
    try:
        for number in range(count):
            if path.suffix == ".json" and number % 4:
                path.write_text(json.dumps(exchange(json.loads(good), random)))
            else:
                path.write_bytes(mutate(good, random))
            start = time.monotonic()
            try:
                LOADERS[name](folder)
            except (ValueError, FileNotFoundError, FileExistsError) as error:
                said = str(error)
                raw = type(error) not in (ValueError, FileNotFoundError, FileExistsError)
                if raw or not any(
                    word in said for word in (str(folder), path.name, "model", "tensor")
                ):
                    wrong.append(f"{error!r:.300} for {path.read_bytes()[:300]!r}")
            except Exception as error:
                wrong.append(f"{error!r:.300} for {path.read_bytes()[:300]!r}")
            assert time.monotonic() - start < 5
    finally:
        path.write_bytes(good)
    assert not wrong, "\n".join([f"{len(wrong)} of {count}", *wrong[:8]])
