"""Byte-level BPE and Unigram against Hugging Face `tokenizers`, and against SentencePiece.

The vocabularies are trained here. The references are put together from the parts that the hub's
files have, by hand, and share no code with ours. The slow tests ask about every code point.
"""

import json
import random
import struct

import pytest
import tokenizers
import transformers
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers, processors

from minibert.tokenizer.explain import explain
from minibert.tokenizer.normalisers import normalise, normalise_char, steps_of
from minibert.tokenizer.tokenizer import Tokenizer
from tests.conftest import ROOT, shared
from weights_tools.verify.check_tokenizer import check_tokenizer

SENTENCES = (ROOT / "tests" / "data" / "sentences.txt").read_text(encoding="utf-8").split("\n")
FILES = {
    "roberta": "vocab.json",
    "roberta spaced": "vocab.json",
    "deberta": "vocab.json",
    "xlm-roberta": "sentencepiece.bpe.model",
    "camembert": "sentencepiece.bpe.model",
    "albert": "spiece.model",
    "albert cased": "spiece.model",
    "deberta-v2": "spm.model",
    "deberta-v2 cut": "spm.model",
}
SETTINGS = {
    "roberta spaced": {"add_prefix_space": True},
    "albert cased": {"do_lower_case": False, "keep_accents": True},
    "deberta-v2 cut": {"do_lower_case": True, "split_by_punct": True},
}
ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
BERT = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
SPACES = ["  ", "   ", " \n", "\n", "\t", "\r\n", "\r", "\0", "\x01", "\x1c", "\x85", "\u00a0"]
SPACES += ["\u2028", "\u3000", "\u200b", "\u200d", "\ufeff", "▁"]
LETTERS_AND_MARKS = "a b Xyz The of é e\u0301 \u0301 ﬁ Ａ ½ ① İ ß Σ \u0600 가 한 \u1100\u1161 中文"
SIGNS = "'s ' ` `` '' 019 9, . , ! ก\u0e33 क्ष 😀 👨\u200d👩 🇦🇧"
ODD = [*SPACES, *LETTERS_AND_MARKS.split(" "), *SIGNS.split(" ")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder for each family: its vocabulary, config.json, tokenizer_config.json."""
    root = tmp_path_factory.mktemp("families")
    text = root / "text.txt"
    text.write_text("\n".join(SENTENCES * 3), encoding="utf-8")
    for name, file in FILES.items():
        folder = root / name
        folder.mkdir()
        model_type = name.split()[0]
        (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
        (folder / "tokenizer_config.json").write_text(json.dumps(SETTINGS.get(name, {})))
        if file == "vocab.json":
            bpe = tokenizers.ByteLevelBPETokenizer()
            specials = list(BERT if model_type == "deberta" else ROBERTA)
            bpe.train([str(text)], 700, special_tokens=specials, show_progress=False)
            bpe.save_model(str(folder))
    spm = pytest.importorskip("sentencepiece", reason="the package sentencepiece is not installed")
    own = {"bos_id": -1, "eos_id": -1, "pad_id": 0, "unk_id": 1}
    bert = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3, "pad_piece": "[PAD]"}
    kinds = {
        "spiece.model": {
            **own, "pad_piece": "<pad>", "control_symbols": "[CLS],[SEP]",
            "user_defined_symbols": "[MASK]",
        },
        "sentencepiece.bpe.model": {},
        "spm.model": {**bert, "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"},
    }  # fmt: skip
    for file, settings in kinds.items():
        spm.SentencePieceTrainer.train(
            input=str(text), model_prefix=str(root / "model"), vocab_size=500, minloglevel=2,
            hard_vocab_limit=False, **settings,
        )  # fmt: skip
        for name in (name for name, other in FILES.items() if other == file):
            (root / name / file).write_bytes((root / "model.model").read_bytes())
    return root


def around(cls, sep, ids, roberta):
    tokens = [(cls, ids(cls)), (sep, ids(sep))]
    if roberta:
        return processors.TemplateProcessing(
            f"{cls} $A {sep}", f"{cls} $A {sep} {sep} $B {sep}", tokens
        )
    return processors.TemplateProcessing(f"{cls} $A {sep}", f"{cls} $A {sep} $B:1 {sep}:1", tokens)


def reference_bpe(folder, name):
    roberta = name != "deberta"
    bpe = models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    theirs = tokenizers.Tokenizer(bpe)
    spaced = name == "roberta spaced"
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
    cls, pad, sep, unk, mask = ROBERTA if roberta else BERT
    theirs.add_special_tokens([cls, pad, sep, unk, AddedToken(mask, lstrip=True)])
    theirs.post_processor = (
        processors.RobertaProcessing(
            (sep, theirs.token_to_id(sep)), (cls, theirs.token_to_id(cls)), True, spaced
        )
        if roberta
        else around(cls, sep, theirs.token_to_id, roberta)
    )
    return theirs


def reference_unigram(folder, name):
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString((folder / FILES[name]).read_bytes())
    scores = [(piece.piece, piece.score) for piece in proto.pieces]
    charsmap = normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)
    unknown, cut = proto.trainer_spec.unk_id, [pre_tokenizers.WhitespaceSplit()]
    steps, tokens, lstrip = [charsmap], ROBERTA, True
    one_space = normalizers.Replace(Regex(" {2,}"), " ")
    if name == "xlm-roberta":
        scores = [*((t, 0.0) for t in ROBERTA[:4]), *scores[3:], ("<mask>", 0.0)]
        unknown = 3
    elif name == "camembert":
        first = [("<s>NOTUSED", 0.0), ("<pad>", 0.0), ("</s>NOTUSED", 0.0), ("<unk>", 0.0)]
        scores = [*first, ("<unk>NOTUSED", -100.0), *scores[1:], ("<mask>", 0.0)]
        unknown = 3
    elif name.startswith("albert"):
        tokens = ("[CLS]", "<pad>", "[SEP]", "<unk>", "[MASK]")
        accents = [] if "cased" in name else [normalizers.NFKD(), normalizers.StripAccents()]
        lower = [] if "cased" in name else [normalizers.Lowercase()]
        quotes = [normalizers.Replace(sign, '"') for sign in ("``", "''")]
        steps = [*quotes, *accents, *lower, charsmap, one_space]
        worse = {p for p, _ in scores if len(p) > 1 and p[-1] == "," and p[-2].isdigit()}
        scores = [(piece, score - 100 * (piece in worse)) for piece, score in scores]
    else:
        tokens, lstrip = BERT, False
        lower = [normalizers.Lowercase()] if "cut" in name else []
        steps = [*lower, normalizers.Strip(), charsmap, one_space]
        cut = [pre_tokenizers.Punctuation("isolated")] if "cut" in name else []
    theirs = tokenizers.Tokenizer(models.Unigram(scores, unknown, False))
    theirs.normalizer = normalizers.Sequence(steps)
    theirs.pre_tokenizer = pre_tokenizers.Sequence([*cut, pre_tokenizers.Metaspace()])
    cls, pad, sep, unk, mask = tokens
    theirs.add_special_tokens([cls, pad, sep, unk, AddedToken(mask, lstrip=lstrip)])
    theirs.post_processor = around(cls, sep, theirs.token_to_id, tokens == ROBERTA)
    return theirs


@pytest.fixture(scope="module", params=FILES)
def both(request, trained):
    folder = trained / request.param
    make = reference_bpe if FILES[request.param] == "vocab.json" else reference_unigram
    return make(folder, request.param), Tokenizer.from_folder(folder)


def differ(theirs, mine, text):
    row = theirs.encode(text, add_special_tokens=False)
    # RobertaProcessing trims offsets also where it adds nothing.
    pieces = mine.pieces(text)
    return (
        pieces.ids != row.ids
        or pieces.offsets != row.offsets
        or pieces.word_ids != row.word_ids
        or mine.ids(text) != row.ids
    )


def test_random_texts(both):
    theirs, mine = both
    rng = random.Random(0)
    parts = [*ODD, *mine.added, *(f" {token} " for token in mine.added), " ", " the", "  "] * 2
    texts = ["".join(rng.choices([*parts, *["a", " of", " "] * 9], k=rng.randint(0, 12)))
             for _ in range(600)]  # fmt: skip
    assert [text for text in texts if differ(theirs, mine, text)] == []


def test_real_text(both):
    theirs, mine = both
    assert [text for text in SENTENCES[::3] if differ(theirs, mine, text)] == []
    text = "\n".join(SENTENCES[:60])
    assert not differ(theirs, mine, text)
    assert not differ(theirs, mine, text)  # once more, from the memories


def test_white_space_that_a_mark_joins(both):
    """A no-break space and a mark are one grapheme, and become a space at the end of the text."""
    theirs, mine = both
    texts = [f"a{a}\xa0\u0301{b}" for a in (" ", "", "b ") for b in ("", " ", " b", "<mask>")]
    assert [text for text in texts if differ(theirs, mine, text)] == []


def in_context(code):
    char = chr(code)
    return f"a{char}b {char} {char}\u0301c a{char} x{char}"


def test_code_points(both):
    """Every 4,999th, and all in which the reference's Unicode and a later one differ."""
    theirs, mine = both
    young = [0x32FF, 0xA7F2, 0xAB69, 0x10781, 0x11938, 0x16121, 0x1CCD6, 0x1E030, 0x1FBF0]
    codes = [*range(0, 0xD800, 4999), *range(0xE000, 0x110000, 4999), *range(256), *young]
    assert [hex(code) for code in codes if differ(theirs, mine, in_context(code))] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "both", [name for name in FILES if name not in ("deberta", "camembert")], indirect=True
)
def test_every_code_point(both):
    """All of them, for each way to normalise and to cut.

    Ideographs, and what Unicode has not assigned, stand eight to a text; a mark in one of them
    would change its neighbours.
    """
    theirs, mine = both
    blocks = (0, 0xD800), (0xE000, 0x20000), (0x2F800, 0x2FA20), (0xE0000, 0xE0200)
    alone = [code for first, end in blocks for code in range(first, end)]
    assert [hex(code) for code in alone if differ(theirs, mine, in_context(code))] == []
    others = sorted({*range(0x20000, 0x110000)} - {*alone})
    eights = [others[start : start + 8] for start in range(0, len(others), 8)]
    assert [
        [hex(code) for code in codes]
        for codes in eights
        if differ(theirs, mine, " ".join(f"a{chr(code)}b{chr(code)}" for code in codes))
    ] == []


