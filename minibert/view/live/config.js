// The numbers that define a BERT, under the names of config.json; only what the page needs of them.
//
// Letters in every shape comment, as in minibert/core/config.py. The page reads one text at a time,
// so there is no axis B.
//
//     T  tokens             A  attention heads      I  intermediate size     V  vocabulary
//     H  hidden size        D  size of one head     L  blocks

const COUNTS = ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
  "intermediate_size", "max_position_embeddings", "type_vocab_size"];
const MOST = 1e6;  // no BERT counts further; a file that does is damaged

/** The values of a config.json -> a config, or an Error that says what is wrong with them. */
function bertConfig(values) {
  if (values === null || typeof values !== "object" || !("hidden_size" in values))
    throw new Error("config.json is not a BERT's: it has no hidden_size");
  const config = {type_vocab_size: 2, layer_norm_eps: 1e-12, hidden_act: "gelu", ...values};
  const type = config.model_type ?? "bert", positions = config.position_embedding_type;
  if (type !== "bert")
    throw new Error(`config.json describes a model of the type “${type}”; this page reads “bert”`);
  if ((positions ?? "absolute") !== "absolute" || config.is_decoder)
    throw new Error("config.json describes a BERT with relative positions or a decoder; this page " +
      "reads BERT as published");
  for (const name of COUNTS)
    if (!Number.isInteger(config[name]) || config[name] < 1 || config[name] > MOST)
      throw new Error(`${name} in config.json must be a positive whole number`);
  const {hidden_size: H, num_attention_heads: A, layer_norm_eps: eps} = config;
  if (H % A) throw new Error(`hidden_size ${H} in config.json is no multiple of its ${A} heads`);
  if (!(eps > 0 && eps < 1)) throw new Error("layer_norm_eps in config.json must be a small number");
  if (!ACTIVATIONS.has(config.hidden_act))
    throw new Error(`hidden_act in config.json must be one of ${[...ACTIVATIONS.keys()].join(", ")}`);
  return config;
}
