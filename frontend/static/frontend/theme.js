// Sets the theme before the first paint: the person's choice, else the system's.
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const choice = () => {
    try { return localStorage.getItem("theme") || "system"; } catch { return "system"; }
  };
  const apply = () => {
    const wanted = choice();
    const theme = wanted === "system" ? (dark.matches ? "dark" : "light") : wanted;
    document.documentElement.setAttribute("data-bs-theme", theme);
    document.documentElement.dataset.themeChoice = wanted;
    document.dispatchEvent(new CustomEvent("breakwater:theme", { detail: theme }));
  };
  window.breakwaterTheme = (wanted) => {
    try { localStorage.setItem("theme", wanted); } catch { /* private window: the choice lasts for this page */ }
    apply();
  };
  dark.addEventListener("change", apply);
  apply();
})();
