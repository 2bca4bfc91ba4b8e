// One person, opened from the graph: hours, places, partners.

import { weekdayAndHour } from "./clock.js";
import { byId, element } from "./dom.js";
import { step } from "./heat.js";
import { called } from "./sentence.js";
import { number, place, say } from "./words.js";

const PARTNERS = 8;

function partners(view, id) {
  const found = new Map();
  for (const edge of view.edges) {
    if (edge.from !== id && edge.to !== id) continue;
    const [other, label] = edge.from === id ? [edge.to, edge.to_label] : [edge.from, edge.from_label];
    const partner = found.get(other) ?? { label, count: 0, stored: edge.stored, probability: 0 };
    partner.count += edge.count;
    partner.probability = Math.max(partner.probability, edge.probability);
    found.set(other, partner);
  }
  return [...found.values()].sort((a, b) => b.count - a.count);
}

function hoursOf(person) {
  const counts = Array(24).fill(0);
  for (const { at, count } of person.hours) counts[weekdayAndHour(at)[1]] += count;
  const most = Math.max(1, ...counts);
  const cells = counts.map((count, hour) => element("li", { class: `heat-${step(count, most)}` }, element("span", { class: "hidden" }, say("hour", { hour, count }))));
  const busy = counts.flatMap((count, hour) => (count ? [`${String(hour).padStart(2, "0")}–${String(hour + 1).padStart(2, "0")}`] : []));
  return [element("ol", { class: "hours" }, ...cells), element("p", {}, busy.length ? say("hoursWords", { hours: busy.slice(0, 8).join(", ") }) : say("hoursNone"))];
}

const part = (title, ...children) => [element("h3", {}, say(title)), ...children];

function facts(view, id, person) {
  const books = view.acquaintances.filter((known) => known.person === id).map((known) => known.owner_label);
  if (!person) return [element("p", {}, say("shadow", { owners: books.join(", ") }))];
  const wrote = person.wrote === null ? say("wroteHidden") : say("wrote", { n: person.wrote });
  const with_ = partners(view, id).slice(0, PARTNERS).map((partner) =>
    element("li", {}, element("bdi", {}, called(partner.label)), ` · ${say("letters", { n: partner.count })}`,
      partner.stored ? "" : ` · ${say("sure", { percent: number(Math.round(100 * partner.probability)) })}`));
  const places = person.places.map((name) => element("li", {}, place(name)));
  const none = (text) => element("p", { class: "none" }, say(text));
  return [
    element("p", {}, `${wrote} ${say("got", { n: person.got })}`),
    person.phone ? element("p", {}, say("phone", { phone: person.phone })) : "",
    ...part("hours", ...hoursOf(person)),
    ...part("places", places.length ? element("ul", {}, ...places) : none("placesNone")),
    ...part("partners", with_.length ? element("ul", {}, ...with_) : none("partnersNone")),
  ];
}

/** Shows a person, or nobody. */
export function drawPerson(view, id, close) {
  const panel = byId("person");
  const closing = panel.contains(document.activeElement) && document.activeElement !== panel;
  panel.hidden = !id;
  if (!id) return panel.replaceChildren();
  const person = view.people.find((found) => found.account === id);
  const label = person?.label ?? view.acquaintances.find((known) => known.person === id)?.person_label ?? id;
  const button = element("button", { type: "button", class: "close" }, say("close"));
  button.addEventListener("click", close);
  panel.replaceChildren(element("div", { class: "line" }, element("h2", { id: "person-name" }, element("bdi", {}, called(label))), button), ...facts(view, id, person));
  // A letter that comes in the meantime does not take the focus away.
  if (closing) button.focus();
}
