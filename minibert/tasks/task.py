"""What a task is: a BERT under one new layer, its rows, its loss, its answers and its measures.

    examples -> rows -> batch -> BERT -> new layer -> scores -> loss, or answers -> measures

`TaskModel` is that protocol. Training, loading, saving and the command line know only what stands
here; the file of a task says what is its own. A row is what goes through the model together. Most
examples become one row; a long text becomes several windows, and a question of several choices one
row of several sequences.

Source: Devlin et al. 2018, section 3.2 and figure 4.
"""

import contextlib
import copy
import dataclasses
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from minibert.core.model import BertModel, initialize
from minibert.fast.linear import full_float32
from minibert.fast.unpadded import cut_by_tokens
from minibert.tasks.families import TaskPooler, family_of
from minibert.tokenizer.batch import Layout
from minibert.tokenizer.batch import Row as Parts
from minibert.tokenizer.tokenizer import Tokenizer

BATCH_TOKENS = 8192  # that are answered at a time


class Row(NamedTuple):
    """What the model reads of an example, or of a part of it.

    example   its number
    ids       one sequence [CLS] ... [SEP], or one for each choice
    segments  their token_type_ids
    label     what the loss takes, as the task says; None where it is not known
    places    for each token the number of the text's piece that stands there, or None
    is_cut    whether a part of it is not read
    """

    example: int
    ids: list[list[int]]
    segments: list[list[int]]
    label: Any = None
    places: Sequence[int | None] = ()
    is_cut: bool = False

    @property
    def length(self) -> int:
        """T, of the longest sequence."""
        return max(map(len, self.ids))


class TaskModel(nn.Module):
    """A BERT, dropout, and the new layer, `classifier`. Each task fills in what raises here.

    A variant that reads [CLS] through a new dense layer gets that as its pooler; the rest of the
    encoder is shared with the one that is given.
    """

    architecture: ClassVar[str]  # transformers' name for it
    layer: str = "classifier"  # the new layer's name in a weights file of BERT
    reads_pooler: ClassVar[bool] = False
    per_token: ClassVar[bool] = False  # scores for each token, not for each sequence
    train_length: ClassVar[int] = 128  # tokens of a row, where nothing else is asked for
    length: ClassVar[int | None] = None  # the same for answers; None: all that the model reads

    def __init__(self, bert: BertModel, outputs: int, layer: str | None = None):
        super().__init__()
        self.layer = layer or self.layer
        self.way = family_of(bert.config).way(self.architecture, self.layer)
        if self.way.dense:
            bert = copy.copy(bert)
            bert._modules = dict(bert._modules)
            bert.pooler = TaskPooler(bert.config, self.way)
        self.bert = bert
        self.dropout = nn.Dropout(bert.config.hidden_dropout_prob)
        self.classifier = nn.Linear(bert.config.hidden_size, outputs)
        initialize(self.classifier, bert.config.initializer_range)

    def rows(self, tokenizer: Tokenizer, data: Any, max_length: int) -> list[Row]:
        """The examples as rows of at most `max_length` tokens."""
        raise NotImplementedError

    def loss(self, logits: Tensor, labels: Sequence[Any]) -> Tensor:
        """The mean loss () of the scores of a batch, against the labels of its rows."""
        raise NotImplementedError

    def answers(
        self, tokenizer: Tokenizer, data: Any, rows: Sequence[Row], logits: Sequence[Tensor]
    ) -> Sequence[Any]:
        """The answer to each example, from the scores of its rows."""
        raise NotImplementedError

    def score(self, answers: Sequence[Any], data: Any) -> dict[str, float]:
        """How good the answers are; the first measure is the one that is usual for the task."""
        raise NotImplementedError

    def check(self, data: Any) -> None:
        """Raise ValueError if the examples are not of this model's kind: other classes, say."""

    def settings(self) -> dict[str, Any]:
        """What config.json has to say of the task."""
        return {}

    @classmethod
    def from_settings(cls, bert: BertModel, config: dict[str, Any], outputs: int) -> "TaskModel":
        """The model that `settings` described, with a new layer of so many outputs."""
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        return self.classifier.weight.device

    def limit(self, max_length: int | None) -> int:
        """How many tokens a row may have: what is asked for, and at most what the model reads."""
        longest = self.bert.config.max_position_embeddings
        return min(max_length or longest, longest)


Kind = TypeVar("Kind", bound=TaskModel)


def batch_of(rows: Sequence[Row], pad_id: int, device: torch.device) -> dict[str, Tensor]:
    """The sequences of some rows, padded to the longest: input_ids and its like, each (B, T).

    >>> rows = [Row(0, [[2, 5, 3]], [[0, 0, 0]]), Row(1, [[2, 3]], [[0, 0]])]
    >>> batch_of(rows, 0, torch.device("cpu"))["input_ids"].tolist()
    [[2, 5, 3], [2, 3, 0]]
    """
    ids = [ids for row in rows for ids in row.ids]
    segments = [segments for row in rows for segments in row.segments]
    T = max(map(len, ids))
    columns = {
        "input_ids": [one + [pad_id] * (T - len(one)) for one in ids],
        "token_type_ids": [one + [0] * (T - len(one)) for one in segments],
        "attention_mask": [[1] * len(one) + [0] * (T - len(one)) for one in ids],
    }
    return {name: torch.tensor(values, device=device) for name, values in columns.items()}


