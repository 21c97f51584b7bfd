"""One class, several labels, or a number, for a text or a pair of texts.

    text -> BERT -> pooler_output (B, H) -> dropout -> classifier -> a score per class (B, C)

The new layer is a matrix of C x H numbers and C biases; nothing else is added. What the scores mean
is the `problem_type`, in transformers' words: softmax over classes that exclude each other, a
sigmoid for each of several labels, or the number itself. On request the layer reads the mean of the
last hidden state instead, which is not in the paper.

From pairs follow two more answers: how well each of some texts fits a query (a model with one
score, a "cross-encoder"), and classes that the model has never seen, by asking one trained on
natural language inference whether the text entails "This example is about sports.".

Source: Devlin et al. 2018, section 4.1; google-research/bert `run_classifier.py`, function
create_model; Nogueira and Cho 2019 (rank); Yin et al. 2019 (zero_shot).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minibert.core.model import BertModel
from minibert.tasks import measures
from minibert.tasks.labelled import Labelled
from minibert.tasks.task import Row, TaskModel, ask, measure, new_model, score_rows, which_are_cut
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.vectors.pooling import mean_pool

# What the classifier reads -> its name in a weights file. The first is transformers' name; it has
# no class that computes the second, so that one has another name there.
POOLINGS = {"pooler": "classifier", "mean": "mean_classifier"}
ONE_CLASS, LABELS, NUMBER = PROBLEM_TYPES = (
    "single_label_classification",
    "multi_label_classification",
    "regression",
)


class BertClassifier(TaskModel):
    """BertModel, dropout, and a linear layer; `classes` are the names of what it tells apart.

    bias  where the scores begin before training; of numbers take their mean, which would cost a
          hundred small steps to reach

    >>> from minibert.core.config import BertConfig
    >>> config = BertConfig(vocab_size=61, hidden_size=20, num_hidden_layers=3,
    ...                     num_attention_heads=4, intermediate_size=44)
    >>> model = BertClassifier(BertModel(config), ["bad", "good"])
    >>> ids = torch.tensor([[2, 5, 3]])
    >>> model(ids, attention_mask=torch.ones_like(ids)).shape
    torch.Size([1, 2])
    """

    architecture = "BertForSequenceClassification"
    reads_pooler = True

    def __init__(
        self,
        bert: BertModel,
        classes: Sequence[str],
        pooling: str = "pooler",
        problem_type: str = ONE_CLASS,
        bias: float = 0.0,
    ):
        if pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, got {pooling!r}")
        if problem_type not in PROBLEM_TYPES:
            raise ValueError(
                f"problem_type must be one of {', '.join(PROBLEM_TYPES)}, got {problem_type!r}"
            )
        if len(classes) < (2 if problem_type == ONE_CLASS else 1):
            raise ValueError(f"expected two or more classes to tell apart, got {list(classes)}")
        super().__init__(bert, len(classes), POOLINGS[pooling])
        if pooling == "pooler" and self.bert.pooler is None:
            raise ValueError('these weights have no pooler: choose pooling "mean"')
        self.classes = list(classes)
        self.pooling = pooling
        self.problem_type = problem_type
        nn.init.constant_(self.classifier.bias, bias)

    def forward(
        self, input_ids: Tensor, *, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """(B, T) -> a score for every class, (B, C)."""
        output = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        if self.pooling == "pooler":
            pooled = output.pooler_output  # (B, H)
        else:
            pooled = mean_pool(output.last_hidden_state, attention_mask)  # (B, H)
        return self.classifier(self.dropout(pooled))  # (B, C)

    def rows(self, tokenizer: Tokenizer, data: Labelled, max_length: int) -> list[Row]:
        """[CLS] text [SEP], or a pair; what is too long is cut, the longer text of a pair first."""
        if not data.texts:
            return []
        batch = tokenizer(
            list(data.texts),
            padding=False, truncation=True, max_length=max_length, return_tensors=None,
            return_token_type_ids=True,
        )  # fmt: skip
        labels = data.labels if data.labels is not None else [None] * len(data.texts)
        cut = which_are_cut(tokenizer, data.texts, batch["input_ids"], max_length)
        columns = zip(batch["input_ids"], batch["token_type_ids"], labels, cut)
        return [
            Row(n, [ids], [segments], label, is_cut=is_cut)
            for n, (ids, segments, label, is_cut) in enumerate(columns)
        ]

    def loss(self, logits: Tensor, labels: Sequence[Any]) -> Tensor:
        """Cross-entropy; of several labels the mean of each one's; of numbers the mean square."""
        truth = torch.as_tensor(np.stack(labels), device=logits.device)
        if self.problem_type == ONE_CLASS:
            return F.cross_entropy(logits, truth)
        function = F.mse_loss if self.problem_type == NUMBER else F.binary_cross_entropy_with_logits
        return function(logits, truth.to(logits.dtype).reshape(logits.shape))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Scores (..., C) -> softmax, sigmoid, or the numbers themselves."""
        if self.problem_type == ONE_CLASS:
            return logits.softmax(dim=-1)
        return logits.sigmoid() if self.problem_type == LABELS else logits

    def answers(
        self, tokenizer: Tokenizer, data: Any, rows: Sequence[Row], logits: Sequence[Tensor]
    ) -> Any:
        """The probability of every class for every text, or the numbers, (N, C)."""
        if not rows:
            return np.zeros((0, len(self.classes)), np.float32)
        return self.probabilities(torch.stack(list(logits))).float().numpy()

    def score(self, answers: Any, data: Labelled) -> dict[str, float]:
        """Accuracy, F1 and Matthews' correlation; of labels micro F1; of numbers Pearson's and
        Spearman's correlation."""
        if self.problem_type == NUMBER:
            return measures.correlations(np.ravel(answers), np.ravel(data.labels))
        if self.problem_type == LABELS:
            return measures.label_scores(np.asarray(answers) > 0.5, np.asarray(data.labels) > 0.5)
        return measures.class_scores(np.argmax(answers, axis=1), data.labels, len(self.classes))

    def check(self, data: Labelled) -> None:
        if self.classes != data.classes:
            raise ValueError(
                f"the model tells {', '.join(self.classes)} apart, the texts are labelled "
                f"{', '.join(data.classes)}: read them with the model's classes, "
                "read_labelled(path, model.classes)"
            )

    def settings(self) -> dict[str, Any]:
        if self.pooling == "mean":
            return {"architectures": ["BertModel"], "problem_type": self.problem_type}
        return {"problem_type": self.problem_type}

    @classmethod
    def from_settings(
        cls, bert: BertModel, config: dict[str, Any], outputs: int, pooling: str = "pooler"
    ) -> "BertClassifier":
        # A file that does not say: transformers gives one output a sigmoid, several a softmax.
        default = ONE_CLASS if outputs > 1 else LABELS
        problem_type = config.get("problem_type") or default
        return cls(bert, classes_of(config, outputs), pooling, problem_type)


