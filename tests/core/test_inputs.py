"""The plain definition in `core/` and the fast tokenizer give the same, text for text."""

import random
import sys
import unicodedata

import pytest

from minibert.core.inputs import arrange, model_inputs
from minibert.core.rules import RULES, basic_tokenize, rules_for, strip_accents
from minibert.core.unicode_classes import REFERENCE, google_rules
from minibert.tokenizer.origins import normalise
from minibert.tokenizer.tokenizer import Tokenizer
from tests.conftest import ROOT
from tests.tokenizer.test_tokenizer import SPECIALS, contexts, edges, random_text

SENTENCES = (ROOT / "tests/data/sentences.txt").read_text(encoding="utf-8").splitlines()


def odd_texts():
    rng = random.Random(3)
    texts = [random_text(rng) for _ in range(1500)]
    texts += [contexts(chr(code)) for code in edges()[::9] if not 0xD800 <= code < 0xE000]
    return ["", " ", "[MASK]", "a[MASK]b [SEP]", "a" * 100, "a" * 101, *texts]


def vocabulary(texts):
    """Specials, most characters as pieces, and some longer pieces."""
    words = [word for text in texts for word in basic_tokenize(text)]
    letters = list(dict.fromkeys("".join(words)))
    rng = random.Random(4)
    pieces = [*SPECIALS, *letters, *("##" + letter for letter in letters if rng.random() < 0.9)]
    for word in rng.sample(words, 500):
        start = rng.randrange(len(word))
        pieces.append(("##" if start else "") + word[start : start + 4])
    return {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}


@pytest.mark.parametrize("texts", [SENTENCES, odd_texts()], ids=["sentences", "odd Unicode"])
def test_the_tokenizer_gives_what_core_defines(texts):
    vocab = vocabulary(texts)
    tokenizer = Tokenizer(vocab)
    for start in range(0, len(texts), 8):
        firsts = texts[start : start + 8]
        seconds = [texts[-1 - number] for number in range(start, start + len(firsts))]
        for pairs in (None, seconds):
            expected = model_inputs(firsts, vocab, pairs)
            assert dict(tokenizer(firsts, pairs, return_tensors=None)) == expected


def test_an_empty_second_text_still_ends_in_sep():
    assert arrange(["a"], []) == (["[CLS]", "a", "[SEP]", "[SEP]"], [0, 0, 0, 1], [1] * 4)
    assert arrange([]) == (["[CLS]", "[SEP]"], [0, 0], [1, 1])


def with_a_decomposition_or_a_class():
    """The code points that accents touch, and every 29th of those that they leave alone."""
    return [
        code
        for code in range(sys.maxunicode + 1)
        if code % 29 == 0
        or unicodedata.normalize("NFD", chr(code)) != chr(code)
        or unicodedata.category(chr(code)).startswith("M")
    ]


@pytest.mark.parametrize("rules", [REFERENCE, google_rules()], ids=["reference", "google"])
@pytest.mark.parametrize(
    "codes",
    [
        with_a_decomposition_or_a_class(),
        pytest.param(range(sys.maxunicode + 1), marks=pytest.mark.slow),
    ],
    ids=["touched", "all"],
)
def test_accents_go_the_same_way_with_and_without_origins(codes, rules):
    """Code points alone and between marks that move; and the number of origins is right."""
    for start in range(0, len(codes), 512):
        text = "".join(
            f"{chr(code)}a\u0301{chr(code)}\u0323 "
            for code in codes[start : start + 512]
            if not 0xD800 <= code < 0xE000
        )
        traced, origins = normalise(text, [strip_accents], rules)
        assert traced == strip_accents(text, rules)
        assert len(origins) == len(traced)


def test_all_rules_the_same_with_and_without_origins():
    for text in odd_texts():
        plain = text
        for rule in RULES:
            plain = rule(plain)
        assert normalise(text, RULES)[0] == plain


def test_the_rules_of_the_settings():
    assert tuple(rules_for(True, None, True)) == RULES
    names = [rule.__name__ for rule in rules_for(True, None, False, google_rules())]
    assert names == ["clean", "lowercase", "strip_accents", "isolate_punctuation"]
    assert strip_accents in rules_for(False, True, True)
    assert strip_accents not in rules_for(True, False, True)
