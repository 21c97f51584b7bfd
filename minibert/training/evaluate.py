"""How good is a pretrained BERT? Three questions, each beside an answer that needs no BERT.

    words      hidden words of held-out text: guess them          | the commonest word
    grammar    two sentences, one of them wrong: which is likelier? | a coin
    sentiment  is a review good or bad? told from its vector, or  | majority, bag of words, and
               by the model fine-tuned on the same texts          | the same BERT untrained

Sources: Salazar et al. 2020, https://arxiv.org/abs/1910.14659 (pseudo-log-likelihood); Warstadt et
al. 2020, https://arxiv.org/abs/1912.00582 (BLiMP); Socher et al. 2013 (SST-2).
"""

import dataclasses
import io
import json
import lzma
import math
import random
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel
from minibert.tasks.classification import new_classifier
from minibert.tasks.labelled import Labelled, read_labelled
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.training.batches import Examples
from minibert.training.finetune import (
    FinetuneSettings,
    Spread,
    accuracy,
    finetune,
    majority,
)
from minibert.training.pretrain import evaluate_heldout
from minibert.training.step import PretrainingSums
from minibert.vectors.embed import embed
from minibert.vectors.recipe import Recipe

# ---- Words ----


def held_out_words(
    model: BertForPreTraining, tokenizer: Tokenizer, data: str | Path, rows: int = 2048
) -> dict[str, Any]:
    """Masked-word perplexity and accuracy, and next-sentence accuracy, on held-out rows.

    The baseline knows how often each piece was chosen in training, and nothing else. Raises
    ValueError if the rows were prepared with another vocabulary.
    """
    heldout = Examples(data, "heldout")
    heldout.check_tokenizer(tokenizer)
    measured = evaluate_heldout(PretrainingSums(model).eval(), heldout, rows, torch.device("cpu"))
    train = Examples(data).rows
    known = np.bincount(_labels(train[: min(len(train), 100_000)]), minlength=heldout.vocab_size)
    asked = _labels(heldout.rows[:rows])
    shares = (known + 1) / (known + 1).sum()
    return {
        "rows": min(rows, len(heldout)),
        "perplexity": math.exp(measured["heldout_word_loss"]),
        "perplexity_of_word_counts": math.exp(-np.log(shares[asked]).mean()),
        "accuracy": measured["heldout_word_accuracy"],
        "accuracy_of_commonest": float((asked == known.argmax()).mean()),
        "next_sentence_accuracy": measured["heldout_pair_accuracy"],
        "next_sentence_chance": 0.5,
    }


def _labels(rows: np.ndarray) -> np.ndarray:
    return rows["labels"][np.arange(rows["labels"].shape[1]) < rows["chosen"][:, None]]


# ---- Grammar ----


@torch.inference_mode()
def pseudo_log_likelihood(
    model: BertForPreTraining, tokenizer: Tokenizer, sentences: Sequence[str], at_once: int = 256
) -> list[float]:
    """For each sentence: hide one piece after another, and add up the logs of their probabilities.

    It is no true probability of the sentence, since each piece sees all the others; but sentences
    of much the same words can be compared by it.
    """
    if model.masked_word is None:
        raise ValueError("this model has no masked-word head: it gives words no probability")
    copies: list[tuple[int, Tensor, int, int]] = []
    for number, sentence in enumerate(sentences):
        ids = tokenizer([sentence], truncation=True)["input_ids"][0].tolist()
        for place in range(1, len(ids) - 1):
            hidden = torch.tensor(ids)
            hidden[place] = tokenizer.mask_id
            copies.append((number, hidden, place, ids[place]))
    copies.sort(key=lambda copy: len(copy[1]))
    totals = [0.0] * len(sentences)
    table = model.bert.embeddings.token.weight
    for at in range(0, len(copies), at_once):
        numbers, rows, places, words = zip(*copies[at : at + at_once])
        ids = torch.nn.utils.rnn.pad_sequence(list(rows), True, tokenizer.pad_id)
        lengths = torch.tensor([len(row) for row in rows])
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        states = model.bert(ids, attention_mask=mask).last_hidden_state
        chosen = states[torch.arange(len(ids)), torch.tensor(places)]
        scores = model.masked_word(chosen, table).log_softmax(-1)
        found = scores[torch.arange(len(ids)), torch.tensor(words)].tolist()
        for number, score in zip(numbers, found):
            totals[number] += score
    return totals


