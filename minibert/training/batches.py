"""Prepared examples -> batches, in an order that any step can be asked for.

Nothing here has a state. The rows of step s are a function of the seed and s, so a run that was
stopped goes on with the very rows that would have come next, and two processes agree on who takes
which rows without a word between them.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minibert.core.checks import IGNORE
from minibert.system.files import read_json
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.training.fresh_masks import FreshMasks
from minibert.training.rows import example_type
from minibert.training.settings import DataSettings

COUNTS = ("rows", "num_tokens")
RENAMED = {"pieces": "num_tokens", "pieces_per_row": "tokens_per_row"}  # in older folders


class Examples:
    """The rows of one part of a prepared folder, "train" or "heldout", mapped into memory.

    On a GPU they lie in its memory if they fit, and batches are made there. Raises
    FileNotFoundError or ValueError if the folder was not made by `prepare`.
    """

    def __init__(self, folder: str | Path, part: str = "train", device: str | torch.device = "cpu"):
        self.folder, self.device = Path(folder), torch.device(device)
        wanted = f"expected a folder made by `minibert prepare FILES -o {folder}`"
        try:
            about = read_json(self.folder / "data.json")
            self.settings = DataSettings(**about["settings"])
            self.vocab_size = int(about["vocab_size"])
            parts = {
                name: {RENAMED.get(key, key): value for key, value in numbers.items()}
                for name, numbers in about["statistics"].items()
            }
            counts = {
                name: {key: int(numbers[key]) for key in COUNTS} for name, numbers in parts.items()
            }
        except FileNotFoundError:
            raise FileNotFoundError(f"no data.json in {folder}: {wanted}") from None
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(
                f"{self.folder / 'data.json'} is not as expected ({error!r}): {wanted}"
            ) from None
        if part not in parts:
            raise ValueError(
                f"{folder} has no {part} part: prepare the text again, with a share held out"
            )
        self.statistics: dict[str, Any] = parts[part] | counts[part]
        kind = example_type(self.settings, self.vocab_size)
        path = self.folder / f"{part}.bin"
        expected = self.statistics["rows"] * kind.itemsize
        if path.stat().st_size != expected:
            raise ValueError(
                f"{path} is damaged: expected {expected:,} bytes, got {path.stat().st_size:,}. "
                "Prepare the text again."
            )
        self.rows = np.memmap(path, dtype=kind, mode="r")
        self.bytes: np.ndarray | Tensor = self.rows.view(np.uint8).reshape(-1, kind.itemsize)
        if self.device.type == "cuda" and expected < torch.cuda.mem_get_info(self.device)[0] / 2:
            self.bytes = torch.from_numpy(np.array(self.bytes)).to(self.device)

    def __len__(self) -> int:
        return len(self.rows)

    def check_tokenizer(self, tokenizer: Tokenizer, other: str = "the model") -> None:
        """Raise ValueError if these rows were made with another vocabulary than a model's, or than
        that of another folder."""
        own = Tokenizer.from_folder(self.folder)
        cased = "do_lower_case"
        if own.vocab != tokenizer.vocab or own.settings[cased] != tokenizer.settings[cased]:
            raise ValueError(
                f"{self.folder} was prepared with another vocabulary than {other}'s: its ids "
                f"stand for other pieces. Prepare the text again, with --vocab and the folder of "
                f"{other}"
            )

    def batch(self, numbers: np.ndarray, masks: FreshMasks | None = None) -> dict[str, Tensor]:
        """The rows as input of `BertForPreTraining`; on a CPU as wide as the longest of them, on a
        GPU all of the same width, so that nothing waits for a length.

        input_ids, token_type_ids, attention_mask, labels (B, T); next_sentence_label (B,). The
        labels are -100 but at chosen places: padding and words in plain sight have no loss. With
        `masks` the chosen places are drawn anew.
        """
        chosen = np.sort(numbers)
        if isinstance(self.bytes, Tensor):
            rows = self.bytes[torch.from_numpy(chosen).to(self.device)]  # (B, bytes)
        else:
            rows = torch.from_numpy(self.bytes[chosen]).to(self.device)
        count, second = self._field(rows, "num_tokens"), self._field(rows, "second")  # (B, 1)
        width = self.settings.length if self.device.type == "cuda" else int(count.max())
        column = torch.arange(width, device=self.device)  # (T,)
        real = column < count  # (B, T)
        ids = self._field(rows, "ids")[:, :width]  # (B, T)
        places, words = self._field(rows, "places"), self._field(rows, "labels")  # (B, P)
        nth = torch.arange(places.shape[1], device=self.device)  # (P,)
        # Unused places are 0, where [CLS] stands, which is never chosen.
        words = torch.where(nth < self._field(rows, "chosen"), words, IGNORE)  # (B, P)
        labels = torch.full_like(ids, IGNORE).scatter(1, places, words)  # (B, T)
        if masks is not None:
            ids, labels = masks.hide(torch.where(labels == IGNORE, ids, labels))
        return {
            "input_ids": ids,
            "token_type_ids": (real & (column >= second)).long(),
            "attention_mask": real.long(),
            "labels": labels,
            "next_sentence_label": self._field(rows, "is_random")[:, 0],
        }

    def _field(self, rows: Tensor, name: str) -> Tensor:
        """A field of the rows (B, bytes) as whole numbers (B, n)."""
        kind, offset = self.rows.dtype.fields[name][:2]  # type: ignore[index]
        part = rows[:, offset : offset + kind.itemsize].flatten().clone()  # aligned
        return part.view(getattr(torch, kind.base.name)).view(len(rows), -1).long()


def rows_of_step(step: int, size: int, count: int, seed: int) -> np.ndarray:
    """The `size` rows of a step, of `count` in all: each pass over them has an order of its own.

    >>> sorted(np.concatenate([rows_of_step(step, 2, 6, seed=0) for step in range(3)]).tolist())
    [0, 1, 2, 3, 4, 5]
    """
    return rows_from(step * size, size, count, seed)


def rows_from(start: int, size: int, count: int, seed: int) -> np.ndarray:
    """The `size` rows that come after `start` others have been read."""
    places = np.arange(start, start + size)
    return np.array([_order(count, seed, int(p) // count)[p % count] for p in places])


@lru_cache(maxsize=2)  # two, because the rows of one step may belong to two passes
def _order(count: int, seed: int, number: int) -> np.ndarray:
    return np.random.default_rng([seed, number]).permutation(count)
