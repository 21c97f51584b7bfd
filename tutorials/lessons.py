"""What each exercise is checked on: the cases, where the right answer comes from, what to reveal.

The right answers are the library's own: most come from the probe model, run on the student's
inputs. So a known mistake, put into the model, gives the wrong answer that goes with it.
"""

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from minibert.core.attention import BertAttention, attention_bias_from_mask
from minibert.core.embeddings import BertEmbeddings
from minibert.core.encoder import BertBlock, BertFeedForward, activation_function
from minibert.core.heads import BertForPreTraining, MaskedWordHead, masked_word_loss
from minibert.core.inputs import arrange
from minibert.core.model import BertPooler
from minibert.core.rules import RULES, basic_tokenize
from minibert.core.wordpiece import longest_match_first, wordpiece
from minibert.diagnosis import functions
from minibert.diagnosis.catalogue.all import CATALOGUE, Mistake
from minibert.diagnosis.catalogue.attention import Steps
from minibert.diagnosis.catalogue.mistake import blocks
from minibert.diagnosis.probe import full_batch, probe_batch, probe_model
from minibert.diagnosis.subject import Case, Subject
from minibert.diagnosis.traces import Stopped, observe
from tutorials import numpy_bert

TEXTS = {
    "plain words": "the quick brown fox",
    "capitals and accents": "Zoë drank CAFÉ au lait in Kantō",
    "an accent as a character of its own": "cafe\u0301",
    "punctuation": "Don't stop... really?!",
    "symbols": "a+b=$5^2",
    "punctuation outside ASCII": "“well” – ¿no?",
    "Chinese": "in 東京 and 北京",
    "spaces and line ends": " tabs\tand\nlines  ",
    "invisible characters": "zero\u200bwidth and \x00 nothing",
}
PIECES = "[UNK] un una able ##aff ##ffa ##able ##a ##ble play ##ing ##ed a river b ##b"
VOCAB = {piece: number for number, piece in enumerate(PIECES.split())}
WORDS = {
    "a word of three pieces": "unaffable",
    "a word of two pieces": "playing",
    "a whole word": "river",
    "a word that ends in unknown letters": "playzz",
    "a word of unknown letters": "zzz",
    "a word of 100 letters": "a" + "b" * 99,
    "a word of 101 letters": "a" + "b" * 100,
}


RETURNS = {
    "arrange_pair": ("tokens", "segments", "mask"),
    "mask_tokens": ("ids", "labels"),
    "adamw_step": ("parameter", "m", "v"),
    "best_span": ("first", "last"),
}


@dataclasses.dataclass(frozen=True)
class Lesson:
    """One exercise: its number, its function, its chapter, and the answer to reveal."""

    number: str
    function: str
    chapter: str
    reveal: Sequence[Any]
    subject: Callable[[BertForPreTraining], Subject]

    @property
    def file(self) -> str:
        return f"ex{self.number}_{self.function}.py"


def known(*parts: str, kinds: Sequence[str] = ("model",), without: str = "") -> list[Mistake]:
    """The catalogued mistakes of these parts, but for those that this exercise cannot show."""
    return [
        each
        for each in CATALOGUE.values()
        if each.part in parts and each.kind in kinds and each.id not in without.split()
    ]


def numbers(*shape: int, seed: int = 1) -> Tensor:
    """Normal random numbers, the same on every call."""
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def through(
    module: Any, names: Sequence[str], parameters: Sequence[Tensor], *inputs: Any, **others: Any
) -> Any:
    """module(*inputs); in a backward pass, with the student's own parameters in it."""
    if not parameters[0].requires_grad:
        return module(*inputs, **others)
    values = dict(zip(names, parameters, strict=True))
    return torch.func.functional_call(module, values, inputs, others)


def function_subject(name: str, cases: dict[str, Case]) -> Callable[[BertForPreTraining], Subject]:
    """An exercise on a function that has nothing to do with a model."""
    right = functions.ANSWERS[name]
    mistakes = [each for each in CATALOGUE.values() if each.replaces == name]
    return lambda model: Subject(
        name,
        cases,
        lambda model, *case: right(*case),
        mistakes,
        backward=name not in ("adamw_step", "best_span", "token_labels"),
        returns=RETURNS.get(name, ()),
    )


