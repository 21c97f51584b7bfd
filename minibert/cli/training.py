"""The commands that make a model: vocabulary, examples, pretraining, evaluation.

Each calls one function of `training`. Heavy imports stand inside the commands.
"""

import argparse
import io
from pathlib import Path
from typing import Any

from minibert.cli import tasks
from minibert.cli.options import (
    add_command,
    add_threads,
    end_of_run,
    is_terminal,
    print_json,
    say,
)
from minibert.cli.sentences import read_and_say
from minibert.cli.settings import add_settings, read_settings
from minibert.training.settings import DataSettings, FinetuneSettings, TrainSettings

NEW_MODEL = ("blocks", "hidden", "heads", "dropout", "initializer")


def add_commands(commands: Any) -> None:
    """Add the four commands to the sub-parsers of `minibert`."""
    _add_train_vocab(commands)
    _add_prepare(commands)
    _add_pretrain(commands)
    _add_evaluate(commands)


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="UTF-8 text: a paragraph a line, a blank line between documents",
    )


def _add_train_vocab(commands: Any) -> None:
    p = add_command(
        commands,
        train_vocab,
        "train-vocab",
        "learn a vocabulary of word pieces from text",
        "minibert train-vocab wiki.txt novels.txt -o vocab.txt --size 8192",
    )
    _add_files(p)
    p.add_argument("-o", "--output", required=True, metavar="VOCAB.txt")
    p.add_argument("--size", type=int, default=30522, metavar="N", help="tokens (%(default)s)")
    p.add_argument(
        "--alphabet", type=int, default=1000, metavar="N", help="characters kept (%(default)s)"
    )
    p.add_argument(
        "--min-frequency", type=int, default=2, metavar="N", help="of a joined pair (%(default)s)"
    )
    p.add_argument("--cased", action="store_true", help="keep capitals and accents")


def train_vocab(arguments: argparse.Namespace) -> None:
    from minibert.system.files import written_whole
    from minibert.training.wordpiece_trainer import count_words, read_lines, train_vocabulary

    with written_whole(arguments.output, arguments.files) as temporary:
        words = count_words(read_lines(arguments.files, is_terminal()), not arguments.cased)
        tokens = train_vocabulary(
            words,
            arguments.size,
            min_frequency=arguments.min_frequency,
            limit_alphabet=arguments.alphabet,
            progress=is_terminal(),
        )
        temporary.write_text("".join(f"{token}\n" for token in tokens), "utf-8", newline="\n")
    if len(tokens) < arguments.size:
        say(
            f"{arguments.size} tokens were asked for, and {len(tokens)} are all there "
            f"are: no further pair occurs {arguments.min_frequency} times. More text gives more, "
            f"or a smaller --min-frequency"
        )
    print(f"{arguments.output}: {len(tokens)} tokens from {len(words)} different words")


def _add_prepare(commands: Any) -> None:
    p = add_command(
        commands,
        prepare,
        "prepare",
        "text -> examples with hidden words and next sentences, once and for all",
        "minibert prepare wiki.txt novels.txt --vocab vocab.txt -o data --length 64",
    )
    _add_files(p)
    p.add_argument("-o", "--output", required=True, metavar="DIR", help="a new folder")
    p.add_argument("--vocab", required=True, help="vocab.txt, or a folder with a tokenizer")
    p.add_argument("--cased", action="store_true", help="vocab.txt has capitals and accents")
    add_settings(p, DataSettings)
    p.add_argument("--processes", type=int, metavar="N", help="(one a processor, for a long text)")


def prepare(arguments: argparse.Namespace) -> None:
    from minibert.tokenizer.batch import BERT_TEMPLATE
    from minibert.tokenizer.tokenizer import Tokenizer
    from minibert.training.prepare import prepare as run

    cased = {"do_lower_case": False} if arguments.cased else {}
    settings = read_settings(DataSettings, arguments)
    tokenizer = Tokenizer.from_folder(arguments.vocab, template=BERT_TEMPLATE, **cased)
    statistics = run(
        arguments.files,
        tokenizer,
        arguments.output,
        settings,
        processes=arguments.processes,
        progress=is_terminal(),
    )
    for part, numbers in statistics.items():
        print(f"{arguments.output}, {part}:")
        for name, value in numbers.items():
            shown = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
            print(f"  {name.replace('_', ' '):28}{shown:>14}")


