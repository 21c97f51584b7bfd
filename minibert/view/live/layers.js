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
 *  result[t][o] = dot(x[t], weight[o]) + bias[o], four tokens and two rows at a time: nearly all time
 *  goes here, and so each number that is read from memory serves several products.
 */
function linear(x, weight, bias) {
  const T = x.length, O = weight.length, I = x[0].length, result = zeros(T, O);  // (T, O)
  const four = new Float64Array(4 * I);  // four tokens' numbers side by side
  for (let t = 0; t < T; t += 4) {
    for (let n = 0; n < 4; n++)
      for (let i = 0, row = x[Math.min(t + n, T - 1)]; i < I; i++) four[4 * i + n] = row[i];
    for (let o = 0; o < O; o += 2) {
      const one = weight[o], two = weight[Math.min(o + 1, O - 1)];
      let a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
      for (let i = 0, j = 0; i < I; i++, j += 4) {
        const v = one[i], w = two[i], p = four[j], q = four[j + 1], r = four[j + 2], s = four[j + 3];
        a += v * p;
        b += v * q;
        c += v * r;
        d += v * s;
        e += w * p;
        f += w * q;
        g += w * r;
        h += w * s;
      }
      store(result, t, o, a, b, c, d);
      if (o + 1 < O) store(result, t, o + 1, e, f, g, h);
    }
    if (bias)
      for (let n = t; n < Math.min(t + 4, T); n++)
        for (let o = 0; o < O; o++) result[n][o] += bias[o];
  }
  return result;
}

function store(result, t, o, a, b, c, d) {
  result[t][o] = a;
  if (t + 1 < result.length) result[t + 1][o] = b;
  if (t + 2 < result.length) result[t + 2][o] = c;
  if (t + 3 < result.length) result[t + 3][o] = d;
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
