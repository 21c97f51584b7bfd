"""The page's BERT in JavaScript: tokenizer, numbers, mistakes, weights files."""

import random
import re
import shutil
import subprocess

import numpy as np
import pytest
import tokenizers
import torch

import minibert
from minibert.core import unicode_classes
from minibert.core.unicode_classes import CodePoints
from minibert.diagnosis.catalogue.all import CATALOGUE
from minibert.diagnosis.catalogue.mistake import patched
from minibert.diagnosis.probe import full_batch, probe_model
from minibert.trace import compare, record
from minibert.view.live.page import CORE, ENGINE, PAGE, character_tables, script
from tests.conftest import ROOT
from tests.tokenizer.test_tokenizer import MARKS, SETTINGS, normalizer
from tests.view.live import FIVE, PLAIN, in_javascript, run_javascript, with_batch

NASTY = [
    *(
        "",
        " ",
        "\u200b",
        "a\u0301",
        "[MASK]",
        "a[MASK]b",
        "[MA\u200dSK]",
        "[mask]",
        "[CLS] x [SEP]",
    ),
    *("un\u00adaffable", "x" * 100, "x" * 101, "\U0001f600\u200d\U0001f601", "ﬁ ﬂ ß ẞ İ ΟΔΟΣ ≠ K"),
    *("한국어 東京 かな", "a\u0323\u0301\u302e", "\ue000\ufffd\x00\x0b", "don't $5.00 — “so”"),
    *("<script>alert(1)</script>", "\u202eabc", "e\U0001d165\u0301"),
]


@pytest.fixture(scope="module")
def tiny():
    return minibert.load("minibert-tiny")


def sentences() -> list[str]:
    text = (ROOT / "tests/data/sentences.txt").read_text(encoding="utf-8")
    return text.splitlines()


def test_the_scripts_reach_nothing_and_make_no_markup():
    """Text becomes nodes by textContent alone; nothing is loaded, sent or evaluated."""
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\(|createContextual"
        r"|\bfetch\b|XMLHttpRequest|WebSocket|EventSource|sendBeacon|\bimport\b|importScripts|https?:"
    )
    folder = ROOT / "minibert/view/live"
    files = sorted(folder.glob("*.js"))
    assert {path.stem for path in files} == {*CORE, *ENGINE, *PAGE}
    for path in [*files, folder / "page.html"]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(forbidden, text), f"{path.name}: {re.search(forbidden, text)}"
        assert max(map(len, text.splitlines())) <= 110, path.name


