"""What people type who come from transformers: the same answer, or a sentence that says our way."""

import copy
import pickle

import numpy as np
import pytest
import torch
import transformers

from minibert.tokenizer.tokenizer import Tokenizer
from minibert.weights.known_models import BUNDLED_FOLDER

TEXT = "An  unaffable river-bank, naïve and wide; don't!"
PAIR = ("Where did the banker sit?", "He sat on the riverbank (again).")


@pytest.fixture(scope="module")
def ours():
    return Tokenizer.from_folder(BUNDLED_FOLDER)


@pytest.fixture(scope="module")
def theirs():
    return transformers.BertTokenizer(str(BUNDLED_FOLDER / "vocab.txt"), do_lower_case=True)


def kinds_of(ids):
    """The same ids as a tensor, an array, a tuple, and a list of numbers of NumPy or tensors."""
    return [
        torch.tensor(ids),
        np.array(ids),
        tuple(ids),
        list(np.array(ids)),
        list(torch.tensor(ids)),
    ]


def test_ids_to_tokens(ours, theirs):
    ids = ours.encode(TEXT)
    for same in (ids, *kinds_of(ids), iter(ids)):
        assert ours.convert_ids_to_tokens(same) == theirs.convert_ids_to_tokens(ids)
    for number in (7, np.int64(7), torch.tensor(7)):
        assert ours.convert_ids_to_tokens(number) == theirs.convert_ids_to_tokens(7)
    bare = theirs.convert_ids_to_tokens(ids, skip_special_tokens=True)
    assert ours.convert_ids_to_tokens(torch.tensor(ids), skip_special_tokens=True) == bare
    rows = ours([TEXT, "river"]).input_ids
    assert ours.convert_ids_to_tokens(rows) == [theirs.convert_ids_to_tokens(row) for row in rows]
    for wrong in (8192, -1, [5, 10**6]):
        with pytest.raises(KeyError, match="expected an id of this vocabulary, up to 8191"):
            ours.convert_ids_to_tokens(wrong)


def test_decode(ours, theirs):
    ids = ours.encode(TEXT)
    for same in (ids, *kinds_of(ids), iter(ids)):
        assert ours.decode(same) == theirs.decode(ids)
    affix = ours.convert_tokens_to_ids("##s")
    for number in (7, 0, affix, np.int64(7), torch.tensor(7), [], [affix]):
        assert ours.decode(number) == theirs.decode(number)
    rows = ours([TEXT, "the river"]).input_ids
    for batch in (rows, rows.numpy(), rows.tolist(), list(rows)):
        assert ours.decode(batch) == ours.batch_decode(batch) == theirs.batch_decode(rows)
        bare = theirs.batch_decode(rows, skip_special_tokens=True)
        assert ours.batch_decode(batch, skip_special_tokens=True) == bare
        assert ours.decode(batch, skip_special_tokens=True) == bare
    assert ours.batch_decode(ids) == [theirs.decode(ids)]
    assert ours.batch_decode([]) == [""] and ours.decode(token_ids=ids) == theirs.decode(ids)
    tidy = {"clean_up_tokenization_spaces": True}
    assert ours.decode(rows, **tidy) == theirs.batch_decode(rows, **tidy)


@pytest.mark.parametrize(
    "wrong", ["7", b"7", 7.0, torch.tensor([1.5]), None, ["the"], {"input_ids": [1]}]
)
def test_what_is_no_id(ours, wrong):
    for method in (ours.decode, ours.batch_decode, ours.convert_ids_to_tokens):
        with pytest.raises(TypeError, match="expected ids, whole numbers, got .*input_ids"):
            method(wrong)


def test_texts_by_name(ours, theirs):
    for given in ({"text": TEXT}, {"text": PAIR[0], "text_pair": PAIR[1]},
                  {"text": [TEXT, PAIR[0]], "text_pair": [PAIR[1], TEXT]}):  # fmt: skip
        batch = ours(**given)
        expected = theirs(**given, padding=True, return_tensors="pt")
        for name in ("input_ids", "token_type_ids", "attention_mask"):
            assert torch.equal(batch[name], torch.atleast_2d(expected[name])), name
    assert ours.encode(text=PAIR[0], text_pair=PAIR[1]) == theirs.encode(*PAIR)


def test_special_tokens_by_name(ours, theirs):
    for name in ("pad", "unk", "cls", "sep", "mask"):
        assert getattr(ours, f"{name}_token") == getattr(theirs, f"{name}_token")
        assert getattr(ours, f"{name}_token_id") == getattr(theirs, f"{name}_token_id")
    assert set(ours.all_special_tokens) == set(theirs.all_special_tokens)
    assert set(ours.all_special_ids) == set(theirs.all_special_ids)
    assert ours.special_tokens_map == theirs.special_tokens_map
    assert ours.get_vocab() == theirs.get_vocab()


