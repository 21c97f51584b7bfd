"""How good are sentence vectors: by people's scores of pairs, and by what a search brings up.

Source: Cer et al. 2017 (the STS benchmark); Järvelin & Kekäläinen 2002 (nDCG).
"""

from collections.abc import Collection, Sequence

import numpy as np

from minibert.bert import Bert
from minibert.tasks.measures import correlations
from minibert.training.sentence_data import Texts


def similarity_scores(bert: Bert, pairs: Texts) -> dict[str, float]:
    """Spearman and Pearson correlation of the vectors' cosines with people's scores of pairs."""
    assert pairs.scores is not None
    first, second = (bert.embed(column, normalize=True) for column in pairs.columns)
    cosines = (first * second).sum(axis=1)
    scores = correlations(cosines, pairs.scores)
    return {"pairs": len(cosines), "spearman": scores["spearman"], "pearson": scores["pearson"]}


def retrieval_scores(bert: Bert, pairs: Texts, top: int = 10) -> dict[str, float]:
    """How well queries bring up their documents, by the model's own vectors.

    `pairs` are a query and a document that answers it; a query with several stands in several
    rows. It is searched among all documents of all rows.
    """
    queries, documents = (list(dict.fromkeys(column)) for column in pairs.columns)
    number = {text: row for row, text in enumerate(documents)}
    relevant: dict[str, set[int]] = {query: set() for query in queries}
    for query, document in zip(*pairs.columns):
        relevant[query].add(number[document])
    neighbours = bert.nearest(
        queries, bert.embed(documents, prompt_name="document"), top, prompt_name="query"
    )
    rows = [[neighbour.row for neighbour in answers] for answers in neighbours]
    counts = {"queries": len(queries), "documents": len(documents)}
    return counts | ranking_scores(rows, list(relevant.values()), top)


def ranking_scores(
    rows: Sequence[Sequence[int]], relevant: Sequence[Collection[int]], top: int = 10
) -> dict[str, float]:
    """Means over queries, from the rows that each brought up, best first, and those that are right.

    recall   the share of the right ones among the first 1, the first 5 and the first `top`
    mrr      1 / the place of the first right one, 0 beyond `top`
    ndcg     each right one counts 1 / log2(1 + its place), by the most that could be had

    >>> scores = ranking_scores([[7, 3]], [{3}])
    >>> scores["recall@1"], scores["recall@5"], scores["mrr@10"], round(scores["ndcg@10"], 4)
    (0.0, 1.0, 0.5, 0.6309)
    """
    gain = 1 / np.log2(np.arange(2, top + 2))
    measures = []
    for answers, right in zip(rows, relevant):
        hits = np.array([row in right for row in answers[:top]], dtype=bool)
        first = int(hits.argmax()) + 1 if hits.any() else np.inf
        recalls = [hits[:k].sum() / len(right) for k in (1, 5, top)]
        ndcg = gain[: len(hits)][hits].sum() / gain[: len(right)].sum()
        measures.append([*recalls, 1 / first, ndcg])
    names = ["recall@1", "recall@5", f"recall@{top}", f"mrr@{top}", f"ndcg@{top}"]
    return dict(zip(names, np.mean(measures, axis=0).tolist()))
