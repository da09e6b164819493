// Streets, buildings in three dimensions, and the nodes among them.
const app = document.getElementById("street-app");
const words = JSON.parse(app.dataset.words);
const { Nodes, Feed } = window.breakwaterMap;
const HOME = { centre: [24.9435, 60.1712], zoom: 14.6 };
// The centre of Helsinki, as far as the shipped extract goes.
const DEMO = [24.92, 60.155, 24.97, 60.19];
const COLOURS = ["#2fb344", "#7c8aa0", "#4299e1", "#f59f00", "#d63939"];
const LINK = { up: { colour: COLOURS[0] }, degraded: { colour: COLOURS[3], dash: [3, 1.5] }, down: { colour: COLOURS[4], dash: [0.6, 1.6] }, unknown: { colour: COLOURS[1], dash: [1.5, 1.5] } };
// By day and in the dark, as on the other map.
const KINDS = { radio: ["#7048e8", "#a78bfa"], "ue-pool": ["#0c8599", "#3bc9db"], edge: ["#1b6fd8", "#74b0f5"], "data-centre": ["#495a74", "#a9b5c7"] };
// Without an address of glyphs MapLibre draws letters itself, with the fonts of the page: nothing is fetched for them.
const FONT = ["Inter"];
const escape = (text) => { const box = document.createElement("span"); box.textContent = text; return box.innerHTML; };
const dark = () => document.documentElement.dataset.bsTheme === "dark";

window.breakwaterMap.load ??= async (url) => {
  const answer = await fetch(url, { credentials: "same-origin" });
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
  return answer.json();
};

function webgl() {
  try { return Boolean(document.createElement("canvas").getContext("webgl2")); } catch { return false; }
}

