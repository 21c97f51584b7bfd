"""From words to sentences: train a BERT so that texts that mean the same get vectors alike.

A BERT that fills blanks was never asked for a vector of a text, and the mean of its token vectors
says little: any two texts have a cosine near 1. Two ways to teach it, by what is at hand:

1. **Contrast.** Pairs of texts that mean the same: each must be found among the other texts of the
   batch. Without pairs a text is its own partner, read twice under two dropouts. Pairs with a
   score: their cosine is to be that score.
2. **A teacher.** The vectors of a better model for the same texts: the vector of each text is to
   point where the teacher's does, and those of a batch are to be as alike among themselves.

The vector is the mean over the tokens of the last layer, at length 1.

Source: van den Oord et al. 2018 (InfoNCE); Reimers & Gurevych 2019 and 2020 (sentence vectors, a
teacher); Henderson et al. 2017 (the batch's other texts as wrong answers); Gao et al. 2021
(SimCSE); Tung & Mori 2019 (similarities within a batch).
"""

import copy
import dataclasses
import hashlib
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minibert.bert import Bert
from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel
from minibert.system import processes
from minibert.system.files import folder_written_whole
from minibert.training.checkpoint import MODEL, describe_run
from minibert.training.evaluate_similarity import similarity_scores
from minibert.training.loop import Result, Run, train
from minibert.training.pretrain import seed_of
from minibert.training.sentence_data import Column, Order, Texts
from minibert.training.settings import SentenceSettings
from minibert.training.step import learning_rate
from minibert.vectors.pooling import mean_pool
from minibert.vectors.recipe import Recipe
from minibert.weights.identity import identity as model_identity

SUMS = ("num_tokens", "texts", "loss")  # what a step adds up
MEASURED = ("loss", "spearman", "pearson")  # columns of the log; the last two of held-out pairs


# ---- Losses ----


def contrastive_loss(anchors: Tensor, others: Tensor, scale: float = 20.0) -> Tensor:
    """(B, H), (M, H) with M >= B: anchor n belongs to number n of the others, and to none else.

    The mean cross-entropy of choosing it by cosine times `scale`. What stands behind the first B
    of the others belongs to nobody: texts that look right and are not.

    >>> contrastive_loss(torch.eye(2), torch.eye(2), scale=1.0)  # log(1 + 1/e)
    tensor(0.3133)
    """
    scores = F.normalize(anchors, dim=-1) @ F.normalize(others, dim=-1).T * scale  # (B, M)
    return F.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


def cosine_loss(first: Tensor, second: Tensor, scores: Tensor) -> Tensor:
    """The mean square of what the cosines of pairs (B, H), (B, H) miss of their scores (B,)."""
    return F.mse_loss(F.cosine_similarity(first, second), scores)


def teacher_loss(vectors: Tensor, targets: Tensor, weight: float = 10.0) -> Tensor:
    """(B, H), (B, H): 1 - cosine of each with its target, and `weight` times the mean square of
    what the cosines within the batch miss of the teacher's.

    >>> teacher_loss(torch.eye(2), torch.eye(2))
    tensor(0.)
    """
    own, theirs = F.normalize(vectors, dim=-1), F.normalize(targets, dim=-1)
    directions = 1 - (own * theirs).sum(dim=-1).mean()
    return directions + weight * F.mse_loss(own @ own.T, theirs @ theirs.T)


def directions_of(teacher: np.ndarray, width: int, rows: int = 50_000) -> Tensor:
    """A matrix (W, width) that brings the teacher's vectors (N, W) to the model's width.

    The columns are the directions in which the teacher's vectors are longest, so that their
    products change as little as they can; a narrower teacher gets columns of zeros.
    """
    some = np.asarray(
        teacher[np.linspace(0, len(teacher) - 1, min(rows, len(teacher))).astype(int)]
    )
    _, axes = np.linalg.eigh(some.astype(np.float64).T @ some.astype(np.float64))
    basis = np.zeros((teacher.shape[1], width))
    most = min(width, teacher.shape[1])
    basis[:, :most] = axes[:, ::-1][:, :most]
    return torch.from_numpy(basis).float()


