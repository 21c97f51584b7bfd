"""The pictures: they show the numbers of the model, nothing overlaps, nothing can break out."""

import base64
import dataclasses
import html
import json
import math
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import minibert
from minibert import view
from minibert.cli.main import main
from minibert.system.numbers import percent
from minibert.tokenizer.pieces import WordPieceTokenizer
from minibert.view import svg
from minibert.view.attention import habits, interactive, probabilities
from minibert.view.lens import guesses
from minibert.view.picture import text_of
from minibert.view.senses import _apart, _ticks, parting
from minibert.view.shapes import REPEATED, line_of, tensors
from minibert.view.tokens import KINDS, kinds_of
from minibert.weights.loading import save_weights
from tests.parity.twins import TINY, trained_like, twin_of
from tests.test_bert import WORDS
from tests.view.browsing import emulated, grounds, heard, too_wide, unheard
from tests.view.live import run_javascript

ROOT = Path(__file__).resolve().parents[2]
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>&amp;'\""
TEXT = "the river bank was in the river"
SENSES = {"water": ["the bank in the river", "a bank was in a river"], "<b>": ["the man bank"]}
# tokens that would break out of an SVG, a page or its data if they were written as they are
WORDS = [*WORDS[:20], "<", ">", "&", '"', "'", "script", "/", "##x", "img", "=", *WORDS[20:-10]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    config = dataclasses.replace(TINY, max_position_embeddings=64)
    save_weights(trained_like(config).float(), path)
    (path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    return path


@pytest.fixture(scope="module")
def bert(folder):
    return minibert.load(folder)


@pytest.fixture(scope="module")
def pictures(bert) -> dict[str, view.Picture]:
    """One or more of every kind, with names that are long, many, or dangerous."""
    evil = EVIL[:60]
    return {
        "attention": view.attention(bert, TEXT, block=1, head=2, query="bank"),
        "pair": view.attention(bert, TEXT, "he went in " + evil, block=-1),
        "longest": view.attention(bert, "river " * 38),
        "lens": view.lens(bert, "the [MASK] was <script>"),
        "word": view.word(bert, "bank", SENSES),
        "shapes": view.shapes(bert, TEXT),
        "tokenization": view.tokenization(bert.tokenizer, "The Rivërs, in\u200b東京! 12 [MASK]"),
        "evil tokenization": view.tokenization(bert.tokenizer, EVIL + "\x00\x0b한\ufffe e\u0301"),
        "long word": view.tokenization(bert.tokenizer, "rivers" * 40),
    }  # fmt: skip


def tree(picture: view.Picture) -> ET.Element:
    return ET.fromstring(picture.svg)


def of_class(root: ET.Element, name: str) -> list[ET.Element]:
    return [node for node in root.iter() if node.get("class") == name]


def texts(picture: view.Picture) -> list[str]:
    return ["".join(node.itertext()) for node in tree(picture).iter() if node.tag.endswith("text")]


# ---- Every picture ----


def drawn(node: ET.Element, x: float = 0.0, y: float = 0.0) -> Iterator[tuple]:
    """(text, left, top, right, bottom) of every text that is not turned."""
    moves = re.findall(r"translate\(([-\d.]+) ([-\d.]+)\)", node.get("transform", ""))
    x, y = x + sum(float(a) for a, _ in moves), y + sum(float(b) for _, b in moves)
    turned = re.search(r"rotate\(([-\d.]+)\)", node.get("transform", ""))
    if node.tag.endswith("text") and (content := "".join(node.itertext())).strip():
        size = float(node.get("font-size", 15))
        bold, mono = node.get("font-weight") == "bold", "font-family" in node.attrib
        width = svg.width_of(content, size, bold, mono) / 1.03
        start = {"middle": 0.5, "end": 1.0}.get(node.get("text-anchor", ""), 0.0)
        if turned:  # a line from (x, y): what matters is where it ends
            angle = math.radians(float(turned[1]))
            x -= start * width * math.cos(angle)
            y -= start * width * math.sin(angle)
            right, top = x + width * math.cos(angle), y + width * math.sin(angle)
            yield None, min(x, right), min(y, top), max(x, right), max(y, top)
            return
        left, base = x + float(node.get("x", 0)) - start * width, y + float(node.get("y", 0))
        yield content, left, base - 0.7 * size, left + width, base
    for child in node:
        yield from drawn(child, x, y)


def test_nothing_overlaps_or_leaves_the_picture(pictures):
    for name, picture in pictures.items():
        root = tree(picture)
        width, height = float(root.get("width")), float(root.get("height"))
        assert width <= 900, name
        boxes = list(drawn(root))
        assert boxes, name
        for content, left, top, right, bottom in boxes:
            assert left >= 0 and right <= width + 1, (name, content)
            assert top >= 0 and bottom <= height, (name, content)
        for a, b in combinations([box for box in boxes if box[0] is not None], 2):
            apart = a[3] <= b[1] + 2 or b[3] <= a[1] + 2 or a[4] <= b[2] + 1 or b[4] <= a[2] + 1
            assert apart, (name, a, b)


def test_letters_are_large_and_ground_is_white(pictures):
    for name, picture in pictures.items():
        root = tree(picture)
        sizes = {float(n.get("font-size")) for n in root.iter() if n.get("font-size")}
        assert sizes and min(sizes) >= 14, name
        first = next(node for node in root if node.tag.endswith("rect"))
        assert first.get("fill") == "#ffffff" and first.get("width") == root.get("width"), name
        assert root.get("role") == "img" and len(root.get("aria-label")) > 20, name


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_colours_can_be_seen():
    """WCAG 2: 4.5 for letters, 3 for lines; shades get darker all the way."""
    shades = [svg.shade(n / 100) for n in range(101)]
    assert [luminance(s) for s in shades] == sorted(map(luminance, shades), reverse=True)
    assert min(contrast(colour, "#ffffff") for colour in svg.KINDS) >= 3
    assert contrast(svg.MUTED, "#ffffff") >= 4.5
    assert min(contrast(svg.INK, kind.fill) for kind in KINDS.values()) >= 4.5


class Tags(HTMLParser):
    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_no_text_breaks_out(pictures):
    """Texts and names with markup are shown as text, in drawings and in pages."""
    for name, picture in pictures.items():
        assert {n.tag.split("}")[1] for n in tree(picture).iter()} <= {
            "svg", "g", "title", "text", "rect", "line", "path", "circle", "polygon",
        }, name  # fmt: skip
        tags = Tags(picture.page()).tags
        assert not [t for t, _ in tags if t in ("img", "b", "iframe", "object")], name
        assert len([t for t, _ in tags if t == "script"]) == 1 + 2 * bool(picture.interactive), name
        assert not [a for _, attributes in tags for a in attributes if a.startswith("on")], name
    assert any("</script>" in label for label in texts(pictures["evil tokenization"]))
    body = interactive([([EVIL, "river"], [[[[0.5, 0.5]] * 2]], 0)], 0, 0)  # an added token, say
    tags = Tags(view.Picture("", EVIL, EVIL, body).page()).tags
    assert not [tag for tag, _ in tags if tag == "img"]
    assert len([tag for tag, _ in tags if tag == "script"]) == 3


def test_no_page_asks_for_anything(pictures):
    for name, picture in pictures.items():
        page = picture.page()
        for tag, attributes in Tags(page).tags:
            asks = {k: v for k, v in attributes.items() if k in ("src", "href", "srcset", "data")}
            assert asks in ({}, {"href": "data:,"}), (name, tag, asks)
        content = page.replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"https?://|@import|url\(|\bfetch\(|XMLHttp|import\(", content), name
        assert "default-src 'none'" in page and "prefers-color-scheme: dark" in page, name
        assert len(picture.svg) < 120_000 and len(page) < 120_000, name


def test_the_same_picture_is_the_same_bytes():
    code = (
        "from minibert import view; from minibert.tokenizer.pieces import WordPieceTokenizer as W;"
        "print(view.tokenization(W(['[UNK]', 'a', '##b']), 'A ab').page())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=True, encoding="utf-8",
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(runs) == 1 and "<svg" in runs.pop()


def test_pictures_cost_no_torch():
    code = "import sys; from minibert import view; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "False\n", done.stderr


def test_saved_whole_or_not_at_all(pictures, tmp_path):
    picture = pictures["attention"]
    assert picture.save(tmp_path / "x.svg").read_text(encoding="utf-8") == picture.svg + "\n"
    assert picture.save(str(tmp_path / "x.html")).read_text(encoding="utf-8") == picture.page()
    with pytest.raises(ValueError, match=r"\.svg or \.html"):
        picture.save(tmp_path / "x.png")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        picture.save(tmp_path / "no" / "x.svg")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.html", "x.svg"]
    assert "<iframe" in picture._repr_html_() and "<svg" in pictures["shapes"]._repr_html_()
    (frame,) = Tags(picture._repr_html_()).tags
    assert frame[1]["srcdoc"] == picture.page()


def test_a_page_has_the_title_once(pictures):
    page = pictures["shapes"].page()
    before = page.split("<main>")[1]
    assert before.count("One sentence through BERT:") == 3  # title, and twice as description
    whole, inside = (
        tree(pictures["shapes"]),
        ET.fromstring(re.search("<svg.*</svg>", page, re.S)[0]),
    )
    _, top, _, height = map(int, inside.get("viewBox").split())
    assert top + height == int(whole.get("height")) and top > 40
    first = min(float(n.get("y1")) for n in inside.iter() if n.tag.endswith("line"))
    assert first > top
    assert len(of_class(inside, "tensor")) == len(of_class(whole, "tensor"))


# ---- Attention ----


def says(written: str, share: float) -> bool:
    """Is this the share, to the last digit that is written?"""
    number = written.replace("\xa0", " ").removesuffix(" %")
    if number[0] in "<>":
        bound = float(number[1:])
        return 0 < 100 * share < bound if number[0] == "<" else bound < 100 * share < 100
    return abs(float(number) - 100 * share) <= 0.5001 * 0.1 ** len(number.partition(".")[2])


def in_page(share: float) -> str:
    return percent(share).replace(" ", "\xa0")


def of_the_model(bert, text: str, pair: str | None = None) -> np.ndarray:
    """(L, A, T, T), from the model itself."""
    batch = bert.tokenizer([text], None if pair is None else [pair])
    with torch.no_grad():
        attentions = bert.model(**batch, output_attentions=True).attentions
    return torch.cat(attentions).double().numpy()


def test_arrows_are_as_thick_as_the_query_reads(bert, pictures):
    expected = of_the_model(bert, TEXT)[1, 2, 3]  # "bank" stands at place 3
    arrows = of_class(tree(pictures["attention"]), "arrow")
    widths = {int(a.get("data-key")): float(a.get("stroke-width")) for a in arrows}
    assert set(widths) == set(range(9))
    assert max(widths, key=widths.get) == expected.argmax()
    slope, rest = np.polyfit(expected, [widths[key] for key in range(9)], 1)
    assert slope > 10
    assert np.allclose([widths[key] for key in range(9)], slope * expected + rest, atol=0.01)
    labels = texts(pictures["attention"])
    percents = [label for label in labels if re.fullmatch(r"[<> \d.]+ %", label)]
    assert len(percents) == len(expected) and all(map(says, percents, expected.tolist()))


def test_small_maps_are_the_heads(bert, pictures):
    """Each run of cells has the shade of its probabilities, at the place of its head."""
    expected = of_the_model(bert, TEXT)
    paths = [n for n in tree(pictures["attention"]).iter() if n.tag.endswith("path")]
    maps = [n for n in paths if re.match(r"M\d+ \d+h\d+(M|$)", n.get("d"))]
    shades = {svg.shade(level / 12): level for level in range(13)}
    levels = np.zeros((3, 4, 9, 9))
    starts = [int(x) for x in re.findall(r"M(\d+) 0h9v9", paths[0].get("d"))]
    step = starts[1]
    for path in maps:
        for x, y, length in re.findall(r"M(\d+) (\d+)h(\d+)", path.get("d")):
            head, key = divmod(int(x), step)
            block, query = divmod(int(y), step)
            levels[block, head, query, key : key + int(length)] = shades[path.get("stroke")]
    assert np.abs(levels / 12 - expected).max() <= 0.5 / 12 + 1e-9


def data_of(picture: view.Picture) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', picture.page(), re.S)[1])


def test_the_page_holds_the_probabilities(bert, pictures):
    data = data_of(pictures["pair"])
    weights = np.frombuffer(base64.b64decode(data["texts"][0]["weights"]), "<u2") / 65535
    expected = of_the_model(bert, TEXT, "he went in " + EVIL[:60])
    assert weights.size == expected.size
    assert np.abs(weights.reshape(expected.shape) - expected).max() <= 0.5 / 65535 + 1e-6
    assert (data["blocks"], data["heads"], data["block"]) == (3, 4, 2)
    assert {"<", "script", ">"} <= set(data["texts"][0]["tokens"])


def test_what_a_head_does_most(bert):
    """By hand, from the model's own probabilities."""
    tokens, weights = probabilities(bert, TEXT)
    expected = of_the_model(bert, TEXT)
    for block, row in enumerate(habits(tokens, weights)):
        for head, (name, share) in enumerate(row):
            maps = expected[block, head]
            ways = {
                "the next token": np.diagonal(maps, 1).mean(),
                "the token before": np.diagonal(maps, -1).mean(),
                "the token itself": np.diagonal(maps).mean(),
                "[CLS]": maps[:, 0].mean(),
                "[SEP]": maps[:, [n for n, t in enumerate(tokens) if t == "[SEP]"]].sum(1).mean(),
            }
            assert name == max(ways, key=ways.get)
            assert share == pytest.approx(ways[name], abs=6e-4)


def test_base_size_stays_small():
    """12 x 12 heads of 16 tokens: under 150 KB."""
    flat = np.full((12, 12, 16, 16), 1 / 16).tolist()
    body = interactive([(["token"] * 16, flat, 0)], 0, 0)
    assert 100_000 < len(view.Picture("", "t", "n", body).page()) < 150_000


def test_which_query(bert):
    tokens, weights = probabilities(bert, TEXT)
    for query, place in (("bank", 3), (3, 3), (-1, 8), ("the", 1)):
        assert data_of(view.attention(bert, TEXT, query=query))["texts"][0]["query"] == place
    words = range(1, 8)
    expected = max(words, key=lambda i: max(weights[2][1][i][j] for j in words if j != i))
    assert data_of(view.attention(bert, TEXT, block=2, head=1))["texts"][0]["query"] == expected


def test_refusals(bert):
    for settings, message in (
        ({"block": 3}, r"block must lie in 0..2"),
        ({"head": -5}, r"head must lie in 0..3"),
        ({"query": "banks"}, r"'banks' is not among the tokens: \[CLS\] the river"),
        ({"query": 9}, r"query must lie in 0..8"),
    ):
        with pytest.raises(ValueError, match=message):
            view.attention(bert, TEXT, **settings)
    with pytest.raises(ValueError, match="room for 40 tokens.*has 41"):
        view.attention(bert, "river " * 39)


# ---- The lens ----


def test_the_last_row_is_the_answer(bert, pictures):
    text = "the [MASK] was <script>"
    (expected,) = bert.fill_mask(text)
    assert [g.token for g in guesses(bert, text)[-1]] == [p.token for p in expected]
    found = [g.probability for g in guesses(bert, text)[-1]]
    assert np.allclose(found, [p.probability for p in expected], rtol=1e-6)
    cells = of_class(tree(pictures["lens"]), "guess")[-5:]
    assert [cell.findtext("*[@y]") or "".join(cell.itertext()) for cell in cells]
    bars = [float(list(cell)[2].get("width")) / float(list(cell)[1].get("width")) for cell in cells]
    assert np.allclose(bars, found, atol=2e-4)
    shown = [list(cell)[3].text for cell in cells]
    assert shown == [svg.shorten(p.token, 90) for p in expected]


def test_every_row_is_the_head_on_that_layer(bert):
    """Against transformers' head on transformers' hidden states."""
    twin = twin_of(bert.pretraining)
    text = "the river [MASK] was in the [MASK]"
    batch = bert.tokenizer([text])
    with torch.no_grad():
        states = twin.bert(**batch, output_hidden_states=True).hidden_states
        logits = torch.stack([twin.cls.predictions(state)[0, 3] for state in states])
    best = logits.softmax(-1)[:, : bert.tokenizer.vocab_size].topk(3)
    rows = guesses(bert, text, top=3)
    assert len(rows) == 4
    for row, shares, ids in zip(rows, best.values.tolist(), best.indices.tolist(), strict=True):
        assert [g.token for g in row] == [WORDS[number] for number in ids]
        assert np.allclose([g.probability for g in row], shares, atol=1e-5)


def test_the_lens_needs_a_blank_and_a_head(bert):
    with pytest.raises(ValueError, match=r"no \[MASK\]"):
        view.lens(bert, "the river")
    with pytest.raises(ValueError, match="top must lie in 1..8"):
        view.lens(bert, "the [MASK]", top=9)
    bare = dataclasses.replace(bert, pretraining=trained_like(bert.config).float())
    bare.pretraining.masked_word = None
    with pytest.raises(ValueError, match="masked-word head, and this model has none"):
        view.lens(bare, "the [MASK]")


# ---- A word in two senses ----


def test_cosines_by_layer(bert):
    """Layer 0 by hand, from the tables; all layers from transformers' hidden states."""
    senses = {"water": ["the bank in the river", "river banks bank"], "man": ["A Bank in river"]}
    same, different = parting(bert, "bank", senses)
    e = bert.model.embeddings
    tables = [t.weight.detach().double().numpy() for t in (e.token, e.segment, e.position)]
    scale, shift = (p.detach().double().numpy() for p in (e.norm.weight, e.norm.bias))

    def layer_0(word: str, place: int) -> np.ndarray:
        x = tables[0][WORDS.index(word)] + tables[1][0] + tables[2][place]
        return (x - x.mean()) / np.sqrt(x.var() + 1e-12) * scale + shift

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    first, second, third = (layer_0("bank", place) for place in (2, 4, 2))
    assert same[0] == pytest.approx(cosine(first, second), abs=1e-6)
    by_hand = (cosine(first, third) + cosine(second, third)) / 2
    assert different[0] == pytest.approx(by_hand, abs=1e-6)

    twin = twin_of(bert.pretraining)
    vectors = []
    for text, place in (("the bank in the river", 2), ("river banks bank", 4),
                        ("a bank in river", 2)):  # fmt: skip
        batch = bert.tokenizer([text])
        assert batch.tokens()[place] == "bank"
        with torch.no_grad():
            states = twin.bert(**batch, output_hidden_states=True).hidden_states
        vectors.append([state[0, place].double().numpy() for state in states])
    for layer in range(4):
        a, b, c = (v[layer] for v in vectors)
        assert same[layer] == pytest.approx(cosine(a, b), abs=1e-5)
        assert different[layer] == pytest.approx((cosine(a, c) + cosine(b, c)) / 2, abs=1e-5)


def test_the_same_sentence_is_the_same_sense(bert):
    text = "the bank was in the river"
    same, different = parting(bert, "bank", {"a": [text, text], "b": ["bank the man"]})
    assert np.allclose(same, 1) and max(different) < 0.999


def test_senses_that_cannot_be_compared(bert):
    for senses, message in (
        ({"a": ["the bank"]}, "two senses or more, got 1"),
        ({"a": ["the bank"], "b": ["bank"]}, "two sentences or more of one sense"),
        ({"a": ["the bank", "banker"], "b": ["bank"]}, "'bank' does not stand.*banker"),
        ({"a": ["the bank", "a bank"], "b": []}, "one of another"),
    ):
        with pytest.raises(ValueError, match=message):
            view.word(bert, "bank", senses)
    with pytest.raises(TypeError, match="list of sentences"):
        view.word(bert, "bank", {"a": "the bank", "b": ["bank"]})


# ---- Shapes ----


def test_shapes_are_those_of_the_trace(bert, pictures):
    trace = bert.trace(TEXT)
    _, found = tensors(bert, TEXT)
    block = "encoder.blocks.0."
    shown = {shape.name: shape.sizes for shape in found}
    for name, tensor in trace.items():
        inside = re.sub(r"^encoder\.blocks\.\d+\.", "", name)
        if inside not in REPEATED:
            here = block + inside if inside != name else name
            assert shown[here] == tuple(tensor.shape), name
    letters = {"B": 1, "T": 9, "H": 20, "A": 4, "I": 44, "V": 61, "2": 2}
    for shape in found:
        assert tuple(letters[letter] for letter in shape.letters) == shape.sizes, shape
    labels = texts(pictures["shapes"])
    assert "(B, A, T, T)" in labels and "1 × 4 × 9 × 9" in labels and "1 × 9 × 61" in labels


def test_every_tensor_has_the_line_that_makes_it(bert, pictures):
    """The line stands in the file, says the tensor's module, and its shape is that of the map."""
    page = pictures["shapes"].page()
    for shape in tensors(bert, TEXT)[1][1:]:  # but for input_ids
        file, line = line_of(bert, shape.name)
        assert line in (ROOT / "minibert" / file).read_text(encoding="utf-8"), shape.name
        assert f"self.{shape.name.rpartition('.')[2]}(" in line
        told = line.rpartition("  # ")[2]
        if shape.name.split(".")[-1] not in ("query", "key", "value"):  # split in the same line
            assert told == f"({', '.join(shape.letters)})", shape.name
        assert re.sub("<.*?>", "", page).count(html.escape(line)) >= 1


def test_the_letters_have_the_colours_of_the_site():
    style = (ROOT / "minibert/view/page.css").read_text(encoding="utf-8")
    site = (ROOT / "tutorials/building/style.css").read_text(encoding="utf-8")
    colours = re.findall(r"--axis-[BTHAD]: #\w+", site)
    assert len(colours) == 15 and set(re.findall(r"--axis-[BTHAD]: #\w+", style)) == set(colours)


def test_shapes_are_to_scale(bert, pictures):
    boxes = of_class(tree(pictures["shapes"]), "tensor")
    _, found = tensors(bert, TEXT)
    heads = [1 if len(shape.sizes) < 4 else 4 for shape in found]
    assert len(boxes) == sum(heads)
    widths = {}
    for shape, place in zip(found, np.cumsum([0, *heads])):
        box = boxes[place]
        widths[shape.name] = float(box.get("width")), float(box.get("height"))
    wide, high = widths["encoder.blocks.0.feed_forward.up"]
    narrow, same = widths["encoder.blocks.0.output_norm"]
    assert wide / narrow == pytest.approx(math.sqrt(44 / 20), rel=2e-3)
    assert high == same and high / narrow == pytest.approx(math.sqrt(9 / 20), rel=2e-3)
    square = widths["encoder.blocks.0.attention.scores"]
    assert square[0] == square[1] == high


# ---- Tokens ----


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("aZ", ["letter", "capital"]),
        ("ëÉ\u0301", ["accent", "accent", "accent"]),
        ("7 €", ["digit", "space", "letter"]),
        ("-\u00a0\u200b\x00", ["punctuation", "space", "removed", "removed"]),
        ("京あ한", ["ideograph", "letter", "parts"]),
        ("[MASK]!", ["special"] * 6 + ["punctuation"]),
    ],
)
def test_kinds_of_characters(bert, text, kinds):
    assert kinds_of(bert.tokenizer, text) == kinds


