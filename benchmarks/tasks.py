"""Fine-tuning for tasks: how good, from which weights, beside simple baselines and transformers.

    python -m benchmarks.tasks DATA > rows         every set from every model, as RECIPES says
    python -m benchmarks.tasks DATA --only cola --start MiniLM --rate 3e-5 --seeds 0
    python -m benchmarks.tasks DATA --rounds 100   what a step costs
    python -m benchmarks.tasks --table < rows      what was printed, as a table in Markdown

DATA holds the folders finetuning/ (cola, sst2, ner, qa) and evaluation/stsb. Both libraries go
through the same loop, from the same weights, new layer included, over the same batches; each seed
draws the examples anew. A row is printed when it is measured, as JSON: one for each seed.

What a step costs is measured by itself: the same steps of both libraries in turns, in seconds of
the processor, which other programs disturb less than the clock; and how many operations they are.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

import minibert
from benchmarks.measure import interleaved, ratio, summary
from benchmarks.measured_models import MINILM
from minibert.bert import Bert
from minibert.tasks.by_name import TASKS
from minibert.tasks.measures import class_scores, correlations, squad_scores, tag_scores
from minibert.tasks.saved import task_state
from minibert.tasks.task import TaskModel, measure, new_model
from minibert.tasks.tokens import Tagged
from minibert.training.evaluate_sentiment import classes_by_words
from minibert.training.finetune import Spread, finetune, training_step
from minibert.training.settings import FinetuneSettings
from minibert.training.step import make_optimizer

MEASURES = {
    "classification": ("accuracy", "matthews"),
    "regression": ("pearson", "spearman"),
    "tokens": ("f1",),
    "questions": ("f1", "exact"),
}
STARTS: dict[str, str | Path] = {"minibert-tiny": "minibert-tiny", "MiniLM": MINILM}


class Recipe(NamedTuple):
    """What is learned from, and how; `rate` is the highest learning rate, `pooling` what the layer
    for texts reads. transformers has no class that reads the mean, so it is not beside that."""

    examples: int
    epochs: int
    rate: float
    pooling: str = "pooler"


RECIPES = {
    "minibert-tiny": {
        "sst2": Recipe(400, 3, 5e-4),
        "cola": Recipe(400, 3, 5e-4),
        "stsb": Recipe(400, 3, 5e-4),
        "wnut17": Recipe(320, 4, 5e-4),
        "wikigold": Recipe(320, 4, 5e-4),
        "xquad": Recipe(96, 3, 5e-4),
    },
    "MiniLM": {
        "sst2": Recipe(192, 3, 2e-4),
        "cola": Recipe(400, 3, 2e-4),
        "stsb": Recipe(192, 3, 2e-4),
        "wnut17": Recipe(400, 4, 2e-4),
        "wikigold": Recipe(192, 4, 2e-4),
        "xquad": Recipe(96, 3, 2e-4),
    },
}


class Peer(nn.Module):
    """transformers' class of the same task with the same weights, for our loop."""

    def __init__(self, ours: TaskModel):
        import transformers

        super().__init__()
        about: dict[str, Any] = (
            {"num_labels": len(ours.classes)} if hasattr(ours, "classes") else {}
        )
        problem = getattr(ours, "problem_type", None)
        config = transformers.BertConfig(
            **ours.bert.config.to_dict(), problem_type=problem, **about
        )
        self.theirs = getattr(transformers, ours.architecture)(config)
        self.theirs.load_state_dict(task_state(ours))
        self.bert = self.theirs.bert
        self.classifier = getattr(self.theirs, ours.layer)
        for name in (
            "rows", "loss", "answers", "score", "check", "limit", "per_token", "length",
            "train_length", "device", "way",
        ):  # fmt: skip
            setattr(self, name, getattr(ours, name))

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


def by_sentence(path: Path) -> tuple[Tagged, Tagged]:
    """The first four fifths of a file's sentences, and the rest."""
    data = TASKS["tokens"].read(path, None, ())
    cut = 4 * len(data.sentences) // 5
    parts = [
        {name: getattr(data, name)[part] for name in ("sentences", "labels")}
        for part in (slice(cut), slice(cut, None))
    ]
    return data._replace(**parts[0]), data._replace(**parts[1])


