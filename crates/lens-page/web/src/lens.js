// Draws what the relay knows at a level. All words come as data and are set as text, never as markup.

import { forceCenter, forceCollide, forceLink, forceManyBody, forceSimulation, forceX, forceY } from "d3-force";
import { scaleSqrt, scaleThreshold } from "d3-scale";

const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const GRAPH = { width: 640, height: 300, nodes: 60 };
const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

let level = location.hash.slice(1) || "L0";
let shown = null;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function svg(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const number = (value) => value.toLocaleString("en");
const counted = (value, one, many) => `${number(value)} ${value === 1 ? one : many}`;

/** A time as exactly as the level knows it: from L1 on days, from L3 on minutes for envelopes. */
function time(at, precision = level === "L3" ? "minute" : "millisecond") {
  const date = new Date(at);
  const day = date.toLocaleDateString("sv-SE");
  if (precision === "day") return day;
  const clock = date.toLocaleTimeString("de-DE");
  if (precision === "minute") return `${day} ${clock.slice(0, 5)}`;
  return `${day} ${clock}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

function remaining(until) {
  const seconds = Math.max(0, Math.floor((until - Date.now()) / 1000));
  const days = Math.floor(seconds / 86400);
  const clock = new Date((seconds % 86400) * 1000).toISOString().slice(11, 19);
  return `${days} days ${clock}`;
}

function drawLevels(view) {
  const choices = view.levels.map((rung) => {
    const input = element("input", { type: "radio", name: "level", value: rung.level });
    input.checked = rung.level === view.level;
    return element("label", {}, input, `${rung.level} ${rung.title}`);
  });
  // Drawn once: replacing the radio buttons would take the focus away.
  if (!byId("level-choices").childElementCount) byId("level-choices").replaceChildren(...choices);
  const rung = view.levels.find((rung) => rung.level === view.level);
  byId("level-sees").textContent = `The relay is told: ${rung.sees}.`;
  byId("hand-over").href = `api/hand-over?level=${view.level}`;
}

function drawColumns(view) {
  const sides = ["left", "right"];
  document.querySelector("main").classList.toggle("three", view.columns.length > 0);
  sides.forEach((side, index) => {
    const column = view.columns[index];
    const section = byId(side);
    section.hidden = !column;
    if (!column) return;
    byId(`${side}-title`).textContent = `${column.name}'s device`;
    const messages = column.messages.map((message) =>
      element(
        "li",
        { class: message.direction === "out" ? "out" : "in" },
        element("span", { class: "who" }, `${message.from}, ${new Date(message.sent_at).toLocaleTimeString("de-DE")}`),
        message.text,
      ),
    );
    section.querySelector(".messages").replaceChildren(...messages);
  });
}

/** Lines with the rows of docs/METADATA.md that they show. */
function describe(lines) {
  return lines.flatMap(({ row, what, seen, times = [] }) => {
    const when = times.map((at) => time(at)).join(" to ");
    return [
      element("dt", {}, `${what} `, element("span", { class: "row" }, row)),
      element("dd", {}, when ? `${seen}, ${when}` : seen),
    ];
  });
}

function drawLists(view) {
  byId("known").replaceChildren(...describe(view.known));
  byId("rights").replaceChildren(...describe(view.rights));
  byId("demonstration").hidden = !view.demonstration;
  byId("demonstration").textContent = view.demonstration ?? "";
  byId("region").textContent = view.region
    ? `Stands in: ${view.region}. That is its operator's label; nothing checks it.`
    : "Where it stands its operator does not say.";
  const unknown = view.unknown.flatMap(({ what, why, test }) => {
    const reason = element("dd", {}, why);
    if (test) reason.append(element("span", { class: "test" }, `shown by ${test[1]}, ${test[0]}`));
    return [element("dt", {}, what), reason];
  });
  byId("unknown").replaceChildren(...unknown);
}

