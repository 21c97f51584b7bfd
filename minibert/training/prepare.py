"""Text -> what BERT is trained on: pairs of segments with some words hidden.

    hidden   [CLS] the river [MASK] was flooded [SEP] they moved to violin ground [SEP]
    labels                    bank                                  higher

    corpus.py    text -> documents, sentences, ids
    segments.py  documents -> A and B, where B follows A or comes from another document
    masking.py   ids -> ids with words hidden, and what stood there
    rows.py      all of it as rows of fixed size, and the shares that came out

All of it is drawn once, from a seed, and written to disk. Training maps the file into memory.

Source: Devlin et al. 2018, section 3.1 and appendix A.1 and A.2.
"""

import dataclasses
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from minibert.system.files import folder_written_whole
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.training.corpus import build_corpus, read_documents
from minibert.training.rows import example_type, make_examples, measure
from minibert.training.settings import DataSettings
from minibert.training.wordpiece_trainer import read_lines


def prepare(
    files: Sequence[str | Path],
    tokenizer: Tokenizer,
    folder: str | Path,
    settings: DataSettings | None = None,
    *,
    progress: bool = False,
) -> dict[str, dict[str, float]]:
    """Write the new folder `folder`: train.bin, heldout.bin, data.json, and the tokenizer.

    Returns the statistics of both parts, which also stand in data.json. Raises ValueError for too
    few documents, OSError if the folder cannot be written; it appears whole or not at all.
    """
    settings = settings or DataSettings()
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
        statistics = {}
        for name, texts in parts.items():
            bar = tqdm(texts, desc=f"{name}: cut", unit="documents", disable=not progress)
            corpus = build_corpus(bar, tokenizer)
            with (new / f"{name}.bin").open("wb") as file:
                for block in make_examples(corpus, tokenizer, settings, progress=progress):
                    block.tofile(file)
                if file.tell() == 0:
                    raise ValueError(
                        f"the {len(texts)} documents of the {name} part give no example: expected "
                        "documents of two sentences or more. A line is a paragraph, a blank line "
                        "ends a document."
                    )
            kind = example_type(settings, tokenizer.vocab_size)
            rows = np.memmap(new / f"{name}.bin", dtype=kind, mode="r")
            statistics[name] = measure(rows, tokenizer)
        tokenizer.save_vocabulary(new)
        about = {
            "settings": dataclasses.asdict(settings),
            "vocab_size": tokenizer.vocab_size,
            "files": [Path(file).name for file in files],
            "statistics": statistics,
        }
        (new / "data.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return statistics


def _held_out(count: int, settings: DataSettings) -> set[int]:
    """Which documents are kept apart: at least two, if any."""
    if settings.held_out == 0:
        return set()
    rng = random.Random(settings.seed)
    order = sorted(range(count), key=lambda _: rng.random())
    return set(order[: max(2, round(settings.held_out * count))])
