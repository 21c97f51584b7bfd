const data = JSON.parse(document.getElementById("data").textContent);
const {blocks: L, heads: A} = data, HEIGHT = 28;

// ---- What is shown: one or two panels, each a text, a head and a query; one of them is active ----

const texts = data.texts.map((text) => {
  const bytes = Uint8Array.from(atob(text.weights), (char) => char.charCodeAt(0));
  return {...text, numbers16: new DataView(bytes.buffer)};
});
const panels = texts.map(({query}, text) => ({text, block: data.block, head: data.head, query}));
let active = 0;

function weight(text, b, h, q, k) {
  const T = text.tokens.length;
  return text.numbers16.getUint16(2 * (((b * A + h) * T + q) * T + k), true) / 65535;
}

const textOf = (panel) => texts[panel.text];

function named(text, b, h) {
  const [habit, share] = text.habits[b][h];
  return `block ${b}, head ${h} (${habit} ${percent(share)})`;
}

// ---- Drawing ----

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

// The small maps, of the text of the active panel.
function paintAll() {
  const text = textOf(panels[active]), T = text.tokens.length;
  for (let b = 0; b < L; b++)
    for (let h = 0; h < A; h++) {
      const button = $(`head-${b}-${h}`), canvas = button.firstChild;
      [canvas.width, canvas.height] = [T, T];
      button.title = named(text, b, h);
      button.setAttribute("aria-label", button.title);
      paint(canvas, (q, k) => weight(text, b, h, q, k));
    }
  paint($("shades"), (_, x) => x / 63);
}

const plainKey = (event) => !event.ctrlKey && !event.altKey && !event.metaKey;

function drawGrid() {
  const grid = $("heads");
  grid.style.gridTemplateColumns = `repeat(${A + 1}, auto)`;
  grid.style.setProperty("--size", A > 8 ? "40px" : "64px");
  const top = add(grid, "div", {role: "row"});
  add(top, "span", {role: "columnheader", "aria-label": "block"});
  for (let h = 0; h < A; h++)
    add(top, "span", {role: "columnheader", "aria-label": `head ${h}`}, `${h}`);
  for (let b = 0; b < L; b++) {
    const row = add(grid, "div", {role: "row"});
    add(row, "span", {role: "rowheader", "aria-label": `block ${b}`}, `${b}`);
    for (let h = 0; h < A; h++) {
      const button = add(row, "button", {role: "gridcell", id: `head-${b}-${h}`, type: "button"});
      add(button, "canvas");
      button.addEventListener("click", () => chooseHead(b, h));
    }
  }
  grid.addEventListener("keydown", (event) => {
    const moves = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0],
      Home: [0, -A], End: [0, A]};
    if (!(event.key in moves) || !plainKey(event)) return;
    event.preventDefault();
    const inside = (value, count) => Math.max(0, Math.min(count - 1, value));
    const {block, head} = panels[active], [down, right] = moves[event.key];
    chooseHead(inside(block + down, L), inside(head + right, A));
    $(`head-${panels[active].block}-${panels[active].head}`).focus();
  });
}

// One panel: the tokens twice, the queries as buttons.
function drawPanel(n) {
  const {tokens} = textOf(panels[n]), T = tokens.length;
  const panel = $("panel").content.cloneNode(true).firstElementChild;
  panel.id = `panel-${n}`;
  panel.querySelector(".text").textContent = texts.length > 1 ? tokens.slice(1, -1).join(" ") : "";
  const queries = panel.querySelector(".queries"), read = panel.querySelector(".read");
  tokens.forEach((token, place) => {
    const button = add(queries, "button", {role: "radio", type: "button",
      "aria-label": `${token}, place ${place}`}, token);
    button.addEventListener("click", () => chooseQuery(n, place));
    const key = add(read, "div", {class: "key"});
    add(key, "b");
    add(key, "span", {}, token);
  });
  queries.addEventListener("keydown", (event) => {
    const step = {ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1}[event.key];
    if (!step || !plainKey(event)) return;
    event.preventDefault();
    chooseQuery(n, (panels[n].query + step + T) % T);
    queries.children[panels[n].query].focus();
  });
  const svg = panel.querySelector(".lines");
  svg.setAttribute("viewBox", `0 0 100 ${T * HEIGHT}`);
  svg.style.height = `${T * HEIGHT}px`;
  $("panels").append(panel);
}

