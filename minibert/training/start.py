"""Where training starts: from counts, if the model is new; from a longer table, if it is trained.

*Counts.* The first thing a new BERT learns is how common each piece is, and the next is which
pieces keep the same company. Both can be counted, in a minute, over more text than the training
will see. So the masked-word head's bias may start at the logs of the shares, which is the best
guess without reading anything; and the token table at vectors whose products tell how much more
often than by chance two pieces stand near each other (positive pointwise mutual information, PPMI).
This is not in the paper, and a long training does not need it. It takes memory for three tables
of V x V numbers: 0.8 GB for a vocabulary of 8,192, 11 GB for one of 30,522.

*A longer position table.* Training on short rows first is cheap, but it leaves later positions
without a vector. New ones at random would have to be learned from nothing. Heads look at
neighbours, and what tells neighbours is the difference of two positions; so the trained table,
laid down again and again, is a far better start.

Sources: Levy and Goldberg 2014, "Neural Word Embedding as Implicit Matrix Factorization", sections
3 and 4; Levy et al. 2015, "Improving Distributional Similarity with Lessons Learned from Word
Embeddings", section 3 (smoothing, sqrt of the singular values); Beltagy et al. 2020, "Longformer",
section 5 (a position table repeated, there from 512 to 4,096).
"""

import dataclasses

import numpy as np
import torch
from torch import Tensor

from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.training.batches import Examples


def start_from_counts(model: BertForPreTraining, examples: Examples, window: int = 4) -> None:
    """Set the word head's bias and the token table from counts over the examples, in place."""
    if model.masked_word is None:
        raise ValueError("counts set the bias of the masked-word head; this model has no such head")
    config = model.config
    device = model.bert.embeddings.token.weight.device
    together = count_neighbours(examples, config.vocab_size, window, device)
    vectors = ppmi_vectors(together, config.hidden_size)
    seen = together.sum(dim=1) > 0
    table = model.bert.embeddings.token.weight
    with torch.no_grad():
        scale = config.initializer_range / vectors[seen].std()
        table[seen] = (vectors * scale).to(table)[seen]  # special tokens keep their random rows
        shares = label_shares(examples, config.vocab_size)
        model.masked_word.bias.copy_(shares.log())


def label_shares(examples: Examples, vocab_size: int) -> Tensor:
    """The share of each piece among the hidden ones, (V,); each counts once more than it came."""
    rows = examples.rows
    chosen = np.arange(rows["labels"].shape[1]) < rows["chosen"][:, None]
    counts = np.bincount(rows["labels"][chosen], minlength=vocab_size) + 1
    return torch.from_numpy(counts / counts.sum()).float()


def count_neighbours(
    examples: Examples, vocab_size: int, window: int, device: torch.device | str = "cpu"
) -> Tensor:
    """How often piece a stands within `window` places of piece b, (V, V), in one pass of the text.

    A neighbour d places away counts 1 / d. Special tokens have no neighbours.
    """
    V = vocab_size
    counts = torch.zeros(V * V, device=device)
    one_pass = len(examples) // examples.settings.duplicates
    special = np.array(sorted(Tokenizer.from_folder(examples.folder).special_ids))
    for start in range(0, one_pass, 2**17):
        ids = plain_ids(examples.rows[start : min(start + 2**17, one_pass)])
        ordinary = ~np.isin(ids, special)
        for distance in range(1, window + 1):
            near = ordinary[:, distance:] & ordinary[:, :-distance]
            left, right = ids[:, :-distance][near], ids[:, distance:][near]
            pairs = torch.from_numpy(left * V + right).to(device)
            counts.index_add_(0, pairs, torch.full((len(pairs),), 1 / distance, device=device))
    counts = counts.view(V, V)
    return counts + counts.T


def plain_ids(rows: np.ndarray) -> np.ndarray:
    """The ids of the rows (N, T) with the hidden words put back."""
    ids = rows["ids"].astype(np.int64)
    row, nth = np.nonzero(np.arange(rows["places"].shape[1]) < rows["chosen"][:, None])
    ids[row, rows["places"][row, nth]] = rows["labels"][row, nth]
    return ids


def ppmi_vectors(together: Tensor, size: int) -> Tensor:
    """Vectors (V, size) whose products are near the positive mutual information of the pieces.

        information(a, b) = log( count(a, b) * total / (count(a) * count(b)) ), if positive

    >>> cat, dog, sat = ppmi_vectors(torch.tensor([[0., 0, 5], [0, 0, 5], [5, 5, 0]]), 2)
    >>> bool(torch.allclose(cat, dog, atol=1e-4))
    True
    """
    totals = together.sum(dim=1).clamp(min=1e-9)
    smooth = totals**0.75  # rare neighbours tell less than their counts say
    information = together / totals[:, None]
    information /= smooth / smooth.sum()
    information.log_().clamp_(min=0)
    torch.manual_seed(0)
    left, values, _ = torch.svd_lowrank(information, q=min(size, len(together)), niter=4)
    vectors = torch.zeros(len(together), size, device=together.device)
    vectors[:, : len(values)] = left * values.sqrt()
    return vectors


def lengthen(model: BertForPreTraining, positions: int) -> BertForPreTraining:
    """A copy of the model that takes `positions` pieces; all else is as it was.

    Raises ValueError if the model takes more already.

    >>> from minibert.core.config import BertConfig
    >>> config = BertConfig(vocab_size=61, hidden_size=20, num_hidden_layers=1,
    ...                     num_attention_heads=4, intermediate_size=44, max_position_embeddings=4)
    >>> longer = lengthen(BertForPreTraining(BertModel(config)), 10)
    >>> table = longer.bert.embeddings.position.weight
    >>> bool((table[4:8] == table[:4]).all() and (table[8:] == table[:2]).all())
    True
    """
    have = model.config.max_position_embeddings
    if positions < have:
        raise ValueError(
            f"the model takes {have} pieces already, {positions} were asked for: a position table "
            "is only ever lengthened"
        )
    config = dataclasses.replace(model.config, max_position_embeddings=positions)
    longer = BertForPreTraining(
        BertModel(config, add_pooling_layer=model.bert.pooler is not None),
        masked_word=model.masked_word is not None,
        next_sentence=model.next_sentence is not None,
    )
    weights = model.state_dict()
    name = "bert.embeddings.position.weight"
    weights[name] = weights[name][torch.arange(positions) % have]
    longer.load_state_dict(weights)
    return longer.train(model.training)


def repeat_positions(model: BertForPreTraining, trained: int) -> None:
    """Lay the first `trained` rows of the position table down again and again, in place."""
    table = model.bert.embeddings.position.weight
    with torch.no_grad():
        table.copy_(table[torch.arange(len(table)) % trained])
