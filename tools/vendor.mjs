// Copies what the pages need from node_modules to frontend/static/vendor and writes its manifest of hashes.
// Run `npm ci && node tools/vendor.mjs` and commit the result: neither running nor testing needs node.
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const topojson = require("topojson-client");

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const modules = join(root, "node_modules");
const target = join(root, "frontend", "static", "vendor");

const FILES = {
  "tabler/tabler.min.css": "@tabler/core/dist/css/tabler.min.css",
  "tabler/tabler-themes.min.css": "@tabler/core/dist/css/tabler-themes.min.css",
  "tabler/tabler.min.js": "@tabler/core/dist/js/tabler.min.js",
  "inter/inter-latin.woff2": "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2",
  "inter/inter-latin-ext.woff2": "@fontsource-variable/inter/files/inter-latin-ext-wght-normal.woff2",
  "inter/LICENSE": "@fontsource-variable/inter/LICENSE",
  "leaflet/leaflet.js": "leaflet/dist/leaflet.js",
  "leaflet/leaflet.css": "leaflet/dist/leaflet.css",
  "leaflet/images": "leaflet/dist/images",
  "leaflet/LICENSE": "leaflet/LICENSE",
  "world/LICENSE": "world-atlas/LICENSE",
  "maplibre/maplibre-gl.mjs": "maplibre-gl/dist/maplibre-gl.mjs",
  "maplibre/maplibre-gl-worker.mjs": "maplibre-gl/dist/maplibre-gl-worker.mjs",
  "maplibre/maplibre-gl.css": "maplibre-gl/dist/maplibre-gl.css",
  "maplibre/LICENSE": "maplibre-gl/LICENSE.txt",
  "pmtiles/pmtiles.js": "pmtiles/dist/pmtiles.js",
  "uplot/uPlot.iife.min.js": "uplot/dist/uPlot.iife.min.js",
  "uplot/uPlot.min.css": "uplot/dist/uPlot.min.css",
  "uplot/LICENSE": "uplot/LICENSE",
};

const ICONS = `
  activity adjustments affiliate alarm alert-circle alert-triangle api apps archive arrow-back-up arrow-down
  arrow-forward-up arrow-left arrow-right arrow-up arrows-exchange award badge ban bell bell-off bolt bookmark books
  box brand-docker bug building building-store calendar category certificate chart-bar check chevron-down chevron-left
  chevron-right circle circle-check circle-dashed circle-minus circle-plus circle-x clipboard-check clipboard-list
  clock cloud-download cloud-upload code copy cpu database device-desktop device-floppy dots download external-link
  eye eye-check eye-off file-certificate file-code file-text file-zip filter fingerprint flag flask git-branch
  git-compare hand-stop hash heart help-circle history info-circle key layout-grid license link link-off list
  list-check list-details loader lock lock-open login-2 logout mail map-2 map-pin menu-2 message message-circle moon network
  package packages pencil photo player-pause player-play player-stop plug plug-connected plug-connected-x plus printer
  puzzle radar refresh report rocket route rss scale scan search send server server-2 settings shield shield-check
  shield-exclamation shield-half shield-lock shield-off shield-x signature stack-2 star stethoscope sun
  switch-horizontal tag tags terminal-2 test-pipe thumb-up trash trophy unlink upload urgent usb user user-check users
  versions webhook world world-off world-share x
`.trim().split(/\s+/);

/** The package carries no file with its licence, only its name (BSD-3-Clause); the notice of its repository belongs to it. */
const PMTILES_LICENCE = `Copyright 2021 Protomaps LLC

Redistribution and use in source and binary forms, with or without modification, are permitted provided that the
following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this list of conditions and the following
disclaimer.

2. Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the following
disclaimer in the documentation and/or other materials provided with the distribution.

3. Neither the name of the copyright holder nor the names of its contributors may be used to endorse or promote products
derived from this software without specific prior written permission.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES,
INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL,
SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY,
WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF
THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
`;

