"""Markdown -> HTML: formulas as MathML, code in colour, GitHub's boxes, figures, links."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from tutorials.building.chapter import markdown
from tutorials.building.rules import slugs

BOXES = {
    "NOTE": "Note",
    "TIP": "Tip",
    "IMPORTANT": "Important",
    "WARNING": "Warning",
    "CAUTION": "Caution",
}
ALT_LINE = re.compile(r"^# alt:.*\n", re.MULTILINE)


@dataclass
class Body:
    """A page's inside, and its headings: (level, anchor, text)."""

    html: str
    headings: list[tuple[int, str, str]] = field(default_factory=list)


@dataclass
class Converter:
    """Turns Markdown into HTML. The two functions know where other things of the site are.

    `address` gives the page for a link's target, or None where the site has none; `picture` the
    attributes of an image, and its interactive page, if any.
    """

    address: Callable[[str], str | None]
    picture: Callable[[str], tuple[str, str | None]] = lambda source: ("", None)
    quotation: Callable[[str, str], str | None] = lambda path, code: None

    def body(self, text: str) -> Body:
        parser = markdown()
        rules = {
            "fence": self._fence,
            "image": self._image,
            "math_inline": lambda tokens, i: mathml(tokens[i].content, "inline"),
            "math_block": lambda tokens, i: mathml(tokens[i].content, "block"),
            "html_block": lambda tokens, i: _marker(tokens[i].content),
            "html_inline": lambda tokens, i: re.sub("<!--.*?-->", "", tokens[i].content),
            "table_open": lambda tokens, i: '<div class="table" tabindex="0"><table>',
            "table_close": lambda tokens, i: "</table></div>",
        }
        for name, rule in rules.items():
            parser.add_render_rule(name, _as_rule(rule))
        tokens = parser.parse(text)
        headings = []
        for i, (slug, title) in slugs(tokens).items():
            tokens[i].attrSet("id", slug)
            headings.append((int(tokens[i].tag[1]), slug, title))
        for token in tokens:
            if token.type == "inline":
                self._link(token.children or [])
        _lone_pictures(tokens)
        _boxes(tokens)
        return Body(parser.renderer.render(tokens, parser.options, {}), headings)

    def _link(self, children: list[Token]) -> None:
        """Lead every link to its page; what has no page stays as text."""
        unlinked = 0
        for token in children:
            if token.type == "link_open":
                target = self.address(str(token.attrs["href"]))
                if target is None:
                    token.tag, token.attrs, unlinked = "span", {}, unlinked + 1
                else:
                    token.attrSet("href", target)
            elif token.type == "link_close" and unlinked:
                token.tag, unlinked = "span", 0

    def _fence(self, tokens: Sequence[Token], i: int) -> str:
        language, *words = tokens[i].info.split() or ["text"]
        code = tokens[i].content
        if language == "math":
            return mathml(code, "block")
        if language != "python":
            return f'<div class="code">{coloured(code, language)}</div>\n'
        caption = ""
        if words and words[0].endswith(".py"):
            address = self.quotation(words[0], code)
            name = escape(words[0])
            link = f'<a href="{escape(address)}">{name}</a>' if address else name
            caption = f'<p class="from">{link}</p>'
        elif needs := [word[6:] for word in words if word.startswith("needs=")]:
            what = ", ".join(needs).replace("weights", "the official weights")
            caption = f'<p class="from">Needs {escape(what)}</p>'
        kind = "quotation" if caption and not words[0].startswith("needs=") else "cell"
        code = ALT_LINE.sub("", code)
        return f'<div class="code {kind}">{caption}{coloured(code, "python")}</div>\n'

    def _image(self, tokens: Sequence[Token], i: int) -> str:
        source = str(tokens[i].attrs["src"])
        size, page = self.picture(source)
        image = f'<img src="{escape(source)}" alt="{escape(tokens[i].content)}"{size}>'
        if page:
            image += (
                f'<p class="more"><a href="{escape(page)}">Open the interactive picture</a></p>'
            )
        return image


