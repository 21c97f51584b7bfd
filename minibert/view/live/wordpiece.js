// A word -> the pieces of the vocabulary it is made of: greedy, longest match first.
// See minibert/core/wordpiece.py.

const LONGEST_WORD = 100;  // characters; longer words are not cut

/** "unaffable" -> ["una", "##ff", "##able"], or null if it cannot be cut. Every prefix that was
 *  looked for goes into `tried`. `vocab` is a Map of piece -> id. */
function longestMatchFirst(word, vocab, tried = []) {
  const characters = [...word], pieces = [];
  let start = 0;
  while (start < characters.length) {
    let end = characters.length, piece = null;
    for (; end > start; end--) {
      const candidate = (start ? "##" : "") + characters.slice(start, end).join("");
      tried.push(candidate);
      if (vocab.has(candidate)) {
        piece = candidate;
        break;
      }
    }
    if (piece === null) return null;
    pieces.push(piece);
    start = end;
  }
  return pieces;
}

/** A word -> its pieces, or [UNK] for the whole word. */
function wordpiece(word, vocab, tried = []) {
  const cut = [...word].length <= LONGEST_WORD ? longestMatchFirst(word, vocab, tried) : null;
  return cut ?? ["[UNK]"];
}
