"""BERTs as students write them: right ones in other words, and wrong ones. For the checker."""

import functools

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from torch import nn

from minibert.core.config import BertConfig
from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel
from minibert.weights.names import name_table
from tutorials.numpy_bert import NumpyBert


def hugging_face(config, weights):
    """transformers' model, built by the student's own function."""
    own = transformers.BertConfig(**vars(config))
    own._attn_implementation = "eager"
    model = transformers.BertForPreTraining(own).double()
    model.load_state_dict({key: torch.tensor(w) for key, w in weights.items()}, strict=False)
    return model.eval()


def hugging_face_float32(config, weights):
    model = hugging_face(config, weights).float()

    def call(input_ids, token_type_ids, attention_mask):
        return model(
            input_ids,
            token_type_ids=token_type_ids,
            attention_mask=attention_mask,
            output_hidden_states=True,
            output_attentions=True,
        )

    return call


def mine(config, weights):
    """minibert's own model; for patches."""
    fields = {k: v for k, v in vars(config).items() if k not in ("model_type", "head_size")}
    drop = {k: fields.pop(k) for k in ("hidden_dropout_prob", "attention_probs_dropout_prob")}
    model = BertForPreTraining(BertModel(BertConfig(**fields))).double()
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            inside = ".attention." in name
            module.p = drop["attention_probs_dropout_prob" if inside else "hidden_dropout_prob"]
    state = {}
    for key, array in weights.items():
        ours = name_table(model.config)[key.removeprefix("bert.")]
        front = "" if ours.startswith(("masked_word", "next_sentence")) else "bert."
        state[front + ours] = torch.tensor(array)
    model.load_state_dict(state)
    return model


class OtherWords(nn.Module):
    """A right encoder in another style: one projection for q, k and v, einsum, sums reordered."""

    def __init__(self, config):
        super().__init__()
        H, A = config.hidden_size, config.num_attention_heads
        self.heads = A
        self.words = nn.Embedding(config.vocab_size, H)
        self.kinds = nn.Embedding(2, H)
        self.places = nn.Parameter(torch.zeros(config.max_position_embeddings, H))
        self.first = nn.LayerNorm(H, eps=1e-12)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))

    def forward(self, tokens, segments, mask):
        x = self.places[: tokens.shape[1]] + (self.kinds(segments) + self.words(tokens))
        x = self.first(x)
        for layer in self.layers:
            x = layer(x, mask[:, None, None, :].bool(), self.heads)
        return x


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        H, I = config.hidden_size, config.intermediate_size  # noqa: E741
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(H, H) for _ in range(4))
        self.n1, self.n2 = nn.LayerNorm(H, eps=1e-12), nn.LayerNorm(H, eps=1e-12)
        self.up, self.down = nn.Linear(H, I), nn.Linear(I, H)

    def forward(self, x, visible, heads):
        q, k, v = (w(x).unflatten(-1, (heads, -1)) for w in (self.wq, self.wk, self.wv))
        scores = torch.einsum("bqhd,bkhd->bhqk", q / q.shape[-1] ** 0.5, k)
        p = self.softmax(scores.masked_fill(~visible, -torch.inf))
        x = self.n1(self.add(x, self.wo(torch.einsum("bhqk,bkhd->bqhd", p, v).flatten(2))))
        return self.n2(self.add(x, self.down(F.gelu(self.up(x)))))

    def softmax(self, scores):
        return scores.softmax(-1)

    def add(self, x, y):
        return x + y


class AddsInPlace(OtherWords):
    """Right numbers; but `x += ...` changes tensors that the backward pass needs."""

    def __init__(self, config):
        super().__init__(config)
        for layer in self.layers:
            layer.add = torch.Tensor.add_


class SoftmaxInFloat32(OtherWords):
    """As in models made for half precision; probabilities and values then have two dtypes."""

    def __init__(self, config):
        super().__init__(config)
        for layer in self.layers:
            layer.softmax = functools.partial(torch.softmax, dim=-1, dtype=torch.float32)


