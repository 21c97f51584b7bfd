"""A BERT as someone might write it from the figure, with two mistakes in it. For chapter 9.

`minibert diagnose tutorials/student_bert.py:StudentBert` finds and names both. All shapes are
right, it runs, and it gives the same numbers every time.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Embeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.token = nn.Embedding(config.vocab_size, config.hidden_size)
        self.segment = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.position = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor) -> Tensor:
        places = torch.arange(input_ids.shape[1])
        summed = self.token(input_ids) + self.segment(token_type_ids) + self.position(places)
        return self.norm(summed)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        H = config.hidden_size
        self.heads, self.head_size = config.num_attention_heads, config.head_size
        self.query, self.key, self.value = nn.Linear(H, H), nn.Linear(H, H), nn.Linear(H, H)
        self.output = nn.Linear(H, H)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        B, T, H = x.shape

        def split(projected: Tensor) -> Tensor:
            return projected.view(B, T, self.heads, self.head_size).transpose(1, 2)

        query, key, value = split(self.query(x)), split(self.key(x)), split(self.value(x))
        scores = query @ key.transpose(2, 3) / self.head_size**0.5
        scores = scores.masked_fill(mask[:, None, None, :] == 0, -1e9)
        context = scores.softmax(dim=-1) @ value
        return self.output(context.reshape(B, T, H))


class FeedForward(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.up = nn.Linear(config.hidden_size, config.intermediate_size)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = Attention(config)
        self.attention_norm = nn.LayerNorm(config.hidden_size)
        self.feed_forward = FeedForward(config)
        self.output_norm = nn.LayerNorm(config.hidden_size)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.attention_norm(self.attention(x, mask) + x)
        return self.output_norm(self.feed_forward(x) + x)


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, mask)
        return x


class StudentBert(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.encoder(self.embeddings(input_ids, token_type_ids), attention_mask)
