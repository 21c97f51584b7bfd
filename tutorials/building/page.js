// Light or dark, before anything is drawn; then the buttons. Everything reads well without this.
"use strict";
const dark = matchMedia("(prefers-color-scheme: dark)");

function stored() {
  try { return localStorage.getItem("theme"); } catch { return null; }
}

function paint() {
  document.documentElement.dataset.theme = stored() || (dark.matches ? "dark" : "light");
}

paint();
dark.addEventListener("change", paint);

document.addEventListener("DOMContentLoaded", () => {
  const button = document.getElementById("theme");
  const label = () => {
    button.textContent = document.documentElement.dataset.theme === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", button.textContent + " colours");
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("theme", theme); } catch { /* this page only */ }
    document.documentElement.dataset.theme = theme;
    label();
  });
  label();

  // The table of contents starts closed where it would push the text off the screen.
  const contents = document.querySelector("details.toc");
  if (contents && innerWidth < 1180) contents.open = false;

  if (!navigator.clipboard) return;
  for (const block of document.querySelectorAll(".code.cell")) {
    const copy = document.createElement("button");
    copy.type = "button";
    copy.className = "copy";
    copy.textContent = "Copy";
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(block.querySelector("code").textContent);
      copy.textContent = "Copied";
      setTimeout(() => { copy.textContent = "Copy"; }, 1500);
    });
    block.append(copy);
  }
});
