// Ten thousand places, of which a thousand are one: what the map makes of them at a zoom.
(zoom) => {
  let seed = 7;
  const random = () => { seed = (seed * 16807) % 2147483647; return seed / 2147483647; };
  const lon = [], lat = [], state = [];
  for (let each = 0; each < 10000; each += 1) {
    const apart = each % 10 !== 0;
    lon.push(each === 5 ? null : apart ? random() * 360 - 180 : 24.94); lat.push(apart ? random() * 160 - 80 : 60.17); state.push(each % 5);
  }
  const clusters = new breakwaterMap.Clusters({ lon, lat, state }, lon.map((_, index) => index));
  const level = clusters.level(zoom);
  const counts = [...level.count];
  const scale = 256 * 2 ** zoom;
  const spread = Math.max(...[...level.of].map((at, point) => Math.hypot(clusters.x[point] - level.x[at], clusters.y[point] - level.y[at]) * scale));
  const crowd = counts.indexOf(Math.max(...counts));
  return {
    all: counts.reduce((sum, count) => sum + count, 0), number: counts.length, most: Math.max(...counts), spread,
    states: [...level.states].reduce((sum, count) => sum + count, 0), apart: clusters.apart(zoom, crowd),
    members: clusters.members(zoom, crowd).length,
  };
}
