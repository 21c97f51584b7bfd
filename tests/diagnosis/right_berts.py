"""Forty right BERTs in other words: one plain model, and each time one step written otherwise."""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from tests.diagnosis import own_berts

NAMES = {**own_berts.NAMES, "pool": "pooler.dense"}


class Layer(nn.Module):
    """Attention and feed-forward, each step a method."""

    def __init__(self, config):
        super().__init__()
        H, I = config.hidden_size, config.intermediate_size  # noqa: E741
        self.heads = config.num_attention_heads
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(H, H) for _ in range(4))
        self.n1, self.n2 = nn.LayerNorm(H, eps=1e-12), nn.LayerNorm(H, eps=1e-12)
        self.up, self.down = nn.Linear(H, I), nn.Linear(I, H)
        self.drop = nn.Dropout(config.hidden_dropout_prob)
        self.drop_table = nn.Dropout(config.attention_probs_dropout_prob)

    def split(self, x):
        B, T, H = x.shape
        return x.view(B, T, self.heads, H // self.heads).transpose(1, 2)

    def merge(self, x):
        return x.transpose(1, 2).flatten(2)

    def scores(self, q, k):
        return q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])

    def hide(self, scores, mask):
        return scores.masked_fill(mask[:, None, None, :] == 0, -1e9)

    def softmax(self, scores):
        return scores.softmax(-1)

    def weigh(self, table, v):
        return table @ v

    def attend(self, q, k, v, mask):
        table = self.softmax(self.hide(self.scores(q, k), mask))
        return self.weigh(self.drop_table(table), v)

    def attention(self, x, mask):
        q, k, v = self.split(self.wq(x)), self.split(self.wk(x)), self.split(self.wv(x))
        return self.wo(self.merge(self.attend(q, k, v, mask)))

    def gelu(self, x):
        return F.gelu(x)

    def think(self, x):
        return self.down(self.gelu(self.up(x)))

    def forward(self, x, mask):
        x = self.n1(x + self.drop(self.attention(x, mask)))
        return self.n2(x + self.drop(self.think(x)))


class Plain(nn.Module):
    layer = Layer

    def __init__(self, config):
        super().__init__()
        H = config.hidden_size
        self.words = nn.Embedding(config.vocab_size, H, padding_idx=0)
        self.kinds = nn.Embedding(2, H)
        self.places = nn.Parameter(torch.zeros(config.max_position_embeddings, H))
        self.first = nn.LayerNorm(H, eps=1e-12)
        self.layers = nn.ModuleList(self.layer(config) for _ in range(config.num_hidden_layers))
        self.pool = nn.Linear(H, H)
        self.drop = nn.Dropout(config.hidden_dropout_prob)

    def embed(self, tokens, segments):
        return self.words(tokens) + self.kinds(segments) + self.places[: tokens.shape[1]]

    def run(self, x, mask):
        for layer in self.layers:
            x = layer(x, mask)
        return x

    def pooled(self, x):
        return self.pool(x[:, 0]).tanh()

    def forward(self, tokens, segments, mask):
        x = self.run(self.drop(self.first(self.embed(tokens, segments))), mask)
        return {"last_hidden_state": x, "pooler_output": self.pooled(x)}


def other_layer(**methods):
    """Plain, with a layer in which these methods are other ones."""
    return type("Other", (Plain,), {"layer": type("OtherLayer", (Layer,), methods)})


def other_model(**methods):
    return type("Other", (Plain,), methods)


def by_hand(change):
    """Every LayerNorm is computed by `change(norm, x)`."""

    class Norm(nn.LayerNorm):
        def forward(self, x):
            return change(self, x)

    def init(self, config):
        Plain.__init__(self, config)
        for module in self.modules():
            if type(module) is nn.LayerNorm:
                module.__class__ = Norm

    return type("Other", (Plain,), {"__init__": init})


def attend_one_head_at_a_time(self, q, k, v, mask):
    parts = []
    for head in range(self.heads):
        scores = q[:, head] @ k[:, head].transpose(1, 2) / q.shape[-1] ** 0.5
        table = scores.masked_fill(mask[:, None, :] == 0, -1e9).softmax(-1)
        parts.append(self.drop_table(table) @ v[:, head])
    return torch.stack(parts, 1)


def attend_one_text_at_a_time(self, q, k, v, mask):
    parts = []
    for text in range(len(q)):
        scores = self.scores(q[text], k[text]).masked_fill(mask[text] == 0, -1e9)
        parts.append(self.drop_table(scores.softmax(-1)) @ v[text])
    return torch.stack(parts)