/** Both directions in one line; the busiest people only, or it is a ball of wool. */
function network(view) {
  const links = new Map();
  for (const edge of view.edges) {
    const [a, b] = [edge.from, edge.to].sort();
    const link = links.get(`${a} ${b}`) ?? { source: a, target: b, count: 0, stored: edge.stored, probability: 0 };
    link.count += edge.count;
    link.probability = Math.max(link.probability, edge.probability);
    links.set(`${a} ${b}`, link);
  }
  // Address books tell of people, too, also of those who have nothing to do with the relay.
  for (const { owner, person } of view.acquaintances) {
    const [a, b] = [owner, person].sort();
    if (!links.has(`${a} ${b}`)) links.set(`${a} ${b}`, { source: a, target: b, count: 0, told: true });
  }
  const labels = new Map([
    ...view.acquaintances.flatMap((known) => [[known.owner, known.owner_label], [known.person, known.person_label]]),
    ...view.edges.flatMap((edge) => [[edge.from, edge.from_label], [edge.to, edge.to_label]]),
  ]);
  const shadows = new Set(view.acquaintances.filter((known) => !known.account).map((known) => known.person));
  const weight = new Map();
  for (const link of links.values()) {
    for (const end of [link.source, link.target]) weight.set(end, (weight.get(end) ?? 0) + link.count);
  }
  const busiest = [...weight].sort((a, b) => b[1] - a[1]).slice(0, GRAPH.nodes);
  const nodes = busiest.map(([id, count]) => ({ id, count, label: labels.get(id), shadow: shadows.has(id) }));
  const drawn = new Set(nodes.map((node) => node.id));
  const kept = [...links.values()].filter((link) => drawn.has(link.source) && drawn.has(link.target));
  return { nodes, links: kept, left: weight.size - nodes.length };
}

function drawGraph(view) {
  const { nodes, links, left } = network(view);
  const radius = scaleSqrt([0, Math.max(1, ...nodes.map((node) => node.count))], [5, 18]);
  forceSimulation(nodes)
    .force("link", forceLink(links).id((node) => node.id).distance(110))
    .force("charge", forceManyBody().strength(-260))
    .force("center", forceCenter(GRAPH.width / 2, GRAPH.height / 2))
    .force("x", forceX(GRAPH.width / 2).strength(0.05))
    .force("y", forceY(GRAPH.height / 2).strength(0.12))
    .force("collide", forceCollide(26))
    .stop()
    .tick(240);
  for (const node of nodes) {
    node.x = Math.min(GRAPH.width - 40, Math.max(40, node.x));
    node.y = Math.min(GRAPH.height - 34, Math.max(22, node.y));
  }
  const lines = links.map(({ source, target, count, stored, told }) =>
    svg("line", {
      x1: source.x, y1: source.y, x2: target.x, y2: target.y,
      class: told ? "told" : stored ? "stored" : "inferred",
      "stroke-width": told ? 1 : Math.min(8, 1 + Math.log2(count)),
    }),
  );
  const weights = links.filter((link) => !link.told).map(({ source, target, count, stored, probability }) =>
    svg(
      "text",
      { class: "weight", x: (source.x + target.x) / 2, y: (source.y + target.y) / 2 - 6 },
      stored ? number(count) : `${number(count)}?  ${Math.round(100 * probability)} %`,
    ),
  );
  const circles = nodes.flatMap((node) => [
    svg("circle", { cx: node.x, cy: node.y, r: radius(node.count), class: node.shadow ? "shadow" : "account" }),
    svg("text", { x: node.x, y: node.y + radius(node.count) + 14 }, node.label),
  ]);
  byId("graph").replaceChildren(...lines, ...weights, ...circles);
  const stored = view.edges.some((edge) => edge.stored);
  const wrote = links.filter((link) => !link.told).length;
  const shadows = nodes.filter((node) => node.shadow).length;
  const written = !view.edges.length
    ? "Nobody has written to anybody, as far as the relay knows."
    : `${counted(nodes.length, "person", "people")}, ${counted(wrote, "pair", "pairs")}: ${stored ? "named by every envelope" : "guessed, not stored"}.`;
  const words = shadows
    ? `${written} ${counted(shadows, "person has", "people have")} no account: known from somebody's address book.`
    : written;
  byId("graph-words").textContent = left > 0 ? `${words} ${left} less busy people are not drawn.` : words;
  const rows = view.edges.slice(0, 200).map((edge) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, edge.from_label),
      element("td", {}, edge.to_label),
      element("td", { class: "number" }, number(edge.count)),
      element("td", {}, time(edge.first)),
      element("td", {}, time(edge.last)),
      element("td", {}, edge.stored ? "stored" : `guessed, ${Math.round(100 * edge.probability)} %`),
    ),
  );
  byId("edges").tBodies[0].replaceChildren(...rows);
}

function drawHeat(view) {
  const counts = Array.from({ length: 7 }, () => Array(24).fill(0));
  for (const { at, count } of view.hours) {
    const date = new Date(at);
    counts[(date.getDay() + 6) % 7][date.getHours()] += count;
  }
  const most = Math.max(1, ...counts.flat());
  const step = scaleThreshold([1, most * 0.25, most * 0.5, most * 0.75], [0, 1, 2, 3, 4]);
  const hours = [...Array(24).keys()].map((hour) => element("th", { scope: "col" }, String(hour)));
  byId("heat").tHead.replaceChildren(element("tr", {}, element("td"), ...hours));
  const rows = counts.map((day, index) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, WEEKDAYS[index]),
      ...day.map((count) => element("td", { class: `heat-${step(count)}` }, count ? number(count) : "")),
    ),
  );
  byId("heat").tBodies[0].replaceChildren(...rows);
}