@pytest.mark.parametrize(
    "text", ["", " ", "The rivers bank!", "\x00", "한국 rivers", "e\u0301 [MASK]the", EVIL, "京"]
)
def test_strips_show_the_tokenizer(bert, text):
    """Pieces and ids are the tokenizer's, in order; every character has its box; boxes touch."""
    root = tree(view.tokenization(bert.tokenizer, text))
    assert len(of_class(root, "character")) == len(text)
    pieces = bert.tokenizer.pieces(text)
    ends: dict[int, float] = {}
    shown = []
    for line, row in enumerate(node for node in root if of_class(node, "character")):
        nodes = list(row)
        for box, token, number in zip(nodes, nodes[1:], nodes[2:]):
            if box.get("class") == "piece":
                assert float(box.get("x")) >= ends.get(line, 0), "pieces follow each other"
                ends[line] = float(box.get("x")) + float(box.get("width"))
                assert float(box.get("x")) < float(token.get("x")) < ends[line]
                shown.append((token.text, int(number.text)))
    assert shown == list(zip(pieces.tokens, pieces.ids))


def test_words_stand_over_their_pieces(bert):
    root = tree(view.tokenization(bert.tokenizer, "Rivers the"))
    word, other = of_class(root, "word")
    first, second, third = of_class(root, "piece")
    right = float(word.get("x")) + float(word.get("width"))
    assert float(first.get("x")) == float(word.get("x"))
    assert float(second.get("x")) + float(second.get("width")) == pytest.approx(right)
    assert float(third.get("x")) == float(other.get("x"))
    assert "rivers" in texts(view.tokenization(bert.tokenizer, "Rivers the"))


