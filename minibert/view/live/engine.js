// One model with its tokenizer, and the answers to what the page asks. It runs in a worker, so that
// the page goes on while it computes, and in tests.

const MOST_TOKENS = 64;  // of a text on the page; more would be too small to see
const TOP = 5;

/** The difference of two traces: the first tensor, in the order of computation, that is another. */
function firstDifference(right, changed) {
  for (const [name, expected] of right) {
    const got = changed.get(name);
    if (!got) return {name, missing: true};
    const most = largestDifference(expected, got, name.endsWith("scores") ? -1e3 : -Infinity);
    if (!(most <= 1e-6)) return {name, difference: most};
  }
  return null;
}

function largestDifference(a, b, floor) {
  if (typeof a === "number") return Math.abs(Math.max(a, floor) - Math.max(b, floor));
  let most = 0;
  for (let i = 0; i < a.length; i++) most = Math.max(most, largestDifference(a[i], b[i], floor));
  return most;
}

const norm = (row) => Math.sqrt(dot(row, row));
const cosine = (a, b) => dot(a, b) / (norm(a) * norm(b));

class Engine {
  /** `model`: config, vocabulary, special, settings, tables; `weights`: a Map of names to rows. */
  constructor(model, weights) {
    this.config = bertConfig(model.config);
    this.weights = weights;
    this.tokenizer = new Tokenizer(model.vocabulary, model.special, model.settings, model.tables);
    this.right = new BertForPreTraining(this.config, weights);
    this.inputs = null;
  }

  /** What the model is and can do. */
  about() {
    return {config: this.config, masked_word: Boolean(this.right.masked_word),
      next_sentence: Boolean(this.right.next_sentence && this.right.bert.pooler)};
  }

  /** The model with mistakes in it, heads and blocks switched off; null if there are none. */
  changed({mistakes = [], heads_off = [], blocks_off = []}) {
    if (!mistakes.length && !heads_off.length && !blocks_off.length) return null;
    const model = new BertForPreTraining(this.config, this.weights);
    for (const id of mistakes) MISTAKES[id](model);
    for (const place of heads_off) switchOffHead(model, ...place.split(".").map(Number));
    for (const block of blocks_off) switchOffBlock(model, block);
    return model;
  }

  /** A sentence, or two -> what the model reads, and how the text became that. */
  read({first, second = null, padding = 0, masks = [], replaced = {}}) {
    const steps = [];
    const pieces = this.tokenizer.pieces(first, steps);
    const row = arrange(pieces, second === null ? null : this.tokenizer.pieces(second, steps), padding);
    const limit = Math.min(MOST_TOKENS, this.config.max_position_embeddings - 1);
    if (row.tokens.length > limit)
      throw new Error(`This page reads up to ${limit} tokens, [CLS] and [SEP] included; this text ` +
        `has ${row.tokens.length}. Take one sentence, or a part of it.`);
    const typed = row.tokens.slice();
    for (const place of masks) if (row.attention_mask[place]) row.tokens[place] = "[MASK]";
    const other = {...row, tokens: row.tokens.slice()};
    for (const [place, piece] of Object.entries(replaced)) {
      if (!(place in typed)) continue;
      if (this.tokenizer.id(piece) === undefined)
        throw new Error(`“${piece}” is no piece of this vocabulary: take a short common word`);
      other.tokens[place] = piece;
    }
    const number = (line) => ({...line, input_ids: line.tokens.map((t) => this.tokenizer.id(t))});
    const isOther = other.tokens.some((token, place) => token !== row.tokens[place]);
    return {steps, typed, row: number(row), other: isOther ? number(other) : null};
  }

  /** Everything that is drawn of one sentence; `changed`, if anything is changed, beside it. */
  run(request) {
    const {steps, typed, row, other} = this.read(request);
    const masked = row.tokens.flatMap((token, place) => token === "[MASK]" ? [place] : []);
    const place = masked.includes(request.place) ? request.place : masked[0] ?? null;
    const {trace, ...drawn} = this.pass(this.right, row, masked, place);
    this.inputs = {...row, masked};
    this.trace = trace;
    const model = this.changed(request);
    let changed = null;
    if (model || other) {
      changed = this.pass(model ?? this.right, other ?? row, masked, place);
      changed.first = firstDifference(trace, changed.trace);
      changed.moved = drawn.states.map((state, l) => Float32Array.from(state, (vector, t) => {
        const after = changed.states[l][t];
        return norm(vector.map((value, h) => value - after[h])) / (norm(vector) || 1);
      }));
      changed.tokens = (other ?? row).tokens;
      delete changed.trace;
    }
    return {...row, typed, steps, masked, place, ...drawn, changed};
  }

  /** One forward pass: states, probabilities (L times A, T, T), the lens at `place`, the pair. */
  pass(model, row, masked, place) {
    const {states, words, pair} = model.forward(row, masked);
    const trace = new Map(model.trace);
    const probabilities = states.slice(1).map((_, l) =>
      trace.get(`encoder.blocks.${l}.attention.probabilities`) ?? null);
    const lens = place === null || !words ? null : [
      ...model.masked_word.forward(states.slice(0, -1).map((state) => state[place])),
      words[masked.indexOf(place)]].map((scores) => this.best(scores));
    const isPair = row.token_type_ids.includes(1);
    return {states, probabilities, lens, trace, pair: pair && isPair ? softmax(pair[0])[0] : null};
  }

  /** The likeliest pieces of (V,) scores: [{token, share}], best first. */
  best(scores) {
    const shares = softmax(scores), order = [];
    for (let id = 0; id < shares.length; id++) {
      if (order.length === TOP && !(shares[id] > shares[order.at(-1)])) continue;
      order.push(id);
      order.sort((a, b) => shares[b] - shares[a]);
      if (order.length > TOP) order.pop();
    }
    return order.map((id) => ({token: this.tokenizer.vocabulary[id] ?? `id ${id}`, share: shares[id]}));
  }

  /** Tokens and states of another sentence: what `run` gives stays as it is. */
  vectors({first}) {
    const {row} = this.read({first});
    return {tokens: row.tokens, states: this.right.bert.forward(row).states};
  }

  /** A tensor of the last sentence by its name, for the page to draw. */
  tensor(name) {
    return this.trace.get(name) ?? null;
  }

  names() {
    return [...this.trace.keys()];
  }

  explain(name, index) {
    return explainNumber(this.right, this.trace, this.inputs, name, index);
  }
}
