// The switches of "Break it": known mistakes, each put into a correct model. Their names are those
// of minibert/diagnosis/catalogue/, which has the words, and a test holds their numbers to its own.

const blocksOf = (model) => model.bert.encoder.blocks;
const attentionsOf = (model) => blocksOf(model).map((block) => block.attention);
const feedForwardsOf = (model) => blocksOf(model).map((block) => block.feed_forward);
const normsOf = (model) => [model.bert.embeddings.norm, model.masked_word?.norm,
  ...blocksOf(model).flatMap((block) => [block.attention_norm, block.output_norm])].filter(Boolean);

/** A mistake that is made in every part that `parts` finds. */
const inEach = (parts, change) => (model) => parts(model).forEach(change);
const inAttention = (change) => inEach(attentionsOf, change);
const inNorm = (change) => inEach(normsOf, change);

/** Let change(original, ...) stand for part.method(...), for this one part. */
function override(part, method, change) {
  if (part) part[method] = change.bind(null, part[method].bind(part));
}

/** The numbers of a tensor in the order of memory, cut into rows anew: what a `view` does. */
function viewed(tensor, rows) {
  const flat = tensor.flat(Infinity).flatMap((row) => [...row]), length = flat.length / rows;
  return Array.from({length: rows}, (_, r) => Float32Array.from(flat.slice(r * length, (r + 1) * length)));
}

const mean = (rows) => rows[0].map((_, i) => rows.reduce((sum, row) => sum + row[i], 0) / rows.length);

/** Let the encoder get change(bias) instead of the bias (T, T). */
const biasMistake = (change) => (model) =>
  override(model.bert.encoder, "forward", (original, hidden, bias) => original(hidden, change(bias)));

/** Let row(table, id) stand for the lookup of one row of a table of the embeddings. */
const lookupMistake = (name, row) => ({bert: {embeddings}}) => {
  embeddings[name].row = (id) => row(embeddings[name].weight, id);
};

/** Let attend(query, key, value) get its three tensors in another order. */
const reordered = (...order) => inAttention((attention) =>
  override(attention, "attend", (original, ...given) =>
    original(...order.map((place) => given[place]), given[3])));

/** Let compute(block, x, attend, think) stand for every block's forward pass. */
const orderMistake = (compute) => inEach(blocksOf, (block) => {
  block.forward = (x, bias) =>
    compute(block, x, (y) => block.attention.forward(y, bias), (y) => block.feed_forward.forward(y));
});
const firstSum = (block, a, b) => block.keep(b ? add(a, b) : a, "attention_sum");
const secondSum = (block, a, b) => block.keep(b ? add(a, b) : a, "output_sum");

function softmaxOverHeads(scores) {  // (A, T, T) -> (A, T, T)
  const result = scores.map((rows) => rows.map((row) => row.slice()));
  scores[0].forEach((row, q) => row.forEach((_, k) =>
    softmax(Float32Array.from(scores, (rows) => rows[q][k]))
      .forEach((share, a) => { result[a][q][k] = share; })));
  return result;
}

function maskAfterSoftmax(model) {
  let visible = null;  // (T, T)
  biasMistake((bias) => {
    visible = bias;
    return null;
  })(model);
  for (const attention of attentionsOf(model))
    override(attention, "probabilities", (original, scores) => original(scores).map((rows) =>
      rows.map((row, q) => row.map((share, k) => visible[q][k] === 0 ? share : 0))));
}

const wave = (weight, place) => weight[0].map((_, h) => {
  const angle = place / 10000 ** ((h - h % 2) / weight[0].length);
  return h % 2 ? Math.cos(angle) : Math.sin(angle);
});

