"""One block of the encoder on texts without padding, and what it takes from the readable block."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minibert.core.encoder import BertBlock
from minibert.fast.linear import Linear, Weights, weights_of


class FastBlock:
    """One block of the encoder, in two halves with attention between them.

    The feed-forward layer goes in slices of its width I: raised, GELU, lowered, added up. Each
    slice stays in the cache, and shorter sums round less.
    """

    def __init__(
        self,
        block: BertBlock,
        kind: Callable[[list[Weights], torch.dtype], Linear],
        width: int,
        dtype: torch.dtype,
    ):
        self.heads = block.attention.heads
        attention, up, down = block.attention, block.feed_forward.up, block.feed_forward.down

        def make(layers: list[Weights]) -> Linear:
            return kind(layers, dtype)

        self.qkv = make([weights_of(w) for w in (attention.query, attention.key, attention.value)])
        self.output = make([weights_of(attention.output)])
        raising, bias, lowering = up.weight.detach(), up.bias.detach(), down.weight.detach()
        cuts = [slice(start, start + width) for start in range(0, len(bias), width)]
        self.up = [make([(raising[cut], bias[cut])]) for cut in cuts]
        biases = [down.bias.detach()] + [None] * len(cuts[1:])
        self.down = [make([(lowering[:, cut], b)]) for cut, b in zip(cuts, biases)]
        self.gelu = str(block.feed_forward.activation.approximate)
        self.norms = [norm_of(block.attention_norm, dtype), norm_of(block.output_norm, dtype)]

    def compile(self) -> None:
        """Let torch.compile fuse what lies between the products of each half."""
        self.project = torch.compile(self.project, dynamic=True)  # type: ignore[method-assign]
        self.finish = torch.compile(self.finish, dynamic=True)  # type: ignore[method-assign]

    def project(self, x: Tensor) -> Tensor:
        """(N, H) -> (N, 3H)"""
        return self.qkv(x)

    def finish(self, context: Tensor, x: Tensor) -> Tensor:
        """Everything after attention: (N, H), (N, H) -> (N, H)"""
        x = F.layer_norm(self.output(context, residual=x), *self.norms[0])
        total = x
        for up, down in zip(self.up, self.down):
            total = down(up(x, gelu=self.gelu), residual=total)
        return F.layer_norm(total, *self.norms[1])


def norm_of(norm: nn.LayerNorm, dtype: torch.dtype) -> tuple:
    """The arguments of F.layer_norm after the first. Half precision rounds weights near 1 badly:
    a CPU takes them in float32, a GPU must have them in the precision of the rest."""
    shape = tuple(norm.normalized_shape)
    if norm.weight.device.type == "cpu" and dtype in (torch.bfloat16, torch.float16):
        dtype = torch.float32
    return shape, norm.weight.detach().to(dtype), norm.bias.detach().to(dtype), norm.eps