def test_every_file_is_javascript(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the page's JavaScript is not parsed")
    for names in (CORE + ENGINE, PAGE):
        path = tmp_path / "script.js"
        path.write_text(script(names), encoding="utf-8")
        done = subprocess.run([node, "--check", path], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_ids_are_those_of_the_reference(tiny):
    """The tokenizer's test sentences, and strings that break tokenizers."""
    vocab = tiny.tokenizer.vocab
    reference = tokenizers.Tokenizer(tokenizers.models.WordPiece(dict(vocab), unk_token="[UNK]"))
    reference.normalizer = normalizer(True, None, True)
    reference.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    reference.add_special_tokens(FIVE)
    texts = [*sentences(), *NASTY]
    code = """(() => {
      const {vocabulary, special, settings, tables, texts} = given;
      const tokenizer = new Tokenizer(vocabulary, special, settings, tables);
      return texts.map((text) => tokenizer.pieces(text).map((piece) => tokenizer.id(piece)));
    })()"""
    given = {
        "vocabulary": [tiny.tokenizer.inverse[i] for i in range(len(vocab))],
        "special": {token: vocab[token] for token in FIVE},
        "settings": PLAIN,
        "tables": character_tables(),
        "texts": texts,
    }
    [ids] = run_javascript({"model": None, "base64": None}, (code, given))
    for text, got in zip(texts, ids, strict=True):
        assert got == reference.encode(text, add_special_tokens=False).ids, repr(text)


def edges(ranges: str) -> set[int]:
    """First and last of every range, what lies beside it, and one in the middle."""
    points = CodePoints(ranges)
    return {
        code
        for first, last in zip(points.starts, points.ends)
        for code in (first - 1, first, (first + last) // 2, last, last + 1)
        if 0 <= code < 0xD800 or 0xE000 <= code < 0x110000
    }


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_character_class(setting):
    """The words of the reference, at the edges of every class and for every mark, between marks."""
    tables = character_tables()
    classes = {**tables, "lowercase": "41-5A 130 3A3 1E9E", **tables["combining"]}
    codes = {c for ranges in classes.values() if isinstance(ranges, str) for c in edges(ranges)}
    for name in ("MARKS", "KEPT_MARKS"):
        points = CodePoints(getattr(unicode_classes, name))
        codes |= {c for a, b in zip(points.starts, points.ends) for c in range(a, b + 1)}
    codes |= {
        ord(capital) for capital in unicode_classes._LOWER and map(chr, unicode_classes._LOWER)
    }
    chars = [chr(code) for code in sorted(codes)]
    drawn = random.Random(0)
    texts = [f"a{c}b {MARKS[0]}{c}{MARKS[1]}a {c}{MARKS[2]}{c}{MARKS[3]}" for c in chars]
    texts += ["".join(drawn.choices([*chars, " "], k=12)) for _ in range(500)]
    lower, strip, ideographs = SETTINGS[setting]
    spell = normalizer(*SETTINGS[setting]).normalize_str
    cut = tokenizers.pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    given = {
        "tables": tables,
        "texts": texts,
        "settings": {
            "do_lower_case": lower,
            "strip_accents": strip,
            "tokenize_chinese_chars": ideographs,
        },
    }
    code = """given.texts.map((text) => rulesFor(given.settings).reduce(
      (now, [, rule]) => rule(now, (given.rules ??= characterRules(given.tables))), text)
      .split(" ").filter(Boolean))"""
    [words] = run_javascript({"model": None, "base64": None}, (code, given))
    assert len(texts) > 4000
    for text, got in zip(texts, words, strict=True):
        assert got == [word for word, _ in cut(spell(text))], text.encode("unicode_escape")


def test_a_real_model_is_the_same(tiny):
    """Sentences alone and in pairs, with padding: every tensor of the trace, to 1e-4."""
    texts = sentences()[:6]
    vocabulary = [tiny.tokenizer.inverse[i] for i in range(len(tiny.tokenizer.vocab))]
    code = """(() => {
      const {row} = engine.read(given), all = row.tokens.map((_, place) => place);
      const {words} = engine.right.forward(row, all.slice(0, 2)), trace = engine.right.trace;
      const kept = [...trace].filter(([name]) => !/activation|up|down/.test(name));
      return {row, trace: Object.fromEntries(kept)};
    })()"""
    asked = [
        (code, {"first": texts[0], "second": texts[1], "padding": 3}),
        (code, {"first": texts[2]}),
        (code, {"first": "The river [MASK] was flooded.", "padding": 1}),
    ]
    for (_, given), answer in zip(asked, run_javascript(
        in_javascript(tiny.pretraining, vocabulary), *asked
    ), strict=True):  # fmt: skip
        texts = [given["first"], *([given["second"]] if "second" in given else [])]
        row = answer["row"]
        real = len(row["tokens"]) - given.get("padding", 0)
        assert row["input_ids"][:real] == tiny.tokenizer(*texts)["input_ids"][0].tolist()
        names = ("input_ids", "token_type_ids", "attention_mask")
        expected = record(tiny.pretraining, {name: torch.tensor([row[name]]) for name in names})
        got = with_batch(answer["trace"])
        expected = {
            name: tensor[:, :2] if name.startswith("masked_word") else tensor
            for name, tensor in expected.items()
            if name in got
        }
        assert list(got) == list(expected)
        assert compare(expected, got, tolerance=1e-4) is None, compare(expected, got, 1e-4)


# ---- Mistakes: on the probe, where none can hide ----

ROWS = (1, 5)  # padding on the right, on the left


def probe_rows() -> list[dict]:
    batch = full_batch()
    names = ("input_ids", "token_type_ids", "attention_mask")
    return [{name: batch[name][row].tolist() for name in names} for row in ROWS]


def traced(model, row):
    return record(model, {name: torch.tensor([values]) for name, values in row.items()})


def test_each_mistake_is_that_of_the_catalogue():
    """All numbers of each switch are those of the catalogue's patch in torch, in float64."""
    model, rows = probe_model(), probe_rows()
    one = """(() => {
      const all = given.row.input_ids.map((_, place) => place);
      const run = (change) => {
        const model = new BertForPreTraining(engine.config, engine.weights);
        change(model);
        model.forward(given.row, all);
        return new Map(model.trace);
      };
      const changed = run(MISTAKES[given.id]);
      return {changed, first: firstDifference(run(() => {}), changed)};
    })()"""
    content = in_javascript(model)
    [ids] = run_javascript(content, ("Object.keys(MISTAKES)", None))
    assert len(ids) >= 15
    asked = [(one, {"row": row, "id": id}) for id in ids for row in rows]
    right = [traced(model, row) for row in rows]
    shown = set()
    for (_, given), answer in zip(asked, run_javascript(content, *asked), strict=True):
        id, number = given["id"], rows.index(given["row"])
        with patched(model, [CATALOGUE[id]]):
            expected = traced(model, given["row"])
        got = with_batch(answer["changed"])
        assert list(got) == list(expected), id
        assert compare(expected, got, tolerance=2e-5) is None, (id, compare(expected, got, 2e-5))
        first = compare(right[number], expected, tolerance=1e-6)
        assert (answer["first"] or {}).get("name") == (first and first.name), id
        if compare(right[number], expected, tolerance=2e-5):
            shown.add(id)
    assert shown == set(ids), f"these change nothing here: {set(ids) - shown}"


def test_heads_and_blocks_that_are_switched_off():
    model, row = probe_model(), probe_rows()[0]
    code = """(() => {
      const model = engine.changed(given.off);
      return model.forward(given.row, []).states;
    })()"""
    offs = [{"heads_off": ["0.1", "2.3"]}, {"blocks_off": [1]}]
    steps = [(code, {"row": row, "off": off}) for off in offs]
    without_heads, without_block = run_javascript(in_javascript(model), *steps)
    D = model.config.head_size

    def mute(head):
        def hook(module, inputs, output):
            output = output.clone()
            output[..., head * D : (head + 1) * D] = 0
            return output

        return hook

    blocks = model.bert.encoder.blocks
    hooks = [
        blocks[b].attention.context.register_forward_hook(mute(h)) for b, h in ((0, 1), (2, 3))
    ]
    states = model.bert(**{k: torch.tensor([v]) for k, v in row.items()}, output_hidden_states=True,
                        output_attentions=True).hidden_states  # fmt: skip
    for state, got in zip(states, without_heads, strict=True):
        assert np.abs(state[0].detach().numpy() - np.array(got)).max() < 1e-5
    for hook in hooks:
        hook.remove()
    shorter = probe_model()
    del shorter.bert.encoder.blocks[1]
    last = shorter.bert(**{k: torch.tensor([v]) for k, v in row.items()}).last_hidden_state
    assert np.abs(last[0].detach().numpy() - np.array(without_block[-1])).max() < 1e-5