@pytest.mark.parametrize(
    "steps",
    [
        [{"type": "NFC"}],
        [{"type": "NFKC"}, {"type": "Lowercase"}],
        [{"type": "NFD"}, {"type": "StripAccents"}],
        [{"type": "Replace", "pattern": {"String": "ab"}, "content": "c"}, {"type": "NFKD"}],
    ],
)
def test_what_is_normalised_character_by_character(steps):
    """A character that is said to mind no neighbours becomes the same among any others."""
    steps = steps_of({"type": "Sequence", "normalizers": steps})
    rng = random.Random(0)
    jamo_and_marks = [*"\u1100\u1161\u11a8가각", *"\u0301\u0323\u1d165\u09c7\u09be"]
    letters = [*map(chr, rng.choices(range(0xA0, 0xD7FF), k=1500)), *jamo_and_marks, *"abcé½ß´İ"]
    plain = [char for char in letters if normalise_char(char, steps) is not None]
    assert len(plain) > 1000
    for _ in range(500):
        text = "".join(rng.choices(plain[-60:] + rng.choices(plain, k=60), k=12))
        alone = [normalise_char(char, steps) for char in text]
        origins = [place for place, part in enumerate(alone) for _ in part]
        normal, places = normalise(text, steps)
        assert (normal, [*places]) == ("".join(alone), origins)


