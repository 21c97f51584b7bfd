// What BERT was trained on: fill the blank, and say whether two sentences belong together.
// See minibert/core/heads.py.

class MaskedWordHead {
  constructor(source, table, name = "masked_word") {
    this.transform = new Linear(source, `${name}.transform`);
    this.activation = ACTIVATIONS.get(source.config.hidden_act);
    this.norm = new LayerNorm(source, `${name}.norm`);
    this.table = table;  // (V, H): the token embeddings again ("tied")
    this.bias = source.weights.get(`${name}.bias`);  // (V,)
    this.keep = source.keeper(name);
  }

  guess(hidden_states) {  // (T, H) -> (T, H)
    const dense = this.transform.forward(hidden_states);
    return this.norm.forward(
      this.keep(dense.map((row) => row.map((x) => this.activation(x))), "activation"));
  }

  forward(hidden_states) {  // (T, H) -> (T, V)
    return this.keep(linear(this.guess(hidden_states), this.table, this.bias), "logits");
  }
}

class NextSentenceHead {
  constructor(source, name = "next_sentence") {
    this.logits = new Linear(source, `${name}.logits`);
  }

  forward(pooled) {  // (1, H) -> (1, 2): [0] B follows A, [1] B is random
    return this.logits.forward(pooled);
  }
}

class BertForPreTraining {
  constructor(config, weights) {
    const source = new Source(config, weights);
    this.config = config;
    this.trace = source.trace;
    this.bert = new BertModel(source);
    const table = this.bert.embeddings.token.weight;  // (V, H)
    this.masked_word = source.has("masked_word.") ? new MaskedWordHead(source, table) : null;
    this.next_sentence = source.has("next_sentence.") ? new NextSentenceHead(source) : null;
  }

  /** words (P, V) for the tokens at `places`, since all (T, V) would take long; pair (1, 2). */
  forward(inputs, places) {
    this.trace.clear();
    const {states, pooled} = this.bert.forward(inputs);
    const chosen = places.map((place) => states.at(-1)[place]);  // (P, H)
    const words = this.masked_word && places.length ? this.masked_word.forward(chosen) : null;
    const pair = this.next_sentence && pooled ? this.next_sentence.forward(pooled) : null;
    return {states, words, pair};
  }
}
