"""A picture: SVG text, the page around it, and how it is saved and shown.

The page is one file, page.html with page.css: no request to anywhere, light and dark.
"""

import dataclasses
import html
import io
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from minibert.system.files import check_writable, written_whole
from minibert.view import svg

# It forbids the browser every load: the page cannot ask for anything, even by mistake.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


@dataclasses.dataclass(frozen=True)
class Picture:
    """What every function of `minibert.view` gives.

    svg          the drawing, for GitHub or print: the same text in every run
    title        what it is about
    note         how to read it
    interactive  for some pictures: what stands on the page in place of the drawing
    below        for some: what stands on the page below it, as HTML

    >>> picture = Picture('<svg xmlns="http://www.w3.org/2000/svg"/>', "Nothing")
    >>> "<h1>Nothing</h1>" in picture.page()
    True
    """

    svg: str
    title: str
    note: str = ""
    interactive: str = ""
    below: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", svg.visible(self.title))  # no mark that turns it round

    def __repr__(self) -> str:
        return f"Picture({self.title!r}); .save('picture.html') writes it"

    def page(self) -> str:
        """A page of HTML in one file: no network, light and dark."""
        frame = '<div class="drawing" tabindex="0" role="group" aria-label="Drawing">'
        drawing = f"{frame}{_without_heading(self.svg)}</div>"
        return text_of("page.html").format(
            policy=POLICY,
            title=html.escape(self.title),
            style=text_of("page.css"),
            note=f'<p class="muted">{html.escape(self.note)}</p>\n' if self.note else "",
            content=(self.interactive or drawing) + self.below,
        )

    def save(self, path: str | Path) -> Path:
        """Write x.svg (the drawing) or x.html (the page), whole or not at all; gives the path.

        Raises ValueError for another ending, OSError if the file cannot be written.
        """
        path = Path(path)
        check_name(path)
        with written_whole(path) as temporary:
            temporary.write_bytes(self.content(path.suffix))
        return path

    def content(self, suffix: str) -> bytes:
        """What stands in a file that ends in `suffix`, .svg or .html."""
        return (self.svg + "\n" if suffix == ".svg" else self.page()).encode("utf-8")

    def _repr_html_(self) -> str:
        """What a notebook shows: a page in a frame, or the drawing itself."""
        if not self.interactive:
            return f'<div style="background:#fff;overflow-x:auto">{self.svg}</div>'
        page = html.escape(self.page(), quote=True)
        style = "width:100%;height:960px;border:0"
        return (
            f'<iframe srcdoc="{page}" title="{html.escape(self.title)}" style="{style}"></iframe>'
        )


def picture_of(figure: Any, title: str) -> Picture:
    """A figure of matplotlib as a picture: its words are text, its bytes the same in every run."""
    import matplotlib

    written = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.hashsalt": "minibert", "svg.fonttype": "none"}):
        figure.savefig(written, format="svg", metadata=nothing)
    drawing = written.getvalue()
    drawing = drawing[drawing.index("<svg ") :].rstrip()
    name = quoteattr(svg.visible(title))
    return Picture(drawing.replace("<svg ", f'<svg role="img" aria-label={name} ', 1), title)


def check_name(path: Path) -> None:
    """Raise now what `save` would raise after the work: ValueError for the name, or OSError."""
    if path.suffix not in (".svg", ".html"):
        raise ValueError(f"expected a name that ends in .svg or .html, got {path.name!r}")
    check_writable(path)


def text_of(name: str) -> str:
    """A file of this folder: CSS, JavaScript, or HTML with {names} to fill in."""
    return resources.files("minibert.view").joinpath(name).read_text(encoding="utf-8")


def data_element(values: dict[str, Any]) -> str:
    """Values for a script: JSON.parse(document.getElementById("data").textContent).

    < is written as \\u003c, so that no text in the values can end the element early.

    >>> data_element({"tokens": ["</script>"]})
    '<script type="application/json" id="data">{"tokens":["\\\\u003c/script>"]}</script>'
    """
    content = json.dumps(values, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="data">{content}</script>'


def _without_heading(drawing: str) -> str:
    """The drawing below its title; on a page title and note stand above it."""
    heading = re.search(r'<g class="heading" data-height="(\d+)">.*?</g>\n', drawing, re.DOTALL)
    if heading is None:
        return drawing

    def lower(size: re.Match[str]) -> str:
        width, height = size.groups()
        left = int(height) - int(heading[1])
        return f'height="{left}" viewBox="0 {heading[1]} {width} {left}"'

    drawing = drawing.replace(heading[0], "", 1)
    return re.sub(r'height="\d+" viewBox="0 0 (\d+) (\d+)"', lower, drawing, count=1)