@pytest.mark.slow
def test_ten_megabytes_and_many_strings(both):
    import lzma

    theirs, mine = both
    with lzma.open(shared("pretraining/enwiki.txt.xz")) as file:
        lines = file.read(10_000_000).decode("utf-8", "ignore").split("\n")
    rng = random.Random(1)
    parts = [*ODD, *mine.added, "a", " of", " ", " the"]
    texts = ("".join(rng.choices(parts, k=rng.randint(0, 15))) for _ in range(100_000))
    assert [text for text in (*lines, *texts) if differ(theirs, mine, text)] == []


@pytest.mark.parametrize("side", ["right", "left"])
def test_rows_windows_and_padding(both, side):
    theirs, mine = both
    theirs.enable_truncation(12, stride=3, strategy="longest_first", direction=side)
    try:
        for a, b in (("A man is eating food.", SENTENCES[0]), (SENTENCES[1], SENTENCES[2])):
            row = theirs.encode(a, b)
            batch = mine(
                a, b, max_length=12, truncation=True, stride=3, return_overflowing_tokens=True,
                truncation_side=side, return_token_type_ids=True, return_offsets_mapping=True,
                return_special_tokens_mask=True, return_tensors=None, padding=False,
            )  # fmt: skip
            rows = [row, *row.overflowing]
            # With add_prefix_space the reference takes the first piece of every window for the
            # text's first, and leaves the space in its offsets; and its template with all segments
            # 0 has 1 in later windows.
            left_out = ["offset_mapping"] if mine.settings.get("add_prefix_space") else []
            left_out += [] if mine.template.segments else ["token_type_ids"]
            for name, field in (
                ("input_ids", "ids"), ("token_type_ids", "type_ids"),
                ("offset_mapping", "offsets"), ("special_tokens_mask", "special_tokens_mask"),
            ):  # fmt: skip
                if name in left_out:
                    continue
                assert batch[name] == [getattr(r, field) for r in rows]
            assert [batch.sequence_ids(n) for n in range(len(rows))] == [
                r.sequence_ids for r in rows
            ]
    finally:
        theirs.no_truncation()
    padded = mine([SENTENCES[0], "a"])
    assert padded.input_ids[1, -1] == mine.pad_id and padded.attention_mask[1, -1] == 0


