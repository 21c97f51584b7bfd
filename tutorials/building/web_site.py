"""The chapters and the library's files as pages of a site that asks nothing of any network."""

import re
import shutil
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template

from tutorials.building.chapter import Chapter, chapter_files, markdown, read_chapter
from tutorials.building.rules import ELSEWHERE, find_quotation, targets
from tutorials.building.source import page_name, read_along, source_html
from tutorials.building.to_html import Body, Converter, file_size, styles
from tutorials.building.writing import CONTENTS, neighbours, write_text

HERE = Path(__file__).parent


@dataclass
class Site:
    """Which pages there are. `sources` are the library's files, from the repository's root."""

    root: Path
    folder: Path
    chapters: list[Chapter] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    interactive: set[str] = field(default_factory=set)

    def navigation(self, current: str, up: str) -> str:
        """The list of all pages."""
        numbered = [c for c in self.chapters if c.numbered]
        others = [c for c in self.chapters if not c.numbered and c.path.name != CONTENTS]
        parts = []
        for title, chapters in (("Chapters", numbered), ("Appendices", others)):
            pages = [(chapter.title, chapter_page(chapter)) for chapter in chapters]
            parts.append(link_list(title, pages, current, up))
        along = [path for path in read_along(self.root) if path in self.sources]
        files = [(path, f"source/{page_name(path)}") for path in along]
        parts.append(link_list("The library, to read along", files, current, up))
        return "\n".join(part for part in parts if part)


def write_site(root: Path, folder: Path, interactive: dict[str, str]) -> Path:
    """Write every page into `folder`; returns the first to open.

    `interactive` holds the pages of the pictures that have one, by the names of the figures.
    """
    chapters = [read_chapter(path) for path in chapter_files(root / "tutorials")]
    site = Site(root, folder, chapters, sources_of(root, chapters))
    for figure, page in interactive.items():
        name = Path(figure).with_suffix(".html").name
        write_text(folder / "interactive" / name, page)
        site.interactive.add(name)
    for picture in sorted((root / "tutorials" / "img").glob("*")):
        (folder / "img").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, folder / "img" / picture.name)
    for chapter in chapters:
        write_chapter(site, chapter)
    return write_sources(site)


def write_source(root: Path, folder: Path) -> Path:
    """Write only the pages of the files to read along."""
    return write_sources(Site(root, folder, sources=read_along(root)))


def write_sources(site: Site) -> Path:
    for path in site.sources:
        write_source_page(site, path)
    write_text(site.folder / "style.css", (HERE / "style.css").read_text("utf-8") + styles())
    write_text(site.folder / "page.js", (HERE / "page.js").read_text("utf-8"))
    index = site.folder / "index.html"
    if not any(chapter.path.name == CONTENTS for chapter in site.chapters):
        body = "<h1>minibert, file by file</h1>"
        write_page(site, "index.html", Body(body), "minibert, file by file", "", "chapter")
    return index


def sources_of(root: Path, chapters: list[Chapter]) -> list[str]:
    """The files to read along, and every other Python file that a chapter quotes or links."""
    found = dict.fromkeys(read_along(root))
    for chapter in chapters:
        found |= dict.fromkeys(quotation.path for quotation in chapter.quotations)
        for _, target in targets(chapter, markdown().parse(chapter.text)):
            name = target.partition("#")[0]
            path = (chapter.path.parent / name).resolve()
            if name.endswith(".py") and path.is_relative_to(root.resolve()):
                found[path.relative_to(root.resolve()).as_posix()] = None
    return [path for path in found if (root / path).is_file()]


def write_chapter(site: Site, chapter: Chapter) -> None:
    text = chapter.text
    if nav := chapter.blocks.get("nav"):  # the page has its own
        lines = chapter.lines
        text = "\n".join(lines[: nav.start] + lines[nav.end :])

    def address(target: str) -> str | None:
        return page_of(site, chapter, target)

    def picture(source: str) -> tuple[str, str | None]:
        path = chapter.path.parent / source
        page = Path(source).with_suffix(".html").name
        size = file_size(path) if path.is_file() else ""
        return size, f"interactive/{page}" if page in site.interactive else None

    def quotation(path: str, code: str) -> str | None:
        if path not in site.sources:
            return None
        line, _, _ = find_quotation(code.rstrip("\n"), (site.root / path).read_text("utf-8"))
        return f"source/{page_name(path)}#L{line}"

    body = Converter(address, picture, quotation).body(text)
    before, after = neighbours(chapter, site.chapters)
    links = []
    if before:
        title = escape(before.title)
        links.append(f'<a rel="prev" href="{chapter_page(before)}">← {title}</a>')
    if after:
        title = escape(after.title)
        links.append(f'<a class="next" rel="next" href="{chapter_page(after)}">{title} →</a>')
    name = chapter_page(chapter)
    write_page(site, name, body, chapter.title, "\n".join(links), "chapter")


def write_source_page(site: Site, path: str) -> None:
    inside, headings = source_html((site.root / path).read_text(encoding="utf-8"))
    body = Body(f"<h1><code>{escape(path)}</code></h1>\n{inside}", headings)
    along = read_along(site.root)
    links = []
    if path in along:
        i = along.index(path)
        for other, label in ((i - 1, "← {}"), (i + 1, "{} →")):
            if 0 <= other < len(along):
                kind = ' class="next"' if other > i else ""
                text = label.format(escape(along[other]))
                links.append(f'<a{kind} href="{page_name(along[other])}">{text}</a>')
    write_page(site, f"source/{page_name(path)}", body, path, "\n".join(links), "source")


def write_page(site: Site, name: str, body: Body, title: str, around: str, kind: str) -> None:
    up = "../" * name.count("/")
    entries = "".join(
        f'<li><a href="#{anchor}">{escape(text)}</a></li>'
        for level, anchor, text in body.headings
        if level == 2
    )
    toc = ""
    if entries:
        toc = (
            '<details class="toc" open><summary>On this page</summary>'
            f'<nav aria-label="On this page"><ul>{entries}</ul></nav></details>'
        )
    page = Template((HERE / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape(title),
        up=up,
        kind=kind,
        toc=toc,
        body=body.html,
        around=around,
        pages=site.navigation(name, up),
    )
    write_text(site.folder / name, page)


def link_list(title: str, pages: list[tuple[str, str]], current: str, up: str) -> str:
    """A list of links under a heading; the page itself is marked."""
    if not pages:
        return ""
    items = "\n".join(
        f'<li><a href="{up}{page}"{" aria-current=page" if page == current else ""}>'
        f"{escape(text)}</a></li>"
        for text, page in pages
    )
    return f"<h2>{escape(title)}</h2>\n<ul>\n{items}\n</ul>"


def chapter_page(chapter: Chapter) -> str:
    return "index.html" if chapter.path.name == CONTENTS else f"{chapter.name}.html"


def page_of(site: Site, chapter: Chapter, target: str) -> str | None:
    """Where a link of a chapter leads on the site; None for a file that is no page of it."""
    if ELSEWHERE.match(target) or target.startswith("#"):
        return target
    name, mark, anchor = target.partition("#")
    path = (chapter.path.parent / name).resolve()
    for other in site.chapters:
        if other.path.resolve() == path:
            return chapter_page(other) + mark + anchor
    if path.is_relative_to(site.root.resolve()):
        inside = path.relative_to(site.root.resolve()).as_posix()
        if inside in site.sources:
            return f"source/{page_name(inside)}{mark}{re.sub('-L.*', '', anchor)}"
    if path.parent.name == "img":
        return target
    return None