/** The look of the streets; it knows the layers of our own tool and those of Protomaps' base maps. */
function style(nodes, sites) {
  const night = dark();
  const look = night
    ? { ground: "#0f1a2e", green: "#17362f", water: "#0b2a45", minor: "#2d3f60", major: "#6f8fc4", rail: "#3a4a66", wall: "#38517c", low: "#2c4167", street: "#d5dfef", place: "#f3f7fd", quiet: "#a9c9b4", halo: "#0b1424" }
    : { ground: "#eef2f6", green: "#cfe6d0", water: "#b9d7ee", minor: "#ffffff", major: "#f2c879", rail: "#b4bfcc", wall: "#c9d3df", low: "#dbe2ea", street: "#3b4a60", place: "#14233b", quiet: "#2c5b39", halo: "#ffffff" };
  const kind = ["coalesce", ["get", "class"], ["match", ["coalesce", ["get", "kind"], ""], "highway", 1, "major_road", 2, "minor_road", 3, "path", 5, "rail", 6, 4]];
  const width = (near) => ["interpolate", ["exponential", 1.6], ["zoom"], 11, ["match", kind, 1, 1.2, 2, 0.9, 0.4], 18, ["match", kind, 1, near, 2, near * 0.8, 3, near * 0.6, 4, near * 0.35, 6, 2, 1.6]];
  const letters = (colour) => ({ "text-color": colour, "text-halo-color": look.halo, "text-halo-width": 1.6, "text-halo-blur": 0.4 });
  const part = ["coalesce", ["get", "kind"], ""];
  const siteColour = ["match", part, ...Object.entries(KINDS).flatMap(([kind, [day, dusk]]) => [kind, night ? dusk : day]), "#4d94f0"];
  const surface = ["in", ["geometry-type"], ["literal", ["Polygon", "MultiPolygon"]]];
  const spot = ["==", ["geometry-type"], "Point"];
  const quarter = ["in", part, ["literal", ["suburb", "neighbourhood", "macrohood"]]];
  const green = { type: "fill", source: "streets", paint: { "fill-color": look.green } };
  const sources = {
    nodes: { type: "geojson", data: nodes },
    sites: { type: "geojson", data: sites },
    streets: { type: "vector", url: `pmtiles://${new URL(app.dataset.pmtiles, location.href).href}`, attribution: escape(app.dataset.by) },
  };
  const raster = app.dataset.tiles && "demo" in app.dataset;
  if (raster) sources.tiles = { type: "raster", tiles: [app.dataset.tiles], tileSize: 256 };
  return {
    version: 8,
    sources,
    light: { anchor: "viewport", intensity: night ? 0.25 : 0.35, position: [1.3, 210, 35] },
    layers: [
      { id: "ground", type: "background", paint: { "background-color": look.ground } },
      ...(raster ? [{ id: "tiles", type: "raster", source: "tiles" }] : []),
      { id: "green", "source-layer": "green", ...green },
      { id: "landuse", "source-layer": "landuse", ...green, filter: ["in", ["get", "kind"], ["literal", ["park", "forest", "grass", "garden", "cemetery", "wood"]]] },
      { id: "water", type: "fill", source: "streets", "source-layer": "water", paint: { "fill-color": look.water } },
      { id: "roads", type: "line", source: "streets", "source-layer": "roads", layout: { "line-cap": "round", "line-join": "round" },
        paint: { "line-color": ["match", kind, 1, look.major, 2, look.major, 6, look.rail, look.minor], "line-width": width(22) } },
      { id: "areas", type: "fill", source: "sites", filter: surface, paint: { "fill-color": siteColour, "fill-opacity": 0.16 } },
      { id: "edges", type: "line", source: "sites", filter: surface, paint: { "line-width": 2, "line-color": siteColour } },
      { id: "buildings", type: "fill-extrusion", source: "streets", "source-layer": "buildings", minzoom: 13,
        paint: { "fill-extrusion-color": ["interpolate", ["linear"], ["coalesce", ["get", "height"], 12], 5, look.low, 45, look.wall],
          "fill-extrusion-height": ["interpolate", ["linear"], ["zoom"], 13, 0, 14, ["coalesce", ["get", "height"], 12]], "fill-extrusion-opacity": night ? 0.92 : 0.88 } },
      // Above the roofs: a link goes through the air.
      ...Object.entries(LINK).map(([state, { colour, dash }]) => ({ id: `link-${state}`, type: "line", source: "sites", filter: ["all", ["==", part, "link"], ["==", ["get", "state"], state]],
        layout: { "line-cap": "butt" }, paint: { "line-width": 3.5, "line-color": colour, ...(dash ? { "line-dasharray": dash } : {}) } })),
      { id: "street-names", type: "symbol", source: "streets", "source-layer": "roads", minzoom: 13, filter: ["has", "name"],
        layout: { "symbol-placement": "line", "symbol-spacing": 320, "symbol-sort-key": kind, "text-field": ["get", "name"], "text-font": FONT, "text-max-angle": 40,
          "text-size": ["interpolate", ["linear"], ["zoom"], 13, ["match", kind, 1, 11, 2, 10.5, 9.5], 17, ["match", kind, 1, 15, 2, 14, 13]] },
        paint: letters(look.street) },
      { id: "place-names", type: "symbol", source: "streets", "source-layer": "places", filter: ["has", "name"],
        layout: { "text-field": ["get", "name"], "text-font": FONT, "text-max-width": 8, "text-transform": ["case", quarter, "uppercase", "none"], "text-letter-spacing": ["case", quarter, 0.12, 0],
          "symbol-sort-key": ["match", part, ["city", "locality"], 0, "station", 1, ["suburb", "neighbourhood", "macrohood"], 2, 3],
          "text-size": ["interpolate", ["linear"], ["zoom"], 11, ["match", part, ["city", "locality"], 15, 10], 17, ["match", part, ["city", "locality"], 16, "station", 15, 13]] },
        paint: letters(["match", part, "park", look.quiet, look.place]) },
      { id: "sites", type: "circle", source: "sites", filter: spot, paint: { "circle-radius": 6.5, "circle-color": siteColour, "circle-stroke-color": "#ffffff", "circle-stroke-width": 2 } },
      { id: "site-names", type: "symbol", source: "sites", filter: spot, layout: { "text-field": ["get", "name"], "text-font": FONT, "text-size": 13, "text-variable-anchor": ["bottom", "top", "right", "left"], "text-radial-offset": 0.9 },
        paint: letters(siteColour) },
      { id: "halo", type: "circle", source: "nodes", paint: { "circle-radius": 17, "circle-color": ["match", ["get", "state"], 0, COLOURS[0], 1, COLOURS[1], 2, COLOURS[2], 3, COLOURS[3], COLOURS[4]], "circle-opacity": 0.25 } },
      { id: "marks", type: "symbol", source: "nodes", layout: { "icon-image": ["concat", "mark-", ["to-string", ["get", "state"]]], "icon-allow-overlap": true, "icon-size": 0.5,
        "text-field": ["get", "name"], "text-font": FONT, "text-size": 13, "text-anchor": "top", "text-offset": [0, 1.1], "text-optional": true }, paint: letters(look.place) },
    ],
  };
}

