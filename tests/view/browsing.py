"""What tests ask of a page in Chromium: its width, its ground, and what a screen reader gets."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

UNHEARD = ("generic", "none", "InlineTextBox", "LineBreak", "")


class Heard(NamedTuple):
    """A node of the tree that Chromium hands to screen readers, in reading order."""

    role: str
    name: str
    focusable: bool
    level: int
    inside: list["Heard"]


def heard(browser) -> list[Heard]:
    """All nodes that are not ignored, parents before their children."""
    browser.execute_cdp_cmd("Accessibility.enable", {})
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    browser.execute_cdp_cmd("Accessibility.disable", {})
    by_id = {node["nodeId"]: node for node in nodes}

    def walk(node: dict[str, Any]) -> list[Heard]:
        below = [each for id in node.get("childIds", ()) if id in by_id for each in walk(by_id[id])]
        if node.get("ignored"):
            return below
        has = {each["name"]: each["value"].get("value") for each in node.get("properties", ())}
        role, name = (node.get(key, {}).get("value", "") for key in ("role", "name"))
        return [Heard(role, name.strip(), bool(has.get("focusable")), has.get("level", 0), below),
                *below]  # fmt: skip

    return walk(nodes[0])


def unheard(nodes: list[Heard]) -> Iterator[str]:
    """What a reader who does not see would miss: a sentence for each fault."""
    level = 0
    for role, name, focusable, own_level, inside in nodes:
        if focusable and (role in UNHEARD or not name):
            yield f"one can go to {role!r}, which has no role or no name: {inside[:3]}"
        if role in ("image", "img", "columnheader", "rowheader", "heading", "region") and not name:
            yield f"{role} without a name"
        if role in ("table", "grid"):
            roles = {node.role for node in inside}
            if not roles & {"columnheader", "rowheader"}:
                yield f"{role} {name!r} without headers"
        if role == "heading":
            if own_level > level + 1:
                yield f"heading {name!r} of level {own_level} under one of level {level}"
            level = own_level
    if sum(node.role == "main" for node in nodes) != 1:
        yield "not one main part"


@contextmanager
def emulated(browser, width: int, dark: bool = False) -> Iterator[None]:
    """The window is so wide (a phone's below 500) and the reader wants light or dark."""
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    try:
        yield
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def too_wide(browser, *widths: int) -> list[int]:
    """The widths at which the page would have to be moved sideways."""
    wide = []
    for width in widths:
        with emulated(browser, width):
            if browser.execute_script("return document.documentElement.scrollWidth") > width:
                wide.append(width)
    return wide


def grounds(browser) -> list[str]:
    """The colours of the ground in light and in dark."""
    colours = []
    for dark in (False, True):
        with emulated(browser, 1200, dark):
            colours.append(
                browser.execute_script("return getComputedStyle(document.body).backgroundColor")
            )
    return colours
