"""A model for rows of 64 pieces -> one for rows of 128: the position table, repeated.

Training on short rows first is cheap, but it leaves later positions without a vector. New ones at
random would have to be learned from nothing. Heads look at neighbours, and what tells neighbours
is the difference of two positions; so the trained table, laid down again and again, is a far
better start.

Source: Beltagy et al. 2020, "Longformer", section 5 (there from 512 to 4,096).
"""

import dataclasses

import torch

from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel


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