def read_blimp(path: str | Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Each paradigm's name and pairs, from the archive or a folder of .jsonl files.

    Raises OSError if it cannot be read, ValueError if it is no such thing.
    """
    path = Path(path)
    try:
        for name, lines in _jsonl_files(path):
            rows = [json.loads(line) for line in lines]
            if not all({"sentence_good", "sentence_bad"} <= set(row) for row in rows):
                raise ValueError(f"a line of {name} has no sentence_good or no sentence_bad")
            if rows:
                yield Path(name).stem, rows
    except (ValueError, TypeError, tarfile.TarError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise ValueError(f"{path}: expected BLiMP's archive, or its folder: {error}") from None


def _jsonl_files(path: Path) -> Iterator[tuple[str, list[str] | list[bytes]]]:
    if path.is_dir():
        for file in sorted(path.rglob("*.jsonl")):
            yield file.name, file.read_text("utf-8").splitlines()
        return
    with tarfile.open(path) as archive:
        for member in sorted(archive.getmembers(), key=lambda member: member.name):
            content = archive.extractfile(member) if member.name.endswith(".jsonl") else None
            if content is not None:
                yield member.name, content.readlines()


def grammar(
    model: BertForPreTraining,
    tokenizer: Tokenizer,
    blimp: str | Path,
    pairs: int = 20,
    progress: bool = False,
) -> dict[str, Any]:
    """The share of BLiMP's pairs in which the right sentence is the likelier one.

    `pairs` are the first of each of the 67 paradigms. A tie counts half. Chance is 1/2.
    """
    if pairs < 1:
        raise ValueError(f"pairs must be at least 1, got {pairs}")
    total = 0
    accuracy: dict[str, float] = {}
    fields: dict[str, list[float]] = {}
    for name, rows in tqdm(read_blimp(blimp), desc="grammar", disable=not progress):
        good = [row["sentence_good"] for row in rows[:pairs]]
        bad = [row["sentence_bad"] for row in rows[:pairs]]
        scores = pseudo_log_likelihood(model, tokenizer, good + bad)
        halves = np.sign(np.subtract(scores[: len(good)], scores[len(good) :])) / 2 + 0.5
        accuracy[name] = float(halves.mean())
        total += len(good)
        field = rows[0].get("field", "all").replace("/", "_")  # the archive has both spellings
        fields.setdefault(field, []).append(accuracy[name])
    if not accuracy:
        raise ValueError(f"no .jsonl in {blimp}: expected BLiMP's archive, or its folder")
    return {
        "pairs": total,
        "accuracy": float(np.mean(list(accuracy.values()))),
        "chance": 0.5,
        "fields": {name: float(np.mean(values)) for name, values in fields.items()},
        "paradigms": accuracy,
    }


# ---- Sentiment ----


def fit_line(features: Tensor, labels: Tensor, decay: float = 1e-2) -> tuple[Tensor, Tensor]:
    """Logistic regression, to the end: the weights and the bias that best tell 1 from 0.

    >>> weight, bias = fit_line(torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1]))
    >>> bool(weight[0] > 0)
    True
    """
    weight = torch.zeros(features.shape[1], requires_grad=True)
    bias = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        scores = features @ weight + bias
        value = F.binary_cross_entropy_with_logits(scores, labels.float())
        value = value + decay * weight.square().sum() / 2
        value.backward()
        return value

    optimizer.step(loss)  # type: ignore[arg-type]
    return weight.detach(), bias.detach()


def sentiment(
    model: BertForPreTraining,
    tokenizer: Tokenizer,
    train: str | Path,
    test: str | Path,
    *,
    rows: int = 2000,
    seeds: int = 5,
    tuning: FinetuneSettings | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Good or bad? Accuracies on the test texts, each as (mean, deviation) over seeds.

    A seed draws the `rows` training texts, and the weights of the untrained BERT. Without `tuning`
    a linear probe reads the frozen mean vectors; with it both BERTs are fine-tuned on the texts,
    again from the mean.
    """
    if rows < 1 or seeds < 1:
        raise ValueError(f"texts and seeds must be at least 1, got {rows} and {seeds}")
    learn = read_labelled(train)
    judge = read_labelled(test, learn.classes)
    if len(learn.classes) != 2:
        raise ValueError(f"{train}: expected two labels, good and bad, got {learn.classes}")
    names = ("bert", "untrained", "bag_of_words", "majority")
    results: dict[str, list[float]] = {name: [] for name in names}
    for seed in tqdm(range(seeds), desc="sentiment", unit="seeds", disable=not progress):
        chosen = random.Random(seed).sample(range(len(learn.texts)), min(rows, len(learn.texts)))
        drawn = Labelled([learn.texts[n] for n in chosen], learn.labels[chosen], learn.classes)
        torch.manual_seed(seed)
        untrained = BertModel(model.config).eval()
        for name, encoder in (("bert", model.bert), ("untrained", untrained)):
            if tuning is None:
                right = _probe(encoder, tokenizer, drawn, judge)
            else:
                own = dataclasses.replace(tuning, seed=seed)
                right = _fine_tuned(encoder, tokenizer, drawn, judge, own)
            results[name].append(right)
        results["bag_of_words"].append(_bag_of_words(tokenizer, drawn, judge))
        results["majority"].append(majority(drawn, judge))
    spread = {name: tuple(Spread.of(values)) for name, values in results.items()}
    method = "linear probe" if tuning is None else f"fine-tuned for {tuning.epochs} epochs"
    rows = min(rows, len(learn.texts))
    about = {"method": method, "rows": rows, "seeds": seeds}
    return {**about, **spread}