class FailsInTrainMode(OtherWords):
    def forward(self, tokens, segments, mask):
        x = super().forward(tokens, segments, mask)
        return self.dropuot(x) if self.training else x


class LogitsAlone(transformers.BertForMaskedLM):
    def forward(self, input_ids=None, token_type_ids=None, attention_mask=None):
        x = super().forward(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)
        return x.logits


NAMES = {
    "words": "embeddings.word_embeddings",
    "kinds": "embeddings.token_type_embeddings",
    "places": "embeddings.position_embeddings.weight",
    "first": "embeddings.LayerNorm",
    "layers.N.wq": "encoder.layer.N.attention.self.query",
    "layers.N.wk": "encoder.layer.N.attention.self.key",
    "layers.N.wv": "encoder.layer.N.attention.self.value",
    "layers.N.wo": "encoder.layer.N.attention.output.dense",
    "layers.N.n1": "encoder.layer.N.attention.output.LayerNorm",
    "layers.N.up": "encoder.layer.N.intermediate.dense",
    "layers.N.down": "encoder.layer.N.output.dense",
    "layers.N.n2": "encoder.layer.N.output.LayerNorm",
}


class NoKeyBias(OtherWords):
    def __init__(self, config):
        super().__init__(config)
        for layer in self.layers:
            layer.wk = nn.Linear(config.hidden_size, config.hidden_size, bias=False)


class WrongSize(OtherWords):
    def __init__(self, config):
        super().__init__(config)
        self.first = nn.LayerNorm(768)


class NewLayerInForward(OtherWords):
    def forward(self, tokens, segments, mask):
        x = super().forward(tokens, segments, mask)
        return nn.Linear(x.shape[-1], x.shape[-1]).double()(x)


class LiveDropout(transformers.BertModel):
    """Dropout that eval() does not switch off, as scaled_dot_product_attention's argument."""

    def forward(self, input_ids=None, token_type_ids=None, attention_mask=None):
        x = super().forward(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)
        return F.dropout(x.last_hidden_state, self.config.hidden_dropout_prob)


class ChangesItsInput(OtherWords):
    def forward(self, tokens, segments, mask):
        tokens += 1
        return super().forward(tokens - 1, segments, mask)


class Detached(OtherWords):
    def forward(self, tokens, segments, mask):
        return super().forward(tokens, segments, mask).detach()


def numpy(config, weights):
    """A BERT without torch."""
    bert = NumpyBert(weights, heads=config.num_attention_heads)

    def call(input_ids, token_type_ids, attention_mask):
        return numpy_states(bert, input_ids, token_type_ids, attention_mask)

    return call


def turned_attentions(config, weights):
    """Right, but for the first two axes of the attentions, which are exchanged."""
    right = numpy(config, weights)

    def call(input_ids, token_type_ids, attention_mask):
        output = right(input_ids, token_type_ids, attention_mask)
        tables = {name: x.swapaxes(0, 1) for name, x in output.items() if "attentions" in name}
        return {**output, **tables}

    return call


def numpy_states(bert, input_ids, token_type_ids, attention_mask):
    arrays = [np.asarray(each) for each in (input_ids, token_type_ids, attention_mask)]
    states, attentions, pooled = bert.forward(
        arrays[0], token_type_ids=arrays[1], attention_mask=arrays[2]
    )
    named = {f"hidden_states.{n}": each for n, each in enumerate(states)}
    named |= {f"attentions.{n}": each for n, each in enumerate(attentions)}
    logits = bert.predict_words(states[-1])
    return {**named, "pooler_output": pooled, "prediction_logits": logits}


def returns_nothing_known(config, weights):
    return lambda input_ids: {"something": 3.0}


def fails(config, weights):
    return lambda input_ids: input_ids.no_such_thing


def not_callable(config, weights):
    return 3


def other_arguments(config, weights):
    return lambda sentence: sentence


def gives_nan(config, weights):
    right = hugging_face(config, weights)

    def call(input_ids, token_type_ids, attention_mask):
        x = right.bert(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)
        return x.last_hidden_state * float("nan")

    return call
