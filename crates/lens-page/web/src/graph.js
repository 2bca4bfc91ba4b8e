// Draws who writes to whom. It fills the width that it has.

import { forceCollide, forceLink, forceManyBody, forceSimulation, forceX, forceY } from "d3-force";
import { byId, element, svg } from "./dom.js";
import { network } from "./network.js";
import { number, place, say } from "./words.js";

/** As many as the style sheet has. */
const COLOURS = 8;
const LABEL = 15;

/** Where everybody stood last: the picture does not jump when a letter comes or the level changes. */
const stood = new Map();

/** The picture as it was laid out last. */
let laid = null;

/** With more people than this the picture is drawn smaller, and without numbers on its lines. */
const CROWD = 24;

const radius = (count, most, crowded) => (9 + 15 * Math.sqrt(count / Math.max(1, most))) * (crowded ? 0.6 : 1);

function layout({ nodes, links }, width, height) {
  for (const node of nodes) Object.assign(node, stood.get(node.id));
  const simulated = links.map((link) => ({ ...link }));
  forceSimulation(nodes)
    .force("link", forceLink(simulated).id((node) => node.id).distance(120))
    .force("charge", forceManyBody().strength(-420))
    .force("x", forceX(0).strength(0.04))
    .force("y", forceY(0).strength(0.08))
    .force("collide", forceCollide(46))
    .stop()
    .tick(260);
  for (const node of nodes) stood.set(node.id, { x: node.x, y: node.y });
  spread(nodes, "x", Math.min(110, width / 5), width);
  spread(nodes, "y", 50, height);
}

/** Stretches the picture over the whole length. */
function spread(nodes, axis, margin, length) {
  const values = nodes.map((node) => node[axis]);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  for (const node of nodes) {
    const share = high - low < 1 ? 0.5 : (node[axis] - low) / (high - low);
    node[`${axis}s`] = margin + share * (length - 2 * margin);
  }
}

/** Which colour each node has, and the words for the legend. */
function colours(nodes, by) {
  const groups = new Map();
  for (const node of nodes) {
    // Who has no account has no place and no letters, and is drawn empty.
    if (!node.person) continue;
    const places = node.person?.places ?? [];
    const name = by === "place" ? (places.length ? places.map(place).join(", ") : say("noPlace")) : say("circleNumber", { number: node.circle });
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(node);
  }
  [...groups.values()].forEach((members, index) => {
    for (const node of members) node.colour = index % COLOURS;
  });
  return groups;
}

function drawLegend(groups) {
  const entries = [...groups].slice(0, 12).map(([name, members]) => {
    const shown = members.slice(0, 5).map((node) => node.label).join(", ");
    const more = members.length > 5 ? ` +${members.length - 5}` : "";
    return element("li", { class: `c${members[0].colour}` }, element("span", { class: "dot" }), element("span", {}, `${name}: `, element("bdi", {}, shown + more)));
  });
  byId("legend").replaceChildren(...entries);
}

/** How far a line for files stands beside the one for letters. */
const BESIDE = 9;

const until = (slices, slice) => [...(slices ?? [])].reduce((sum, [at, count]) => (at <= slice ? sum + count : sum), 0);

/** The ends of a line, moved to its side. */
function beside([a, b], by) {
  const [x, y] = [b.xs - a.xs, b.ys - a.ys];
  const length = Math.hypot(x, y) || 1;
  const [right, down] = [(-by * y) / length, (by * x) / length];
  return { x1: a.xs + right, y1: a.ys + down, x2: b.xs + right, y2: b.ys + down };
}

