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
 *  Nearly all time goes here. Four tokens at once read a row of the weight once, not four times. */
function linear(x, weight, bias) {
  const result = zeros(x.length, weight.length), I = x[0].length, even = I - I % 2;  // (T, O)
  for (let t = 0; t < x.length; t += 4) {
    const four = Math.min(4, x.length - t);
    const a = x[t], b = x[t + 1] ?? a, c = x[t + 2] ?? a, d = x[t + 3] ?? a;
    for (let o = 0; o < weight.length; o++) {
      const row = weight[o], start = bias ? bias[o] : 0;
      let p = start, q = start, r = start, s = start;
      for (let i = 0; i < even; i += 2) {
        const v = row[i], w = row[i + 1];
        p += v * a[i] + w * a[i + 1];
        q += v * b[i] + w * b[i + 1];
        r += v * c[i] + w * c[i + 1];
        s += v * d[i] + w * d[i + 1];
      }
      if (even < I) {
        const v = row[even];
        p += v * a[even];
        q += v * b[even];
        r += v * c[even];
        s += v * d[even];
      }
      result[t][o] = p;
      if (four > 1) result[t + 1][o] = q;
      if (four > 2) result[t + 2][o] = r;
      if (four > 3) result[t + 3][o] = s;
    }
  }
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
  return Float32Array.from(powers, (power) => power / sum);
}

/** The error function, by its series; all terms are positive, so that nothing cancels. */
function erf(x) {
  if (Math.abs(x) > 5) return Math.sign(x);  // to 1.5e-12
  let term = x, sum = x;
  for (let n = 1; Math.abs(term) > 1e-12 * Math.abs(sum); n++) {
    term *= 2 * x * x / (2 * n + 1);
    sum += term;
  }
  return 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum;
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
    return this.keep(ids.map((id) => Float32Array.from(this.row(id))));
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
