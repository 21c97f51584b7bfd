// The sections "Attend", "Vectors", "Inside" and "Compare": what stands in the model's tensors.

let maps = [];  // of the heads, block by block

function buildHeads({num_hidden_layers: L, num_attention_heads: A}) {
  const grid = $("heads");
  grid.style.gridTemplateColumns = `repeat(${A + 1}, auto)`;
  grid.style.setProperty("--size", A > 8 ? "34px" : "56px");
  const top = make("div", {role: "row"}, make("span", {role: "columnheader", "aria-label": "block"}));
  for (let a = 0; a < A; a++)
    top.append(make("span", {role: "columnheader", "aria-label": `head ${a}`}, a));
  maps = [];
  grid.replaceChildren(top, ...Array.from({length: L}, (_, l) => {
    const row = make("div", {role: "row"}, make("span", {role: "rowheader", "aria-label": `block ${l}`}, l));
    for (let a = 0; a < A; a++) {
      const canvas = make("canvas", {width: 1, height: 1}), name = `block ${l}, head ${a}`;
      row.append(make("button", {type: "button", role: "gridcell", "aria-label": name, title: name,
        id: `head-${l}-${a}`, onclick: () => choose({block: l, head: a}, false)}, canvas));
      maps.push({l, a, canvas});
    }
    return row;
  }));
  grid.onkeydown = (event) => {
    const [dl, da] = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0],
      ArrowDown: [1, 0], Home: [0, -A], End: [0, A]}[event.key] ?? [];
    if (dl === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const inside = (value, count) => Math.max(0, Math.min(count - 1, value));
    choose({block: inside(state.block + dl, L), head: inside(state.head + da, A)}, false);
    $(`head-${state.block}-${state.head}`).focus();
  };
}

function drawMaps({probabilities}) {
  for (const {l, a, canvas} of maps) paint(canvas, probabilities[l][a]);
}

function drawHead({probabilities, tokens}, matrix) {
  const {block, head} = state, rows = probabilities[block][head], T = tokens.length;
  for (const button of $("heads").querySelectorAll("button")) {
    const chosen = button.id === `head-${block}-${head}`;
    button.setAttribute("aria-selected", chosen);
    button.tabIndex = chosen ? 0 : -1;
  }
  $("head-name").textContent = `Block ${block}, head ${head}`;
  const cell = Math.max(12, Math.min(30, Math.floor(440 / T))), names = tokens.map((t) => visible(t, 16));
  matrix.draw({rows, rowNames: names, columnNames: names, width: cell, height: cell,
    describe: (q, k) => {
      const order = [...rows[q].keys()].sort((i, j) => rows[q][j] - rows[q][i]).slice(0, 3);
      const most = order.map((i) => `${quoted(visible(tokens[i]))} ${percent(rows[q][i])}`).join(", ");
      return `${quoted(visible(tokens[q]))} reads ${quoted(visible(tokens[k]))} ` +
        `${percent(rows[q][k])}; most of all it reads ${most}`;
    }});
}

function drawVectors({states, tokens}, matrix) {
  const token = Math.min(state.token, tokens.length - 1), rows = states.map((layer) => layer[token]);
  fillTokens($("vector-token"), tokens, token);
  const H = rows[0].length, width = Math.max(1, Math.min(4, Math.floor(900 / H)));
  matrix.draw({rows, most: 2.5, rowNames: rows.map((_, l) => layerName(l)), width, height: 20,
    describe: (l, h) => `${layerName(l)}, number ${h} of ${quoted(visible(tokens[token]))}: ` +
      `${digits(rows[l][h])}`});
  $("vector-table").replaceChildren(...rows.map((row, l) => {
    const others = [...tokens.keys()].filter((t) => t !== token);
    const alike = others.map((t) => cosine(row, states[l][t])), best = Math.max(...alike);
    return tableRow([layerName(l), l ? cosine(row, rows[l - 1]).toFixed(2) : "", visible(
      tokens[others[alike.indexOf(best)]] ?? "", 20), best.toFixed(2), norm(row).toFixed(1)]);
  }));
}

/** The options of a select: the tokens with their places. */
function fillTokens(select, tokens, chosen) {
  select.replaceChildren(...tokens.map((token, place) => make("option",
    {value: place, selected: place === chosen}, `${place}  ${visible(token, 24)}`)));
}

// ---- Inside: any tensor, and where each of its numbers comes from