/** Draws the letters up to a slice of the timeline; `open` is called with a person who is chosen. */
export function drawGraph(view, { by, slice, chosen, open }) {
  const graph = byId("graph");
  const width = Math.max(280, graph.parentElement.clientWidth);
  // While time plays, only the lines change.
  if (laid?.view !== view || laid.width !== width) {
    const made = network(view);
    const height = Math.round(Math.min(500, Math.max(380, width * 0.35))) * (made.nodes.length > CROWD ? 1.3 : 1);
    laid = { view, width, height, made };
    layout(made, width, height);
  }
  const { nodes, links, left } = laid.made;
  const crowded = nodes.length > CROWD;
  graph.setAttribute("viewBox", `0 0 ${width} ${laid.height}`);
  graph.classList.toggle("crowded", crowded);
  drawLegend(colours(nodes, by));
  const found = new Map(nodes.map((node) => [node.id, node]));
  const most = Math.max(1, ...nodes.map((node) => node.count));
  const focused = document.activeElement?.closest?.("#graph [data-account]")?.dataset.account;
  const lines = [], weights = [];
  for (const link of links) {
    const [a, b] = [found.get(link.source), found.get(link.target)];
    const [count, files] = link.told ? [0, 0] : [until(link.slices, slice), until(link.files, slice)];
    if (!link.told && !count && !files) continue;
    if (files) {
      const given = svg("line", { ...beside([a, b], BESIDE), class: link.stored ? "file" : "file guess", "stroke-width": 4 });
      given.append(svg("title", {}, say("filesBetween", { n: files })));
      lines.push(given);
    }
    if (!link.told && !count) continue;
    const kind = link.told ? "told" : link.stored ? "stored" : "inferred";
    const now = link.slices.has(slice) && slice < (view.timeline?.slices ?? 0) - 1 ? " now" : "";
    const ends = { x1: a.xs, y1: a.ys, x2: b.xs, y2: b.ys };
    lines.push(svg("line", { ...ends, class: kind + now, "stroke-width": link.told ? 1.5 : Math.min(12, 1.5 + 1.6 * Math.log2(count + 1)) }));
    if (link.told || crowded) continue;
    const words = link.stored ? number(count) : `${number(count)}?`;
    // Away from the middle, where other lines cross.
    weights.push(svg("text", { class: "weight", x: a.xs + 0.42 * (b.xs - a.xs), y: a.ys + 0.42 * (b.ys - a.ys) + 5 }, words));
  }
  const people = nodes.map((node) => drawNode(node, { most, chosen, open, crowded }));
  // Names on top: no circle covers one.
  graph.replaceChildren(...lines, ...weights, ...people, ...nodes.map((node) => drawName(node, { most, chosen, width, crowded })));
  if (focused) graph.querySelector(`[data-account="${CSS.escape(focused)}"]`)?.focus();
  describe(view, nodes, links, left);
}

function drawName(node, { most, chosen, width, crowded }) {
  const half = 4.2 * node.label.length;
  const x = Math.min(width - half - 4, Math.max(half + 4, node.xs));
  return svg("text", { class: node.id === chosen ? "name chosen" : "name", "aria-hidden": "true", x, y: node.ys + radius(node.count, most, crowded) + LABEL + 2 }, node.label);
}

function drawNode(node, { most, chosen, open, crowded }) {
  const made = svg(
    "g",
    {
      class: `node${node.person ? ` c${node.colour}` : ""}${node.id === chosen ? " chosen" : ""}`, transform: `translate(${node.xs} ${node.ys})`,
      "data-account": node.id, role: "button", tabindex: 0, "aria-pressed": String(node.id === chosen),
      "aria-label": say("openPerson", { name: node.label, count: number(node.count) }),
    },
    svg("circle", { r: radius(node.count, most, crowded), class: node.person ? "account" : "shadow" }),
  );
  made.addEventListener("click", () => open(node.id));
  made.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    open(node.id);
  });
  return made;
}

function describe(view, nodes, links, left) {
  const ties = links.filter((link) => !link.told).length;
  const shadows = nodes.filter((node) => !node.person).length;
  const stored = view.edges.some((edge) => edge.stored);
  const said = [ties ? say(stored ? "graphKnown" : "graphGuessed", { n: ties }) : say("graphNone")];
  if (shadows) said.push(say("graphShadows", { n: shadows }));
  if (left > 0) said.push(say("graphLeft", { n: left }));
  const given = links.filter((link) => link.files?.size).length;
  if (given) said.push(say(stored ? "graphFiles" : "graphFilesGuessed", { n: given }));
  if (view.timeline) said.push(say("envelopeNote"));
  byId("graph-words").textContent = said.join(" ");
}
