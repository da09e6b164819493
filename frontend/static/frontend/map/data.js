// What the map knows of nodes: columns as the server sends them, kept up to date, searched and filtered.
window.breakwaterMap ??= {};
(() => {
  const OWN = ["id", "name", "lon", "lat", "state", "cpu_free", "memory_free", "deployed", "failed"];
  const CODED = [["organisation", "organisations"], ["site", "sites"]];
  const LISTED = [["labels", "label_words"], ["apps", "app_words"]];

  class Nodes {
    constructor() { this.clear(); }

    clear() {
      this.columns = Object.fromEntries([...OWN, ...CODED.flat(), ...LISTED.flat(), "simulated"].map((name) => [name, []]));
      this.codes = Object.fromEntries([...CODED, ...LISTED].map(([, words]) => [words, new Map()]));
      this.at = new Map();
      this.order = [];
      this.lower = [];
      this.gone = new Set();
    }

    get size() { return this.at.size; }

    /** Take everything, instead of what was there. */
    reset(nodes) {
      this.clear();
      this.take(nodes, []);
    }

    /** Take changed rows, and forget those that went; returns whether anything moved, came, went or changed its state. */
    take(nodes, gone) {
      const mine = this.columns;
      const translate = Object.fromEntries([...CODED, ...LISTED].map(([, words]) => [words, nodes[words].map((word) => this.code(words, word))]));
      const simulated = new Set(nodes.simulated);
      let moved = gone.length > 0;
      let came = 0;
      for (let row = 0; row < nodes.id.length; row += 1) {
        let index = this.at.get(nodes.id[row]);
        if (index === undefined) {
          index = mine.id.length;
          this.at.set(nodes.id[row], index);
          came += 1;
        } else if (["lon", "lat", "state", "name"].some((name) => mine[name][index] !== nodes[name][row])) {
          moved = true;
        }
        for (const name of OWN) mine[name][index] = nodes[name][row];
        for (const [name, words] of CODED) mine[name][index] = translate[words][nodes[name][row]];
        for (const [name, words] of LISTED) mine[name][index] = nodes[name][row].map((code) => translate[words][code]);
        mine.simulated[index] = simulated.has(row);
        this.lower[index] = nodes.name[row].toLowerCase();
      }
      for (const id of gone) {
        const index = this.at.get(id);
        if (index !== undefined) { this.gone.add(index); this.at.delete(id); }
      }
      if (came || gone.length) {
        // Rows come in the order of the table, so that nothing need be sorted when somebody pans.
        this.order = [...this.at.values()].sort((a, b) => (this.lower[a] < this.lower[b] ? -1 : 1));
      }
      return moved || came > 0;
    }

    code(words, word) {
      const known = this.codes[words];
      if (!known.has(word)) { known.set(word, known.size); this.columns[words].push(word); }
      return known.get(word);
    }

    word(words, code) { return this.columns[words][code] ?? ""; }

    /** Return the indices of the nodes that pass, in the order of their names. */
    matching(filter) {
      const mine = this.columns;
      const wanted = (words, word) => (word ? this.codes[words].get(word) ?? -1 : null);
      const site = wanted("sites", filter.site);
      const app = wanted("app_words", filter.app);
      const label = wanted("label_words", filter.label);
      const text = filter.q.toLowerCase();
      const near = text ? new Set(["sites", "organisations", "label_words"].flatMap((words) =>
        mine[words].map((word, code) => (word.toLowerCase().includes(text) ? `${words}${code}` : null)).filter(Boolean))) : null;
      return this.order.filter((index) => {
        if (!filter.states.has(mine.state[index])) return false;
        if (site !== null && mine.site[index] !== site) return false;
        if (app !== null && !mine.apps[index].includes(app)) return false;
        if (label !== null && !mine.labels[index].includes(label)) return false;
        if (filter.cpu && !(mine.cpu_free[index] >= filter.cpu * 1000)) return false;
        if (filter.memory && !(mine.memory_free[index] >= filter.memory * 1024)) return false;
        if (!near) return true;
        return this.lower[index].includes(text) || near.has(`sites${mine.site[index]}`) || near.has(`organisations${mine.organisation[index]}`)
          || mine.labels[index].some((code) => near.has(`label_words${code}`));
      });
    }

    /** Return one node as an object. */
    facts(index) {
      const mine = this.columns;
      return {
        ...Object.fromEntries(OWN.map((name) => [name, mine[name][index]])),
        organisation: this.word("organisations", mine.organisation[index]),
        site: this.word("sites", mine.site[index]),
        labels: mine.labels[index].map((code) => this.word("label_words", code)),
        apps: mine.apps[index].map((code) => this.word("app_words", code)),
        simulated: mine.simulated[index],
        uuid: mine.id[index].replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5"),
      };
    }
  }

  /** Keep `nodes` like the server's: everything once, then a stream of changes, or a question now and then. */
  class Feed {
    constructor(nodes, urls, told) {
      Object.assign(this, { nodes, urls, told, version: "", poll: null });
    }

    async start() {
      await this.ask();
      this.listen();
      document.addEventListener("visibilitychange", () => { if (!document.hidden) this.ask().catch(() => {}); });
    }

    /** Ask for what changed; the answer is everything when the server does not know what we have. */
    async ask(anew = false) {
      const since = this.version && !anew ? `?since=${encodeURIComponent(this.version)}` : "";
      this.apply(await window.breakwaterMap.load(this.urls.nodes + since));
    }

    apply(answer) {
      this.version = answer.version;
      if (answer.states) {
        this.nodes.reset(answer.nodes);
        this.told(true, true);
      } else if (answer.nodes.id.length || answer.gone.length) {
        this.told(this.nodes.take(answer.nodes, answer.gone));
      }
    }

    listen() {
      if (!window.EventSource) { this.look(); return; }
      const source = new EventSource(`${this.urls.stream}?since=${encodeURIComponent(this.version)}`);
      source.onopen = () => { clearInterval(this.poll); this.poll = null; this.mode("stream"); };
      source.onmessage = (event) => this.apply(JSON.parse(event.data));
      source.addEventListener("again", () => this.ask(true).catch(() => {}));
      // The browser comes back by itself; the page asks for itself until then, and opens a new stream if it gave up.
      source.onerror = () => {
        this.look();
        if (source.readyState === EventSource.CLOSED) setTimeout(() => this.listen(), 15_000);
      };
      window.addEventListener("pagehide", () => source.close());
    }

    look() {
      this.mode("poll");
      this.poll ??= setInterval(() => { if (!document.hidden) this.ask().catch(() => {}); }, 5000);
    }

    mode(how) { document.querySelectorAll("[data-map-live]").forEach((part) => { part.dataset.liveMode = how; }); }
  }

  Object.assign(window.breakwaterMap, { Nodes, Feed });
})();
