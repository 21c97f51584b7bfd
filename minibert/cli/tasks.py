"""The commands of tasks: train a model for one, apply it, measure it."""

import argparse
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minibert.cli.options import (
    add_command,
    add_model,
    add_threads,
    is_terminal,
    load_model,
    print_json,
    standard_input,
)
from minibert.cli.settings import add_settings, read_settings
from minibert.system.lines import decode_lines
from minibert.training.settings import FinetuneSettings

if TYPE_CHECKING:
    from minibert.bert import Bert

NAMES = ("classification", "multi-label", "regression", "tokens", "questions", "choices")
LINES = 256  # that are answered together


def add_commands(commands: Any) -> None:
    """Add `finetune` and `predict`; `evaluate` stands with the other measures, in training.py."""
    _add_finetune(commands)
    _add_predict(commands)


def add_columns(parser: Any) -> None:
    """--columns: which of a table's columns are label and texts."""
    parser.add_argument(
        "--columns",
        default="",
        metavar="LABEL,TEXT",
        help="of a table, and of pairs a third: names in its header, or numbers from 1 if it has "
        "none (CoLA: 2,4)",
    )


def _columns(arguments: argparse.Namespace) -> list[str]:
    return [name for name in arguments.columns.split(",") if name]


def _add_finetune(commands: Any) -> None:
    p = add_command(
        commands,
        finetune,
        "finetune",
        "train a pretrained model for a task; the same command goes on after a stop",
        "minibert finetune train.tsv --dev dev.tsv -m minibert-tiny --learning-rate 3e-4 -o moods",
        "minibert finetune train.conll --task tokens --dev dev.conll -m BERT --seeds 3 -o tagger",
        "minibert finetune train.json --task questions --dev dev.json -m BERT -o reader",
        "minibert finetune train.tsv --dev dev.tsv -m BERT --freeze --learning-rate 1e-2 -o probe",
    )
    p.add_argument("file", metavar="TRAIN", help="classification, multi-label, regression: .tsv, "
                   ".csv or .jsonl; tokens: CoNLL; questions: SQuAD's .json; choices: SWAG's .csv "
                   "or .jsonl")  # fmt: skip
    p.add_argument("--task", default="classification", choices=NAMES, help="(%(default)s)")
    p.add_argument("--dev", metavar="DEV", help="the same, to measure on after each epoch")
    p.add_argument("-o", "--output", required=True, metavar="OUT", help="a new folder")
    p.add_argument("--curves", metavar="OUT.svg", help="draw the log, as .svg or .html")
    add_columns(p)
    add_model(p)
    p.add_argument("--dropout", type=float, default=0.1, metavar="P", help="(0.1)")
    p.add_argument("--pooling", default="pooler", help="of texts: pooler, or mean (%(default)s)")
    add_settings(p, FinetuneSettings)
    p.add_argument("--seeds", type=int, default=1, metavar="N", help="runs, each with its own (1)")
    add_threads(p)