# ---- The run ----


def train_sentences(
    texts: Texts,
    output: str | Path,
    start: Bert,
    settings: SentenceSettings | None = None,
    *,
    teacher: np.ndarray | None = None,
    heldout: Texts | None = None,
    progress: bool = False,
) -> Result:
    """Train on texts of `read_texts`; go on where `output` holds a checkpoint.

    start    the BERT to begin with; it stays as it is
    teacher  (N, W), a vector for each text, as `embed` makes them; may be memory-mapped
    heldout  pairs with scores, on which the cosines are measured now and then

    `output` gets checkpoint.pt, log.csv and, at every save, the model as a folder that minibert and
    sentence-transformers load. SIGINT, SIGTERM and SIGHUP save and stop after the step in hand.
    Raises ValueError for texts that do not fit, as `pretrain` does, and for more than one process.
    """
    settings = settings or SentenceSettings()
    _check(texts, teacher, start, settings)

    def make_run(device: torch.device) -> SentenceRun:
        return SentenceRun(texts, Path(output), start, settings, teacher, heldout, device)

    return train(Path(output), make_run, progress=progress)


def _check(
    texts: Texts, teacher: np.ndarray | None, start: Bert, settings: SentenceSettings
) -> None:
    config = start.config
    if processes.count() > 1:
        raise ValueError("sentence vectors are trained by one process: leave torchrun out")
    if len(texts.columns[0]) < 2:
        raise ValueError("expected two texts or more, got one: there is nothing to tell apart")
    if teacher is not None:
        if len(texts.columns) > 1:
            raise ValueError(
                f"a teacher goes with texts in one column, got {len(texts.columns)} columns"
            )
        if teacher.ndim != 2 or len(teacher) != len(texts.columns[0]):
            raise ValueError(
                f"expected a teacher's vector for each of {len(texts.columns[0])} texts, got an "
                f"array of shape {teacher.shape}: were they made of another file?"
            )
    elif len(texts.columns) == 1 and not config.hidden_dropout_prob:
        raise ValueError(
            "texts alone are read twice under two dropouts, and this model has none: give a "
            "teacher's vectors, pairs, or a dropout such as 0.1"
        )
    if texts.scores is not None:
        highest = float(np.abs(texts.scores).max())
        if not highest <= settings.highest_score:
            raise ValueError(
                f"expected scores up to {settings.highest_score} (highest_score), got {highest}"
            )


def with_dropout(bert: Bert, share: float) -> Bert:
    """The same model with another dropout."""
    config = dataclasses.replace(
        bert.config, hidden_dropout_prob=share, attention_probs_dropout_prob=share
    )
    body = type(bert.model)(config, add_pooling_layer=bert.model.pooler is not None)
    body.load_state_dict(bert.model.state_dict())
    heads = BertForPreTraining(body, masked_word=False, next_sentence=False)
    return dataclasses.replace(bert, pretraining=heads)


class SentenceModel(nn.Module):
    """input_ids, attention_mask (B, T) -> vectors (B, H), the mean over the real tokens."""

    def __init__(self, bert: BertModel, bf16: bool = False):
        super().__init__()
        self.bert, self.bf16 = bert, bf16

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        with torch.autocast(input_ids.device.type, torch.bfloat16, enabled=self.bf16):
            padded = not bool(attention_mask.all())
            output = self.bert(input_ids, attention_mask=attention_mask if padded else None)
        return mean_pool(output.last_hidden_state.float(), attention_mask)  # (B, H)