def test_saved_and_read_again(both, tmp_path):
    """By minibert, by `tokenizers`, and by transformers, which also decodes alike."""
    theirs, mine = both
    mine.save_vocabulary(tmp_path)
    again = Tokenizer.from_folder(tmp_path)
    file = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    hub = transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = [*SENTENCES[:20], f"a {mine.mask_token} b  ", "é ﬁ▁x 9,", ""]
    for text in texts:
        ids = theirs.encode(text, "b a").ids
        assert again.encode(text, "b a") == file.encode(text, "b a").ids == ids
        assert again.encode(text) == hub(text)["input_ids"]
        assert again.decode(ids) == hub.decode(ids) == mine.decode(ids)
        assert again.pieces(text) == mine.pieces(text)
    assert (again.pad_id, again.mask_id, again.cls_id) == (mine.pad_id, mine.mask_id, mine.cls_id)
    assert again.template == mine.template and len(again) == len(mine)


def test_segments(both):
    """RoBERTa's rows have none; ALBERT's and DeBERTa's are BERT's."""
    _, mine = both
    batch = mine("a", "b", return_tensors=None)
    assert ("token_type_ids" in batch) == mine.template.segments
    if mine.template.segments:
        assert batch.token_type_ids[-1] == 1


def test_explained(both):
    _, mine = both
    for text in (*SENTENCES[:5], f"Zoë's {mine.mask_token} 9,000 ﬁ"):
        steps = explain(mine, text)
        tokens = [token for step in steps if step.rule in ("merges", "best path", "added token")
                  for token in step.after.split(" ")]  # fmt: skip
        assert mine.convert_tokens_to_ids(tokens) == mine.ids(text)


def test_as_sentencepiece(trained):
    """On plain text also what the library itself gives, whose ids DeBERTa's are."""
    spm = pytest.importorskip("sentencepiece", reason="the package sentencepiece is not installed")
    folder = trained / "deberta-v2"
    mine = Tokenizer.from_folder(folder)
    theirs = spm.SentencePieceProcessor(model_file=str(folder / "spm.model"))
    for text in (*SENTENCES, "a  b ", " x", "１２ ﬁ"):
        assert mine.ids(text) == theirs.encode(text)


