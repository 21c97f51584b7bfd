"""A trained BERT under one new layer that tells the classes of a text apart.

    text -> BERT -> pooler_output (B, H) -> dropout -> classifier -> a score per class (B, C)

The new layer is a matrix of C x H numbers and C biases; nothing else is added. On request it reads
the mean of the last hidden state instead, which is not in the paper.

Source: Devlin et al. 2018, section 4.1; google-research/bert `run_classifier.py`, function
create_model.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel, initialize
from minibert.system.files import folder_written_whole, read_json
from minibert.tokenizer.batch import Batch
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.vectors.pooling import mean_pool
from minibert.weights.files import find_config, find_weights, read_tensors
from minibert.weights.loading import hugging_face_state, load_weights, write_tensors
from minibert.weights.names import modern_name

# What the classifier reads -> its name in a weights file. The first is transformers' name; it has
# no class that computes the second, so that one has another name there.
POOLINGS = {"pooler": "classifier", "mean": "mean_classifier"}
ARCHITECTURE = "BertForSequenceClassification"  # transformers' name of the first


class BertClassifier(nn.Module):
    """BertModel, dropout, and a linear layer; `classes` are the names of what it tells apart.

    >>> from minibert.core.config import BertConfig
    >>> config = BertConfig(vocab_size=61, hidden_size=20, num_hidden_layers=3,
    ...                     num_attention_heads=4, intermediate_size=44)
    >>> model = BertClassifier(BertModel(config), ["bad", "good"])
    >>> ids = torch.tensor([[2, 5, 3]])
    >>> model(ids, attention_mask=torch.ones_like(ids)).shape
    torch.Size([1, 2])
    """

    def __init__(self, bert: BertModel, classes: Sequence[str], pooling: str = "pooler"):
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, got {pooling!r}")
        if pooling == "pooler" and bert.pooler is None:
            raise ValueError('these weights have no pooler: choose pooling "mean"')
        if len(classes) < 2:
            raise ValueError(f"expected two or more classes to tell apart, got {list(classes)}")
        self.bert = bert
        self.classes = list(classes)
        self.pooling = pooling
        self.dropout = nn.Dropout(bert.config.hidden_dropout_prob)
        self.classifier = nn.Linear(bert.config.hidden_size, len(classes))
        initialize(self.classifier, bert.config.initializer_range)

    def forward(self, input_ids: Tensor, *, attention_mask: Tensor) -> Tensor:
        """(B, T) -> a score for every class, (B, C)."""
        output = self.bert(input_ids, attention_mask=attention_mask)
        if self.pooling == "pooler":
            pooled = output.pooler_output  # (B, H)
        else:
            pooled = mean_pool(output.last_hidden_state, attention_mask)  # (B, H)
        return self.classifier(self.dropout(pooled))  # (B, C)


def new_classifier(
    start: BertModel,
    classes: Sequence[str],
    *,
    pooling: str = "pooler",
    dropout: float | None = None,
    seed: int = 0,
) -> BertClassifier:
    """A copy of a trained BERT under a new classifier, whose first weights the seed draws.

    `dropout` is that of the whole model; None leaves it as the model's config has it.
    """
    config = start.config
    if dropout is not None:
        config = dataclasses.replace(
            config, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout
        )
    torch.manual_seed(seed)
    bert = BertModel(config, add_pooling_layer=start.pooler is not None)
    bert.load_state_dict(start.state_dict())
    return BertClassifier(bert, classes, pooling).to(start.embeddings.token.weight)


def classifier_batch(tokenizer: Tokenizer, texts: Sequence[str], max_length: int) -> Batch:
    """What the classifier reads: input_ids and attention_mask, of at most `max_length` tokens."""
    return tokenizer(texts, truncation=True, max_length=max_length, return_token_type_ids=False)


def num_tokens(tokenizer: Tokenizer, texts: Sequence[str], max_length: int) -> list[int]:
    """How many tokens each text has in such a batch, padding left out."""
    if not texts:
        return []
    batch = tokenizer(
        texts, padding=False, truncation=True, max_length=max_length, return_tensors=None
    )
    return [len(ids) for ids in batch["input_ids"]]


@torch.no_grad()
def predict(
    model: BertClassifier, tokenizer: Tokenizer, texts: Sequence[str], max_length: int = 128
) -> np.ndarray:
    """The probability of every class for every text, (N, C), of at most `max_length` tokens of it.

    The model runs in the mode it is in: in train mode, its answers change from call to call.
    """
    longest = min(max_length, model.bert.config.max_position_embeddings)
    lengths = num_tokens(tokenizer, texts, longest)
    order = np.argsort(lengths, kind="stable")
    probabilities = np.zeros((len(texts), len(model.classes)), dtype=np.float32)
    device = model.classifier.weight.device
    for start in range(0, len(order), 64):
        numbers = order[start : start + 64]
        batch = classifier_batch(tokenizer, [texts[number] for number in numbers], longest)
        scores = model(**batch.to(device))
        probabilities[numbers] = scores.softmax(dim=-1).float().cpu().numpy()
    return probabilities


def save_classifier(model: BertClassifier, tokenizer: Tokenizer, folder: str | Path) -> None:
    """Write a new folder, whole or not at all.

    `load_classifier` and transformers read the whole of it, `minibert.load` the encoder.
    """
    with folder_written_whole(folder) as new:
        write_classifier(model, tokenizer, new)


def write_classifier(model: BertClassifier, tokenizer: Tokenizer, folder: Path) -> None:
    """config.json, model.safetensors and the tokenizer, into a folder that is there."""
    head = POOLINGS[model.pooling]
    encoder = hugging_face_state(BertForPreTraining(model.bert, False, False))
    state = {f"bert.{key}": tensor for key, tensor in encoder.items()}
    state |= {f"{head}.{leaf}": tensor for leaf, tensor in model.classifier.state_dict().items()}
    state = {key: tensor.cpu().contiguous() for key, tensor in state.items()}
    config: dict[str, Any] = {
        "architectures": [ARCHITECTURE if head == "classifier" else "BertModel"],
        "dtype": str(model.classifier.weight.dtype).removeprefix("torch."),
        "id2label": {str(number): name for number, name in enumerate(model.classes)},
        "label2id": {name: number for number, name in enumerate(model.classes)},
        **model.bert.config.to_dict(),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write_tensors(state, folder / "model.safetensors")
    tokenizer.save_vocabulary(folder)


def load_classifier(folder: str | Path) -> tuple[BertClassifier, Tokenizer]:
    """What `save_classifier`, or transformers' BertForSequenceClassification, has written.

    The model is in eval mode. Raises FileNotFoundError or ValueError, in words.
    """
    place, files = find_weights(Path(folder))
    tensors = {modern_name(k): tensor for file in files for k, tensor in read_tensors(file).items()}
    heads = {name: head for name, head in POOLINGS.items() if f"{head}.weight" in tensors}
    if len(heads) != 1:
        raise ValueError(
            f"{folder} holds {len(heads)} classifiers, expected one: a folder that `minibert "
            "finetune` wrote. minibert.load reads other models"
        )
    [(pooling, head)] = heads.items()
    weight, bias = tensors[f"{head}.weight"], tensors.get(f"{head}.bias")
    bert = load_weights(place)[0].bert  # which checks the config
    config = read_json(find_config(place))
    architectures = config.get("architectures") or [ARCHITECTURE]
    if pooling == "pooler" and architectures != [ARCHITECTURE]:
        raise ValueError(
            f"{folder} is a {architectures[0]}, expected a {ARCHITECTURE}: one class a text"
        )
    if config.get("problem_type") not in (None, "single_label_classification"):
        raise ValueError(
            f"{folder} was trained for {config['problem_type']}: expected one class a text"
        )
    names = config.get("id2label") or {str(number): str(number) for number in range(len(weight))}
    model = BertClassifier(bert, [names[key] for key in sorted(names, key=int)], pooling)
    expected = tuple(model.classifier.weight.shape)
    if bias is None or tuple(weight.shape) != expected or tuple(bias.shape) != expected[:1]:
        raise ValueError(
            f"the classifier of {folder} has the shape {tuple(weight.shape)}, config.json asks for "
            f"{expected} and a bias: the two do not belong together"
        )
    model.classifier.load_state_dict({"weight": weight, "bias": bias})
    return model.eval(), Tokenizer.from_folder(place, positions=bert.config.max_position_embeddings)
