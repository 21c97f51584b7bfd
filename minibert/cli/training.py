"""What the commands that make a model do; their options stand in options.py.

Thin: each calls one function of this folder. Heavy imports stand inside the commands.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def _progress() -> bool:
    return sys.stderr.isatty()


def train_vocab(arguments: argparse.Namespace) -> None:
    from minibert.system.files import check_writable, written_whole
    from minibert.training.wordpiece_trainer import count_words, read_lines, train_vocabulary

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
    from minibert.tokenizer.tokenizer import Tokenizer
    from minibert.training.data_settings import DataSettings
    from minibert.training.prepare import prepare as run

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
    from minibert.core.config import BertConfig
    from minibert.system.memory import keep_memory
    from minibert.system.processes import use_threads
    from minibert.training.batches import Examples
    from minibert.training.lengthen import lengthen
    from minibert.training.pretrain import pretrain as run
    from minibert.training.run_log import read_log
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
    keep_memory()
    start: Any
    names = ("blocks", "hidden", "heads", "dropout", "initializer")
    given = {n: getattr(arguments, n) for n in names if getattr(arguments, n) is not None}
    if arguments.start:
        if given:
            raise ValueError(
                f"--{next(iter(given))} is for a new model; --from {arguments.start} has its own: "
                "leave one of the two out"
            )
        bert = load(arguments.start)
        Examples(arguments.data).check_tokenizer(bert.tokenizer)
        start = bert.pretraining
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
    if result.finished:
        print(f"done: {result.folder / 'model'}, after {result.step} steps")
    else:
        print(
            f"minibert: stopped and saved after {result.step} of {settings.steps} steps. The same "
            "command goes on from there",
            file=sys.stderr,
        )
    log = result.folder / "log.csv"
    if arguments.curves and read_log(log):  # a run that was stopped at once has no row
        curves(log).save(arguments.curves)
    return 0 if result.finished else 128 + (result.signal or 0)


def evaluate(arguments: argparse.Namespace) -> None:
    from minibert.bert import load
    from minibert.system.memory import keep_memory
    from minibert.system.processes import use_threads
    from minibert.training.evaluate import as_table, grammar, held_out_words, sentiment
    from minibert.training.finetune import FinetuneSettings

    if arguments.finetune and not arguments.sst2:
        raise ValueError("--finetune is for sentiment: give --sst2 with it")
    if not (arguments.data or arguments.blimp or arguments.sst2):
        raise ValueError("nothing to evaluate on: give --data, --blimp or --sst2")
    for name in (arguments.blimp, arguments.sst2):  # now, and not after minutes of other work
        if name and not Path(name).exists():
            raise FileNotFoundError(f"{name} does not exist")
    use_threads()
    keep_memory()
    bert = load(arguments.model)
    model, tokenizer = bert.pretraining, bert.tokenizer
    results: dict[str, dict[str, Any]] = {}
    if arguments.data:
        results["words"] = held_out_words(model, tokenizer, arguments.data)
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
    from minibert.system.files import folder_written_whole
    from minibert.system.memory import keep_memory
    from minibert.system.processes import use_threads
    from minibert.tasks.classification import new_classifier, predict, write_classifier
    from minibert.tasks.labelled import read_labelled
    from minibert.training.finetune import FinetuneSettings, Spread, majority
    from minibert.training.finetune import finetune as run

    if arguments.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {arguments.seeds}")
    use_threads(arguments.threads)
    keep_memory()
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
