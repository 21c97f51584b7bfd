"""The names of TensorFlow Hub's BERTs: each means what is said of it."""

import pytest
import torch

from minibert.weights.tf_hub import as_hub_outputs, from_hub_inputs
from tests.parity.twins import TINY, tiny_batch, trained_like, twin_of


def test_the_outputs_are_those_of_transformers_under_other_names():
    model, batch = trained_like(), tiny_batch()
    hub = {
        "input_word_ids": batch["input_ids"],
        "input_mask": batch["attention_mask"],
        "input_type_ids": batch["token_type_ids"],
    }
    with torch.no_grad():
        ours = as_hub_outputs(model.bert(**from_hub_inputs(hub), output_hidden_states=True))
        theirs = twin_of(model).bert(**batch, output_hidden_states=True)
    assert set(ours) == {"sequence_output", "pooled_output", "default", "encoder_outputs"}
    assert torch.allclose(ours["sequence_output"], theirs[0], rtol=0, atol=1e-12)
    for name in ("pooled_output", "default"):
        assert torch.allclose(ours[name], theirs[1], rtol=0, atol=1e-12)
    assert len(ours["encoder_outputs"]) == TINY.num_hidden_layers
    for one, other in zip(ours["encoder_outputs"], theirs.hidden_states[1:], strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-12)


def test_what_is_refused():
    with pytest.raises(ValueError, match="expected input_word_ids"):
        from_hub_inputs({"input_ids": [[1]]})
    with pytest.raises(ValueError, match="output_hidden_states=True"):
        as_hub_outputs(trained_like().bert(torch.tensor([[1, 2]])))