def test_the_page_has_the_prefixes_that_were_tried():
    """By hand: the longest first, ## once a piece stands before it."""
    tokenizer = WordPieceTokenizer(["[UNK]", "a", "una", "##aff", "##able", "##a", "<"])
    page = view.tokenization(tokenizer, "Unaffable a <x unaffable").page()
    words = re.findall(r'<h3>(.*?)</h3>\n<p class="tries">(.*?)</p>', page)
    tried = [*("unaffable", "unaffabl", "unaffab", "unaffa", "unaff", "unaf", "una")]
    tried += [f"##{rest}" for rest in ("ffable", "ffabl", "ffab", "ffa", "ff", "f")]
    shown = " ".join(f"<s>{t}</s>" if t != "una" else "<strong>una 2</strong>" for t in tried)
    assert words == [("unaffable", f"{shown} = [UNK]")]
    assert "try by try" not in view.tokenization(tokenizer, "a a").page()
    long = WordPieceTokenizer(["[UNK]", "r", "##r"])
    assert " … 760 more" in view.tokenization(long, "r" * 40 + "<b>").page()


def test_too_long_a_text(bert):
    with pytest.raises(ValueError, match="room for 300 characters.*has 301"):
        view.tokenization(bert.tokenizer, "a" * 301)
    with pytest.raises(TypeError, match="expected a text"):
        view.tokenization(bert.tokenizer, b"river")


