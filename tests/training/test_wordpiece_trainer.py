"""The vocabulary trainer against Hugging Face's, given its order of the "##" characters."""

import random
import subprocess
import sys

import pytest
import tokenizers
from tokenizers import normalizers, pre_tokenizers, trainers

from minibert.core.rules import (
    clean,
    isolate_ideographs,
    isolate_punctuation,
    lowercase,
    strip_accents,
)
from minibert.tokenizer.vocabulary import SPECIAL_TOKENS
from minibert.training.wordpiece_trainer import count_words, read_lines, train_vocabulary
from tests.conftest import ROOT, shared
from tests.training.text_samples import read_start


def reference(lines, vocab_size, lowercase=True, **settings):
    """The vocabulary of tokenizers' trainer, in order of ids."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS.values()),
        show_progress=False,
        **settings,
    )
    tokenizer.train_from_iterator(lines, trainer)
    vocab = tokenizer.get_vocab()
    return sorted(vocab, key=vocab.__getitem__)


def assert_equal(lines, vocab_size, do_lower_case=True, limit_alphabet=1000, min_frequency=0):
    settings = {"limit_alphabet": limit_alphabet, "min_frequency": min_frequency}
    theirs = reference(lines, vocab_size, do_lower_case, **settings)
    words = count_words(lines, do_lower_case)
    alphabet = {token for token in theirs if len(token) == 1}
    inner = {f"##{c}" for word in words for c in word[1:] if c in alphabet}
    order = [token for token in theirs if token in inner]
    ours = train_vocabulary(words, vocab_size, continuations=order, **settings)
    assert ours == theirs
    return ours


def random_text(seed, letters, words, length):
    rng = random.Random(seed)
    made = ["".join(rng.choices(letters, k=rng.randint(1, length))) for _ in range(words)]
    return [" ".join(rng.choices(made, k=12)) for _ in range(words)]


ADVERSARIAL = {
    "one letter, many lengths": ["a " * n + "a" * n for n in range(1, 40)],
    "overlaps": ["aaaa aaa aa abababab ababa bababa aabb"] * 3,
    "two letters": random_text(1, "ab", 60, 12),
    "three letters, long": random_text(2, "abc", 80, 30),
    "many ties": random_text(3, "abcdefghijklmnop", 300, 6),
    "two ways to one string": ["abc ab bc abcabc cab xabc xab"] * 2,
    "hash signs": ["#a ##a a#b ##ab #"],
    "accents and ideographs": ["Zoë Müller naïve cafe\u0301 東京 東 tōkyō ŝtrato\u0301s"] * 2,
    "control characters": ["a\u200bb c\td\x07e\x1cf g\x85h\u00a0i"] * 2,
    "special tokens as text": ["[MASK] mask [UNK] unk [PAD]"] * 2,
    "one word": ["word"],
    "nothing": ["", " "],
}


@pytest.mark.parametrize("name", ADVERSARIAL)
@pytest.mark.parametrize("vocab_size", [70, 120, 5000])
def test_equals_the_reference_on_adversarial_text(name, vocab_size):
    assert_equal(ADVERSARIAL[name], vocab_size)


@pytest.mark.parametrize("min_frequency", [2, 5])
def test_equals_the_reference_with_a_least_frequency(min_frequency):
    assert_equal(ADVERSARIAL["many ties"], 5000, min_frequency=min_frequency)


def test_equals_the_reference_with_a_small_alphabet():
    # counts all differ, since the reference decides by chance which of equally common ones it keeps
    lines = ["".join(letter * n for n, letter in enumerate("abcdefgh", 3)) + " bad cab hag egg fed"]
    assert_equal(lines, 200, limit_alphabet=5)


@pytest.mark.parametrize("corpus", ["enwiki", "novels"])
@pytest.mark.parametrize("do_lower_case", [True, False])
def test_equals_the_reference_on_real_text(corpus, do_lower_case):
    lines = read_start(shared(f"pretraining/{corpus}.txt.xz"), 1_000_000)
    assert len(assert_equal(lines, 8192, do_lower_case)) == 8192


@pytest.mark.slow
@pytest.mark.parametrize(("corpus", "size"), [("enwiki", 10), ("novels", 10), ("enwiki", 100)])
def test_equals_the_reference_on_much_text(corpus, size):
    lines = read_start(shared(f"pretraining/{corpus}.txt.xz"), size * 1_000_000)
    assert_equal(lines, 30522, limit_alphabet=10_000)  # at 1,000 the reference leaves it to chance


def test_the_same_text_gives_the_same_vocabulary():
    """Across processes, whatever the order of Python's sets is there."""
    code = (
        "from minibert.training.wordpiece_trainer import count_words, train_vocabulary\n"
        "text = ['the cat sat on the mat', 'a dog and a log', 'she sells sea shells'] * 2\n"
        "print(train_vocabulary(count_words(text), 80))"
    )
    printed = set()
    for seed in ("1", "2", "3"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        printed.add(done.stdout)
    assert len(printed) == 1 and "'the'" in printed.pop()


def test_words_are_those_of_the_rules():
    """The short cut for ASCII, on every ASCII character between and beside letters."""
    for code in range(128):
        for text in (chr(code), f"Ab{chr(code)}cD", f"{chr(code)}x"):
            rules = isolate_punctuation(lowercase(strip_accents(isolate_ideographs(clean(text)))))
            assert sorted(count_words([text])) == sorted(set(rules.split())), code
            cased = isolate_punctuation(isolate_ideographs(clean(text)))
            assert sorted(count_words([text], do_lower_case=False)) == sorted(set(cased.split()))


def test_words_are_counted_over_all_spellings():
    assert count_words(["Zoë zoe, ZOE", "zoë"]) == {"zoe": 4, ",": 1}


def test_a_vocabulary_too_small_for_its_characters_is_refused():
    with pytest.raises(ValueError, match="at least 13 tokens.*limit_alphabet"):
        train_vocabulary({"word": 1, "dorw": 1}, 12)


def test_a_vocabulary_of_its_characters_alone_has_no_joined_pair():
    words = {"low": 5, "lower": 2}
    assert train_vocabulary(words, 10, special_tokens=["[UNK]"])[-1] == "##w"
    assert len(train_vocabulary(words, 11, special_tokens=["[UNK]"])) == 11


def test_continuations_of_another_text_are_refused():
    with pytest.raises(ValueError, match="the 2 '##' characters"):
        train_vocabulary({"cat": 1}, 100, continuations=["##a", "##x"])


def test_files_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "latin1.txt").write_bytes("one\nZoë\n".encode("latin-1"))
    with pytest.raises(ValueError, match="latin1.txt, line 2: expected UTF-8"):
        list(read_lines([tmp_path / "latin1.txt"]))
    with pytest.raises(FileNotFoundError):
        list(read_lines([tmp_path / "absent.txt"]))


def test_lines_end_at_line_feeds_alone(tmp_path):
    (tmp_path / "text.txt").write_bytes("one\x0bstill\u2028one\r\ntwo".encode())
    assert list(read_lines([tmp_path / "text.txt"])) == ["one\x0bstill\u2028one", "two", ""]
