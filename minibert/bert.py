"""All of it in one hand: `bert = minibert.load(name)`, then text in, numbers out."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import torch

from minibert.core.checks import ELSEWHERE
from minibert.core.config import BertConfig
from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel
from minibert.core.rules import lowercase
from minibert.fast.bert import Engine
from minibert.system.files import folder_written_whole
from minibert.tasks import classification, pretrained, summary
from minibert.tasks.choices import BertChooser, Chosen, choose
from minibert.tasks.classification import BertClassifier, Class, Ranked
from minibert.tasks.pretrained import Filling, Prediction, check_list, check_text, whole_batch
from minibert.tasks.questions import Answer, BertReader, answer
from minibert.tasks.saved import head_of, wanted, write_task
from minibert.tasks.task import TaskModel
from minibert.tasks.tokens import BertTagger, Entity, tag
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.trace import Trace, record
from minibert.variants.table import architecture_in, architecture_of
from minibert.vectors.embed import embed
from minibert.vectors.file import Done, embed_file
from minibert.vectors.nearest import Neighbour, nearest, similarities
from minibert.vectors.plan import EmbedSettings, Plan, RecipeSettings
from minibert.vectors.pooling import pools_of
from minibert.vectors.recipe import Recipe
from minibert.vectors.tokens import TokenVectors, embed_tokens, span_vectors, spans_of
from minibert.weights import hub
from minibert.weights.files import model_folder
from minibert.weights.loading import LoadReport, load_weights, save_weights

if TYPE_CHECKING:
    from typing_extensions import Unpack

# What other libraries' models have, and what to do instead.
METHODS = {
    "encode": "embed(texts) gives their vectors, bert.tokenizer.encode(text) the ids of one",
    "resize_token_embeddings": ELSEWHERE["resize_token_embeddings"],
    "save_pretrained": "save(folder) writes what minibert, transformers and others load",
    "generate": "BERT is no decoder: fill_mask(text) fills a [MASK]",
}


@dataclasses.dataclass
class Bert:
    """A model with its tokenizer. Made by `minibert.load`.

    model        BertModel, the encoder
    pretraining  the same encoder under its two heads (a head the file lacks is None)
    tokenizer    texts -> Batch, which goes into the model: bert.model(**bert.tokenizer(texts))
    report       what became of every tensor of the weights file
    source       the folder or the name and revision it came from
    head         the same encoder under the layer of a task, if it was fine-tuned for one
    """

    pretraining: BertForPreTraining
    tokenizer: Tokenizer
    report: LoadReport
    recipe: Recipe = Recipe()
    source: str = ""
    head: TaskModel | None = dataclasses.field(default=None, repr=False)
    _cached: Engine | None = dataclasses.field(default=None, init=False, repr=False, compare=False)

    if not TYPE_CHECKING:  # which knows what a Bert has

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(METHODS.get(name, f"a Bert has no {name!r}"))

    def __repr__(self) -> str:
        config, source = self.config, f"{self.source}: " if self.source else ""
        above = [name for name, part in self.pretraining.named_children() if name != "bert"]
        return (
            f"Bert({source}{config.num_hidden_layers} blocks of {config.num_attention_heads} "
            f"heads, {config.hidden_size} wide, {len(self.tokenizer):,} pieces; "
            f"above it {' and '.join(above) or 'nothing'})"
        )

    @property
    def model(self) -> BertModel:
        return self.pretraining.bert

    @property
    def config(self) -> BertConfig:
        return self.model.config

    def to(self, *device_or_dtype: Any) -> Bert:
        """Move the model with its heads, as `torch.nn.Module.to` does; texts follow by themselves.

        >>> import minibert, torch
        >>> bert = minibert.load("minibert-tiny").to(torch.float64)
        >>> bert.pretraining.masked_word.bias.dtype
        torch.float64
        """
        self.pretraining.to(*device_or_dtype)
        return self

    @overload
    def embed(  # type: ignore[overload-overlap]
        self,
        texts: Iterable[str],
        *,
        pooling: Literal["none", "NONE"],
        normalize: bool | None = None,
        max_length: int | None = None,
        progress: bool = False,
        **settings: Unpack[EmbedSettings],
    ) -> list[TokenVectors]: ...

    @overload
    def embed(
        self,
        texts: Iterable[str],
        *,
        progress: bool = False,
        convert_to_tensor: Literal[False] = False,
        **settings: Unpack[RecipeSettings],
    ) -> np.ndarray: ...

    @overload
    def embed(
        self,
        texts: Iterable[str],
        *,
        progress: bool = False,
        convert_to_tensor: Literal[True],
        **settings: Unpack[RecipeSettings],
    ) -> torch.Tensor: ...

    def embed(
        self,
        texts: Iterable[str],
        *,
        progress: bool = False,
        convert_to_tensor: bool = False,
        **settings: Unpack[RecipeSettings],
    ) -> np.ndarray | torch.Tensor | list[TokenVectors]:
        """One vector per text, (N, W) float32, in the order of `texts`.

        The numbers are those of `model` in eval mode as it is now, to rounding: trained, hooked or
        taken apart since the last call.

        texts          a list, or anything that yields texts, of any number
        progress       a bar on standard error
        convert_to_tensor  a tensor where the model is, instead of an array

        and, in `settings` (another name is a TypeError):

        pooling        "mean", "max", "mean-max", "cls", "last", "pooler", or "none" for a list of
                       TokenVectors; default: the model's own recipe (sentence-transformers'
                       modules.json), else the mean
        normalize      vectors of length 1; default: the model's own recipe
        max_length     tokens read of a text; default: the model's own recipe
        layer          0 (embeddings) to 12 or -1 (last block); or several, as [-4, -3, -2, -1]
        combine        several layers: "concat", "sum" or "mean"
        long_texts     "cut" there, with a warning, or read whole in "windows"
        batch_tokens   tokens that go through the model at a time
        deterministic  the same bits for a text in any company, more slowly
        precision      "bfloat16", "float16" or "int8": faster, and not the same numbers; refused
                       where the processor would be slow in it
        even_if_slow   computes in it all the same
        compile        through torch.compile
        prompt         words put before every text; default: the model's own recipe
        prompt_name    a name of the model's own prompts, such as "query"
        truncate_dim   the first numbers of a vector alone; normalize=True brings them to length 1
        mask_cls_sep   [CLS] and [SEP] do not count, as in bert-as-service; of an empty text they do
        is_split_into_words  the texts are lists of words
        """
        recipe, options = self._recipe(**settings)
        if convert_to_tensor and not pools_of(recipe.pooling):
            raise ValueError('convert_to_tensor makes one tensor of vectors: not of pooling "none"')
        function = embed if pools_of(recipe.pooling) else embed_tokens
        vectors = function(
            self.model,
            self.tokenizer,
            texts,
            recipe=recipe,
            engine=self._engine,
            progress=progress,
            **options,
        )
        if convert_to_tensor:
            return torch.as_tensor(vectors, device=self.model.embeddings.token.weight.device)
        return vectors

    def embed_file(
        self,
        source: str | Path,
        target: str | Path,
        *,
        errors: str = "strict",
        restart: bool = False,
        progress: bool = False,
        **settings: Unpack[RecipeSettings],
    ) -> Done:
        """The lines of a file -> a .npy, .safetensors or .jsonl file; see `minibert.vectors.file`.

        `settings` as for `embed`. Resumes where an earlier run of the same stopped.
        """
        return embed_file(
            self._engine, self.tokenizer, source, target, self.plan(**settings),
            errors=errors, restart=restart, progress=progress,
        )  # fmt: skip

    def plan(self, **settings: Unpack[RecipeSettings]) -> Plan:
        """What `embed` does with these settings, checked: raises ValueError as it does."""
        recipe, options = self._recipe(**settings)
        return Plan.of(self.model, self.tokenizer, recipe, **options)

    def embed_words(
        self,
        text: str,
        words: str | Sequence[tuple[int, int]],
        *,
        layer: int | Sequence[int] = -1,
        combine: str = "concat",
    ) -> np.ndarray:
        """The vectors of a word wherever it stands in the text, or of spans (start, end) of
        characters: (n, W), each the mean of its pieces. Raises ValueError if there are none.

        A word is found as the model reads it: on an uncased model without regard to case and
        accents."""
        check_text(text)
        rules = [*self.tokenizer.steps, *([lowercase] if self.recipe.lower else [])]
        spans = spans_of(text, words, rules) if isinstance(words, str) else list(words)
        if not spans:
            raise ValueError(f"{words!r} does not stand in the text as a word of its own")
        tokens = self.embed(
            [text], pooling="none", normalize=False, layer=layer, combine=combine,
            long_texts="windows",
        )  # fmt: skip
        return span_vectors(tokens[0], spans)

    @overload
    def similarity(  # type: ignore[overload-overlap]
        self,
        first: str,
        second: str,
        similarity: str | None = None,
        **settings: Unpack[EmbedSettings],
    ) -> float: ...

    @overload
    def similarity(
        self,
        first: Sequence[str],
        second: Sequence[str],
        similarity: str | None = None,
        **settings: Unpack[EmbedSettings],
    ) -> np.ndarray: ...

    def similarity(
        self,
        first: str | Sequence[str],
        second: str | Sequence[str],
        similarity: str | None = None,
        **settings: Unpack[EmbedSettings],
    ) -> float | np.ndarray:
        """How alike the texts' vectors are, (len(first), len(second)), by `similarity`: "cosine",
        "dot", "euclidean" or "manhattan", distances counting negatively; None: what the model's
        own recipe says, else the cosine. Of two single texts a number. `settings` are those of
        `embed` for both, such as prompt="query: "; where a query and a document need different
        prompts, `nearest` takes the documents' vectors."""
        compare = similarities(similarity or self.recipe.similarity)
        single = isinstance(first, str) and isinstance(second, str)
        texts = [[one] if isinstance(one, str) else one for one in (first, second)]
        scores = compare(*(self.embed(one, **settings) for one in texts))
        return float(scores[0, 0]) if single else scores

    def nearest(
        self,
        queries: Sequence[str],
        vectors: np.ndarray,
        top: int = 5,
        similarity: str | None = None,
        **settings: Unpack[EmbedSettings],
    ) -> list[list[Neighbour]]:
        """For each query the `top` rows of `vectors` (N, W) that are most alike, best first.

        `vectors` come from `embed` with the model's own recipe; they may be memory-mapped.
        `similarity` as in `similarity`. `settings` are those of `embed` for the queries, such as
        prompt_name="query".
        """
        similarity = similarity or self.recipe.similarity
        return nearest(self.embed(queries, **settings), vectors, top, similarity=similarity)

    def _recipe(
        self,
        pooling: str | None = None,
        normalize: bool | None = None,
        max_length: int | None = None,
        **options: Unpack[EmbedSettings],
    ) -> tuple[Recipe, EmbedSettings]:
        """The model's own, with what the caller wants instead; and the other settings."""
        if pooling is not None and not pools_of(pooling):
            normalize = bool(normalize)  # the model's own is about texts, not about tokens
        wanted = {"pooling": pooling, "normalize": normalize, "max_length": max_length}
        wanted["renormalize"] = normalize or None  # the caller's wish is about what is given back
        changes: Any = {name: value for name, value in wanted.items() if value is not None}
        return dataclasses.replace(self.recipe, **changes), options

    @property
    def _engine(self) -> Engine:
        engine = self._cached  # threads may exchange it meanwhile
        if engine is None or engine.model is not self.model:
            engine = self._cached = Engine(self.model)
        return engine

    @overload
    def fill_mask(
        self, text: str, top: int = 5, targets: Sequence[str] | None = None
    ) -> list[list[Prediction]]: ...

    @overload
    def fill_mask(
        self, text: list[str], top: int = 5, targets: Sequence[str] | None = None
    ) -> list[list[list[Prediction]]]: ...

    def fill_mask(
        self, text: str | list[str], top: int = 5, targets: Sequence[str] | None = None
    ) -> list[list[Prediction]] | list[list[list[Prediction]]]:
        """The likeliest words for every [MASK] of `text`, of all words or of some `targets`: one
        list per [MASK], best first.

        A list of texts gets a list of such answers, one for each.
        """
        return pretrained.fill_mask(self.pretraining, self.tokenizer, text, top, targets)

    def fill_jointly(self, text: str, top: int = 5, beams: int = 10) -> list[Filling]:
        """The likeliest words for all [MASK]s of `text` together, each given those before it: so
        many fillings, best first, found by a search that keeps `beams` of them."""
        return pretrained.fill_jointly(self.pretraining, self.tokenizer, text, top, beams)

    def next_sentence(self, first: str, second: str) -> float:
        """The probability that `second` followed `first`."""
        return pretrained.next_sentence(self.pretraining, self.tokenizer, first, second)

    def replaced_tokens(self, text: str) -> list[tuple[str, float]]:
        """For every token of a text how likely it is that another one stood in its place: the
        question of a discriminator. Raises ValueError for a model that was not trained on it."""
        return pretrained.replaced_tokens(self.pretraining, self.tokenizer, text)

    @overload
    def classify(self, texts: str, pair: str | None = None) -> list[Class]: ...

    @overload
    def classify(self, texts: list[str] | list[tuple[str, str]]) -> list[list[Class]]: ...

    def classify(
        self, texts: str | list[str] | list[tuple[str, str]], pair: str | None = None
    ) -> list[Class] | list[list[Class]]:
        """Every class of a text or pair with its probability, likeliest first; of a model of
        numbers, the number. A list of texts or pairs gets a list of such answers.

        This and the next five need a model that was fine-tuned for the task, and say so.
        """
        model = wanted(self.head, BertClassifier, self.source)
        if isinstance(texts, str):
            example = texts if pair is None else (texts, pair)
            return classification.classify(model, self.tokenizer, [example])[0]
        check_list(texts)
        return classification.classify(model, self.tokenizer, texts)

    def rank(self, query: str, texts: Sequence[str]) -> list[Ranked]:
        """The texts by how well they fit the query, best first: a cross-encoder reads both."""
        check_list(texts)
        texts = list(texts)  # an iterator would be at its end after the check
        for text in (query, *texts):
            check_text(text)
        model = wanted(self.head, BertClassifier, self.source)
        return classification.rank(model, self.tokenizer, query, texts)

    def zero_shot(
        self,
        text: str,
        labels: Sequence[str],
        *,
        template: str = "This example is {}.",
        multi_label: bool = False,
    ) -> list[Class]:
        """How likely each of any labels is, by a model that tells what a text entails."""
        check_text(text)
        check_list(labels)
        model = wanted(self.head, BertClassifier, self.source)
        return classification.zero_shot(
            model, self.tokenizer, text, labels, template=template, multi_label=multi_label
        )

    @overload
    def tag(self, texts: str, aggregation: str = "simple") -> list[Entity]: ...

    @overload
    def tag(self, texts: list[str], aggregation: str = "simple") -> list[list[Entity]]: ...

    def tag(
        self, texts: str | list[str], aggregation: str = "simple"
    ) -> list[Entity] | list[list[Entity]]:
        """The entities of a text, with their places; `aggregation` as in `minibert.tasks.tokens`:
        "none", "simple", "first", "average" or "max"."""
        model = wanted(self.head, BertTagger, self.source)
        if isinstance(texts, str):
            return tag(model, self.tokenizer, [texts], aggregation)[0]
        check_list(texts)
        return tag(model, self.tokenizer, texts, aggregation)

    def answer(self, question: str, text: str, *, unanswerable: bool | None = None) -> Answer:
        """The part of `text`, of any length, that answers; "" if the model was trained to say that
        none does, or `unanswerable` lets it."""
        check_text(question)
        check_text(text)
        model = wanted(self.head, BertReader, self.source)
        return answer(model, self.tokenizer, question, text, unanswerable=unanswerable).best

    def choose(self, text: str, options: Sequence[str]) -> list[Chosen]:
        """The options by how well they continue the text, likeliest first."""
        check_list(options)
        options = list(options)
        for one in (text, *options):
            check_text(one)
        return choose(wanted(self.head, BertChooser, self.source), self.tokenizer, text, options)

    def summarize(
        self, text: str, sentences: int = 3, diversity: float = 0.3
    ) -> list[summary.Sentence]:
        """The sentences that say most, chosen by their vectors, in the order of the text: nothing
        is written anew. See `minibert.tasks.summary`."""
        check_text(text)
        return summary.summarize(self.embed, text, sentences, diversity)

    def trace(self, text: str, pair: str | None = None) -> Trace:
        """Every named intermediate for one text (or pair of texts)."""
        texts = [text] if pair is None else [text, pair]
        advice = "give a part of the text, such as the sentence that you look at"
        batch = whole_batch(self.model, self.tokenizer, texts, advice)
        tokens = [self.tokenizer.convert_ids_to_tokens(row) for row in batch["input_ids"].tolist()]
        return record(self.pretraining, batch, tokens)

    def save(self, folder: str | Path, dtype: torch.dtype | str | None = None) -> None:
        """Write a folder that minibert, transformers and sentence-transformers load.

        The folder must be new or empty; it appears whole or not at all.
        """
        with folder_written_whole(folder) as new:
            self.write(new, dtype)

    def write(self, folder: Path, dtype: torch.dtype | str | None = None) -> None:
        """Write the files of `save` into a folder that is there."""
        if self.head is not None:
            write_task(self.head, self.tokenizer, folder, dtype)
        else:
            save_weights(self.pretraining, folder, dtype, architecture_of(self.config))
            self.tokenizer.save_vocabulary(folder)
        self.recipe.save(folder, self.config.hidden_size)


