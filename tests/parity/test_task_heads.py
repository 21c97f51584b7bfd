"""Rung 2 for the layers of tasks: against transformers' classes. Rung 6: test_task_mistakes.py."""

import dataclasses

import numpy as np
import pytest
import torch
import transformers

from minibert.core.heads import BertForPreTraining
from minibert.tasks.choices import BertChooser, Choice
from minibert.tasks.classification import LABELS, NUMBER, BertClassifier
from minibert.tasks.labelled import Labelled, batches_by_length
from minibert.tasks.questions import BertReader, Question
from minibert.tasks.task import TaskModel, batch_of, new_model
from minibert.tasks.tokens import BertTagger, Tagged
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.tokenizer.vocabulary import SPECIAL_TOKENS
from minibert.training.finetune import finetune
from minibert.training.settings import FinetuneSettings
from minibert.training.step import learning_rate
from minibert.weights.loading import hugging_face_state
from tests.parity.twins import TINY, trained_like

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = [*SPECIAL_TOKENS.values(), *LETTERS, *(f"##{letter}" for letter in LETTERS)]
CONFIG = dataclasses.replace(TINY, max_position_embeddings=24)
TAGS = ["O", "B-PER", "I-PER", "B-LOC"]
LENGTH = 20


def words_of(rng: np.random.Generator, most: int) -> list[str]:
    """Words of one to three pieces."""
    count = rng.integers(2, most)
    return ["".join(rng.choice(list(LETTERS), rng.integers(1, 4))) for _ in range(count)]


def text_of(rng: np.random.Generator, most: int = 6) -> str:
    return " ".join(words_of(rng, most))


def labelled(labels, classes, pairs=False):
    rng = np.random.default_rng(3)
    texts = [(text_of(rng), text_of(rng)) if pairs else text_of(rng) for _ in labels]
    return Labelled(texts, labels, classes)


def examples(count: int = 60) -> dict:
    """Examples of every task, with what a new model is told of them."""
    rng = np.random.default_rng(0)
    classes = ["a", "b", "c"]
    sentences = [words_of(rng, 7) for _ in range(count)]
    tags = [[int(rng.integers(4)) for _ in sentence] for sentence in sentences]
    questions = []
    for number in range(count):
        words = words_of(rng, 9)
        context, answers = " ".join(words), []
        if number % 4:
            start = context.index(" ") + 1
            answers = [(context[start:], start)]
        questions.append(Question(str(number), text_of(rng, 3), context, answers))
    choices = [
        Choice(text_of(rng, 4), [text_of(rng, 4) for _ in range(3)], int(rng.integers(3)))
        for _ in range(count)
    ]
    one = rng.integers(3, size=count)
    several = rng.integers(2, size=(count, 3)).astype(np.float32)
    numbers = rng.normal(size=count)
    several_kind, number_kind = {"problem_type": LABELS}, {"problem_type": NUMBER}
    return {
        "classes": (BertClassifier, labelled(one, classes), {"classes": classes}),
        "pairs": (BertClassifier, labelled(one, classes, pairs=True), {"classes": classes}),
        "labels": (BertClassifier, labelled(several, classes),
                   {"classes": classes, **several_kind}),
        "numbers": (BertClassifier, labelled(numbers, ["score"], pairs=True),
                    {"classes": ["score"], **number_kind}),
        "tokens": (BertTagger, Tagged(sentences, tags, TAGS), {"classes": TAGS}),
        "questions": (BertReader, questions, {"unanswerable": True}),
        "choices": (BertChooser, choices, {"choices": 3}),
    }  # fmt: skip


EXAMPLES = examples()


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(WORDS, model_max_length=24)


def made(name: str) -> tuple[TaskModel, object]:
    """The model of a task in float64 with trained-like numbers, without dropout; the examples."""
    kind, data, about = EXAMPLES[name]
    model = new_model(kind, trained_like(CONFIG).bert, dropout=0.0, seed=1, **about)
    torch.nn.init.normal_(model.classifier.weight, std=0.4)
    torch.nn.init.normal_(model.classifier.bias, std=0.3)
    return model, data


def twin_of(model: TaskModel):
    """transformers' class with the same weights, eager attention."""
    about = {"num_labels": len(model.classes)} if hasattr(model, "classes") else {}
    problem = getattr(model, "problem_type", None)
    config = transformers.BertConfig(**model.bert.config.to_dict(), problem_type=problem, **about)
    config._attn_implementation = "eager"
    twin = getattr(transformers, model.architecture)(config).double()
    state = {
        f"bert.{key}": tensor
        for key, tensor in hugging_face_state(BertForPreTraining(model.bert, False, False)).items()
    }
    layer = model.layer
    state |= {f"{layer}.{leaf}": tensor for leaf, tensor in model.classifier.state_dict().items()}
    twin.load_state_dict(state, strict=True)
    return twin