def test_sizes_with_an_added_token(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "river", "##s"]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    theirs = transformers.BertTokenizer(str(tmp_path / "vocab.txt"))
    ours = Tokenizer.from_folder(tmp_path)
    assert len(ours) == len(theirs) == ours.vocab_size == theirs.vocab_size == 7
    theirs.add_tokens(["covid"])
    theirs.save_pretrained(tmp_path / "grown")
    ours = Tokenizer.from_folder(tmp_path / "grown")
    assert (len(ours), ours.vocab_size) == (len(theirs), theirs.vocab_size) == (8, 7)
    ours.special_tokens.pop("mask_token")
    assert not hasattr(ours, "mask_token_id")


def test_a_vocabulary_without_a_mask():
    assert Tokenizer(["[UNK]", "river"]).mask_token_id is None


@pytest.mark.parametrize("given", [(TEXT, None), PAIR, ([TEXT, PAIR[0]], None)])
def test_places_of_characters_words_and_tokens(ours, theirs, given):
    """Every question that a batch of transformers answers, at every place."""
    batch, expected = ours(*given), theirs(*given, padding=True)
    rows = len(batch.input_ids)
    for row in range(rows):
        for place in range(len(batch.input_ids[row])):
            for name in ("token_to_sequence", "token_to_word", "token_to_chars"):
                got = getattr(batch, name)(row, place)
                assert got == getattr(expected, name)(row, place), (name, row, place)
        for text in range(2 if given[1] else 1):
            for place in range(60):
                for name in ("char_to_token", "word_to_tokens"):
                    arguments = (row, place, text)
                    got = getattr(batch, name)(*arguments)
                    assert got == getattr(expected, name)(*arguments), (name, arguments)
                token = batch.char_to_token(row, place, sequence_index=text)
                if token is not None:  # the reference raises where there is no word
                    word = expected.char_to_word(row, place, text)
                    assert batch.char_to_word(row, place, text) == word
                    assert batch.word_to_chars(row, word, text) == expected.word_to_chars(
                        row, word, text
                    )
    for place in (1, 3):
        assert batch.token_to_word(place) == expected.token_to_word(place)
        assert batch.token_to_chars(place) == expected.token_to_chars(place)
    assert batch.char_to_token(4) == expected.char_to_token(4)
    assert batch.char_to_token(10**6) is batch.word_to_chars(10**6) is None


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("add_tokens", r"\[unused0\].*resize_token_embeddings.*load that folder"),
        ("add_special_tokens", r"\[unused0\]"),
        ("pad", r"tokenizer\(texts\)"),
        ("save_pretrained", "save_vocabulary"),
        ("convert_tokens_to_string", "decode"),
        ("no_such_thing", "a Tokenizer has no 'no_such_thing'"),
    ],
)
def test_what_a_tokenizer_refuses(ours, name, way):
    assert not hasattr(ours, name)
    with pytest.raises(AttributeError, match=way):
        getattr(ours, name)


@pytest.mark.parametrize(
    "name", ["data", "encodings", "convert_to_tensors", "n_sequences", "labels"]
)
def test_what_a_batch_refuses(ours, name):
    with pytest.raises(AttributeError, match="dict|row|return_tensors|expected one of"):
        getattr(ours(TEXT), name)


def test_the_way_to_add_a_token(ours, theirs, tmp_path):
    """As the sentence says: with transformers, then load the folder here."""
    import minibert

    tokenizer = transformers.AutoTokenizer.from_pretrained(BUNDLED_FOLDER)
    model = transformers.BertForMaskedLM.from_pretrained(BUNDLED_FOLDER, dtype=torch.float32)
    tokenizer.add_tokens(["covid"])
    model.resize_token_embeddings(len(tokenizer))
    tokenizer.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    bert = minibert.load(tmp_path)
    batch = bert.tokenizer("covid is wide")
    assert batch.tokens()[1] == "covid" and len(bert.tokenizer) == bert.config.vocab_size
    expected = model.eval()(**tokenizer("covid is wide", return_tensors="pt")).logits
    assert torch.allclose(bert.pretraining(**batch).prediction_logits, expected, atol=1e-3)


def test_a_tokenizer_is_copied_and_pickled(ours):
    for twin in (copy.deepcopy(ours), copy.copy(ours), pickle.loads(pickle.dumps(ours))):
        assert twin.mask_token_id == ours.mask_id and twin.ids(TEXT) == ours.ids(TEXT)
