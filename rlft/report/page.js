"use strict";
document.querySelector(".theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
for (const button of document.querySelectorAll(".command button")) {
  button.addEventListener("click", async () => {
    const text = button.previousElementSibling;
    getSelection().selectAllChildren(text);
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "copied";
    } catch {
      button.textContent = "selected";
    }
  });
}
const readout = document.querySelector(".readout");
for (const event of readout ? ["pointerover", "click"] : []) {
  document.addEventListener(event, ({ target }) => {
    const line = target.closest(".tokens");
    if (!line || target.localName !== "span") return;
    document.querySelector(".tokens .read")?.classList.remove("read");
    target.classList.add("read");
    const values = (target.dataset.n ?? "").split("|");
    const own = (line.dataset.names ?? "").split("|").filter(Boolean).map((name, i) => `${name} ${values[i]}`);
    readout.textContent = [JSON.stringify(target.textContent), ...own, line.dataset.same].filter(Boolean).join(" · ");
  });
}
