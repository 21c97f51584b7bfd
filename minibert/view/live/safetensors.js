// A BERT of your own from model.safetensors, config.json and vocab.txt. Files are data from anybody:
// every size is checked before it is believed, and what is wrong is said in a sentence.

const MOST_HEADER = 1e8, MOST_TEXT = 2e7;  // bytes; the format's own limit, and a generous one

function parsed(text, name) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${name} is not JSON: it is damaged, or another file under this name`);
  }
}

/** vocab.txt -> pieces by id. Lines end at \n alone, as in minibert/tokenizer/files.py. */
function readVocabulary(text, config) {
  const pieces = text.split("\n").map((line) => line.endsWith("\r") ? line.slice(0, -1) : line);
  if (pieces.at(-1) === "") pieces.pop();
  for (const token of ["[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    if (!pieces.includes(token))
      throw new Error(`vocab.txt has no ${token}: it is not the vocabulary of a BERT`);
  if (new Set(pieces).size !== pieces.length)
    throw new Error("vocab.txt holds a piece twice: get the file again");
  if (pieces.length > config.vocab_size)
    throw new Error(`vocab.txt has ${pieces.length} pieces, config.json says ${config.vocab_size}: ` +
      "the two do not belong together");
  return pieces;
}

/** The shape that a parameter must have; our names, N for the block's number. */
function shapeOf(name, {vocab_size: V, hidden_size: H, intermediate_size: I,
  max_position_embeddings: P, type_vocab_size: S}) {
  const rows = {"embeddings.token.weight": V, "embeddings.segment.weight": S,
    "embeddings.position.weight": P, "next_sentence.logits.weight": 2};
  if (name in rows) return [rows[name], H];
  if (name === "masked_word.bias") return [V];
  if (name === "next_sentence.logits.bias") return [2];
  if (/norm\.|norm$/.test(name)) return [H];
  if (name.endsWith(".bias")) return [name.endsWith("up.bias") ? I : H];
  return name.endsWith("up.weight") ? [I, H] : name.endsWith("down.weight") ? [H, I] : [H, H];
}

/** Every parameter of this BERT: Hugging Face's name -> ours. */
function parameterNames(names, config) {
  const table = new Map();
  for (const [theirs, ours] of Object.entries(names)) {
    const count = ours.includes(".N.") ? config.num_hidden_layers : 1;
    for (let block = 0; block < count; block++)
      table.set(theirs.replace(".N.", `.${block}.`), ours.replace(".N.", `.${block}.`));
  }
  return table;
}

/** The header of a .safetensors file: name -> {dtype, shape, start, end}, checked. */
async function readHeader(file) {
  const wrong = (what) => new Error(`model.safetensors ${what}: it is damaged, or not this format`);
  if (file.size < 10) throw wrong(`has only ${file.size} bytes`);
  const length = Number(new DataView(await file.slice(0, 8).arrayBuffer()).getBigUint64(0, true));
  if (length > MOST_HEADER || 8 + length > file.size)
    throw wrong(`says that its header has ${length} bytes, and has ${file.size} in all`);
  const header = parsed(await file.slice(8, 8 + length).text(), "the header of model.safetensors");
  if (header === null || typeof header !== "object") throw wrong("has no list of tensors");
  const tensors = new Map();
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const {dtype, shape, data_offsets: offsets} = entry ?? {};
    const counts = (list) => Array.isArray(list) && list.every((n) => Number.isInteger(n) && n >= 0);
    if (!counts(shape) || !counts(offsets) || offsets.length !== 2)
      throw wrong("has a tensor without shape or place");
    const [start, end] = offsets, count = shape.reduce((a, b) => a * b, 1);
    if (end < start || 8 + length + end > file.size)
      throw wrong("ends before its tensors do");
    if (dtype in WIDTHS && end - start !== count * WIDTHS[dtype])
      throw wrong("has a tensor whose shape and size disagree");
    tensors.set(name, {dtype, shape, start: 8 + length + start, count});
  }
  return tensors;
}

/** The parameters of `config`'s BERT out of a file, each of the right shape; heads may be missing. */
async function readWeights(file, config, {names, wrappers}, say) {
  const tensors = await readHeader(file), table = parameterNames(names, config);
  const prefix = new RegExp(`^((${wrappers})\\.)+`), weights = new Map(), wanted = [];
  for (const [key, tensor] of tensors) {
    const name = key.replace(prefix, "").replace(/\.gamma$/, ".weight").replace(/\.beta$/, ".bias");
    const ours = table.get(name === "cls.predictions.decoder.bias" ? "cls.predictions.bias" : name);
    if (ours) wanted.push([ours, tensor]);
  }
  const present = new Set(wanted.map(([ours]) => ours));
  const whole = (part) => [...present].some((name) => name.startsWith(part));
  for (const ours of table.values()) {
    const optional = /^(pooler|masked_word|next_sentence)\./.exec(ours);
    if (!present.has(ours) && (!optional || whole(optional[0])))
      throw new Error(`model.safetensors lacks ${ours}: it is incomplete, not a BERT's, or ` +
        "config.json belongs to another file");
  }
  for (const [done, [ours, {dtype, shape, start, count}]] of wanted.entries()) {
    const expected = shapeOf(ours, config);
    if (String(shape) !== String(expected))
      throw new Error(`${ours} has the shape ${shape.join(" × ")}, config.json asks for ` +
        `${expected.join(" × ")}: the two do not belong together`);
    if (!["F64", "F32", "F16", "BF16"].includes(dtype))
      throw new Error(`${ours} holds numbers of the type ${String(dtype).slice(0, 20)}; this page ` +
        "reads F64, F32, F16 and BF16");
    const bytes = await file.slice(start, start + count * WIDTHS[dtype]).arrayBuffer();
    const flat = numbers(dtype, bytes, 0, count);
    if (!flat.every(Number.isFinite))
      throw new Error(`${ours} holds numbers that are not finite: get the file again`);
    weights.set(ours, rowsOf(flat, shape));
    say(`${done + 1} of ${wanted.length} tensors read`);
  }
  return weights;
}

/** The engine of somebody's files: {config, vocab, settings} as texts, {weights} as a Blob. */
async function engineOfFiles(model, {config: text, vocab, settings: options, weights: file}, say) {
  if (text.length > MOST_TEXT || vocab.length > MOST_TEXT)
    throw new Error("config.json or vocab.txt is far too large to be what its name says");
  const config = bertConfig(parsed(text, "config.json"));
  const vocabulary = readVocabulary(vocab, config);
  // Without tokenizer_config.json, a vocabulary that has capitals is a cased model's.
  const cased = vocabulary.some((piece) => /^[A-Z][a-z]/.test(piece));
  const given = options ? parsed(options, "tokenizer_config.json") ?? {} : {};
  const settings = {do_lower_case: !cased, strip_accents: null, tokenize_chinese_chars: true, ...given};
  const special = {};
  for (const token of ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    if (vocabulary.includes(token)) special[token] = vocabulary.indexOf(token);
  const weights = await readWeights(file, config, model, say);
  return new Engine({...model, config, vocabulary, special, settings}, weights);
}