def attend_flat(self, q, k, v, mask):
    B, A, T, D = q.shape
    q, k, v = (x.reshape(B * A, T, D) for x in (q, k, v))
    bias = (1 - mask.to(q))[:, None, :].repeat_interleave(A, 0) * -1e9
    table = torch.baddbmm(bias.expand(B * A, T, T), q, k.transpose(1, 2), alpha=D**-0.5).softmax(-1)
    return torch.bmm(self.drop_table(table), v).view(B, A, T, D)


def sdpa(self, q, k, v, mask):
    p = self.drop_table.p if self.training else 0.0
    return F.scaled_dot_product_attention(q, k, v, mask[:, None, None, :].bool(), p)


def sdpa_additive(self, q, k, v, mask):
    bias = (1 - mask[:, None, None, :].to(q)) * torch.finfo(q.dtype).min
    p = self.drop_table.p if self.training else 0.0
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=p)


def softmax_by_hand(self, scores):
    e = (scores - scores.amax(-1, keepdim=True)).exp()
    return e / e.sum(-1, keepdim=True)


def hide_and_renormalise(self, q, k, v, mask):
    table = self.scores(q, k).softmax(-1) * mask[:, None, None, :]
    return self.weigh(self.drop_table(table / table.sum(-1, keepdim=True)), v)


def hide_both_ways(self, scores, mask):
    both = (mask[:, None, :, None] * mask[:, None, None, :]) == 0
    return scores.masked_fill(both, -1e9)


def think_in_pieces(self, x):
    return torch.cat([self.down(self.gelu(self.up(part))) for part in x.split(3, dim=1)], 1)


def run_flat(self, x, mask):
    """Every linear layer sees (B * T, H)."""
    B, T, H = x.shape
    for layer in self.layers:
        flat = x.reshape(B * T, H)
        q, k, v = (layer.split(w(flat).view(B, T, H)) for w in (layer.wq, layer.wk, layer.wv))
        mixed = layer.wo(layer.merge(layer.attend(q, k, v, mask)).reshape(B * T, H))
        flat = layer.n1(flat + layer.drop(mixed))
        x = layer.n2(flat + layer.drop(layer.think(flat))).view(B, T, H)
    return x


def run_unpadded(self, x, mask):
    """Padding is taken out before the blocks, and comes back as zeros."""
    output = torch.zeros_like(x)
    for text, real in enumerate(mask.bool()):
        one = x[text, real][None]
        for layer in self.layers:
            one = layer(one, torch.ones(1, one.shape[1]))
        output[text, real] = one[0]
    return output


def run_time_first(self, x, mask):
    x = x.transpose(0, 1)
    for layer in self.layers:
        x = layer(x.transpose(0, 1), mask).transpose(0, 1)
    return x.transpose(0, 1)


def run_checkpointed(self, x, mask):
    for layer in self.layers:
        x = checkpoint(layer, x, mask, use_reentrant=False) if x.requires_grad else layer(x, mask)
    return x


def embed_one_hot(self, tokens, segments):
    words = F.one_hot(tokens, len(self.words.weight)).to(self.places) @ self.words.weight
    kinds = torch.where(segments[..., None] == 1, self.kinds.weight[1], self.kinds.weight[0])
    return words + kinds + self.places[torch.arange(tokens.shape[1])]


def embed_by_index_select(self, tokens, segments):
    x = self.words.weight.index_select(0, tokens.flatten()).view(*tokens.shape, -1)
    return self.places[None, : tokens.shape[1]] + x + F.embedding(segments, self.kinds.weight)


def as_tuple(self, tokens, segments, mask):
    x = self.run(self.drop(self.first(self.embed(tokens, segments))), mask)
    return x, self.pooled(x)


class TakesPadding(Plain):
    """The mask of torch's own layers: true at padding."""

    def forward(self, src, segment_ids, src_key_padding_mask):
        return super().forward(src, segment_ids, (~src_key_padding_mask).long())


class TakesLengths(Plain):
    def forward(self, tokens, segments, valid_lens):
        places = torch.arange(tokens.shape[1])
        return super().forward(tokens, segments, (places < valid_lens[:, None]).long())


def joint(config, weights):
    """One matrix for query, key and value."""
    weights = {name: torch.tensor(array) for name, array in weights.items()}

    class Joint(Layer):
        def __init__(self, config):
            super().__init__(config)
            self.wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
            del self.wq, self.wk, self.wv

        def attention(self, x, mask):
            q, k, v = (self.split(each) for each in self.wqkv(x).chunk(3, dim=-1))
            return self.wo(self.merge(self.attend(q, k, v, mask)))

    model = type("Other", (Plain,), {"layer": Joint})(config).double()
    _load(model, weights, skip="wqkv")
    with torch.no_grad():
        for number, layer in enumerate(model.layers):
            front = f"bert.encoder.layer.{number}.attention.self"
            for leaf in ("weight", "bias"):
                three = [weights[f"{front}.{part}.{leaf}"] for part in ("query", "key", "value")]
                getattr(layer.wqkv, leaf).copy_(torch.cat(three))
    return model


