"""The page that a picture stands on: one file, no request to anywhere, light and dark.

The policy in its head forbids the browser every load, so that the page cannot ask for anything
even by mistake. Data for scripts stands in an element of its own, with < written as \\u003c, so
that no text can end the element early.
"""

import html
import json
from typing import Any

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1b1f24; --muted: #57606a;
  --rule: #d0d7de; --pale: #f6f8fa; --accent: #0969da; }
@media (prefers-color-scheme: dark) { :root { --ground: #0d1117; --ink: #e6edf3;
  --muted: #9da7b3; --rule: #3d444d; --pale: #161b22; --accent: #58a6ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; background: var(--ground);
  color: var(--ink); font: 16px/1.5 system-ui, Helvetica, Arial, sans-serif; }
h1 { font-size: 1.35rem; line-height: 1.3; margin: .3rem 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 1.4rem 0 .4rem; }
p { margin: .3rem 0 .8rem; max-width: 44rem; }
.muted { color: var(--muted); }
.drawing { overflow-x: auto; background: #fff; border-radius: 6px; }
.drawing svg { display: block; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 1px; }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{note}{content}
</main>
</body>
</html>
"""


def stand_alone(title: str, note: str, content: str) -> str:
    """`content` is HTML; title and note are text."""
    note = f'<p class="muted">{html.escape(note)}</p>\n' if note else ""
    title = html.escape(title)
    return PAGE.format(policy=POLICY, title=title, style=STYLE, note=note, content=content)


def data_element(values: dict[str, Any]) -> str:
    """Values for a script: JSON.parse(document.getElementById("data").textContent).

    >>> data_element({"tokens": ["</script>"]})
    '<script type="application/json" id="data">{"tokens":["\\\\u003c/script>"]}</script>'
    """
    content = json.dumps(values, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="data">{content}</script>'
