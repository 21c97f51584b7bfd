"""The commands of the command line that make a model: vocabulary, examples, pretraining,
evaluation, fine-tuning.

Thin: each calls one function of this folder. Heavy imports stand inside the commands.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> None:
    """Add the five commands to the sub-parsers of `minibert`."""
    p = _add(
        commands,
        train_vocab,
        "train-vocab",
        "learn a vocabulary of word pieces from text",
        "minibert train-vocab wiki.txt novels.txt -o vocab.txt --size 8192",
    )
    _files(p)
    p.add_argument("-o", "--output", required=True, metavar="VOCAB.txt")
    p.add_argument("--size", type=int, default=30522, metavar="N", help="tokens (%(default)s)")
    p.add_argument(
        "--alphabet", type=int, default=1000, metavar="N", help="characters kept (%(default)s)"
    )
    p.add_argument(
        "--min-frequency", type=int, default=2, metavar="N", help="of a joined pair (%(default)s)"
    )
    p.add_argument("--cased", action="store_true", help="keep capitals and accents")

    p = _add(
        commands,
        prepare,
        "prepare",
        "text -> examples with hidden words and next sentences, once and for all",
        "minibert prepare wiki.txt novels.txt --vocab vocab.txt -o data --length 64",
    )
    _files(p)
    p.add_argument("-o", "--output", required=True, metavar="DIR", help="a new folder")
    p.add_argument("--vocab", required=True, help="vocab.txt, or a folder with a tokenizer")
    p.add_argument("--cased", action="store_true", help="vocab.txt has capitals and accents")
    p.add_argument("--length", type=int, default=128, metavar="T", help="pieces a row (128)")
    p.add_argument("--duplicates", type=int, default=1, metavar="N", help="passes (1)")
    p.add_argument("--mask-share", type=float, default=0.15, metavar="SHARE", help="(0.15)")
    p.add_argument("--whole-words", action="store_true", help="hide whole words")
    p.add_argument("--held-out", type=float, default=0.01, metavar="SHARE", help="(0.01)")
    p.add_argument("--seed", type=int, default=0)

    p = _add(
        commands,
        pretrain,
        "pretrain",
        "train a BERT on prepared examples; the same command goes on after a stop",
        "minibert pretrain data -o run --hidden 256 --blocks 4 --steps 20000",
        "minibert pretrain data -o run --from google-bert/bert-base-uncased --rate 5e-5",
        "torchrun --nproc-per-node 2 -m minibert pretrain data -o run",
    )
    p.add_argument("data", metavar="DIR", help="the folder that `minibert prepare` wrote")
    p.add_argument("-o", "--output", required=True, metavar="OUT", help="checkpoint, log, model")
    p.add_argument("--from", dest="start", metavar="MODEL", help="go on training these weights")
    group = p.add_argument_group("the model, if it is new")
    group.add_argument("--blocks", type=int, metavar="L", help="(4)")
    group.add_argument("--hidden", type=int, metavar="H", help="(256)")
    group.add_argument("--heads", type=int, metavar="A", help="(H / 64)")
    group.add_argument(
        "--positions",
        type=int,
        metavar="N",
        help="(the length of the rows); more than --from MODEL has: its table is repeated",
    )
    group.add_argument("--dropout", type=float, metavar="P", help="(0.1)")
    group.add_argument("--initializer", type=float, metavar="STD", help="of weights (0.02)")
    group.add_argument(
        "--count-first", action="store_true", help="start from counts over the text, not at random"
    )
    group = p.add_argument_group("the training")
    group.add_argument("--steps", type=int, default=10_000, metavar="N", help="(%(default)s)")
    group.add_argument("--batch", type=int, default=64, metavar="B", help="rows a step (64)")
    group.add_argument("--at-once", type=int, metavar="B", help="rows in memory at once (all)")
    group.add_argument("--rate", type=float, default=1e-3, help="highest learning rate (1e-3)")
    group.add_argument("--warmup", type=float, default=0.05, metavar="SHARE", help="(0.05)")
    group.add_argument("--bf16", action="store_true", help="compute in bfloat16")
    group.add_argument("--compile", action="store_true", help="torch.compile")
    group.add_argument("--seed", type=int, default=0)
    group.add_argument(
        "--every", type=int, default=1000, metavar="N", help="steps to a save (1000)"
    )
    group.add_argument("--threads", type=int, metavar="N", help="of the CPU (torch's choice)")
    group.add_argument("--curves", metavar="OUT.svg", help="draw the log, as .svg or .html")

    p = _add(
        commands,
        evaluate,
        "evaluate",
        "how good is a pretrained model, beside baselines",
        "minibert evaluate run/model --data data --blimp blimp.tar.xz --sst2 SST-2",
    )
    p.add_argument("model", help="a folder, or a name on the hub")
    p.add_argument("--data", metavar="DIR", help="of `minibert prepare`: held-out words")
    p.add_argument("--blimp", metavar="FILE", help="BLiMP's archive or folder: grammar")
    p.add_argument("--pairs", type=int, default=20, metavar="N", help="of each BLiMP paradigm (20)")
    p.add_argument("--sst2", metavar="DIR", help="with train.tsv and dev.tsv: sentiment")
    p.add_argument("--finetune", action="store_true", help="sentiment by fine-tuning, too: minutes")
    p.add_argument("--texts", type=int, default=2000, metavar="N", help="to learn from (2000)")
    p.add_argument("--rate", type=float, default=3e-4, help="of the fine-tuning (3e-4)")
    p.add_argument("--epochs", type=int, default=3, metavar="N", help="of the fine-tuning (3)")
    p.add_argument("--seeds", type=int, default=5, metavar="N", help="of the sentiment (5)")
    p.add_argument("--json", action="store_true", help="all numbers, as one JSON object")

    p = _add(
        commands,
        finetune,
        "finetune",
        "train a pretrained model to tell classes of text apart",
        "minibert finetune train.tsv --test dev.tsv -m minibert-tiny --rate 3e-4 -o moods",
        "minibert finetune train.tsv --test dev.tsv -m minibert-tiny --freeze --rate 1e-2 -o probe",
    )
    p.add_argument("file", metavar="TRAIN.tsv", help="two columns, one with the header 'label'")
    p.add_argument("--test", required=True, metavar="DEV.tsv", help="the same, to measure on")
    p.add_argument("-o", "--output", required=True, metavar="OUT", help="a new folder")
    p.add_argument(
        "-m",
        "--model",
        default=os.environ.get("MINIBERT_MODEL", "google-bert/bert-base-uncased"),
        help="a folder, or a name on the hub (%(default)s)",
    )
    p.add_argument("--epochs", type=int, default=3, metavar="N", help="passes (%(default)s)")
    p.add_argument("--batch", type=int, default=32, metavar="B", help="texts a step (32)")
    p.add_argument("--rate", type=float, default=5e-5, help="highest learning rate (5e-5)")
    p.add_argument("--warmup", type=float, default=0.1, metavar="SHARE", help="(0.1)")
    p.add_argument("--dropout", type=float, default=0.1, metavar="P", help="(0.1)")
    p.add_argument("--length", type=int, default=128, metavar="T", help="pieces of a text (128)")
    p.add_argument("--pooling", default="pooler", help="pooler, or mean (%(default)s)")
    p.add_argument("--freeze", action="store_true", help="train the new layer alone")
    p.add_argument("--bf16", action="store_true", help="compute in bfloat16")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--seeds", type=int, default=1, metavar="N", help="runs, each with its own (1)")
    p.add_argument("--threads", type=int, metavar="N", help="of the CPU (torch's choice)")


def _add(commands: Any, run: Any, name: str, help: str, *examples: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog="example:\n  " + "\n  ".join(examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="UTF-8 text: a paragraph a line, a blank line between documents",
    )


def _progress() -> bool:
    return sys.stderr.isatty()


def train_vocab(arguments: argparse.Namespace) -> None:
    from minibert.files import check_writable, written_whole
    from minibert.training.vocabulary import count_words, read_lines, train_vocabulary

    output = Path(arguments.output)
    check_writable(output)
    words = count_words(read_lines(arguments.files, _progress()), not arguments.cased)
    tokens = train_vocabulary(
        words,
        arguments.size,
        min_frequency=arguments.min_frequency,
        limit_alphabet=arguments.alphabet,
        progress=_progress(),
    )
    with written_whole(output) as temporary:
        temporary.write_text("".join(f"{token}\n" for token in tokens), "utf-8", newline="\n")
    print(f"{output}: {len(tokens)} tokens from {len(words)} different words")


def prepare(arguments: argparse.Namespace) -> None:
    from minibert.batch import Tokenizer
    from minibert.training.data import prepare as run
    from minibert.training.data_settings import DataSettings

    cased = {"do_lower_case": False} if arguments.cased else {}
    settings = DataSettings(
        length=arguments.length,
        mask_share=arguments.mask_share,
        whole_words=arguments.whole_words,
        duplicates=arguments.duplicates,
        held_out=arguments.held_out,
        seed=arguments.seed,
    )
    tokenizer = Tokenizer.from_folder(arguments.vocab, **cased)
    statistics = run(arguments.files, tokenizer, arguments.output, settings, progress=_progress())
    for part, numbers in statistics.items():
        print(f"{arguments.output}, {part}:")
        for name, value in numbers.items():
            shown = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
            print(f"  {name.replace('_', ' '):28}{shown:>14}")


def pretrain(arguments: argparse.Namespace) -> int:

    from minibert.bert import load
    from minibert.config import BertConfig
    from minibert.threads import use_threads
    from minibert.training.batches import Examples
    from minibert.training.lengthen import lengthen
    from minibert.training.pretrain import pretrain as run
    from minibert.training.step import TrainSettings
    from minibert.view.charts import curves
    from minibert.view.picture import check_name

    settings = TrainSettings(
        steps=arguments.steps,
        batch_size=arguments.batch,
        at_once=arguments.at_once,
        learning_rate=arguments.rate,
        warmup=arguments.warmup,
        bf16=arguments.bf16,
        compile=arguments.compile,
        count_first=arguments.count_first,
        seed=arguments.seed,
        evaluate_every=arguments.every,
        save_every=arguments.every,
    )
    if arguments.curves:
        check_name(Path(arguments.curves))
    use_threads(arguments.threads)
    start: Any
    names = ("blocks", "hidden", "heads", "dropout", "initializer")
    given = {n: getattr(arguments, n) for n in names if getattr(arguments, n) is not None}
    if arguments.start:
        if given:
            raise ValueError(
                f"--{next(iter(given))} is for a new model; --from {arguments.start} has its own: "
                "leave one of the two out"
            )
        start = load(arguments.start).pretraining
        if arguments.positions:
            start = lengthen(start, arguments.positions)
    else:
        examples = Examples(arguments.data)
        hidden, dropout = given.get("hidden", 256), given.get("dropout", 0.1)
        start = BertConfig(
            vocab_size=examples.vocab_size,
            hidden_size=hidden,
            num_hidden_layers=given.get("blocks", 4),
            num_attention_heads=given.get("heads", max(1, hidden // 64)),
            intermediate_size=4 * hidden,
            max_position_embeddings=arguments.positions or examples.settings.length,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            initializer_range=given.get("initializer", 0.02),
        )
    result = run(arguments.data, arguments.output, start, settings, progress=_progress())
    if result.rank > 0:
        return 0
    if arguments.curves:
        curves(result.folder / "log.csv").save(arguments.curves)
    if result.finished:
        print(f"done: {result.folder / 'model'}, after {result.step} steps")
        return 0
    print(
        f"minibert: stopped and saved after {result.step} of {settings.steps} steps. The same "
        "command goes on from there",
        file=sys.stderr,
    )
    return 128 + (result.signal or 0)


def evaluate(arguments: argparse.Namespace) -> None:
    from minibert.bert import load
    from minibert.threads import use_threads
    from minibert.training.evaluate import as_table, grammar, held_out_words, sentiment
    from minibert.training.finetune import FinetuneSettings

    if arguments.finetune and not arguments.sst2:
        raise ValueError("--finetune is for sentiment: give --sst2 with it")
    if not (arguments.data or arguments.blimp or arguments.sst2):
        raise ValueError("nothing to evaluate on: give --data, --blimp or --sst2")
    use_threads()
    bert = load(arguments.model)
    model, tokenizer = bert.pretraining, bert.tokenizer
    results: dict[str, dict[str, Any]] = {}
    if arguments.data:
        results["words"] = held_out_words(model, arguments.data)
    if arguments.blimp:
        results["grammar"] = grammar(
            model, tokenizer, arguments.blimp, arguments.pairs, _progress()
        )
    if arguments.sst2:
        folder = Path(arguments.sst2)
        how: dict[str, Any] = {
            "rows": arguments.texts,
            "seeds": arguments.seeds,
            "progress": _progress(),
        }
        files = folder / "train.tsv", folder / "dev.tsv"
        results["sentiment"] = sentiment(model, tokenizer, *files, **how)
        if arguments.finetune:
            tuning = FinetuneSettings(learning_rate=arguments.rate, epochs=arguments.epochs)
            results["sentiment_tuned"] = sentiment(model, tokenizer, *files, tuning=tuning, **how)
    print(json.dumps(results) if arguments.json else as_table(results), end="\n" * arguments.json)


def finetune(arguments: argparse.Namespace) -> None:
    import torch

    from minibert.bert import load
    from minibert.files import folder_written_whole
    from minibert.threads import use_threads
    from minibert.training.classifier import new_classifier, predict, write_classifier
    from minibert.training.finetune import FinetuneSettings, Spread, majority
    from minibert.training.finetune import finetune as run
    from minibert.training.labelled import read_labelled

    if arguments.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {arguments.seeds}")
    use_threads(arguments.threads)
    train = read_labelled(arguments.file)
    test = read_labelled(arguments.test, train.classes)
    bert = load(arguments.model)
    bert.model.to("cuda" if torch.cuda.is_available() else "cpu")
    found = []
    with folder_written_whole(arguments.output) as new:
        for seed in range(arguments.seed, arguments.seed + arguments.seeds):
            settings = FinetuneSettings(
                epochs=arguments.epochs,
                batch_size=arguments.batch,
                learning_rate=arguments.rate,
                warmup=arguments.warmup,
                length=arguments.length,
                freeze=arguments.freeze,
                bf16=arguments.bf16,
                seed=seed,
            )
            model = new_classifier(
                bert.model,
                train.classes,
                pooling=arguments.pooling,
                dropout=arguments.dropout,
                seed=seed,
            )
            run(model, bert.tokenizer, train, settings, progress=_progress())
            answers = predict(model, bert.tokenizer, test.texts, arguments.length).argmax(axis=1)
            found.append(float((answers == test.labels).mean()))
            same = len(set(answers.tolist())) == 1
            note = "   the same class for every text: try a smaller --rate" if same else ""
            print(f"seed {seed}: {found[-1]:.1%} of {len(test.texts)} texts right{note}")
            if seed == arguments.seed:
                write_classifier(model, bert.tokenizer, new)
    if len(found) > 1:
        print(f"mean and deviation of {len(found)} seeds: {Spread.of(found)}")
    print(f"always the commonest class: {majority(train, test):.1%}")
    print(f"{arguments.output}: the classifier of seed {arguments.seed}")
