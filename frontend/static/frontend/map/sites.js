// Sites, the areas that they serve, and the links between them, on a Leaflet map.
window.breakwaterMap ??= {};
(() => {
  const { css, escape } = window.breakwaterMap;
  const LINK = { up: "#2fb344", degraded: "#f59f00", down: "#d63939", unknown: "#7c8aa0" };
  const DASH = { degraded: "8 5", down: "2 7", unknown: "4 4" };

  // Nodes are discs, triangles and diamonds; a site is a square.
  const Square = L.CircleMarker.extend({
    _updatePath() {
      if (!this._renderer._drawing || this._empty()) return;
      const pen = this._renderer._ctx;
      pen.beginPath();
      pen.rect(this._point.x - this._radius, this._point.y - this._radius, 2 * this._radius, 2 * this._radius);
      this._renderer._fillStroke(pen, this);
    },
  });

  const colourOf = (kind) => css(`--map-kind-${kind}`) || css("--tblr-primary");
  const both = (feature) => [feature.properties.position[1], feature.properties.position[0]];

  /** What one site looks like: its area, or the circle that it serves, and the place itself. */
  function site(feature, { common, faint }) {
    const facts = feature.properties;
    const colour = colourOf(facts.kind);
    const area = { ...common, color: colour, weight: 1.5, fillColor: colour, fillOpacity: faint ? 0.05 : 0.14, opacity: faint ? 0.5 : 1 };
    const parts = [];
    if (feature.geometry.type !== "Point") parts.push(L.geoJSON(feature, { ...common, style: () => area }));
    else if (facts.radius_m) parts.push(L.circle(both(feature), { ...area, radius: facts.radius_m }));
    parts.push(new Square(both(feature), { ...common, radius: 5, color: "#ffffff", weight: 1.5, fillColor: colour, fillOpacity: 1 }));
    return parts;
  }

  function link(feature, common) {
    const [from, to] = feature.geometry.coordinates;
    const { state } = feature.properties;
    return L.polyline([[from[1], from[0]], [to[1], to[0]]], { ...common, color: LINK[state], weight: 3, opacity: 0.85, dashArray: DASH[state] || null });
  }

  /**
   * Put the features into `group`. With `words` they say what they are when one points at them; `faint` ones are there to
   * find one's way; `chosen` is told the site that was clicked.
   */
  function drawSites(group, features, { common = {}, words = null, faint = false, chosen = null } = {}) {
    for (const feature of features) {
      const facts = feature.properties;
      if (facts.kind === "link") {
        const line = link(feature, common).addTo(group);
        if (words) line.bindTooltip(`${escape(facts.source)} → ${escape(facts.target)}<br>${escape(words.link_states[facts.state])}${facts.note ? `<br>${escape(facts.note)}` : ""}`, { sticky: true });
        continue;
      }
      const parts = site(feature, { common, faint });
      for (const part of parts) {
        if (words) part.bindTooltip(`<strong>${escape(facts.name)}</strong><br>${escape(words.kinds[facts.kind])}`, { sticky: true });
        if (chosen) part.on("click", (event) => chosen(feature, event));
        part.addTo(group);
      }
    }
  }

  /** Return what the features cover: areas, circles and places. */
  function boundsOf(features) {
    const bounds = L.latLngBounds([]);
    for (const feature of features) {
      const { position, radius_m: radius, kind } = feature.properties;
      if (kind === "link") continue;
      bounds.extend(feature.geometry.type === "Point" && radius ? L.latLng(both(feature)).toBounds(2 * radius) : L.geoJSON(feature).getBounds());
      bounds.extend([position[1], position[0]]);
    }
    return bounds;
  }

  /** Return the places of the sites, for `NodeLayer.name`. */
  function placesOf(features) {
    return features.filter(({ properties }) => properties.kind !== "link")
      .map(({ properties: { name, kind, position } }) => ({ name, colour: colourOf(kind), longitude: position[0], latitude: position[1] }));
  }

  Object.assign(window.breakwaterMap, { drawSites, boundsOf, placesOf });
})();