# ---- The lines of a word ----


def test_lines_are_where_the_cosines_are(bert, pictures):
    same, different = parting(bert, "bank", SENSES)
    picture = tree(pictures["word"])
    circles = [p for p in of_class(picture, "point") if p.tag.endswith("circle")]
    squares = [p for p in of_class(picture, "point") if p.tag.endswith("polygon")]
    middles = [re.findall(r"[-\d.]+", p.get("points")) for p in squares]
    shown = [
        [(float(p.get("cx")), float(p.get("cy"))) for p in circles],
        [(float(m[0]) + 4, float(m[1]) + 4) for m in middles],
    ]
    points = np.array(shown).reshape(-1, 2)
    layers = list(range(len(same))) * 2
    for values, places, sign in ((layers, points[:, 0], 1), (same + different, points[:, 1], -1)):
        slope, rest = np.polyfit(values, places, 1)
        assert slope * sign > 0
        assert np.allclose(places, slope * np.array(values) + rest, atol=0.02)


def test_every_line_differs_in_more_than_colour(pictures):
    lines = [n for n in tree(pictures["word"]).iter() if n.tag.endswith("path")]
    looks = [(n.get("stroke"), n.get("stroke-dasharray")) for n in lines]
    assert len(lines) == 2 and looks[0][0] != looks[1][0] and looks[0][1] != looks[1][1]
    assert {"same sense", "different senses"} <= set(texts(pictures["word"]))


