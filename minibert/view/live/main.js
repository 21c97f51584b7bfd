// The page itself: the reader's choices go to the engine, its answer to the sections.

const model = JSON.parse($("data").textContent);
const asking = new Asking((said) => { $("own-status").textContent = said; });
let about = null, answer = null, other = null;
let typedAt = 0, below = null, guessed = "", lastNews = "";

const matrices = {
  head: new Matrix($("matrix-head"), "Who reads whom"),
  vector: new Matrix($("matrix-vector"), "A token's vector by layer"),
  inside: new Matrix($("matrix-inside"), "A tensor"),
  effect: new Matrix($("matrix-effect"), "How far each state moved"),
};

const TITLES = {"01_text_to_words": "1. Text to words", "02_words_to_pieces": "2. Words to pieces",
  "04_one_head": "4. One head by hand", "05_twelve_heads": "5. Twelve heads",
  "07_a_block": "7. A block", "09_broken_berts": "9. Broken BERTs",
  "10_filling_the_blank": "10. Filling the blank", "11_what_vectors_know": "11. What the vectors know"};

/** A link to a chapter of the tutorials, or its name where the page stands alone. */
const chapterLink = (name) => model.chapters ?
  make("a", {href: `${model.chapters}${name}.html`}, `Chapter ${TITLES[name]}`) :
  make("span.muted", {}, `Chapter ${TITLES[name]}`);

/** Change what is chosen; `compute` is false where the numbers stay the same. */
function choose(changes, compute = true) {
  Object.assign(state, changes);
  history.replaceState(null, "", address(state));
  showTour();
  if (compute) run();
  else if (answer) draw();
}

function run() {
  $("error").textContent = "";
  asking.latest("run", {...state, second: state.second || null}, use, refuse);
  const text = state.other;
  if (!text) other = null;
  else if (text !== other?.text) asking.latest("vectors", {first: text}, (got) => {
    other = {...got, text};
    $("compare-error").textContent = "";
    if (answer) drawCompare(answer, other);
  }, (error) => { $("compare-error").textContent = error.message; });
}

function use(got) {
  const before = answer?.typed ?? got.typed;
  const masks = movedMasks(state.masks, before, got.typed);
  answer = got;
  if (String(masks) === String(state.masks)) draw();
  else choose({masks});  // the text was edited before a hidden token
}

function refuse(error) {
  $("error").textContent = error.message;
}

/** Tokens, guesses and heads at once; what stands below them after the frame that shows these. */
function draw() {
  drawTokens(answer);
  guessed = drawLens(answer, about);
  drawMaps(answer);
  drawHead(answer, matrices.head);
  below ??= requestAnimationFrame(() => setTimeout(drawBelow));
}

function drawBelow() {
  below = null;
  if (!answer) return;  // another model came meanwhile
  if (typedAt) {
    const took = performance.now() - typedAt;
    typedAt = 0;
    $("time").textContent = `${took.toFixed(0)} ms from key to picture`;
    $("time").dataset.took = took;
  }
  drawSteps(answer);
  drawVectors(answer, matrices.vector);
  drawInside(matrices.inside);
  drawSwitches(answer);
  const effect = drawEffect(answer, matrices.effect), compared = drawCompare(answer, other);
  const news = $("compare").contains(document.activeElement) ? compared : `${guessed} ${effect}`;
  if (news !== lastNews) announce(news, 700);  // not at every key: one could never listen to the end
  lastNews = news;
}

function fillInputs() {
  $("first").value = state.first;
  $("second").value = state.second ?? "";
  $("other").value = state.other;
  $("padding").value = state.padding;
}

function start(now, source) {
  about = now;
  answer = other = null;
  const {num_hidden_layers: L, num_attention_heads: A, hidden_size: H, vocab_size: V} = about.config;
  state.block = Math.min(state.block, L - 1);
  state.head = Math.min(state.head, A - 1);
  state.heads_off = [];
  state.blocks_off = [];
  buildHeads(about.config);
  buildChange(about.config);
  $("model").textContent = `${source}: ${L} blocks × ${A} heads, ${H} numbers for each token, ` +
    `${V.toLocaleString("en")} pieces.`;
  document.body.dataset.ready = "yes";
  run();
}

function listen() {
  const typing = (id, change) => $(id).addEventListener("input", ({target, timeStamp}) => {
    typedAt ||= timeStamp;
    choose(change(target.value));
  });
  typing("first", (first) => ({first}));
  typing("second", (second) => ({second: second || null}));
  typing("other", (text) => ({other: text, pick: null}));
  typing("padding", (value) => ({padding: Number(value)}));
  $("example").replaceChildren(make("option", {value: ""}, "Examples …"),
    ...model.examples.map((text) => make("option", {}, text)));
  $("example").addEventListener("change", ({target}) => {
    if (target.value) choose({first: target.value, masks: [], replaced: {}});
    target.value = "";
    fillInputs();
  });
  $("vector-token").addEventListener("change", ({target}) =>
    choose({token: Number(target.value)}, false));
  $("compare-first").addEventListener("change", ({target}) =>
    choose({token: Number(target.value)}, false));
  $("compare-second").addEventListener("change", ({target}) =>
    choose({pick: Number(target.value)}, false));
  $("tensor").addEventListener("change", ({target}) => choose({tensor: target.value}, false));
  $("slice").addEventListener("change", ({target}) => choose({slice: Number(target.value)}, false));
  const swap = () => choose({replaced: $("swap-piece").value ?
    {[$("swap-place").value]: $("swap-piece").value.trim()} : {}});
  $("swap-piece").addEventListener("change", swap);
  $("swap-place").addEventListener("change", () => $("swap-piece").value && swap());
  $("right-again").addEventListener("click", () =>
    choose({mistakes: [], heads_off: [], blocks_off: [], replaced: {}}));
  addEventListener("hashchange", () => readHash() && run());
  dark.addEventListener("change", () => answer && draw());
}

function readHash() {
  state = readAddress(location.hash, switches().map(({id}) => id));
  const size = model.config;
  state.first ||= model.examples[0];
  state.other ||= "We swam across the cold river.";
  state.block = Math.min(state.block, size.num_hidden_layers - 1);
  state.head = Math.min(state.head, size.num_attention_heads - 1);
  state.heads_off = state.heads_off.filter((entry) => $(`heads_off-${entry}`) || !about);
  fillInputs();
  showTour();
  return Boolean(about);
}

for (const link of document.querySelectorAll("[data-jump]"))  // the address is the state's
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const section = document.querySelector(link.getAttribute("href"));
    section.scrollIntoView();
    section.focus({preventScroll: true});
  });
for (const node of document.querySelectorAll("[data-chapter]"))
  node.replaceChildren(chapterLink(node.dataset.chapter));
$("note").textContent = model.note;
buildSwitches();
buildOwn();
buildTour();
listen();
readHash();
asking.ask("open", {model, base64: $("weights").textContent.trim()})
  .then((now) => start(now, model.source), refuse);
