"""The object for Ray Data, Spark and Dask: what they hand it, and how it travels."""

import pickle
import shutil
import sys

import numpy as np
import pytest

import minibert
from minibert.serve.embedder import Embedder, load_once
from tests.conftest import ROOT

TEXTS = ["A cat sat down.", "", "The committee was elected in 1912. " * 9, "A kitten."]


@pytest.fixture
def embedder():
    return Embedder(column="words", max_length=16, long_texts="windows")


def test_what_ray_spark_and_dask_hand_it(embedder):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    expected = minibert.load("minibert-tiny-sentences").embed(
        TEXTS, max_length=16, long_texts="windows"
    )
    travelled = pickle.dumps(embedder)
    assert len(travelled) < 1000
    embedder = pickle.loads(travelled)
    columns = {"words": np.array(TEXTS, dtype=object), "id": np.arange(4)}
    batch = embedder(columns)
    assert np.abs(batch["vector"] - expected).max() < 1e-6 and batch["id"] is columns["id"]
    frame = pandas.DataFrame(columns)
    for result in (embedder(frame), *embedder(iter([frame]))):
        assert np.abs(np.stack(result["vector"]) - expected).max() < 1e-6
        assert result["id"].tolist() == [0, 1, 2, 3] and "vector" not in frame
    assert len(embedder(frame[:0])) == 0 and "vector" in embedder(frame[:0])
    assert load_once.cache_info().misses == 1, "the model was loaded anew"


def test_what_it_refuses(embedder):
    with pytest.raises(KeyError, match="expected a column 'words', got text, id"):
        embedder({"text": TEXTS, "id": [1, 2, 3, 4]})
    with pytest.raises(TypeError, match="expected a dict of columns.* got list"):
        embedder(TEXTS)
    with pytest.raises(TypeError, match="number 1, got NoneType"):
        embedder({"words": ["a", None]})


@pytest.fixture
def rows():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    return pandas.DataFrame({"id": range(len(TEXTS)), "text": TEXTS})


def assert_embedded(result):
    assert result["id"].tolist() == [0, 1, 2, 3]
    expected = minibert.load("minibert-tiny-sentences").embed(TEXTS)
    assert np.abs(np.stack(result["vector"]) - expected).max() < 1e-6


@pytest.mark.slow
def test_through_dask(rows):
    """As docs/scale.md has it."""
    dask = pytest.importorskip("dask.dataframe", reason="dask is not installed")
    frame = dask.from_pandas(rows, npartitions=2)
    meta = {"id": "i8", "text": "object", "vector": "object"}
    assert_embedded(frame.map_partitions(Embedder("minibert-tiny-sentences"), meta=meta).compute())


@pytest.mark.slow
def test_through_spark(rows, monkeypatch):
    """As docs/scale.md has it; the workers are processes of their own."""
    spark = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    if not shutil.which("java"):
        pytest.skip("Spark needs Java, which is not installed")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    builder = spark.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    session = builder.config("spark.driver.host", "127.0.0.1").getOrCreate()
    try:
        table = session.createDataFrame(list(rows.itertuples(index=False)), "id long, text string")
        schema = "id long, text string, vector array<float>"
        answer = table.repartition(2).mapInPandas(Embedder("minibert-tiny-sentences"), schema)
        assert_embedded(answer.toPandas().sort_values("id"))
    finally:
        session.stop()
