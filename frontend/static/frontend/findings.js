// The findings of a package answer to words while one types. The list may come anew while the check goes on.
(() => {
  const show = () => {
    const box = document.querySelector("[data-findings-filter]");
    const root = box && box.closest("[data-findings]");
    if (!root) return;
    const words = box.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...root.querySelectorAll("[data-finding]")];
    rows.forEach((row) => {
      const text = row.textContent.toLocaleLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    });
    root.querySelectorAll("[data-findings-group]").forEach((group) => {
      group.hidden = !group.querySelector("[data-finding]:not([hidden])");
    });
    const shown = rows.filter((row) => !row.hidden).length;
    root.querySelector("[data-findings-none]").hidden = shown > 0;
    const count = root.querySelector("[data-findings-count]");
    const text = words.length ? count.dataset.text.replace("{shown}", shown).replace("{all}", rows.length) : "";
    if (count.textContent !== text) count.textContent = text;
  };
  document.addEventListener("input", (event) => { if (event.target.matches("[data-findings-filter]")) show(); });
  document.addEventListener("htmx:after:swap", show);
})();
