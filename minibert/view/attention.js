"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const bytes = Uint8Array.from(atob(data.weights), (char) => char.charCodeAt(0));
const numbers16 = new DataView(bytes.buffer);
const {blocks: L, heads: A, tokens} = data, T = tokens.length, HEIGHT = 28;
const $ = (id) => document.getElementById(id);
let {block, head, query} = data;

const weight = (b, h, q, k) =>
  numbers16.getUint16(2 * (((b * A + h) * T + q) * T + k), true) / 65535;
const percent = (w, digits = 1) => (100 * w).toFixed(digits) + " %";

function add(parent, tag, attributes = {}, text = "") {
  const node = document.createElement(tag);
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  node.textContent = text;
  parent.append(node);
  return node;
}

function blue(w) {
  const stops = isDark() ? data.night : data.day, place = w * (stops.length - 1);
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

function named(b, h) {
  const [habit, share] = data.habits[b][h];
  return `block ${b}, head ${h} (${habit} ${share.toFixed(2)})`;
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
      const label = named(b, h);
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
  const name = (k) => `\u2018${tokens[k]}\u2019`;
  const reads = order.slice(0, 3).map((k) => `${name(k)} ${percent(row[k])}`).join(", ");
  $("said").textContent = `${named(b, h)}: ${name(q)} reads ${reads}`;
  $("caption").textContent = `What ${name(q)} (place ${q}) reads in block ${b}, head ${h}`;
  $("numbers").replaceChildren(...order.map((k) => {
    const line = document.createElement("tr");
    add(line, "td", {}, tokens[k]);
    add(line, "td", {class: "number"}, `${k}`);
    add(line, "td", {class: "number"}, percent(row[k], 2));
    return line;
  }));
}

drawGrid();
drawTokens();
paintAll();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paintAll);
addEventListener("theme", paintAll);
choose(block, head, query);
$("heads").parentElement.scrollLeft = $(`head-${block}-${head}`).offsetLeft - 150;