def classes_of(config: dict[str, Any], outputs: int) -> list[str]:
    """The names of a model's classes by number: `id2label` of its config.json.

    >>> classes_of({"id2label": {"1": "good", "0": "bad"}}, 2), classes_of({}, 2)
    (['bad', 'good'], ['LABEL_0', 'LABEL_1'])
    """
    names = config.get("id2label") or {str(n): f"LABEL_{n}" for n in range(outputs)}
    if not isinstance(names, dict) or set(names) != {str(n) for n in range(len(names))}:
        raise ValueError(
            f"id2label in config.json must name the classes 0 to {outputs - 1}, got {names!r:.100}"
        )
    return [str(names[str(number)]) for number in range(len(names))]


def new_classifier(
    start: BertModel,
    classes: Sequence[str],
    *,
    pooling: str = "pooler",
    problem_type: str = ONE_CLASS,
    dropout: float | None = None,
    seed: int = 0,
) -> BertClassifier:
    """A copy of a trained BERT under a new classifier, whose first weights the seed draws.

    `dropout` is that of the whole model; None leaves it as the model's config has it.
    """
    return new_model(
        BertClassifier, start, classes, pooling, problem_type, dropout=dropout, seed=seed
    )


def scores_of(
    model: BertClassifier, tokenizer: Tokenizer, texts: Sequence[str | tuple[str, str]]
) -> Tensor:
    """The scores before softmax or sigmoid, (N, C); texts are read as far as the model can."""
    rows = model.rows(tokenizer, Labelled(list(texts), None, model.classes), model.limit(None))
    return torch.stack(score_rows(model, rows, tokenizer.pad_id))


