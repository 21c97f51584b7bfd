// The sections "Break" and "Change": switches, and what they do to the sentence above.

const PARTS = {embeddings: "Embeddings", mask: "Mask", attention: "Attention", norm: "LayerNorm",
  feed_forward: "Feed-forward", block: "Block", pooler: "Pooler", masked_word: "Masked-word head",
  next_sentence: "Next-sentence head"};

const switches = () => model.mistakes.filter(({id}) => id in MISTAKES);

function buildSwitches() {
  $("switches").replaceChildren(...Object.entries(PARTS).map(([part, title]) => make("details",
    {id: `part-${part}`}, make("summary", {}, title), ...switches().filter((one) => one.part === part)
      .map(({id, symptom}) => make("label.switch", {}, make("input", {type: "checkbox", value: id,
        id: `switch-${id}`, onchange: ({target}) => turn(id, target.checked)}), symptom)))));
}

/** A mistake goes on or off; those that change the same thing go off. */
function turn(id, on) {
  const changes = switches().find((one) => one.id === id).changes;
  const excluded = switches().filter((one) => one.changes.some((what) => changes.includes(what)));
  const kept = state.mistakes.filter((other) => !excluded.some((one) => one.id === other));
  const order = switches().map((one) => one.id);
  const mistakes = on ? [...kept, id].sort((a, b) => order.indexOf(a) - order.indexOf(b)) : kept;
  const needsPadding = on && id.startsWith("mask_") && !state.padding;
  choose({mistakes, padding: needsPadding ? 3 : state.padding});
}

function buildChange({num_hidden_layers: L, num_attention_heads: A}) {
  const flip = (name, entry, on) => choose({[name]: on ?
    [...state[name].filter((other) => other !== entry), entry] :
    state[name].filter((other) => other !== entry)});
  const box = (name, entry, label) => make("label", {title: label}, make("input", {type: "checkbox",
    "aria-label": label, value: entry, id: `${name}-${entry}`,
    onchange: ({target}) => flip(name, entry, !target.checked)}));
  $("head-switches").replaceChildren(
    make("tr", {}, make("td"), make("th", {scope: "col"}, "whole block"),
      ...Array.from({length: A}, (_, a) => make("th", {scope: "col"}, `head ${a}`))),
    ...Array.from({length: L}, (_, l) => make("tr", {}, make("th", {scope: "row"}, `block ${l}`),
      make("td", {}, box("blocks_off", l, `block ${l} is on`)),
      ...Array.from({length: A}, (_, a) => make("td", {},
        box("heads_off", `${l}.${a}`, `block ${l}, head ${a} is on`))))));
}

function drawSwitches(answer) {
  for (const input of $("switches").querySelectorAll("input")) {
    input.checked = state.mistakes.includes(input.value);
    if (input.checked) input.closest("details").open = true;
  }
  for (const input of $("head-switches").querySelectorAll("input")) {
    const [name] = input.id.split("-"), off = state[name].map(String);
    input.checked = !off.includes(input.value);
  }
  const [place, piece] = Object.entries(state.replaced)[0] ?? [];
  fillTokens($("swap-place"), answer.tokens, place === undefined ? state.token : Number(place));
  if (document.activeElement !== $("swap-piece")) $("swap-piece").value = piece ?? "";
}

function drawEffect(answer, matrix) {
  const {changed, lens, pair, tokens} = answer;
  $("effect-none").hidden = Boolean(changed);
  $("effect-some").hidden = !changed;
  if (!changed) return "";
  const told = state.mistakes.map((id) => {
    const {symptom, hints: [question, place, fix]} = switches().find((one) => one.id === id);
    return make("div", {}, make("p", {}, make("b", {}, symptom)), make("details", {},
      make("summary", {}, "How would one find it?"), make("p", {}, question), make("p", {}, place),
      make("p", {}, `Right: ${fix}`)));
  });
  const off = [...state.heads_off.map((entry) => `head ${entry.split(".")[1]} of block ${
    entry.split(".")[0]}`), ...state.blocks_off.map((l) => `block ${l}`)];
  if (off.length) told.push(make("p", {}, make("b", {}, `Off: ${off.join(", ")}.`)));
  for (const [place, piece] of Object.entries(state.replaced))
    if (place in tokens) told.push(make("p", {}, make("b", {}, `Place ${place} reads `,
      `${quoted(visible(piece))} instead of ${quoted(visible(tokens[place]))}.`)));
  $("effect-told").replaceChildren(...told);
  const first = changed.first;
  const sentence = !first ? "No number of this sentence changes." + (state.mistakes.length ?
    " Some mistakes show only with padding, a second sentence or [MASK]: try them above." : "") :
    first.missing ? `The first tensor that differs is ${first.name}: it is not computed at all.` :
      `The first tensor that differs is ${first.name}, by up to ${digits(first.difference)}.`;
  $("effect-first").textContent = sentence;
  const guesses = [["before", lens], ["after", changed.lens]].filter(([, rows]) => rows);
  $("effect-lens").replaceChildren(...guesses.map(([name, rows]) => tableRow(
    [name, ...rows.at(-1).map((one) => guess(one, lens.at(-1)[0].token))])));
  $("effect-pair").textContent = pair === null ? "" : `The second sentence follows the first: ` +
    `${percent(pair)} before, ${percent(changed.pair)} after.`;
  const rows = changed.moved.map((row) => Array.from(row, (x) => Number.isFinite(x) ? x : 1));
  const cell = Math.max(14, Math.min(30, Math.floor(440 / tokens.length)));
  matrix.draw({rows, most: 1, rowNames: rows.map((_, l) => layerName(l)),
    columnNames: tokens.map((t) => visible(t, 16)), width: cell, height: 24,
    describe: (l, t) => `${layerName(l)}, the vector of ${quoted(visible(tokens[t]))} moved by ` +
      `${percent(rows[l][t])} of its length`});
  return sentence;
}
