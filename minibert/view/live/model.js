// BERT, whole: embeddings -> encoder -> pooler. See minibert/core/model.py.

/** The first token's vector, [CLS], through a dense layer and tanh: (T, H) -> (1, H). */
class BertPooler {
  constructor(source, name = "pooler") {
    this.dense = new Linear(source, `${name}.dense`);
    this.activation = Math.tanh;
    this.keep = source.keeper(name);
  }

  forward(hidden_states) {
    const dense = this.dense.forward(hidden_states.slice(0, 1));  // (1, H)
    return this.keep(dense.map((row) => row.map((x) => this.activation(x))), "activation");
  }
}

class BertModel {
  constructor(source) {
    this.embeddings = new BertEmbeddings(source);
    this.encoder = new BertEncoder(source);
    this.pooler = source.has("pooler.") ? new BertPooler(source) : null;
  }

  /** ids, segments and mask, (T,) each -> states, L + 1 times (T, H), and the pooler's (1, H). */
  forward({input_ids, token_type_ids, attention_mask}) {
    const embedded = this.embeddings.forward(input_ids, token_type_ids);  // (T, H)
    const bias = attentionBiasFromMask(attention_mask);  // (T, T)
    const states = this.encoder.forward(embedded, bias);
    return {states, pooled: this.pooler ? this.pooler.forward(states.at(-1)) : null};
  }
}
