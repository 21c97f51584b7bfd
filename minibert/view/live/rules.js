// What BERT's tokenizer does to a text, rule by rule. See minibert/core/rules.py, and
// unicode_classes.py beside it: the character classes come from there, with the page.

/** A set of characters from hexadecimal ranges: "41-5A 61" holds A to Z and a. */
class CodePoints {
  constructor(ranges) {
    this.pairs = ranges.split(/\s+/).filter(Boolean)
      .map((entry) => entry.split("-").map((code) => parseInt(code, 16)))
      .map(([first, last]) => [first, last ?? first])
      .sort((a, b) => a[0] - b[0]);
  }

  has(char) {
    const code = char.codePointAt(0);
    let low = 0, high = this.pairs.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.pairs[middle][0] <= code) low = middle + 1;
      else high = middle;
    }
    return low > 0 && code <= this.pairs[low - 1][1];
  }
}

/** The classes as rules use them. `tables` are strings of ranges, and the combining classes. */
function characterRules(tables) {
  const lower = new Map([["\u0130", "i\u0307"]]);
  for (const entry of tables.lowercase.trim().split(/\s+/)) {
    const [, first, step, last, sign, distance] =
      /^(\w+)(?:([-=])(\w+))?([+-])(\w+)$/.exec(entry);
    for (let code = parseInt(first, 16); code <= parseInt(last ?? first, 16);
         code += step === "=" ? 2 : 1)
      lower.set(String.fromCodePoint(code),
        String.fromCodePoint(code + parseInt(sign + distance, 16)));
  }
  const sets = {};
  for (const name of ["removed", "spaces", "ideographs", "punctuation", "marks", "decomposed"])
    sets[name] = new CodePoints(tables[name]);
  const combining = Object.entries(tables.combining)
    .map(([order, ranges]) => [Number(order), new CodePoints(ranges)]);
  const order = (char) => combining.find(([, chars]) => chars.has(char))?.[0] ?? 0;
  return {...sets, lower, order};
}

const each = (text, change) => [...text].map(change).join("");

/** Delete control, format and private-use characters; make every space an ASCII one. */
function clean(text, rules) {
  if (/\p{Surrogate}/u.test(text))
    throw new Error("the text holds half a character (a lone surrogate): type or paste it again");
  return each(text, (char) => rules.spaces.has(char) ? " " : rules.removed.has(char) ? "" : char);
}

/** Put spaces around Chinese characters, which are written without. */
function isolateIdeographs(text, rules) {
  return each(text, (char) => rules.ideographs.has(char) ? ` ${char} ` : char);
}

/** Split accented letters into letter and marks, and drop the marks. */
function stripAccents(text, rules) {
  const parts = each(text, (char) => rules.decomposed.has(char) ? char.normalize("NFD") : char);
  const letters = [];
  let run = [];  // marks that meet, which Unicode puts into an order of its own
  for (const char of [...parts, ""]) {
    const order = char ? rules.order(char) : 0;
    if (order) {
      run.push([order, char]);
    } else {
      letters.push(...run.sort((a, b) => a[0] - b[0]).map(([, mark]) => mark), char);
      run = [];
    }
  }
  return letters.filter((char) => char && !rules.marks.has(char)).join("");
}

/** Every character by itself: a final capital sigma becomes σ, not ς. */
function lowercase(text, rules) {
  return each(text, (char) => rules.lower.get(char) ?? char);
}

/** Put spaces around punctuation, so that splitting at spaces gives the words. */
function isolatePunctuation(text, rules) {
  return each(text, (char) => rules.punctuation.has(char) ? ` ${char} ` : char);
}

/** The rules that a tokenizer's settings switch on, in order: [name, function]. */
function rulesFor({do_lower_case, strip_accents, tokenize_chinese_chars}) {
  const steps = [["clean", clean]];
  if (tokenize_chinese_chars) steps.push(["isolate_ideographs", isolateIdeographs]);
  if (strip_accents ?? do_lower_case) steps.push(["strip_accents", stripAccents]);
  if (do_lower_case) steps.push(["lowercase", lowercase]);
  return [...steps, ["isolate_punctuation", isolatePunctuation]];
}
