"""A question and a text -> the part of the text that answers it, or that there is none.

    [CLS] question [SEP] text [SEP] -> BERT -> last_hidden_state (B, T, H) -> (B, T, 2)

The first column of the scores says how well the answer begins at a token, the second how well it
ends there; both at [CLS] mean "no answer". A text longer than the model reads is cut into windows
that begin `doc_stride` pieces apart. A piece may begin an answer only in the window that holds most
of its context, and spans of all windows compete by the sum of their two scores.

The original tries the pairs of the 20 best beginnings and ends. Here all spans of at most
`max_answer_length` pieces are compared, which finds the same ones and those that it misses.

Source: Devlin et al. 2018, sections 4.2 and 4.3; google-research/bert `run_squad.py`, functions
convert_examples_to_features, create_model and write_predictions; Rajpurkar et al. 2016, 2018.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.core.model import BertModel
from minibert.system.files import folder_written_whole, read_json
from minibert.tasks import measures
from minibert.tasks.spans import SpanSettings, fullest_window
from minibert.tasks.task import Row, TaskModel, put_together, score_rows
from minibert.tokenizer.pieces import Span
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.tokenizer.truncation import windows

UNANSWERED = "version_2_with_negative"  # as config.json calls it, after an option of run_squad.py


class Question(NamedTuple):
    """A question about a text; `answers` are (answer, where it begins in the text), none if the
    text does not answer it."""

    id: str
    question: str
    context: str
    answers: Sequence[tuple[str, int]] = ()


class Answer(NamedTuple):
    """text[start:end], and its probability among those listed; "" at 0, 0 is no answer."""

    text: str
    start: int
    end: int
    probability: float
    start_logit: float = 0.0
    end_logit: float = 0.0


class Answers(NamedTuple):
    """Of one question: what is answered, the best answers, and by how much no answer is better
    than the best (None where every question has an answer)."""

    best: Answer
    nbest: list[Answer]
    null_odds: float | None = None


class BertReader(TaskModel):
    """BertModel and a linear layer with two outputs on every token; no dropout, as there.

    unanswerable  whether it was trained with questions that have no answer, and may say so

    >>> from minibert.core.config import BertConfig
    >>> config = BertConfig(vocab_size=61, hidden_size=20, num_hidden_layers=3,
    ...                     num_attention_heads=4, intermediate_size=44)
    >>> ids = torch.tensor([[2, 5, 3, 6, 3]])
    >>> BertReader(BertModel(config))(ids, attention_mask=torch.ones_like(ids)).shape
    torch.Size([1, 5, 2])
    """

    architecture = "BertForQuestionAnswering"
    layer = "qa_outputs"
    per_token = True
    train_length = length = 384

    def __init__(
        self, bert: BertModel, unanswerable: bool = False, settings: SpanSettings | None = None
    ):
        super().__init__(bert, 2)
        self.unanswerable = unanswerable
        self.spans = settings or SpanSettings()

    def forward(
        self, input_ids: Tensor, *, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """(B, T) -> how well an answer begins and ends at each token, (B, T, 2)."""
        output = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        return self.classifier(output.last_hidden_state)  # (B, T, 2)

    def rows(self, tokenizer: Tokenizer, data: Sequence[Question], max_length: int) -> list[Row]:
        """The windows of each question. A row's label: the first and the last token of the answer;
        (0, 0), which is [CLS], where the window does not hold it whole."""
        rows = []
        for number, example in enumerate(data):
            if not example.context.strip():
                raise ValueError(
                    f"question {example.id}: the text is empty, and an answer is a part of it"
                )
            query = tokenizer.ids(example.question)[: self.spans.max_query_length]
            pieces = tokenizer.pieces(example.context)
            room = max_length - len(query) - tokenizer.template.length(2)
            if room < 1:
                raise ValueError(
                    f"question {example.id} leaves no room for the text in rows of {max_length} "
                    "tokens: a larger max_length, or a smaller max_query_length"
                )
            answer = pieces_of(example, pieces.offsets)
            overlap = max(0, room - self.spans.doc_stride)
            for part in windows(len(pieces.ids), room, overlap, "right"):
                ids, segments = put_together(
                    tokenizer, (query, range(len(query))), (pieces.ids, part)
                )
                start = len(ids) - len(part) - len(tokenizer.template.after)
                places: list[int | None] = [None] * len(ids)
                places[start : start + len(part)] = part
                label = (0, 0)
                if answer and part.start <= answer.start and answer.stop <= part.stop:
                    label = (
                        answer.start - part.start + start,
                        answer.stop - 1 - part.start + start,
                    )
                rows.append(Row(number, [ids], [segments], label, places))
        return rows

    def loss(self, logits: Tensor, labels: Sequence[Any]) -> Tensor:
        """Cross-entropy over all tokens of the row, of the beginning and of the end: their mean."""
        truth = torch.tensor(labels, device=logits.device)  # (B, 2)
        return F.cross_entropy(logits, truth)

    def answers(
        self,
        tokenizer: Tokenizer,
        data: Sequence[Question],
        rows: Sequence[Row],
        logits: Sequence[Tensor],
    ) -> list[Answers]:
        """The best spans over all windows of each question."""
        windows_of: dict[int, list[tuple[Row, Tensor]]] = {n: [] for n in range(len(data))}
        for row, scores in zip(rows, logits):
            windows_of[row.example].append((row, scores))
        result = []
        for number, example in enumerate(data):
            spans = best_spans(windows_of[number], self.spans)
            null = None
            if self.unanswerable:
                null = min((scores[0].tolist() for _, scores in windows_of[number]), key=sum)
            offsets = tokenizer.pieces(example.context).offsets
            result.append(choose(example.context, offsets, spans, null, self.spans))
        return result

    def score(self, answers: Sequence[Any], data: Sequence[Question]) -> dict[str, float]:
        """SQuAD's F1 and exact match, in per cent."""
        return measures.squad_scores(
            [answer.best.text for answer in answers],
            [[text for text, _ in question.answers] for question in data],
        )

    def settings(self) -> dict[str, Any]:
        return {UNANSWERED: self.unanswerable}

    @classmethod
    def from_settings(cls, bert: BertModel, config: dict[str, Any], outputs: int) -> "BertReader":
        if outputs != 2:
            raise ValueError(f"expected two outputs, beginning and end, got {outputs}")
        return cls(bert, bool(config.get(UNANSWERED, False)))


