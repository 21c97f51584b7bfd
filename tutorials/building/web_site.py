"""The chapters and the library's files as pages of a site that asks nothing of any network.

Sphinx writes it: the repository is its source, the chapters are Markdown as they stand, and the
library's files become Markdown when they are read. An extension of Sphinx, too: `setup`.
"""

import re
import shutil
import sys
import tempfile
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from minibert.bert import load
from minibert.view.live.page import live_page
from tutorials.building.chapter import (
    APPENDICES,
    Chapter,
    chapter_files,
    markdown,
    plain,
    read_chapter,
)
from tutorials.building.diagrams import AXES, CORE, SHAPE, bert_map, chapter_numbers
from tutorials.building.reference import API, api_markdown, in_rst
from tutorials.building.rules import find_quotation, targets
from tutorials.building.source import read_along, source_markdown
from tutorials.building.writing import CONTENTS, OPTIONAL, write_text

# Chapters that the live page (`minibert live`) shows at work, and what it shows for each.
LIVE = {
    "00_map": "",
    "02_words_to_pieces": "a=Zoë's+riverbank+was+unbelievably+wet!",
    "04_one_head": "a=the+river+bank+was+flooded&tensor=encoder.blocks.0.attention.scores",
    "05_twelve_heads": "a=the+river+bank+was+flooded&head=1,2",
    "06_masks": "a=the+river+bank+was+flooded&pad=3&break=mask_missing",
    "07_a_block": "a=the+river+[MASK]+was+flooded&break=attention_residual_missing",
    "09_broken_berts": "a=the+river+[MASK]+was+flooded&break=softmax_over_queries",
    "10_filling_the_blank": "a=the+river+[MASK]+was+flooded",
    "11_what_vectors_know": "a=the+river+bank+was+flooded&token=3&c=she+put+money+in+the+bank",
}

SETTINGS = {
    "project": "minibert",
    "extensions": ["myst_parser", "sphinx_copybutton", "sphinx.ext.autodoc", __name__],
    "autodoc_member_order": "bysource",
    "add_module_names": False,
    "python_maximum_signature_line_length": 80,
    "source_suffix": {".md": "markdown", ".py": "markdown"},
    "myst_enable_extensions": ["alert", "colon_fence", "dollarmath", "strikethrough"],
    "myst_dmath_allow_space": False,
    "myst_dmath_allow_digits": False,
    "myst_fence_as_directive": ["math"],
    "myst_heading_anchors": 6,
    "suppress_warnings": ["myst.xref_missing"],  # `rules` judges links, as GitHub shows them
    "copybutton_selector": "div.highlight-python pre",
    "html_math_renderer": "mathml",
    "html_theme": "furo",
    "html_title": "minibert",
    "html_static_path": [
        str(Path(__file__).with_name(name)) for name in ("style.css", "pictures.js")
    ],
    "html_css_files": ["style.css"],
    "html_js_files": ["pictures.js"],
    "html_use_index": False,
    "html_copy_source": False,
    "html_show_search_summary": False,  # it would read pages that a browser may not read from disk
    "html_show_copyright": False,
    "pygments_style": "default",
}


def setup(app: Sphinx) -> None:
    """Formulas as MathML, which needs no script; lines with anchors; links to pages alone."""

    def formula(display: str) -> tuple[Any, None]:
        def visit(translator: Any, node: nodes.Element) -> None:
            written = convert(node.astext().strip(), display=display)
            translator.body.append(written.replace(' stretchy="false"', ""))  # brackets grow
            raise nodes.SkipNode

        return visit, None

    def finish(app: Sphinx, document: nodes.document) -> None:
        for block in document.findall(nodes.literal_block):
            if block.get("linenos"):
                block["highlight_args"] |= {"lineanchors": "L", "anchorlinenos": True}
        for link in list(document.findall(pending_xref)):
            if link["refdomain"] is None:  # it leads to a folder, or to what is not there
                link.replace_self(link.children)

    def colour(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
        if "body" in context:
            context["body"] = with_tips(in_colours(context["body"]), app.config.minibert_terms)

    app.add_config_value("minibert_terms", {}, "html")
    app.add_html_math_renderer("mathml", formula("inline"), formula("block"))

    def plain_docstring(
        app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]
    ) -> None:
        lines[:] = in_rst(lines)

    app.connect("autodoc-process-docstring", plain_docstring)
    app.connect("doctree-read", finish)
    app.connect("html-page-context", colour)


