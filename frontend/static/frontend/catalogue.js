// The catalogue answers while one types and ticks. The address always tells what is shown, so that it can be shared.
(() => {
  const form = document.getElementById("catalogue");
  const box = document.getElementById("catalogue-q");

  // "/" is the way to the search from anywhere on the page that takes no text.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || !box) return;
    if (event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]")) return;
    event.preventDefault();
    box.focus();
    box.select();
  });
  if (!form) return;

  let typing = false;
  let timer = 0;
  const ask = () => { clearTimeout(timer); form.dispatchEvent(new CustomEvent("search-now")); };
  box.addEventListener("input", () => {
    typing = true;
    clearTimeout(timer);
    timer = setTimeout(ask, 200);
  });
  form.addEventListener("change", (event) => {
    // The boxes on the cards belong to the form that compares.
    if (event.target === box || event.target.form !== form) return;
    typing = false;
    ask();
  });
  form.addEventListener("submit", (event) => {
    if (event.submitter && event.submitter.name === "more") return;
    event.preventDefault();
    typing = false;
    ask();
  });

  document.addEventListener("htmx:after:swap", () => {
    const found = document.getElementById("catalogue-found");
    if (!found || !form.contains(found)) return;
    const address = location.pathname + (found.dataset.address === "?" ? "" : found.dataset.address);
    if (address === location.pathname + location.search) return;
    // One entry for what was typed, not one for each letter; one for each choice, to go back to.
    if (typing && history.state && history.state.typed) history.replaceState({ typed: true }, "", address);
    else history.pushState({ typed: typing }, "", address);
  });
  window.addEventListener("popstate", () => location.reload());

  const sheet = (open) => {
    form.classList.toggle("sheet-open", open);
    const button = form.querySelector("[data-facets]");
    if (button) button.setAttribute("aria-expanded", String(open));
  };
  form.addEventListener("click", (event) => {
    if (event.target.closest("[data-facets]")) sheet(!form.classList.contains("sheet-open"));
    if (event.target.closest("[data-facets-close]")) { sheet(false); form.querySelector("[data-facets]").focus(); }
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") sheet(false); });
})();
