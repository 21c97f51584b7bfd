// The sections "Read" and "Guess": the tokens, how the text became them, and what BERT would put
// at [MASK] after each block.

function drawTokens(answer) {
  const strip = $("tokens");
  const focused = [...strip.children].indexOf(document.activeElement);
  strip.replaceChildren(...answer.tokens.map((token, place) => {
    const hidden = state.masks.includes(place), real = answer.attention_mask[place];
    const what = hidden ? `hidden by you; was ${answer.typed[place]}` : real ? "" : "padding";
    const id = answer.input_ids[place];
    return make(`button.token${answer.token_type_ids[place] ? ".second" : ""}${real ? "" : ".pad"}`,
      {type: "button", "aria-pressed": String(hidden), disabled: !real,
        title: `${what ? `${what}. ` : ""}Place ${place}, id ${id}, ` +
          `segment ${answer.token_type_ids[place]}`,
        onclick: () => choose({masks: hidden ? state.masks.filter((other) => other !== place)
          : [...state.masks, place].sort((a, b) => a - b), place: hidden ? null : place})},
      make("b", {}, visible(token)), make("small", {}, id));
  }));
  strip.children[focused]?.focus();
}

const RULES = {
  clean: "Clean: spaces become one kind, control characters go",
  isolate_ideographs: "Chinese characters stand alone",
  strip_accents: "Accents go",
  lowercase: "Capitals become small",
  isolate_punctuation: "Punctuation stands alone",
  "longest match": "A word becomes pieces, the longest first",
  "special token": "A special token stays whole",
};

function drawSteps({steps}) {
  const shown = steps.filter(({changes}) => changes.length);
  $("steps").replaceChildren(...shown.map(({rule, after, changes}) => {
    const told = changes.slice(0, 8).map(([before, now]) => now === "no" ?
      `${visible(before)} no` : `${visible(before)} → ${visible(String(now).trim() || "nothing")}`);
    return tableRow([RULES[rule] ?? rule, told.join(", ") + (changes.length > 8 ? ", …" : ""),
      make("code", {}, visible(after, 80))]);
  }));
}

/** One guess: the piece, its share, and a bar as long as that. */
function guess({token, share}, best) {
  const bar = make("i.bar");
  bar.style.setProperty("--share", share);
  return make(`span.guess${token === best ? ".best" : ""}`, {}, make("b", {}, visible(token, 24)),
    make("small", {}, percent(share)), bar);
}

const layerName = (layer) => layer ? `after block ${layer - 1}` : "embeddings";

function drawLens({lens, masked, place, tokens, pair}, about) {
  $("masked").replaceChildren(...(masked.length > 1 ? masked : []).map((other) =>
    make("button", {type: "button", "aria-pressed": String(other === place),
      onclick: () => choose({place: other})}, `[MASK] at place ${other}`)));
  const best = lens?.at(-1)[0].token;
  $("lens").replaceChildren(...(lens ?? []).map((guesses, layer) => tableRow(
    [layerName(layer), ...guesses.map((one) => guess(one, best))])));
  $("lens-table").hidden = !lens;
  $("no-lens").textContent = lens ? "" : !about.masked_word ?
    "This model has no masked-word head: it cannot guess." :
    "Nothing is hidden. Click a token above, or type [MASK].";
  $("pair").textContent = pair === null ? "" :
    `The second sentence follows the first: ${percent(pair)}, says the next-sentence head.`;
  return lens ? `At place ${place} BERT guesses ${lens.at(-1).slice(0, 3)
    .map(({token, share}) => `${visible(token)} ${percent(share)}`).join(", ")}.`
    : `${tokens.length} tokens.`;
}
