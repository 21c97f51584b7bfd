const data = JSON.parse(document.getElementById("data").textContent);
const last = data.layers.length - 1;

function add(parent, tag, attributes = {}, text = "") {
  const node = document.createElement(tag);
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  node.textContent = text;
  parent.append(node);
  return node;
}

data.layers.forEach((guesses, layer) => {
  const row = add($("layers"), "tr"), head = add(row, "th", {scope: "row"}, `layer ${layer}`);
  add(head, "small", {}, layer ? `after block ${layer - 1}` : "embeddings");
  add(row, "td", {class: "followed"});
  add(add(row, "td", {class: "bar"}), "i");
  const cell = add(row, "td");
  for (const {shown, word, share} of guesses) {
    const button = add(cell, "button", {class: "guess", type: "button", "data-word": word}, shown);
    add(button, "span", {}, ` ${percent(share)}`);
    button.disabled = !(word in data.paths);
    button.addEventListener("click", () => follow(word, shown));
  }
});

function follow(word, shown) {
  const path = data.paths[word], most = Math.max(...path.map(([share]) => share));
  $("name").textContent = `\u2018${shown}\u2019: probability, place`;
  path.forEach(([share, place], layer) => {
    const row = $("layers").children[layer];
    row.children[1].textContent = `${percent(share)}, ${place.toLocaleString("en")}.`;
    row.querySelector("i").style.width = `${100 * share / most}%`;
  });
  for (const button of document.querySelectorAll(".guess"))
    button.setAttribute("aria-pressed", button.dataset.word === word);
  const at = (layer) => `${percent(path[layer][0])}, place ${path[layer][1].toLocaleString("en")}`;
  const top = path.findIndex(([, place]) => place === 1);
  $("said").textContent = `\u2018${shown}\u2019: ${at(0)} in the embeddings; ${at(last)} after ` +
    `the last block; ` + (top < 0 ? "never the first guess." : `first guess in layer ${top} for the first time.`);
}

follow(data.layers[last][0].word, data.layers[last][0].shown);