def load(
    name: str | Path,
    *,
    revision: str | None = None,
    dtype: torch.dtype | str | None = torch.float32,
    num_hidden_layers: int | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Bert:
    """Load a BERT with its tokenizer from a folder, the hub, or the box.

    name       a folder (config.json, vocab.txt or tokenizer.json, and the weights), one weights
               file in such a folder, a repository of the Hugging Face hub such as
               "google-bert/bert-base-uncased", or "minibert-tiny"
    revision   a commit, tag or branch of the hub; official models have a pinned one
    dtype      what the numbers are converted to, such as torch.float16 or "float16"; None or
               "auto" keeps the file's
    num_hidden_layers  the first blocks alone, of a file that has more

    Never loads other weights than those asked for. Raises FileNotFoundError, ValueError or
    OSError, in words that say what to do next.
    """
    files = hub.resolve(
        name, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only
    )
    folder = files.path.parent if files.path.is_file() else files.path
    place = model_folder(folder)
    model, report = load_weights(
        files.path, dtype, architecture=architecture_in(place), num_hidden_layers=num_hidden_layers
    )
    positions = model.config.max_position_embeddings
    tokenizer = Tokenizer.from_folder(place, positions=positions)
    rows = model.config.vocab_size
    last = max(tokenizer.wordpieces.values())
    if last >= rows:
        raise ValueError(
            f"the tokenizer of {folder} has ids up to {last}, the model a table of "
            f"{rows} rows: they do not belong together"
        )
    if beyond := [token for token, number in tokenizer.vocab.items() if number >= rows]:
        warnings.warn(
            f"the model has no rows for {', '.join(beyond[:5])}, which the tokenizer's files add: "
            f"texts that hold them cannot be read",
            stacklevel=2,
        )
    source = str(name) if files.revision is None else f"{name} at revision {files.revision}"
    head = head_of(files.path, model.bert, report.ignored)
    return Bert(model, tokenizer, report, Recipe.from_folder(folder), source, head)