@contextlib.contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Inside, the model answers: no dropout, no gradients, and float32 is float32, whatever
    `torch.autocast` says outside. Afterwards each part is in the mode it was in."""
    training = [module for module in model.modules() if module.training]
    device = next(model.parameters()).device
    model.eval()
    try:
        with torch.no_grad(), full_float32(device):
            yield
    finally:
        for module in training:
            module.training = True


def score_rows(
    model: TaskModel, rows: Sequence[Row], pad_id: int, *, progress: bool = False
) -> list[Tensor]:
    """The scores of each row, on the CPU, in the order of the rows, without those of padding.

    Rows of like lengths go through the model together. What it costs in memory is bounded.
    """
    if cut := [row.length for row in rows if row.is_cut]:
        warnings.warn(
            f"{len(cut):,} of {len(rows):,} texts are longer than {max(cut)} tokens and were cut "
            "there: give the part that matters for the answer",
            stacklevel=6,  # whoever called `bert.classify`
        )
    order = sorted(range(len(rows)), key=lambda number: -rows[number].length)
    sizes = [rows[number].length * len(rows[number].ids) for number in order]
    scores: dict[int, Tensor] = {}
    with at_rest(model), tqdm(total=len(rows), unit="row", disable=not progress) as bar:
        for run in cut_by_tokens(sizes, BATCH_TOKENS):
            chosen, order = order[: len(run)], order[len(run) :]
            group = [rows[number] for number in chosen]
            logits = model(**batch_of(group, pad_id, model.device)).cpu()
            for number, part in zip(chosen, logits.split([len(row.ids) for row in group])):
                one = part[0] if len(rows[number].ids) == 1 and part.dim() > 1 else part
                scores[number] = one[: rows[number].length] if model.per_token else one
            bar.update(len(chosen))
    return [scores[number] for number in range(len(rows))]


def ask(
    model: TaskModel,
    tokenizer: Tokenizer,
    data: Any,
    max_length: int | None = None,
    *,
    progress: bool = False,
) -> Sequence[Any]:
    """The model's answer to each example, of at most `max_length` tokens a row.

    The model answers in eval mode, in its own precision, whatever mode it is in.
    """
    rows = model.rows(tokenizer, data, model.limit(max_length or model.length))
    logits = score_rows(model, rows, tokenizer.pad_id, progress=progress)
    return model.answers(tokenizer, data, rows, logits)


def measure(
    model: TaskModel,
    tokenizer: Tokenizer,
    data: Any,
    max_length: int | None = None,
    *,
    progress: bool = False,
) -> dict[str, float]:
    """How good the model's answers are, by the measures of the task."""
    model.check(data)
    return model.score(ask(model, tokenizer, data, max_length, progress=progress), data)


def which_are_cut(
    tokenizer: Tokenizer, samples: Sequence[Any], rows: Sequence[list[int]], max_length: int
) -> list[bool]:
    """Whether more belongs to each text or pair than its row of at most `max_length` ids."""
    full = [number for number, ids in enumerate(rows) if len(ids) == max_length]
    if not full:
        return [False] * len(rows)
    whole = tokenizer(
        [samples[number] for number in full],
        padding=False, truncation=False, max_length=max_length, return_tensors=None,
    )["input_ids"]  # fmt: skip
    longer = {number for number, ids in zip(full, whole) if len(ids) > max_length}
    return [number in longer for number in range(len(rows))]


def put_together(tokenizer: Tokenizer, *texts: tuple[Sequence[int], range]) -> tuple[Any, Any]:
    """The pieces of one text, or of two, of which these ranges are read -> the ids and segments
    of [CLS] A [SEP], or of [CLS] A [SEP] B [SEP]."""
    layout = Layout(tokenizer, [], [], tokenizer.template, 0, "right")
    parts = Parts(0, tuple(part for _, part in texts))
    names = {name: tokenizer.vocab.get(token) for name, token in tokenizer.special_tokens.items()}
    first, second = layout.sizes(parts)
    of_second = 1 if tokenizer.template.segments else 0
    return layout.fill(parts, [ids for ids, _ in texts], names), [0] * first + [of_second] * second


def encoder_for(kind: type[TaskModel], start: BertModel, dropout: float | None = None) -> BertModel:
    """A copy of a trained BERT, or variant, for a task, with a pooler if the task reads it.

    `dropout` is that of the whole model; None leaves it as the model's config has it.
    """
    config = start.config
    if dropout is not None:
        config = dataclasses.replace(
            config, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout
        )
    with_pooler = kind.reads_pooler and start.pooler is not None
    bert = type(start)(config, add_pooling_layer=with_pooler)
    weights = start.state_dict()
    bert.load_state_dict({name: weights[name] for name in bert.state_dict()})
    return bert


def new_model(
    kind: type[Kind],
    start: BertModel,
    *about: Any,
    dropout: float | None = None,
    seed: int = 0,
    **settings: Any,
) -> Kind:
    """A copy of a trained BERT under the new layer of a task, whose first weights the seed draws.

    `about` and `settings` go to the task's class: its classes, for most.
    """
    torch.manual_seed(seed)
    bert = encoder_for(kind, start, dropout)
    return kind(bert, *about, **settings).to(start.embeddings.token.weight)
