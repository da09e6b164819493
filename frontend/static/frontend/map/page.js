// The operator's map: filters, list, card and address around the layers.
(() => {
  const { Nodes, Feed, NodeLayer, COLOURS, ground, load, escape, drawSites, placesOf } = window.breakwaterMap;
  const ROWS = 60;
  const app = document.getElementById("map-app");
  const words = JSON.parse(app.dataset.words);
  const form = document.getElementById("map-filter");
  const stage = document.getElementById("map");
  const card = document.getElementById("map-card");
  const body = document.getElementById("map-rows");
  const status = document.getElementById("map-status");
  const say = (key, values = {}) => Object.entries(values).reduce((text, [name, value]) => text.replace(`{${name}}`, value), words[key]);
  const number = new Intl.NumberFormat(document.documentElement.lang || "en");

  // Nodes are what people came for: the countries are fetched and drawn after them.
  let begin;
  const begun = new Promise((done) => { begin = done; });
  const map = ground(stage, begun);
  const nodes = new Nodes();
  map.createPane("nodes").style.zIndex = 450;
  const layer = new NodeLayer(nodes, { pane: "nodes" }).addTo(map);
  const tip = L.tooltip({ direction: "top", offset: [0, -10] });
  let shown = [];
  let chosen = null;
  let chosenId = "";
  let framed = false;
  let spent = 0;
  let offered = -1;
  let busy = false;
  let waiting = null;
  let stale = false;

  // --- filters and address -------------------------------------------------------------------------------------------
  const fields = form.elements;
  const ticks = [...form.querySelectorAll("[name=state]"), ...document.querySelectorAll(`[form=${form.id}][name=state]`)].filter((tick, index, all) => all.indexOf(tick) === index);

  function filter() {
    return {
      q: fields.q.value.trim(), site: fields.site.value, app: fields.app.value, label: fields.label.value,
      cpu: Math.max(0, Number(fields.cpu.value) || 0), memory: Math.max(0, Number(fields.memory.value) || 0),
      states: new Set(ticks.filter((tick) => tick.checked).map((tick) => Number(tick.value))),
    };
  }

  function read() {
    const given = new URLSearchParams(location.search);
    for (const name of ["q", "cpu", "memory"]) fields[name].value = given.get(name) || "";
    for (const name of ["site", "app", "label"]) {
      const wanted = given.get(name) || "";
      if (wanted && ![...fields[name].options].some((option) => option.value === wanted)) fields[name].add(new Option(wanted, wanted));
      fields[name].value = wanted;
    }
    const states = given.get("state");
    ticks.forEach((tick) => { tick.checked = states === null || states.split(",").includes(words.states[tick.value].key); });
    const place = (given.get("at") || "").split(",").map(Number);
    if (place.length === 3 && place.every(Number.isFinite) && Math.abs(place[0]) <= 85 && Math.abs(place[1]) <= 180) {
      map.setView([place[0], place[1]], place[2], { animate: false });
      framed = true;
    }
    return given.get("node");
  }

  function write() {
    const now = filter();
    const given = new URLSearchParams();
    for (const name of ["q", "site", "app", "label", "cpu", "memory"]) if (now[name]) given.set(name, now[name]);
    if (now.states.size < words.states.length) given.set("state", [...now.states].map((state) => words.states[state].key).join(","));
    const centre = map.getCenter();
    given.set("at", [centre.lat.toFixed(4), centre.lng.toFixed(4), map.getZoom().toFixed(2)].join(","));
    if (chosenId) given.set("node", chosenId);
    history.replaceState(null, "", `${location.pathname}?${given.toString().replaceAll("%2C", ",")}`);
    document.querySelectorAll("[data-map-street]").forEach((link) => {
      link.href = `${link.dataset.mapStreet}?at=${centre.lat.toFixed(5)},${centre.lng.toFixed(5)},${Math.max(14, map.getZoom()).toFixed(1)}`;
    });
    document.querySelectorAll("[data-map-new-site]").forEach((link) => {
      link.href = `${link.dataset.mapNewSite}?at=${centre.lat.toFixed(5)},${centre.lng.toFixed(5)},${map.getZoom().toFixed(1)}`;
    });
  }

  /** Offer what the nodes have, in the lists of the filter. */
  function choices() {
    if (offered !== nodes.vocabulary) offer();
    offered = nodes.vocabulary;
    const counts = COLOURS.map(() => 0);
    for (const index of nodes.order) counts[nodes.columns.state[index]] += 1;
    document.querySelectorAll("[data-map-count]").forEach((place) => { place.textContent = number.format(counts[place.dataset.mapCount]); });
  }

  function offer() {
    for (const [name, known] of [["site", "sites"], ["app", "app_words"], ["label", "label_words"]]) {
      const select = fields[name];
      const before = select.value;
      const all = nodes.columns[known].filter(Boolean).sort().slice(0, 2000);
      if (before && !all.includes(before)) all.unshift(before);
      select.replaceChildren(select.options[0], ...all.map((word) => new Option(word, word)));
      select.value = before;
    }
  }

  // --- drawing -------------------------------------------------------------------------------------------------------
  function draw() {
    const begun = performance.now();
    shown = nodes.matching(filter());
    // The view first, so that everything is drawn once and where it stays.
    busy = true;
    if (!framed) frame();
    busy = false;
    stage.dataset.nodes = String(layer.show(shown));
    list();
    spent = performance.now() - begun;
  }

  /** Show all that passes the filter. */
  function frame() {
    const { lon, lat } = nodes.columns;
    let [west, south, east, north] = [Infinity, Infinity, -Infinity, -Infinity];
    for (const index of shown) {
      if (lon[index] === null) continue;
      west = Math.min(west, lon[index]); east = Math.max(east, lon[index]);
      south = Math.min(south, lat[index]); north = Math.max(north, lat[index]);
    }
    if (west > east) return;
    framed = true;
    map.fitBounds(L.latLngBounds([south, west], [north, east]).pad(0.12), { maxZoom: 12, animate: false });
  }

  /** Fill the list with what is in view, worst first. */
  function list() {
    const view = map.getBounds();
    const [south, west, north, east] = [view.getSouth(), view.getWest(), view.getNorth(), view.getEast()];
    const { lon, lat, state } = nodes.columns;
    const buckets = COLOURS.map(() => []);
    let inView = 0;
    let nowhere = 0;
    for (const index of shown) {
      if (lon[index] === null) { nowhere += 1; continue; }
      if (lat[index] < south || lat[index] > north || lon[index] < west || lon[index] > east) continue;
      inView += 1;
      if (buckets[state[index]].length < ROWS) buckets[state[index]].push(index);
    }
    const rows = buckets.reverse().flat().slice(0, ROWS);
    const focused = body.contains(document.activeElement) ? document.activeElement.dataset.node : null;
    body.replaceChildren(...rows.map(row));
    if (focused) body.querySelector(`[data-node="${CSS.escape(focused)}"]`)?.focus();
    document.getElementById("map-none").hidden = rows.length > 0;
    const parts = [say("in_view", { n: number.format(inView), all: number.format(nodes.size) })];
    if (inView > rows.length) parts.push(say("first", { n: number.format(rows.length) }));
    if (nowhere) parts.push(say("nowhere", { n: number.format(nowhere) }));
    const text = parts.join(" · ");
    if (status.textContent !== text) status.textContent = text;
  }

  function row(index) {
    const facts = nodes.facts(index);
    const line = document.createElement("tr");
    const look = words.states[facts.state];
    line.className = index === chosen ? "map-chosen" : "";
    line.innerHTML = `<th scope="row"><button type="button" class="map-row" data-node="${facts.id}"><span class="map-row-name">${escape(facts.name)}</span>`
      + `<span class="map-row-more">${escape([facts.site, facts.organisation].filter(Boolean).join(" · "))}</span></button></th>`
      + `<td><span class="map-word map-word-${look.key}"><svg class="map-mark" aria-hidden="true"><use href="#map-mark-${look.key}"/></svg>${escape(look.word)}</span></td>`
      + `<td class="num text-end">${facts.cpu_free === null ? "–" : (facts.cpu_free / 1000).toFixed(1)}</td>`
      + `<td class="num text-end">${facts.deployed}</td>`;
    return line;
  }

  // --- card ----------------------------------------------------------------------------------------------------------
  function choose(index, { pan = false, focus = false } = {}) {
    chosen = layer.chosen = index;
    chosenId = nodes.columns.id[index];
    const facts = nodes.facts(index);
    const look = words.states[facts.state];
    const room = (value, unit) => (value === null ? words.unknown : `${(value / unit).toFixed(1)}`);
    card.innerHTML = `<div class="map-card-head"><h2 class="h3 m-0">${escape(facts.name)}</h2><button type="button" class="btn-close" aria-label="${escape(words.close)}"></button></div>
      <p class="mb-2"><span class="map-word map-word-${look.key}"><svg class="map-mark" aria-hidden="true"><use href="#map-mark-${look.key}"/></svg>${escape(look.word)}</span>
      <span class="text-secondary">${escape([facts.site, facts.organisation].filter(Boolean).join(" · "))}</span>${facts.simulated ? ` <span class="chip">${escape(words.simulated)}</span>` : ""}</p>
      <dl class="map-facts"><div><dt>${escape(words.cpu)}</dt><dd>${room(facts.cpu_free, 1000)}</dd></div><div><dt>${escape(words.memory)}</dt><dd>${room(facts.memory_free, 1024)}</dd></div>
      <div><dt>${escape(words.deployments)}</dt><dd>${facts.deployed}${facts.failed ? ` <span class="text-bad">${escape(say("failed", { n: facts.failed }))}</span>` : ""}</dd></div></dl>
      ${facts.apps.length ? `<ul class="map-chips" aria-label="${escape(words.apps)}">${facts.apps.slice(0, 8).map((name) => `<li class="chip">${escape(name)}</li>`).join("")}${facts.apps.length > 8 ? `<li class="text-secondary">+${facts.apps.length - 8}</li>` : ""}</ul>` : `<p class="text-secondary mb-2">${escape(words.no_apps)}</p>`}
      ${facts.labels.length ? `<p class="map-labels">${facts.labels.slice(0, 6).map((text) => `<code>${escape(text)}</code>`).join(" ")}</p>` : ""}
      <a class="btn btn-primary w-100" href="${app.dataset.node.replace("00000000-0000-0000-0000-000000000000", facts.uuid)}">${escape(words.open)}</a>`;
    card.hidden = false;
    if (pan && facts.lon !== null) map.setView([facts.lat, facts.lon], Math.max(map.getZoom(), 9), { animate: false });
    layer.again();
    list();
    write();
    if (focus) card.querySelector("a").focus();
  }

  function close(back = true) {
    const id = chosenId;
    card.hidden = true;
    chosen = layer.chosen = null;
    chosenId = "";
    layer.again();
    list();
    write();
    if (back) (body.querySelector(`[data-node="${CSS.escape(id)}"]`) || stage).focus();
  }

  /** Several nodes at one place: let people choose. */
  function gather(item) {
    const inside = layer.inside(item, 30);
    card.innerHTML = `<div class="map-card-head"><h2 class="h3 m-0">${escape(say("here", { n: number.format(item.number) }))}</h2><button type="button" class="btn-close" aria-label="${escape(words.close)}"></button></div>
      <ul class="map-here">${inside.map((index) => `<li><button type="button" class="map-row" data-node="${nodes.columns.id[index]}"><svg class="map-mark" aria-hidden="true"><use href="#map-mark-${words.states[nodes.columns.state[index]].key}"/></svg> ${escape(nodes.columns.name[index])}</button></li>`).join("")}</ul>`;
    card.hidden = false;
  }

  app.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-node]");
    if (button) { choose(nodes.at.get(button.dataset.node), { pan: !card.contains(button), focus: true }); return; }
    if (event.target.closest(".btn-close")) close();
  });
  app.addEventListener("keydown", (event) => { if (event.key === "Escape" && !card.hidden) close(); });

  map.on("click", (event) => {
    const item = layer.hit(event.layerPoint);
    if (!item) { if (!card.hidden) close(false); return; }
    if (item.node !== undefined) { choose(item.node); return; }
    const closer = layer.apart(item);
    if (closer > map.getMaxZoom() || closer <= map.getZoom()) gather(item); else map.flyTo(layer.place(item), closer, { duration: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 0.4 });
  });
  map.on("mousemove", (event) => {
    const item = layer.hit(event.layerPoint);
    stage.classList.toggle("map-over", Boolean(item));
    if (!item) { tip.remove(); return; }
    const text = item.node !== undefined
      ? `<strong>${escape(nodes.columns.name[item.node])}</strong><br>${escape(words.states[nodes.columns.state[item.node]].word)}`
      : `<strong>${escape(say("several", { n: number.format(item.number) }))}</strong><br>${[...item.counts].map((count, state) => (count ? escape(`${number.format(count)} ${words.states[state].word}`) : "")).filter(Boolean).reverse().join("<br>")}`;
    tip.setLatLng(layer.place(item)).setContent(text);
    if (!map.hasLayer(tip)) tip.addTo(map);
  });
  map.on("mouseout", () => tip.remove());
  map.on("moveend", () => { if (!busy) { list(); write(); } });

  // --- sites ---------------------------------------------------------------------------------------------------------
  map.createPane("sites").style.zIndex = 420;
  const siteRenderer = L.canvas({ pane: "sites", padding: 0.3 });
  const sites = L.layerGroup();
  let places = [];

  async function showSites() {
    let data;
    try { data = await load(app.dataset.sites); } catch { return; }
    sites.clearLayers();
    drawSites(sites, data.features, {
      common: { renderer: siteRenderer, pane: "sites" }, words,
      // A node on top of its site is the one that is meant.
      chosen: (feature, event) => { if (!layer.hit(event.layerPoint)) location.assign(app.dataset.site.replace("00000000-0000-0000-0000-000000000000", feature.id)); },
    });
    places = placesOf(data.features);
    nameSites();
    stage.dataset.sites = String(data.features.length);
  }
  const siteTick = document.getElementById("map-sites");
  const nameSites = () => layer.name(siteTick.checked ? places : []);
  siteTick.addEventListener("change", () => { if (siteTick.checked) sites.addTo(map); else sites.remove(); nameSites(); });
  if (siteTick.checked) sites.addTo(map);
  document.addEventListener("breakwater:theme", () => { layer.again(); showSites(); });

  // --- tools and start -----------------------------------------------------------------------------------------------
  let typing = null;
  form.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => { draw(); write(); }, 150); });
  ticks.forEach((tick) => tick.addEventListener("change", () => { draw(); write(); }));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { ticks.forEach((tick) => { tick.checked = true; }); draw(); write(); }));
  document.getElementById("map-fit").addEventListener("click", frame);
  const full = document.getElementById("map-full");
  full.hidden = !document.fullscreenEnabled;
  full.addEventListener("click", () => (document.fullscreenElement ? document.exitFullscreen() : app.requestFullscreen()));
  document.addEventListener("fullscreenchange", () => map.invalidateSize());
  new ResizeObserver(() => map.invalidateSize({ animate: false })).observe(stage);

  const wanted = read();
  const feed = new Feed(nodes, { nodes: app.dataset.nodes, stream: app.dataset.stream }, (moved, anew) => {
    choices();
    // When everything came anew, rows have other numbers: what is shown must not be asked for by the old ones.
    chosen = layer.chosen = nodes.at.get(chosenId) ?? null;
    stale ||= moved;
    if (anew || !framed || !shown.length) { renew(); write(); return; }
    // What takes long is done seldom: the map stays smooth when much changes. What waits is not put off by what comes meanwhile.
    waiting ??= setTimeout(renew, Math.min(4000, spent * 6));
  });

  function renew() {
    clearTimeout(waiting);
    waiting = null;
    if (stale) draw(); else list();
    stale = false;
    if (chosen !== null && !card.hidden && !card.contains(document.activeElement)) choose(chosen);
  }
  feed.start().then(() => {
    // The scale of this page's drawing, for those who measure it.
    performance.mark("map-ready");
    stage.dataset.ready = "true";
    begin();
    const index = nodes.at.get(wanted || "");
    if (index !== undefined) choose(index);
    document.getElementById("map-trouble").hidden = true;
    return showSites();
  }).catch(() => { document.getElementById("map-trouble").hidden = false; }).finally(begin);
  window.breakwaterMap.leaflet = map;
})();
