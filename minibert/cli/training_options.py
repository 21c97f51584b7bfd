"""The options of the commands that make a model: vocabulary, examples, pretraining, evaluation,
fine-tuning."""

import argparse
from typing import Any

from minibert.cli.options import add_command, add_model
from minibert.cli.training import evaluate, finetune, prepare, pretrain, train_vocab


def add_commands(commands: Any) -> None:
    """Add the five commands to the sub-parsers of `minibert`."""
    p = add_command(
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

    p = add_command(
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

    p = add_command(
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
        "--every",
        type=int,
        default=1000,
        metavar="N",
        help="steps to a save, and a look at the held-out rows (1000)",
    )
    group.add_argument("--threads", type=int, metavar="N", help="(one a processor at hand)")
    group.add_argument("--curves", metavar="OUT.svg", help="draw the log, as .svg or .html")

    p = add_command(
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

    p = add_command(
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
    add_model(p)
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
    p.add_argument("--threads", type=int, metavar="N", help="(one a processor at hand)")


def _files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="UTF-8 text: a paragraph a line, a blank line between documents",
    )
