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
bert-base's last layer are off by up to 0.1 and 0.2. float16 is for a GPU: a CPU is
slow in it, and in bfloat16 where it has no instructions for that (`why_slow` in `linear.py`).

Packing takes time and memory, so `Engine` packs only when there is enough to read. Before each use
it looks whether the model is still the one that was copied (`same.py`). If its weights hold
something else, it copies anew; if its modules are others, or bear hooks, it runs the model itself
(`readable.py`).

Where the processor or the build of torch has no packed kernels (`linear.py`), plain products take
their place: the same numbers to rounding, more slowly.

On a GPU: half precision, one attention call for all texts without padding where torch has it
(`torch.nn.attention.varlen`), `compile=True` for fused kernels. `tests/fast/test_on_a_gpu.py` holds
them to the CPU's numbers, where there is a GPU.
"""

import threading
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minibert.core.checks import check_inputs
from minibert.core.encoder import BertBlock
from minibert.core.model import BertModel, BertOutput, BertPooler
from minibert.fast.block import FastBlock, norm_of
from minibert.fast.linear import (
    FusedLinear,
    Int8Linear,
    PackedLinear,
    PlainLinear,
    full_float32,
    packing_works,
)
from minibert.fast.readable import Readable
from minibert.fast.same import contents_of, embeds_by_itself, what_differs
from minibert.fast.unpadded import (
    attend_in_groups,
    attend_unpadded,
    cut_by_tokens,
    groups_of,
    unpadded_kernel_works,
)

PRECISIONS = ("float32", "bfloat16", "float16", "int8")
CPU_TOKENS, GPU_TOKENS = 1024, 32768  # how many tokens go through the blocks at a time
PACKING_PAYS = 2000  # tokens that take about as long as packing does
LOOKING_PAYS = 200  # fewer tokens are sooner through than a look at all weights is worth
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

    It holds what the weights were when it was made; `Engine` notices when they change. Raises
    TypeError for a model that is no plain BertModel (`what_differs`).

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
        if difference := what_differs(model):
            raise TypeError(
                f"{difference}. Give the model as it was loaded; for torch.compile, compile=True"
            )
        weight = model.embeddings.token.weight
        self.model, self.config, self.device = model, model.config, weight.device
        if precision == "int8" and self.device.type != "cpu":
            raise ValueError(f"int8 runs on a CPU, the model is on {self.device}: use bfloat16")
        self.dtype = _dtype_of(precision, weight.dtype)
        kind = self._linear_kind(precision, packed and not compile)
        width = SLICE if kind is PackedLinear else self.config.intermediate_size
        with torch.inference_mode(), full_float32(self.device):
            copies: dict[
                nn.Module, FastBlock
            ] = {  # of each block one, though it may stand in several places
                block: FastBlock(block, kind, width, self.dtype)
                for block in dict.fromkeys(model.encoder.blocks)
                if isinstance(block, BertBlock)
            }
            self.blocks = [copies[block] for block in model.encoder.blocks]
            self.norm = norm_of(model.embeddings.norm, self.dtype)
        if compile:
            for block in copies.values():
                block.compile()
        self.embeds_by_itself = embeds_by_itself(model)
        D = self.config.hidden_size // self.config.num_attention_heads
        unpadded = unpadded_kernel_works(self.device, self.dtype, D)
        self.attend = attend_unpadded if unpadded else attend_in_groups
        self.batch_tokens = CPU_TOKENS if self.device.type == "cpu" else GPU_TOKENS

    def _linear_kind(self, precision: str | None, packed: bool) -> type:
        """The fastest kind of linear layer that works here."""
        if precision == "int8":
            return Int8Linear
        if packed and self.device.type == "cpu" and packing_works(self.dtype):
            return PackedLinear
        copied = packed or self.dtype != self.model.embeddings.token.weight.dtype
        return FusedLinear if copied else PlainLinear

    @torch.inference_mode()
    def states(
        self,
        input_ids: Tensor,
        lengths: Sequence[int],
        layers: Sequence[int] = (-1,),
        *,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        pooler: bool = False,
        embedded: Tensor | None = None,
    ) -> list[Tensor]:
        """Texts laid end to end, ids (N,) and their lengths -> for each layer asked for, (N, H).

        Layer 0 is what enters the first block, L or -1 what leaves the last. With `pooler` the
        list ends with pooler_output (n, H) of the n texts, for which the last layer must be asked
        for. All tokens go through at once: cut long lists by `batch_tokens` first. Ids are taken
        as they are. `embedded` (N, H) is what enters the first block, where it is known.
        """
        count = len(self.blocks) + 1
        wanted = [layer % count for layer in layers]
        states: dict[int, Tensor] = {}
        with full_float32(self.device):
            if embedded is not None:
                x = embedded.to(self.dtype)
            elif self.embeds_by_itself:
                parts = input_ids.split([count * T for count, T in groups_of(lengths)])
                groups = (ids.view(-1, T) for ids, (_, T) in zip(parts, groups_of(lengths)))
                rows = [self.model.embeddings(ids).flatten(0, 1) for ids in groups]
                x = torch.cat(rows).to(self.dtype)
            else:
                x = self._embed(input_ids, lengths, token_type_ids, position_ids)
            for number, block in enumerate(self.blocks):
                if number in wanted:
                    states[number] = x
                if number == max(wanted):
                    break
                x = block.finish(self.attend(block.project(x), lengths, block.heads), x)
            else:
                states[len(self.blocks)] = x
        result = [states[layer] for layer in wanted]
        if pooler:
            firsts = [0, *accumulate(lengths[:-1])]
            result.append(self.pooled(states[len(self.blocks)][firsts, None]))
        return result

    def _embed(
        self,
        input_ids: Tensor,
        lengths: Sequence[int],
        token_type_ids: Tensor | None,
        position_ids: Tensor | None,
    ) -> Tensor:
        """What BERT's own embeddings give for texts laid end to end, (N, H)."""
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
        return F.layer_norm(x.to(self.dtype), *self.norm)

    def pooled(self, states: Tensor) -> Tensor:
        """States (n, T, H), of which the first counts -> pooler_output (n, H), by the model."""
        pooler = self.model.pooler
        assert pooler is not None
        with full_float32(self.device):
            return pooler(states.to(pooler.dense.weight.dtype))

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
        embedded = None
        if self.embeds_by_itself:
            embedded = self.model.embeddings(
                input_ids, token_type_ids=token_type_ids, position_ids=position_ids
            ).flatten(0, 1)[real]
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
                embedded=None if embedded is None else embedded[start:end],
            )
            for layer, state in enumerate(states):
                whole[layer, real[start:end]] = state
            start = end
        hidden_states = tuple(whole.view(count, B, T, H))
        last = hidden_states[-1]
        pooled = None if self.model.pooler is None else self.pooled(last)
        return BertOutput(last, pooled, hidden_states if output_hidden_states else None)