def by_article(path: Path) -> tuple[list[Any], list[Any]]:
    """The questions on the first four fifths of a SQuAD file's articles, and those on the rest."""
    questions = TASKS["questions"].read(path, None, ())
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    rest = {
        paragraph["context"]
        for article in articles[4 * len(articles) // 5 :]
        for paragraph in article["paragraphs"]
    }
    return (
        [question for question in questions if question.context not in rest],
        [question for question in questions if question.context in rest],
    )


def baselines(task: str, train: Any, test: Any, bert: Bert) -> dict[str, dict[str, float]]:
    """What is had without training a BERT: name -> measures."""
    if task == "classification":
        commonest = np.full(len(test.labels), np.bincount(train.labels).argmax())
        said = {
            "majority": commonest,
            "bag of words": classes_by_words(bert.tokenizer, train, test.texts),
        }
        return {who: class_scores(each, test.labels, 2) for who, each in said.items()}
    if task == "regression":
        shared = [
            len(a & b) / max(1, len(a | b))
            for a, b in ((set(x.lower().split()), set(y.lower().split())) for x, y in test.texts)
        ]
        first, second = (bert.embed(side, normalize=True) for side in zip(*test.texts))
        alike = {"shared words": shared, "cosine of its vectors": (first * second).sum(1)}
        return {who: correlations(each, test.labels) for who, each in alike.items()}
    if task == "tokens":
        return {"commonest tag of a word": _commonest(train, test)}
    first_words = [" ".join(question.context.split()[:3]) for question in test]
    truth = [[text for text, _ in question.answers] for question in test]
    return {"first words": squad_scores(first_words, truth)}


def _commonest(train: Tagged, test: Tagged) -> dict[str, float]:
    counts: dict[str, Counter] = defaultdict(Counter)
    for words, labels in zip(train.sentences, train.labels or ()):
        for word, label in zip(words, labels):
            counts[word][label] += 1
    said = [
        [train.classes[counts[w].most_common(1)[0][0]] if w in counts else "O" for w in words]
        for words in test.sentences
    ]
    truth = [[test.classes[label] for label in labels] for labels in test.labels or ()]
    return tag_scores(said, truth)


def sets(data: Path) -> dict[str, tuple[str, Callable[[], tuple[Any, Any]]]]:
    """Name -> task, and what reads its training and test examples."""
    tuning = data / "finetuning"

    def table(name: str, train: str, test: str, columns: Sequence[str] = ()) -> Any:
        first = TASKS[name].read(data / train, None, columns)
        return first, TASKS[name].read(data / test, TASKS[name].about(first)["classes"], columns)

    cola, sst2 = "finetuning/cola/in_domain", "finetuning/sst2"
    wnut = "finetuning/ner/wnut17"
    return {
        "sst2": ("classification",
                 lambda: table("classification", f"{sst2}/train.tsv", f"{sst2}/dev.tsv")),
        "cola": ("classification",
                 lambda: table("classification", f"{cola}_train.tsv", f"{cola}_dev.tsv", "24")),
        "stsb": ("regression", lambda: table("regression", "evaluation/stsb/train.csv",
                                             "evaluation/stsb/dev.csv", "312")),
        "wikigold": ("tokens", lambda: by_sentence(tuning / "ner/wikigold/wikigold.conll.txt")),
        "wnut17": ("tokens", lambda: table("tokens", f"{wnut}/train.conll", f"{wnut}/test.conll")),
        "xquad": ("questions", lambda: by_article(tuning / "qa/xquad.en.json")),
    }  # fmt: skip


def run(name: str, start: str, recipe: Recipe, arguments: argparse.Namespace) -> None:
    """All seeds of one set from one model; prints a row for each."""
    task, read = sets(arguments.data)[name]
    train, test = read()
    test = draw(test, arguments.test, 0)
    bert = minibert.load(STARTS[start])
    for seed in arguments.seeds:
        learn = draw(train, recipe.examples, seed)
        size = len(learn if isinstance(learn, list) else learn[0])
        row: dict[str, Any] = {
            "set": name, "from": start, "seed": seed,
            **recipe._replace(examples=size)._asdict(),
            "test": len(test if isinstance(test, list) else test[0]),
        }  # fmt: skip
        row["baselines"] = _rounded(baselines(task, learn, test, bert))
        settings = _settings(name, recipe, seed)
        about = TASKS[task].about(learn if task == "regression" else train)
        if "problem_type" in about:
            about["pooling"] = recipe.pooling
        ours = new_model(TASKS[task].kind, bert.model, seed=seed, dropout=0.1, **about)
        models: dict[str, Any] = {"minibert": ours}
        if seed < arguments.beside and recipe.pooling == "pooler":
            models["transformers"] = Peer(ours)
        for library, model in models.items():
            began = time.process_time()
            losses = finetune(model, bert.tokenizer, learn, settings)
            seconds = time.process_time() - began
            scores = measure(model, bert.tokenizer, test, settings.max_length)
            row[library] = scores
            row |= {"steps": len(losses), f"{library}: seconds": round(seconds, 1)}
            row[f"{library}: losses"] = [
                round(float(np.mean(part)), 3) for part in np.array_split(losses, 4)
            ]
        print(json.dumps(row), flush=True)


def _settings(name: str, recipe: Recipe, seed: int) -> FinetuneSettings:
    return FinetuneSettings(
        epochs=recipe.epochs, batch_size=16, learning_rate=recipe.rate,
        max_length=192 if name == "xquad" else 64, seed=seed,
    )  # fmt: skip


def _rounded(scores: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    return {
        who: {key: round(value, 4) for key, value in each.items()} for who, each in scores.items()
    }


def step_costs(name: str, start: str, recipe: Recipe, arguments: argparse.Namespace) -> None:
    """The same steps of both libraries in turns; prints the median cost and the median ratio."""
    task, read = sets(arguments.data)[name]
    train, _ = read()
    bert = minibert.load(STARTS[start])
    ours = new_model(TASKS[task].kind, bert.model, dropout=0.1, **TASKS[task].about(train))
    settings = _settings(name, recipe, 0)
    rows = ours.rows(bert.tokenizer, draw(train, 16 * 8, 0), settings.max_length or 64)[: 16 * 8]
    batches = [rows[at : at + 16] for at in range(0, len(rows), 16)]

    def steps_of(model: Any) -> Callable[[], float]:
        optimizer = make_optimizer(model.train(), settings.schedule(len(rows)))
        turns = cycle(batches)
        return lambda: training_step(model, optimizer, next(turns), bert.tokenizer.pad_id, settings)

    steps = {"transformers": steps_of(Peer(ours)), "minibert": steps_of(ours)}
    counts = {who: operations(step, len(batches)) for who, step in steps.items()}
    times = interleaved(steps, arguments.rounds, clock=time.process_time)
    row: dict[str, Any] = {"set": name, "from": start, "rounds": arguments.rounds}
    row |= {f"{who}: ms": round(1000 * summary(times[who]).median, 2) for who in times}
    row |= {f"{who}: operations": count for who, count in counts.items()}
    costs = ratio(times, "minibert", "transformers")
    print(json.dumps({**row, "ratio": [round(value, 3) for value in costs]}), flush=True)


def operations(step: Callable[[], object], steps: int) -> int:
    """How many operations of torch some steps take, which no other program disturbs."""
    with profile(activities=[ProfilerActivity.CPU]) as report:
        for _ in range(steps):
            step()
    return sum(event.count for event in report.key_averages() if event.key.startswith("aten::"))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """What was printed, as Markdown: a line for each measure of a set from a model."""
    lines = [
        "| set | from | examples, epochs, rate | test | seeds | measure | minibert | transformers: "
        "largest difference, seeds | without training |",
        "|" + "---|" * 9,
    ]
    groups: dict[tuple, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        key = ("set", "from", "examples", "epochs", "rate", "pooling", "test")
        groups[tuple(row[name] for name in key)].append(row)
    for (name, start, examples, epochs, rate, pooling, test), seeds in groups.items():
        beside = [row for row in seeds if "transformers" in row]
        for what in MEASURES[sets(Path())[name][0]]:
            differences = [abs(row["minibert"][what] - row["transformers"][what]) for row in beside]
            without = [
                f"{who} {_spread([row['baselines'][who][what] for row in seeds])}"
                for who in seeds[0]["baselines"]
            ]
            cells = [
                name, f"{start}, mean" if pooling == "mean" else start,
                f"{examples}, {epochs}, {rate:g}", test, len(seeds), what,
                _spread([row["minibert"][what] for row in seeds]),
                f"{max(differences):.2g}, {len(beside)}" if beside else "not run",
                "; ".join(without),
            ]  # fmt: skip
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    spread = Spread.of(values)
    return f"{spread.mean:.3g}" + (f" ± {spread.deviation:.2g}" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--table", action="store_true", help="rows on standard input as Markdown")
    parser.add_argument("--rounds", type=int, help="measure what a step costs, so many times")
    parser.add_argument("--examples", type=int, help="instead of what RECIPES says")
    parser.add_argument("--epochs", type=int, help="the same")
    parser.add_argument("--rate", type=float, help="the same")
    parser.add_argument("--pooling", choices=("pooler", "mean"), help="the same")
    parser.add_argument("--test", type=int, default=500, help="test examples, at most (500)")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2], help="(0 1 2)")
    parser.add_argument("--beside", type=int, default=3, metavar="N",
                        help="transformers beside seeds below it (3)")  # fmt: skip
    parser.add_argument("--only", nargs="*", default=list(sets(Path())), metavar="SET")
    parser.add_argument("--start", nargs="*", default=list(STARTS), choices=STARTS)
    arguments = parser.parse_args()
    if arguments.table:
        print(table([json.loads(line) for line in sys.stdin]))
        return
    if arguments.data is None:
        parser.error("expected the folder of the data")
    torch.set_num_threads(1)
    asked = {name: getattr(arguments, name) for name in Recipe._fields}
    changes = {name: value for name, value in asked.items() if value is not None}
    for start in arguments.start:
        for name in arguments.only:
            recipe = RECIPES[start][name]._replace(**changes)
            (step_costs if arguments.rounds else run)(name, start, recipe, arguments)


if __name__ == "__main__":
    main()
