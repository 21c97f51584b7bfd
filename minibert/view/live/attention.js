// How a token chooses what to read: softmax(Q K^T / sqrt(D) + bias) V, in A heads.
// See minibert/core/attention.py.

const HIDE = -3.4028234663852886e38;  // the most negative float32; its exponential is 0

/** A mask (T,), 1 = may be read, 0 = padding -> a bias (T, T) to add to the scores. Every row is
 *  the same: what is hidden are columns. */
function attentionBiasFromMask(attention_mask) {
  const row = Float32Array.from(attention_mask, (read) => read ? 0 : HIDE);  // (T,)
  return attention_mask.map(() => row.slice());  // (T, T)
}

class BertAttention {
  constructor(source, name) {
    const {hidden_size: H, num_attention_heads: A} = source.config;
    this.heads = A;
    this.scale = (H / A) ** -0.5;
    this.query = new Linear(source, `${name}.query`);
    this.key = new Linear(source, `${name}.key`);
    this.value = new Linear(source, `${name}.value`);
    this.output = new Linear(source, `${name}.output`);
    this.keep = source.keeper(name);
  }

  splitHeads(projected) {  // (T, H) -> (A, T, D)
    const D = projected[0].length / this.heads;
    const head = (a) => projected.map((row) => row.slice(a * D, (a + 1) * D));  // (T, D)
    return Array.from({length: this.heads}, (_, a) => head(a));
  }

  mergeHeads(context) {  // (A, T, D) -> (T, H)
    const D = context[0][0].length, merged = zeros(context[0].length, this.heads * D);
    context.forEach((head, a) => head.forEach((row, t) => merged[t].set(row, a * D)));
    return merged;
  }

  probabilities(scores) {  // (A, T, T) -> (A, T, T): each row, over the keys, sums to 1
    return scores.map((rows) => rows.map(softmax));
  }

  attend(query, key, value, bias) {
    const scores = this.keep(query.map((rows, a) =>
      linear(rows, key[a], null).map((row) => row.map((score) => score * this.scale))),
    "scores");  // (A, T, T)
    const masked = this.keep(bias ? scores.map((rows) => add(rows, bias)) : scores,
      "masked_scores");  // (A, T, T)
    const probabilities = this.keep(this.probabilities(masked), "probabilities");  // (A, T, T)
    return probabilities.map((rows, a) => linear(rows, transposed(value[a]), null));  // (A, T, D)
  }

  forward(hidden_states, bias) {  // (T, H) -> (T, H)
    const query = this.splitHeads(this.query.forward(hidden_states));  // (A, T, D)
    const key = this.splitHeads(this.key.forward(hidden_states));  // (A, T, D)
    const value = this.splitHeads(this.value.forward(hidden_states));  // (A, T, D)
    const context = this.attend(query, key, value, bias);  // (A, T, D)
    return this.output.forward(this.keep(this.mergeHeads(context), "context"));  // (T, H)
  }
}