def finetune(arguments: argparse.Namespace) -> None:
    import torch

    from minibert.system.memory import keep_memory
    from minibert.system.processes import Stop
    from minibert.tasks.by_name import TASKS
    from minibert.tasks.task import TaskModel, new_model
    from minibert.training.curves import check_matplotlib, finetune_curves
    from minibert.training.finetune import SeedResult, Spread, finetune_seeds, majority
    from minibert.view.picture import check_name, picture_of

    if arguments.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {arguments.seeds}")
    if arguments.patience is not None and not arguments.dev:
        raise ValueError("--patience waits for a better score on --dev DEV: give that, too")
    if arguments.curves:
        check_name(Path(arguments.curves))
        check_matplotlib()
    keep_memory()
    task = TASKS[arguments.task]
    train = task.read(arguments.file, None, _columns(arguments))
    about = task.about(train)
    dev = None
    if arguments.dev:
        dev = task.read(arguments.dev, about.get("classes"), _columns(arguments))
    if "problem_type" in about:
        about["pooling"] = arguments.pooling
    bert = load_model(arguments, arguments.threads)
    bert.model.to("cuda" if torch.cuda.is_available() else "cpu")
    settings: FinetuneSettings = read_settings(FinetuneSettings, arguments)

    def new(seed: int) -> TaskModel:
        return new_model(task.kind, bert.model, dropout=arguments.dropout, seed=seed, **about)

    def report(result: SeedResult) -> None:
        if not result.final:
            print(f"seed {result.seed}: loss {result.losses[-1]:.4f} in the last step")
            return
        print(f"seed {result.seed}: {_in_line(result.final)}", flush=True)
        if not result.final.get("matthews", next(iter(result.final.values()))):
            print(
                "   perhaps the same answer to everything: try a smaller --learning-rate if the "
                "loss rose, a larger one if it hardly fell"
            )

    try:
        results = finetune_seeds(
            new, bert.tokenizer, train, dev, settings, arguments.output,
            seeds=arguments.seeds, progress=is_terminal(), report=report,
        )  # fmt: skip
    except Stop:
        print("minibert: saved. The same command goes on from there", file=sys.stderr)
        raise
    if dev is not None and len(results) > 1:
        name = next(iter(results[0].final))
        spread = Spread.of([result.final[name] for result in results])
        shown = str(spread) if spread.mean <= 1 else f"{spread.mean:.1f} ± {spread.deviation:.1f}"
        print(f"mean and deviation of {len(results)} seeds: {name} {shown}")
    if dev is not None and arguments.task == "classification":
        print(f"always the commonest class: {majority(train, dev):.1%}")
    if arguments.curves:
        log = Path(arguments.output) / "log.csv"
        picture_of(finetune_curves(log), "Fine-tuning").save(arguments.curves)
    print(f"{arguments.output}: the model of seed {settings.seed}")


def _in_line(scores: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in scores.items())


def _add_predict(commands: Any) -> None:
    from minibert.tasks.spans import SpanSettings

    p = add_command(
        commands,
        predict,
        "predict",
        "apply a fine-tuned model to lines of text",
        "minibert predict moods reviews.txt --json",
        "echo 'Anna Hall lives in Leeds.' | minibert predict tagger",
        "echo 'Who came? ||| Anna came.' | minibert predict reader",
        "minibert predict reader dev-v2.0.json -o answers",
    )
    p.add_argument("model", metavar="MODEL", help="a folder, or a name on the hub")
    p.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="one text a line, or a ||| b: a pair, question and text, text and options; of "
        "questions also SQuAD's .json (default: lines of standard input)",
    )
    p.add_argument("--json", action="store_true", help="one JSON object per line")
    p.add_argument(
        "-o", "--output", metavar="DIR", help="of SQuAD's file: predictions.json and its like"
    )
    p.add_argument("--aggregation", default="simple", metavar="WORD",
                   help="of tags: none, simple, first, average or max (%(default)s)")  # fmt: skip
    add_settings(p.add_argument_group("answers to questions"), SpanSettings)
    add_threads(p)


def predict(arguments: argparse.Namespace) -> None:
    from minibert.bert import load
    from minibert.system.processes import use_threads
    from minibert.tasks.questions import BertReader, read_questions, write_answers
    from minibert.tasks.spans import SpanSettings
    from minibert.tasks.task import ask

    use_threads(arguments.threads)
    bert = load(arguments.model)
    if bert.head is None:
        raise ValueError(
            f"{arguments.model} was fine-tuned for no task: minibert finetune TRAIN --task NAME "
            f"-m {arguments.model} -o OUT does that"
        )
    if isinstance(bert.head, BertReader):
        bert.head.spans = read_settings(SpanSettings, arguments)
        if arguments.file and arguments.file.endswith(".json"):
            questions = read_questions(arguments.file)
            answers = ask(bert.head, bert.tokenizer, questions, progress=is_terminal())
            if arguments.output:
                write_answers(arguments.output, questions, answers)
                print(f"{arguments.output}: the answers to {len(questions)} questions")
                return
            for question, given in zip(questions, answers):
                _print_answer(arguments.json, {"id": question.id}, question.question, given.best)
            return
    if arguments.output:
        raise ValueError("-o is for the answers to a SQuAD file: leave it out, and redirect")
    is_piped = arguments.file in (None, "-")
    name = "standard input" if is_piped else arguments.file
    with standard_input() if is_piped else Path(name).open("rb") as lines:
        texts = decode_lines(lines, name)
        numbered = enumerate(texts, 1)
        while chunk := list(islice(numbered, LINES)):
            _answer_lines(bert, name, chunk, arguments)


