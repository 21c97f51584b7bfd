"""The readable model itself, called as `FastBert` is: for a model that `fast/` cannot copy."""

from collections.abc import Sequence

import torch
from torch import Tensor

from minibert.core.model import BertModel
from minibert.fast.linear import full_float32
from minibert.fast.same import count_states
from minibert.fast.unpadded import groups_of

BATCH_TOKENS = 1024  # tokens that go through the model at a time


class Readable:
    """Calls `model` as `model(**tokenizer(texts))` does, with whatever was put into it.

    `difference` says what that is (`what_differs`). Raises ValueError in train mode, where
    dropout could not be left out.
    """

    batch_tokens = BATCH_TOKENS

    def __init__(self, model: BertModel, difference: str):
        if model.training:
            raise ValueError(
                f"the model is in train mode, and not as it was made ({difference}), so dropout "
                f"would blur the vectors: model.eval()"
            )
        self.model, self.device = model, next(model.parameters()).device

    def states(
        self,
        input_ids: Tensor,
        lengths: Sequence[int],
        layers: Sequence[int] = (-1,),
        *,
        pooler: bool = False,
    ) -> list[Tensor]:
        """As `FastBert.states`."""
        count = count_states(self.model)
        wanted = [layer % count for layer in layers]
        groups = []
        # Hooks and wrappers may keep what they see, so it must not come from inference mode.
        with torch.inference_mode(False), torch.no_grad(), full_float32(self.device):
            parts = input_ids.clone().split([texts * T for texts, T in groups_of(lengths)])
            for ids, (texts, T) in zip(parts, groups_of(lengths)):
                ids = ids.view(texts, T)
                output = self.model(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    token_type_ids=torch.zeros_like(ids),
                    output_hidden_states=set(wanted) != {count - 1},
                )
                states = (*(output.hidden_states or [None] * count)[:-1], output.last_hidden_state)
                if len(states) != count:
                    raise ValueError(
                        f"the model gave {len(states)} hidden states, expected {count}: "
                        f"one more than it has blocks"
                    )
                group = [states[layer].reshape(texts * T, -1) for layer in wanted]
                groups.append([*group, output.pooler_output] if pooler else group)
        return [torch.cat(columns) for columns in zip(*groups)]
