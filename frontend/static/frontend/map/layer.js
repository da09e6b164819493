// Nodes on a Leaflet map as one canvas: clusters ringed by the states inside, and single nodes told apart by shape and colour.
(() => {
  // From well to worst, as the server numbers them.
  const COLOURS = ["#2fb344", "#7c8aa0", "#4299e1", "#f59f00", "#d63939"];
  const INK = ["#06210c", "#0b1526", "#051a30", "#2b1900", "#ffffff"];

  /** Draw the mark of a state; each has its own shape, so that colour is not needed to read it. */
  function mark(pen, state, x, y, size) {
    pen.beginPath();
    if (state === 4) {
      pen.moveTo(x, y - size * 1.2); pen.lineTo(x + size * 1.2, y); pen.lineTo(x, y + size * 1.2); pen.lineTo(x - size * 1.2, y); pen.closePath();
    } else if (state === 3) {
      pen.moveTo(x, y - size * 1.15); pen.lineTo(x + size * 1.15, y + size * 0.85); pen.lineTo(x - size * 1.15, y + size * 0.85); pen.closePath();
    } else {
      pen.arc(x, y, size, 0, 2 * Math.PI);
    }
    const ring = state === 1 || state === 2;
    pen.fillStyle = ring ? "rgb(255 255 255 / 92%)" : COLOURS[state];
    pen.strokeStyle = ring ? COLOURS[state] : "#ffffff";
    pen.lineWidth = ring ? 3.5 : 2;
    pen.setLineDash(state === 1 ? [3, 2.5] : []);
    pen.fill();
    pen.stroke();
    pen.setLineDash([]);
  }

  /** Draw a cluster: its worst state inside, round it how many there are of each. */
  function cluster(pen, facts, x, y, size, label) {
    pen.beginPath();
    pen.arc(x, y, size + 5, 0, 2 * Math.PI);
    pen.fillStyle = "rgb(12 20 36 / 55%)";
    pen.fill();
    let from = -Math.PI / 2;
    pen.lineWidth = 4;
    facts.counts.forEach((number, state) => {
      if (!number) return;
      const to = from + (2 * Math.PI * number) / facts.all;
      pen.beginPath();
      pen.arc(x, y, size + 3, from, to);
      pen.strokeStyle = COLOURS[state];
      pen.stroke();
      from = to;
    });
    pen.beginPath();
    pen.arc(x, y, size, 0, 2 * Math.PI);
    pen.fillStyle = COLOURS[facts.worst];
    pen.fill();
    pen.fillStyle = INK[facts.worst];
    pen.font = `600 ${size > 18 ? 13 : 12}px Inter, sans-serif`;
    pen.fillText(label, x, y + 0.5);
  }

  const short = (number) => (number < 1000 ? String(number) : number < 10_000 ? `${(number / 1000).toFixed(1)}k` : `${Math.round(number / 1000)}k`);

  // Leaflet's own canvas knows how to follow panning and zooming; what is drawn on it is ours.
  const NodeLayer = L.Canvas.extend({
    initialize(nodes, options) {
      this.nodes = nodes;
      this.index = null;
      this.drawn = [];
      this.chosen = null;
      L.Canvas.prototype.initialize.call(this, { padding: 0.25, ...options });
    },

    /** Show these nodes; the search tree is made anew. */
    show(indices) {
      const { lon, lat, state } = this.nodes.columns;
      const points = [];
      for (const index of indices) {
        if (lon[index] === null) continue;
        points.push({ type: "Feature", geometry: { type: "Point", coordinates: [lon[index], lat[index]] }, properties: { index, state: state[index] } });
      }
      this.index = new Supercluster({
        radius: 56, maxZoom: 17, minPoints: 2,
        map: (facts) => ({ worst: facts.state, counts: COLOURS.map((_, number) => Number(number === facts.state)) }),
        reduce: (sum, facts) => {
          sum.worst = Math.max(sum.worst, facts.worst);
          // The first sum shares its list with the leaf that it was made from.
          sum.counts = sum.counts.map((number, state) => number + facts.counts[state]);
        },
      }).load(points);
      this.again();
      return points.length;
    },

    again() { if (this._map) this._updatePaths(); },

    _updatePaths() { this._redraw(); },

    _draw() {
      const map = this._map;
      const pen = this._ctx;
      this.drawn = [];
      if (!this.index || !map) return;
      const box = this._bounds;
      const west = map.layerPointToLatLng(box.min);
      const east = map.layerPointToLatLng(box.max);
      const found = this.index.getClusters([Math.max(-180, west.lng), Math.max(-85, east.lat), Math.min(180, east.lng), Math.min(85, west.lat)], Math.floor(map.getZoom()));
      pen.textAlign = "center";
      pen.textBaseline = "middle";
      for (const feature of found) {
        const [longitude, latitude] = feature.geometry.coordinates;
        const facts = feature.properties;
        const point = map.latLngToLayerPoint([latitude, longitude]);
        const at = { x: point.x, y: point.y, latlng: L.latLng(latitude, longitude) };
        if (facts.cluster) {
          const size = 13 + Math.min(13, Math.log10(facts.point_count) * 4.5);
          cluster(pen, { ...facts, all: facts.point_count }, at.x, at.y, size, short(facts.point_count));
          this.drawn.push({ ...at, size: size + 6, cluster: facts.cluster_id, number: facts.point_count, counts: facts.counts });
        } else {
          if (facts.index === this.chosen) {
            pen.beginPath();
            pen.arc(at.x, at.y, 15, 0, 2 * Math.PI);
            pen.fillStyle = "rgb(77 148 240 / 35%)";
            pen.fill();
          }
          mark(pen, facts.state, at.x, at.y, 7.5);
          this.drawn.push({ ...at, size: 12, node: facts.index });
        }
      }
      map.getContainer().dataset.drawn = String(this.drawn.length);
    },

    /** Return what is drawn at a point of the map's own layer, the topmost first. */
    hit(point) {
      for (let index = this.drawn.length - 1; index >= 0; index -= 1) {
        const item = this.drawn[index];
        if (Math.hypot(item.x - point.x, item.y - point.y) <= item.size) return item;
      }
      return null;
    },

    leaves(id, most) { return this.index.getLeaves(id, most).map((leaf) => leaf.properties.index); },

    zoomFor(id) { return this.index.getClusterExpansionZoom(id); },
  });

  Object.assign(window.breakwaterMap, { NodeLayer, COLOURS, mark });
})();
