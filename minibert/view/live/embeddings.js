// Three vectors, one sum: what a token is, where it stands, which sentence it belongs to.
// See minibert/core/embeddings.py.

class BertEmbeddings {
  constructor(source, name = "embeddings") {
    this.token = new Embedding(source, `${name}.token`);
    this.segment = new Embedding(source, `${name}.segment`);
    this.position = new Embedding(source, `${name}.position`);
    this.norm = new LayerNorm(source, `${name}.norm`);
    this.keep = source.keeper(name);
  }

  forward(input_ids, token_type_ids) {
    const token = this.token.forward(input_ids);  // (T, H)
    const segment = this.segment.forward(token_type_ids);  // (T, H)
    const position = this.position.forward(input_ids.map((_, place) => place));  // (T, H)
    const summed = this.keep(add(add(token, segment), position), "sum");  // (T, H)
    return this.norm.forward(summed);  // (T, H)
  }
}
