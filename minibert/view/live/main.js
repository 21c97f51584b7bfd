// The page: it asks the engine in the worker, and draws what it answers.

const $ = (id) => document.getElementById(id);

/** The engine in a worker, which is made of the page's own text. Of several calls of `latest` that
 *  wait, only the last is made. */
class Asking {
  constructor(said) {
    const text = new Blob([$("core").textContent], {type: "text/javascript"});
    this.worker = new Worker(URL.createObjectURL(text));
    this.waiting = new Map();
    this.count = 0;
    this.worker.onmessage = ({data: {id, result, error, said: words}}) => {
      if (words !== undefined) return said(words);
      const {resolve, reject} = this.waiting.get(id);
      this.waiting.delete(id);
      return error === undefined ? resolve(result) : reject(new Error(error));
    };
  }

  ask(method, values) {
    return new Promise((resolve, reject) => {
      this.waiting.set(++this.count, {resolve, reject});
      this.worker.postMessage({id: this.count, method, values});
    });
  }
}

const model = JSON.parse($("data").textContent);
const asking = new Asking(() => {});

async function draw() {
  try {
    const {lens} = await asking.ask("run", {first: $("first").value});
    $("said").textContent = "";
    $("lens").replaceChildren(...(lens ?? []).map((guesses, layer) => {
      const row = document.createElement("tr");
      for (const word of [`layer ${layer}`, ...guesses.map(({token}) => token)])
        row.append(Object.assign(document.createElement("td"), {textContent: word}));
      return row;
    }));
  } catch (error) {
    $("said").textContent = error.message;
  }
}

asking.ask("open", {model, base64: $("weights").textContent.trim()}).then(({config}) => {
  $("model").textContent = `${model.source}: ${config.num_hidden_layers} blocks. ${model.note}`;
  $("first").value = model.examples[0];
  $("first").addEventListener("input", draw);
  return draw();
});
