"""Fine-tuning for tasks: how good, from which weights, beside simple baselines and transformers.

    python -m benchmarks.tasks DATA [--examples 400] [--test 300] [--seeds 3] [--only cola ...]

DATA holds the folders finetuning/ (cola, sst2, ner, qa) and evaluation/stsb. Both libraries go
through the same loop, from the same weights, new layer included, over the same batches; each seed
draws the examples anew. Nothing is timed. Prints a row when it is measured, as JSON.
"""

import argparse
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import minibert
from benchmarks.measured_models import MINILM
from minibert.core.heads import BertForPreTraining
from minibert.tasks.by_name import TASKS
from minibert.tasks.measures import correlations, squad_scores, tag_scores
from minibert.tasks.task import TaskModel, measure, new_model
from minibert.tasks.tokens import Tagged
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.training.evaluate_sentiment import bag_of_words
from minibert.training.finetune import Spread, finetune, majority
from minibert.training.settings import FinetuneSettings
from minibert.weights.loading import hugging_face_state

STARTS = {"minibert-tiny": ("minibert-tiny", 5e-4), "MiniLM": (MINILM, 1e-4)}


class Peer(nn.Module):
    """transformers' class of the same task with the same weights, for our loop."""

    def __init__(self, ours: TaskModel):
        import transformers

        super().__init__()
        about = {"num_labels": len(ours.classes)} if hasattr(ours, "classes") else {}
        problem = getattr(ours, "problem_type", None)
        config = transformers.BertConfig(
            **ours.bert.config.to_dict(), problem_type=problem, **about
        )
        self.theirs = getattr(transformers, ours.architecture)(config)
        encoder = hugging_face_state(BertForPreTraining(ours.bert, False, False))
        state = {f"bert.{key}": tensor for key, tensor in encoder.items()}
        new = ours.classifier.state_dict()
        state |= {f"{ours.layer}.{leaf}": tensor for leaf, tensor in new.items()}
        self.theirs.load_state_dict(state)
        self.bert = self.theirs.bert
        self.classifier = getattr(self.theirs, ours.layer)
        for name in ("rows", "loss", "answers", "score", "check", "limit", "per_token", "length"):
            setattr(self, name, getattr(ours, name))
        self.train_length, self.device = ours.train_length, ours.device

    def forward(self, input_ids: Tensor, **inputs: Tensor) -> Tensor:
        output = self.theirs(input_ids, **inputs)
        if "logits" in output:
            return output.logits
        return torch.stack([output.start_logits, output.end_logits], dim=-1)


def draw(data: Any, count: int, seed: int) -> Any:
    """So many examples, drawn by the seed."""
    size = len(data) if isinstance(data, list) else len(data[0])
    chosen = random.Random(seed).sample(range(size), min(count, size))
    if isinstance(data, list):
        return [data[n] for n in chosen]
    texts, labels = data[0], data[1]
    own = labels[chosen] if isinstance(labels, np.ndarray) else [labels[n] for n in chosen]
    return data._replace(**{data._fields[0]: [texts[n] for n in chosen], "labels": own})


