"""The same weights in minibert and in transformers: models with trained-like numbers.

A model of default initialisation hides most mistakes: biases are 0, LayerNorms do nothing, all
attention is nearly flat. So everything here is random and of the size found in trained BERTs,
and all dimensions differ, so that a wrong reshape cannot pass by luck.
"""

import torch
import transformers
from transformers.initialization import no_init_weights

from minibert.core.config import BertConfig
from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel
from minibert.weights.loading import hugging_face_state

TINY = BertConfig(
    vocab_size=61,
    hidden_size=20,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=44,
    max_position_embeddings=16,
)


def trained_like(config: BertConfig = TINY, seed: int = 0) -> BertForPreTraining:
    """A minibert model in eval mode, float64, with numbers as large as training makes them."""
    model = BertForPreTraining(BertModel(config))
    if config.hidden_size < 100:
        model = model.double()
    return draw_weights(model, seed).eval()


def draw_weights(model: BertForPreTraining, seed: int) -> BertForPreTraining:
    """Give a BERT, or a variant of it, trained-like numbers, in place."""
    generator = torch.Generator().manual_seed(seed)
    spread = 2.0 / model.config.hidden_size**0.5

    def draw(parameter: torch.Tensor, mean: float, deviation: float) -> None:
        parameter.data.normal_(mean, deviation, generator=generator)

    for name, parameter in model.named_parameters():
        if "norm.weight" in name:
            draw(parameter, 1.0, 0.3)
        elif "embeddings." in name and parameter.dim() == 2:
            draw(parameter, 0.0, 0.5)
        elif parameter.dim() == 2:
            draw(parameter, 0.0, spread)
        else:
            draw(parameter, 0.0, 0.3)
    return model


def twin_of(model: BertForPreTraining) -> transformers.BertForPreTraining:
    """transformers' BertForPreTraining with the same weights, eager attention, eval mode."""
    config = transformers.BertConfig(**model.config.to_dict())
    config._attn_implementation = "eager"
    with no_init_weights():
        twin = transformers.BertForPreTraining(config)
    state = hugging_face_state(model)
    state["cls.predictions.decoder.weight"] = state["bert.embeddings.word_embeddings.weight"]
    state["cls.predictions.decoder.bias"] = state["cls.predictions.bias"]
    twin = twin.to(next(iter(state.values())).dtype)
    twin.load_state_dict(state, strict=True)
    twin.tie_weights()
    assert twin.cls.predictions.decoder.weight is twin.bert.embeddings.word_embeddings.weight
    return twin.eval()


def tiny_batch(config: BertConfig = TINY, seed: int = 1) -> dict[str, torch.Tensor]:
    """B = 3, T = 7: two segments, two lengths of padding, [PAD] once as a token that is read."""
    generator = torch.Generator().manual_seed(seed)
    input_ids = torch.randint(4, config.vocab_size, (3, 7), generator=generator)
    attention_mask = torch.ones(3, 7, dtype=torch.long)
    attention_mask[1, 5:] = 0
    attention_mask[2, 3:] = 0
    input_ids[attention_mask == 0] = 0
    input_ids[0, 4] = 0
    token_type_ids = torch.tensor([[0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 1, 0, 0], [0] * 7])
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "token_type_ids": token_type_ids,
    }


def tiny_labels(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Masked-word labels at four positions, and a next-sentence label of each kind."""
    labels = torch.full_like(batch["input_ids"], -100)
    for row, column, word in [(0, 1, 9), (0, 5, 33), (1, 2, 60), (2, 1, 4)]:
        labels[row, column] = word
    return {"labels": labels, "next_sentence_label": torch.tensor([0, 1, 1])}
