"""The names by which TensorFlow Hub's BERTs take and give, beside ours.

    ours                                                   TensorFlow Hub
    input_ids                                              input_word_ids
    attention_mask                                         input_mask
    token_type_ids                                         input_type_ids
    last_hidden_state                                      sequence_output
    pooler_output                                          pooled_output, default
    hidden_states[1:], the states after each block         encoder_outputs
    hidden_states[0], the sum of embeddings                (is not given)

The weights themselves come by `python -m weights_tools convert` from Google's checkpoints.

Source: the SavedModel interface "transformer encoders" of TensorFlow Hub, version 1.1.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from minibert.core.model import BertOutput

INPUTS = {
    "input_word_ids": "input_ids",
    "input_mask": "attention_mask",
    "input_type_ids": "token_type_ids",
}


def from_hub_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a TensorFlow Hub model takes -> the arguments of ours.

    >>> from_hub_inputs({"input_word_ids": [[2, 3]], "input_mask": [[1, 1]]})
    {'input_ids': [[2, 3]], 'attention_mask': [[1, 1]]}
    """
    unknown = set(inputs) - set(INPUTS)
    if unknown or "input_word_ids" not in inputs:
        raise ValueError(f"expected {', '.join(INPUTS)}, got {', '.join(inputs)}")
    return {INPUTS[name]: value for name, value in inputs.items()}


def as_hub_outputs(output: BertOutput) -> dict[str, Tensor | list[Tensor]]:
    """What our model gives -> the outputs of a TensorFlow Hub model, by its names.

    Raises ValueError if the output has no pooler_output, or no hidden_states.
    """
    if output.pooler_output is None or output.hidden_states is None:
        raise ValueError(
            "expected a model with a pooler, asked with output_hidden_states=True: TensorFlow "
            "Hub's models always give both"
        )
    return {
        "sequence_output": output.last_hidden_state,
        "pooled_output": output.pooler_output,
        "default": output.pooler_output,
        "encoder_outputs": list(output.hidden_states[1:]),
    }