def _add_pretrain(commands: Any) -> None:
    p = add_command(
        commands,
        pretrain,
        "pretrain",
        "train a BERT on prepared examples; the same command goes on after a stop",
        "minibert pretrain data -o run --hidden 256 --blocks 4 --steps 20000",
        "minibert pretrain data64 data128 -o run --minutes 480 --bf16 --fresh-masks",
        "minibert pretrain data -o run --from google-bert/bert-base-uncased --learning-rate 5e-5",
        "torchrun --nproc-per-node 2 -m minibert pretrain data -o run",
    )
    p.add_argument(
        "data",
        nargs="+",
        metavar="DIR",
        help="a folder that `minibert prepare` wrote; several are read one after the other",
    )
    p.add_argument("-o", "--output", required=True, metavar="OUT", help="checkpoint, log, model")
    p.add_argument("--from", dest="start", metavar="MODEL", help="go on training these weights")
    p.add_argument("--curves", metavar="OUT.svg", help="draw the log, as .svg or .html")
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
    group = p.add_argument_group("the training")
    add_settings(group, TrainSettings)
    add_threads(group)


def pretrain(arguments: argparse.Namespace) -> int:
    from minibert.bert import load
    from minibert.core.config import BertConfig
    from minibert.system.memory import keep_memory
    from minibert.system.processes import use_threads
    from minibert.training.batches import Examples
    from minibert.training.curves import TITLE, check_matplotlib, curves
    from minibert.training.pretrain import pretrain as run
    from minibert.training.run_log import read_log
    from minibert.training.start import lengthen
    from minibert.view.picture import check_name, picture_of

    settings = read_settings(TrainSettings, arguments)
    if arguments.curves:
        check_name(Path(arguments.curves))
        check_matplotlib()
    use_threads(arguments.threads)
    keep_memory()
    start: Any
    values = {name: getattr(arguments, name) for name in NEW_MODEL}
    sizes = {name: value for name, value in values.items() if value is not None}
    if arguments.start:
        if sizes:
            raise ValueError(
                f"--{next(iter(sizes))} is for a new model; --from {arguments.start} has its own: "
                "leave one of the two out"
            )
        bert = load(arguments.start)
        for folder in arguments.data:
            Examples(folder).check_tokenizer(bert.tokenizer)
        start = bert.pretraining
        if arguments.positions:
            start = lengthen(start, arguments.positions)
    else:
        examples = [Examples(folder) for folder in arguments.data]
        hidden, dropout = sizes.get("hidden", 256), sizes.get("dropout", 0.1)
        start = BertConfig(
            vocab_size=max(part.vocab_size for part in examples),
            hidden_size=hidden,
            num_hidden_layers=sizes.get("blocks", 4),
            num_attention_heads=sizes.get("heads", max(1, hidden // 64)),
            intermediate_size=4 * hidden,
            max_position_embeddings=arguments.positions
            or max(part.settings.length for part in examples),
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            initializer_range=sizes.get("initializer", 0.02),
        )
    result = run(arguments.data, arguments.output, start, settings, progress=is_terminal())
    if result.rank > 0:
        return 0
    of = f"of {settings.steps} " if settings.minutes is None else ""
    code = end_of_run(result, of)
    log = result.folder / "log.csv"
    if arguments.curves and read_log(log):  # a run that was stopped at once has no row
        picture_of(curves(log), TITLE).save(arguments.curves)
    return code


def _add_evaluate(commands: Any) -> None:
    p = add_command(
        commands,
        evaluate,
        "evaluate",
        "how good is a model: a pretrained one beside baselines, a fine-tuned one on a file",
        "minibert evaluate run/model --data data --blimp blimp.tar.xz --sst2 SST-2",
        "minibert evaluate moods dev.tsv",
        "minibert evaluate minibert-tiny-sentences --sts dev.csv",
    )
    p.add_argument("model", help="a folder, or a name on the hub")
    p.add_argument(
        "file", nargs="?", metavar="FILE", help="for a fine-tuned model: examples with labels"
    )
    tasks.add_columns(p)
    p.add_argument("--data", metavar="DIR", help="of `minibert prepare`: held-out words")
    p.add_argument("--blimp", metavar="FILE", help="BLiMP's archive or folder: grammar")
    p.add_argument("--pairs", type=int, default=20, metavar="N", help="of each BLiMP paradigm (20)")
    p.add_argument("--sst2", metavar="DIR", help="with train.tsv and dev.tsv: sentiment")
    p.add_argument("--sts", metavar="FILE", help="two texts and a score a line: vectors")
    p.add_argument("--retrieval", metavar="FILE", help="a query and its document a line: search")
    p.add_argument("--texts", type=int, default=2000, metavar="N", help="to learn from (2000)")
    p.add_argument("--seeds", type=int, default=5, metavar="N", help="of the sentiment (5)")
    p.add_argument("--json", action="store_true", help="all numbers, as one JSON object")
    group = p.add_argument_group("sentiment by fine-tuning")
    group.add_argument("--finetune", action="store_true", help="do that, too: minutes")
    omit = ["seed", "patience", "save_every"]
    add_settings(group, FinetuneSettings, omit=omit, learning_rate=3e-4)


def evaluate(arguments: argparse.Namespace) -> None:
    from minibert.bert import load
    from minibert.system.memory import keep_memory
    from minibert.system.processes import use_threads
    from minibert.training.evaluate_grammar import grammar
    from minibert.training.evaluate_sentiment import sentiment
    from minibert.training.evaluate_similarity import retrieval_scores, similarity_scores
    from minibert.training.evaluate_words import held_out_words
    from minibert.training.sentence_data import read_pairs, read_scored

    tables = (arguments.blimp, arguments.sst2, arguments.sts, arguments.retrieval)
    pretraining = arguments.data or any(tables)
    if arguments.file and not pretraining:
        tasks.evaluate(arguments)
        return
    if arguments.file:
        raise ValueError(
            "FILE is for a fine-tuned model; --data, --blimp, --sst2, --sts and --retrieval are "
            "for another: leave one of the two out"
        )
    if arguments.finetune and not arguments.sst2:
        raise ValueError("--finetune is for sentiment: give --sst2 with it")
    if not pretraining:
        raise ValueError(
            "nothing to evaluate on: give --data, --blimp, --sst2, --sts or --retrieval, or a "
            "fine-tuned model a FILE"
        )
    for name in tables:  # now, and not after minutes of other work
        if name and not Path(name).exists():
            raise FileNotFoundError(f"{name} does not exist")
    if arguments.sts:
        scored = read_and_say(read_scored, arguments.sts)
    if arguments.retrieval:
        pairs = read_and_say(read_pairs, arguments.retrieval)
    use_threads()
    keep_memory()
    bert = load(arguments.model)
    model, tokenizer = bert.pretraining, bert.tokenizer
    results: dict[str, dict[str, Any]] = {}
    if arguments.data:
        results["words"] = held_out_words(model, tokenizer, arguments.data)
    if arguments.blimp:
        results["grammar"] = grammar(
            model, tokenizer, arguments.blimp, arguments.pairs, is_terminal()
        )
    if arguments.sst2:
        folder = Path(arguments.sst2)
        how: dict[str, Any] = {
            "rows": arguments.texts,
            "seeds": arguments.seeds,
            "progress": is_terminal(),
        }
        files = folder / "train.tsv", folder / "dev.tsv"
        results["sentiment"] = sentiment(model, tokenizer, *files, **how)
        if arguments.finetune:
            tuning = read_settings(FinetuneSettings, arguments)
            results["sentiment_tuned"] = sentiment(model, tokenizer, *files, tuning=tuning, **how)
    if arguments.sts:
        results["similarity"] = similarity_scores(bert, scored)
    if arguments.retrieval:
        results["retrieval"] = retrieval_scores(bert, pairs)
    if arguments.json:
        print_json(results)
    else:
        print(as_table(results), end="")


def as_table(results: dict[str, dict[str, Any]]) -> str:
    """The results in Markdown, for a model card."""
    out = io.StringIO()
    out.write("| question | this model | to compare |\n|---|---|---|\n")
    if words := results.get("words"):
        out.write(
            f"| held-out hidden words: accuracy | {words['accuracy']:.1%} "
            f"| the commonest piece {words['accuracy_of_commonest']:.1%} |\n"
            f"| held-out hidden words: perplexity | {words['perplexity']:.1f} "
            f"| word counts {words['perplexity_of_word_counts']:.1f} |\n"
            f"| next sentence: accuracy | {words['next_sentence_accuracy']:.1%} | chance 50 % |\n"
        )
    if pairs := results.get("grammar"):
        out.write(
            f"| BLiMP, {pairs['pairs']} pairs: accuracy | {pairs['accuracy']:.1%} | chance 50 % |\n"
        )
    if pairs := results.get("similarity"):
        out.write(
            f"| STS, {pairs['pairs']} pairs: correlation with people's scores, × 100 | Spearman "
            f"{pairs['spearman']:.1%}, Pearson {pairs['pearson']:.1%} | chance 0 |\n".replace(
                "%", ""
            )
        )
    if search := results.get("retrieval"):
        measures = [f"{name} {value:.3f}" for name, value in search.items() if "@" in name]
        out.write(
            f"| search, {search['queries']} queries among {search['documents']} documents | "
            f"{', '.join(measures)} | the best 1 |\n"
        )
    for mood in (results.get("sentiment"), results.get("sentiment_tuned")):
        if mood is None:
            continue
        others = ", ".join(
            f"{name.replace('_', ' ')} {mood[name][0]:.1%} ± {mood[name][1]:.1%}"
            for name in ("majority", "bag_of_words", "untrained")
        )
        out.write(
            f"| SST-2, {mood['method']} on {mood['rows']} texts, {mood['seeds']} seeds: accuracy "
            f"| {mood['bert'][0]:.1%} ± {mood['bert'][1]:.1%} | {others} |\n"
        )
    return out.getvalue()
