"""What to make of texts, checked once: which layers, what pooling, how long, in which windows.

Source: Devlin et al. 2018, section 5.3 (layers as features).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypedDict

from minibert.core.config import BertConfig
from minibert.core.model import BertModel
from minibert.core.rules import lowercase
from minibert.fast.bert import PRECISIONS
from minibert.fast.linear import why_slow
from minibert.fast.same import count_states
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.vectors.pooling import COMBINATIONS, pools_of
from minibert.vectors.recipe import Recipe

LONG_TEXTS = ("cut", "windows")
# What `encode` of sentence-transformers takes, and what to do here.
ELSEWHERE = {
    "batch_size": "texts are batched by length; batch_tokens=4096 tokens go through at a time",
    "convert_to_numpy": "leave it out: the vectors are a NumPy array",
    "normalize_embeddings": "normalize=True gives vectors of length 1",
    "show_progress_bar": "progress=True shows a bar",
    "output_value": 'pooling="none" gives the vectors of all tokens',
    "device": "move the model itself: bert.pretraining.to(device)",
}


class EmbedSettings(TypedDict, total=False):
    """What a caller may choose; `Bert.embed` says what each means, `Plan.of` holds the defaults."""

    layer: int | Sequence[int]
    combine: str
    long_texts: str
    batch_tokens: int | None
    deterministic: bool
    precision: str | None
    even_if_slow: bool
    compile: bool
    prompt: str | None
    prompt_name: str | None
    truncate_dim: int | None
    mask_cls_sep: bool
    is_split_into_words: bool


class RecipeSettings(EmbedSettings, total=False):
    """And what takes the place of the model's own recipe."""

    pooling: str | None
    normalize: bool | None
    max_length: int | None


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to compute, checked once: made by `Plan.of`."""

    layers: tuple[int, ...]  # numbers of hidden states, 0 (embeddings) to L
    combine: str  # "concat", "sum" or "mean" of several layers
    pools: tuple[str, ...]  # names of `pooling.POOLS`, or "pooler"; empty keeps all tokens
    normalize: bool  # vectors of length 1
    limit: int  # tokens of a window, [CLS] and [SEP] included
    long_texts: str  # "cut" at the limit, or read in "windows"
    batch_tokens: int | None  # that go through the model at a time; None: what suits the device
    deterministic: bool  # every text alone, always packed: the same bits in any company
    precision: str | None  # None (the model's own), "float32", "bfloat16", "float16", "int8"
    compile: bool  # through torch.compile
    prefix: str  # stands before every text
    lower: bool  # what the tokenizer sees is in lower case
    skipped: int  # tokens at the start of a text that its vector leaves out: [CLS] and a prompt
    truncate_dim: int | None  # numbers of a vector that are kept; None: all
    renormalize: bool  # and that part is of length 1 again
    mask_cls_sep: bool  # these do not count in the vector of a text that has other tokens
    words: bool  # the texts are lists of words
    rows: int  # of the model's table: larger ids cannot be read

    @classmethod
    def of(
        cls,
        model: BertModel,
        tokenizer: Tokenizer,
        recipe: Recipe,
        *,
        layer: int | Sequence[int] = -1,
        combine: str = "concat",
        long_texts: str = "cut",
        batch_tokens: int | None = None,
        deterministic: bool = False,
        precision: str | None = None,
        even_if_slow: bool = False,
        compile: bool = False,
        prompt: str | None = None,
        prompt_name: str | None = None,
        truncate_dim: int | None = None,
        mask_cls_sep: bool = False,
        is_split_into_words: bool = False,
        **unknown: object,
    ) -> Plan:
        """Raises ValueError for what cannot be computed, TypeError for an option that is none."""
        for option in unknown:
            options = f"the options are {', '.join(EmbedSettings.__annotations__)}"
            raise TypeError(f"no option {option!r}: {ELSEWHERE.get(option, options)}")
        layers = [layer] if isinstance(layer, int) else list(layer)
        states = count_states(model)
        for number in layers:
            if not -states <= number < states:
                raise ValueError(f"layer must lie in {-states}..{states - 1}, got {number}")
        if not layers:
            raise ValueError("layer must name at least one layer, got none")
        for name, value, known in (
            ("combine", combine, COMBINATIONS),
            ("long_texts", long_texts, LONG_TEXTS),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        if precision not in (None, *PRECISIONS):
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
        reason = why_slow(precision, model.embeddings.token.weight.device)
        if reason and not even_if_slow:
            raise ValueError(
                f"precision {precision} would take many times as long as float32: {reason}. Leave "
                "precision out, or take int8 (other numbers); even_if_slow=True (--even-if-slow) "
                f"computes in {precision} all the same"
            )
        if batch_tokens is not None and batch_tokens < 1:
            raise ValueError(f"batch_tokens must be 1 or more, got {batch_tokens}")
        counted = tuple(number % states for number in layers)
        pools = pools_of(recipe.pooling)
        if "pooler" in pools and model.pooler is None:
            raise ValueError('these weights have no pooler: choose another pooling, such as "mean"')
        if "pooler" in pools and counted != (states - 1,):
            raise ValueError(f"the pooler reads the last layer alone, got layer {layer}: use -1")
        if "weightedmean" in pools and long_texts == "windows":
            raise ValueError(
                'pooling "weightedmean" weighs tokens by their place in the whole text: it goes '
                'with long_texts="cut"'
            )
        if not pools and (prompt, prompt_name) != (None, None):
            raise ValueError('a prompt is for vectors of texts: pooling "none" takes none')
        if not pools and (truncate_dim or mask_cls_sep or is_split_into_words):
            raise ValueError(
                "truncate_dim, mask_cls_sep and is_split_into_words are for vectors of texts: "
                'pooling "none" takes none of them'
            )
        if mask_cls_sep and {"cls", "last", "pooler"} & set(pools):
            raise ValueError(
                f"mask_cls_sep leaves [CLS] and [SEP] out, and pooling {recipe.pooling!r} is one "
                'of them: take another pooling, such as "mean"'
            )
        longest = model.config.max_position_embeddings
        wanted = tokenizer.model_max_length if recipe.max_length is None else recipe.max_length
        limit = min(wanted, longest)
        if limit < 3:
            raise ValueError(
                f"max_length must be 3 or more, for [CLS], a piece, [SEP]: got {limit}"
            )
        if tokenizer.cls_id is None or tokenizer.sep_id is None:
            raise ValueError(
                "the vocabulary lacks [CLS] or [SEP], which stand around every text: is it the "
                "vocabulary of this model?"
            )
        if not tokenizer.template.before:
            raise ValueError(
                "this tokenizer puts no [CLS] and [SEP] around a text (its tokenizer.json has no "
                "post_processor), and embed does. If the model was trained with them: "
                "bert.tokenizer.template = minibert.tokenizer.batch.BERT_TEMPLATE"
            )
        prefix = recipe.prompt_of(prompt, prompt_name)
        lower = recipe.lower and not tokenizer.settings.get("do_lower_case")
        plan = cls(
            counted,
            combine,
            pools,
            recipe.normalize,
            limit,
            long_texts,
            batch_tokens,
            deterministic,
            precision,
            compile,
            prefix,
            lower,
            0,
            truncate_dim or recipe.truncate_dim,
            recipe.renormalize,
            mask_cls_sep,
            is_split_into_words,
            model.config.vocab_size,
        )
        widest = dataclasses.replace(plan, truncate_dim=None).width(model.config)
        if truncate_dim is not None and not 1 <= truncate_dim <= widest:
            raise ValueError(f"truncate_dim must lie in 1..{widest}, got {truncate_dim}")
        if recipe.include_prompt or not prefix:
            return plan
        skipped = 1 + len(tokenizer.ids(plan.prepare("", tokenizer)))
        if skipped > limit - 2:
            raise ValueError(
                f"the prompt takes {skipped} of {limit} tokens, and this model leaves it out of "
                f"its vectors: nothing would be left of a text. Shorten the prompt"
            )
        return dataclasses.replace(plan, skipped=skipped)

    def width(self, config: BertConfig) -> int:
        """Numbers in a vector."""
        layers = len(self.layers) if self.combine == "concat" else 1
        width = config.hidden_size * layers * max(1, len(self.pools))
        return min(width, self.truncate_dim or width) if self.pools else width

    def ids(self, text: str | Sequence[str], tokenizer: Tokenizer) -> list[int]:
        """What the model reads of a text, or of a list of words, between [CLS] and [SEP]."""
        if isinstance(text, str):
            return tokenizer.ids(self.prepare(text, tokenizer))
        bare = dataclasses.replace(self, prefix="")
        parts = [self.prepare("", tokenizer), *(bare.prepare(word, tokenizer) for word in text)]
        return [number for part in parts for number in tokenizer.ids(part)]

    def prepare(self, text: str, tokenizer: Tokenizer) -> str:
        """What the tokenizer is given for a text; typed special tokens stay as they are."""
        text = self.prefix + text
        if not self.lower:
            return text
        parts = tokenizer.typed.split(text)
        return "".join(
            lowercase(text[start:end]) if number is None else text[start:end]
            for start, end, number in parts
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON gives them back, with lists for tuples."""
        fields = dataclasses.asdict(self)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in fields.items()
        }