def test_labels_move_apart():
    assert _apart([50, 52, 120], 0, 300) == [50, 69, 120]
    crowded = _apart([100.0] * 6, 0, 100)
    assert min(b - a for a, b in zip(crowded, crowded[1:])) >= 19 and max(crowded) <= 100


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.13, 0.94), (-3, 7), (5, 5), (1e-9, 3e-9)])
def test_ticks_hold_the_values(low, high):
    ticks = _ticks(low, high, 5)
    assert ticks[0] <= low + 1e-15 and ticks[-1] >= high - 1e-15 and 2 <= len(ticks) <= 8
    steps = np.diff(ticks)
    assert np.allclose(steps, steps[0])


# ---- A figure of matplotlib ----


def figure_of(title: str):
    figure = Figure(figsize=(4, 2))
    figure.subplots().set(title=title)
    return figure


def test_a_figure_is_the_same_bytes_and_its_words_are_text():
    pictures = [view.picture.picture_of(figure_of("The bank"), "The bank") for _ in range(2)]
    assert pictures[0] == pictures[1]
    assert "The bank" in texts(pictures[0])
    assert tree(pictures[0]).get("aria-label") == "The bank"
    assert "date" not in pictures[0].svg.lower()


def test_no_text_of_a_figure_breaks_out(tmp_path):
    picture = view.picture.picture_of(figure_of(EVIL), EVIL)
    page = picture.save(tmp_path / "x.html").read_text(encoding="utf-8")
    assert EVIL in texts(picture) and tree(picture).get("aria-label") == EVIL
    assert page.count("<script") == 1 and "<img" not in page  # that of the button, light or dark


