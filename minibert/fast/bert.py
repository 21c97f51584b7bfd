"""The same numbers, sooner: what makes a transformer fast without changing what it computes.

The readable model stays the one that defines the numbers. `FastBert` takes its weights and runs
them with five tricks, none of which is an approximation:

1. **No padding.** Texts are laid end to end, (N, H) for N tokens in all. Linear layers and norms
   look at one token at a time and need not know where a text ends; only attention must, and it
   runs once for each group of texts of equal length (`unpadded.py`). A padded batch spends as much
   time on a padding token as on a word.
2. **Packed weights.** On a CPU a matrix product is fast when the weights lie in the order in
   which the processor's vector registers take them up. oneDNN reorders each weight once, and then
   computes in plain float32. The reordered weights are a second copy in memory.
3. **Query, key and value in one product**: one long loop instead of three short ones.
4. **A budget of tokens.** About a thousand tokens go through all blocks at a time, so that what
   one layer writes is still in the processor's cache when the next one reads it.
5. **No graph.** Inference mode keeps nothing for a gradient that nobody will ask for.

bfloat16, float16 and int8 are faster again, but they *do* change the numbers, so they come on
request alone, as `precision`. On 1,000 sentences with all-MiniLM-L6-v2 the smallest cosine between
a vector and its float32 self is 0.9999 in bfloat16 and 0.968 in int8; single numbers of
bert-base's last layer are off by up to 0.1 and 0.2. float16 is for a GPU: a CPU is slow in it.

Packing takes time and memory, so `Engine` packs only when there is enough to read.

Where the processor or the build of torch has no packed kernels (`linear.py`), plain products take
their place: the same numbers to rounding, more slowly.

On a GPU: half precision, one attention call for all texts without padding where torch has it
(`torch.nn.attention.varlen`), `compile=True` for fused kernels. The GPU's calls are tested on a
CPU with stand-ins; they have not been run on a GPU yet.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.core.checks import check_inputs
from minibert.core.model import BertModel, BertOutput
from minibert.fast.block import FastBlock, checked, norm_of
from minibert.fast.linear import (
    FusedLinear,
    Int8Linear,
    PackedLinear,
    PlainLinear,
    full_float32,
    packing_works,
)
from minibert.fast.unpadded import (
    attend_in_groups,
    attend_unpadded,
    cut_by_tokens,
    unpadded_kernel_works,
)

PRECISIONS = ("float32", "bfloat16", "float16", "int8")
CPU_TOKENS, GPU_TOKENS = 1024, 32768  # how many tokens go through the blocks at a time
PACKING_PAYS = 2000  # tokens that take about as long as packing does
SLICE = 1536  # width of a slice of the feed-forward layer, packed


def _dtype_of(precision: str | None, default: torch.dtype) -> torch.dtype:
    if precision is None:
        return default
    return torch.float32 if precision == "int8" else getattr(torch, precision)


class FastBert:
    """The encoder of `model`, run for speed.

    precision  None (that of the model, so the same numbers), "float32", "bfloat16", "float16"
               (for a GPU), "int8" (for a CPU)
    packed     reorder the weights for the CPU: a second copy, made once. False computes with the
               model's own weights
    compile    let torch.compile fuse what lies between the products; the first call takes long

    It holds what the weights were when it was made; `is_current()` tells whether they still are.

    >>> from minibert.core.config import BertConfig
    >>> config = BertConfig(vocab_size=61, hidden_size=20, num_hidden_layers=3,
    ...                     num_attention_heads=4, intermediate_size=44)
    >>> model = BertModel(config).eval()
    >>> fast = FastBert(model)
    >>> ids = torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]])
    >>> mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    >>> states = fast(ids, attention_mask=mask).last_hidden_state
    >>> expected = model(ids, attention_mask=mask).last_hidden_state
    >>> torch.allclose(states[mask == 1], expected[mask == 1], atol=1e-5)
    True
    """

    def __init__(
        self,
        model: BertModel,
        precision: str | None = None,
        *,
        packed: bool = True,
        compile: bool = False,
    ):
        if precision not in (None, *PRECISIONS):
            raise ValueError(f"precision must be one of {PRECISIONS}, got {precision!r}")
        weight = model.embeddings.token.weight
        self.model, self.config, self.device = model, model.config, weight.device
        if precision == "int8" and self.device.type != "cpu":
            raise ValueError(f"int8 runs on a CPU, the model is on {self.device}: use bfloat16")
        self.dtype = _dtype_of(precision, weight.dtype)
        kind = self._linear_kind(precision, packed and not compile)
        width = SLICE if kind is PackedLinear else self.config.intermediate_size
        with torch.inference_mode(), full_float32():
            self.blocks = [
                FastBlock(checked(block), kind, width, self.dtype) for block in model.encoder.blocks
            ]
            self.norm = norm_of(model.embeddings.norm, self.dtype)
        if compile:
            for block in self.blocks:
                block.compile()
        D = self.config.hidden_size // self.config.num_attention_heads
        unpadded = unpadded_kernel_works(self.device, self.dtype, D)
        self.attend = attend_unpadded if unpadded else attend_in_groups
        self.batch_tokens = CPU_TOKENS if self.device.type == "cpu" else GPU_TOKENS
        self._versions = self._weight_versions()

    def _linear_kind(self, precision: str | None, packed: bool) -> type:
        """The fastest kind of linear layer that works here."""
        if precision == "int8":
            return Int8Linear
        if packed and self.device.type == "cpu" and packing_works(self.dtype):
            return PackedLinear
        copied = packed or self.dtype != self.model.embeddings.token.weight.dtype
        return FusedLinear if copied else PlainLinear

    def _weight_versions(self) -> list[tuple[int, int]]:
        # A tensor made in inference mode has no version: a change in place of it goes unseen.
        return [
            (p.data_ptr(), 0 if p.is_inference() else p._version) for p in self.model.parameters()
        ]

    def is_current(self) -> bool:
        """False once the model's weights were trained further, loaded anew or moved."""
        return self._versions == self._weight_versions()

    @torch.inference_mode()
    def states(
        self,
        input_ids: Tensor,
        lengths: Sequence[int],
        layers: Sequence[int] = (-1,),
        *,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> list[Tensor]:
        """Texts laid end to end, ids (N,) and their lengths -> for each layer asked for, (N, H).

        Layer 0 is what enters the first block, L or -1 what leaves the last. All tokens go
        through at once: cut long lists by `batch_tokens` first. Ids are taken as they are.
        """
        count = len(self.blocks) + 1
        wanted = [layer % count for layer in layers]
        table = self.model.embeddings
        if position_ids is None:
            places = torch.arange(max(lengths))
            position_ids = torch.cat([places[:length] for length in lengths]).to(self.device)
        x = F.embedding(input_ids, table.token.weight)
        if token_type_ids is None:
            x = x + table.segment.weight[0]
        else:
            x = x + F.embedding(token_type_ids, table.segment.weight)
        x = x + F.embedding(position_ids, table.position.weight)
        states: dict[int, Tensor] = {}
        with full_float32():
            x = F.layer_norm(x.to(self.dtype), *self.norm)
            for number, block in enumerate(self.blocks):
                if number in wanted:
                    states[number] = x
                if number == max(wanted):
                    break
                qkv = block.project(x)
                x = block.finish(self.attend(qkv, lengths, self.config.num_attention_heads), x)
            else:
                states[len(self.blocks)] = x
        return [states[layer] for layer in wanted]

    @torch.inference_mode()
    def __call__(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> BertOutput:
        """As BertModel, without attentions. States of padding, which mean nothing, are 0 here."""
        check_inputs(self.config, input_ids, attention_mask, token_type_ids, position_ids)
        if attention_mask is not None and attention_mask.dim() == 3:
            raise ValueError("masks (B, T, T) are for the readable path: bert.model(...)")
        B, T = input_ids.shape
        count = len(self.blocks) + 1 if output_hidden_states else 1
        layers = range(count) if output_hidden_states else [-1]
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        real = real.bool().flatten().nonzero().flatten()  # where each of the N tokens stands
        lengths = torch.bincount(real // T, minlength=B).tolist()
        places = real % T if position_ids is None else position_ids.flatten()[real]
        ids = input_ids.flatten()[real]
        segments = None if token_type_ids is None else token_type_ids.flatten()[real]
        H = self.config.hidden_size
        whole = torch.zeros(count, B * T, H, dtype=self.dtype, device=self.device)
        start = 0
        for part in cut_by_tokens(lengths, self.batch_tokens):
            end = start + sum(part)
            states = self.states(
                ids[start:end],
                part,
                layers,
                token_type_ids=None if segments is None else segments[start:end],
                position_ids=places[start:end],
            )
            for layer, state in enumerate(states):
                whole[layer, real[start:end]] = state
            start = end
        hidden_states = tuple(whole.view(count, B, T, H))
        last = hidden_states[-1]
        pooler = self.model.pooler
        with full_float32():
            pooled = None if pooler is None else pooler(last.to(pooler.dense.weight.dtype))
        return BertOutput(last, pooled, hidden_states if output_hidden_states else None)


class Engine:
    """Hands out a `FastBert` for the work at hand, plain or packed, and keeps it for the next.

    Packing takes as long as embedding about 2,000 tokens. So the first 2,000 tokens run on the
    plain weights, all later ones on packed ones: a program that embeds one sentence starts at
    once, and one that embeds thousands loses nothing. Packed and plain numbers differ by rounding.
    """

    def __init__(self, model: BertModel):
        self.model = model
        self.tokens = 0
        self.cache: dict[tuple, FastBert] = {}

    def for_tokens(
        self,
        tokens: int,
        precision: str | None = None,
        *,
        always_packed: bool = False,
        compile: bool = False,
    ) -> FastBert:
        """The model as it should run for the next `tokens` tokens."""
        self.tokens += tokens
        packed = always_packed or compile or self.tokens >= PACKING_PAYS or precision is not None
        key = (precision, packed, compile)
        if key not in self.cache or not self.cache[key].is_current():
            self.cache = {name: fast for name, fast in self.cache.items() if fast.is_current()}
            self.cache[key] = FastBert(self.model, precision, packed=packed, compile=compile)
        return self.cache[key]