def pairs() -> dict[str, Case]:
    return {
        "two sentences, no room left": (["he", "ran"], ["she", "slept", "well"], 8),
        "two sentences and padding": (["he"], ["she", "slept"], 9),
    }


def spans() -> dict[str, Case]:
    """Rows in which each rule decides: at places 0 to 4 the question, at 5 to 11 the text."""
    is_text = torch.tensor([0] * 5 + [1] * 7 + [0])
    low = torch.full((13,), -5.0, dtype=torch.float64)

    def scores(**places: float) -> Tensor:
        row = low.clone()
        for place, value in places.items():
            row[int(place[1:])] = value
        return row

    return {
        "the question scores high": (scores(p2=9, p6=3), scores(p3=9, p7=3), is_text, 4),
        "the best end comes first": (scores(p8=4, p5=1), scores(p6=4, p9=1), is_text, 3),
        "the best pair is too long": (scores(p5=4, p9=2), scores(p11=4, p7=1), is_text, 4),
        "the best pair is one too long": (scores(p5=4, p8=1), scores(p9=4, p8=2), is_text, 4),
        "one token": (scores(p7=2), scores(p7=2), is_text, 1),
    }


def word_rows() -> dict[str, Case]:
    return {
        "words of one piece": ([None, 0, 1, 2, None], [4, 5, 6]),
        "words of several pieces": ([None, 0, 0, 0, 1, 2, 2, None], [4, 5, 6]),
        "a window that begins inside a text": ([None, 3, 4, 4, 5, None, None], [1, 2, 3, 4, 5, 6]),
    }


def draws() -> dict[str, Case]:
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(5, 61, (6, 40), generator=generator)
    ids[:, 0], ids[:, 20], ids[:, 33], ids[2:, 34:] = 2, 3, 3, 0
    chosen = torch.rand(6, 40, generator=generator)
    action = torch.rand(6, 40, generator=generator)
    return {"six texts": (ids, chosen, action, torch.randint(5, 61, (6, 40), generator=generator))}


def losses() -> dict[str, Case]:
    labels = probe_batch()["labels"]
    labels[1, 5] = 0
    return {"three texts with five labels": (numbers(3, 7, 61), labels)}


def pools() -> dict[str, Case]:
    return {
        "padding on the right": (numbers(3, 7, 20), probe_batch()["attention_mask"]),
        "padding on the left": (numbers(3, 7, 20), probe_batch(True)["attention_mask"]),
    }


def steps() -> dict[str, Case]:
    start, gradient = numbers(5), torch.tensor([5.0, -0.3, 1e-3, 2e-8, 0.0], dtype=torch.float64)
    zero = torch.zeros_like(start)
    m, v = 0.1 * numbers(5, seed=3), 0.01 * numbers(5, seed=4) ** 2
    return {
        "the first step": (start, gradient, zero, zero, 1),
        "the tenth step": (start, gradient, m, v, 10),
    }


def keys() -> dict[str, Case]:
    names = (
        "bert.embeddings.word_embeddings.weight",
        "embeddings.LayerNorm.gamma",
        "bert.encoder.layer.11.attention.self.query.bias",
        "bert.encoder.layer.3.attention.output.dense.weight",
        "bert.encoder.layer.3.attention.output.LayerNorm.beta",
        "encoder.layer.3.output.LayerNorm.weight",
        "bert.encoder.layer.10.intermediate.dense.weight",
        "bert.pooler.dense.bias",
        "cls.predictions.transform.LayerNorm.gamma",
        "cls.predictions.bias",
    )
    return {name: (name,) for name in names}


