// The small map of a site: shows it, and where there is a form, sets its position and draws its area.
(() => {
  const { ground, css } = window.breakwaterMap;
  const stage = document.getElementById("site-map");
  const map = ground(stage);
  const colour = () => css("--tblr-primary") || "#1b6fd8";

  if (!("draw" in stage.dataset)) {
    const shape = L.geoJSON(JSON.parse(stage.dataset.shape), {
      style: () => ({ color: colour(), weight: 2, fillOpacity: 0.15 }),
      pointToLayer: (_, at) => L.circleMarker(at, { radius: 7, color: "#ffffff", weight: 2, fillColor: colour(), fillOpacity: 1 }),
    }).addTo(map);
    const first = JSON.parse(stage.dataset.shape).features[0];
    const [longitude, latitude] = first.properties.position;
    if (first.properties.radius_m) L.circle([latitude, longitude], { radius: first.properties.radius_m, color: colour(), weight: 1.5, fillOpacity: 0.12 }).addTo(map);
    map.fitBounds(shape.getBounds().pad(0.6), { maxZoom: 8, animate: false });
    return;
  }

  const latitude = document.getElementById("id_latitude");
  const longitude = document.getElementById("id_longitude");
  const radius = document.getElementById("id_radius_m");
  const area = document.getElementById("id_area");
  const help = document.getElementById("site-draw-help");
  const tools = document.getElementById("site-draw");
  tools.hidden = false;
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
  if (latitude.value && longitude.value) bounds.extend([Number(latitude.value), Number(longitude.value)]);
  if (bounds.isValid()) map.fitBounds(bounds.pad(0.5), { maxZoom: Number.isFinite(zoom) && zoom > 0 ? zoom : 8, animate: false });
})();