function drawDevices(view) {
  const rows = view.devices.slice(0, 200).map((device) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, device.label),
      element("td", {}, device.device.split(".").at(-1)),
      element("td", {}, device.addresses.join(", ") || "not kept"),
      element("td", {}, device.places.join(", ") || "not known"),
      element("td", {}, time(device.first_seen, device.precision)),
      element("td", {}, time(device.last_seen, device.precision)),
      element("td", { class: "number" }, number(device.connections)),
    ),
  );
  byId("devices").tBodies[0].replaceChildren(...rows);
}

function drawQueue(view) {
  const more = view.waiting_count > view.waiting.length ? ` The first ${number(view.waiting.length)}:` : "";
  byId("queue-words").textContent = view.waiting_count
    ? `${counted(view.waiting_count, "envelope", "envelopes")}, ${number(view.waiting_bytes)} bytes of ciphertext. Each vanishes when its ` +
      `recipient acknowledges it, and after ${view.retention_days} days at the latest.${more}`
    : "Nothing. What was delivered is gone.";
  const rows = view.waiting.map((envelope) => {
    const left = element("time", { class: "countdown" }, remaining(envelope.expires_at));
    left.dataset.until = envelope.expires_at;
    return element(
      "li",
      {},
      `for ${envelope.to}, from ${envelope.from ?? "unknown"}, ${number(envelope.size)} bytes, since ` +
        `${time(envelope.accepted_at)}; deleted in `,
      left,
      element("pre", {}, `${envelope.bytes.replace(/(..)(?=.)/g, "$1 ")} …`),
    );
  });
  byId("queue").replaceChildren(...rows);
}

/** The simulation's figures, the same whatever the relay does: drawn once. */
async function drawScorecard() {
  const { conditions, rows } = await (await fetch("api/scorecard")).json();
  const percent = (share) => (share === undefined ? "–" : `${Math.round(100 * share)} %`);
  byId("scorecard-conditions").textContent = conditions;
  const drawn = rows.map(({ policy, score }) => {
    const cells = [
      percent(score.edges.precision), percent(score.edges.recall), percent(score.top1_after["5"]), percent(score.top1_after["40"]),
      score.anonymity_bits.toFixed(1), score.size_kind_bits.toFixed(2), `${score.bytes_ratio.toFixed(2)} ×`,
      score.latency_ms === null ? "never sent" : `${(Math.max(0, score.latency_ms) / 1000).toFixed(1)} s`,
    ];
    const row = element("tr", {}, element("th", { scope: "row" }, policy));
    row.append(...cells.map((cell) => element("td", { class: "number" }, cell)));
    row.dataset.level = score.level;
    return row;
  });
  byId("scorecard").tBodies[0].replaceChildren(...drawn);
  markScorecard();
}

/** The rows of the level that is shown. */
function markScorecard() {
  for (const row of byId("scorecard").tBodies[0].rows) {
    if (row.dataset.level === level) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }
}

function draw(view) {
  shown = view;
  drawLevels(view);
  drawColumns(view);
  byId("not-observed").hidden = view.observed;
  drawLists(view);
  drawGraph(view);
  drawHeat(view);
  drawDevices(view);
  drawQueue(view);
  markScorecard();
  document.body.dataset.level = view.level;
  byId("status").textContent = `${counted(view.people.length, "account", "accounts")}. Live, as of ${time(view.now, "millisecond").slice(11, 19)}.`;
}

let asked = 0;
async function refresh() {
  const mine = ++asked;
  try {
    const response = await fetch(`api/view?level=${encodeURIComponent(level)}`);
    const view = await response.json();
    if (!response.ok) throw new Error(view.message);
    // An answer to an older question does not replace a newer one.
    if (mine === asked) draw(view);
  } catch (error) {
    byId("status").textContent = `The relay's files cannot be read now: ${error.message}`;
  }
}

byId("levels").addEventListener("change", (event) => {
  level = event.target.value;
  history.replaceState(null, "", `#${level}`);
  refresh();
});
new EventSource("api/changes").addEventListener("changed", refresh);
setInterval(() => {
  for (const left of document.querySelectorAll(".countdown")) left.textContent = remaining(Number(left.dataset.until));
}, 1000);
drawScorecard();
refresh();