async function drawInside(matrix) {
  const names = await asking.ask("names");
  if (!names.includes(state.tensor)) state.tensor = START.tensor;
  if (!names.includes(state.tensor)) return;
  const select = $("tensor");
  if (select.options.length !== names.length)
    select.replaceChildren(...names.map((name) => make("option", {value: name}, name)));
  select.value = state.tensor;
  const name = state.tensor, tensor = await asking.ask("tensor", {name});
  if (!answer || !tensor || name !== state.tensor) return;  // another model or choice came meanwhile
  const {tokens, masked} = answer, isHeads = tensor[0][0].length > 0;  // the newest, as the tensor is
  $("slices").hidden = !isHeads;
  const slice = isHeads ? Math.min(state.slice, tensor.length - 1) : 0;
  if (isHeads && $("slice").options.length !== tensor.length)
    $("slice").replaceChildren(...tensor.map((_, a) => make("option", {value: a}, `head ${a}`)));
  $("slice").value = slice;
  const rows = (isHeads ? tensor[slice] : tensor).map((row) => row.map((x) => x < -1e30 ? NaN : x));
  const words = name.startsWith("masked_word");
  const places = words ? masked : [...rows.keys()];
  const squares = rows.flatMap((row) => [...row]).filter(Number.isFinite).map((x) => x * x);
  const most = 2 * Math.sqrt(squares.reduce((a, b) => a + b, 0) / squares.length) || 1;
  const columns = rows[0].length, width = isHeads ? 24 : Math.max(1, Math.min(8, Math.floor(900 / columns)));
  const index = (r, c) => isHeads ? [slice, r, c] : [r, c];
  matrix.onMove = (r, c) => asking.latest("explain", {name, index: index(r, c)},
    (explained) => {
      drawExplained(explained);
      if (document.activeElement === matrix.canvas)
        announce(`${matrix.said.textContent}. ${$("formula").textContent}`);
    }, () => {});
  matrix.draw({rows, most, width, height: isHeads ? 24 : 18,
    rowNames: rows.map((_, r) => visible(tokens[places[r]] ?? "", 16)),
    columnNames: isHeads ? rows.map((_, r) => visible(tokens[r], 16)) : null,
    describe: (r, c) => `${name}, ${isHeads ? `head ${slice}, ` : ""}row ${r}, column ${c}: ` +
      `${Number.isFinite(rows[r][c]) ? digits(rows[r][c]) : "the most negative number"}`});
  matrix.onMove(...matrix.cursor);
}

function drawExplained({value, sentence, row, column, labels, rest}) {
  $("explained").hidden = false;
  $("formula").textContent = `${digits(value)} = ${sentence}`;
  $("product").hidden = !row;
  if (!row) return;
  const products = Array.from(row, (x, i) => x * column[i]);
  const most = (numbers) => Math.max(...numbers.map(Math.abs)) || 1;
  for (const [id, numbers] of [["side-row", row], ["side-column", column], ["side-product", products]])
    paint($(id), [numbers], most([...numbers]));
  $("label-row").textContent = labels[0];
  $("label-column").textContent = labels[1];
  const order = [...products.keys()].sort((i, j) => Math.abs(products[j]) - Math.abs(products[i]));
  const largest = order.slice(0, 4).map((i) =>
    `${digits(row[i])} × ${digits(column[i])} = ${digits(products[i])}`);
  const sum = products.reduce((a, b) => a + b, 0);
  $("largest").textContent = `${products.length} products; the largest: ${largest.join("; ")}. ` +
    `Their sum is ${digits(sum)}, ${rest}.`;
}

// ---- Compare: one word in two sentences

function drawCompare(answer, other) {
  const pick = other && Math.min(state.pick ?? sameWord(answer, other), other.tokens.length - 1);
  const token = Math.min(state.token, answer.tokens.length - 1);
  fillTokens($("compare-first"), answer.tokens, token);
  $("compare-result").hidden = !other;
  if (!other) return "";
  fillTokens($("compare-second"), other.tokens, pick);
  $("compare-table").replaceChildren(...answer.states.map((layer, l) => {
    const alike = cosine(layer[token], other.states[l][pick]), bar = make("i.bar");
    bar.style.setProperty("--share", Math.max(alike, 0));
    return tableRow([layerName(l), alike.toFixed(2), bar]);
  }));
  const first = cosine(answer.states[0][token], other.states[0][pick]);
  const last = cosine(answer.states.at(-1)[token], other.states.at(-1)[pick]);
  const said = `${quoted(visible(answer.tokens[token]))} above and ` +
    `${quoted(visible(other.tokens[pick]))} here: cosine ${first.toFixed(2)} in the embeddings, ` +
    `${last.toFixed(2)} after the last block.`;
  $("compare-said").textContent = said;
  return said;
}

/** Where the other sentence has the same token, else its first word. */
function sameWord(answer, other) {
  const place = other.tokens.indexOf(answer.tokens[Math.min(state.token, answer.tokens.length - 1)]);
  return place > 0 ? place : 1;
}