class Engine:
    """Hands out what runs the model for the work at hand: plain, packed, or the model itself.

    Packing takes as long as embedding about 2,000 tokens. So the first 2,000 tokens run on the
    plain weights, later ones on packed ones: a program that embeds one sentence starts at once,
    and one that embeds thousands loses nothing. Packed and plain numbers differ by rounding.

    A packed copy is used only while the weights hold what it holds. A look at them takes as long
    as ten tokens, so work of less than 200 tokens goes on with the plain weights. Threads may
    share an engine; a pickled one travels without its copies.
    """

    def __init__(self, model: BertModel):
        self.model = model
        self.tokens = 0
        self.copies: dict[tuple[object, ...], tuple[Any, FastBert]] = {}
        self.lock = threading.Lock()  # so that threads wait for one copy instead of making several

    def __reduce__(self) -> tuple[Any, ...]:
        return Engine, (self.model,)

    def for_tokens(
        self,
        tokens: int,
        precision: str | None = None,
        *,
        always_packed: bool = False,
        compile: bool = False,
    ) -> FastBert | Readable:
        """The model as it should run for the next `tokens` tokens.

        Raises ValueError where `precision` or `compile` ask for a copy, and the model is no longer
        one that can be copied.
        """
        self.tokens += tokens
        difference = what_differs(self.model)
        if self.model.pooler is not None:
            difference = difference or what_differs(self.model.pooler, BertPooler)
        if difference:
            if precision is not None or compile:
                raise ValueError(
                    f"precision and compile run a copy of the model, and this one cannot be "
                    f"copied: {difference}. Undo that, or leave them out"
                )
            return Readable(self.model, difference)
        enough = self.tokens >= PACKING_PAYS and tokens >= LOOKING_PAYS
        packed = always_packed or compile or precision is not None or enough
        key = (precision, packed, compile)
        device = self.model.embeddings.token.weight.device
        with self.lock, torch.inference_mode(), full_float32(device):
            contents = contents_of(self.model, copied=packed)
            before, fast = self.copies.get(key, (None, None))
            if fast is None or before != contents:
                # What another setting has packed is out of date as well, and large.
                self.copies = {} if before else self.copies
                fast = FastBert(self.model, precision, packed=packed, compile=compile)
                self.copies[key] = contents, fast
        return fast