def pieces_of(example: Question, offsets: Sequence[Span]) -> range:
    """The pieces that the first answer touches; none if there is no answer.

    Raises ValueError if it does not stand in the text where it is said to.
    """
    if not example.answers:
        return range(0)
    text, start = example.answers[0]
    end = start + len(text)
    if not text.strip() or start < 0 or example.context[start:end] != text:
        raise ValueError(
            f"question {example.id}: expected the answer {text!r:.60} at character {start} of the "
            f"text, which has {example.context[max(0, start) : end]!r:.60} there"
        )
    touched = [n for n, (a, b) in enumerate(offsets) if a < end and b > start]
    return range(touched[0], touched[-1] + 1) if touched else range(0)


class Scored(NamedTuple):
    """A span of pieces (first, last), with the two scores."""

    first: int
    last: int
    start_logit: float
    end_logit: float

    @property
    def total(self) -> float:
        return self.start_logit + self.end_logit


def best_spans(parts: Sequence[tuple[Row, Tensor]], settings: SpanSettings) -> list[Scored]:
    """The spans of a text with the highest sums of scores, best first, over its windows (T, 2).

    There are more than `n_best_size`, since two may be the same words.
    """
    best: list[Scored] = []
    reads = [row_range(row) for row, _ in parts]
    for number, (row, scores) in enumerate(parts):
        read = reads[number]
        if not read:
            continue
        start = list(row.places).index(read[0])
        begins, ends = scores[start : start + len(read)].double().unbind(dim=1)  # (n,)
        own = torch.tensor([fullest_window(piece, reads) == number for piece in read])
        begins = begins.masked_fill(~own, -torch.inf)
        n, width = len(read), min(settings.max_answer_length, len(read))
        padded = F.pad(ends, (0, width - 1), value=-torch.inf)  # (n + width - 1,)
        totals = begins[:, None] + padded.unfold(0, width, 1)  # (n, width): begins, further pieces
        values, which = totals.flatten().topk(min(4 * settings.n_best_size, n * width))
        for value, place in zip(values.tolist(), which.tolist()):
            if value > -torch.inf:
                first, further = divmod(place, width)
                logits = scores[start + first, 0].item(), scores[start + first + further, 1].item()
                best.append(Scored(read[first], read[first] + further, *logits))
    return sorted(best, key=lambda span: -span.total)


def row_range(row: Row) -> range:
    """The pieces of the text that a window holds."""
    pieces = [piece for piece in row.places if piece is not None]
    return range(pieces[0], pieces[-1] + 1) if pieces else range(0)


