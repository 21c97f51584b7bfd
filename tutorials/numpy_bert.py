"""BERT in NumPy: the whole forward pass without torch, straight from the formulas.

`weights` is a dict of arrays under Hugging Face's names (as in model.safetensors; the prefix
`bert.` and the old words gamma and beta are understood). Every function takes and gives arrays;
the letters are those of minibert/core/config.py.
"""

from math import erf, sqrt

import numpy as np


def layer_norm(x, weight, bias, eps):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)  # biased: divided by H, not by H - 1
    return (x - mean) / np.sqrt(variance + eps) * weight + bias


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(erf, otypes=[x.dtype])(x / sqrt(2)))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class NumpyBert:
    """>>> NumpyBert(weights, heads=12).forward(input_ids)  # doctest: +SKIP"""

    def __init__(self, weights, heads, eps=1e-12):
        names = {"gamma": "weight", "beta": "bias"}
        self.weights, self.heads, self.eps = {}, heads, eps
        for key, array in weights.items():
            stem, _, leaf = key.removeprefix("bert.").rpartition(".")
            self.weights[f"{stem}.{names.get(leaf, leaf)}"] = array
        self.blocks = sum(key.endswith("intermediate.dense.weight") for key in self.weights)

    def dense(self, name, x):  # torch keeps the matrix as (out, in), hence the transpose
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, name, x):
        return layer_norm(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], self.eps)

    def embed(self, input_ids, token_type_ids):
        table = {k: self.weights[f"embeddings.{k}_embeddings.weight"] for k in
                 ("word", "token_type", "position")}  # fmt: skip
        summed = table["word"][input_ids] + table["token_type"][token_type_ids]  # (B, T, H)
        summed = summed + table["position"][: input_ids.shape[1]]  # (B, T, H)
        return self.norm("embeddings.LayerNorm", summed)

    def attend(self, name, x, bias):
        B, T, H = x.shape

        def split(part):  # (B, T, H) -> (B, A, T, D)
            projected = self.dense(f"{name}.self.{part}", x)
            return projected.reshape(B, T, self.heads, H // self.heads).transpose(0, 2, 1, 3)

        query, key, value = split("query"), split("key"), split("value")
        scores = query @ key.transpose(0, 1, 3, 2) / sqrt(H // self.heads)  # (B, A, T, T)
        probabilities = softmax(scores + bias)  # (B, A, T, T)
        context = (probabilities @ value).transpose(0, 2, 1, 3).reshape(B, T, H)  # (B, T, H)
        return self.dense(f"{name}.output.dense", context), probabilities

    def block(self, n, x, bias):
        name = f"encoder.layer.{n}"
        attended, probabilities = self.attend(f"{name}.attention", x, bias)
        x = self.norm(f"{name}.attention.output.LayerNorm", attended + x)  # (B, T, H)
        raised = gelu(self.dense(f"{name}.intermediate.dense", x))  # (B, T, I)
        lowered = self.dense(f"{name}.output.dense", raised)  # (B, T, H)
        return self.norm(f"{name}.output.LayerNorm", lowered + x), probabilities

    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        """Hidden states (L + 1 of them), attentions, pooler_output."""
        mask = np.ones_like(input_ids) if attention_mask is None else attention_mask
        types = np.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        bias = np.where(mask[:, None, None, :] == 0, -1e9, 0.0)  # (B, 1, 1, T)
        states, attentions = [self.embed(input_ids, types)], []
        for n in range(self.blocks):
            x, probabilities = self.block(n, states[-1], bias.astype(states[0].dtype))
            states.append(x)
            attentions.append(probabilities)
        return states, attentions, np.tanh(self.dense("pooler.dense", states[-1][:, 0]))

    def predict_words(self, states):
        """Hidden states (B, T, H) -> masked-word logits (B, T, V), with the tied decoder."""
        guess = gelu(self.dense("cls.predictions.transform.dense", states))
        guess = self.norm("cls.predictions.transform.LayerNorm", guess)
        table = self.weights["embeddings.word_embeddings.weight"]
        return guess @ table.T + self.weights["cls.predictions.bias"]

    def predict_next(self, pooler_output):
        """pooler_output (B, H) -> (B, 2): follows, random."""
        return self.dense("cls.seq_relationship", pooler_output)
