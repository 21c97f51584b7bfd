"""Text -> what BERT is trained on: pairs of segments with some words hidden.

    hidden   [CLS] the river [MASK] was flooded [SEP] they moved to violin ground [SEP]
    labels                    bank                                  higher

    corpus.py    text -> documents, sentences, ids
    segments.py  documents -> A and B, where B follows A or comes from another document
    masking.py   ids -> ids with words hidden, and what stood there
    rows.py      all of it as rows of fixed size, and the shares that came out

All of it is drawn once, from a seed, and written to disk. Training maps the file into memory, and
may hide other words at every step (`fresh_masks.py`).

Source: Devlin et al. 2018, section 3.1 and appendix A.1 and A.2.
"""

import dataclasses
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from minibert.system.files import folder_written_whole, write_json
from minibert.system.processes import available_cpus
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.training.corpus import Corpus, build_corpus, read_documents
from minibert.training.rows import count_rows, make_rows, shares, tasks_of
from minibert.training.settings import DataSettings
from minibert.training.wordpiece_trainer import read_lines


def prepare(
    files: Sequence[str | Path],
    tokenizer: Tokenizer,
    folder: str | Path,
    settings: DataSettings | None = None,
    *,
    processes: int | None = None,
    progress: bool = False,
) -> dict[str, dict[str, float]]:
    """Write the new folder `folder`: train.bin, heldout.bin, data.json, and the tokenizer.

    The number of `processes` changes nothing but the time; by default a long text takes all
    processors. Returns the statistics of both parts, which also stand in data.json. Raises
    ValueError for too few documents, OSError if the folder cannot be written; it appears whole or
    not at all.
    """
    settings = settings or DataSettings()
    if processes is not None and processes < 1:
        raise ValueError(
            f"processes must be at least 1, got {processes}: leave it out for one a processor"
        )
    special = ("cls_token", "sep_token", "mask_token", "pad_token")
    if absent := [n for n in special if tokenizer.special_tokens[n] not in tokenizer.vocab]:
        wanted = ", ".join(tokenizer.special_tokens[name] for name in absent)
        raise ValueError(f"the vocabulary lacks {wanted}: examples cannot be made without")
    with folder_written_whole(folder) as new:
        documents = list(read_documents(read_lines(files, progress)))
        chosen = _held_out(len(documents), settings)
        if len(documents) - len(chosen) < 2:
            raise ValueError(
                f"expected at least 2 documents to learn from, since half of all next sentences "
                f"come from another one; got {len(documents)}, of which {len(chosen)} are held "
                "out. A blank line ends a document; held_out 0 keeps none apart."
            )
        parts = {"train": [d for n, d in enumerate(documents) if n not in chosen]}
        if chosen:
            parts["heldout"] = [documents[n] for n in sorted(chosen)]
        if processes is None:
            long = sum(len(line) for text in documents for line in text) > 2e7
            processes = available_cpus() if long else 1
        statistics = {}
        for name, texts in parts.items():
            show = partial(tqdm, desc=name, unit="block", disable=not progress)
            total = _write_part(new / f"{name}.bin", texts, tokenizer, settings, processes, show)
            statistics[name] = shares(total, tokenizer)
        tokenizer.save_vocabulary(new)
        about = {
            "settings": dataclasses.asdict(settings),
            "vocab_size": len(tokenizer),
            "files": [Path(file).name for file in files],
            "statistics": statistics,
        }
        write_json(new / "data.json", about)
    return statistics


def _held_out(count: int, settings: DataSettings) -> set[int]:
    """Which documents are kept apart: at least two, if any."""
    if settings.held_out == 0:
        return set()
    rng = random.Random(settings.seed)
    order = sorted(range(count), key=lambda _: rng.random())
    return set(order[: max(2, round(settings.held_out * count))])


def _write_part(
    path: Path,
    texts: list[list[str]],
    tokenizer: Tokenizer,
    settings: DataSettings,
    processes: int,
    show: Callable[..., Iterable[tuple[np.ndarray, Counter[str]]]],
) -> Counter[str]:
    """Write one part's rows, made by several processes; what there is in them."""
    blocks = [texts[at : at + 32] for at in range(0, len(texts), 32)]
    cut = partial(build_corpus, tokenizer=tokenizer)
    corpus_file = path.with_suffix(".npz")  # each process reads the corpus from there
    total: Counter[str] = Counter()
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool, path.open("wb") as file:
        run = map if processes == 1 else pool.map
        corpus = Corpus.join(list(run(cut, blocks)))
        tasks = tasks_of(corpus, settings)
        np.savez(corpus_file, **corpus._asdict())
        make = partial(_rows_and_counts, corpus_file, tokenizer, settings)
        for rows, counts in show(run(make, tasks), total=len(tasks)):
            file.write(rows.tobytes())
            total += counts
    _read_corpus.cache_clear()
    corpus_file.unlink()
    if not total["rows"]:
        raise ValueError(
            f"the {len(texts)} documents of the {path.stem} part give no example: expected "
            "documents of two sentences or more. A line is a paragraph, a blank line ends a "
            "document."
        )
    return total


def _rows_and_counts(
    corpus: Path, tokenizer: Tokenizer, settings: DataSettings, task: list[tuple[int, int]]
) -> tuple[np.ndarray, Counter[str]]:
    rows = make_rows(_read_corpus(corpus), tokenizer, settings, task)
    return rows, count_rows(rows, tokenizer)


@lru_cache(maxsize=1)
def _read_corpus(path: Path) -> Corpus:
    return Corpus(**np.load(path))
