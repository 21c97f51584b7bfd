"""Right solutions of the exercises, as a student would write them: the bare formulas.

They use nothing of the library, so that they check the exercises and their judge, too.
"""

import math
import re
import unicodedata

import torch


def basic_tokenize(text):
    text = "".join(c for c in text if c in "\t\n\r" or unicodedata.category(c) not in ("Cc", "Cf"))
    text = re.sub("([\u4e00-\u9fff])", r" \1 ", text)
    text = unicodedata.normalize("NFD", text)
    text = "".join(c for c in text if unicodedata.category(c) != "Mn").lower()
    spaced = ""
    for c in text:
        symbol = ord(c) < 128 and not c.isalnum() and not c.isspace()
        spaced += f" {c} " if symbol or unicodedata.category(c)[0] == "P" else c
    return spaced.split()


def wordpiece(word, vocab):
    if len(word) > 100:
        return ["[UNK]"]
    pieces, rest = [], word
    while rest:
        for end in range(len(rest), 0, -1):
            piece = ("##" if pieces else "") + rest[:end]
            if piece in vocab:
                break
        else:
            return ["[UNK]"]
        pieces.append(piece)
        rest = rest[end:]
    return pieces


def arrange_pair(first, second, length):
    tokens = ["[CLS]"] + first + ["[SEP]"]
    segments = [0] * len(tokens)
    tokens += second + ["[SEP]"]
    segments += [1] * (len(second) + 1)
    mask = [1] * len(tokens)
    while len(tokens) < length:
        tokens.append("[PAD]")
        segments.append(0)
        mask.append(0)
    return tokens, segments, mask


def sum_embeddings(input_ids, token_type_ids, token_table, segment_table, position_table):
    positions = position_table[: input_ids.shape[1]]
    return positions + segment_table[token_type_ids] + token_table[input_ids]


def layer_norm(x, weight, bias):
    centered = x - x.mean(-1, keepdim=True)
    return centered / torch.sqrt((centered**2).mean(-1, keepdim=True) + 1e-12) * weight + bias


def attention_scores(query, key):
    return torch.einsum("bhqd,bhkd->bhqk", query, key) / math.sqrt(query.shape[-1])


def attention_probabilities(scores):
    e = torch.exp(scores - scores.amax(-1, keepdim=True))
    return e / e.sum(-1, keepdim=True)


def attend(query, key, value, bias):
    return attention_probabilities(attention_scores(query, key) + bias) @ value


def split_heads(x, heads):
    return torch.stack(x.chunk(heads, dim=-1), dim=1)


def merge_heads(context):
    return torch.cat(list(context.unbind(1)), dim=-1)


def attention_bias(attention_mask):
    return (1.0 - attention_mask[:, None, None, :].double()) * -10000.0


def self_attention(x, bias, weights, heads):
    def linear(name, y):
        return y @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    query, key, value = (split_heads(linear(n, x), heads) for n in ("query", "key", "value"))
    return linear("output", merge_heads(attend(query, key, value, bias)))


def gelu(x):
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def feed_forward(x, up_weight, up_bias, down_weight, down_bias):
    return gelu(x @ up_weight.T + up_bias) @ down_weight.T + down_bias


def block(x, attention, feed_forward, attention_norm, output_norm, dropout):
    middle = attention_norm(x + dropout(attention(x)))
    return output_norm(middle + dropout(feed_forward(middle)))


def pooler(hidden_states, weight, bias):
    return torch.tanh(hidden_states[:, 0] @ weight.T + bias)


def rename_key(key):
    key = key.removeprefix("bert.")
    for old, new in (
        (".gamma", ".weight"),
        (".beta", ".bias"),
        ("word_embeddings", "token"),
        ("token_type_embeddings", "segment"),
        ("position_embeddings", "position"),
        ("embeddings.LayerNorm", "embeddings.norm"),
        ("encoder.layer", "encoder.blocks"),
        ("attention.self", "attention"),
        ("attention.output.dense", "attention.output"),
        ("attention.output.LayerNorm", "attention_norm"),
        ("intermediate.dense", "feed_forward.up"),
        ("cls.predictions.transform.dense", "masked_word.transform"),
        ("cls.predictions.transform.LayerNorm", "masked_word.norm"),
        ("cls.predictions", "masked_word"),
    ):
        key = key.replace(old, new)
    key = re.sub(r"(blocks\.\d+)\.output\.dense", r"\1.feed_forward.down", key)
    return re.sub(r"(blocks\.\d+)\.output\.LayerNorm", r"\1.output_norm", key)


def masked_word_scores(hidden_states, weights, token_table):
    guess = gelu(hidden_states @ weights["transform.weight"].T + weights["transform.bias"])
    guess = layer_norm(guess, weights["norm.weight"], weights["norm.bias"])
    return guess @ token_table.T + weights["bias"]


def mask_tokens(input_ids, chosen, action, random_ids):
    ids, labels = input_ids.clone(), torch.full_like(input_ids, -100)
    for place in (chosen < 0.15).nonzero():
        row, column = place.tolist()
        if input_ids[row, column] <= 4:
            continue
        labels[row, column] = input_ids[row, column]
        if action[row, column] < 0.8:
            ids[row, column] = 4
        elif action[row, column] < 0.9:
            ids[row, column] = random_ids[row, column]
    return ids, labels


def masked_word_loss(logits, labels):
    rows = logits[labels != -100]
    words = labels[labels != -100]
    log_probabilities = rows - rows.logsumexp(-1, keepdim=True)
    return -log_probabilities[torch.arange(len(words)), words].mean()


def mean_pool(hidden_states, attention_mask):
    texts = zip(hidden_states, attention_mask, strict=True)
    return torch.stack([text[mask == 1].mean(0) for text, mask in texts])


def adamw_step(parameter, gradient, m, v, step):
    m = 0.9 * m + 0.1 * gradient
    v = 0.999 * v + 0.001 * gradient * gradient
    m_hat, v_hat = m / (1 - 0.9**step), v / (1 - 0.999**step)
    return parameter - 0.01 * (m_hat / (torch.sqrt(v_hat) + 1e-8) + 0.1 * parameter), m, v


def best_span(start_logits, end_logits, is_text, longest):
    best, places = float("-inf"), (0, 0)
    for first in range(len(is_text)):
        for last in range(first, min(first + longest, len(is_text))):
            total = float(start_logits[first] + end_logits[last])
            if is_text[first] and is_text[last] and total > best:
                best, places = total, (first, last)
    return places


def token_labels(word_ids, labels):
    result, last = [], None
    for word in word_ids:
        result.append(-100 if word is None or word == last else labels[word])
        last = word
    return result
