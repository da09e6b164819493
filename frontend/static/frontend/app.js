// The small things of every page: theme choice, copying, dialogs, times, flashes. No inline handlers anywhere.
(() => {
  document.documentElement.classList.add("js");
  // What stands beside a live part is written by the style sheet, which does not know the language: the page tells it the words.
  for (const mode of ["Connecting", "Stream", "Poll"]) {
    document.documentElement.style.setProperty(`--word-${mode.toLowerCase()}`, JSON.stringify(document.body.dataset[`word${mode}`] || ""));
  }

  document.addEventListener("click", (event) => {
    const theme = event.target.closest("[data-theme]");
    if (theme) {
      window.breakwaterTheme(theme.dataset.theme);
      markTheme();
      return;
    }
    const copier = event.target.closest("[data-copy]");
    if (copier) copy(copier);
  });

  function markTheme() {
    const choice = document.documentElement.dataset.themeChoice;
    document.querySelectorAll("[data-theme]").forEach((item) => {
      item.classList.toggle("active", item.dataset.theme === choice);
      item.setAttribute("aria-pressed", String(item.dataset.theme === choice));
    });
  }

  async function copy(button) {
    const source = document.getElementById(button.dataset.copy);
    if (!source) return;
    const text = source.value ?? source.textContent.trim();
    const label = button.querySelector("[data-label]") || button;
    const before = label.textContent;
    try {
      await navigator.clipboard.writeText(text);
      label.textContent = document.body.dataset.wordCopied;
    } catch {
      // Without a secure context there is no clipboard: select it, so that one key is enough.
      const range = document.createRange();
      range.selectNodeContents(source);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      label.textContent = document.body.dataset.wordSelected;
    }
    setTimeout(() => { label.textContent = before; }, 2500);
  }

  // <button command="show-modal" commandfor="…"> is the platform's own; older browsers get it here.
  if (!("command" in HTMLButtonElement.prototype)) {
    document.addEventListener("click", (event) => {
      const button = event.target.closest("button[commandfor]");
      const dialog = button && document.getElementById(button.getAttribute("commandfor"));
      if (!dialog) return;
      if (button.getAttribute("command") === "show-modal") dialog.showModal();
      if (button.getAttribute("command") === "close") dialog.close();
    });
  }
  // A click on the backdrop is a no.
  document.addEventListener("click", (event) => {
    if (event.target instanceof HTMLDialogElement) event.target.close();
  });

  const UNITS = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]];
  const words = new Intl.RelativeTimeFormat(document.documentElement.lang || "en", { numeric: "auto" });
  function ago(moment) {
    const seconds = (moment - Date.now()) / 1000;
    for (const [unit, size] of UNITS) {
      if (Math.abs(seconds) >= size) return words.format(Math.round(seconds / size), unit);
    }
    return Math.abs(seconds) < 5 ? document.body.dataset.wordNow : words.format(Math.round(seconds), "second");
  }
  function showTimes() {
    document.querySelectorAll("time[data-ago]").forEach((element) => {
      const text = ago(new Date(element.dateTime));
      if (element.textContent !== text) element.textContent = text;
    });
  }

  /** What can be scrolled can be reached by the keyboard. */
  function reachScrollables() {
    document.querySelectorAll(".table-wrap").forEach((part) => {
      if (part.scrollWidth > part.clientWidth || part.scrollHeight > part.clientHeight) part.tabIndex = 0;
      else part.removeAttribute("tabindex");
    });
  }

  // A select that acts at once still has its button for those without scripts.
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit-on-change]")) event.target.form.requestSubmit();
  });
  // A form that was sent is not sent twice by an impatient click.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.sent) { event.preventDefault(); return; }
    if (form.method !== "post") return;
    form.dataset.sent = "yes";
    setTimeout(() => { delete form.dataset.sent; }, 4000);
  });
  window.addEventListener("pageshow", () => {
    document.querySelectorAll("form[data-sent]").forEach((form) => { delete form.dataset.sent; });
  });

  document.addEventListener("DOMContentLoaded", () => {
    markTheme();
    showTimes();
    reachScrollables();
    setInterval(showTimes, 15000);
  });
  document.addEventListener("htmx:after:swap", () => { showTimes(); reachScrollables(); });
  window.addEventListener("resize", reachScrollables);
})();