def coloured(code: str, language: str) -> str:
    """Code as HTML, every word of the language in its colour. It can be scrolled by keyboard."""
    try:
        lexer = get_lexer_by_name(language, stripnl=False)
    except ClassNotFound:
        lexer = get_lexer_by_name("text", stripnl=False)
    inside = highlight(code, lexer, HtmlFormatter(nowrap=True))
    return f'<pre tabindex="0"><code>{inside}</code></pre>'


def mathml(formula: str, display: str) -> str:
    """A formula as MathML, which browsers show without any script."""
    return convert(formula.strip(), display=display)


def _as_rule(rule: Callable[[Sequence[Token], int], str]) -> Callable[..., str]:
    def render(
        renderer: Any, tokens: Sequence[Token], i: int, options: Any, environment: Any
    ) -> str:
        return rule(tokens, i)

    return render


def _marker(content: str) -> str:
    """The build's markers become boxes; other comments are left out."""
    openings = {
        "<!-- out -->": '<div class="out">',
        "<!-- head -->": '<div class="facts">',
        "<!-- contents -->": '<div class="contents">',
    }
    stripped = content.strip()
    if stripped in openings:
        return openings[stripped]
    if stripped in ("<!-- /out -->", "<!-- /head -->", "<!-- /contents -->"):
        return "</div>\n"
    return re.sub(r"<!--.*?-->", "", content, flags=re.DOTALL)


def _lone_pictures(tokens: list[Token]) -> None:
    """A paragraph that is a picture and nothing else becomes a figure."""
    for i, token in enumerate(tokens):
        children = token.children or []
        if token.type == "inline" and [child.type for child in children] == ["image"]:
            tokens[i - 1].tag = tokens[i + 1].tag = "figure"


def _boxes(tokens: list[Token]) -> None:
    """`> [!NOTE]` and its like become boxes. Their bold first words, or a label, name them."""
    open_quotes: list[tuple[Token, bool]] = []
    for i, token in enumerate(tokens):
        if token.type == "blockquote_open":
            inline = tokens[i + 2] if i + 2 < len(tokens) else token
            match = re.match(r"\[!(\w+)\]\s*", inline.content)
            is_box = inline.type == "inline" and match is not None and match[1] in BOXES
            open_quotes.append((token, is_box))
            if match and is_box:
                kind = match[1]
                token.tag = "aside"
                token.attrSet("class", f"box {kind.lower()}")
                children = (inline.children or [])[1:]
                if children and children[0].type == "softbreak":
                    children = children[1:]
                named = any(child.type == "strong_open" for child in children[:2])
                if not named:
                    label = Token("html_inline", "", 0, content=f"<strong>{BOXES[kind]}.</strong> ")
                    children = [label, *children]
                inline.children = children
        elif token.type == "blockquote_close" and open_quotes.pop()[1]:
            token.tag = "aside"


def styles() -> str:
    """The colours of code, for light and for dark pages."""
    light = HtmlFormatter(style="default").get_style_defs("code")
    dark = HtmlFormatter(style="github-dark").get_style_defs("[data-theme=dark] code")
    keep = re.compile(r"^(code|\[data-theme=dark\] code) \.\w+ \{.*$", re.MULTILINE)
    lines = [m[0] for style in (light, dark) for m in keep.finditer(style)]
    return re.sub(r" */\*.*?\*/", "", "\n".join(lines)) + "\n"


def plain_parser() -> MarkdownIt:
    """For comments of the library: Markdown in which HTML is only text."""
    return MarkdownIt("commonmark", {"html": False}).enable("table")


def file_size(path: Path) -> str:
    """The width and height of an SVG, as attributes that keep its place while it loads."""
    head = path.read_text(encoding="utf-8")[:2000]
    match = re.search(r'<svg\b[^>]*?viewBox="[\d.-]+ [\d.-]+ ([\d.]+) ([\d.]+)"', head, re.DOTALL)
    width = re.search(r'<svg\b[^>]*?\swidth="([\d.]+)(pt|px)?"', head, re.DOTALL)
    if not match or not width:
        return ""
    shown = float(width[1]) * (4 / 3 if width[2] == "pt" else 1)
    height = shown * float(match[2]) / float(match[1])
    return f' width="{shown:.0f}" height="{height:.0f}"'
