"""The page of the heads: a grid of buttons, the chosen head's lines, a table of its numbers.

The probabilities travel as one byte each (base64), the text as JSON; the script draws the rest.
Everything is reached by keyboard: arrows move over the grid, up and down over the queries.
"""

import base64
import html
from typing import Any

from minibert.view import svg
from minibert.view.page import data_element

STYLE = """
.scroll { overflow-x: auto; padding: 4px; }
.heads { display: grid; gap: 4px; width: max-content; align-items: center; font-size: 14px; }
.heads [role=row] { display: contents; }
.heads span { color: var(--muted); text-align: center; min-width: 1.2rem; }
.heads [role=rowheader] { position: sticky; left: -4px; background: var(--ground); z-index: 1; }
.heads button { padding: 2px; border: 2px solid transparent; border-radius: 4px; line-height: 0;
  background: none; cursor: pointer; }
.heads button[aria-selected=true] { border-color: var(--mark); background: var(--mark); }
.heads canvas { width: var(--size); height: var(--size); image-rendering: pixelated; }
:root { --mark: #d55e00; }
.legend { display: flex; gap: .5rem; align-items: center; font-size: 14px; margin: .5rem 0; }
.legend canvas { width: 8rem; height: .8rem; border: 1px solid var(--rule); }
.head { display: grid; font-size: 15px;
  grid-template-columns: fit-content(9rem) minmax(3rem, 24rem) fit-content(13rem); }
#queries { display: flex; flex-direction: column; align-items: flex-end; }
.head button, .head .key { height: 28px; line-height: 26px; padding: 0 .4rem; font: inherit;
  white-space: nowrap; overflow: hidden; text-overflow: ellipsis; color: var(--ink); }
.head button { border: 1px solid transparent; border-radius: 4px; background: none;
  text-align: right; cursor: pointer; }
.head button:hover { background: var(--pale); }
.head button[aria-checked=true] { border-color: var(--mark); font-weight: bold; }
.head button { max-width: 100%; }
.head .key { line-height: 28px; }
.head .key b { display: inline-block; width: 3rem; margin-right: .6rem; text-align: right;
  font-weight: inherit; }
.head .key.most { font-weight: bold; }
.head .title { height: 28px; color: var(--muted); font-size: 14px; padding: 0 .4rem; }
.head .title.right { text-align: right; }
.head svg { width: 100%; display: block; margin-top: 28px; }
.head path { fill: none; stroke: var(--accent); vector-effect: non-scaling-stroke; }
.said { min-height: 1.6em; font-weight: 600; }
table { min-width: 18rem; border-collapse: collapse; font-size: 15px;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .3rem; color: var(--muted); }
th, td { padding: .15rem .9rem .15rem 0; border-bottom: 1px solid var(--rule); text-align: left; }
td.number, th.number { text-align: right; }
"""

BODY = """<style>{style}</style>
<noscript><p>This page is drawn by a script, which is switched off here.</p></noscript>
<h2 id="all">All heads</h2>
<p class="muted" id="keys">Rows are blocks, columns are heads. Choose one by mouse, or with
the arrow keys, Home and End; Tab leads on to the queries, which go up and down.</p>
<div class="scroll"><div class="heads" id="heads" role="grid" aria-labelledby="all"
aria-describedby="keys"></div></div>
<div class="legend" aria-hidden="true">0 % <canvas id="shades" width="64" height="1"></canvas>
100 %</div>
<h2 id="one">One head</h2>
<p class="said" id="said" role="status" aria-live="polite"></p>
<div class="head">
<div><div class="title right" id="reads">query: reads</div>
<div id="queries" role="radiogroup" aria-labelledby="reads"></div></div>
<svg id="lines" preserveAspectRatio="none" aria-hidden="true"></svg>
<div><div class="title">key: is read</div><div id="read"></div></div>
</div>
<h2>The numbers</h2>
<table><caption id="caption"></caption>
<thead><tr><th scope="col">key</th><th scope="col" class="number">place</th>
<th scope="col" class="number">probability</th></tr></thead>
<tbody id="numbers"></tbody></table>
{data}
<script>{script}</script>"""