/** Draw the mark of a state, as the other map has it: each its own shape. */
function mark(state) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 56;
  const pen = canvas.getContext("2d");
  pen.translate(28, 28);
  pen.beginPath();
  if (state === 4) { pen.moveTo(0, -22); pen.lineTo(22, 0); pen.lineTo(0, 22); pen.lineTo(-22, 0); pen.closePath(); }
  else if (state === 3) { pen.moveTo(0, -21); pen.lineTo(21, 15); pen.lineTo(-21, 15); pen.closePath(); }
  else pen.arc(0, 0, 17, 0, 2 * Math.PI);
  const ring = state === 1 || state === 2;
  pen.fillStyle = ring ? "#ffffff" : COLOURS[state];
  pen.strokeStyle = ring ? COLOURS[state] : "#ffffff";
  pen.lineWidth = ring ? 8 : 5;
  if (state === 1) pen.setLineDash([8, 6]);
  pen.fill();
  pen.stroke();
  return pen.getImageData(0, 0, 56, 56);
}

/** What is drawn of sites: their areas, or the circles that they serve, the places themselves, and the links. */
function drawable({ features }) {
  const made = features.flatMap((feature) => {
    const { kind, name, position, radius_m: radius } = feature.properties;
    if (kind === "link") return [feature];
    const properties = { kind, name, id: feature.id };
    const area = feature.geometry.type !== "Point" ? feature.geometry : radius ? circle(position, radius) : null;
    const place = { type: "Feature", geometry: { type: "Point", coordinates: position }, properties };
    return area ? [{ type: "Feature", geometry: area, properties }, place] : [place];
  });
  return { type: "FeatureCollection", features: made };
}

/** A circle of so many metres, as near as a street map needs it. */
function circle([longitude, latitude], radius) {
  const north = radius / 111_320;
  const east = north / Math.max(0.01, Math.cos((latitude * Math.PI) / 180));
  const ring = Array.from({ length: 65 }, (_, step) => [longitude + east * Math.cos((step * Math.PI) / 32), latitude + north * Math.sin((step * Math.PI) / 32)]);
  return { type: "Polygon", coordinates: [ring] };
}

function begin() {
  const given = (new URLSearchParams(location.search).get("at") || "").split(",").map(Number);
  const named = given.length === 3 && given.every(Number.isFinite) && Math.abs(given[0]) <= 85 && Math.abs(given[1]) <= 180;
  return named ? { centre: [given[1], given[0]], zoom: given[2] } : HOME;
}

