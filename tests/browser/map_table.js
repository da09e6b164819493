// What the map's own table of nodes is after changes of each kind.
() => {
  const { Nodes } = breakwaterMap;
  const rows = (names, more = {}) => ({
    id: names.map((name) => `id-${name}`), name: names, lon: names.map(() => 1), lat: names.map(() => 2), state: names.map(() => 0),
    organisation: names.map(() => 0), site: names.map(() => 0), labels: names.map(() => 0), apps: names.map(() => 0), cpu_free: names.map(() => 1000),
    memory_free: names.map(() => 1), deployed: names.map(() => 0), failed: names.map(() => 0), simulated: [],
    organisations: ["acme"], sites: [""], label_words: ["tier=1"], label_sets: [[0]], app_words: [], app_sets: [[]], ...more,
  });
  const all = { q: "", site: "", app: "", label: "", cpu: 0, memory: 0, states: new Set([0, 1, 2, 3, 4]) };
  const names = (nodes, filter = {}) => nodes.matching({ ...all, ...filter }).map((index) => nodes.columns.name[index]).join("");
  const nodes = new Nodes();
  nodes.reset(rows(["b", "d", "f"]));
  const told = [names(nodes)];
  // The same words have other numbers in each answer.
  told.push(nodes.take(rows(["e", "a"], { label_words: ["zone=q", "tier=1"], label_sets: [[1], [0]], labels: [1, 0], simulated: [0] }), ["id-d"]), names(nodes));
  told.push(names(nodes, { label: "tier=1" }), names(nodes, { label: "zone=q" }), names(nodes, { q: "ZONE" }), names(nodes, { q: "acme", states: new Set([1]) }));
  told.push(nodes.take(rows(["b"]), []), nodes.take({ ...rows(["z"]), id: ["id-b"] }, []), names(nodes), nodes.size, nodes.worn, nodes.facts(nodes.at.get("id-e")).simulated);
  return told;
}
