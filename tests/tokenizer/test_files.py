"""What stands in a tokenizer's files is followed, and saving changes nothing: transformers reads
the same folders."""

import json
import random

import pytest
import tokenizers
import transformers
from tokenizers import models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, BertTokenizer

from minibert.tokenizer.tokenizer import Tokenizer
from minibert.tokenizer.vocabulary import SPECIAL_TOKENS

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


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")


def agree(folder, theirs, texts):
    """Ids, special ids and decoding are those of transformers."""
    mine = Tokenizer.from_folder(folder)
    for text in texts:
        assert mine.encode(text) == theirs.encode(text), text
        assert mine.encode(text, "ab") == theirs.encode(text, "ab"), text
        for skip in (False, True):
            decoded = theirs.decode(theirs.encode(text), skip_special_tokens=skip)
            assert mine.decode(mine.encode(text), skip_special_tokens=skip) == decoded, text
    return mine


TEXTS = [
    "<e> ab<e>c  <f>d", "<s> a </s>", "Ab [MASK] <mask>c", "<cls><sep> a", "xyz e", "don't . a 's !"
]  # fmt: skip
OPTION = {
    "__type": "AddedToken",
    "lstrip": True,
    "rstrip": True,
    "normalized": False,
    "single_word": False,
}


@pytest.mark.parametrize("name", ["tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize(
    "settings",
    [
        {"additional_special_tokens": ["<e>", "<f>"]},
        {"extra_special_tokens": ["<e>", "<f>"]},
        {"additional_special_tokens": ["<e>", {"content": "<f>", **OPTION, "special": True}]},
        {"extra_special_tokens": {"entity_token": "<e>", "other_token": "<f>"}},
        {"bos_token": "<s>", "eos_token": "</s>"},
        {"eos_token": {"content": "</s>", **OPTION}, "bos_token": None},
        {"mask_token": {"content": "[MASK]", **OPTION}},
        {"mask_token": {"content": "<mask>", **OPTION}, "cls_token": "<cls>", "sep_token": "<sep>"},
        {"entity_token": "<e>"},
        {"additional_special_tokens": ["a", "d"]},
    ],
)
def test_special_tokens_of_the_settings(tmp_path, settings, name):
    lines = [*VOCAB, "<e>", "<mask>", "<cls>", "<sep>", "'", "!"]
    write(tmp_path / "vocab.txt", "\n".join(lines))
    write(tmp_path / name, settings)
    mine = agree(tmp_path, BertTokenizer.from_pretrained(tmp_path), TEXTS)
    mine.save_vocabulary(tmp_path / "saved")
    agree(tmp_path / "saved", BertTokenizer.from_pretrained(tmp_path), TEXTS)
    agree(tmp_path / "saved", BertTokenizer.from_pretrained(tmp_path / "saved"), TEXTS)


def test_the_oldest_files_say_together_which_tokens_are_special(tmp_path):
    write(tmp_path / "vocab.txt", "\n".join(VOCAB))
    write(tmp_path / "added_tokens.json", {"<e>": len(VOCAB), "<f>": len(VOCAB) + 1})
    write(tmp_path / "special_tokens_map.json", {"eos_token": "<e>"})
    write(tmp_path / "tokenizer_config.json", {"additional_special_tokens": ["<f>"]})
    agree(tmp_path, BertTokenizer.from_pretrained(tmp_path), ["a<E>b", "a<e>b<f>", "<F> c"])


@pytest.mark.parametrize("tidy", [True, False, None])
def test_clean_up_tokenization_spaces(tmp_path, tidy):
    write(tmp_path / "vocab.txt", "\n".join([*VOCAB, *"'!?,nmt", "ve", "re", "##ve", "s"]))
    write(tmp_path / "tokenizer_config.json", {"clean_up_tokenization_spaces": tidy})
    theirs = BertTokenizer.from_pretrained(tmp_path)
    mine = Tokenizer.from_folder(tmp_path)
    rng = random.Random(2)
    for _ in range(300):
        ids = [rng.randrange(len(mine)) for _ in range(8)]
        ids = rng.choices([*range(5, 10), *range(len(VOCAB) - 1, len(mine))], k=8)
        assert mine.decode(ids) == theirs.decode(ids)
        for wish in (True, False):
            assert mine.decode(ids, clean_up_tokenization_spaces=wish) == theirs.decode(
                ids, clean_up_tokenization_spaces=wish
            )


@pytest.mark.parametrize(
    "settings",
    [
        {"padding_side": "left"},
        {"truncation_side": "left"},
        {"padding_side": "left", "truncation_side": "left"},
        {"split_special_tokens": True, "additional_special_tokens": ["<e>"]},
    ],
)
def test_sides_and_split_special_tokens(tmp_path, settings):
    write(tmp_path / "vocab.txt", "\n".join([*VOCAB, "<e>", "[", "]", "mask"]))
    write(tmp_path / "tokenizer_config.json", settings)
    theirs = BertTokenizer.from_pretrained(tmp_path)
    Tokenizer.from_folder(tmp_path).save_vocabulary(tmp_path / "saved")
    for folder in (tmp_path, tmp_path / "saved"):
        mine = Tokenizer.from_folder(folder)
        for texts in (["ab c [MASK] d", "a"], ["a", "ab c d e b <e> a b"]):
            for how in ({"truncation": True, "max_length": 5}, {}):
                expected = theirs(texts, padding=True, return_tensors="np", **how)
                got = mine(texts, padding=True, return_tensors="np", **how)
                for name in expected:
                    assert (got[name] == expected[name]).all(), (name, texts)


def whole(folder, **parts):
    """A folder with one tokenizer.json, whose parts are those of BERT but for `parts`."""
    folder.mkdir()
    tokenizer = tokenizers.Tokenizer(models.WordPiece(VOCAB_IDS, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


VOCAB_IDS = {token: number for number, token in enumerate([*VOCAB, "<s>", "</s>", "<unk>"])}
START, END = ("<s>", VOCAB_IDS["<s>"]), ("</s>", VOCAB_IDS["</s>"])
PARTS = {
    "another unknown token": {"model": models.WordPiece(VOCAB_IDS, unk_token="<unk>")},
    "nothing around": {},
    "other names": {"post_processor": processors.BertProcessing(END, START)},
    "a template": {
        "post_processor": processors.TemplateProcessing(
            "<s> $A </s>", "<s> $A </s> $B:1 </s>:1", [START, END]
        )
    },
}
OTHERS = {
    "no [SEP]": processors.TemplateProcessing("<s> $A", "<s> $A $B:1", [START]),
    "two between": processors.RobertaProcessing(END, START),
    "one segment": processors.TemplateProcessing(
        "<s> $A </s>", "<s> $A </s> $B:0 </s>:0", [START, END]
    ),
    "ids of other tokens": processors.BertProcessing(("</s>", 3), ("<s>", 2)),
}


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_a_bare_tokenizer_json_is_followed(tmp_path, parts):
    theirs = whole(tmp_path / "new", **parts)
    mine = Tokenizer.from_folder(tmp_path / "new" / "tokenizer.json")
    mine.save_vocabulary(tmp_path / "saved")
    for tokenizer in (mine, Tokenizer.from_folder(tmp_path / "saved")):
        for text, other in (("ab é xyz", "b ["), ("", "a"), ("covids.", "zz")):
            row = theirs.encode(text, other)
            batch = tokenizer(text, other, padding=False, return_tensors=None)
            assert (batch.input_ids, batch.token_type_ids) == (row.ids, row.type_ids)
            assert tokenizer.encode(text) == theirs.encode(text).ids


@pytest.mark.parametrize("part", OTHERS.values(), ids=OTHERS)
def test_rows_that_are_not_berts_are_refused(tmp_path, part):
    whole(tmp_path / "new", post_processor=part)
    with pytest.raises(ValueError, match="tokenizer.json: expected BERT's post_processor"):
        Tokenizer.from_folder(tmp_path / "new")


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("kind", ["PreTrainedTokenizerFast", "BertTokenizerFast"])
def test_the_class_says_who_is_believed(tmp_path, kind, parts):
    folder = tmp_path / "new"
    whole(folder, **parts)
    write(folder / "tokenizer_config.json", {"tokenizer_class": kind})
    theirs = AutoTokenizer.from_pretrained(folder)
    mine = Tokenizer.from_folder(folder)
    if kind == "BertTokenizerFast" and mine.special_tokens != SPECIAL_TOKENS:
        return  # transformers forgets the names of the file
    assert mine.encode("ab é covids", "a b") == theirs.encode("ab é covids", "a b")


CLASSES = ["Bert", "DistilBert", "Electra", "ConvBert", "SqueezeBert", "Lxmert", "LayoutLM"]


@pytest.mark.parametrize("place", ["tokenizer_config.json", "config.json"])
@pytest.mark.parametrize("fast", ["", "Fast"])
@pytest.mark.parametrize("name", CLASSES)
def test_classes_with_berts_rules(tmp_path, name, fast, place):
    write(tmp_path / "vocab.txt", "\n".join(VOCAB))
    write(tmp_path / place, {"tokenizer_class": f"{name}Tokenizer{fast}", "model_type": "bert"})
    if name in ("DistilBert", "Electra", "Lxmert"):  # those that transformers still has
        theirs = getattr(transformers, f"{name}Tokenizer").from_pretrained(tmp_path)
        agree(tmp_path, theirs, TEXTS)
    assert Tokenizer.from_folder(tmp_path).encode("ab [MASK]") == [2, 5, 12, 4, 3]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("tokenizer_config.json", {"tokenizer_class": "BertJapaneseTokenizer"}, "BertJapanese"),
        ("config.json", {"tokenizer_class": "BertJapaneseTokenizer"}, "BertJapanese"),
        ("tokenizer_config.json", {"word_tokenizer_type": "mecab"}, "BertJapanese"),
        ("tokenizer_config.json", {"tokenizer_class": "KoBERTTokenizer"}, "KoBERTTokenizer"),
        ("tokenizer_config.json", {"tokenizer_class": "BertweetTokenizer"}, "BertweetTokenizer"),
        (
            "tokenizer_config.json",
            {"auto_map": {"AutoTokenizer": ["kobert.KoBertTokenizer", None]}},
            "kobert.KoBertTokenizer",
        ),
        ("tokenizer_config.json", {"auto_map": [None, "a.FastOne"]}, "a.FastOne"),
        ("tokenizer_78b3253a26.model", "", "tokenizer_78b3253a26.model"),
    ],
)
def test_other_tokenizers_are_refused_by_name(tmp_path, name, content, words):
    write(tmp_path / "vocab.txt", "\n".join(VOCAB))
    write(tmp_path / name, content)
    with pytest.raises(ValueError, match=f"BERT's rules, .* got .*{words}"):
        Tokenizer.from_folder(tmp_path)
    assert Tokenizer.from_folder(tmp_path / "vocab.txt").vocab_size == len(VOCAB)


def test_pieces_of_sentencepiece_are_refused(tmp_path):
    """KoBERT as the hub has it: a plain vocab.txt, and its tokenizer in no file that is fetched."""
    words = [*SPECIALS, "\u2581", "\u2581한국", "\u2581서울", "어", "에서"]
    write(tmp_path / "vocab.txt", "\n".join(words))
    with pytest.raises(ValueError, match="got SentencePiece's"):
        Tokenizer.from_folder(tmp_path)
    write(tmp_path / "vocab.txt", "\n".join([*VOCAB, "\u2581"]))
    assert Tokenizer.from_folder(tmp_path).encode("ab") == [2, 5, 12, 3]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("tokenizer_config.json", {"cls_token": {"lstrip": True}}, "an added token with content"),
        (
            "tokenizer_config.json",
            {"additional_special_tokens": [5]},
            "an added token with content",
        ),
        ("tokenizer_config.json", {"extra_special_tokens": "<e>"}, "a list or an object"),
        ("tokenizer_config.json", {"bos_token": ["<s>"]}, "bos_token to be a string or an object"),
        ("tokenizer_config.json", {"padding_side": 1}, "padding_side to be a string"),
        ("tokenizer.json", {}, "expected BERT's model"),
        ("config.json", {"tokenizer_class": 5}, "tokenizer_class to be a string"),
    ],
)
def test_settings_of_another_kind_are_refused(tmp_path, name, content, words):
    write(tmp_path / "vocab.txt", "\n".join(VOCAB))
    write(tmp_path / name, content)
    with pytest.raises(ValueError, match=f"{name}: .*{words}"):
        Tokenizer.from_folder(tmp_path)