def sum_embeddings(model: BertForPreTraining) -> Subject:
    batch, table = full_batch(), model.bert.embeddings
    case = (
        batch["input_ids"],
        batch["token_type_ids"],
        table.token.weight.detach(),
        table.segment.weight.detach(),
        table.position.weight.detach(),
    )

    def answer(model: BertForPreTraining, ids: Tensor, segments: Tensor, *tables: Tensor) -> Tensor:
        embeddings, kept = model.bert.embeddings, []
        hook = embeddings.sum.register_forward_hook(lambda m, i, output: kept.append(output))
        embeddings.token.padding_idx = None  # so that the row of [PAD] learns like any other
        names = ("token.weight", "segment.weight", "position.weight")
        through(embeddings, names, tables, ids, token_type_ids=segments)
        hook.remove()
        return kept[0]

    return Subject(
        "sum_embeddings",
        {"six texts": case},
        answer,
        known("embeddings", without="position_after_norm"),
    )


def layer_norm(model: BertForPreTraining) -> Subject:
    norm = model.bert.embeddings.norm
    cases = {
        "small vectors": (0.05 * numbers(3, 7, 20), norm.weight.detach(), norm.bias.detach()),
        "large vectors": (3 + 9 * numbers(2, 4, 20), norm.weight.detach(), norm.bias.detach()),
    }
    return Subject(
        "layer_norm",
        cases,
        lambda model, x, *both: through(model.bert.embeddings.norm, ("weight", "bias"), both, x),
        known("norm"),
    )


OTHER_HEADS = "one_head heads_and_head_size_swapped"  # to one function, a scale like another
QUERIES = (numbers(2, 4, 6, 5), 1.5 * numbers(2, 4, 7, 5), numbers(2, 4, 7, 5, seed=9))


def attention_scores(model: BertForPreTraining) -> Subject:
    def answer(model: BertForPreTraining, query: Tensor, key: Tensor) -> Tensor:
        attention, kept = blocks(model)[0].attention, []
        hook = attention.scores.register_forward_hook(lambda m, i, output: kept.append(output))
        try:
            attention.attend(query, key, QUERIES[2], None)
        except RuntimeError:  # with exchanged roles the scores come first, then sizes do not fit
            pass
        finally:
            hook.remove()
        return kept[0]

    return Subject(
        "attention_scores",
        {"6 queries, 7 keys": QUERIES[:2]},
        answer,
        known("attention", without=OTHER_HEADS),
    )


def attention_probabilities(model: BertForPreTraining) -> Subject:
    return Subject(
        "attention_probabilities",
        {"6 queries, 7 keys": (2 * numbers(2, 4, 6, 7),)},
        lambda model, scores: blocks(model)[0].attention.probabilities(scores),
        known("attention"),
    )


def reaching(model: BertForPreTraining, bias: Tensor) -> Any:
    """What becomes of a bias (B, 1, 1, T) on its way to the first block's attention."""
    kept: list[Any] = []

    def keep(module: Any, inputs: Any) -> None:
        kept.append(inputs[1])
        raise Stopped

    hook = blocks(model)[0].attention.register_forward_pre_hook(keep)
    try:
        with contextlib.suppress(Stopped):
            states = bias.new_zeros(bias.shape[0], bias.shape[-1], 20)
            model.bert.encoder(states, bias, explicit=True)
    finally:
        hook.remove()
    return kept[0]


def attend(model: BertForPreTraining) -> Subject:
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0]])
    bias = attention_bias_from_mask(mask, torch.float64)

    def answer(model: BertForPreTraining, *case: Tensor) -> Tensor:
        query, key, value, bias = case
        bias = reaching(model, bias.detach())
        return blocks(model)[0].attention.attend(query, key, value, bias)[0]

    return Subject(
        "attend",
        {"one text full, one padded": (*QUERIES, bias)},
        answer,
        known("attention", "mask", without=f"{OTHER_HEADS} mask_added_raw"),
    )


def split_heads(model: BertForPreTraining) -> Subject:
    return Subject(
        "split_heads",
        {"20 numbers, 4 heads": (numbers(3, 7, 20), 4)},
        lambda model, x, heads: blocks(model)[0].attention.split_heads(x),
        known("attention"),
    )