def _load(model, weights, skip):
    """Fill a model under NAMES with weights under Hugging Face's names."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if skip in name:
                continue
            stem, _, leaf = name.rpartition(".")
            number = next((part for part in stem.split(".") if part.isdigit()), "")
            key = NAMES[".".join("N" if part.isdigit() else part for part in stem.split("."))
                        if stem else leaf]  # fmt: skip
            key = key.replace(".N.", f".{number}.")
            parameter.copy_(weights[f"bert.{key}" + (f".{leaf}" if stem else "")])


def torchs_attention(config, weights):
    """nn.MultiheadAttention with its own dropout."""
    weights = {name: torch.tensor(array) for name, array in weights.items()}

    class Ready(Layer):
        def __init__(self, config):
            super().__init__(config)
            self.mha = nn.MultiheadAttention(
                config.hidden_size,
                config.num_attention_heads,
                dropout=config.attention_probs_dropout_prob,
                batch_first=True,
            )
            del self.wq, self.wk, self.wv, self.wo, self.drop_table

        def attention(self, x, mask):
            return self.mha(x, x, x, key_padding_mask=mask == 0, need_weights=False)[0]

    model = type("Other", (Plain,), {"layer": Ready})(config).double()
    _load(model, weights, skip="mha")
    with torch.no_grad():
        for number, layer in enumerate(model.layers):
            front = f"bert.encoder.layer.{number}.attention"
            for leaf in ("weight", "bias"):
                three = [
                    weights[f"{front}.self.{part}.{leaf}"] for part in ("query", "key", "value")
                ]
                getattr(layer.mha, f"in_proj_{leaf}").copy_(torch.cat(three))
                getattr(layer.mha.out_proj, leaf).copy_(weights[f"{front}.output.dense.{leaf}"])
    return model


def plain_tensors(config, weights):
    """No module at all: a function of a dict of tensors."""
    model = Plain(config).double().eval()
    _load(model, {name: torch.tensor(array) for name, array in weights.items()}, skip="!")

    def call(input_ids, token_type_ids, attention_mask):
        return model(input_ids, token_type_ids, attention_mask)

    return call


def single_precision(config, weights):
    model = Plain(config)
    _load(model, {name: torch.tensor(array) for name, array in weights.items()}, skip="!")
    model = model.float().eval()

    def call(ids, segments, mask):
        return model(ids, segments, mask)

    return call


def jax_bert(config, weights):
    """The same in JAX."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    w = {name.removeprefix("bert."): jnp.asarray(array) for name, array in weights.items()}
    A = config.num_attention_heads

    def dense(name, x):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(name, x):
        x = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def block(name, x, bias):
        B, T, H = x.shape
        q, k, v = (
            dense(f"{name}.attention.self.{part}", x).reshape(B, T, A, H // A)
            for part in ("query", "key", "value")
        )
        scores = jnp.einsum("bqad,bkad->baqk", q, k) / (H // A) ** 0.5 + bias
        mixed = jnp.einsum("baqk,bkad->bqad", jax.nn.softmax(scores), v).reshape(B, T, H)
        x = norm(
            f"{name}.attention.output.LayerNorm", x + dense(f"{name}.attention.output.dense", mixed)
        )
        up = jax.nn.gelu(dense(f"{name}.intermediate.dense", x), approximate=False)
        return norm(f"{name}.output.LayerNorm", x + dense(f"{name}.output.dense", up))

    def call(input_ids, token_type_ids, attention_mask):
        ids, segments, mask = (
            jnp.asarray(x.numpy()) for x in (input_ids, token_type_ids, attention_mask)
        )
        x = w["embeddings.word_embeddings.weight"][ids]
        x = x + w["embeddings.token_type_embeddings.weight"][segments]
        x = norm(
            "embeddings.LayerNorm", x + w["embeddings.position_embeddings.weight"][: ids.shape[1]]
        )
        bias = jnp.where(mask[:, None, None, :] == 0, -1e9, 0.0)
        for number in range(config.num_hidden_layers):
            x = block(f"encoder.layer.{number}", x, bias)
        return {"last_hidden_state": x}

    return call


RIGHT = {
    "plain": Plain,
    "einsum": other_layer(
        scores=lambda self, q, k: torch.einsum("bhqd,bhkd->bhqk", q, k) * q.shape[-1] ** -0.5,
        weigh=lambda self, table, v: torch.einsum("bhqk,bhkd->bhqd", table, v),
    ),
    "the query scaled first": other_layer(
        scores=lambda self, q, k: (q / q.shape[-1] ** 0.5) @ k.transpose(-1, -2)
    ),
    "both scaled by the fourth root": other_layer(
        scores=lambda self, q, k: (q / q.shape[-1] ** 0.25) @ (k / k.shape[-1] ** 0.25).mT
    ),
    "a scale in float32": other_layer(
        scores=lambda self, q, k: q @ k.mT / torch.sqrt(torch.tensor(q.shape[-1]).float())
    ),
    "one head at a time": other_layer(attend=attend_one_head_at_a_time),
    "one text at a time": other_layer(attend=attend_one_text_at_a_time),
    "texts and heads flattened": other_layer(attend=attend_flat),
    "fused attention": other_layer(attend=sdpa),
    "fused attention, additive mask": other_layer(attend=sdpa_additive),
    "heads by unflatten": other_layer(
        split=lambda self, x: x.unflatten(-1, (self.heads, -1)).permute(0, 2, 1, 3),
        merge=lambda self, x: x.permute(0, 2, 1, 3).contiguous().view(len(x), x.shape[2], -1),
    ),
    "heads by chunks": other_layer(
        split=lambda self, x: torch.stack(x.chunk(self.heads, dim=-1), 1),
        merge=lambda self, x: torch.cat(x.unbind(1), -1),
    ),
    "mask of minus infinity": other_layer(
        hide=lambda self, s, mask: s.masked_fill(mask[:, None, None, :] == 0, -torch.inf)
    ),
    "additive mask of -10000": other_layer(
        hide=lambda self, s, mask: s + (1.0 - mask[:, None, None, :]) * -10000.0
    ),
    "additive mask by logarithm": other_layer(
        hide=lambda self, s, mask: s + mask[:, None, None, :].to(s).log()
    ),
    "boolean mask": other_layer(
        hide=lambda self, s, mask: torch.where(mask.bool()[:, None, None, :], s, -1e30)
    ),
    "mask of queries as well": other_layer(hide=hide_both_ways),
    "masked and made to sum to 1 again": other_layer(attend=hide_and_renormalise),
    "softmax in float32": other_layer(
        softmax=lambda self, s: s.softmax(-1, dtype=torch.float32).to(s.dtype)
    ),
    "softmax by hand": other_layer(softmax=softmax_by_hand),
    "softmax by logarithm": other_layer(softmax=lambda self, s: s.log_softmax(-1).exp()),
    "GELU by erf": other_layer(gelu=lambda self, x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))),
    "GELU by the normal distribution": other_layer(gelu=lambda self, x: x * torch.special.ndtr(x)),
    "GELU in float32": other_layer(gelu=lambda self, x: F.gelu(x.float()).to(x.dtype)),
    "feed-forward in pieces": other_layer(think=think_in_pieces),
    "linear layers as matrix products": other_layer(
        think=lambda self, x: (
            self.gelu(x @ self.up.weight.T + self.up.bias) @ self.down.weight.T + self.down.bias
        )
    ),
    "LayerNorm by hand": by_hand(
        lambda norm, x: (
            (x - x.mean(-1, keepdim=True))
            / torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + norm.eps)
            * norm.weight
            + norm.bias
        )
    ),
    "LayerNorm by moments": by_hand(
        lambda norm, x: (
            (x - x.mean(-1, True))
            * torch.rsqrt((x * x).mean(-1, True) - x.mean(-1, True) ** 2 + norm.eps)
            * norm.weight
            + norm.bias
        )
    ),
    "LayerNorm in float32": by_hand(
        lambda norm, x: F.layer_norm(
            x.float(), x.shape[-1:], norm.weight.float(), norm.bias.float(), norm.eps
        ).to(x.dtype)
    ),
    "batch flattened": other_model(run=run_flat),
    "padding taken out": other_model(run=run_unpadded),
    "time before texts": other_model(run=run_time_first),
    "checkpoints for the backward pass": other_model(run=run_checkpointed),
    "embeddings by one-hot vectors": other_model(embed=embed_one_hot),
    "embeddings by index_select": other_model(embed=embed_by_index_select),
    "pooler with keepdim": other_model(
        pooled=lambda self, x: torch.tanh(self.pool(x.narrow(1, 0, 1))).squeeze(1)
    ),
    "a tuple": other_model(forward=as_tuple),
    "a mask that is true at padding": TakesPadding,
    "lengths in place of a mask": TakesLengths,
    "one matrix for query, key and value": joint,
    "torch's own attention": torchs_attention,
    "a function": plain_tensors,
    "all in float32": single_precision,
    "NumPy": own_berts.numpy,
    "JAX": jax_bert,
}
