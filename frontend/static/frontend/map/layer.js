// Nodes on a Leaflet map as one canvas: clusters ringed by the states inside, and single nodes told apart by shape and colour.
(() => {
  const { Clusters, across, down, css } = window.breakwaterMap;
  // Names are written while so few things are drawn that there is room.
  const NAMED = 90;

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
  function cluster(pen, counts, number, x, y, size) {
    pen.beginPath();
    pen.arc(x, y, size + 5, 0, 2 * Math.PI);
    pen.fillStyle = "rgb(12 20 36 / 55%)";
    pen.fill();
    let from = -Math.PI / 2;
    let worst = 0;
    pen.lineWidth = 4;
    counts.forEach((count, state) => {
      if (!count) return;
      worst = state;
      const to = from + (2 * Math.PI * count) / number;
      pen.beginPath();
      pen.arc(x, y, size + 3, from, to);
      pen.strokeStyle = COLOURS[state];
      pen.stroke();
      from = to;
    });
    pen.beginPath();
    pen.arc(x, y, size, 0, 2 * Math.PI);
    pen.fillStyle = COLOURS[worst];
    pen.fill();
    pen.fillStyle = INK[worst];
    pen.font = `600 ${size > 18 ? 13 : 12}px Inter, sans-serif`;
    pen.fillText(short(number), x, y + 0.5);
  }

  const short = (number) => (number < 1000 ? String(number) : number < 10_000 ? `${(number / 1000).toFixed(1)}k` : `${Math.round(number / 1000)}k`);

  // Leaflet's own canvas knows how to follow panning and zooming; what is drawn on it is ours.
  const NodeLayer = L.Canvas.extend({
    initialize(nodes, options) {
      this.nodes = nodes;
      this.index = null;
      this.drawn = [];
      this.chosen = null;
      this.places = [];
      // A site has its name from a zoom at which it is a place and not a country.
      L.Canvas.prototype.initialize.call(this, { padding: 0.25, placesFrom: 8, ...options });
    },

    /** Show these nodes; returns how many of them have a place. */
    show(indices) {
      this.index = new Clusters(this.nodes.columns, indices);
      this.again();
      return this.index.size;
    },

    /** Write these names of places as well: `{name, colour, longitude, latitude}`. */
    name(places) {
      this.places = places.map((place) => ({ ...place, x: across(place.longitude), y: down(place.latitude) }));
      this.again();
    },

    again() { if (this._map) this._updatePaths(); },

    _updatePaths() { this._redraw(); },

    _draw() {
      const map = this._map;
      const pen = this._ctx;
      this.drawn = [];
      if (!this.index || !map) return;
      this.zoom = Math.max(0, Math.floor(map.getZoom()));
      const found = this.index.level(this.zoom);
      const scale = map.options.crs.scale(map.getZoom());
      const origin = map.getPixelOrigin();
      const { min, max } = this._bounds;
      pen.textAlign = "center";
      pen.textBaseline = "middle";
      for (let each = 0; each < found.number; each += 1) {
        const x = found.x[each] * scale - origin.x;
        const y = found.y[each] * scale - origin.y;
        // What stands a little outside still reaches in.
        if (x < min.x - 32 || x > max.x + 32 || y < min.y - 32 || y > max.y + 32) continue;
        const number = found.count[each];
        if (number > 1) {
          const counts = found.states.subarray(each * COLOURS.length, (each + 1) * COLOURS.length);
          const size = 13 + Math.min(13, Math.log10(number) * 4.5);
          cluster(pen, counts, number, x, y, size);
          this.drawn.push({ x, y, size: size + 6, cluster: each, number, counts });
          continue;
        }
        const index = found.first[each];
        if (index === this.chosen) {
          pen.beginPath();
          pen.arc(x, y, 15, 0, 2 * Math.PI);
          pen.fillStyle = "rgb(77 148 240 / 35%)";
          pen.fill();
        }
        mark(pen, this.nodes.columns.state[index], x, y, 7.5);
        this.drawn.push({ x, y, size: 12, node: index });
      }
      this._names(pen, scale, origin);
      map.getContainer().dataset.drawn = String(this.drawn.length);
    },

    /** Write the names of what stands alone, and of sites, where there is room. */
    _names(pen, scale, origin) {
      if (this.drawn.length > NAMED) return;
      const taken = this.drawn.map(({ x, y, size }) => [x - size, y - size, x + size, y + size]);
      const free = ([west, north, east, south]) => taken.every((box) => west > box[2] || east < box[0] || north > box[3] || south < box[1]);
      const write = (text, x, y, away, colour) => {
        const half = pen.measureText(text).width / 2 + 2;
        for (const [aside, below] of [[0, away], [0, -away], [half + away - 7, 0], [7 - half - away, 0]]) {
          const box = [x + aside - half, y + below - 8, x + aside + half, y + below + 8];
          if (!free(box)) continue;
          taken.push(box);
          pen.strokeText(text, x + aside, y + below);
          pen.fillStyle = colour;
          pen.fillText(text, x + aside, y + below);
          return;
        }
      };
      pen.font = "500 12px Inter, sans-serif";
      pen.lineJoin = "round";
      pen.lineWidth = 3.5;
      pen.strokeStyle = css("--map-land");
      const ink = getComputedStyle(document.body).color;
      const { min, max } = this._bounds;
      const near = this.zoom < this.options.placesFrom ? [] : this.places.map((place) => ({ ...place, x: place.x * scale - origin.x, y: place.y * scale - origin.y }))
        .filter(({ x, y }) => x > min.x && x < max.x && y > min.y && y < max.y).slice(0, NAMED);
      for (const { x, y } of near) taken.push([x - 6, y - 6, x + 6, y + 6]);
      for (const { x, y, node } of this.drawn) if (node !== undefined) write(this.nodes.columns.name[node], x, y, 21, ink);
      for (const { name, colour, x, y } of near) write(name, x, y, 15, colour);
    },

    /** Return what is drawn at a point of the map's own layer, the topmost first. */
    hit(point) {
      for (let index = this.drawn.length - 1; index >= 0; index -= 1) {
        const item = this.drawn[index];
        if (Math.hypot(item.x - point.x, item.y - point.y) <= item.size) return item;
      }
      return null;
    },

    /** Return some of the nodes of a drawn cluster. */
    inside(item, most) { return this.index.members(this.zoom, item.cluster, most).map((point) => this.index.index[point]); },

    /** Return the first zoom at which a drawn cluster falls apart; beyond the map's own when it never does. */
    apart(item) { return this.index.apart(this.zoom, item.cluster); },

    /** Return where a drawn thing is. */
    place(item) { return this._map.layerPointToLatLng([item.x, item.y]); },
  });

  Object.assign(window.breakwaterMap, { NodeLayer, COLOURS, mark });
})();
