"""The command that trains sentence vectors. Heavy imports stand inside it."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minibert.cli.options import add_command, add_threads, end_of_run, is_terminal, say
from minibert.cli.settings import add_settings, read_settings
from minibert.training.settings import SentenceSettings

if TYPE_CHECKING:
    from minibert.training.sentence_data import Texts

# Settings of pretraining that mean nothing here.
PRETRAINING = (
    "last_phase", "fresh_masks", "first_batch_size", "ramp", "micro_batch_size", "count_first",
    "compile", "eval_rows",
)  # fmt: skip


def add_commands(commands: Any) -> None:
    """Add `train-sentences` to the sub-parsers of `minibert`."""
    p = add_command(
        commands,
        train_sentences,
        "train-sentences",
        "a BERT that fills blanks -> one whose vectors say what a text means",
        "minibert embed texts.txt -m sentence-transformers/all-MiniLM-L6-v2 -o teacher.npy",
        "minibert train-sentences texts.txt --teacher teacher.npy -m minibert-tiny -o run",
        "minibert train-sentences pairs.tsv -m bert-base-uncased -o run --learning-rate 2e-5",
        "minibert train-sentences texts.txt -m minibert-tiny -o run --dropout 0.1",
    )
    p.add_argument(
        "file",
        metavar="FILE",
        help="texts, one a line (.txt); or a .tsv, .csv or .jsonl table: two texts a line that "
        "mean the same, a third that does not, or two texts and a score; of a table with a header "
        "the columns named so, such as anchor, positive, negative, or sentence1, sentence2, score",
    )
    p.add_argument("-o", "--output", required=True, metavar="OUT", help="checkpoint, log, model")
    p.add_argument(
        "-m", "--model", required=True, help="the BERT to start from: a folder or a name"
    )
    p.add_argument(
        "--teacher", metavar="VECTORS.npy", help="a better model's vectors, a row for each text"
    )
    p.add_argument("--eval", metavar="PAIRS.csv", help="two texts and a score: to measure on")
    p.add_argument("--dropout", type=float, metavar="P", help="(the model's own)")
    group = p.add_argument_group("the training")
    add_settings(group, SentenceSettings, omit=PRETRAINING)
    add_threads(group)


def read_and_say(read: Callable[[str], "Texts"], path: str) -> "Texts":
    """The texts of a file; on standard error, what it was taken for."""
    texts = read(path)
    say(f"{path}: {texts}")
    return texts


def train_sentences(arguments: argparse.Namespace) -> int:
    from minibert.bert import load
    from minibert.system.memory import keep_memory
    from minibert.system.processes import use_threads
    from minibert.training.sentence_data import read_scored, read_texts
    from minibert.training.sentences import train_sentences as run
    from minibert.training.sentences import with_dropout
    from minibert.vectors.nearest import open_vectors

    settings = read_settings(SentenceSettings, arguments)
    texts = read_and_say(read_texts, arguments.file)
    heldout = read_and_say(read_scored, arguments.eval) if arguments.eval else None
    teacher = open_vectors(arguments.teacher) if arguments.teacher else None
    use_threads(arguments.threads)
    keep_memory()
    bert = load(arguments.model)
    if arguments.dropout is not None:
        bert = with_dropout(bert, arguments.dropout)
    result = run(
        texts, arguments.output, bert, settings,
        teacher=teacher, heldout=heldout, progress=is_terminal(),
    )  # fmt: skip
    return end_of_run(result)
