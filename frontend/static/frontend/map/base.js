// The ground of every map of ours: countries of Natural Earth, or the tiles that a setting names.
window.breakwaterMap ??= {};
(() => {
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const FINE_FROM = 4;

  async function load(url) {
    // Without a header of its own the question is the one that the page asked ahead (`rel=preload`).
    const answer = await fetch(url, { credentials: "same-origin" });
    if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
    return answer.json();
  }

  /** Draw the countries; the finer file is fetched when somebody comes close. */
  function countries(map, files) {
    map.attributionControl.addAttribution("Natural Earth");
    map.createPane("countries").style.zIndex = 200;
    const renderer = L.canvas({ pane: "countries", padding: 0.4 });
    const style = () => ({ color: css("--map-border"), weight: 0.8, fillColor: css("--map-land"), fillOpacity: 1 });
    const layers = {};
    let shown = null;
    const show = async () => {
      const scale = map.getZoom() >= FINE_FROM ? "50m" : "110m";
      if (shown === scale) return;
      shown = scale;
      try {
        layers[scale] ??= L.geoJSON(await load(files[scale]), { renderer, pane: "countries", style, interactive: false });
      } catch {
        shown = null;
        return;
      }
      if (shown !== scale) return;
      Object.entries(layers).forEach(([name, layer]) => (name === scale ? layer.addTo(map) : layer.remove()));
      map.getContainer().dataset.base = scale;
    };
    map.on("zoomend", show);
    document.addEventListener("breakwater:theme", () => Object.values(layers).forEach((layer) => layer.setStyle(style())));
    return show();
  }

  /** Make a map in `element`; its data attributes say what is below: `data-tiles`, else the countries, once `first` is done. */
  function ground(element, first = Promise.resolve()) {
    const data = element.dataset;
    const map = L.map(element, {
      center: [30, 10], zoom: 2, zoomSnap: 0.25, maxZoom: 18, zoomControl: false, worldCopyJump: false,
      maxBoundsViscosity: 1, preferCanvas: true,
    });
    L.control.zoom({ position: "topleft", zoomInTitle: data.wordIn || "Zoom in", zoomOutTitle: data.wordOut || "Zoom out" }).addTo(map);
    map.attributionControl.setPrefix(false);
    const world = L.latLngBounds([-60, -180], [84, 180]);
    const frame = () => {
      map.setMinZoom(Math.min(map.getBoundsZoom(world), 3));
      map.setMaxBounds(world.pad(0.05));
    };
    frame();
    map.on("resize", frame);
    if (data.tiles) {
      const tiles = L.tileLayer(data.tiles, { maxZoom: 19, attribution: escape(data.tilesBy || "") });
      tiles.addTo(map).once("load", () => { element.dataset.base = "tiles"; });
    } else {
      first.then(() => countries(map, { "110m": data.world110, "50m": data.world50 }));
    }
    return map;
  }

  const escape = (text) => { const box = document.createElement("span"); box.textContent = text; return box.innerHTML; };
  Object.assign(window.breakwaterMap, { css, load, ground, escape });
})();
