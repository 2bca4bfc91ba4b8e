// What the relay knows, in a few words each; what a level takes away is struck out and counted.

import { byId, element } from "./dom.js";
import { fact, say } from "./words.js";

/** The facts of the level that tells most, what became of each of them, and what is only known at this one. */
export function compare(view, most) {
  const here = new Map(view.known.map((line) => [line.what, line]));
  const compared = most.known.map((line) => {
    const now = here.get(line.what);
    const same = now && now.seen === line.seen && String(now.times) === String(line.times);
    return { what: line.what, state: !now ? "gone" : same ? "kept" : "less" };
  });
  const before = new Set(most.known.map((line) => line.what));
  const added = view.known.filter((line) => !before.has(line.what)).map(({ what }) => ({ what, state: "instead" }));
  return [...compared, ...added];
}

export function drawFacts(view, most) {
  const facts = compare(view, most);
  const drawn = facts.map(({ what, state }) => {
    const name = fact(what);
    const words = state === "gone" ? element("del", {}, name) : name;
    const note = state === "kept" ? "" : element("span", { class: "state" }, say(state));
    return element("li", { class: state }, words, note && " ", note);
  });
  byId("facts").replaceChildren(...drawn);
  const gone = facts.filter(({ state }) => state === "gone").length;
  byId("gone").textContent = say(gone ? "goneOf" : "goneNone", { gone, all: most.known.length });
}

export function drawDenied(view) {
  // What nothing can tell comes first; then what this level keeps back.
  const chips = view.unknown.map(({ what, test }) => element("li", { class: test ? "never" : "level" }, fact(what)));
  byId("denied").replaceChildren(...chips);
}