const MISTAKES = {
  // ---- embeddings
  position_sinusoidal: lookupMistake("position", wave),
  position_from_one: lookupMistake("position", (weight, place) => weight[place + 1]),
  position_missing: lookupMistake("position", (weight, place) => weight[place].map(() => 0)),
  segment_missing: lookupMistake("segment", (weight, id) => weight[id].map(() => 0)),
  segment_swapped: lookupMistake("segment", (weight, id) => weight[1 - id]),
  embedding_scaled: lookupMistake("token", (weight, id) =>
    weight[id].map((value) => value * weight[id].length ** 0.5)),
  embedding_norm_missing: ({bert: {embeddings: {norm}}}) => { norm.forward = (x) => norm.keep(x); },
  position_in_every_block: (model) => blocksOf(model).slice(1).forEach((block) =>
    override(block, "forward", (original, x, bias) =>
      original(add(x, model.bert.embeddings.position.weight), bias))),

  // ---- mask
  mask_missing: biasMistake(() => null),
  mask_inverted: biasMistake((bias) => bias.map((row) => row.map((b) => b === 0 ? HIDE : 0))),
  mask_too_weak: biasMistake((bias) => bias.map((row) => row.map((b) => b < 0 ? -1 : 0))),
  mask_added_raw: biasMistake((bias) => bias.map((row) => row.map((b) => b === 0 ? 1 : 0))),
  mask_causal: biasMistake((bias) => bias.map((row, q) => row.map((b, k) => k > q ? HIDE : b))),
  mask_after_softmax: maskAfterSoftmax,

  // ---- attention
  scale_missing: inAttention((attention) => { attention.scale = 1; }),
  scale_by_hidden_size: inAttention((attention) => {
    attention.scale = attention.key.weight.length ** -0.5;
  }),
  scale_multiplied: inAttention((attention) => { attention.scale = 1 / attention.scale; }),
  softmax_over_queries: inAttention((attention) => {
    attention.probabilities = (scores) =>
      scores.map((rows) => transposed(transposed(rows).map(softmax)));
  }),
  softmax_over_heads: inAttention((attention) => { attention.probabilities = softmaxOverHeads; }),
  softmax_twice: inAttention((attention) => {
    attention.probabilities = (scores) => scores.map((rows) => rows.map((row) => softmax(softmax(row))));
  }),
  probabilities_averaged: inAttention((attention) => override(attention, "probabilities",
    (original, scores) => {
      const heads = original(scores), average = heads[0].map((_, q) => mean(heads.map((rows) => rows[q])));
      return heads.map(() => average);
    })),
  split_by_view: inAttention((attention) => {
    attention.splitHeads = (projected) =>
      viewed(projected, attention.heads).map((head) => viewed([head], projected.length));
  }),
  merge_without_transpose: inAttention((attention) => {
    attention.mergeHeads = (context) => viewed(context, context[0].length);
  }),
  query_and_key_swapped: reordered(1, 0, 2),
  key_and_value_swapped: reordered(0, 2, 1),
  qkv_bias_missing: inAttention(({query, key, value}) => {
    for (const projection of [query, key, value]) projection.bias = null;
  }),
  output_projection_missing: inAttention(({output}) => { output.forward = (x) => output.keep(x); }),

  // ---- LayerNorm and feed-forward
  norm_eps_1e3: inNorm((norm) => { norm.eps = 1e-3; }),
  norm_without_root: inNorm((norm) => { norm.root = (variance) => variance + norm.eps; }),
  norm_mean_kept: inNorm((norm) => { norm.center = () => 0; }),
  norm_weight_missing: inNorm((norm) => { norm.weight = norm.weight.map(() => 1); }),
  gelu_tanh: inEach(feedForwardsOf, (layer) => { layer.activation = geluTanh; }),
  relu: inEach(feedForwardsOf, (layer) => { layer.activation = (x) => Math.max(x, 0); }),
  activation_missing: inEach(feedForwardsOf, (layer) => { layer.activation = (x) => x; }),

  // ---- block
  attention_residual_missing: orderMistake((block, x, attend, think) => {
    const middle = block.attention_norm.forward(firstSum(block, attend(x)));
    return block.output_norm.forward(secondSum(block, think(middle), middle));
  }),
  feed_forward_residual_missing: orderMistake((block, x, attend, think) => {
    const middle = block.attention_norm.forward(firstSum(block, attend(x), x));
    return block.output_norm.forward(secondSum(block, think(middle)));
  }),
  pre_norm: orderMistake((block, x, attend, think) => {
    const middle = firstSum(block, attend(block.attention_norm.forward(x)), x);
    return secondSum(block, think(block.output_norm.forward(middle)), middle);
  }),
  norm_before_sum: orderMistake((block, x, attend, think) => {
    const middle = firstSum(block, block.attention_norm.forward(attend(x)), x);
    return secondSum(block, block.output_norm.forward(think(middle)), middle);
  }),
  blocks_are_one: (model) => {
    const [first, ...others] = blocksOf(model), paths = [["attention", "query"], ["attention", "key"],
      ["attention", "value"], ["attention", "output"], ["attention_norm"], ["feed_forward", "up"],
      ["feed_forward", "down"], ["output_norm"]];
    const at = (block, path) => path.reduce((part, name) => part[name], block);
    for (const block of others)
      for (const path of paths) {
        const {weight, bias} = at(first, path);
        Object.assign(at(block, path), {weight, bias});
      }
  },
  last_block_missing: (model) => { blocksOf(model).at(-1).forward = (x) => x; },

  // ---- heads
  pooler_tanh_missing: ({bert: {pooler}}) => { if (pooler) pooler.activation = (x) => x; },
  pooler_takes_mean: ({bert: {pooler}}) =>
    override(pooler, "forward", (original, hidden) => original([mean(hidden)])),
  transform_missing: ({masked_word}) => { if (masked_word) masked_word.guess = (hidden) => hidden; },
  word_bias_missing: ({masked_word}) => {
    if (masked_word) masked_word.bias = masked_word.bias.map(() => 0);
  },
  next_sentence_columns_swapped: ({next_sentence}) => {
    if (!next_sentence) return;
    next_sentence.logits.weight = next_sentence.logits.weight.toReversed();
    next_sentence.logits.bias = next_sentence.logits.bias.toReversed();
  },
};

/** A head that is switched off adds nothing: its part of the context is 0. */
function switchOffHead(model, block, head) {
  override(attentionsOf(model)[block], "attend", (original, ...given) => original(...given)
    .map((rows, a) => a === head ? rows.map((row) => row.map(() => 0)) : rows));
}

/** A block that is switched off hands on what it got. */
function switchOffBlock(model, block) {
  blocksOf(model)[block].forward = (x) => x;
}