def halves(data: Any) -> tuple[Any, Any]:
    """The first four fifths, and the rest: of questions by the article."""
    if isinstance(data, list):
        contexts = list(dict.fromkeys(question.context for question in data))
        first = set(contexts[: 4 * len(contexts) // 5])
        return (
            [question for question in data if question.context in first],
            [question for question in data if question.context not in first],
        )
    cut = 4 * len(data[0]) // 5
    names = data._fields[:2]
    return (
        data._replace(**{name: getattr(data, name)[:cut] for name in names}),
        data._replace(**{name: getattr(data, name)[cut:] for name in names}),
    )


def baselines(task: str, train: Any, test: Any, tokenizer: Tokenizer) -> dict[str, float]:
    """What is had without a BERT."""
    if task == "classification":
        return {
            "majority": majority(train, test),
            "bag of words": bag_of_words(tokenizer, train, test),
        }
    if task == "regression":
        shared = [
            len(a & b) / max(1, len(a | b))
            for a, b in ((set(x.lower().split()), set(y.lower().split())) for x, y in test.texts)
        ]
        return {"shared words": correlations(shared, test.labels)["pearson"]}
    if task == "tokens":
        return {"commonest tag of a word": _commonest(train, test)}
    said = [" ".join(question.context.split()[:3]) for question in test]
    return {"first words": squad_scores(said, [[t for t, _ in q.answers] for q in test])["f1"]}


def _commonest(train: Tagged, test: Tagged) -> float:
    counts: dict[str, Counter] = defaultdict(Counter)
    for words, labels in zip(train.sentences, train.labels or ()):
        for word, label in zip(words, labels):
            counts[word][label] += 1
    said = [
        [train.classes[counts[w].most_common(1)[0][0]] if w in counts else "O" for w in words]
        for words in test.sentences
    ]
    truth = [[test.classes[label] for label in labels] for labels in test.labels or ()]
    return tag_scores(said, truth)["f1"]


def sets(data: Path) -> dict[str, tuple[str, Callable[[], tuple[Any, Any]]]]:
    """Name -> task, and what reads its training and test examples."""
    tuning = data / "finetuning"

    def table(name: str, train: str, test: str, columns: Sequence[str] = ()) -> Any:
        first = TASKS[name].read(data / train, None, columns)
        return first, TASKS[name].read(data / test, TASKS[name].about(first)["classes"], columns)

    cola, sst2 = "finetuning/cola/in_domain", "finetuning/sst2"
    wnut = "finetuning/ner/wnut17"
    return {
        "cola": ("classification",
                 lambda: table("classification", f"{cola}_train.tsv", f"{cola}_dev.tsv", "24")),
        "sst2": ("classification",
                 lambda: table("classification", f"{sst2}/train.tsv", f"{sst2}/dev.tsv")),
        "stsb": ("regression", lambda: table("regression", "evaluation/stsb/train.csv",
                                             "evaluation/stsb/dev.csv", "312")),
        "wnut17": ("tokens", lambda: table("tokens", f"{wnut}/train.conll", f"{wnut}/test.conll")),
        "wikigold": ("tokens", lambda: halves(
            TASKS["tokens"].read(tuning / "ner/wikigold/wikigold.conll.txt", None, ()))),
        "xquad": ("questions", lambda: halves(
            TASKS["questions"].read(tuning / "qa/xquad.en.json", None, ()))),
    }  # fmt: skip


def run(name: str, start: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """All seeds of one set from one model."""
    task, read = sets(arguments.data)[name]
    train, test = read()
    test = draw(test, arguments.test, 0)
    source, rate = STARTS[start]
    bert = minibert.load(source)
    length = 192 if task == "questions" else 64
    values: dict[str, list[float]] = defaultdict(list)
    key = "matthews" if name == "cola" else ""
    for seed in range(arguments.seeds):
        learn = draw(train, arguments.examples, seed)
        settings = FinetuneSettings(
            epochs=arguments.epochs, batch_size=16, learning_rate=rate, max_length=length, seed=seed
        )
        about = TASKS[task].about(train)
        for library in ("minibert", "transformers"):
            ours = new_model(TASKS[task].kind, bert.model, seed=seed, dropout=0.1, **about)
            model: Any = ours if library == "minibert" else Peer(ours)
            finetune(model, bert.tokenizer, learn, settings)
            scores = measure(model, bert.tokenizer, test, length)
            values[library].append(scores[key or next(iter(scores))])
        for baseline, value in baselines(task, learn, test, bert.tokenizer).items():
            values[f"{baseline}, accuracy" if key else baseline].append(value)
    measures = key or next(iter(scores))
    spread = {who: [round(v, 4) for v in Spread.of(each)] for who, each in values.items()}
    sizes = {"examples": len(learn if isinstance(learn, list) else learn[0]), "test": len(
        test if isinstance(test, list) else test[0])}  # fmt: skip
    about = {"set": name, "from": start, "measure": measures, "seeds": arguments.seeds, **sizes}
    return {**about, "epochs": arguments.epochs, "rate": rate, "length": length, **spread}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--examples", type=int, default=400)
    parser.add_argument("--test", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(sets(Path())))
    parser.add_argument("--start", nargs="*", default=list(STARTS), choices=STARTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for start in arguments.start:
        for name in arguments.only:
            print(json.dumps(run(name, start, arguments)), flush=True)


if __name__ == "__main__":
    main()
