// Numbers from bytes: the page's own, and those of a model.safetensors that somebody drops on it.

/** Every float16 there is, as a number: 65,536 of them. */
let halves = null;
function halfTable() {
  halves ??= Float32Array.from({length: 65536}, (_, bits) => {
    const sign = bits >> 15 ? -1 : 1, exponent = bits >> 10 & 31, fraction = bits & 1023;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
  return halves;
}

const WIDTHS = {F64: 8, F32: 4, F16: 2, BF16: 2, I8: 1};

/** The numbers of a tensor, of a type that safetensors names, in a buffer. */
function numbers(type, buffer, start, count) {
  const bytes = buffer.slice(start, start + count * WIDTHS[type]);  // so that it is aligned
  if (type === "F32") return new Float32Array(bytes);
  if (type === "F64") return Float32Array.from(new Float64Array(bytes));
  if (type === "I8") return Float32Array.from(new Int8Array(bytes));
  const short = new Uint16Array(bytes);
  if (type === "F16") return Float32Array.from(short, (bits) => halfTable()[bits]);
  const wide = new Uint32Array(short.length);  // BF16 is the upper half of a float32
  short.forEach((bits, i) => { wide[i] = bits << 16; });
  return new Float32Array(wide.buffer);
}

/** (O, I) numbers in a row -> O rows that share their memory; (O,) stays as it is. */
function rowsOf(flat, shape) {
  if (shape.length === 1) return flat;
  const [rows, columns] = shape;
  return Array.from({length: rows}, (_, r) => flat.subarray(r * columns, (r + 1) * columns));
}

/** The page's own weights: base64, and a list of {name, type, shape, scales} in their order.
 *  An int8 matrix has one scale for each row, a float32 behind its bytes. */
function ownWeights(base64, list) {
  const text = atob(base64), bytes = new Uint8Array(text.length), weights = new Map();
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  let start = 0;
  for (const {name, type, shape} of list) {
    const count = shape.reduce((a, b) => a * b), flat = numbers(type, bytes.buffer, start, count);
    start += count * WIDTHS[type];
    const rows = rowsOf(flat, shape);
    if (type === "I8") {
      const scales = numbers("F32", bytes.buffer, start, shape[0]);
      start += 4 * shape[0];
      rows.forEach((row, r) => row.forEach((value, i) => { row[i] = value * scales[r]; }));
    }
    weights.set(name, rows);
  }
  return weights;
}