def in_colours(body: str) -> str:
    """A page in which the letters of every shape, in prose and code alike, have their colours.

    >>> in_colours('<p title="(T,)">(T, 3)</p>')
    '<p title="(T,)">(<b class="axis-T">T</b>, 3)</p>'
    """
    parts = re.split(r"(<[^>]*>)", body)
    for n in range(0, len(parts), 2):
        parts[n] = SHAPE.sub(
            lambda shape: re.sub(
                f"[{''.join(AXES)}]", r'<b class="axis-\g<0>">\g<0></b>', shape[0]
            ),
            parts[n],
        )
    return "".join(parts)


def glossary_terms(path: Path) -> dict[str, str]:
    """What the glossary says of each term, by its anchor: the first sentence."""
    terms, anchor = {}, ""
    tokens = markdown().parse(path.read_text(encoding="utf-8")) if path.is_file() else []
    for token, inside in zip(tokens, tokens[1:]):
        if token.type == "heading_open":
            anchor = str(token.attrs["id"])
        elif token.type == "paragraph_open" and anchor not in terms:
            terms[anchor] = re.split(r"(?<=\.) (?=[A-Z])", plain(inside))[0]
    return terms


def with_tips(body: str, terms: dict[str, str]) -> str:
    """A page whose links to the glossary say on hovering what they lead to."""

    def tip(link: re.Match[str]) -> str:
        words = terms.get(link[2])
        return f'{link[1]} title="{escape(words)}"' if words else link[0]

    return re.sub(r'(href="[^"]*glossary\.html#([\w-]+)")', tip, body)


def write_site(root: Path, folder: Path, with_chapters: bool = True) -> Path:
    """Write every page into `folder`, nothing is run; returns the first to open."""
    files = chapter_files(root / "tutorials") if with_chapters else []
    chapters = {f"tutorials/{path.stem}": read_chapter(path) for path in files}
    sources = sources_of(root, list(chapters.values()))
    reference = [API] if with_chapters and (root / API).is_file() else []
    pages = {path.removesuffix(".py"): path for path in sources}
    first = f"tutorials/{Path(CONTENTS).stem}" if chapters else next(iter(pages))

    def read(app: Sphinx, name: str, content: list[str]) -> None:
        if f"{name}.md" == API:
            content[0] = api_markdown(content[0])
        elif name in chapters:
            content[0] = chapter_markdown(root, chapters[name])
        else:
            content[0] = source_markdown(pages[name], content[0])
        if name == first:
            lists = {
                "Chapters": [n for n, c in chapters.items() if c.name not in APPENDICES][1:],
                "Appendices": [n for n, c in chapters.items() if c.name in APPENDICES],
                "Reference": [name.removesuffix(".md") for name in reference],
                "The library, to read along": [n for n in pages if n != first],
            }
            for title, names in ((title, names) for title, names in lists.items() if names):
                below = "".join(f"/{name}\n" for name in names)
                content[0] += f"\n\n```{{toctree}}\n:hidden:\n:caption: {title}\n{below}```\n"

    with tempfile.TemporaryDirectory() as trees, docutils_namespace():
        wanted = [*(f"{name}.md" for name in chapters), *reference, *sources]
        tops = {name.split("/")[0] for name in wanted}
        settings = SETTINGS | {
            "root_doc": first,
            "include_patterns": wanted,
            "exclude_patterns": [path.name for path in root.iterdir() if path.name not in tops],
            "minibert_terms": glossary_terms(root / "tutorials/glossary.md"),
        }
        app = Sphinx(root, None, folder, trees, "html", settings, status=None, warning=sys.stderr)
        app.connect("source-read", read)
        app.build(force_all=True)
    if with_chapters and (root / "tutorials/interactive").is_dir():
        shutil.copytree(root / "tutorials/interactive", folder / "interactive", dirs_exist_ok=True)
    if chapters.keys() >= {f"tutorials/{name}" for name in LIVE}:
        page = live_page(load("minibert-tiny"), precision="int8", chapters="../tutorials/")
        write_text(folder / "interactive/live.html", page)
    index = f'<!doctype html><meta http-equiv="refresh" content="0; url={first}.html">\n'
    write_text(folder / "index.html", index)
    return folder / "index.html"


