"""A small model of every task, with trained-like numbers, over words, letters and marks."""

import dataclasses
import string

import pytest
import torch

from minibert.tasks.task import TaskModel, new_model
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.tokenizer.vocabulary import SPECIAL_TOKENS
from tests.conftest import ROOT
from tests.parity.twins import TINY, trained_like

LETTERS = string.ascii_lowercase + string.digits + "éß中"
COMMON = ["the", "of", "in", "and", "was", "to", "on", "a", "is", "##s", "##ed", "##ing", "river"]
MARKS = [*".,;:!?'\"()-"]
WORDS = list(
    dict.fromkeys(
        [*SPECIAL_TOKENS.values(), *COMMON, *MARKS, *LETTERS, *(f"##{c}" for c in LETTERS)]
    )
)
CONFIG = dataclasses.replace(TINY, vocab_size=len(WORDS), max_position_embeddings=512)
SENTENCES = (ROOT / "tests/data/sentences.txt").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="session")
def tokenizer():
    return Tokenizer(WORDS, model_max_length=512)


def model_of(kind: type[TaskModel], **about) -> TaskModel:
    """Of so large weights in the new layer that no two classes are close."""
    model = new_model(kind, trained_like(CONFIG).bert.float(), dropout=0.0, seed=1, **about)
    torch.nn.init.normal_(model.classifier.weight, std=0.6)
    torch.nn.init.normal_(model.classifier.bias, std=0.3)
    return model.eval()