def test_a_space_that_is_missing_is_another_word(trained):
    """BPE without the leading space, as people write it: "Hello" and " Hello" are two tokens."""
    plain, spaced = (Tokenizer.from_folder(trained / n) for n in ("roberta", "roberta spaced"))
    assert plain.tokenize("the")[0] != spaced.tokenize("the")[0] == "Ġthe"
    assert plain.tokenize(" the") == spaced.tokenize("the")


def test_words_of_a_text(trained):
    mine = Tokenizer.from_folder(trained / "roberta spaced")
    batch = mine(["New", "York"], is_split_into_words=True, return_tensors=None, padding=False)
    theirs = reference_bpe(trained / "roberta spaced", "roberta spaced")
    row = theirs.encode(["New", "York"], is_pretokenized=True)
    assert (batch.input_ids, batch.word_ids(0)) == (row.ids, row.word_ids)


UNIGRAM = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["▁", -1.0], ["a", -2.0]]}
SPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}
LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
BPE = {"type": "BPE", "vocab": {t: n for n, t in enumerate(["<unk>", *LETTERS, "ab"])},
       "unk_token": "<unk>", "merges": [["a", "b"]]}  # fmt: skip
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
HOSTILE = {
    "NaN": ({**UNIGRAM, "vocab": [["<unk>", float("nan")]]}, SPACE, None, "scores that are num"),
    "infinite": ({**UNIGRAM, "vocab": [["<unk>", float("inf")]]}, SPACE, None, "scores that are"),
    "huge unk": ({**UNIGRAM, "unk_id": 10**30}, SPACE, None, "one of 3 pieces"),
    "no unk": ({**UNIGRAM, "unk_id": None}, SPACE, None, "unk_id to be a whole number"),
    "no scores": ({**UNIGRAM, "vocab": {"a": 1}}, SPACE, None, "a piece and its score"),
    "score of text": ({**UNIGRAM, "vocab": [["a", "b"]]}, SPACE, None, "a piece and its score"),
    "twice": ({**UNIGRAM, "vocab": [["a", 0.0], ["a", 0.0]]}, SPACE, None, "every token once"),
    "fallback": ({**UNIGRAM, "byte_fallback": True}, SPACE, None, "without byte_fallback"),
    "no spaces": (UNIGRAM, None, None, "Metaspace"),
    "other spaces": (UNIGRAM, {**SPACE, "replacement": "_"}, None, "Metaspace"),
    "charsmap": (UNIGRAM, SPACE, {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
                 "expected a charsmap"),
    "no base64": (UNIGRAM, SPACE, {"type": "Precompiled", "precompiled_charsmap": "?"},
                  "expected a normalizer"),
    "unknown": (UNIGRAM, SPACE, {"type": "Nmt"}, "expected a normalizer of"),
    "pattern": (UNIGRAM, SPACE, {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""},
                "expected a normalizer of"),
    "strange merge": ({**BPE, "merges": [["a", "zz"]]}, BYTES, None, "it lacks 'zz'"),
    "cyclic merge": ({**BPE, "merges": [["a", "b"], ["ab", "ab"]]}, BYTES, None, "lacks 'abab'"),
    "merge of three": ({**BPE, "merges": ["a b c"]}, BYTES, None, "a pair of tokens as merge 0"),
    "merges": ({**BPE, "merges": 5}, BYTES, None, "parts of a tokenizer"),
    "negative": ({**BPE, "vocab": {"<unk>": -1}}, BYTES, None, "whole numbers from 0"),
    "regex": (BPE, {**BYTES, "use_regex": False}, None, "the pre_tokenizer ByteLevel"),
    "dropout": ({**BPE, "dropout": 0.1}, BYTES, None, "without prefix"),
}  # fmt: skip


@pytest.mark.parametrize(("model", "cut", "normal", "words"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused_in_words(tmp_path, model, cut, normal, words):
    data = {"model": model, "pre_tokenizer": cut, "normalizer": normal}
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match=f"tokenizer.json: .*{words}"):
        Tokenizer.from_folder(tmp_path)


def message(*fields):
    return b"".join(bytes([number << 3 | 2, len(data)]) + data for number, data in fields)


PIECE = message((1, b"<unk>")) + b"\x15" + struct.pack("<f", -1.0)
PROTOBUF = {
    "empty": (b"", "the pieces of a SentencePiece model"),
    "cut": (message((1, PIECE))[:-3], "got"),
    "negative length": (b"\x0a" + b"\xff" * 10, "a whole number that ends"),
    "group": (b"\x0b", "wire type"),
    "huge length": (b"\x0a\xff\xff\xff\xff\x0f", "bytes of field 1"),
    "a score of text": (message((1, message((1, b"a"), (2, b"b")))), "SentencePiece"),
    "bytes of no text": (message((1, message((1, b"\xff")))), "SentencePiece"),
    "NaN": (message((1, message((1, b"a")) + b"\x15" + struct.pack("<f", float("nan")))),
            "a score for piece 0"),
    "unknown beyond": (message((1, PIECE), (2, b"\xc0\x02\x63")), "an unknown piece below 1"),
    "a BPE model": (message((1, PIECE), (2, b"\x18\x02")), "a Unigram model"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "words"), PROTOBUF.values(), ids=PROTOBUF)
def test_broken_models_of_sentencepiece(tmp_path, data, words):
    (tmp_path / "config.json").write_text('{"model_type": "albert"}')
    (tmp_path / "spiece.model").write_bytes(data)
    with pytest.raises(ValueError, match=f"spiece.model: .*{words}"):
        Tokenizer.from_folder(tmp_path)


def test_what_else_is_refused(trained, tmp_path):
    with pytest.raises(ValueError, match="do_lower_case is a rule of WordPiece"):
        Tokenizer.from_folder(trained / "albert", do_lower_case=True)
    with pytest.raises(ValueError, match="expected the folder around this file"):
        Tokenizer.from_folder(trained / "albert" / "spiece.model")
    with pytest.raises(ValueError, match="lone surrogate"):
        Tokenizer.from_folder(trained / "albert").ids("a \ud800")
    with pytest.raises(TypeError, match="expected a text"):
        Tokenizer.from_folder(trained / "roberta").ids(b"a")
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    with pytest.raises(FileNotFoundError, match=r"vocab.json"):
        Tokenizer.from_folder(tmp_path)
    (tmp_path / "vocab.json").write_text('{"<unk>": 0}')
    with pytest.raises(FileNotFoundError, match=r"expected merges.txt in"):
        Tokenizer.from_folder(tmp_path)
    (tmp_path / "merges.txt").write_text("#version: 0.2\na\n")
    with pytest.raises(ValueError, match=r"merges.txt: expected two tokens .* in line 2"):
        Tokenizer.from_folder(tmp_path)


SILENT = {
    "cased": {"lowercase": False},
    "accents kept": {"strip_accents": False},
    "ideographs joined": {"handle_chinese_chars": False},
}


@pytest.mark.parametrize("kind", [None, "BertTokenizer"])
@pytest.mark.parametrize("rules", SILENT.values(), ids=SILENT)
def test_a_silent_config_does_not_change_what_the_file_says(tmp_path, rules, kind):
    """Six cases in which transformers 5 rebuilds the rules and forgets those of the file."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Paris", "paris", "caf\u00e9", "cafe"]
    words += ["中", "国", "##国", "中国"]
    theirs = tokenizers.Tokenizer(
        models.WordPiece({word: n for n, word in enumerate(words)}, unk_token="[UNK]")
    )
    rules = {"lowercase": True, "handle_chinese_chars": True, **rules}
    theirs.normalizer = normalizers.BertNormalizer(**rules)
    theirs.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    theirs.add_special_tokens(words[:5])
    theirs.enable_padding(length=30)  # as many files ask for
    theirs.save(str(tmp_path / "tokenizer.json"))
    theirs.no_padding()
    if kind:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (row,) = check_tokenizer(tmp_path)
    assert row.status == "pass" and "transformers 5" in row.detail, row
    mine = Tokenizer.from_folder(tmp_path)
    for text in ("Paris", "caf\u00e9", "中国", "Caf\u00e9 中国"):
        assert mine.ids(text) == theirs.encode(text).ids
