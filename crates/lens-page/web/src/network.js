// The people and who is tied to whom, made of a view; nothing of it is drawn here.

const NODES = 60;

/** Both directions as one tie; the busiest people only, or it is a ball of wool. */
export function network(view) {
  const ties = new Map();
  const tie = (one, other, made) => {
    const [a, b] = [one, other].sort();
    const key = `${a} ${b}`;
    if (!ties.has(key)) ties.set(key, { source: a, target: b, count: 0, slices: new Map(), probability: 0, ...made });
    return ties.get(key);
  };
  for (const edge of view.edges) {
    const link = tie(edge.from, edge.to, { stored: edge.stored });
    link.count += edge.count;
    link.probability = Math.max(link.probability, edge.probability);
    for (const [slice, count] of edge.slices) link.slices.set(slice, (link.slices.get(slice) ?? 0) + count);
  }
  // Address books tell of people, too, also of those who have nothing to do with the relay.
  for (const { owner, person } of view.acquaintances) tie(owner, person, { told: true });
  const labels = new Map([
    ...view.people.map((person) => [person.account, person.label]),
    ...view.acquaintances.flatMap((known) => [[known.owner, known.owner_label], [known.person, known.person_label]]),
  ]);
  const people = new Map(view.people.map((person) => [person.account, person]));
  const weight = new Map(view.people.map((person) => [person.account, 0]));
  for (const link of ties.values()) {
    for (const end of [link.source, link.target]) weight.set(end, (weight.get(end) ?? 0) + link.count);
  }
  const busiest = [...weight].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, NODES);
  const nodes = busiest.map(([id, count]) => ({ id, count, label: labels.get(id) ?? id, person: people.get(id) }));
  const drawn = new Set(nodes.map((node) => node.id));
  const links = [...ties.values()].filter((link) => drawn.has(link.source) && drawn.has(link.target));
  circles(nodes, links);
  return { nodes, links, left: weight.size - nodes.length };
}

/** Gives each node its circle: everybody takes up the circle that most of their letters go to, until nothing changes. */
function circles(nodes, links) {
  const of = new Map(nodes.map((node) => [node.id, node.id]));
  for (let round = 0; round < 12; round += 1) {
    let changed = false;
    for (const { id } of nodes) {
      const votes = new Map();
      for (const { source, target, count } of links) {
        if (source !== id && target !== id) continue;
        const circle = of.get(source === id ? target : source);
        votes.set(circle, (votes.get(circle) ?? 0) + count + 0.5);
      }
      const best = [...votes].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))[0];
      if (best && best[0] !== of.get(id) && best[1] > (votes.get(of.get(id)) ?? 0)) {
        of.set(id, best[0]);
        changed = true;
      }
    }
    if (!changed) break;
  }
  const numbers = [...new Set(of.values())];
  for (const node of nodes) node.circle = numbers.indexOf(of.get(node.id)) + 1;
}
