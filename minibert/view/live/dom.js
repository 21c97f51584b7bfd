// Small helps for the page. Text becomes nodes by textContent alone: whatever it holds, it is text.

const dark = matchMedia("(prefers-color-scheme: dark)");

/** A new element: its tag and classes as "span.muted", attributes, and texts or nodes inside. */
function make(tag, attributes = {}, ...content) {
  const [name, ...classes] = tag.split("."), node = document.createElement(name);
  if (classes.length) node.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== null) node.setAttribute(key, value);
  }
  node.append(...content.map((part) => typeof part === "number" ? String(part) : part));
  return node;
}

const quoted = (token) => `‘${token}’`;

/** Characters that turn text round or cannot be seen, as their code; long text shortened. */
function visible(text, most = 60) {
  const shown = text.replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cn}\u2028\u2029]/gu, (char) =>
    `U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`);
  return shown.length > most ? `${shown.slice(0, most - 1)}…` : shown;
}

// ---- Colour: from nearly the ground to strong; blue for shares and plus, orange for minus

const RAMPS = {
  day: {blue: [[247, 251, 255], [198, 219, 239], [107, 174, 214], [33, 113, 181], [8, 48, 107]],
    orange: [[255, 250, 245], [253, 208, 162], [241, 163, 64], [204, 96, 12], [127, 59, 8]]},
  night: {blue: [[22, 27, 34], [17, 58, 120], [42, 118, 216], [121, 192, 255], [218, 240, 255]],
    orange: [[22, 27, 34], [92, 48, 12], [178, 92, 20], [240, 150, 70], [255, 216, 170]]},
};

const SHADES = 255;
const palettes = new Map();

/** The colours of a hue for shares of 0, 1/255, ... 1: three bytes each. */
function palette(hue) {
  const ground = dark.matches ? "night" : "day", name = ground + hue;
  if (!palettes.has(name)) {
    const stops = RAMPS[ground][hue], last = stops.length - 1;
    palettes.set(name, Uint8Array.from({length: 3 * (SHADES + 1)}, (_, i) => {
      const place = Math.floor(i / 3) / SHADES * last, low = Math.min(Math.floor(place), last - 1);
      const [from, to] = [stops[low][i % 3], stops[low + 1][i % 3]];
      return Math.round(from + (to - from) * (place - low));
    }));
  }
  return palettes.get(name);
}

/** One pixel for each number; `most` is the number that has the strongest colour. */
function paint(canvas, rows, most = 1) {
  [canvas.height, canvas.width] = [rows.length, rows[0]?.length ?? 0];
  if (!canvas.width) return;
  const context = canvas.getContext("2d", {willReadFrequently: true});  // stays out of the GPU
  const image = context.createImageData(canvas.width, canvas.height);
  const blue = palette("blue"), orange = palette("orange");
  let pixel = 0;
  for (const row of rows)
    for (const value of row) {
      const share = Math.min(Math.abs(value) / most || 0, 1), start = 3 * Math.round(share * SHADES);
      const colours = value < 0 ? orange : blue;
      for (let part = 0; part < 3; part++) image.data[pixel + part] = colours[start + part];
      image.data[pixel + 3] = 255;
      pixel += 4;
    }
  context.putImageData(image, 0, 0);
}

/** A table row; its first cell says what the row is about. */
const tableRow = ([name, ...cells]) => make("tr", {}, make("th", {scope: "row"}, name),
  ...cells.map((cell) => make("td", {}, cell)));

/** Let a screen reader say a sentence: the last one, once there have been no others for a while. */
let announcing = 0;
function announce(sentence, wait = 200) {
  clearTimeout(announcing);
  announcing = setTimeout(() => { $("announced").textContent = sentence; }, wait);
}
