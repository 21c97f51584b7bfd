// What PyTorch gives to minibert/core/: Linear, LayerNorm, Embedding, softmax and GELU.
//
// A tensor is an array of arrays with a Float32Array at the end: hidden[t][h], scores[a][q][k].
// Sums run in double precision, which JavaScript has, and are rounded when they are stored.

/** zeros(T, H) is a list of T rows of H numbers, zeros(A, T, D) a list of A such lists. */
function zeros(length, ...rest) {
  return rest.length ? Array.from({length}, () => zeros(...rest)) : new Float32Array(length);
}

/** (n,), (n,) -> a number */
function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** x (T, I), weight (O, I), bias (O,) or null -> (T, O): every row of x times every row of weight.
 *
 *  result[t][o] = dot(x[t], weight[o]) + bias[o], for two tokens and four rows of weight at a time:
 *  nearly all time goes here, and so each number that is read serves several products. Where a
 *  second token or four rows are not left, others are taken again and their products not stored.
 */
function linear(x, weight, bias) {
  const T = x.length, O = weight.length, I = x[0].length, result = zeros(T, O);  // (T, O)
  for (let o = 0; o < O; o += 4) {
    const j = weight[o], k = weight[Math.min(o + 1, O - 1)];
    const l = weight[Math.min(o + 2, O - 1)], m = weight[Math.min(o + 3, O - 1)];
    for (let t = 0; t < T; t += 2) {
      const s = Math.min(t + 1, T - 1), p = x[t], q = x[s];
      let a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
      for (let i = 0; i < I; i++) {
        const v = p[i], w = q[i];
        a += v * j[i];
        b += v * k[i];
        c += v * l[i];
        d += v * m[i];
        e += w * j[i];
        f += w * k[i];
        g += w * l[i];
        h += w * m[i];
      }
      store(result[t], o, a, b, c, d);
      store(result[s], o, e, f, g, h);
    }
  }
  if (bias)
    for (const row of result)
      for (let o = 0; o < O; o++) row[o] += bias[o];
  return result;
}

/** Four numbers into a row; a Float32Array ignores what lies beyond its end. */
function store(row, o, a, b, c, d) {
  row[o] = a;
  row[o + 1] = b;
  row[o + 2] = c;
  row[o + 3] = d;
}

/** (T, D) -> (D, T) */
function transposed(rows) {
  const result = zeros(rows[0].length, rows.length);
  rows.forEach((row, r) => row.forEach((value, c) => { result[c][r] = value; }));
  return result;
}

/** (T, H) + (T, H) -> (T, H) */
const add = (x, y) => x.map((row, t) => row.map((value, h) => value + y[t][h]));

/** Exponentials as shares of their sum: (n,) -> (n,) */
function softmax(scores) {
  let most = -Infinity, sum = 0;
  for (const score of scores) most = Math.max(most, score);  // taken off, else e would overflow
  const powers = new Float64Array(scores.length);
  for (let i = 0; i < scores.length; i++) sum += powers[i] = Math.exp(scores[i] - most);
  return new Float32Array(powers.map((power) => power / sum));
}

/** The error function to 1.5e-7, which float32 hardly sees: Abramowitz and Stegun, 7.1.26. */
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const sum = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 +
    t * 1.061405429))));
  return Math.sign(x) * (1 - sum * Math.exp(-x * x));
}

const gelu = (x) => x * 0.5 * (1 + erf(x / Math.SQRT2));
const geluTanh = (x) =>
  0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
const ACTIVATIONS = new Map([
  ["gelu", gelu], ["gelu_python", gelu], ["gelu_new", geluTanh], ["gelu_pytorch_tanh", geluTanh],
  ["gelu_python_tanh", geluTanh], ["gelu_fast", geluTanh], ["gelu_accurate", geluTanh],
]);

/** Where a model's numbers come from, and where its intermediates go: `trace` has the names of
 *  minibert/trace.py. `weights` maps names such as "embeddings.token.weight" to rows. */
class Source {
  constructor(config, weights) {
    this.config = config;
    this.weights = weights;
    this.trace = new Map();
  }

  has(part) {
    return [...this.weights.keys()].some((name) => name.startsWith(part));
  }

  /** A function that keeps a tensor under `name`, or under name.leaf, and gives it back. */
  keeper(name) {
    return (tensor, leaf = null) => {
      this.trace.set(leaf ? `${name}.${leaf}` : name, tensor);
      return tensor;
    };
  }
}

class Embedding {
  constructor(source, name) {
    this.weight = source.weights.get(`${name}.weight`);  // (V, H)
    this.row = (id) => this.weight[id];
    this.keep = source.keeper(name);
  }

  forward(ids) {  // (T,) -> (T, H)
    return this.keep(ids.map((id) => this.row(id).slice()));
  }
}

class Linear {
  constructor(source, name) {
    this.weight = source.weights.get(`${name}.weight`);  // (O, I)
    this.bias = source.weights.get(`${name}.bias`);  // (O,)
    this.keep = source.keeper(name);
  }

  forward(x) {  // (T, I) -> (T, O)
    return this.keep(linear(x, this.weight, this.bias));
  }
}

/** (x - mean) / sqrt(variance + eps) * weight + bias, each token's vector by itself. */
class LayerNorm {
  constructor(source, name) {
    this.weight = source.weights.get(`${name}.weight`);  // (H,)
    this.bias = source.weights.get(`${name}.bias`);  // (H,)
    this.eps = source.config.layer_norm_eps;
    this.keep = source.keeper(name);
  }

  center(row) {
    return row.reduce((sum, value) => sum + value, 0) / row.length;
  }

  root(variance) {
    return Math.sqrt(variance + this.eps);
  }

  forward(x) {  // (T, H) -> (T, H)
    return this.keep(x.map((row) => {
      const mean = row.reduce((sum, value) => sum + value, 0) / row.length;
      const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / row.length;
      const center = this.center(row), root = this.root(variance);
      return row.map((value, h) => (value - center) / root * this.weight[h] + this.bias[h]);
    }));
  }
}
