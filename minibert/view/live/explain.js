// Where one number comes from: the row and the column that made it, or the formula with its numbers.

const digits = (x) => Math.abs(x) >= 1e4 || (x && Math.abs(x) < 1e-3) ? x.toExponential(2) : x.toFixed(4);
/** A copy: a row of a table, if posted, would take the whole table along. */
const own = (row) => row && Float32Array.from(row);
const valueAt = (tensor, index) => index.reduce((part, i) => part[i], tensor);

/** The part of the model that a name such as "encoder.blocks.0.attention.query" belongs to. */
function partOf(model, name) {
  const path = name.split(".");
  const root = ["embeddings", "encoder", "pooler"].includes(path[0]) ? model.bert : model;
  return path.reduce((part, leaf) => part?.[leaf], root);
}

/** The tensor that a linear layer read. */
function inputOf(trace, name) {
  const stem = name.slice(0, name.lastIndexOf(".")), block = /^encoder\.blocks\.(\d+)/.exec(name);
  const before = block && Number(block[1]) ?
    `encoder.blocks.${block[1] - 1}.output_norm` : "embeddings.norm";
  const last = [...trace.keys()].filter((key) => key.endsWith(".output_norm")).at(-1);
  if (/\.(query|key|value)$/.test(name)) return before;
  if (name.endsWith("attention.output")) return `${stem}.context`;
  if (name.endsWith("feed_forward.up")) return name.replace("feed_forward.up", "attention_norm");
  if (name.endsWith("feed_forward.down")) return `${stem}.activation`;
  if (name === "next_sentence.logits") return "pooler.activation";
  return last;  // the pooler, the word head's transform
}

/**
 * The number at `index` of the tensor `name`: {value, sentence, row, column, labels, rest}.
 *
 * Where it is a dot product, row and column are its two sides and `rest` what is added after it;
 * elsewhere they are null, and the sentence has the formula.
 */
function explainNumber(model, trace, inputs, name, index) {
  const tensor = trace.get(name), value = valueAt(tensor, index), part = partOf(model, name);
  const leaf = name.slice(name.lastIndexOf(".") + 1), stem = name.slice(0, name.lastIndexOf("."));
  const get = (other) => trace.get(`${stem}.${other}`), [first, second, third] = index;
  const answer = (sentence, row = null, column = null, labels = null, rest = "") =>
    ({name, index, value, sentence, row: own(row), column: own(column), labels, rest});
  if (part instanceof Embedding) {
    const ids = {token: inputs.input_ids, segment: inputs.token_type_ids}[leaf];
    const id = ids ? ids[first] : first;
    return answer(`Looked up: number ${second} of row ${id} of the ${leaf} table, a weight.`);
  }
  if (name === "embeddings.sum")
    return answer(`token ${digits(get("token")[first][second])} + segment ` +
      `${digits(get("segment")[first][second])} + position ${digits(get("position")[first][second])}`);
  if (part instanceof Linear) {
    const source = inputOf(trace, name), places = name.startsWith("masked_word") ? inputs.masked : null;
    const row = trace.get(source)[places ? places[first] : first], bias = part.bias?.[second] ?? 0;
    return answer(`The token's row of ${source}, times row ${second} of the weight, plus its bias.`,
      row, part.weight[second], [source, `${name}.weight, row ${second}`], `bias ${digits(bias)}`);
  }
  if (part instanceof LayerNorm) {
    const sum = name.startsWith("masked_word") ? "masked_word.activation" : name.replace("norm", "sum");
    const row = trace.get(sum)[first], average = mean([...row].map((x) => [x]))[0];
    const variance = row.reduce((total, x) => total + (x - average) ** 2, 0) / row.length;
    return answer(`(x − mean) / √(variance + ε) · weight + bias = (${digits(row[second])} − ` +
      `${digits(average)}) / ${digits(Math.sqrt(variance + part.eps))} · ` +
      `${digits(part.weight[second])} + ${digits(part.bias[second])}, with x from ${sum}; mean and ` +
      `variance run over the token's ${row.length} numbers`);
  }
  const D = model.bert.encoder.blocks[0].attention.query.weight.length /
    model.config.num_attention_heads;
  if (leaf === "scores")
    return answer(`Head ${first}: query of token ${second} times key of token ${third}, times ` +
      `1 / √${D}.`, get("query")[second].slice(first * D, (first + 1) * D),
    get("key")[third].slice(first * D, (first + 1) * D),
    [`query of token ${second}, head ${first}`, `key of token ${third}, head ${first}`],
    `scale ${digits(D ** -0.5)}`);
  if (leaf === "masked_scores")
    return answer(`score ${digits(get("scores")[first][second][third])} + ` +
      `${inputs.attention_mask[third] ? "0: the key may be read" : "the most negative number: padding"}`);
  if (leaf === "probabilities") {
    const row = get("masked_scores")[first][second], most = Math.max(...row);
    const powers = Array.from(row, (x) => Math.exp(x - most)), sum = powers.reduce((a, b) => a + b);
    return answer(`softmax over the keys: exp(${digits(row[third])} − ${digits(most)}) / ` +
      `${digits(sum)}, the sum of the row's ${row.length} exponentials`);
  }
  if (leaf === "context") {
    const a = Math.floor(second / D), row = get("probabilities")[a][first];
    return answer(`Head ${a}: what token ${first} reads, times column ${second % D} of the values.`, row,
      Float32Array.from(get("value"), (vector) => vector[second]),
      [`probabilities of token ${first}, head ${a}`, `column ${second} of value`]);
  }
  if (leaf === "attention_sum" || leaf === "output_sum") {
    const one = leaf === "attention_sum" ? get("attention.output") : get("feed_forward.down");
    return answer(`${leaf === "attention_sum" ? "attention's" : "the feed-forward layer's"} output ` +
      `${digits(one[first][second])} + the residual stream ${digits(value - one[first][second])}`);
  }
  const x = (get("up") ?? get("dense") ?? get("transform"))?.[first][second];
  if (name === "pooler.activation") return answer(`tanh(${digits(x)})`);
  if (leaf === "activation")
    return answer(`GELU: x · ½ · (1 + erf(x / √2)) with x = ${digits(x)}`);
  const head = model.masked_word;  // what is left are its logits
  return answer(`The head's vector, times row ${second} of the token table, plus the piece's bias.`,
    get("norm")[first], head.table[second], ["masked_word.norm", `embeddings.token, row ${second}`],
    `bias ${digits(head.bias[second])}`);
}
