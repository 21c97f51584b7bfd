"""Examples as rows of fixed size, so that training can read them from disk in any order."""

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np

from minibert.tokenizer.tokenizer import Tokenizer
from minibert.training.corpus import Corpus
from minibert.training.masking import Masker
from minibert.training.segments import Segments, segment_pairs
from minibert.training.settings import DataSettings


def example_type(settings: DataSettings, vocab_size: int) -> np.dtype:
    """One row: T ids (padded with [PAD]), and what is needed to make a batch of them."""
    T, P = settings.length, settings.most_hidden
    number = "<u2" if vocab_size <= 2**16 else "<u4"
    return np.dtype(
        [
            ("ids", number, (T,)),  # with words hidden
            ("num_tokens", "<u2"),  # how many of the ids are not padding
            ("second", "<u2"),  # where segment B begins
            ("places", "<u2", (P,)),  # the places chosen, in order; the first `chosen` of them
            ("labels", number, (P,)),  # what stood there
            ("chosen", "<u2"),
            ("is_random", "<u1"),  # 1 if B is from another document
            ("documents", "<u4", (2,)),  # the numbers of the documents of A and B
        ]
    )


def tasks_of(corpus: Corpus, settings: DataSettings) -> list[list[tuple[int, int]]]:
    """(pass, document) for every document of every pass, in lists of about a block's work.

    Raises ValueError for fewer than two documents with text.
    """
    count = len(corpus.documents) - 1
    if count < 2:
        raise ValueError(
            f"expected at least 2 documents with text in them, since half of all next sentences "
            f"come from another one; got {count}. A blank line ends a document."
        )
    order = [(again, document) for again in range(settings.duplicates) for document in range(count)]
    return [order[at : at + 64] for at in range(0, len(order), 64)]


def make_rows(
    corpus: Corpus, tokenizer: Tokenizer, settings: DataSettings, task: Sequence[tuple[int, int]]
) -> np.ndarray:
    """The rows of some documents. Each document has random numbers of its own in each pass, so its
    rows are the same whoever makes them."""
    masker = Masker(tokenizer, settings.mask_share, settings.whole_words)
    kind = example_type(settings, len(tokenizer))
    rows: list[np.ndarray] = []
    for again, document in task:
        rng = random.Random(f"{settings.seed} {again} {document}")
        for segments in segment_pairs(
            corpus, document, settings.length - 3, settings.short_share, rng
        ):
            rows.append(make_row(segments, tokenizer, masker, kind, rng))
    return np.array(rows, dtype=kind)


def make_row(
    segments: Segments, tokenizer: Tokenizer, masker: Masker, kind: np.dtype, rng: random.Random
) -> np.ndarray:
    """[CLS] A [SEP] B [SEP], with words hidden, as one row."""
    first, second, documents = segments
    sep = tokenizer.sep_id
    ids = [tokenizer.cls_id, *first, sep, *second, sep]
    places, labels = masker.hide(ids, rng)
    row = np.zeros((), dtype=kind)
    row["ids"] = tokenizer.pad_id
    row["ids"][: len(ids)] = ids
    row["num_tokens"], row["second"] = len(ids), len(first) + 2
    row["places"][: len(places)], row["labels"][: len(labels)] = places, labels
    row["chosen"] = len(places)
    row["documents"], row["is_random"] = documents, documents[0] != documents[1]
    return row


def count_rows(part: np.ndarray, tokenizer: Tokenizer) -> Counter[str]:
    """What there is in these rows, read off the rows themselves; `shares` makes shares of it."""
    special = np.array(sorted(tokenizer.special_ids))
    chosen = np.arange(part["places"].shape[1]) < part["chosen"][:, None]
    now = np.take_along_axis(part["ids"], part["places"].astype(np.int64), 1)[chosen]
    before = part["labels"][chosen]
    is_random = part["is_random"].astype(bool)
    same_document = part["documents"][:, 0] == part["documents"][:, 1]
    real = np.arange(part["ids"].shape[1]) < part["num_tokens"][:, None]
    unknown = int((part["ids"] == tokenizer.unk_id).sum())
    return Counter(
        {
            "rows": len(part),
            "num_tokens": int(real.sum()),
            "ordinary": int(real.sum()) - 3 * len(part) - unknown,
            "full": int((part["num_tokens"] == part["ids"].shape[1]).sum()),
            "chosen": len(now),
            "masked": int((now == tokenizer.mask_id).sum()),
            "same": int((now == before).sum()),
            "random_next": int(is_random.sum()),
            "random_same_document": int((is_random & same_document).sum()),
            "next_other_document": int((~is_random & ~same_document).sum()),
            "special_chosen": int(np.isin(before, special).sum()),
            "unknown": unknown,
        }
    )


def shares(total: Counter[str], tokenizer: Tokenizer) -> dict[str, float]:
    """What the paper asks for can be seen here.

    chosen is the share of ordinary pieces; masked, other and same are shares of the chosen ones;
    random_next is a share of the rows. special_chosen and the two proofs of random_next, which
    are counts, must be 0. Raises ValueError if the vocabulary has none of the text's pieces.
    """
    if total["chosen"] == 0:
        raise ValueError(
            f"all pieces of the text are {tokenizer.special_tokens['unk_token']}: expected a "
            "vocabulary of its language and script"
        )
    other = total["chosen"] - total["masked"] - total["same"]
    return {
        "rows": total["rows"],
        "num_tokens": total["num_tokens"],
        "tokens_per_row": total["num_tokens"] / total["rows"],
        "full_rows": total["full"] / total["rows"],
        "unknown": total["unknown"] / total["num_tokens"],
        "chosen": total["chosen"] / total["ordinary"],
        "chosen_masked": total["masked"] / total["chosen"],
        "chosen_other": other / total["chosen"],
        "chosen_same": total["same"] / total["chosen"],
        "special_chosen": total["special_chosen"],
        "random_next": total["random_next"] / total["rows"],
        "random_from_same_document": total["random_same_document"],
        "next_from_other_document": total["next_other_document"],
    }
