"""How good answers are: the measures by which the field reports each task. NumPy alone.

Sources: Wang et al. 2018 (GLUE); Tjong Kim Sang and De Meulder 2003 (entities, `conlleval`, as
`seqeval` counts them); Rajpurkar et al. 2016, 2018 (SQuAD, `evaluate-v2.0.py`).
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np


def f1(right: float, said: float, true: float) -> dict[str, float]:
    """Precision, recall and their harmonic mean, from counts; 0 where there is nothing to divide.

    >>> f1(right=1, said=2, true=1)["precision"]
    0.5
    """
    precision = float(right / said) if said else 0.0
    recall = float(right / true) if true else 0.0
    both = precision + recall
    score = 2 * precision * recall / both if both else 0.0
    return {"f1": score, "precision": precision, "recall": recall}


def class_scores(answers: Any, labels: Any, classes: int) -> dict[str, float]:
    """Accuracy, F1 (of class 1 if there are two, else the mean over the classes), and Matthews'
    correlation.

    >>> class_scores([0, 1, 1], [0, 1, 0], 2)["accuracy"]
    0.6666666666666666
    """
    table = np.zeros((classes, classes))  # said, true
    np.add.at(table, (np.asarray(answers), np.asarray(labels)), 1)
    right, said, true = np.diag(table), table.sum(1), table.sum(0)
    each = [f1(*counts)["f1"] for counts in zip(right, said, true)]
    return {
        "accuracy": float(right.sum() / max(1, table.sum())),
        "f1": each[1] if classes == 2 else float(np.mean(each)),
        "matthews": matthews(table),
    }


def matthews(table: np.ndarray) -> float:
    """Matthews' correlation of what was said (rows) with what is true (columns), for any number of
    classes (Gorodkin 2004); 0 if always the same is said, or true.

    >>> matthews(np.array([[3, 0], [0, 5]]))
    1.0
    """
    total, right = table.sum(), np.trace(table)
    said, true = table.sum(1), table.sum(0)
    spread = (total**2 - (said**2).sum()) * (total**2 - (true**2).sum())
    return float((right * total - said @ true) / spread**0.5) if spread else 0.0


def label_scores(answers: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Of several labels a text, (N, C) of 0 and 1: micro F1, and the share of rows wholly right."""
    return {
        **f1((answers & labels).sum(), answers.sum(), labels.sum()),
        "exact": float((answers == labels).all(axis=1).mean()) if len(labels) else 0.0,
    }


def pearson(first: Any, second: Any) -> float:
    """The correlation of two lists of numbers; 0 if one is constant.

    >>> round(pearson([1, 2, 3], [2, 4, 6]), 9)
    1.0
    """
    a, b = (np.asarray(values, np.float64) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    scale = ((a @ a) * (b @ b)) ** 0.5
    return float(a @ b / scale) if scale else 0.0


def ranks(values: Any) -> np.ndarray:
    """The rank of each number, from 1; equal ones share the mean of their ranks.

    >>> ranks([10, 30, 30]).tolist()
    [1.0, 2.5, 2.5]
    """
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[which]


def correlations(answers: Any, labels: Any) -> dict[str, float]:
    """Pearson's correlation, and Spearman's, which is Pearson's of the ranks; and the mean square
    error."""
    error = np.asarray(answers, np.float64) - np.asarray(labels, np.float64)
    return {
        "pearson": pearson(answers, labels),
        "spearman": pearson(ranks(answers), ranks(labels)),
        "mean_square_error": float((error**2).mean()),
    }


# ---- Entities ----


def split_tag(tag: str) -> tuple[str, str]:
    """Prefix and kind of a tag.

    >>> split_tag("B-PER"), split_tag("O"), split_tag("I-date-of-birth")
    (('B', 'PER'), ('O', ''), ('I', 'date-of-birth'))
    """
    prefix, _, kind = tag.partition("-")
    return prefix, kind


def entities_of(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """(kind, first word, behind the last word) of the entities in IOB, IOB2 or BIOES tags.

    An entity that begins with I-, as in IOB or in a slip of the tagger, counts, as in `conlleval`.

    >>> entities_of(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"])
    [('PER', 0, 2), ('LOC', 3, 4), ('LOC', 4, 5)]
    """
    entities = []
    start, last = 0, ("O", "")
    for place, tag in enumerate([*tags, "O"]):
        prefix, kind = split_tag(tag)
        continues = (
            prefix in "IE" and last[0] in "BI" and kind == last[1]
        )  # so that after E and S a new one begins
        if last[0] != "O" and not continues:
            entities.append((last[1], start, place))
        if prefix != "O" and not continues:
            start = place
        last = prefix, kind
    return entities


def tag_scores(
    answers: Sequence[Sequence[str]], truth: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Of entity tags micro F1 over entities, right in kind, first and last word; and the share of
    words with the right tag, which comes first for other tags (parts of speech)."""
    pairs = [(a, t) for said, true in zip(answers, truth) for a, t in zip(said, true, strict=True)]
    accuracy = sum(a == t for a, t in pairs) / max(1, len(pairs))
    if not all(t == "O" or t[:2] in ("B-", "I-", "E-", "S-") for _, t in pairs):
        return {"accuracy": accuracy}
    right = said_count = true_count = 0
    for said, true in zip(answers, truth):
        ours, theirs = set(entities_of(said)), set(entities_of(true))
        right += len(ours & theirs)
        said_count, true_count = said_count + len(ours), true_count + len(theirs)
    return {**f1(right, said_count, true_count), "accuracy": accuracy}


# ---- Answers to questions ----


def plain(answer: str) -> str:
    """An answer as SQuAD compares it: lower case, no punctuation, no articles, single spaces.

    >>> plain("The  U.S. army!")
    'us army'
    """
    kept = "".join(char for char in answer.lower() if char not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def exact_match(answer: str, truth: str) -> float:
    return float(plain(answer) == plain(truth))


def word_f1(answer: str, truth: str) -> float:
    """F1 over the words of two answers, counted as often as they stand; without words: are both?

    >>> word_f1("the cat sat", "A cat")
    0.6666666666666666
    """
    said, true = plain(answer).split(), plain(truth).split()
    if not said or not true:
        return float(said == true)
    common = sum((Counter(said) & Counter(true)).values())
    return f1(common, len(said), len(true))["f1"]


def best_of(measure: Callable[[str, str], float], answer: str, references: Iterable[str]) -> float:
    """The best over several references; a question without an answer has the reference ""."""
    usable = [text for text in references if plain(text)] or [""]
    return max(measure(answer, text) for text in usable)


def squad_scores(answers: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Exact match and F1 in per cent, over all questions, and over those with and without answer.

    >>> squad_scores(["Paris", ""], [["paris.", "the city"], []])["exact"]
    100.0
    """
    exact = np.array([best_of(exact_match, *pair) for pair in zip(answers, references)])
    words = np.array([best_of(word_f1, *pair) for pair in zip(answers, references)])
    has = np.array([len(texts) > 0 for texts in references])
    scores = {"f1": words, "exact": exact}
    result = {name: 100 * float(values.mean()) for name, values in scores.items()}
    if not has.all():
        for kind, chosen in (("answerable", has), ("unanswerable", ~has)):
            for name, values in scores.items():
                if chosen.any():
                    result[f"{name}_{kind}"] = 100 * float(values[chosen].mean())
    return result
