// What the reader has chosen, in the page's address: a link shows the same to somebody else.

const START = {first: "", second: null, padding: 0, masks: [], place: null, block: 0, head: 0,
  token: 2, mistakes: [], heads_off: [], blocks_off: [], replaced: {}, other: "", pick: null,
  tensor: "encoder.blocks.0.attention.scores", slice: 0, tour: null};
let state = {...START};

const whole = (text) => /^\d{1,4}$/.test(text) ? Number(text) : null;
const list = (text, form) => (text ?? "").split(",").filter((entry) => form.test(entry));

/** #a=text&b=second&mask=3,5&break=relu&… -> a state; what makes no sense is left out. */
function readAddress(hash, mistakes) {
  const given = new URLSearchParams(hash.replace(/^#/, "")), read = {...START};
  const text = (name) => given.has(name) ? given.get(name).slice(0, 2000) : null;
  read.first = text("a") ?? "";
  read.second = text("b");
  read.other = text("c") ?? "";
  read.padding = Math.min(whole(given.get("pad") ?? "") ?? 0, 8);
  read.masks = list(given.get("mask"), /^\d{1,2}$/).map(Number);
  read.place = whole(given.get("at") ?? "");
  [read.block, read.head] = list((given.get("head") ?? "0,0"), /^\d{1,3}$/).map(Number);
  read.token = whole(given.get("token") ?? "") ?? 2;
  read.pick = whole(given.get("pick") ?? "");
  read.mistakes = list(given.get("break"), /^\w+$/).filter((id) => mistakes.includes(id));
  read.heads_off = list(given.get("heads-off"), /^\d{1,3}\.\d{1,3}$/);
  read.blocks_off = list(given.get("blocks-off"), /^\d{1,3}$/).map(Number);
  const [, place, piece] = /^(\d{1,2}):([^]{1,60})$/.exec(given.get("swap") ?? "") ?? [];
  read.replaced = piece ? {[place]: piece} : {};
  read.tensor = text("tensor") ?? START.tensor;
  read.tour = whole(given.get("tour") ?? "");
  read.block ??= 0;
  read.head ??= 0;
  return read;
}

function address(state) {
  const [swap] = Object.entries(state.replaced).map(([place, piece]) => `${place}:${piece}`);
  const entries = {a: state.first, b: state.second, c: state.other, pad: state.padding || null,
    mask: state.masks.join(), at: state.place, head: `${state.block},${state.head}`,
    token: state.token, pick: state.pick, break: state.mistakes.join(),
    "heads-off": state.heads_off.join(), "blocks-off": state.blocks_off.join(), swap,
    tensor: state.tensor === START.tensor ? null : state.tensor, tour: state.tour};
  const given = Object.entries(entries).filter(([, value]) => ![null, undefined, ""].includes(value));
  return `#${new URLSearchParams(given)}`;
}

/** Masks stay on their tokens when the text is edited: before the edit, and behind it. */
function movedMasks(masks, before, after) {
  let start = 0, end = 0;
  const least = Math.min(before.length, after.length);
  while (start < least && before[start] === after[start]) start++;
  while (end < least - start && before.at(-1 - end) === after.at(-1 - end)) end++;
  return masks.flatMap((place) => place < start ? [place]
    : place >= before.length - end ? [place + after.length - before.length] : []);
}
