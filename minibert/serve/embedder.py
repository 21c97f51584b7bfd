"""For those who outgrow one machine: an object that Ray Data, Spark and Dask take as it is.

It travels without weights and loads the model where it first runs, once for each worker process.
Each batch goes through `Bert.embed`, which sorts by length and counts tokens, so the engine's own
batches may be as large as it likes. See docs/scale.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from minibert.bert import Bert, load
from minibert.weights.known_models import SENTENCE_NAME

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from minibert.vectors.plan import RecipeSettings

load_once = cache(load)  # of a worker process, whatever number of batches or copies it gets


class Embedder:
    """Batches with a column of texts -> the same batches with a column of vectors.

    model     a name or a folder, as of `minibert.load`; every worker must be able to load it
    column    of the texts
    output    the new column: rows (N, W) float32 of a dict of arrays, lists in a DataFrame
    settings  of `Bert.embed`, such as normalize=True, max_length=128, prompt_name="query"

    A batch is a dict of arrays (Ray Data), a DataFrame (Dask, pandas), or an iterator of DataFrames
    (Spark). Raises KeyError or TypeError, in words, for another, or a batch without the column.

    >>> batch = Embedder()({"text": ["A cat sat down.", "A kitten was sitting."], "id": [7, 8]})
    >>> batch["id"], batch["vector"].shape
    ([7, 8], (2, 256))
    """

    def __init__(
        self,
        model: str = SENTENCE_NAME,
        *,
        column: str = "text",
        output: str = "vector",
        **settings: Unpack[RecipeSettings],
    ):
        self.model, self.column, self.output = str(model), column, output
        self.settings = settings

    @property
    def bert(self) -> Bert:
        """The model of this process."""
        return load_once(self.model)

    def __call__(self, batch: Any) -> Any:
        if isinstance(batch, Iterator):
            return map(self, batch)
        frame = hasattr(batch, "assign")
        if not frame and not isinstance(batch, Mapping):
            raise TypeError(
                f"expected a dict of columns, a DataFrame, or an iterator of DataFrames, got "
                f"{type(batch).__name__}. Of Ray Data take batch_format='numpy' or 'pandas'"
            )
        if self.column not in batch:
            raise KeyError(
                f"expected a column {self.column!r}, got {', '.join(map(str, batch))}: "
                f"Embedder(column=...) names it"
            )
        vectors = self.bert.embed(list(batch[self.column]), **self.settings)
        return (
            batch.assign(**{self.output: list(vectors)})
            if frame
            else {**batch, self.output: vectors}
        )
