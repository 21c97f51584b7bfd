"use strict";
// The pictures that stand in a page are as light or dark as the page, by its own button too.
const dark = matchMedia("(prefers-color-scheme: dark)");
const frames = () => document.querySelectorAll("iframe.picture");

function tell(frame) {
  const own = document.body.dataset.theme;
  const theme = own === "light" || own === "dark" ? own : dark.matches ? "dark" : "light";
  frame.contentWindow?.postMessage({theme}, "*");
}

addEventListener("DOMContentLoaded", () => {
  for (const frame of frames()) frame.addEventListener("load", () => tell(frame));
  for (const details of document.querySelectorAll("details.alive"))
    details.addEventListener("toggle", () => tell(details.querySelector("iframe")));
  new MutationObserver(() => frames().forEach(tell))
    .observe(document.body, {attributeFilter: ["data-theme"]});
  dark.addEventListener("change", () => frames().forEach(tell));
});