def _answer_lines(
    bert: "Bert", name: str, chunk: list[tuple[int, str]], arguments: argparse.Namespace
) -> None:
    """Print the answers to some lines, by the kind of the model."""
    from minibert.tasks.choices import BertChooser
    from minibert.tasks.classification import BertClassifier
    from minibert.tasks.labelled import split_pair
    from minibert.tasks.tokens import BertTagger

    as_json = arguments.json
    texts: Any = [text for _, text in chunk]
    if isinstance(bert.head, BertClassifier):
        pairs: Any = [split_pair(text) for text in texts]
        for text, classes in zip(texts, _same_kind(bert, name, chunk, pairs)):
            if as_json:
                print_json({"text": text, "classes": [c._asdict() for c in classes]})
            elif bert.head.problem_type == "multi_label_classification":
                chosen = ",".join(c.label for c in classes if c.score > 0.5)
                print(f"{chosen}\t{text}")
            elif bert.head.problem_type == "regression":
                print(f"{classes[0].score:.4f}\t{text}")
            else:
                print(f"{classes[0].label}\t{classes[0].score:.4f}\t{text}")
    elif isinstance(bert.head, BertTagger):
        for text, entities in zip(texts, bert.tag(texts, arguments.aggregation)):
            if as_json:
                print_json({"text": text, "entities": [e._asdict() for e in entities]})
                continue
            print(text)
            for e in entities:
                print(f"  {e.score:7.4f}  {e.label}  {e.start}:{e.end}  {e.text}")
    else:
        for number, text in chunk:
            first, *rest = (part.strip() for part in text.split("|||"))
            choosing = isinstance(bert.head, BertChooser)
            if not all([first, *rest]) or len(rest) < 2 if choosing else len(rest) != 1:
                wanted = "text ||| option ||| option" if choosing else "question ||| text"
                raise ValueError(f"{name}, line {number}: expected {wanted}, got {text[:60]!r}")
            if choosing:
                chosen_ones = bert.choose(first, rest)
                if as_json:
                    print_json({"text": first, "options": [c._asdict() for c in chosen_ones]})
                else:
                    best = chosen_ones[0]
                    print(f"{best.number}\t{best.probability:.4f}\t{best.text}")
            else:
                _print_answer(as_json, {}, first, bert.answer(first, rest[0]))


def _same_kind(bert: "Bert", name: str, chunk: list[tuple[int, str]], pairs: list[Any]) -> Any:
    """The classes of lines that are all texts or all pairs. Raises ValueError for a mixture."""
    kinds = [isinstance(pair, tuple) for pair in pairs]
    if len(set(kinds)) > 1:
        number, text = chunk[kinds.index(not kinds[0])]
        raise ValueError(
            f"{name}, line {number}: expected {'a pair, a ||| b' if kinds[0] else 'one text'}, as "
            f"in the lines before, got {text[:60]!r}"
        )
    return bert.classify(pairs)


def _print_answer(as_json: bool, about: dict[str, Any], question: str, answer: Any) -> None:
    if as_json:
        print_json({**about, "question": question, **answer._asdict()})
    else:
        print("\t".join([*about.values(), answer.text or "(no answer)"]))


def evaluate(arguments: argparse.Namespace) -> None:
    """The measures of a fine-tuned model on a file: what `minibert evaluate MODEL FILE` prints."""
    from minibert.bert import load
    from minibert.system.processes import use_threads
    from minibert.tasks.by_name import task_like
    from minibert.tasks.task import measure

    use_threads()
    bert = load(arguments.model)
    if bert.head is None:
        raise ValueError(
            f"{arguments.model} was fine-tuned for no task; --data, --blimp and --sst2 measure a "
            "pretrained model"
        )
    task = task_like(bert.head)
    data = task.read(arguments.file, getattr(bert.head, "classes", None), _columns(arguments))
    scores = measure(bert.head, bert.tokenizer, data, arguments.max_length, progress=is_terminal())
    if arguments.json:
        print_json(scores)
        return
    for name, value in scores.items():
        print(f"{name.replace('_', ' '):24}{value:10.4f}")