# ---- The command ----


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(["view", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_command(bert, folder, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = ("-m", str(folder))
    code, out, _ = run(capsys, *model, TEXT)
    assert code == 0 and out == f"attention.html: Who reads whom: {TEXT}\n"
    assert Path("attention.html").read_text() == view.attention(bert, TEXT).page()
    code, _, err = run(capsys, *model, TEXT)
    assert code == 1 and "attention.html is there already" in err
    code, out, _ = run(capsys, *model, "--what", "lens", "the [MASK]", "-o", "x.svg", "--json")
    assert code == 0 and json.loads(out)["output"] == "x.svg"
    assert Path("x.svg").read_text() == view.lens(bert, "the [MASK]").svg + "\n"
    settings = ("--pair", "a man", "--block", "1", "--head", "3", "--query", "bank")
    assert run(capsys, *model, TEXT, *settings, "-o", "x.svg")[0] == 0
    expected = view.attention(bert, TEXT, "a man", 1, 3, "bank").svg
    assert Path("x.svg").read_text() == expected + "\n"
    for what in ("tokens", "shapes"):
        assert run(capsys, *model, TEXT, "--what", what)[0] == 0
    assert {p.name for p in tmp_path.iterdir()} == {
        "attention.html", "x.svg", "tokens.html", "shapes.html",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["the river", "-o", "x.png"], "ends in .svg or .html"),
        (["the river", "-o", "no/x.svg"], "does not exist"),
        (["the river", "--what", "lens"], r"no \[MASK\]"),
        (["the river", "--what", "shapes", "--pair", "a"], "--pair goes with --what attention"),
        (["the river", "--block", "9"], "block must lie in"),
        (["river " * 50], "room for 40 tokens"),
    ],
)
def test_command_refuses(folder, capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "-m", str(folder), *arguments)
    assert code == 1 and not out and err.startswith("minibert: ") and re.search(words, err), err
    assert not list(tmp_path.iterdir())


# ---- In a browser ----

# Runs in the page once it is loaded; what stands in `result` is written in place of the page.
PROBE = """<script>
window.problems = [];
addEventListener("error", (event) => problems.push(event.message));
addEventListener("securitypolicyviolation", (event) => problems.push(event.blockedURI));
addEventListener("load", () => {
  const press = (key) => document.activeElement.dispatchEvent(
    new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
  const all = (chosen) => [...document.querySelectorAll(chosen)];
  const texts = (chosen) => all(chosen).map((node) => node.textContent);
  const said = () => document.querySelector(".said").textContent;
  const chosen = () => document.querySelector("[aria-selected=true]").id;
  const ground = () => getComputedStyle(document.body).backgroundColor;
  const result = {grounds: [ground()]};
  THE_STEPS
  document.getElementById("theme").click();
  result.grounds.push(ground());
  result.injected = document.querySelectorAll("main img, main b:empty + script").length;
  result.asked = performance.getEntriesByType("resource").map((entry) => entry.name);
  result.wide = document.documentElement.scrollWidth - innerWidth;
  result.problems = problems;
  document.body.replaceChildren();
  document.body.textContent = "RESULT" + JSON.stringify(result) + "END";
});
</script>"""


def in_browser(picture, steps, tmp_path):
    """What the steps note of the picture's page in a narrow window; no error, no request, nothing
    wider than the window, another ground by the page's own button."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on the PATH: no page was opened in a browser")
    page = tmp_path / "page.html"
    probe = PROBE.replace("THE_STEPS", steps)
    page.write_text(picture.page().replace("<style>", probe + "<style>", 1), encoding="utf-8")
    done = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,900",
            "--disable-background-networking", "--no-first-run",
            f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr",
            "--virtual-time-budget=3000", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, encoding="utf-8",
    )  # fmt: skip
    found = re.search(r"RESULT(\{.*\})END", done.stdout, re.S)
    assert found, done.stderr[-2000:]
    result = json.loads(html.unescape(found[1]))
    assert result["problems"] == [] and "CONSOLE" not in done.stderr
    assert result["asked"] == [] and result["injected"] == 0
    assert result["wide"] <= 0, "the page is wider than the window"
    assert len(set(result["grounds"])) == 2, "its own button makes it dark"
    return result


KEYS = """
  Object.assign(result, {start: said(), tabs: all("main [tabindex='0']").length});
  document.querySelector("[aria-selected=true]").focus();
  for (const key of ["ArrowRight", "ArrowDown", "ArrowDown", "ArrowDown"]) press(key);
  result.moved = said();
  result.head = chosen();
  result.focus = document.activeElement.id;
  press("Home");
  result.home = chosen();
  document.querySelector("[aria-checked=true]").focus();
  press("ArrowDown");
  result.query = said();
  result.table = all("#numbers tr").map(
    (row) => [...row.children].map((cell) => cell.textContent));
  result.widths = all(".lines path").map((path) => +path.getAttribute("stroke-width"));
"""


def test_the_page_in_a_browser(bert, tmp_path):
    """Keyboard, live region and table of the real page; no error, no request."""
    text = "the river " + EVIL[:40]
    picture = view.attention(bert, text, block=1, head=0, query="river")
    result = in_browser(picture, KEYS, tmp_path)
    assert result["tabs"] == 2, "one stop for the grid, one for the queries"

    weights = of_the_model(bert, text)
    tokens = bert.tokenizer([text]).tokens()

    def sentence(block: int, head: int, query: int) -> str:
        row = np.round(65535 * weights[block, head, query]) / 65535
        best = np.lexsort((np.arange(len(row)), -row))[:3]
        reads = ", ".join(f"‘{tokens[k]}’ {in_page(row[k])}" for k in best)
        habit, share = data_of(picture)["texts"][0]["habits"][block][head]
        name = f"block {block}, head {head} ({habit} {in_page(share)})"
        return f"{name}: ‘{tokens[query]}’ reads {reads}"

    river = tokens.index("river")
    assert result["start"] == sentence(1, 0, river)
    assert result["moved"] == sentence(2, 1, river), "right, and down to the last block"
    assert result["head"] == result["focus"] == "head-2-1" and result["home"] == "head-2-0"
    assert result["query"] == sentence(2, 0, river + 1)
    row = weights[2, 0, river + 1]
    assert sorted(int(place) for _, place, _ in result["table"]) == list(range(len(tokens)))
    stored = np.round(65535 * row) / 65535
    for token, place, share in result["table"]:
        assert token == tokens[int(place)] and says(share, stored[int(place)])
    order = [int(place) for _, place, _ in result["table"]]
    assert (np.diff(stored[order]) <= 0).all()
    assert np.allclose(sorted(result["widths"]), sorted(0.4 + 13 * row), atol=1e-3)


def test_two_heads_and_two_texts_stand_side_by_side_in_a_browser(bert, tmp_path):
    steps = """
  document.getElementById("beside").click();
  document.getElementById("head-2-3").click();
  result.heads = texts(".said").map((words) => words.slice(0, 15));
  document.querySelector("#panel-0 .queries").children[1].click();
  document.getElementById("head-0-1").click();
  result.left = texts(".said").map((words) => words.slice(0, 15));
  document.getElementById("beside").click();
  result.one = texts(".said").length;
"""
    result = in_browser(view.attention(bert, TEXT, block=1, head=2), steps, tmp_path)
    assert result["heads"] == ["block 1, head 2", "block 2, head 3"]
    assert result["left"] == ["block 0, head 1", "block 2, head 3"] and result["one"] == 1

    steps = """
  document.getElementById("head-0-1").click();
  result.heads = texts(".said").map((words) => words.slice(0, 15));
  document.querySelector("#panel-1 .queries").children[2].click();
  result.said = texts(".said")[1];
  result.texts = texts(".text");
  result.hidden = document.getElementById("beside").parentElement.hidden;
"""
    picture = view.attention(bert, TEXT, beside="he was the man", query="the")
    result = in_browser(picture, steps, tmp_path)
    assert result["heads"] == ["block 0, head 1"] * 2 and result["hidden"]
    assert result["texts"] == [TEXT, "he was the man"]
    tokens, weights = probabilities(bert, "he was the man")
    row = weights[0][1][2]
    best = max(range(len(row)), key=lambda key: row[key])
    told = f"‘{tokens[2]}’ reads ‘{tokens[best]}’ {in_page(row[best])}"
    assert told in result["said"]


def test_a_word_is_followed_through_the_layers_in_a_browser(bert, tmp_path):
    steps = """
  result.start = said();
  all("#layers tr")[0].querySelector(".guess").click();
  result.word = all("#layers tr")[0].querySelector(".guess").dataset.word;
  result.cells = texts("td.followed");
  result.guesses = texts(".guess").length;
  result.pressed = all("[aria-pressed=true]").map((button) => button.dataset.word);
"""
    text = "the [MASK] was <script>"
    result = in_browser(view.lens(bert, text), steps, tmp_path)
    (best, *_) = bert.fill_mask(text)[0]
    assert (
        f"‘{best.token}’: " in result["start"]
        and ", place 1 after the last block" in result["start"]
    )
    assert result["guesses"] == 5 * 4 and set(result["pressed"]) == {result["word"]}
    twin = twin_of(bert.pretraining)
    batch = bert.tokenizer([text])
    with torch.no_grad():
        states = twin.bert(**batch, output_hidden_states=True).hidden_states
        logits = torch.stack([twin.cls.predictions(state)[0, 2] for state in states])
    shares = logits.double().softmax(-1)
    own = shares[:, WORDS.index(result["word"])]
    places = 1 + (shares[:, : len(WORDS)] > own[:, None]).sum(-1)
    for cell, share, place in zip(result["cells"], own.tolist(), places.tolist(), strict=True):
        written, told = cell.split(", ")
        assert told == f"{place}."
        assert says(written, share)


def test_it_opens_on_the_head_in_which_words_read_words(bert):
    tokens, weights = probabilities(bert, TEXT)
    maps = of_the_model(bert, TEXT)[:, :, 1:-1, 1:-1].copy()
    for place in range(maps.shape[-1]):
        maps[:, :, place, place] = 0
    clear = maps.max(-1).sum(-1)
    data = data_of(view.attention(bert, TEXT))
    assert (data["block"], data["head"]) == divmod(int(clear.argmax()), clear.shape[1])
    assert data_of(view.attention(bert, TEXT, block=1))["head"] == int(clear[1].argmax())


def test_every_page_in_a_browser(pictures, browser, tmp_path):
    """No message, no request, nothing to be moved sideways but drawings, and these by key; dark;
    whatever a screen reader needs has a role and a name."""
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.wait import WebDriverWait

    names = ("attention", "lens", "word", "shapes", "tokenization", "evil tokenization")
    for name, picture in ((name, pictures[name]) for name in names):
        browser.get(picture.save(tmp_path / f"{name}.html").as_uri())
        assert too_wide(browser, 320, 390, 1600) == [], name
        assert len(set(grounds(browser))) == 2, name
        assert list(unheard(heard(browser))) == [], name
        asked = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
        assert browser.execute_script(asked) == [], name
        with emulated(browser, 390):
            for place in browser.find_elements("css selector", "main [role=group][tabindex='0']"):
                place.send_keys(Keys.ARROW_RIGHT * 3)
                moved = "const [{scrollLeft, scrollWidth}] = arguments;"
                moved += "return scrollLeft > 0 || scrollWidth <= innerWidth"
                wait = WebDriverWait(browser, 20)
                wait.until(lambda page: page.execute_script(moved, place), name)  # noqa: B023


def test_shares_are_written_alike_in_pages_and_in_pictures():
    shares = [0, 1e-9, 0.00009999, 0.0001, 0.00014, 0.0568, 0.099949, 0.09995, 0.1, 0.4567]
    shares += [0.9994, 0.9995, 0.99999, 1, 1.5, 12]
    code = f"(() => {{ {text_of('page.js')} return given.map(percent); }})()"
    [written] = run_javascript({"model": None, "base64": None}, (code, shares))
    assert written == [in_page(share) for share in shares]
    assert all(map(says, written, shares))