def _fine_tuned(
    encoder: BertModel,
    tokenizer: Tokenizer,
    learn: Labelled,
    judge: Labelled,
    settings: FinetuneSettings,
) -> float:
    classifier = new_classifier(
        encoder, learn.classes, pooling="mean", dropout=0.1, seed=settings.seed
    )
    finetune(classifier, tokenizer, learn, settings)
    return accuracy(classifier, tokenizer, judge)


def _probe(encoder: BertModel, tokenizer: Tokenizer, learn: Labelled, judge: Labelled) -> float:
    texts = learn.texts + judge.texts
    vectors = torch.from_numpy(embed(encoder, tokenizer, texts, recipe=Recipe()))
    known, asked = vectors[: len(learn.texts)], vectors[len(learn.texts) :]
    mean, deviation = known.mean(0), known.std(0) + 1e-6
    known, asked = (known - mean) / deviation, (asked - mean) / deviation
    return _told_by_line(known, asked, learn, judge, decay=1e-2)


def _bag_of_words(tokenizer: Tokenizer, learn: Labelled, judge: Labelled) -> float:
    # The decay is weighed against a mean over the texts: the more there are, the less it may count.
    known, asked = _bags(tokenizer, learn.texts), _bags(tokenizer, judge.texts)
    return _told_by_line(known, asked, learn, judge, decay=2 / len(learn.texts))


def _told_by_line(
    known: Tensor, asked: Tensor, learn: Labelled, judge: Labelled, decay: float
) -> float:
    weight, bias = fit_line(known, torch.from_numpy(learn.labels), decay)
    return float(((asked @ weight + bias > 0).numpy() == judge.labels).mean())


def _bags(tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Which pieces a text holds: a row of 0 and 1 for each, of which only the 1 are stored."""
    places = [(row, piece) for row, text in enumerate(texts) for piece in set(tokenizer.ids(text))]
    shape = (len(texts), tokenizer.vocab_size)
    at = torch.tensor(places, dtype=torch.long).reshape(-1, 2).T
    return torch.sparse_coo_tensor(at, torch.ones(len(places)), shape, check_invariants=True)


def as_table(results: dict[str, dict[str, Any]]) -> str:
    """The results in Markdown, for a model card."""
    out = io.StringIO()
    out.write("| question | this model | to compare |\n|---|---|---|\n")
    if words := results.get("words"):
        out.write(
            f"| held-out hidden words: accuracy | {words['accuracy']:.1%} "
            f"| the commonest piece {words['accuracy_of_commonest']:.1%} |\n"
            f"| held-out hidden words: perplexity | {words['perplexity']:.1f} "
            f"| word counts {words['perplexity_of_word_counts']:.1f} |\n"
            f"| next sentence: accuracy | {words['next_sentence_accuracy']:.1%} | chance 50 % |\n"
        )
    if pairs := results.get("grammar"):
        out.write(
            f"| BLiMP, {pairs['pairs']} pairs: accuracy | {pairs['accuracy']:.1%} | chance 50 % |\n"
        )
    for mood in (results.get("sentiment"), results.get("sentiment_tuned")):
        if mood is None:
            continue
        others = ", ".join(
            f"{name.replace('_', ' ')} {mood[name][0]:.1%} ± {mood[name][1]:.1%}"
            for name in ("majority", "bag_of_words", "untrained")
        )
        out.write(
            f"| SST-2, {mood['method']} on {mood['rows']} texts, {mood['seeds']} seeds: accuracy "
            f"| {mood['bert'][0]:.1%} ± {mood['bert'][1]:.1%} | {others} |\n"
        )
    return out.getvalue()