def choose(
    context: str,
    offsets: Sequence[Span],
    spans: Sequence[Scored],
    null: Sequence[float] | None,
    settings: SpanSettings,
) -> Answers:
    """The spans as texts, each text once, with their probabilities; and what is answered.

    null  the two scores of [CLS] in the window that is surest of an answer; None: there is one
    """
    texts: dict[str, tuple[int, int, float, float]] = {}
    for span in spans:
        start, end = offsets[span.first][0], offsets[span.last][1]
        if len(texts) < settings.n_best_size and context[start:end].strip():
            texts.setdefault(context[start:end], (start, end, span.start_logit, span.end_logit))
    candidates = [(text, *place) for text, place in texts.items()]
    if null is not None:
        candidates.append(("", 0, 0, null[0], null[1]))
        candidates.sort(key=lambda one: -(one[3] + one[4]))
    if not candidates:  # of a text in which the tokenizer sees nothing
        return Answers(Answer("", 0, 0, 0.0), [])
    totals = torch.tensor([one[3] + one[4] for one in candidates], dtype=torch.float64)
    chances = totals.softmax(dim=0).tolist()
    nbest = [
        Answer(text, start, end, chance, begin, finish)
        for (text, start, end, begin, finish), chance in zip(candidates, chances)
    ]
    spoken = [answer for answer in nbest if answer.text]
    if null is None or not spoken:
        return Answers(nbest[0], nbest)
    odds = sum(null) - spoken[0].start_logit - spoken[0].end_logit
    silent = next(answer for answer in nbest if not answer.text)
    return Answers(silent if odds > settings.null_score_diff_threshold else spoken[0], nbest, odds)


def answer(
    model: BertReader,
    tokenizer: Tokenizer,
    question: str,
    text: str,
    *,
    unanswerable: bool | None = None,
    max_length: int | None = None,
) -> Answers:
    """The part of the text that answers the question.

    unanswerable  whether "" may be the answer; None: if the model was trained for it

    Raises ValueError for an empty question or text.
    """
    if not question.strip() or not text.strip():
        raise ValueError("expected a question and a text that may answer it, and one is empty")
    before = model.unanswerable
    model.unanswerable = before if unanswerable is None else unanswerable
    try:
        data = [Question("given", question, text)]
        rows = model.rows(tokenizer, data, model.limit(max_length or model.length))
        return model.answers(tokenizer, data, rows, score_rows(model, rows, tokenizer.pad_id))[0]
    finally:
        model.unanswerable = before


# ---- SQuAD's files ----


def read_questions(path: str | Path) -> list[Question]:
    """A file in the form of SQuAD 1.1 or 2.0.

    Raises FileNotFoundError, or ValueError that names the article, paragraph and question.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: expected a JSON file as SQuAD has them")
    content = read_json(path, "a file of SQuAD")
    questions = []
    where = "the file"
    try:
        for number, article in enumerate(content["data"], 1):
            where = f"article {number}"
            for place, paragraph in enumerate(article["paragraphs"], 1):
                where = f"article {number}, paragraph {place}"
                context = paragraph["context"]
                for one in paragraph["qas"]:
                    where = f"article {number}, paragraph {place}, question {one.get('id')!r}"
                    nothing = one.get("is_impossible", False)
                    answers = [] if nothing else one.get("answers", [])
                    given = [(a["text"], a["answer_start"]) for a in answers]
                    question = Question(str(one["id"]), one["question"], context, given)
                    if not all(isinstance(text, str) for text in question[:3]):
                        raise TypeError("a question and its text must be strings")
                    pieces_of(question, [])
                    questions.append(question)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}, {where}: expected the form of SQuAD (data, paragraphs, context, qas, id, "
            f"question, answers with text and answer_start), got {type(error).__name__} {error}"
        ) from None
    except ValueError as error:
        raise ValueError(f"{path}, {where}: {error}") from None
    if not questions:
        raise ValueError(f"{path}: expected at least one question, and it has none")
    return questions


def write_answers(folder: str | Path, data: Sequence[Question], answers: Sequence[Answers]) -> None:
    """predictions.json, nbest_predictions.json and, if there is any, null_odds.json, into a new
    folder, as run_squad.py writes them."""
    files: dict[str, dict[str, Any]] = {"predictions.json": {}, "nbest_predictions.json": {}}
    for question, answers_ in zip(data, answers):
        files["predictions.json"][question.id] = answers_.best.text
        files["nbest_predictions.json"][question.id] = [
            {
                "text": one.text,
                "probability": one.probability,
                "start_logit": one.start_logit,
                "end_logit": one.end_logit,
            }
            for one in answers_.nbest
        ]
        if answers_.null_odds is not None:
            files.setdefault("null_odds.json", {})[question.id] = answers_.null_odds
    with folder_written_whole(folder) as new:
        for name, content in files.items():
            text = json.dumps(content, indent=4, ensure_ascii=False) + "\n"
            (new / name).write_text(text, encoding="utf-8")
