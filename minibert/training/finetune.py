"""Fine-tuning: train a BERT under a new classifier, all of it, on labelled texts.

What BERT knows was learned without a single label, and it is only nudged: a learning rate some
twenty times smaller than in pretraining (in the paper two to five times), and a few passes over
the texts. The optimizer and the warm-up are those of pretraining.

One run tells little. The new layer's first weights and the order of the texts move the accuracy by
a point or more, so a result is the mean over several seeds, with its deviation.

Source: Devlin et al. 2018, section 4.1 and appendix A.3.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from minibert.tasks.classification import BertClassifier, classifier_batch, num_tokens, predict
from minibert.tasks.labelled import Labelled, batches_by_length
from minibert.tokenizer.batch import Batch
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.training.settings import FinetuneSettings
from minibert.training.step import learning_rate, make_optimizer


def finetune(
    model: BertClassifier,
    tokenizer: Tokenizer,
    train: Labelled,
    settings: FinetuneSettings | None = None,
    *,
    progress: bool = False,
) -> list[float]:
    """Train the model in place, and leave it in eval mode. Gives the loss of every step.

    Raises ValueError if the texts have other classes than the model, or the loss is NaN.
    """
    settings = settings or FinetuneSettings()
    _check_classes(model, train)
    schedule = settings.schedule(len(train.texts))
    longest = min(settings.max_length, model.bert.config.max_position_embeddings)
    lengths = num_tokens(tokenizer, train.texts, longest)
    model.bert.requires_grad_(not settings.freeze)
    model.train()
    if settings.freeze:
        model.bert.eval()  # no dropout in it: it says the same of a text every time
    optimizer = make_optimizer(model, schedule)
    order = np.random.default_rng(settings.seed)
    torch.manual_seed(settings.seed)
    losses: list[float] = []
    with tqdm(total=schedule.steps, unit="step", disable=not progress) as bar:
        for _ in range(settings.epochs):
            for chosen in batches_by_length(lengths, settings.batch_size, order):
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(len(losses), schedule)
                texts = [train.texts[number] for number in chosen]
                batch = classifier_batch(tokenizer, texts, longest)
                labels = torch.from_numpy(train.labels[chosen])
                losses.append(classifier_step(model, optimizer, batch, labels, settings))
                if not math.isfinite(losses[-1]):
                    raise ValueError(
                        f"the loss is {losses[-1]} in step {len(losses)}: try a smaller "
                        "learning_rate, or other weights to start from"
                    )
                bar.update()
                bar.set_postfix(loss=f"{np.mean(losses[-50:]):.3f}")
    model.eval()
    return losses


def classifier_step(
    model: BertClassifier,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    labels: Tensor,
    settings: FinetuneSettings,
) -> float:
    """One step: scores, loss, gradient, weights. Gives the mean loss of the batch, in nats."""
    weight = model.classifier.weight
    with torch.autocast(weight.device.type, torch.bfloat16, enabled=settings.bf16):
        scores = model(**batch.to(weight.device))
    loss = F.cross_entropy(scores.to(weight.dtype), labels.to(weight.device))
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def accuracy(
    model: BertClassifier, tokenizer: Tokenizer, test: Labelled, max_length: int = 128
) -> float:
    """The share of texts whose likeliest class is the right one."""
    _check_classes(model, test)
    answers = predict(model, tokenizer, test.texts, max_length).argmax(axis=1)
    return float((answers == test.labels).mean())


def _check_classes(model: BertClassifier, texts: Labelled) -> None:
    if model.classes != texts.classes:
        raise ValueError(
            f"the model tells {', '.join(model.classes)} apart, the texts are labelled "
            f"{', '.join(texts.classes)}: read them with the model's classes, "
            "read_labelled(path, model.classes)"
        )


def majority(train: Labelled, test: Labelled) -> float:
    """The accuracy of one who always says the commonest class of the training texts."""
    return float((test.labels == np.bincount(train.labels).argmax()).mean())


class Spread(NamedTuple):
    """Mean and standard deviation of a measure over several seeds.

    >>> print(Spread.of([0.7, 0.8, 0.9]))
    80.0 % ± 10.0 %
    """

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
        return cls(float(np.mean(values)), float(deviation))

    def __str__(self) -> str:
        return f"{self.mean:.1%} ± {self.deviation:.1%}".replace("%", " %")
