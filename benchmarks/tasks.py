"""Fine-tuning for tasks: how good, from which weights, beside simple baselines and transformers.

    python -m benchmarks.tasks DATA [--examples 400] [--test 300] [--seeds 3] [--only cola ...]
    python -m benchmarks.tasks --table < ROWS    what it printed, as a table in Markdown

DATA holds the folders finetuning/ (cola, sst2, ner, qa) and evaluation/stsb. Both libraries go
through the same loop, from the same weights, new layer included, over the same batches; each seed
draws the examples anew. A step is timed in seconds of the processor, which other programs disturb
less than the clock. Prints a row when it is measured, as JSON.
"""

import argparse
import json
import random
import sys
import time
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

MEASURES = {
    "classification": ("accuracy",),
    "regression": ("pearson", "spearman"),
    "tokens": ("f1",),
    "questions": ("f1", "exact"),
}
LIBRARIES = ("minibert", "transformers")
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
    """The first four fifths, and the rest: of questions by their texts, in the file's order."""
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
            "majority: accuracy": majority(train, test),
            "bag of words: accuracy": bag_of_words(tokenizer, train, test),
        }
    if task == "regression":
        shared = [
            len(a & b) / max(1, len(a | b))
            for a, b in ((set(x.lower().split()), set(y.lower().split())) for x, y in test.texts)
        ]
        scores = correlations(shared, test.labels)
        return {f"shared words: {measure}": value for measure, value in scores.items()}
    if task == "tokens":
        return {"commonest tag of a word: f1": _commonest(train, test)}
    said = [" ".join(question.context.split()[:3]) for question in test]
    scores = squad_scores(said, [[text for text, _ in q.answers] for q in test])
    return {f"first words: {measure}": scores[measure] for measure in MEASURES[task]}


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
    wanted = MEASURES[task] if name != "cola" else ("matthews", "accuracy")
    for seed in range(arguments.seeds):
        learn = draw(train, arguments.examples, seed)
        settings = FinetuneSettings(
            epochs=arguments.epochs, batch_size=16, learning_rate=rate, max_length=length, seed=seed
        )
        about = TASKS[task].about(train)
        for library in LIBRARIES[: 1 if arguments.alone else 2]:
            ours = new_model(TASKS[task].kind, bert.model, seed=seed, dropout=0.1, **about)
            model: Any = ours if library == "minibert" else Peer(ours)
            start_time = time.process_time()
            losses = finetune(model, bert.tokenizer, learn, settings)
            seconds = (time.process_time() - start_time) / len(losses)
            values[f"{library}: seconds a step"].append(seconds)
            scores = measure(model, bert.tokenizer, test, length)
            for key in wanted:
                values[f"{library}: {key}"].append(scores[key])
        for baseline, value in baselines(task, learn, test, bert.tokenizer).items():
            values[baseline].append(value)
    spread = {who: [round(v, 4) for v in Spread.of(each)] for who, each in values.items()}
    sizes = {"examples": len(learn if isinstance(learn, list) else learn[0]), "test": len(
        test if isinstance(test, list) else test[0])}  # fmt: skip
    about = {"set": name, "from": start, "seeds": arguments.seeds, **sizes}
    return {**about, "epochs": arguments.epochs, "rate": rate, "length": length, **spread}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """What was printed, as Markdown: a line for each measure."""
    lines = [
        "| set | from | examples, epochs | test | measure | minibert | transformers | "
        "without a BERT | step: transformers / minibert |",
        "|" + "---|" * 9,
    ]
    for row in rows:
        ours = [key for key in row if key.startswith("minibert: ")]
        seconds = [row.get(f"{who}: seconds a step", [0.0])[0] for who in LIBRARIES]
        for key in ours[1:]:
            measure = key.split(": ")[1]
            baselines = [
                f"{who} {_spread(value)}"
                for who, _, what in (name.partition(": ") for name in row)
                if what == measure and who not in LIBRARIES
                for value in [row[f"{who}: {what}"]]
            ]
            cells = [
                row["set"], row["from"], f"{row['examples']}, {row['epochs']}", row["test"],
                measure, _spread(row[key]), _spread(row.get(f"transformers: {measure}")),
                "; ".join(baselines), f"{seconds[1] / seconds[0]:.2f}" if seconds[1] else "",
            ]  # fmt: skip
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _spread(value: Sequence[float] | None) -> str:
    return "" if value is None else f"{value[0]:.3g} ± {value[1]:.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--table", action="store_true", help="rows on standard input as Markdown")
    parser.add_argument("--examples", type=int, default=400)
    parser.add_argument("--test", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(sets(Path())))
    parser.add_argument("--alone", action="store_true", help="without transformers beside")
    parser.add_argument("--start", nargs="*", default=list(STARTS), choices=STARTS)
    arguments = parser.parse_args()
    if arguments.table:
        print(table([json.loads(line) for line in sys.stdin]))
        return
    if arguments.data is None:
        parser.error("expected the folder of the data")
    torch.set_num_threads(1)
    for start in arguments.start:
        for name in arguments.only:
            print(json.dumps(run(name, start, arguments)), flush=True)


if __name__ == "__main__":
    main()
