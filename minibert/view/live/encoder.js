// One block, L times: attention, feed-forward, and a residual sum around each.
// See minibert/core/encoder.py.

/** Each token by itself: H -up-> I -GELU-> I -down-> H. */
class BertFeedForward {
  constructor(source, name) {
    this.up = new Linear(source, `${name}.up`);
    this.activation = ACTIVATIONS.get(source.config.hidden_act);
    this.down = new Linear(source, `${name}.down`);
    this.keep = source.keeper(name);
  }

  forward(hidden_states) {
    const raised = this.up.forward(hidden_states);  // (T, I)
    const bent = this.keep(raised.map((row) => row.map((x) => this.activation(x))), "activation");
    return this.down.forward(bent);  // (T, H)
  }
}

/** Read from the other tokens, then think alone:
 *
 *  -+-> attention -> (+) -> norm -+-> feed_forward -> (+) -> norm ->
 *   +----------------->+          +------------------->+
 */
class BertBlock {
  constructor(source, name) {
    this.attention = new BertAttention(source, `${name}.attention`);
    this.attention_norm = new LayerNorm(source, `${name}.attention_norm`);
    this.feed_forward = new BertFeedForward(source, `${name}.feed_forward`);
    this.output_norm = new LayerNorm(source, `${name}.output_norm`);
    this.keep = source.keeper(name);
  }

  forward(hidden_states, bias) {
    const attended = this.attention.forward(hidden_states, bias);  // (T, H)
    const middle = this.attention_norm.forward(
      this.keep(add(attended, hidden_states), "attention_sum"));  // (T, H)
    const thought = this.feed_forward.forward(middle);  // (T, H)
    return this.output_norm.forward(this.keep(add(thought, middle), "output_sum"));  // (T, H)
  }
}

class BertEncoder {
  constructor(source, name = "encoder") {
    const numbers = Array.from({length: source.config.num_hidden_layers}, (_, number) => number);
    this.blocks = numbers.map((number) => new BertBlock(source, `${name}.blocks.${number}`));
  }

  /** What entered the first block and what left every block: L + 1 times (T, H). */
  forward(hidden_states, bias) {
    const states = [hidden_states];
    for (const block of this.blocks) states.push(block.forward(states.at(-1), bias));
    return states;
  }
}