async function start() {
  if (!webgl()) { document.getElementById("street-none").hidden = false; return; }
  const library = await import(app.dataset.module);
  library.setWorkerUrl(new URL(app.dataset.worker, location.href).href);
  library.addProtocol("pmtiles", new window.pmtiles.Protocol().tile);

  const nodes = new Nodes();
  const empty = { type: "FeatureCollection", features: [] };
  let points = empty;
  let sites = empty;
  const place = begin();
  const map = new library.Map({
    container: "street", style: style(points, sites), center: place.centre, zoom: place.zoom, pitch: 56, bearing: -24, maxPitch: 75,
    minZoom: 11, attributionControl: { compact: false }, locale: { "Map.Title": words.title },
  });
  map.addControl(new library.NavigationControl({ visualizePitch: true }), "top-left");
  map.addControl(new library.ScaleControl(), "bottom-left");
  const popup = new library.Popup({ closeButton: false, closeOnClick: false, offset: 14 });
  const marks = () => COLOURS.forEach((_, state) => { if (!map.hasImage(`mark-${state}`)) map.addImage(`mark-${state}`, mark(state)); });
  map.on("styleimagemissing", marks);
  map.on("style.load", marks);

  const address = (uuid) => app.dataset.node.replace("00000000-0000-0000-0000-000000000000", uuid);
  const shown = () => {
    const { lon, lat, state, name } = nodes.columns;
    points = { type: "FeatureCollection", features: nodes.order.filter((index) => lon[index] !== null).map((index) => (
      { type: "Feature", geometry: { type: "Point", coordinates: [lon[index], lat[index]] }, properties: { index, state: state[index], name: name[index] } })) };
    map.getSource("nodes")?.setData(points);
    list();
  };
  const list = () => {
    const view = map.getBounds();
    const { lon, lat, state } = nodes.columns;
    const inside = nodes.order.filter((index) => lon[index] !== null && view.contains([lon[index], lat[index]])).sort((a, b) => state[b] - state[a]);
    document.getElementById("street-rows").innerHTML = inside.slice(0, 60).map((index) => {
      const facts = nodes.facts(index);
      const look = words.states[facts.state];
      return `<tr><th scope="row"><a href="${address(facts.uuid)}" class="map-row"><span class="map-row-name">${escape(facts.name)}</span><span class="map-row-more">${escape([facts.site, facts.organisation].filter(Boolean).join(" · "))}</span></a></th><td><span class="map-word map-word-${look.key}">${escape(look.word)}</span></td></tr>`;
    }).join("");
    const text = words.in_view.replace("{n}", inside.length).replace("{all}", nodes.size);
    const status = document.getElementById("street-status");
    if (status.textContent !== text) status.textContent = text;
    app.dataset.inView = String(inside.length);
    const outside = document.getElementById("street-outside");
    const centre = map.getCenter();
    if (outside) outside.hidden = centre.lng > DEMO[0] && centre.lng < DEMO[2] && centre.lat > DEMO[1] && centre.lat < DEMO[3];
    const at = `${centre.lat.toFixed(5)},${centre.lng.toFixed(5)},${map.getZoom().toFixed(2)}`;
    history.replaceState(null, "", `${location.pathname}?at=${at}`);
    document.querySelectorAll("[data-street-back]").forEach((link) => { link.href = `${app.dataset.map}?at=${at}`; });
  };
  map.on("moveend", list);
  map.on("mousemove", "marks", (event) => {
    const facts = nodes.facts(event.features[0].properties.index);
    map.getCanvas().style.cursor = "pointer";
    popup.setLngLat([facts.lon, facts.lat]).setHTML(`<strong>${escape(facts.name)}</strong><br>${escape(words.states[facts.state].word)}${facts.apps.length ? `<br>${escape(facts.apps.slice(0, 4).join(", "))}` : ""}`).addTo(map);
  });
  map.on("mouseleave", "marks", () => { map.getCanvas().style.cursor = ""; popup.remove(); });
  map.on("mousemove", "sites", (event) => {
    const { name, kind } = event.features[0].properties;
    map.getCanvas().style.cursor = "pointer";
    popup.setLngLat(event.features[0].geometry.coordinates).setHTML(`<strong>${escape(name)}</strong><br>${escape(words.kinds[kind] || "")}`).addTo(map);
  });
  map.on("mouseleave", "sites", () => { map.getCanvas().style.cursor = ""; popup.remove(); });
  map.on("click", "sites", (event) => {
    // A node on top of its site is the one that is meant.
    if (map.queryRenderedFeatures(event.point, { layers: ["marks"] }).length) return;
    location.assign(app.dataset.site.replace("00000000-0000-0000-0000-000000000000", event.features[0].properties.id));
  });
  map.on("click", "marks", (event) => location.assign(address(nodes.facts(event.features[0].properties.index).uuid)));
  document.getElementById("street-home")?.addEventListener("click", () => map.jumpTo({ center: HOME.centre, zoom: HOME.zoom }));
  document.addEventListener("breakwater:theme", () => map.setStyle(style(points, sites), { diff: false }));
  map.once("idle", () => {
    app.dataset.names = String(map.queryRenderedFeatures({ layers: ["street-names", "place-names"] }).length);
    app.dataset.drawn = String(map.queryRenderedFeatures({ layers: ["buildings"] }).length);
  });

  await new Feed(nodes, { nodes: app.dataset.nodes, stream: app.dataset.stream }, shown).start();
  sites = drawable(await window.breakwaterMap.load(app.dataset.sites).catch(() => empty));
  app.dataset.sitesDrawn = String(sites.features.length);
  map.getSource("sites")?.setData(sites);
  map.once("load", () => { map.getSource("nodes").setData(points); map.getSource("sites").setData(sites); });
}

start();