function write(name, content) {
  const path = join(target, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

/** Hashed file names need files that name no others which are not there: the comments that point to source maps go. */
function withoutSourceMap(text) {
  return text.replace(/\n?\/\*[#@] sourceMappingURL=[^*]*\*\/\s*$/gm, "\n").replace(/\n?\/\/[#@] sourceMappingURL=.*$/gm, "\n");
}

function copy(name, from) {
  const source = join(modules, from);
  if (statSync(source).isDirectory()) {
    cpSync(source, join(target, name), { recursive: true });
  } else if (/\.(css|m?js)$/.test(name)) {
    write(name, withoutSourceMap(readFileSync(source, "utf8")));
  } else {
    write(name, readFileSync(source));
  }
}

function sprite() {
  const symbols = ICONS.map((icon) => {
    const path = join(modules, "@tabler/icons/icons/outline", `${icon}.svg`);
    if (!existsSync(path)) throw new Error(`there is no icon ${icon}`);
    const inner = readFileSync(path, "utf8").replace(/<!--[\s\S]*?-->/g, "").replace(/^[\s\S]*?<svg[^>]*>/, "").replace(/<\/svg>\s*$/, "");
    return `<symbol id="${icon}" viewBox="0 0 24 24">${inner.replace(/\s*\n\s*/g, "")}</symbol>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg">\n${symbols.join("\n")}\n</svg>\n`;
}

/** Rings of the atlas lie on a sphere; on a flat map one that crosses the antimeridian would smear a band across it. */
function unwrapped(ring) {
  let shift = 0;
  return ring.map(([longitude, latitude], index) => {
    if (index > 0) {
      const step = longitude - ring[index - 1][0];
      if (step > 180) shift -= 360;
      if (step < -180) shift += 360;
    }
    return [longitude + shift, latitude];
  });
}

/** Cut a ring at a meridian, keeping the side where `sign * (longitude - at) <= 0` (Sutherland and Hodgman). */
function clipped(ring, at, sign) {
  const inside = ([longitude]) => sign * (longitude - at) <= 0;
  const out = [];
  ring.forEach((point, index) => {
    const previous = ring[(index + ring.length - 1) % ring.length];
    if (inside(point) !== inside(previous)) {
      const part = (at - previous[0]) / (point[0] - previous[0]);
      out.push([at, previous[1] + part * (point[1] - previous[1])]);
    }
    if (inside(point)) out.push(point);
  });
  if (out.length > 0) out.push(out[0]);
  return out.length > 3 ? out : null;
}

/** Bring the parts that hang over the edge back to the other side of the map. */
function flat(polygon) {
  const rings = polygon.map(unwrapped).map((ring) => {
    const [first, last] = [ring[0], ring[ring.length - 1]];
    // A ring round a pole does not close on a flat map: lead it along the pole's edge.
    if (Math.abs(first[0] - last[0]) < 180) return ring;
    const pole = first[1] < 0 ? -90 : 90;
    return [...ring, [last[0], pole], [first[0], pole], first];
  });
  const parts = [];
  for (const offset of [-360, 0, 360]) {
    const moved = rings
      .map((ring) => ring.map(([x, y]) => [x + offset, y]))
      .map((ring) => clipped(ring, 180, 1)).filter(Boolean)
      .map((ring) => clipped(ring, -180, -1)).filter(Boolean);
    if (moved.length > 0) parts.push(moved);
  }
  return parts;
}

function world(scale, digits) {
  const atlas = JSON.parse(readFileSync(join(modules, "world-atlas", `countries-${scale}.json`), "utf8"));
  const round = (value) => Number(value.toFixed(digits));
  const features = topojson.feature(atlas, atlas.objects.countries).features.filter((item) => item.geometry).map((item) => {
    const polygons = item.geometry.type === "Polygon" ? [item.geometry.coordinates] : item.geometry.coordinates;
    const coordinates = polygons.flatMap(flat)
      .map((rings) => rings.map((ring) => ring.map(([x, y]) => [round(x), round(y)])
        .filter(([x, y], index, all) => index === 0 || x !== all[index - 1][0] || y !== all[index - 1][1]))
        .filter((ring) => ring.length > 3))
      .filter((rings) => rings.length > 0);
    return { type: "Feature", properties: { name: item.properties.name }, geometry: { type: "MultiPolygon", coordinates } };
  });
  return JSON.stringify({ type: "FeatureCollection", features });
}

function filesBelow(folder) {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => (entry.isDirectory() ? filesBelow(join(folder, entry.name)) : [join(folder, entry.name)]));
}

function manifest() {
  const versions = Object.fromEntries(Object.keys(JSON.parse(readFileSync(join(root, "package.json"), "utf8")).devDependencies)
    .map((name) => [name, JSON.parse(readFileSync(join(modules, name, "package.json"), "utf8")).version]));
  const files = Object.fromEntries(filesBelow(target).sort().map((path) =>
    [relative(target, path), createHash("sha256").update(readFileSync(path)).digest("hex")]));
  return JSON.stringify({ versions, files }, null, 2) + "\n";
}

rmSync(target, { recursive: true, force: true });
for (const [name, from] of Object.entries(FILES)) copy(name, from);
write("pmtiles/LICENSE", PMTILES_LICENCE);
write("icons/icons.svg", sprite());
write("icons/LICENSE", readFileSync(join(modules, "@tabler/icons/LICENSE")));
write("world/countries-110m.json", world("110m", 2));
write("world/countries-50m.json", world("50m", 2));
write("manifest.json", manifest());
console.log(`${filesBelow(target).length} files in ${relative(root, target)}`);
