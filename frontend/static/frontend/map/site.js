// The small map of a site: shows it, and where there is a form, sets its position and draws its area.
(() => {
  const { ground, css, load, drawSites, boundsOf, placesOf, NodeLayer } = window.breakwaterMap;
  const stage = document.getElementById("site-map");
  const map = ground(stage);
  const colour = () => css("--tblr-primary") || "#1b6fd8";

  /** A layer of names only: they make room for each other. */
  function namesOn(where) {
    where.createPane("names").style.zIndex = 450;
    where.getPane("names").style.pointerEvents = "none";
    const names = new NodeLayer({ columns: { lon: [], lat: [], state: [] } }, { pane: "names", placesFrom: 0 }).addTo(where);
    names.show([]);
    return names;
  }

  if (!("draw" in stage.dataset)) {
    const { features } = JSON.parse(stage.dataset.shape);
    const words = JSON.parse(stage.dataset.words);
    const names = namesOn(map);
    const group = L.layerGroup().addTo(map);
    const show = () => { group.clearLayers(); drawSites(group, features, { words }); names.name(placesOf(features)); };
    show();
    document.addEventListener("breakwater:theme", show);
    map.fitBounds(boundsOf(features).pad(0.25), { maxZoom: 13, animate: false });
    stage.dataset.sites = String(features.length);
    return;
  }

  const latitude = document.getElementById("id_latitude");
  const longitude = document.getElementById("id_longitude");
  const radius = document.getElementById("id_radius_m");
  const area = document.getElementById("id_area");
  const help = document.getElementById("site-draw-help");
  const tools = document.getElementById("site-draw");
  tools.hidden = false;
  // What is there already, to find one's way by; the site that is changed is drawn as it is in the form.
  const others = L.layerGroup().addTo(map);
  load(stage.dataset.sites).then(({ features }) => {
    const there = features.filter((feature) => feature.id !== stage.dataset.self && feature.properties.kind !== "link");
    drawSites(others, there, { common: { interactive: false }, faint: true });
    namesOn(map).name(placesOf(there));
  }).catch(() => {});
  const drawn = L.layerGroup().addTo(map);
  let mode = "point";
  let corners = [];

  /** Corners of a plain polygon in the field; what has holes or several parts is shown, and replaced when one draws. */
  function fromField() {
    try {
      const given = JSON.parse(area.value);
      return given.type === "Polygon" ? given.coordinates[0].slice(0, -1).map(([x, y]) => [y, x]) : [];
    } catch { return []; }
  }

  function show() {
    drawn.clearLayers();
    if (corners.length > 2) L.polygon(corners, { color: colour(), weight: 2, fillOpacity: 0.15 }).addTo(drawn);
    else if (corners.length) L.polyline(corners, { color: colour(), weight: 2 }).addTo(drawn);
    corners.forEach((at) => L.circleMarker(at, { radius: 4, color: colour(), weight: 2, fillColor: "#ffffff", fillOpacity: 1 }).addTo(drawn));
    const at = [Number.parseFloat(latitude.value), Number.parseFloat(longitude.value)];
    if (at.every(Number.isFinite)) {
      if (Number(radius.value) > 0) L.circle(at, { radius: Number(radius.value), color: colour(), weight: 1.5, fillOpacity: 0.1 }).addTo(drawn);
      L.circleMarker(at, { radius: 7, color: "#ffffff", weight: 2, fillColor: colour(), fillOpacity: 1 }).addTo(drawn);
    }
    stage.dataset.corners = String(corners.length);
  }

  function keep() {
    const ring = corners.map(([y, x]) => [Number(x.toFixed(6)), Number(y.toFixed(6))]);
    area.value = ring.length > 2 ? JSON.stringify({ type: "Polygon", coordinates: [[...ring, ring[0]]] }) : "";
    show();
  }

  map.on("click", (event) => {
    if (mode === "point") {
      latitude.value = event.latlng.lat.toFixed(6);
      longitude.value = event.latlng.lng.toFixed(6);
      show();
    } else {
      corners.push([event.latlng.lat, event.latlng.lng]);
      keep();
    }
  });
  tools.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.drawMode) {
      mode = button.dataset.drawMode;
      tools.querySelectorAll("[data-draw-mode]").forEach((each) => each.setAttribute("aria-pressed", String(each === button)));
      tools.querySelectorAll("[data-draw-mode]").forEach((each) => each.classList.toggle("active", each === button));
      if (mode === "area") map.doubleClickZoom.disable(); else map.doubleClickZoom.enable();
      help.textContent = help.dataset[mode];
    } else if ("drawBack" in button.dataset) { corners.pop(); keep(); } else { corners = []; keep(); }
  });
  [latitude, longitude, radius].forEach((field) => field.addEventListener("input", show));
  area.addEventListener("input", () => { corners = fromField(); show(); });

  corners = fromField();
  help.textContent = help.dataset.point;
  tools.querySelector("[data-draw-mode=point]").classList.add("active");
  show();
  const zoom = Number((new URLSearchParams(location.search).get("at") || "").split(",")[2]);
  const bounds = L.latLngBounds(corners);
  const at = [Number(latitude.value), Number(longitude.value)];
  if (latitude.value && longitude.value) bounds.extend(Number(radius.value) > 0 ? L.latLng(at).toBounds(2 * Number(radius.value)) : at);
  if (bounds.isValid()) map.fitBounds(bounds.pad(0.5), { maxZoom: Number.isFinite(zoom) && zoom > 0 ? zoom : 13, animate: false });
})();
