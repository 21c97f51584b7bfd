"""Prepared examples -> batches, in an order that any step can be asked for.

Nothing here has a state. The rows of step s are a function of the seed and s, so a run that was
stopped goes on with the very rows that would have come next, and two processes agree on who takes
which rows without a word between them.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minibert.core.checks import IGNORE
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.training.rows import example_type
from minibert.training.settings import DataSettings

RENAMED = {"pieces": "num_tokens", "pieces_per_row": "tokens_per_row"}  # in older folders


class Examples:
    """The rows of one part of a prepared folder, "train" or "heldout", mapped into memory.

    Raises FileNotFoundError or ValueError if the folder was not made by `prepare`.
    """

    def __init__(self, folder: str | Path, part: str = "train"):
        self.folder = Path(folder)
        wanted = f"expected a folder made by `minibert prepare FILES -o {folder}`"
        try:
            about = json.loads((self.folder / "data.json").read_text(encoding="utf-8"))
            self.settings = DataSettings(**about["settings"])
            self.vocab_size = int(about["vocab_size"])
            parts: dict[str, Any] = dict(about["statistics"])
        except FileNotFoundError:
            raise FileNotFoundError(f"no data.json in {folder}: {wanted}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{self.folder / 'data.json'} is not as expected ({error!r}): {wanted}"
            ) from None
        if part not in parts:
            raise ValueError(
                f"{folder} has no {part} part: prepare the text again, with a share held out"
            )
        self.statistics = {RENAMED.get(name, name): value for name, value in parts[part].items()}
        kind = example_type(self.settings, self.vocab_size)
        path = self.folder / f"{part}.bin"
        expected = self.statistics["rows"] * kind.itemsize
        if path.stat().st_size != expected:
            raise ValueError(
                f"{path} is damaged: expected {expected:,} bytes, got {path.stat().st_size:,}. "
                "Prepare the text again."
            )
        self.rows = np.memmap(path, dtype=kind, mode="r")

    def __len__(self) -> int:
        return len(self.rows)

    def check_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Raise ValueError if these rows were made with another vocabulary than a model's."""
        own = Tokenizer.from_folder(self.folder)
        cased = "do_lower_case"
        if own.vocab != tokenizer.vocab or own.settings[cased] != tokenizer.settings[cased]:
            raise ValueError(
                f"{self.folder} was prepared with another vocabulary than the model's: its ids "
                "stand for other pieces. Prepare the text again, with --vocab and the folder of "
                "the model"
            )

    def batch(self, numbers: np.ndarray) -> dict[str, Tensor]:
        """The rows as input of `BertForPreTraining`, as wide as the longest of them.

        input_ids, token_type_ids, attention_mask, labels (B, T); next_sentence_label (B,). The
        labels are -100 but at chosen places: padding and words in plain sight have no loss.
        """
        rows = self.rows[np.sort(numbers)]
        width = int(rows["num_tokens"].max())
        column = np.arange(width)
        real = column < rows["num_tokens"][:, None]  # (B, T)
        labels = np.full(real.shape, IGNORE, dtype=np.int64)  # (B, T)
        row, nth = np.nonzero(np.arange(rows["places"].shape[1]) < rows["chosen"][:, None])
        labels[row, rows["places"][row, nth]] = rows["labels"][row, nth]
        arrays = {
            "input_ids": rows["ids"][:, :width],
            "token_type_ids": real & (column >= rows["second"][:, None]),
            "attention_mask": real,
            "labels": labels,
            "next_sentence_label": rows["is_random"],
        }
        return {name: torch.from_numpy(array.astype(np.int64)) for name, array in arrays.items()}


def rows_of_step(step: int, size: int, count: int, seed: int) -> np.ndarray:
    """The `size` rows of a step, of `count` in all: each pass over them has an order of its own.

    >>> sorted(np.concatenate([rows_of_step(step, 2, 6, seed=0) for step in range(3)]).tolist())
    [0, 1, 2, 3, 4, 5]
    """
    places = np.arange(step * size, (step + 1) * size)
    return np.array([_order(count, seed, int(p) // count)[p % count] for p in places])


@lru_cache(maxsize=2)  # two, because the rows of one step may belong to two passes
def _order(count: int, seed: int, number: int) -> np.ndarray:
    return np.random.default_rng([seed, number]).permutation(count)
