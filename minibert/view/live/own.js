// The section "Your weights": a BERT of your own, dropped on the page, read here and sent nowhere.

const KINDS = {"config.json": "config", "vocab.txt": "vocab", "tokenizer_config.json": "settings"};

async function openFiles(files) {
  const status = $("own-status"), chosen = {};
  for (const file of files) {
    if (file.name in KINDS) chosen[KINDS[file.name]] = await file.text();
    else if (file.name.endsWith(".safetensors")) chosen.weights = file;
  }
  const missing = ["config.json", "vocab.txt", "model.safetensors"].filter((name) =>
    !((KINDS[name] ?? "weights") in chosen));
  if (missing.length) {
    status.textContent = `Missing: ${missing.join(", ")}. Drop or choose all three at once; ` +
      "tokenizer_config.json beside them says whether capitals count.";
    return;
  }
  const {names, wrappers, tables} = model;
  status.textContent = "Reading …";
  try {
    const about = await asking.ask("openFiles", {model: {names, wrappers, tables}, files: chosen});
    start(about, "your model");
    status.textContent = "This page now runs your model. Reload it to have the first one again.";
  } catch (error) {
    status.textContent = `Not opened; the page goes on with the model before. ${visible(error.message, 300)}`;
  }
}

function buildOwn() {
  const place = $("drop");
  $("files").addEventListener("change", ({target}) => openFiles([...target.files]));
  for (const name of ["dragenter", "dragover", "dragleave", "drop"])
    document.addEventListener(name, (event) => {
      event.preventDefault();
      place.classList.toggle("over", name === "dragenter" || name === "dragover");
      if (name === "drop") openFiles([...event.dataTransfer.files]);
    });
}