def theirs_of(name: str, rows, tokenizer) -> dict[str, torch.Tensor]:
    """The inputs and labels of transformers' class, made by hand from ids."""
    width = max(len(ids) for row in rows for ids in row.ids)

    def padded(sequences, filler=0):
        return torch.tensor([[*one, *[filler] * (width - len(one))] for one in sequences])

    flat = [ids for row in rows for ids in row.ids]
    inputs = {
        "input_ids": padded(flat),
        "token_type_ids": padded([s for row in rows for s in row.segments]),
        "attention_mask": padded([[1] * len(ids) for ids in flat]),
    }
    labels = [row.label for row in rows]
    if name == "tokens":
        return {**inputs, "labels": padded(labels, -100)}
    if name == "questions":
        starts, ends = zip(*labels)
        return {
            **inputs,
            "start_positions": torch.tensor(starts),
            "end_positions": torch.tensor(ends),
        }
    if name == "choices":
        inputs = {key: tensor.view(len(rows), 3, -1) for key, tensor in inputs.items()}
        return {**inputs, "labels": torch.tensor([right for _, right in labels])}
    return {**inputs, "labels": torch.as_tensor(np.stack(labels)).to(
        torch.int64 if name in ("classes", "pairs") else torch.float64)}  # fmt: skip


def flat_logits(name: str, output) -> torch.Tensor:
    """transformers' scores in our layout."""
    if name == "questions":
        return torch.stack([output.start_logits, output.end_logits], dim=-1)
    return output.logits.flatten() if name == "choices" else output.logits


def gradients(model: TaskModel) -> dict[str, torch.Tensor]:
    """Gradients under transformers' names."""
    named = {f"{model.layer}.{leaf}": p.grad for leaf, p in model.classifier.named_parameters()}
    wrapped = BertForPreTraining(model.bert, False, False)
    places = {parameter.data_ptr(): parameter.grad for parameter in model.bert.parameters()}
    for key, tensor in hugging_face_state(wrapped).items():
        named[f"bert.{key}"] = places[tensor.data_ptr()]
    return named


def difference(name: str, model: TaskModel, data, tokenizer) -> float:
    """The largest difference to transformers in logits, loss and every gradient, on 12 rows."""
    rows = model.rows(tokenizer, data, LENGTH)[:12]
    theirs = twin_of(model)
    expected = theirs(**theirs_of(name, rows, tokenizer))
    expected.loss.backward()
    logits = model(**batch_of(rows, tokenizer.pad_id, model.device))
    loss = model.loss(logits, [row.label for row in rows])
    loss.backward()
    pairs = [(logits, flat_logits(name, expected)), (loss, expected.loss)]
    ours = gradients(model)
    for key, parameter in theirs.named_parameters():
        absent = torch.zeros_like(parameter)
        one, other = ours[key], parameter.grad
        pairs.append((absent if one is None else one, absent if other is None else other))
    assert len(ours) == len(list(theirs.named_parameters()))
    return max((a - b).abs().max().item() for a, b in pairs)


@pytest.mark.rung(2)
@pytest.mark.parametrize("name", EXAMPLES)
def test_logits_loss_and_every_gradient(name, tokenizer):
    model, data = made(name)
    assert difference(name, model, data, tokenizer) <= 1e-12


@pytest.mark.rung(2)
@pytest.mark.parametrize("name", EXAMPLES)
def test_twenty_steps(name, tokenizer):
    """The loop itself, with its own batches and order: losses and all weights."""
    model, data = made(name)
    theirs = twin_of(model).train()
    settings = FinetuneSettings(
        epochs=3, batch_size=9, learning_rate=1e-3, warmup=0.2, max_length=LENGTH
    )
    rows = model.rows(tokenizer, data, LENGTH)
    schedule = settings.schedule(len(rows))
    bare = ("bias", "LayerNorm.weight")
    named = list(theirs.named_parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for n, p in named if not n.endswith(bare)], "weight_decay": 0.01},
            {"params": [p for n, p in named if n.endswith(bare)], "weight_decay": 0.0},
        ],
        eps=1e-6,
    )
    order, expected = np.random.default_rng(0), []
    for _ in range(settings.epochs):
        for chosen in batches_by_length([row.length for row in rows], 9, order):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(len(expected), schedule)
            loss = theirs(**theirs_of(name, [rows[n] for n in chosen], tokenizer)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            expected.append(loss.item())
    losses = finetune(model, tokenizer, data, settings)
    assert len(losses) == len(expected) >= 20
    assert np.abs(np.subtract(losses, expected)).max() < 1e-9
    state = theirs.state_dict()
    for key, tensor in hugging_face_state(BertForPreTraining(model.bert, False, False)).items():
        assert (tensor - state[f"bert.{key}"]).abs().max() < 1e-9, key
    for leaf, tensor in model.classifier.state_dict().items():
        assert (tensor - state[f"{model.layer}.{leaf}"]).abs().max() < 1e-9, leaf
