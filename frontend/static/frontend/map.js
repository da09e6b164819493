// Layers of the node map. The map itself is made by folium's script, which calls these.
window.breakwaterMap = (() => {
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const FINE_FROM = 4;
  const escape = (text) => { const box = document.createElement("span"); box.textContent = text; return box.innerHTML; };

  async function load(url) {
    const answer = await fetch(url, { credentials: "same-origin", headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
    return answer.json();
  }

  /** Draw the countries; the finer file is fetched when somebody comes close. */
  function base(map, files) {
    map.attributionControl.setPrefix(false);
    map.attributionControl.addAttribution("Natural Earth");
    const world = L.latLngBounds([-60, -180], [84, 180]);
    const frame = () => {
      map.setMinZoom(map.getBoundsZoom(world));
      map.setMaxBounds(world);
    };
    frame();
    map.on("resize", frame);
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
    show();
  }

  // Filled, ring, dashed: the state is told by shape too, not by colour alone.
  const LOOKS = {
    online: { color: "#ffffff", weight: 2, fillColor: "#2fb344", fillOpacity: 1, radius: 9 },
    enrolled: { color: "#f59f00", weight: 4, fillColor: "#ffffff", fillOpacity: 1, radius: 7 },
    offline: { color: "#d63939", weight: 4, fillColor: "#2b0d0d", fillOpacity: 1, radius: 8 },
    new: { color: "#7c8aa0", weight: 3, dashArray: "3 3", fillColor: "#ffffff", fillOpacity: 0.6, radius: 8 },
  };

  /** Keep the nodes of a GeoJSON address on the map; a click opens a node's page. */
  function nodes(map, options) {
    map.createPane("nodes").style.zIndex = 450;
    const renderer = L.canvas({ pane: "nodes", padding: 0.4, tolerance: 6 });
    const known = new Map();
    let framed = false;

    const tell = (facts) => {
      const apps = facts.deployments === undefined ? "" : `<br>${Number(facts.deployments)} deployment${facts.deployments === 1 ? "" : "s"}`;
      return `<strong>${escape(facts.name)}</strong><br>${escape(facts.state)}${facts.simulated ? ", simulated" : ""}${apps}`;
    };
    const put = (feature) => {
      const facts = { id: feature.id, ...feature.properties };
      const [longitude, latitude] = feature.geometry.coordinates;
      const look = LOOKS[facts.state] || LOOKS.new;
      let marker = known.get(facts.id);
      if (!marker) {
        marker = L.circleMarker([latitude, longitude], { renderer, pane: "nodes", ...look }).addTo(map);
        marker.on("click", () => location.assign(options.page.replace("{id}", facts.id)));
        marker.bindTooltip("", { direction: "top", offset: [0, -8] });
        known.set(facts.id, marker);
      }
      marker.setLatLng([latitude, longitude]).setStyle(look).setTooltipContent(tell(facts));
    };
    const refresh = async () => {
      if (document.hidden && framed) return;
      let data;
      try { data = await load(options.url); } catch { return; }
      const there = data.features.filter((feature) => feature.geometry);
      const ids = new Set(there.map((feature) => feature.id ?? feature.properties.id));
      known.forEach((marker, id) => { if (!ids.has(id)) { marker.remove(); known.delete(id); } });
      there.forEach(put);
      if (!framed && known.size) {
        map.fitBounds(L.latLngBounds([...known.values()].map((marker) => marker.getLatLng())).pad(0.15), { maxZoom: 6, animate: false });
      }
      framed = true;
      map.getContainer().dataset.nodes = String(known.size);
    };
    refresh();
    setInterval(refresh, options.every * 1000);
    // Rows beside the map point at their node.
    document.querySelectorAll("[data-map-node]").forEach((row) => {
      const point = () => { const marker = known.get(row.dataset.mapNode); if (marker) { map.panTo(marker.getLatLng()); marker.openTooltip(); } };
      row.addEventListener("mouseenter", point);
      row.addEventListener("focusin", point);
    });
  }

  return { base, nodes };
})();