def merge_heads(model: BertForPreTraining) -> Subject:
    return Subject(
        "merge_heads",
        {"4 heads of 5 numbers": (numbers(3, 4, 7, 5),)},
        lambda model, x: blocks(model)[0].attention.merge_heads(x),
        known("attention"),
    )


def attention_bias(model: BertForPreTraining) -> Subject:
    def answer(model: BertForPreTraining, mask: Tensor) -> Tensor:
        kept: list[Any] = []
        attention = blocks(model)[0].attention
        hook = attention.register_forward_pre_hook(lambda m, inputs: kept.append(inputs[1]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model(**{**full_batch(), "attention_mask": mask})
        hook.remove()
        return kept[0]

    return Subject(
        "attention_bias",
        {"two paddings, right and left": (full_batch()["attention_mask"],)},
        answer,
        known("mask", without="mask_multiplied mask_after_softmax mask_in_first_block_only"),
        hides=True,
    )


def self_attention(model: BertForPreTraining) -> Subject:
    batch = full_batch()
    attention = blocks(model)[0].attention
    weights = {name: tensor.detach() for name, tensor in attention.named_parameters()}
    states = observe(model, batch)["embeddings.norm"]
    bias = attention_bias_from_mask(batch["attention_mask"], torch.float64)

    def answer(model: BertForPreTraining, x: Tensor, bias: Tensor, *others: Any) -> Tensor:
        return blocks(model)[0].attention(x, reaching(model, bias.detach()), True)[0]

    return Subject(
        "self_attention",
        {"six texts": (states, bias, weights, 4)},
        answer,
        known("attention", "mask", "weights", without="mask_added_raw"),
    )


def gelu(model: BertForPreTraining) -> Subject:
    return Subject(
        "gelu",
        {"-6 to 6": (torch.linspace(-6, 6, 241, dtype=torch.float64),)},
        lambda model, x: blocks(model)[0].feed_forward.activation(x),
        known("feed_forward"),
    )


def feed_forward(model: BertForPreTraining) -> Subject:
    layer = blocks(model)[0].feed_forward
    case = (
        numbers(3, 7, 20),
        layer.up.weight.detach(),
        layer.up.bias.detach(),
        layer.down.weight.detach(),
        layer.down.bias.detach(),
    )

    def answer(model: BertForPreTraining, x: Tensor, *parameters: Tensor) -> Tensor:
        names = ("up.weight", "up.bias", "down.weight", "down.bias")
        return through(blocks(model)[0].feed_forward, names, parameters, x)

    return Subject("feed_forward", {"three texts": case}, answer, known("feed_forward"))


class _NoDropout:
    def __call__(self, x: Tensor) -> Tensor:
        return x


class _FullDropout:
    """Dropout of probability 1: what goes through it is lost, so that its place shows."""

    def __call__(self, x: Tensor) -> Tensor:
        return x * 0


def block(model: BertForPreTraining) -> Subject:
    def parts(number: int) -> tuple[Any, ...]:
        own = blocks(probe_model())[number]
        return (
            lambda x: own.attention(x, None, True)[0],
            own.feed_forward,
            own.attention_norm,
            own.output_norm,
        )

    x = numbers(3, 7, 20)
    cases = {
        "eval mode": (x, *parts(0), _NoDropout()),
        "dropout that drops everything": (x, *parts(0), _FullDropout()),
    }

    def prepare(model: BertForPreTraining, x: Tensor, *parts: Any) -> None:
        setattr(blocks(model)[0], "dropout", Steps(parts[-1]))  # noqa: B010  (not an nn.Dropout)

    def answer(model: BertForPreTraining, x: Tensor, *parts: Any) -> Tensor:
        return blocks(model)[0](x, None, True)[0]

    mistakes = known("block", "dropout", kinds=("model", "train"))
    return Subject("block", cases, answer, mistakes, prepare)


def pooler(model: BertForPreTraining) -> Subject:
    assert model.bert.pooler is not None
    dense = model.bert.pooler.dense
    case = (numbers(3, 7, 20), dense.weight.detach(), dense.bias.detach())

    def answer(model: BertForPreTraining, x: Tensor, *parameters: Tensor) -> Tensor:
        return through(model.bert.pooler, ("dense.weight", "dense.bias"), parameters, x)

    return Subject("pooler", {"three texts": case}, answer, known("pooler", "weights"))


def masked_word_scores(model: BertForPreTraining) -> Subject:
    head = model.masked_word
    assert head is not None
    weights = {name: tensor.detach() for name, tensor in head.named_parameters()}
    table = model.bert.embeddings.token.weight.detach()

    def answer(model: BertForPreTraining, x: Tensor, weights: Any, table: Tensor) -> Tensor:
        return model.masked_word(x, table)  # type: ignore[misc]

    mistakes = [*known("masked_word", "weights"), CATALOGUE["norm_eps_1e5"]]
    return Subject(
        "masked_word_scores", {"three texts": (numbers(3, 7, 20), weights, table)}, answer, mistakes
    )


ROWS: list[tuple[str, str, list[Any], Callable[[BertForPreTraining], Subject]]] = [
    (
        "basic_tokenize",
        "1 Text to words",
        [basic_tokenize, *RULES],
        function_subject("basic_tokenize", {k: (v,) for k, v in TEXTS.items()}),
    ),
    (
        "wordpiece",
        "2 Words to pieces",
        [wordpiece, longest_match_first],
        function_subject("wordpiece", {k: (v, VOCAB) for k, v in WORDS.items()}),
    ),
    (
        "arrange_pair",
        "2 Words to pieces",
        [arrange],
        function_subject("arrange_pair", pairs()),
    ),
    ("sum_embeddings", "3 Three vectors, one sum", [BertEmbeddings], sum_embeddings),
    ("layer_norm", "3 Three vectors, one sum", [numpy_bert.layer_norm], layer_norm),
    ("attention_scores", "4 One head by hand", [BertAttention.attend], attention_scores),
    (
        "attention_probabilities",
        "4 One head by hand",
        [BertAttention.attend],
        attention_probabilities,
    ),
    ("attend", "4 One head by hand", [BertAttention.attend], attend),
    ("split_heads", "5 Twelve heads", [BertAttention.split_heads], split_heads),
    ("merge_heads", "5 Twelve heads", [BertAttention.merge_heads], merge_heads),
    ("attention_bias", "6 Who may be read", [attention_bias_from_mask], attention_bias),
    ("self_attention", "6 Who may be read", [BertAttention], self_attention),
    ("gelu", "7 A block", [numpy_bert.gelu, activation_function], gelu),
    ("feed_forward", "7 A block", [BertFeedForward], feed_forward),
    ("block", "7 A block", [BertBlock], block),
    ("pooler", "7 A block", [BertPooler], pooler),
    (
        "rename_key",
        "8 Official weights",
        [functions.rename_key],
        function_subject("rename_key", keys()),
    ),
    ("masked_word_scores", "10 Filling the blank", [MaskedWordHead], masked_word_scores),
    (
        "mask_tokens",
        "10 Filling the blank",
        [functions.mask_tokens],
        function_subject("mask_tokens", draws()),
    ),
    (
        "masked_word_loss",
        "10 Filling the blank",
        [masked_word_loss],
        function_subject("masked_word_loss", losses()),
    ),
    (
        "mean_pool",
        "11 What the vectors know",
        [functions.mean_pool],
        function_subject("mean_pool", pools()),
    ),
    (
        "adamw_step",
        "12 Pretraining",
        [functions.adamw_step],
        function_subject("adamw_step", steps()),
    ),
    (
        "best_span",
        "19 Pairs, tags, answers",
        [functions.best_span],
        function_subject("best_span", spans()),
    ),
    (
        "token_labels",
        "19 Pairs, tags, answers",
        [functions.token_labels],
        function_subject("token_labels", word_rows()),
    ),
]

LESSONS = [Lesson(f"{number:02}", *row) for number, row in enumerate(ROWS, 1)]
