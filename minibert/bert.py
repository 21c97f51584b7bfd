"""All of it in one hand: `bert = minibert.load(name)`, then text in, numbers out."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from minibert import hub
from minibert.batch import Tokenizer
from minibert.config import BertConfig
from minibert.embed import Recipe, embed
from minibert.files import folder_written_whole
from minibert.heads import BertForPreTraining
from minibert.model import BertModel
from minibert.predict import Prediction, fill_mask, next_sentence
from minibert.trace import Trace, record
from minibert.weights import LoadReport, load_weights, save_weights


@dataclasses.dataclass
class Bert:
    """A model with its tokenizer. Made by `minibert.load`.

    model        BertModel, the encoder
    pretraining  the same encoder under its two heads (a head the file lacks is None)
    tokenizer    texts -> Batch, which goes into the model: bert.model(**bert.tokenizer(texts))
    report       what became of every tensor of the weights file
    source       the folder or the name and revision it came from
    """

    pretraining: BertForPreTraining
    tokenizer: Tokenizer
    report: LoadReport
    recipe: Recipe = Recipe()
    source: str = ""

    @property
    def model(self) -> BertModel:
        return self.pretraining.bert

    @property
    def config(self) -> BertConfig:
        return self.model.config

    def embed(
        self,
        texts: Sequence[str],
        *,
        layer: int = -1,
        pooling: str | None = None,
        normalize: bool | None = None,
        batch_size: int = 32,
        progress: bool = False,
    ) -> np.ndarray:
        """One vector per text, (N, H) float32. `pooling` ("mean", "max", "cls") and `normalize`
        default to the model's own recipe (sentence-transformers' modules.json), else to the
        plain mean."""
        recipe = dataclasses.replace(
            self.recipe,
            pooling=self.recipe.pooling if pooling is None else pooling,
            normalize=self.recipe.normalize if normalize is None else normalize,
        )
        return embed(
            self.model,
            self.tokenizer,
            texts,
            recipe=recipe,
            layer=layer,
            batch_size=batch_size,
            progress=progress,
        )

    def similarity(self, first: Sequence[str], second: Sequence[str]) -> np.ndarray:
        """Cosines (len(first), len(second)) between the texts' vectors."""
        a = self.embed(list(first), normalize=True)
        b = self.embed(list(second), normalize=True)
        return a @ b.T

    def fill_mask(self, text: str, top: int = 5) -> list[list[Prediction]]:
        """The likeliest words for every [MASK] of `text`: one list per [MASK], best first."""
        return fill_mask(self.pretraining, self.tokenizer, text, top)

    def next_sentence(self, first: str, second: str) -> float:
        """The probability that `second` followed `first`."""
        return next_sentence(self.pretraining, self.tokenizer, first, second)

    def trace(self, text: str, pair: str | None = None) -> Trace:
        """Every named intermediate for one text (or pair of texts)."""
        batch = self.tokenizer([text], None if pair is None else [pair])
        tokens = [self.tokenizer.convert_ids_to_tokens(row) for row in batch["input_ids"].tolist()]
        return record(self.pretraining, batch, tokens)

    def save(self, folder: str | Path, dtype: torch.dtype | None = None) -> None:
        """Write a folder that minibert, transformers and sentence-transformers load.

        The folder must be new or empty; it appears whole or not at all.
        """
        with folder_written_whole(folder) as new:
            save_weights(self.pretraining, new, dtype)
            self.tokenizer.save_vocabulary(new)
            self.recipe.save(new, self.config.hidden_size)


def load(
    name: str | Path,
    *,
    revision: str | None = None,
    dtype: torch.dtype | None = torch.float32,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Bert:
    """Load a BERT with its tokenizer from a folder, the hub, or the box.

    name       a folder (config.json, vocab.txt or tokenizer.json, and the weights), one weights
               file in such a folder, a repository of the Hugging Face hub such as
               "google-bert/bert-base-uncased", or "minibert-tiny"
    revision   a commit, tag or branch of the hub; official models have a pinned one
    dtype      what the numbers are converted to; None keeps the file's

    Never loads other weights than those asked for. Raises FileNotFoundError, ValueError or
    OSError, in words that say what to do next.
    """
    found = hub.resolve(
        name, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only
    )
    model, report = load_weights(found.path, dtype)
    folder = found.path.parent if found.path.is_file() else found.path
    tokenizer = Tokenizer.from_folder(folder)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(
            f"the tokenizer of {folder} has {tokenizer.vocab_size} tokens, the model a table of "
            f"{model.config.vocab_size}: they do not belong together"
        )
    source = str(name) if found.revision is None else f"{name} at revision {found.revision}"
    return Bert(model, tokenizer, report, Recipe.from_folder(folder), source)