def predict(
    model: BertClassifier,
    tokenizer: Tokenizer,
    texts: Sequence[str | tuple[str, str]],
    max_length: int | None = 128,
) -> np.ndarray:
    """The probability of every class for every text or pair, (N, C), of at most `max_length` tokens
    of it; for a model of numbers, the numbers. In eval mode, whatever mode the model is in."""
    return np.asarray(ask(model, tokenizer, Labelled(list(texts), None, model.classes), max_length))


def accuracy(
    model: BertClassifier, tokenizer: Tokenizer, test: Labelled, max_length: int | None = 128
) -> float:
    """The share of texts whose likeliest class is the right one."""
    return measure(model, tokenizer, test, max_length)["accuracy"]


class Class(NamedTuple):
    """A class with its probability; of a model of numbers, the number."""

    label: str
    score: float


def classify(
    model: BertClassifier, tokenizer: Tokenizer, texts: Sequence[str | tuple[str, str]]
) -> list[list[Class]]:
    """Every class of every text or pair, the likeliest first."""
    answers = predict(model, tokenizer, texts, None)
    return [
        [Class(model.classes[n], float(row[n])) for n in np.argsort(-row, kind="stable")]
        for row in answers
    ]


class Ranked(NamedTuple):
    """The number of a text in the list that was ranked, its score, and the text."""

    number: int
    score: float
    text: str


def rank(
    model: BertClassifier, tokenizer: Tokenizer, query: str, texts: Sequence[str]
) -> list[Ranked]:
    """The texts by how well they fit the query, best first; the model reads both together.

    Raises ValueError if the model has several scores for a pair and not one.
    """
    if len(model.classes) != 1:
        raise ValueError(
            f"this model tells {', '.join(model.classes)} apart: ranking needs one that gives a "
            "pair one score, such as cross-encoder/ms-marco-MiniLM-L6-v2"
        )
    scores = predict(model, tokenizer, [(query, text) for text in texts], None)[:, 0]
    order = np.argsort(-scores, kind="stable").tolist()
    return [Ranked(number, float(scores[number]), texts[number]) for number in order]


def zero_shot(
    model: BertClassifier,
    tokenizer: Tokenizer,
    text: str,
    labels: Sequence[str],
    *,
    template: str = "This example is {}.",
    multi_label: bool = False,
) -> list[Class]:
    """How likely each of some labels is, by whether the text entails the template with it.

    multi_label  each by itself, entailed or contradicted; else they share a probability of 1

    Raises ValueError if the model has no class that begins with "entail", or the template no {}.
    """
    names = [name.lower() for name in model.classes]
    entailed = [n for n, name in enumerate(names) if name.startswith("entail")]
    contradicted = [n for n, name in enumerate(names) if name.startswith("contra")]
    alone = multi_label or len(labels) == 1  # of one label, the share would always be 1
    if not entailed or (alone and not contradicted):
        raise ValueError(
            f"this model tells {', '.join(model.classes)} apart: expected classes named entailment "
            "and contradiction, which models trained on MNLI have"
        )
    if "{}" not in template or not labels:
        raise ValueError('expected at least one label, and a template with {}, such as "It is {}."')
    pairs = [(text, template.format(label)) for label in labels]
    logits = scores_of(model, tokenizer, pairs)  # (N, C)
    if alone:
        scores = logits[:, [contradicted[0], entailed[0]]].softmax(dim=1)[:, 1].numpy()
    else:
        scores = logits[:, entailed[0]].softmax(dim=0).numpy()
    order = np.argsort(-scores, kind="stable").tolist()
    return [Class(labels[number], float(scores[number])) for number in order]