SCRIPT = """
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const bytes = Uint8Array.from(atob(data.weights), (char) => char.charCodeAt(0));
const {blocks: L, heads: A, tokens} = data, T = tokens.length, HEIGHT = 28;
const $ = (id) => document.getElementById(id);
let {block, head, query} = data;

const weight = (b, h, q, k) => bytes[((b * A + h) * T + q) * T + k] / 255;
const percent = (w, digits = 0) => (100 * w).toFixed(digits) + "\u00a0%";
const dark = matchMedia("(prefers-color-scheme: dark)");

function add(parent, tag, attributes = {}, text = "") {
  const node = document.createElement(tag);
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  node.textContent = text;
  parent.append(node);
  return node;
}

function blue(w) {
  const stops = dark.matches ? data.night : data.day, place = w * (stops.length - 1);
  const low = Math.min(Math.floor(place), stops.length - 2);
  return stops[low].map((a, i) => Math.round(a + (stops[low + 1][i] - a) * (place - low)));
}

function paint(canvas, shade) {
  const context = canvas.getContext("2d"), {width, height} = canvas;
  const image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++)
    image.data.set([...blue(shade(Math.floor(i / width), i % width)), 255], 4 * i);
  context.putImageData(image, 0, 0);
}

function paintAll() {
  for (let b = 0; b < L; b++)
    for (let h = 0; h < A; h++)
      paint($(`head-${b}-${h}`).firstChild, (q, k) => weight(b, h, q, k));
  paint($("shades"), (_, x) => x / 63);
}

function drawGrid() {
  const grid = $("heads");
  grid.style.gridTemplateColumns = `repeat(${A + 1}, auto)`;
  grid.style.setProperty("--size", A > 8 ? "40px" : "64px");
  const top = add(grid, "div", {role: "row"});
  add(top, "span", {role: "columnheader"}, "");
  for (let h = 0; h < A; h++) add(top, "span", {role: "columnheader"}, `${h}`);
  for (let b = 0; b < L; b++) {
    const row = add(grid, "div", {role: "row"});
    add(row, "span", {role: "rowheader"}, `${b}`);
    for (let h = 0; h < A; h++) {
      const label = `block ${b}, head ${h}`;
      const button = add(row, "button", {role: "gridcell", id: `head-${b}-${h}`,
        "aria-label": label, title: label, type: "button"});
      add(button, "canvas", {width: T, height: T});
      button.addEventListener("click", () => choose(b, h, query));
    }
  }
  grid.addEventListener("keydown", (event) => {
    const moves = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0],
      Home: [0, -A], End: [0, A]};
    if (!(event.key in moves) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const inside = (value, count) => Math.max(0, Math.min(count - 1, value));
    choose(inside(block + moves[event.key][0], L), inside(head + moves[event.key][1], A), query);
    $(`head-${block}-${head}`).focus();
  });
}

function drawTokens() {
  tokens.forEach((token, place) => {
    const button = add($("queries"), "button", {role: "radio", id: `query-${place}`,
      type: "button", "aria-label": `${token}, place ${place}`}, token);
    button.addEventListener("click", () => choose(block, head, place));
    const key = add($("read"), "div", {class: "key"});
    add(key, "b");
    add(key, "span", {}, token);
  });
  $("queries").addEventListener("keydown", (event) => {
    const step = {ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1}[event.key];
    if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    choose(block, head, (query + step + T) % T);
    $(`query-${query}`).focus();
  });
  $("lines").setAttribute("viewBox", `0 0 100 ${T * HEIGHT}`);
  $("lines").style.height = `${T * HEIGHT}px`;
}

function choose(b, h, q) {
  [block, head, query] = [b, h, q];
  for (const button of $("heads").querySelectorAll("button")) {
    const chosen = button.id === `head-${b}-${h}`;
    button.setAttribute("aria-selected", chosen);
    button.tabIndex = chosen ? 0 : -1;
  }
  const row = tokens.map((_, k) => weight(b, h, q, k)), most = Math.max(...row);
  const order = tokens.map((_, k) => k).sort((i, j) => row[j] - row[i] || i - j);
  [...$("queries").children].forEach((button, place) => {
    button.setAttribute("aria-checked", place === q);
    button.tabIndex = place === q ? 0 : -1;
  });
  [...$("read").children].forEach((key, k) => {
    key.firstChild.textContent = percent(row[k]);
    key.classList.toggle("most", row[k] === most);
  });
  const svg = $("lines");
  svg.replaceChildren(...order.slice().reverse().map((k) => {
    const path = document.createElementNS(svg.namespaceURI, "path");
    const from = (q + .5) * HEIGHT, to = (k + .5) * HEIGHT;
    path.setAttribute("d", `M0 ${from}C50 ${from} 50 ${to} 100 ${to}`);
    path.setAttribute("stroke-width", .4 + 13 * row[k]);
    path.setAttribute("opacity", .35 + .65 * row[k]);
    return path;
  }));
  const name = (k) => `\\u2018${tokens[k]}\\u2019`;
  const reads = order.slice(0, 3).map((k) => `${name(k)} ${percent(row[k])}`).join(", ");
  $("said").textContent = `block ${b}, head ${h}: ${name(q)} reads ${reads}`;
  $("caption").textContent = `What ${name(q)} (place ${q}) reads in block ${b}, head ${h}`;
  $("numbers").replaceChildren(...order.map((k) => {
    const line = document.createElement("tr");
    add(line, "td", {}, tokens[k]);
    add(line, "td", {class: "number"}, `${k}`);
    add(line, "td", {class: "number"}, percent(row[k], 1));
    return line;
  }));
}

drawGrid();
drawTokens();
paintAll();
dark.addEventListener("change", paintAll);
choose(block, head, query);
$("heads").parentElement.scrollLeft = $(`head-${block}-${head}`).offsetLeft - 150;
"""
NIGHT = ((22, 27, 34), (17, 58, 120), (42, 118, 216), (121, 192, 255), (218, 240, 255))


def interactive(tokens: list[str], weights: Any, block: int, head: int, query: int) -> str:
    """The inside of the page; `weights` are lists [block][head][query][key] in 0..1."""
    flat = [round(255 * w) for heads in weights for maps in heads for row in maps for w in row]
    data = {
        "blocks": len(weights),
        "heads": len(weights[0]),
        "tokens": [svg.visible(token) for token in tokens],
        "block": block,
        "head": head,
        "query": query,
        "day": svg.BLUES,
        "night": NIGHT,
        "weights": base64.b64encode(bytes(flat)).decode(),
    }
    return BODY.format(
        style=html.escape(STYLE, quote=False), data=data_element(data), script=SCRIPT
    )