class SentenceRun(Run):
    """Texts, their partners, scores or teacher, and the loss that goes with them."""

    settings: SentenceSettings
    model: BertForPreTraining

    def __init__(
        self,
        texts: Texts,
        output: Path,
        start: Bert,
        settings: SentenceSettings,
        teacher: np.ndarray | None,
        heldout: Texts | None,
        device: torch.device,
    ):
        self.start, self.teacher, self.unseen = start, teacher, heldout
        body = copy.deepcopy(start.model)
        body.pooler = None  # it was trained for next sentences, and the new body would mislead it
        model = BertForPreTraining(body, masked_word=False, next_sentence=False).to(device).train()
        longest = min(settings.max_length, model.config.max_position_embeddings)
        self.columns = [Column.of(c, start.tokenizer, longest) for c in texts.columns]
        lengths = np.max([column.lengths for column in self.columns], axis=0)
        self.order = Order(lengths, settings.batch_size, settings.seed)
        self.scores = None
        if texts.scores is not None:
            self.scores = torch.from_numpy(texts.scores / settings.highest_score).float()
        identity = describe_run(settings, model.config, [], start.pretraining)
        identity["data.tokenizer"] = model_identity(tokenizer=start.tokenizer)
        identity |= {f"texts.{n}": column.digest() for n, column in enumerate(self.columns)}
        for name, array in (("scores", texts.scores), ("teacher", teacher)):
            bytes = b"" if array is None else np.ascontiguousarray(array).data
            identity[f"texts.{name}"] = hashlib.blake2b(bytes, digest_size=16).hexdigest()
        super().__init__(model, output, settings, device, identity, SUMS, MEASURED)
        self.module = SentenceModel(model.bert, settings.bf16)
        if teacher is not None:
            self.basis = directions_of(teacher, model.config.hidden_size).to(device)
        self.start_clock()

    def step(self) -> None:
        state, settings = self.state, self.settings
        torch.manual_seed(seed_of(settings.seed, state.step, 0))  # dropout
        rows = self.order.rows(state.step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.done, settings)
        loss, tokens = self.loss(rows)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)
        sums = [float(tokens), len(rows), loss.item() * len(rows)]
        self.step_done(torch.tensor(sums, dtype=torch.float64, device=self.device), len(rows))

    def loss(self, rows: np.ndarray) -> tuple[Tensor, int]:
        """The loss of some rows, and how many tokens were read for it."""
        vectors, tokens = [], 0
        columns = self.columns
        if len(columns) == 1 and self.teacher is None:
            columns = columns * 2  # the same text under another dropout
        for column in columns:
            batch = column.batch(rows, self.start.tokenizer.pad_id or 0)
            tokens += int(batch["attention_mask"].sum())
            vectors.append(
                self.module(**{k: tensor.to(self.device) for k, tensor in batch.items()})
            )
        if self.teacher is not None:
            theirs = torch.from_numpy(np.asarray(self.teacher[rows], dtype=np.float32))
            targets = theirs.to(self.device) @ self.basis  # (B, H)
            return teacher_loss(vectors[0], targets, self.settings.similarity_weight), tokens
        if self.scores is not None:
            return cosine_loss(vectors[0], vectors[1], self.scores[rows].to(self.device)), tokens
        return contrastive_loss(vectors[0], torch.cat(vectors[1:]), self.settings.scale), tokens

    def means(self) -> dict[str, float]:
        _, texts, loss = self.state.sums.tolist()
        return {"loss": loss / max(texts, 1)}

    def heldout(self) -> dict[str, float]:
        if self.unseen is None:
            return {}
        scores = similarity_scores(self.as_bert(), self.unseen)
        return {f"heldout_{name}": scores[name] for name in MEASURED if name in scores}

    def as_bert(self) -> Bert:
        """The model as it is now, to be used and saved."""
        best = cast(BertForPreTraining, self.best)
        return dataclasses.replace(
            self.start, pretraining=best, recipe=Recipe("mean", normalize=True)
        )

    def export(self) -> None:
        bert = self.as_bert()
        with folder_written_whole(self.output / MODEL, replace=True) as new:
            bert.write(new)
