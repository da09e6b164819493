// Which nodes are drawn as one: for the zoom that is shown, and only when it is, over typed arrays.
window.breakwaterMap ??= {};
(() => {
  // Pixels within which nodes are one cluster; beyond DEEPEST only what stands at one place is.
  const REACH = 44;
  const DEEPEST = 18;
  const STATES = 5;
  const KEPT = 3;

  const across = (longitude) => longitude / 360 + 0.5;
  function down(latitude) {
    const sine = Math.sin((Math.max(-85.0511, Math.min(85.0511, latitude)) * Math.PI) / 180);
    return 0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI);
  }

  /** A table from a cell of the grid to its number: open addressing in two typed arrays. */
  class Cells {
    constructor(most) {
      this.mask = 2 ** Math.ceil(Math.log2(Math.max(16, most * 2))) - 1;
      this.slots = new Int32Array(this.mask + 1).fill(-1);
      this.columns = new Int32Array(most);
      this.rows = new Int32Array(most);
      this.size = 0;
    }

    slot(column, row) {
      const mixed = Math.imul(column, 0x9e3779b1) ^ Math.imul(row, 0x85ebca6b);
      let slot = (mixed ^ (mixed >>> 15)) & this.mask;
      for (; ;) {
        const cell = this.slots[slot];
        if (cell < 0 || (this.columns[cell] === column && this.rows[cell] === row)) return slot;
        slot = (slot + 1) & this.mask;
      }
    }

    find(column, row) { return this.slots[this.slot(column, row)]; }

    of(column, row) {
      const slot = this.slot(column, row);
      if (this.slots[slot] < 0) {
        this.columns[this.size] = column;
        this.rows[this.size] = row;
        this.slots[slot] = this.size;
        this.size += 1;
      }
      return this.slots[slot];
    }
  }

  class Clusters {
    /** Take the nodes at these indices; who has no place is left out. */
    constructor(columns, indices) {
      const { lon, lat, state } = columns;
      const placed = indices.filter((index) => lon[index] !== null);
      this.size = placed.length;
      this.index = Int32Array.from(placed);
      this.x = Float64Array.from(placed, (index) => across(lon[index]));
      this.y = Float64Array.from(placed, (index) => down(lat[index]));
      this.state = Uint8Array.from(placed, (index) => state[index]);
      this.levels = new Map();
    }

    /** Return the clusters of a whole zoom; a few zooms are kept. */
    level(zoom) {
      const known = this.levels.get(zoom);
      if (known) return known;
      if (this.levels.size >= KEPT) this.levels.delete(this.levels.keys().next().value);
      const made = this.make(zoom);
      this.levels.set(zoom, made);
      return made;
    }

    make(zoom) {
      const reach = zoom >= DEEPEST ? 1e-9 : REACH / (256 * 2 ** zoom);
      const { x, y, size } = this;
      // At the deepest zoom a cell is a fraction of a metre; its number still fits, because the world is 2^30 of them.
      const cell = Math.max(reach, 2 ** -30);
      const cells = new Cells(size);
      const of = new Int32Array(size);
      const sums = [new Float64Array(size), new Float64Array(size)];
      const counts = new Uint32Array(size);
      for (let point = 0; point < size; point += 1) {
        const at = cells.of(Math.floor(x[point] / cell), Math.floor(y[point] / cell));
        of[point] = at;
        sums[0][at] += x[point];
        sums[1][at] += y[point];
        counts[at] += 1;
      }
      const into = this.merge(cells, sums, counts, reach);
      return this.sum(of, into);
    }

    /** Let crowded cells take in their neighbours that are near; return for each cell the cluster that it is in, and how many there are. */
    merge(cells, [sumX, sumY], counts, reach) {
      const many = cells.size;
      const into = new Int32Array(many).fill(-1);
      const crowd = Array.from({ length: 32 }, () => []);
      for (let each = 0; each < many; each += 1) crowd[31 - Math.clz32(counts[each])].push(each);
      let number = 0;
      for (const group of crowd.reverse()) {
        for (const each of group) {
          if (into[each] >= 0) continue;
          into[each] = number;
          const [x, y] = [sumX[each] / counts[each], sumY[each] / counts[each]];
          for (let aside = -1; aside <= 1; aside += 1) {
            for (let below = -1; below <= 1; below += 1) {
              const other = cells.find(cells.columns[each] + aside, cells.rows[each] + below);
              if (other < 0 || into[other] >= 0) continue;
              if (Math.hypot(sumX[other] / counts[other] - x, sumY[other] / counts[other] - y) < reach) into[other] = number;
            }
          }
          number += 1;
        }
      }
      return { into, number };
    }

    sum(of, { into, number }) {
      const made = {
        number, of, x: new Float64Array(number), y: new Float64Array(number), count: new Uint32Array(number),
        states: new Uint32Array(number * STATES), first: new Int32Array(number),
      };
      for (let point = 0; point < this.size; point += 1) {
        const at = into[of[point]];
        of[point] = at;
        if (!made.count[at]) made.first[at] = this.index[point];
        made.x[at] += this.x[point];
        made.y[at] += this.y[point];
        made.count[at] += 1;
        made.states[at * STATES + this.state[point]] += 1;
      }
      for (let at = 0; at < number; at += 1) {
        made.x[at] /= made.count[at];
        made.y[at] /= made.count[at];
      }
      return made;
    }

    /** Return the nodes of one cluster, at most so many. */
    members(zoom, cluster, most = Infinity) {
      const { of } = this.level(zoom);
      const found = [];
      for (let point = 0; point < this.size && found.length < most; point += 1) if (of[point] === cluster) found.push(point);
      return found;
    }

    /** Return the first zoom at which a cluster falls apart; one more than the deepest when it never does. */
    apart(zoom, cluster) {
      const inside = this.members(zoom, cluster);
      let [west, east, north, south] = [Infinity, -Infinity, Infinity, -Infinity];
      for (const point of inside) {
        west = Math.min(west, this.x[point]); east = Math.max(east, this.x[point]);
        north = Math.min(north, this.y[point]); south = Math.max(south, this.y[point]);
      }
      const wide = Math.max(east - west, south - north);
      if (wide < 1e-9) return DEEPEST + 1;
      // Before it is as wide as the reach it cannot fall apart much.
      for (let next = Math.max(zoom + 1, Math.floor(Math.log2(REACH / (256 * wide)))); next < DEEPEST; next += 1) {
        const { of } = this.level(next);
        if (inside.some((point) => of[point] !== of[inside[0]])) return next;
      }
      return DEEPEST;
    }
  }

  Object.assign(window.breakwaterMap, { Clusters, across, down });
})();