def sources_of(root: Path, chapters: list[Chapter]) -> list[str]:
    """The files to read along, and every other Python file that a chapter quotes or links."""
    paths = dict.fromkeys(read_along(root))
    for chapter in chapters:
        paths |= dict.fromkeys(quotation.path for quotation in chapter.quotations)
        for _, target in targets(chapter, markdown().parse(chapter.text)):
            name = target.partition("#")[0]
            path = (chapter.path.parent / name).resolve()
            if name.endswith(".py") and path.is_relative_to(root.resolve()):
                paths[path.relative_to(root.resolve()).as_posix()] = None
    return [path for path in paths if (root / path).is_file()]


def chapter_markdown(root: Path, chapter: Chapter) -> str:
    """A chapter in the words of MyST. What is marked becomes a box; the page has its own `nav`."""
    lines = chapter.lines
    for quotation in chapter.quotations:
        path = root / quotation.path
        source = path.read_text(encoding="utf-8") if path.is_file() else ""
        line, _, _ = find_quotation(quotation.code, source)
        lines[quotation.line - 2] = f"[{quotation.path}](/{quotation.path}#L-{line})\n\n```python"
    for cell in chapter.cells:
        if cell.needs:
            names = ", ".join(OPTIONAL.get(need, need) for need in cell.needs)
            lines[cell.line - 2] = f"*Needs {names}*\n\n```python"
    text = "\n".join(lines)
    text = re.sub(r"^<!-- nav -->.*?<!-- /nav -->", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^<!-- (out|head|contents) -->$", r":::{container} \1", text, flags=re.MULTILINE)
    text = re.sub(r"^<!-- /(out|head|contents) -->$", ":::", text, flags=re.MULTILINE)
    text = re.sub(r"^(?:<!--.*-->|# alt:.*)\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"(\.py#L)(\d+)(-L\d+)?\)", r"\1-\2)", text)
    if chapter.path.stem in LIVE and (root / "minibert").is_dir():
        link = f'<a href="../interactive/live.html#{LIVE[chapter.path.stem]}">Try it live</a>'
        text = text.replace("\n## ", f"\n{link}\n\n## ", 1)
    for page in sorted((chapter.path.parent / "interactive").glob(f"{chapter.name}-*.html")):
        address = f"../interactive/{page.name}"
        link = (
            f'\n\n<a href="{address}">Open the interactive picture</a>\n'
            "<details class=alive><summary>Or have it here</summary><iframe class=picture "
            f'loading=lazy src="{address}" title="the picture, interactive"></iframe></details>'
        )
        text = text.replace(f"](img/{page.stem}.svg)", f"](img/{page.stem}.svg){link}")
    if chapter.numbered and (root / CORE).is_dir():
        addresses = chapter_numbers(chapter.path.parent)
        pages = {number: name.replace(".md", ".html") for number, name in addresses.items()}
        drawing = bert_map(pages, f"../{CORE}", here=chapter.name[:2])
        drawing = re.sub(r'href="(\.\./[^"]*)\.py"', r'href="\1.html"', drawing)
        where = f"<details class=map><summary>You are here</summary>{drawing}</details>"
        text = re.sub(r"(?m)^# .*$", lambda title: f"{title[0]}\n\n{where}", text, count=1)
    return text