// ---- Choosing ----

function chooseHead(block, head) {
  Object.assign(panels[active], {block, head});
  if (texts.length > 1) for (const panel of panels) Object.assign(panel, {block, head});
  show();
}

function chooseQuery(n, query) {
  const other = panels[n].text !== panels[active].text;
  active = n;
  panels[n].query = query;
  if (other) paintAll();
  show();
}

function show() {
  const {block, head} = panels[active];
  for (const button of $("heads").querySelectorAll("button")) {
    const chosen = button.id === `head-${block}-${head}`;
    button.setAttribute("aria-selected", chosen);
    button.tabIndex = chosen ? 0 : -1;
  }
  panels.forEach(showPanel);
  showNumbers();
}

function rowOf({text, block, head, query}) {
  const row = texts[text].tokens.map((_, k) => weight(texts[text], block, head, query, k));
  return [row, row.map((_, k) => k).sort((i, j) => row[j] - row[i] || i - j)];
}

function showPanel(state, n) {
  const panel = $(`panel-${n}`), text = textOf(state), [row, order] = rowOf(state);
  const {block, head, query} = state, most = Math.max(...row);
  panel.classList.toggle("active", n === active && panels.length > 1);
  [...panel.querySelector(".queries").children].forEach((button, place) => {
    button.setAttribute("aria-checked", place === query);
    button.tabIndex = place === query ? 0 : -1;
  });
  [...panel.querySelector(".read").children].forEach((key, k) => {
    key.firstChild.textContent = percent(row[k]);
    key.classList.toggle("most", row[k] === most);
  });
  const svg = panel.querySelector(".lines");
  svg.replaceChildren(...order.slice().reverse().map((k) => {
    const path = document.createElementNS(svg.namespaceURI, "path");
    const from = (query + .5) * HEIGHT, to = (k + .5) * HEIGHT;
    path.setAttribute("d", `M0 ${from}C50 ${from} 50 ${to} 100 ${to}`);
    path.setAttribute("stroke-width", .4 + 13 * row[k]);
    path.setAttribute("opacity", .35 + .65 * row[k]);
    return path;
  }));
  const name = (k) => `\u2018${text.tokens[k]}\u2019`;
  const reads = order.slice(0, 3).map((k) => `${name(k)} ${percent(row[k])}`).join(", ");
  panel.querySelector(".said").textContent =
    `${named(text, block, head)}: ${name(query)} reads ${reads}`;
}

function showNumbers() {
  const state = panels[active], {tokens} = textOf(state), [row, order] = rowOf(state);
  $("caption").textContent = `What \u2018${tokens[state.query]}\u2019 (place ${state.query}) ` +
    `reads in block ${state.block}, head ${state.head}`;
  $("numbers").replaceChildren(...order.map((k) => {
    const line = document.createElement("tr");
    add(line, "td", {}, tokens[k]);
    add(line, "td", {class: "number"}, `${k}`);
    add(line, "td", {class: "number"}, percent(row[k]));
    return line;
  }));
}

// With one text, a second panel for another of its heads; the grid then chooses for that one.
$("beside").addEventListener("click", () => {
  const two = panels.length < 2;
  if (two) panels.push({...panels[0]});
  else panels.pop();
  if (two) drawPanel(1);
  else $("panel-1").remove();
  active = two ? 1 : 0;
  $("beside").setAttribute("aria-pressed", two);
  show();
});

$("beside").parentElement.hidden = texts.length > 1;
drawGrid();
panels.forEach((_, n) => drawPanel(n));
paintAll();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paintAll);
addEventListener("theme", paintAll);
show();
$("heads").parentElement.scrollLeft = $(`head-${data.block}-${data.head}`).offsetLeft - 150;
