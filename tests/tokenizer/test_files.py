"""What stands in a tokenizer's files is followed, and saving changes nothing: transformers reads
the same folders."""

import random

import pytest
from transformers import BertTokenizer

from minibert.tokenizer.tokenizer import Tokenizer

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCAB = [*SPECIALS, *"abcdé.", *("##" + c for c in "abcdé"), "co", "##v", "##id", "##ids", "##s"]
WORDS = ["covid", "covids", "xcovid", "COVID", "Covid.", "ab", "cab", "abba", "[MASK]", "<e>"]
ADDED = [
    {"content": "covid", "single_word": True, "normalized": True},
    {"content": "ab", "single_word": True},
    {"content": "ab", "normalized": True},
    {"content": "Covid"},
    {"content": "a b", "normalized": True},
    {"content": "<e>", "special": True, "rstrip": True},
    {"content": "co", "single_word": True},  # a piece as well
    {"content": "##s"},
    {"content": "b\nc"},
]


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("token", ADDED)
def test_saving_changes_no_ids_here_or_in_transformers(tmp_path, token, lower):
    tokenizer = Tokenizer(VOCAB, added_tokens=[token], do_lower_case=lower)
    tokenizer.save_vocabulary(tmp_path)
    here, theirs = Tokenizer.from_folder(tmp_path), BertTokenizer.from_pretrained(tmp_path)
    rng = random.Random(1)
    for _ in range(300):
        text = "".join(rng.choice(["", " ", "  ", "s"]) + rng.choice(WORDS) for _ in range(4))
        assert here.ids(text) == tokenizer.ids(text), text
        assert theirs.encode(text, add_special_tokens=False) == tokenizer.ids(text), text
    assert here.vocab == tokenizer.vocab == theirs.get_vocab()


def test_added_tokens_among_the_pieces_cannot_be_saved(tmp_path):
    vocab = {token: number for number, token in enumerate([*VOCAB, "ab"])}
    del vocab["##v"]
    added = [{"content": "##v", "id": len(SPECIALS) + 12}]
    with pytest.raises(ValueError, match="added tokens last"):
        Tokenizer(vocab, added_tokens=added).save_vocabulary(tmp_path / "new")
    assert not (tmp_path / "new").exists()
