// Pieces -> what the model reads: ids, which sentence each belongs to, and what is padding.
// See minibert/core/inputs.py.
//
//     tokens          [CLS] the river bank [SEP] it was flooded [SEP] [PAD]
//     token_type_ids    0    0    0    0     0    1  1     1      1     0
//     attention_mask    1    1    1    1     1    1  1     1      1     0

class Tokenizer {
  /** `vocabulary` lists the pieces by id; `special` maps tokens that may be typed to their ids. */
  constructor(vocabulary, special, settings, tables) {
    this.vocabulary = vocabulary;
    this.vocab = new Map(vocabulary.map((piece, id) => [piece, id]));
    this.special = new Map(Object.entries(special).sort((a, b) => b[0].length - a[0].length));
    this.rules = characterRules(tables);
    this.steps = rulesFor(settings);
  }

  /** The text cut at the special tokens that are typed in it; these stay whole. */
  split(text) {
    const parts = [""];
    while (text) {
      const token = [...this.special.keys()].find((name) => text.startsWith(name));
      if (token) parts.push(token, "");
      else parts[parts.length - 1] += text[0];
      text = text.slice(token ? token.length : 1);
    }
    return parts.filter(Boolean);
  }

  /** All pieces of a text. What each rule changed goes into `steps`: {rule, after, changes}. */
  pieces(text, steps = []) {
    return this.split(text).flatMap((part) => {
      if (this.special.has(part)) {
        steps.push({rule: "special token", after: part, changes: [[part, this.special.get(part)]]});
        return [part];
      }
      for (const [rule, change] of this.steps) {
        const after = change(part, this.rules);
        const changes = [...new Set(part)].map((char) => [char, change(char, this.rules)]);
        steps.push({rule, after, changes: changes.filter(([old, now]) => old !== now)});
        part = after;
      }
      return part.split(" ").filter(Boolean).flatMap((word) => {
        const tried = [], pieces = wordpiece(word, this.vocab, tried);
        const changes = tried.map((piece) => [piece, this.vocab.get(piece) ?? "no"]);
        steps.push({rule: "longest match", after: pieces.join(" "), changes});
        return pieces;
      });
    });
  }

  id(token) {
    return this.special.get(token) ?? this.vocab.get(token);
  }
}

/** [CLS] first [SEP] second [SEP], and `padding` times [PAD]. `second` is null for one sentence. */
function arrange(first, second, padding = 0) {
  const tokens = ["[CLS]", ...first, "[SEP]"];
  const token_type_ids = tokens.map(() => 0);
  for (const token of second === null ? [] : [...second, "[SEP]"]) {
    tokens.push(token);
    token_type_ids.push(1);
  }
  const attention_mask = tokens.map(() => 1);
  for (let i = 0; i < padding; i++) {
    tokens.push("[PAD]");
    token_type_ids.push(0);
    attention_mask.push(0);
  }
  return {tokens, token_type_ids, attention_mask};
}
