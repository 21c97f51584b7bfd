// A tour of ten steps: words that are marked point at what they speak of, and it at them.

const TOUR = [
  {at: "read", set: {first: "The river [MASK] was flooded.", second: null},
    text: ["BERT reads a ", ["sentence", "first"], " at once, from both sides. It was trained to guess ",
      "words that are hidden behind ", ["[MASK]", "tokens"], ". Change a word and watch the ",
      ["guesses", "lens"], " follow."]},
  {at: "read", set: {first: "Zoë's riverbank was unbelievably wet!"}, chapter: "02_words_to_pieces",
    text: ["It knows 8,000 or 30,000 pieces, not words. ", ["Rules", "steps-box"], " clean the text, and ",
      "the longest piece is taken first: ## goes on a word. ", ["These tokens", "tokens"],
      " are what it reads; the small number is the row of its table."]},
  {at: "guess", set: {first: "The river bank was flooded after the storm.", masks: [3]},
    chapter: "10_filling_the_blank",
    text: ["Click any ", ["token", "tokens"], " to hide it. The ", ["lens", "lens"], " shows what BERT ",
      "would guess if it stopped after each block: the first rows know little but which words are ",
      "common; meaning comes step by step."]},
  {at: "attend", set: {first: "The river bank was flooded after the storm.", masks: [], block: 1, head: 2},
    chapter: "05_twelve_heads",
    text: ["Tokens learn of each other in ", ["heads", "heads"], ". Each small map is one: a row for ",
      "every token that reads, a column for every token that is read."]},
  {at: "attend", set: {}, chapter: "04_one_head",
    text: ["The ", ["large map", "matrix-head"], " is the chosen head. Point at a row: its shares sum to ",
      "100 %. Some heads look at the neighbour, some at [SEP], which often means at nothing."]},
  {at: "vectors", set: {token: 3}, chapter: "11_what_vectors_know",
    text: ["A token is a ", ["vector", "matrix-vector"], ", one row of colours for each layer. Every ",
      "block adds to it, so it changes slowly; the ", ["table", "vector-table"], " says how much."]},
  {at: "inside", set: {tensor: "encoder.blocks.0.attention.scores"}, chapter: "04_one_head",
    text: ["There is no magic in any number. Point at one of ", ["these", "matrix-inside"], ": it is a ",
      ["row times a column", "product"], ", or a formula of a few numbers, down to the weights."]},
  {at: "compare", set: {other: "She put the money in the bank.", token: 3, pick: 7},
    chapter: "11_what_vectors_know",
    text: ["Two banks: the same row of the table, so the same vector at first but for its place. The ",
      ["cosines", "compare-table"], " show how the sentences pull them apart."]},
  {at: "break", set: {first: "The river [MASK] was flooded.", masks: [], mistakes: ["softmax_over_queries"]},
    chapter: "09_broken_berts",
    text: ["Every ", ["switch", "switches"], " is a mistake that people have made. This one lets the ",
      "columns sum to 1. The ", ["effect", "effect"], " shows the first tensor that differs, and what ",
      "becomes of the guesses."]},
  {at: "change", set: {mistakes: [], heads_off: ["0.0", "0.1"]}, chapter: "07_a_block",
    text: ["Switch ", ["heads and blocks", "head-switches"], " off, or let one token read another word. ",
      "All of this is in the page's address: copy it to show somebody what you found."]},
];

function showTour() {
  const number = state.tour, step = TOUR[number];
  $("tour").hidden = !step;
  document.body.classList.toggle("touring", Boolean(step));
  for (const node of document.querySelectorAll(".pointed")) node.classList.remove("pointed");
  if (!step) return;
  const point = (id, on) => $(id).classList.toggle("pointed", on);
  $("tour-text").replaceChildren(...step.text.map((part) => {
    if (typeof part === "string") return part;
    const [word, id] = part, button = make("button.handle", {type: "button",
      onmouseenter: () => point(id, true), onmouseleave: () => point(id, false),
      onfocus: () => point(id, true), onblur: () => point(id, false),
      onclick: () => $(id).scrollIntoView({block: "center"})}, word);
    $(id).onmouseenter = () => button.classList.add("pointed");
    $(id).onmouseleave = () => button.classList.remove("pointed");
    return button;
  }), " ", step.chapter ? chapterLink(step.chapter) : "");
  $("tour-place").textContent = `${number + 1} of ${TOUR.length}`;
  $("tour-back").disabled = number === 0;
  $("tour-next").textContent = number === TOUR.length - 1 ? "Done" : "Next";
}

function goTour(number) {
  if (!TOUR[number]) {
    choose({tour: null});
    return;
  }
  if ("first" in TOUR[number].set) $("first").value = TOUR[number].set.first;
  choose({heads_off: [], blocks_off: [], mistakes: [], replaced: {}, ...TOUR[number].set, tour: number});
  fillInputs();
  $(TOUR[number].at).scrollIntoView();
}

function buildTour() {
  $("tour-start").addEventListener("click", () => {
    goTour(0);
    $("tour-next").focus();
  });
  $("tour-back").addEventListener("click", () => goTour(state.tour - 1));
  $("tour-next").addEventListener("click", () => goTour(state.tour + 1));
  $("tour-end").addEventListener("click", () => goTour(-1));
  document.addEventListener("keydown", ({key}) => {
    if (key === "Escape" && state.tour !== null) goTour(-1);
  });
}
