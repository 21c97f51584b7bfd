"""Does a pretrained BERT know grammar? Of two sentences, one of them wrong, which is likelier?

The baseline is a coin.

Sources: Salazar et al. 2020, https://arxiv.org/abs/1910.14659 (pseudo-log-likelihood); Warstadt et
al. 2020, https://arxiv.org/abs/1912.00582 (BLiMP).
"""

import json
import lzma
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from minibert.core.heads import BertForPreTraining
from minibert.tokenizer.tokenizer import Tokenizer


@torch.inference_mode()
def pseudo_log_likelihood(
    model: BertForPreTraining, tokenizer: Tokenizer, sentences: Sequence[str], batch_size: int = 256
) -> list[float]:
    """For each sentence: hide one piece after another, and add up the logs of their probabilities.

    It is no true probability of the sentence, since each piece sees all the others; but sentences
    of much the same words can be compared by it.
    """
    if model.masked_word is None:
        raise ValueError("this model has no masked-word head: it gives words no probability")
    copies: list[tuple[int, Tensor, int, int]] = []
    for number, sentence in enumerate(sentences):
        ids = tokenizer([sentence], truncation=True)["input_ids"][0].tolist()
        for place in range(1, len(ids) - 1):
            hidden = torch.tensor(ids)
            hidden[place] = tokenizer.mask_id
            copies.append((number, hidden, place, ids[place]))
    copies.sort(key=lambda copy: len(copy[1]))
    totals = [0.0] * len(sentences)
    table = model.bert.embeddings.token.weight
    for at in range(0, len(copies), batch_size):
        numbers, rows, places, words = zip(*copies[at : at + batch_size])
        ids = torch.nn.utils.rnn.pad_sequence(list(rows), True, tokenizer.pad_id)
        lengths = torch.tensor([len(row) for row in rows])
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        states = model.bert(ids, attention_mask=mask).last_hidden_state
        chosen = states[torch.arange(len(ids)), torch.tensor(places)]
        scores = model.masked_word(chosen, table).log_softmax(-1)
        logs = scores[torch.arange(len(ids)), torch.tensor(words)].tolist()
        for number, score in zip(numbers, logs):
            totals[number] += score
    return totals


def read_blimp(path: str | Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Each paradigm's name and pairs, from the archive or a folder of .jsonl files.

    Raises OSError if it cannot be read, ValueError if it is no such thing.
    """
    path = Path(path)
    try:
        for name, lines in _jsonl_files(path):
            rows = [json.loads(line) for line in lines]
            if not all({"sentence_good", "sentence_bad"} <= set(row) for row in rows):
                raise ValueError(f"a line of {name} has no sentence_good or no sentence_bad")
            if rows:
                yield Path(name).stem, rows
    except (ValueError, TypeError, tarfile.TarError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise ValueError(f"{path}: expected BLiMP's archive, or its folder: {error}") from None


def _jsonl_files(path: Path) -> Iterator[tuple[str, list[bytes]]]:
    if path.is_dir():
        for file in sorted(path.rglob("*.jsonl")):
            yield file.name, file.read_bytes().splitlines()
        return
    with tarfile.open(path) as archive:
        for member in sorted(archive.getmembers(), key=lambda member: member.name):
            content = archive.extractfile(member) if member.name.endswith(".jsonl") else None
            if content is not None:
                yield member.name, content.readlines()


def grammar(
    model: BertForPreTraining,
    tokenizer: Tokenizer,
    blimp: str | Path,
    pairs: int = 20,
    progress: bool = False,
) -> dict[str, Any]:
    """The share of BLiMP's pairs in which the right sentence is the likelier one.

    `pairs` are the first of each of the 67 paradigms. A tie counts half. Chance is 1/2.
    """
    if pairs < 1:
        raise ValueError(f"pairs must be at least 1, got {pairs}")
    total = 0
    accuracy: dict[str, float] = {}
    fields: dict[str, list[float]] = {}
    for name, rows in tqdm(read_blimp(blimp), desc="grammar", disable=not progress):
        good = [row["sentence_good"] for row in rows[:pairs]]
        bad = [row["sentence_bad"] for row in rows[:pairs]]
        scores = pseudo_log_likelihood(model, tokenizer, good + bad)
        halves = np.sign(np.subtract(scores[: len(good)], scores[len(good) :])) / 2 + 0.5
        accuracy[name] = float(halves.mean())
        total += len(good)
        field = rows[0].get("field", "all").replace("/", "_")  # the archive has both spellings
        fields.setdefault(field, []).append(accuracy[name])
    if not accuracy:
        raise ValueError(f"no .jsonl in {blimp}: expected BLiMP's archive, or its folder")
    return {
        "pairs": total,
        "accuracy": float(np.mean(list(accuracy.values()))),
        "chance": 0.5,
        "fields": {name: float(np.mean(values)) for name, values in fields.items()},
        "paradigms": accuracy,
    }
