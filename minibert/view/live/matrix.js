// A matrix that one can point into, by mouse or arrow keys: row and column light up, and a line
// below says what the number is.

class Matrix {
  /** `host` is emptied; onMove(row, column) is called when the pointer moves. */
  constructor(host, label, onMove = () => {}) {
    this.onMove = onMove;
    this.cursor = [0, 0];
    this.top = make("div.top", {"aria-hidden": "true"});
    this.left = make("div.left", {"aria-hidden": "true"});
    this.canvas = make("canvas", {tabindex: 0, role: "application", "aria-roledescription": "matrix",
      "aria-label": `${label}; arrow keys move`, "aria-describedby": `${host.id}-said`,
      onmousemove: (event) => this.point(event), onclick: (event) => this.point(event),
      onkeydown: (event) => this.key(event)});
    this.bars = [make("i.row"), make("i.column")];
    this.said = make("p.said", {id: `${host.id}-said`});
    const body = make("div.cells", {}, this.canvas, ...this.bars);
    host.classList.add("matrix");
    host.replaceChildren(make("div.scroll", {}, make("div.frame", {}, this.top, this.left, body)),
      this.said);
  }

  /** rows of numbers; names of rows and columns (or null), a cell's size in pixels, and
   *  describe(row, column), the sentence for one number. */
  draw({rows, most = 1, rowNames, columnNames = null, width, height, describe}) {
    Object.assign(this, {rows, describe});
    paint(this.canvas, rows, most);
    this.canvas.style.width = `${rows[0].length * width}px`;
    this.canvas.style.height = `${rows.length * height}px`;
    [this.width, this.height] = [width, height];
    const named = (names, side, size) => side.replaceChildren(...(names ?? []).map((name) => {
      const span = make("span", {title: name}, name);
      span.style[size[0]] = `${size[1]}px`;
      return span;
    }));
    named(rowNames, this.left, ["height", height]);
    named(columnNames, this.top, ["width", width]);
    this.move(...this.cursor, false);
  }

  move(row, column, told = true) {
    const inside = (value, count) => Math.max(0, Math.min(count - 1, value));
    this.cursor = [inside(row, this.rows.length), inside(column, this.rows[0].length)];
    const [r, c] = this.cursor, sentence = this.describe(r, c);
    Object.assign(this.bars[0].style, {top: `${r * this.height}px`, height: `${this.height}px`});
    Object.assign(this.bars[1].style, {left: `${c * this.width}px`, width: `${this.width}px`});
    for (const [side, place] of [[this.left, r], [this.top, c]])
      [...side.children].forEach((name, i) => name.classList.toggle("chosen", i === place));
    this.said.textContent = sentence;
    if (!told) return;
    announce(sentence);
    this.onMove(r, c);
  }

  point({clientX, clientY}) {
    const {left, top} = this.canvas.getBoundingClientRect();
    const place = [Math.floor((clientY - top) / this.height), Math.floor((clientX - left) / this.width)];
    if (String(place) !== String(this.cursor)) this.move(...place);
  }

  key(event) {
    const [r, c] = this.cursor, last = this.rows[0].length - 1;
    const places = {ArrowLeft: [r, c - 1], ArrowRight: [r, c + 1], ArrowUp: [r - 1, c],
      ArrowDown: [r + 1, c], Home: [r, 0], End: [r, last], PageUp: [0, c],
      PageDown: [this.rows.length - 1, c]};
    if (!(event.key in places) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.move(...places[event.key]);
  }
}
