// What an operator could hand over, as a letter that fits one sheet.

import { day } from "./clock.js";
import { byId, element } from "./dom.js";
import { handOver } from "./source.js";
import { fact, list, say } from "./words.js";

const ACCOUNTS = 12;
const NEVER = 5;

function account(person, view) {
  const parts = [say("registered", { date: day(person.registered_at) })];
  if (person.phone) parts.push(say("phone", { phone: person.phone }));
  if (person.wrote !== null && view.observed) parts.push(say("wrote", { n: person.wrote }));
  if (view.observed) parts.push(say("got", { n: person.got }));
  return element("li", {}, element("bdi", {}, person.label), `: ${parts.join(" ")}`);
}

export function drawLetter(view) {
  const letters = view.hours.reduce((sum, hour) => sum + hour.count, 0);
  const stored = view.edges.some((edge) => edge.stored);
  const has = [say("letterAccounts", { n: view.people.length })];
  if (letters) has.push(say(stored ? "letterMail" : "letterSealed", { n: letters }));
  if (view.transfers.length) has.push(say(view.transfers.some((file) => file.readers !== null) ? "letterFiles" : "letterFilesSealed", { n: view.transfers.length }));
  if (view.files_waiting) has.push(say("letterFilesWaiting", { n: view.files_waiting }));
  if (view.waiting_count) has.push(say("letterWaiting", { n: view.waiting_count }));
  if (view.devices.some((device) => device.addresses.length)) has.push(say("letterAddresses"));
  if (view.acquaintances.length) has.push(say("letterBooks", { n: view.acquaintances.length }));
  const more = view.people.length - ACCOUNTS;
  const never = view.unknown.filter(({ test, why }) => test && !why.startsWith("not sent")).slice(0, NEVER).map(({ what }) => fact(what));
  byId("sheet").replaceChildren(
    element("p", { class: "head" }, element("span", {}, say("letterTo")), element("span", {}, say("letterDate", { date: day(view.now), level: view.level }))),
    element("p", {}, say(view.level === view.ran_at ? "letterOpening" : "letterWould", { level: view.level })),
    element("h3", {}, say("letterHas")),
    element("ul", {}, ...has.map((text) => element("li", {}, text))),
    element("ol", { class: "accounts" }, ...view.people.slice(0, ACCOUNTS).map((person) => account(person, view))),
    more > 0 ? element("p", {}, say("letterMore", { n: more })) : "",
    element("h3", {}, say("letterHasNot")),
    element("p", {}, say("letterNever", { things: list(never) })),
    element("p", { class: "sign" }, say("letterSign")),
  );
  const address = handOver(view.level);
  byId("hand-over").hidden = address === null;
  byId("no-json").hidden = address !== null;
  if (address) {
    byId("hand-over").href = address;
    byId("hand-over").download = `hand-over-${view.level}.json`;
  }
}

/** Prints the letter alone. */
export function printLetter() {
  document.body.classList.add("letter-only");
  addEventListener("afterprint", () => document.body.classList.remove("letter-only"), { once: true });
  print();
}
