// The form of a chart's values: messages beside their fields while somebody types, finding a field, focus after a swap.
// The server reads, checks and compares; here its answer is only put where it belongs.
(() => {
  let present = null;
  let lastFocus = "";

  const root = () => document.querySelector("[data-values]");
  const byId = (id) => document.getElementById(id);

  function mark(input, bad) {
    if (!input) return;
    input.classList.toggle("is-invalid", bad);
    if (bad) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }

  /** What is not new is not written again, so that it is not read out again. */
  function write(place, texts) {
    if (!place) return;
    const now = [...place.children].map((line) => line.textContent);
    const plain = now.length ? now : [place.textContent.trim()].filter(Boolean);
    if (plain.join("\n") === texts.join("\n")) return;
    place.replaceChildren(...texts.map((text) => {
      const line = document.createElement("div");
      line.textContent = text;
      return line;
    }));
  }

  function tell() {
    const told = document.querySelector("[data-values-told]");
    if (!told || !root()) return;
    const problems = new Map();
    told.querySelectorAll("[data-values-problem]").forEach((item) => {
      const pointer = item.dataset.valuesProblem;
      problems.set(pointer, [...(problems.get(pointer) || []), item.textContent]);
    });
    const changed = new Set([...told.querySelectorAll("[data-values-changed]")].map((item) => item.dataset.valuesChanged));
    root().querySelectorAll("[data-values-field]").forEach((field) => {
      const id = field.dataset.valuesField;
      const { pointer } = field.dataset;
      const texts = problems.get(pointer) || [];
      write(byId(`${id}_error`), texts);
      mark(byId(id), texts.length > 0);
      for (const part of ["changed", "reset"]) {
        const element = byId(`${id}_${part}`);
        if (element) element.hidden = !changed.has(pointer);
      }
      for (let up = field; texts.length && up; up = up.parentElement.closest("details")) {
        if (up instanceof HTMLDetailsElement) up.open = true;
      }
    });
    const rest = [...told.querySelectorAll("[data-values-rest-problem]")].map((item) => item.textContent);
    write(byId("values_error"), rest);
    mark(root().querySelector("[data-values-text]"), rest.length > 0);
    const summary = told.querySelector("[data-values-summary]");
    const status = document.querySelector("[data-values-status]");
    if (summary && status && status.textContent !== summary.textContent) status.textContent = summary.textContent;
  }

  /** Another view or a field that was reset: the part is new, so look where the person was, and ask anew. */
  function adopt() {
    if (!root() || root() === present) return;
    const first = present === null;
    present = root();
    if (first) return;
    let target = lastFocus && byId(lastFocus);
    if (target && target.hidden) target = byId(lastFocus.replace(/_reset$/, ""));
    // What has just been hidden or taken away may hold the focus until the next frame is drawn.
    const holder = document.activeElement;
    if (target && (!holder || holder === document.body || holder.hidden || !holder.isConnected)) target.focus();
    present.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function find(input) {
    const words = input.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    root().querySelectorAll(".values-field").forEach((field) => {
      const text = `${field.dataset.pointer} ${field.textContent}`.toLowerCase();
      const fits = words.every((word) => text.includes(word));
      field.hidden = !fits;
      found += fits;
    });
    // Inner groups come later in the document than those around them.
    [...root().querySelectorAll(".values-group")].reverse().forEach((group) => {
      group.hidden = !group.querySelector(".values-field:not([hidden])");
      if (words.length && !group.hidden) group.open = true;
    });
    const note = root().querySelector("[data-values-found]");
    note.textContent = words.length ? (found ? String(found) : note.dataset.none) : "";
  }

  document.addEventListener("focusin", (event) => {
    if (event.target.id && event.target.closest("[data-values]")) lastFocus = event.target.id;
  });
  document.addEventListener("input", (event) => {
    if (!event.target.matches("[data-values-find]")) return;
    // To look for a field is not to change one.
    event.stopPropagation();
    find(event.target);
  }, true);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches("[data-values-find]")) event.preventDefault();
  });
  document.addEventListener("DOMContentLoaded", adopt);
  document.addEventListener("htmx:after:swap", () => { adopt(); tell(); });
})();
