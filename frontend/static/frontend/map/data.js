// What the map knows of nodes: columns as the server sends them, kept up to date, searched and filtered.
window.breakwaterMap ??= {};
(() => {
  const OWN = ["id", "name", "lon", "lat", "state", "cpu_free", "memory_free", "deployed", "failed"];
  const CODED = [["organisation", "organisations"], ["site", "sites"]];
  // Lists of words that many nodes share: of each node a number, of each list the numbers of its words.
  const LISTED = [["labels", "label_sets", "label_words"], ["apps", "app_sets", "app_words"]];
  const WORDS = ["organisations", "sites", "label_words", "app_words"];
  // So many rows may be those of nodes that went, before everything is asked for anew.
  const DEAD = 2000;

  class Nodes {
    constructor() { this.clear(); }

    clear() {
      this.reset(Object.fromEntries([...OWN, ...CODED.flat(), ...LISTED.flat(), "simulated"].map((name) => [name, []])));
    }

    get size() { return this.at.size; }

    /** Whether many rows are of nodes that went. */
    get worn() { return this.dead > DEAD && this.dead > this.size / 2; }

    /** How many words are known: when it is the same as before, so are the words. */
    get vocabulary() { return WORDS.reduce((sum, words) => sum + this.columns[words].length, 0); }

    /** Take everything, instead of what was there: the server's own lists, which nobody else holds. */
    reset(nodes) {
      const mine = this.columns = { ...nodes, simulated: new Set(nodes.simulated) };
      this.codes = Object.fromEntries(WORDS.map((words) => [words, new Map(mine[words].map((word, code) => [word, code]))]));
      this.sets = Object.fromEntries(LISTED.map(([, sets]) => [sets, new Map(mine[sets].map((codes, code) => [codes.join(), code]))]));
      this.at = new Map();
      this.lower = new Array(mine.id.length);
      this.order = new Array(mine.id.length);
      this.dead = 0;
      let sorted = true;
      for (let index = 0; index < mine.id.length; index += 1) {
        this.at.set(mine.id[index], index);
        this.lower[index] = mine.name[index].toLowerCase();
        this.order[index] = index;
        if (index && this.lower[index] < this.lower[index - 1]) sorted = false;
      }
      if (!sorted) this.order = this.sorted(this.order);
    }

    /** Take changed rows, and forget those that went; returns whether anything moved, came, went or changed its state. */
    take(nodes, gone) {
      const mine = this.columns;
      const word = Object.fromEntries(WORDS.map((words) => [words, nodes[words].map((each) => this.code(words, each))]));
      const set = Object.fromEntries(LISTED.map(([, sets, words]) => [sets, nodes[sets].map((codes) => this.set(sets, codes.map((code) => word[words][code])))]));
      const simulated = new Set(nodes.simulated);
      const fresh = new Set();
      let moved = gone.length > 0;
      for (let row = 0; row < nodes.id.length; row += 1) {
        let index = this.at.get(nodes.id[row]);
        if (index === undefined) {
          index = mine.id.length;
          this.at.set(nodes.id[row], index);
          fresh.add(index);
        } else if (mine.name[index] !== nodes.name[row]) {
          fresh.add(index);
        } else if (["lon", "lat", "state"].some((name) => mine[name][index] !== nodes[name][row])) {
          moved = true;
        }
        for (const name of OWN) mine[name][index] = nodes[name][row];
        for (const [name, words] of CODED) mine[name][index] = word[words][nodes[name][row]];
        for (const [name, sets] of LISTED) mine[name][index] = set[sets][nodes[name][row]];
        if (simulated.has(row)) mine.simulated.add(index); else mine.simulated.delete(index);
        this.lower[index] = nodes.name[row].toLowerCase();
      }
      const left = new Set();
      for (const id of gone) {
        const index = this.at.get(id);
        if (index !== undefined) { left.add(index); this.at.delete(id); this.dead += 1; }
      }
      if (fresh.size || left.size) this.place(fresh, left);
      return moved || fresh.size > 0;
    }

    /** Put new rows into the order of names and take those that went out of it, without sorting the others again. */
    place(fresh, left) {
      const coming = this.sorted([...fresh].filter((index) => !left.has(index)));
      const staying = this.order.filter((index) => !fresh.has(index) && !left.has(index));
      const order = [];
      let next = 0;
      for (const index of staying) {
        while (next < coming.length && this.lower[coming[next]] < this.lower[index]) { order.push(coming[next]); next += 1; }
        order.push(index);
      }
      this.order = order.concat(coming.slice(next));
    }

    sorted(indices) { return indices.sort((a, b) => (this.lower[a] < this.lower[b] ? -1 : Number(this.lower[a] > this.lower[b]))); }

    code(words, word) {
      const known = this.codes[words];
      if (!known.has(word)) { known.set(word, known.size); this.columns[words].push(word); }
      return known.get(word);
    }

    set(sets, codes) {
      const known = this.sets[sets];
      const key = codes.join();
      if (!known.has(key)) { known.set(key, known.size); this.columns[sets].push(codes); }
      return known.get(key);
    }

    word(words, code) { return this.columns[words][code] ?? ""; }

    /** Return the indices of the nodes that pass, in the order of their names. */
    matching(filter) {
      const mine = this.columns;
      const tests = [];
      if (filter.states.size < 5) tests.push((index) => filter.states.has(mine.state[index]));
      if (filter.site) { const site = this.codes.sites.get(filter.site) ?? -1; tests.push((index) => mine.site[index] === site); }
      for (const [name, sets, words] of LISTED) {
        const word = filter[name.slice(0, -1)];
        if (!word) continue;
        const code = this.codes[words].get(word) ?? -1;
        const having = mine[sets].map((codes) => codes.includes(code));
        tests.push((index) => having[mine[name][index]]);
      }
      if (filter.cpu) tests.push((index) => mine.cpu_free[index] >= filter.cpu * 1000);
      if (filter.memory) tests.push((index) => mine.memory_free[index] >= filter.memory * 1024);
      if (filter.q) {
        const text = filter.q.toLowerCase();
        const near = (words) => mine[words].map((word) => word.toLowerCase().includes(text));
        const [sites, organisations, labels] = ["sites", "organisations", "label_words"].map(near);
        const labelled = mine.label_sets.map((codes) => codes.some((code) => labels[code]));
        tests.push((index) => this.lower[index].includes(text) || sites[mine.site[index]] || organisations[mine.organisation[index]] || labelled[mine.labels[index]]);
      }
      return tests.length ? this.order.filter((index) => tests.every((passes) => passes(index))) : this.order;
    }

    /** Return one node as an object. */
    facts(index) {
      const mine = this.columns;
      const listed = LISTED.map(([name, sets, words]) => [name, mine[sets][mine[name][index]].map((code) => this.word(words, code))]);
      return {
        ...Object.fromEntries(OWN.map((name) => [name, mine[name][index]])),
        ...Object.fromEntries(listed),
        organisation: this.word("organisations", mine.organisation[index]),
        site: this.word("sites", mine.site[index]),
        simulated: mine.simulated.has(index),
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
        if (this.nodes.worn) this.ask(true).catch(() => {});
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
