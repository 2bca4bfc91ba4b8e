// The people and who is tied to whom, made of a view; nothing of it is drawn here.

const NODES = 60;

/** What an entry in an address book weighs beside a letter. */
const TOLD = 0.5;

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
  // A file goes with a letter that tells of it; the line says that something larger went, too.
  for (const edge of view.file_edges) {
    const link = tie(edge.from, edge.to, { stored: edge.stored });
    link.files ??= new Map();
    for (const [slice, count] of edge.slices) link.files.set(slice, (link.files.get(slice) ?? 0) + count);
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

/**
 * Gives each node its circle. At first everybody is alone; then the two circles are joined that have more letters between them
 * than chance would give, as long as there are such (greedy modularity).
 */
function circles(nodes, links) {
  const at = new Map(nodes.map(({ id }, index) => [id, index]));
  const between = nodes.map(() => nodes.map(() => 0));
  const weight = nodes.map(() => 0);
  for (const { source, target, count } of links) {
    const [a, b] = [at.get(source), at.get(target)];
    between[a][b] = between[b][a] += count + TOLD;
    weight[a] += count + TOLD;
    weight[b] += count + TOLD;
  }
  const all = weight.reduce((sum, one) => sum + one, 0) || 1;
  const circle = nodes.map((_, index) => index);
  let left = [...circle];
  for (;;) {
    let best = null, most = 1e-9;
    for (const a of left) {
      for (const b of left) {
        const gained = a < b && between[a][b] ? between[a][b] / all - (weight[a] * weight[b]) / (all * all) : 0;
        if (gained > most) [best, most] = [[a, b], gained];
      }
    }
    if (!best) break;
    const [stays, goes] = best;
    left = left.filter((one) => one !== goes);
    for (const one of left) between[stays][one] = between[one][stays] += between[goes][one];
    weight[stays] += weight[goes];
    circle.forEach((one, index) => { if (one === goes) circle[index] = stays; });
  }
  nodes.forEach((node, index) => { node.circle = left.indexOf(circle[index]) + 1; });
}
