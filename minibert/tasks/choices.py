"""Which of several continuations is the right one?

    [CLS] context [SEP] option [SEP], one row for each option -> pooler_output -> dropout -> 1 score

The one new row of numbers gives each option a score, and the softmax runs over the options, not
over classes: so their number need not always be the same.

Source: Devlin et al. 2018, section 4.4; Zellers et al. 2018 (SWAG).
"""

import csv
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.core.model import BertModel
from minibert.system.lines import read_lines
from minibert.tasks.labelled import json_lines
from minibert.tasks.task import Row, TaskModel, ask, which_are_cut
from minibert.tokenizer.tokenizer import Tokenizer


class Choice(NamedTuple):
    """A context, its possible continuations, and the number of the right one, if it is known."""

    context: str
    options: Sequence[str]
    label: int | None = None


class BertChooser(TaskModel):
    """BertModel, dropout, and one score a sequence; `choices` is how many options it was trained
    with.

    >>> from minibert.core.config import BertConfig
    >>> config = BertConfig(vocab_size=61, hidden_size=20, num_hidden_layers=3,
    ...                     num_attention_heads=4, intermediate_size=44)
    >>> ids = torch.tensor([[2, 5, 3], [2, 6, 3]])
    >>> BertChooser(BertModel(config))(ids, attention_mask=torch.ones_like(ids)).shape
    torch.Size([2])
    """

    architecture = "BertForMultipleChoice"
    reads_pooler = True

    def __init__(self, bert: BertModel, choices: int | None = None):
        super().__init__(bert, 1)
        if self.bert.pooler is None:
            raise ValueError("these weights have no pooler, which choosing reads: take others")
        self.choices = choices

    def forward(
        self, input_ids: Tensor, *, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """(B, T), all options of all examples one after another -> a score for each, (B,)."""
        output = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        return self.classifier(self.dropout(output.pooler_output)).squeeze(-1)  # (B,)

    def rows(self, tokenizer: Tokenizer, data: Sequence[Choice], max_length: int) -> list[Row]:
        """One row an example, a sequence for each option; what is too long is cut, the longer text
        of the two first. A row's label: how many options, and the number of the right one."""
        rows = []
        for number, example in enumerate(data):
            count = len(example.options)
            right = example.label
            if count < 2 or not (right is None or 0 <= right < count):
                raise ValueError(
                    f"example {number}: expected two options or more, and a label below their "
                    f"number, got {count} options and label {right}"
                )
            pairs = [(example.context, option) for option in example.options]
            batch = tokenizer(
                pairs,
                padding=False, truncation=True, max_length=max_length, return_tensors=None,
                return_token_type_ids=True,
            )  # fmt: skip
            ids, segments = batch["input_ids"], batch["token_type_ids"]
            cut = any(which_are_cut(tokenizer, pairs, ids, max_length))
            rows.append(Row(number, ids, segments, (count, right), is_cut=cut))
        return rows

    def loss(self, logits: Tensor, labels: Sequence[Any]) -> Tensor:
        """Cross-entropy over the options of each example."""
        parts = logits.split([count for count, _ in labels])
        truth = torch.tensor([right for _, right in labels], device=logits.device)
        losses = [F.cross_entropy(part, right) for part, right in zip(parts, truth)]
        return torch.stack(losses).mean()

    def answers(
        self,
        tokenizer: Tokenizer,
        data: Sequence[Choice],
        rows: Sequence[Row],
        logits: Sequence[Tensor],
    ) -> list[np.ndarray]:
        """The probability of every option of every example."""
        most = max((len(example.options) for example in data), default=0)
        if self.choices is not None and most > self.choices:
            warnings.warn(
                f"the model was trained to choose among {self.choices}, and an example has {most} "
                "options: their probabilities are less sure than they look",
                stacklevel=4,
            )
        return [scores.float().softmax(dim=-1).numpy() for scores in logits]

    def score(self, answers: Sequence[Any], data: Sequence[Choice]) -> dict[str, float]:
        right = [int(chances.argmax()) == one.label for chances, one in zip(answers, data)]
        return {"accuracy": float(np.mean(right))}

    def settings(self) -> dict[str, Any]:
        return {} if self.choices is None else {"num_choices": self.choices}

    @classmethod
    def from_settings(cls, bert: BertModel, config: dict[str, Any], outputs: int) -> "BertChooser":
        if outputs != 1:
            raise ValueError(f"expected one score for an option, got {outputs}")
        choices = config.get("num_choices")
        return cls(bert, choices if isinstance(choices, int) else None)


class Chosen(NamedTuple):
    """The number of an option, its probability, and the option."""

    number: int
    probability: float
    text: str


def choose(
    model: BertChooser, tokenizer: Tokenizer, context: str, options: Sequence[str]
) -> list[Chosen]:
    """The options, the likeliest first."""
    chances = ask(model, tokenizer, [Choice(context, list(options))])[0]
    order = np.argsort(-chances, kind="stable").tolist()
    return [Chosen(number, float(chances[number]), options[number]) for number in order]


def read_choices(path: str | Path) -> list[Choice]:
    """A table as SWAG's, .csv with the columns sent1, sent2, ending0 ... and label, or .jsonl of
    objects {"text", "options", "label"}.

    Raises FileNotFoundError, or ValueError with the line that is not as expected.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: expected .csv in SWAG's form, or .jsonl")
    examples = []
    for number, record in json_lines(path) if path.suffix == ".jsonl" else _swag(path):
        options, label = record.get("options"), record.get("label")
        text = record.get("text")
        try:
            right = int(label)  # type: ignore[arg-type]
            fits = isinstance(options, list) and 0 <= right < len(options) > 1
            parts = [text, *(options or [])]
            fits = fits and all(isinstance(part, str) and part.strip() for part in parts)
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise ValueError(
                f"{path}, line {number}: expected a text, two options or more, none of them empty, "
                f"and the number of the right one, from 0; got {str(record)[:100]!r}"
            )
        examples.append(Choice(str(text), options or [], right))
    if not examples:
        raise ValueError(f"{path}: expected at least one example, and it has none")
    return examples


def _swag(path: Path) -> Any:
    reader = csv.DictReader((f"{line}\n" for line in read_lines(path)), strict=True)
    wanted = {"sent1", "sent2", "ending0", "ending1", "label"}
    if lacking := wanted - set(reader.fieldnames or ()):
        raise ValueError(
            f"{path}, line 1: expected the columns {', '.join(sorted(wanted))}, and "
            f"{', '.join(sorted(lacking))} is not there"
        )
    endings = [name for name in reader.fieldnames or () if name.startswith("ending")]
    try:
        for row in reader:
            options = [f"{row['sent2'] or ''} {row[name] or ''}".strip() for name in endings]
            yield reader.line_num, {"text": row["sent1"], "options": options, "label": row["label"]}
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
