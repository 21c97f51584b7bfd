"""Does a pretrained BERT help to tell good reviews from bad ones?

A linear probe tells it from the BERT's vectors, or the BERT is fine-tuned on the same texts. The
baselines are the majority, a bag of words, and the same BERT untrained.

Source: Socher et al. 2013 (SST-2).
"""

import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel
from minibert.tasks.classification import accuracy, new_classifier
from minibert.tasks.labelled import Labelled, read_labelled
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.training.finetune import Spread, finetune, majority
from minibert.training.settings import FinetuneSettings
from minibert.vectors.embed import embed
from minibert.vectors.recipe import Recipe


def fit_line(features: Tensor, labels: Tensor, decay: float = 1e-2) -> tuple[Tensor, Tensor]:
    """Logistic regression, to the end: the weights and the bias that best tell 1 from 0.

    >>> weight, bias = fit_line(torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1]))
    >>> bool(weight[0] > 0)
    True
    """
    weight = torch.zeros(features.shape[1], requires_grad=True)
    bias = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        scores = features @ weight + bias
        value = F.binary_cross_entropy_with_logits(scores, labels.float())
        value = value + decay * weight.square().sum() / 2
        value.backward()
        return value

    optimizer.step(loss)  # type: ignore[arg-type]
    return weight.detach(), bias.detach()


def sentiment(
    model: BertForPreTraining,
    tokenizer: Tokenizer,
    train: str | Path,
    test: str | Path,
    *,
    rows: int = 2000,
    seeds: int = 5,
    tuning: FinetuneSettings | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Good or bad? Accuracies on the test texts, each as (mean, deviation) over seeds.

    A seed draws the `rows` training texts, and the weights of the untrained BERT. Without `tuning`
    a linear probe reads the frozen mean vectors; with it both BERTs are fine-tuned on the texts,
    again from the mean.
    """
    if rows < 1 or seeds < 1:
        raise ValueError(f"texts and seeds must be at least 1, got {rows} and {seeds}")
    learn = read_labelled(train)
    judge = read_labelled(test, learn.classes)
    if len(learn.classes) != 2:
        raise ValueError(f"{train}: expected two labels, good and bad, got {learn.classes}")
    names = ("bert", "untrained", "bag_of_words", "majority")
    results: dict[str, list[float]] = {name: [] for name in names}
    for seed in tqdm(range(seeds), desc="sentiment", unit="seeds", disable=not progress):
        chosen = random.Random(seed).sample(range(len(learn.texts)), min(rows, len(learn.texts)))
        drawn = Labelled([learn.texts[n] for n in chosen], learn.labels[chosen], learn.classes)
        torch.manual_seed(seed)
        untrained = BertModel(model.config).eval()
        for name, encoder in (("bert", model.bert), ("untrained", untrained)):
            if tuning is None:
                right = _probe(encoder, tokenizer, drawn, judge)
            else:
                settings = dataclasses.replace(tuning, seed=seed)
                right = _fine_tuned(encoder, tokenizer, drawn, judge, settings)
            results[name].append(right)
        results["bag_of_words"].append(bag_of_words(tokenizer, drawn, judge))
        results["majority"].append(majority(drawn, judge))
    spread = {name: tuple(Spread.of(values)) for name, values in results.items()}
    method = "linear probe" if tuning is None else f"fine-tuned for {tuning.epochs} epochs"
    rows = min(rows, len(learn.texts))
    about = {"method": method, "rows": rows, "seeds": seeds}
    return {**about, **spread}


def _fine_tuned(
    encoder: BertModel,
    tokenizer: Tokenizer,
    learn: Labelled,
    judge: Labelled,
    settings: FinetuneSettings,
) -> float:
    classifier = new_classifier(
        encoder, learn.classes, pooling="mean", dropout=0.1, seed=settings.seed
    )
    finetune(classifier, tokenizer, learn, settings)
    return accuracy(classifier, tokenizer, judge, settings.max_length)


def _probe(encoder: BertModel, tokenizer: Tokenizer, learn: Labelled, judge: Labelled) -> float:
    texts = learn.texts + judge.texts
    vectors = torch.from_numpy(embed(encoder, tokenizer, texts, recipe=Recipe()))
    known, asked = vectors[: len(learn.texts)], vectors[len(learn.texts) :]
    mean, deviation = known.mean(0), known.std(0) + 1e-6
    known, asked = (known - mean) / deviation, (asked - mean) / deviation
    return float((_classes_by_line(known, asked, learn, 1e-2) == judge.labels).mean())


def bag_of_words(tokenizer: Tokenizer, learn: Labelled, judge: Labelled) -> float:
    return float((classes_by_words(tokenizer, learn, judge.texts) == judge.labels).mean())


def classes_by_words(tokenizer: Tokenizer, learn: Labelled, texts: Sequence[str]) -> np.ndarray:
    """What logistic regression on the pieces of a text says of each, 1 or 0."""
    # The decay is weighed against a mean over the texts: the more there are, the less it may count.
    known, asked = _bags(tokenizer, learn.texts), _bags(tokenizer, texts)
    return _classes_by_line(known, asked, learn, decay=2 / len(learn.texts))


def _classes_by_line(known: Tensor, asked: Tensor, learn: Labelled, decay: float) -> np.ndarray:
    weight, bias = fit_line(known, torch.from_numpy(learn.labels), decay)
    return (asked @ weight + bias > 0).long().numpy()


def _bags(tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Which pieces a text holds: a row of 0 and 1 for each, of which only the 1 are stored."""
    places = [(row, piece) for row, text in enumerate(texts) for piece in set(tokenizer.ids(text))]
    shape = (len(texts), len(tokenizer))
    at = torch.tensor(places, dtype=torch.long).reshape(-1, 2).T
    return torch.sparse_coo_tensor(at, torch.ones(len(places)), shape, check_invariants=True)
