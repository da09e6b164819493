// Charts of the fleet: one answer with columns of figures, drawn by uPlot in the colours of the theme.
(() => {
  const EVERY = 60000;
  const HEIGHT = 180;
  const root = document.getElementById("fleet-charts");
  if (!root || !window.uPlot) return;
  let answer = null;
  let charts = [];

  function colour(look) {
    const probe = document.createElement("span");
    probe.className = { ok: "text-ok", bad: "text-bad", warn: "text-warn", info: "text-info-strong" }[look] || "text-quiet";
    root.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }

  function draw() {
    charts.forEach((chart) => chart.destroy());
    charts = [];
    if (!answer) return;
    const quiet = colour("quiet");
    const grid = { stroke: getComputedStyle(root.querySelector(".card")).borderTopColor, width: 1 };
    const days = answer.at.length > 1 && answer.at[answer.at.length - 1] - answer.at[0] > 2 * 86400;
    const words = new Intl.DateTimeFormat(document.documentElement.lang || "en",
      days ? { month: "short", day: "numeric" } : { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
    root.querySelectorAll("[data-chart]").forEach((place) => {
      const lines = [...place.querySelectorAll("[data-line]")];
      const seen = lines.some((line) => (answer.series[line.dataset.line] || []).some((value) => value !== null));
      place.parentElement.querySelector("[data-chart-empty]").hidden = seen;
      if (!seen) return;
      // Lines differ by their dashes too, for those who see colours alike.
      const dashes = [[], [6, 4], [2, 3], [8, 3, 2, 3]];
      const series = lines.map((line, place) => ({
        label: line.textContent, stroke: colour(line.dataset.look), width: 2, dash: dashes[place % 4],
        points: { show: answer.at.length < 3 }, value: (_, value) => (value === null ? "–" : String(Math.round(value * 10) / 10)),
      }));
      const axis = { stroke: quiet, grid, ticks: grid, font: "12px Inter, sans-serif" };
      charts.push(new window.uPlot({
        width: Math.max(200, place.clientWidth), height: HEIGHT, cursor: { drag: { x: false, y: false } },
        scales: { y: { range: (_, low, high) => [0, Math.max(1, (high || 0) * 1.1)] } },
        axes: [{ ...axis, values: (_, ticks) => ticks.map((tick) => words.format(tick * 1000)) }, { ...axis, size: 46, space: 22, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000] }],
        series: [{ label: root.dataset.when || "", value: (_, at) => (at === null ? "–" : words.format(at * 1000)) }, ...series],
      }, [answer.at, ...lines.map((line) => answer.series[line.dataset.line] || [])], place));
      const canvas = place.querySelector("canvas");
      if (canvas) canvas.setAttribute("aria-hidden", "true");
    });
  }

  async function look() {
    if (document.hidden) return;
    try {
      const response = await fetch(root.dataset.figures, { headers: { Accept: "application/json" } });
      if (!response.ok) return;
      answer = await response.json();
      draw();
      root.dataset.drawn = String(charts.length);
    } catch { /* the next look comes in a minute; the table stays */ }
  }

  let timer = null;
  window.addEventListener("resize", () => { clearTimeout(timer); timer = setTimeout(draw, 150); });
  new MutationObserver(draw).observe(document.documentElement, { attributes: true, attributeFilter: ["data-bs-theme"] });
  setInterval(look, EVERY);
  look();
})();
