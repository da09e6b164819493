// The command palette: Ctrl+K or "/" opens it, it asks while one types, arrows choose, Enter goes there.
(() => {
  const dialog = document.getElementById("palette");
  if (!dialog) return;
  const box = dialog.querySelector("input");
  const list = document.getElementById("palette-hits");
  const said = dialog.querySelector("[data-palette-said]");
  let asked = null;
  let running = null;
  let timer = 0;

  const options = () => [...list.querySelectorAll("[role=option]")];

  function choose(option) {
    options().forEach((each) => each.setAttribute("aria-selected", String(each === option)));
    if (!option) { box.removeAttribute("aria-activedescendant"); return; }
    box.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  }

  async function ask() {
    const words = box.value.trim();
    if (words === asked) return;
    asked = words;
    if (running) running.abort();
    running = new AbortController();
    try {
      const answer = await fetch(`${list.dataset.source}?${new URLSearchParams({ q: words })}`, {
        headers: { "HX-Request": "true" }, signal: running.signal, credentials: "same-origin",
      });
      // Signed out meanwhile: the page that leads to the sign-in does so here, too.
      if (answer.headers.get("HX-Redirect")) { location.href = answer.headers.get("HX-Redirect"); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      list.innerHTML = await answer.text();
      choose(options()[0]);
      said.textContent = String(options().length);
    } catch (error) {
      if (error.name !== "AbortError") asked = null;
    }
  }

  function open() {
    if (dialog.open) return;
    dialog.showModal();
    box.select();
    asked = null;
    ask();
  }

  document.addEventListener("keydown", (event) => {
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    const typing = event.target.closest("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]");
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      open();
    } else if (event.key === "/" && plain && !typing && !document.querySelector("dialog[open]") && !document.getElementById("catalogue-q")) {
      // The catalogue has a search of its own under this key.
      event.preventDefault();
      open();
    }
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-palette]") && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      open();
    }
    if (event.target.closest("[data-palette-close]")) dialog.close();
  });
  box.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, 150); });
  box.addEventListener("keydown", (event) => {
    const all = options();
    const now = all.findIndex((each) => each.getAttribute("aria-selected") === "true");
    const steps = { ArrowDown: now + 1, ArrowUp: now - 1 };
    if (event.key === "Escape") {
      // A search box would only empty itself at the first press.
      event.preventDefault();
      dialog.close();
    } else if (event.key in steps && all.length) {
      event.preventDefault();
      choose(all[(steps[event.key] + all.length) % all.length]);
    } else if (event.key === "Enter" && all[now] && box.value.trim() === asked) {
      event.preventDefault();
      all[now].click();
    }
  });
})();
