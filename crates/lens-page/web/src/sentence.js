// The first sentence: what this recording tells of the two people who wrote to each other most.

import { clock, dayAndClock, sameDay } from "./clock.js";
import { byId } from "./dom.js";
import { list, number, place, say, sayParts } from "./words.js";

/** "between 01:00 and 01:01", with the days where there is more than one. */
function between(first, last) {
  const write = sameDay(first, last) ? clock : dayAndClock;
  return write(first) === write(last) ? say("at", { at: write(first) }) : say("between", { from: write(first), to: write(last) });
}

/** An account without a name is called one. */
export const called = (label) => (label.endsWith("…") ? say("account", { label }) : label);

function busiestPair(view) {
  const pairs = new Map();
  for (const edge of view.edges) {
    const key = [edge.from, edge.to].sort().join(" ");
    const pair = pairs.get(key) ?? { a: edge.from, b: edge.to, aLabel: edge.from_label, bLabel: edge.to_label, count: 0, ways: 0, first: edge.first, last: edge.last };
    Object.assign(pair, { count: pair.count + edge.count, ways: pair.ways + 1, first: Math.min(pair.first, edge.first), last: Math.max(pair.last, edge.last) });
    pairs.set(key, pair);
  }
  const sorted = [...pairs.values()].sort((a, b) => b.count - a.count || a.first - b.first);
  return { pair: sorted[0], others: sorted.length - 1 };
}

function known(view, knows) {
  const { pair, others } = busiestPair(view);
  if (pair.ways > 1 && pair.aLabel > pair.bLabel) {
    Object.assign(pair, { a: pair.b, b: pair.a, aLabel: pair.bLabel, bLabel: pair.aLabel });
  }
  const places = [pair.a, pair.b].flatMap((id) => view.people.find((person) => person.account === id)?.places ?? []);
  const from = [...new Set(places)].map(place);
  const parts = {
    knows, a: called(pair.aLabel), b: called(pair.bLabel), when: between(pair.first, pair.last),
    times: say("times", { n: pair.count }), places: from.length ? say("from", { places: list(from) }) : "",
  };
  return { words: sayParts(pair.ways > 1 ? "sentencePair" : "sentenceOneWay", parts), others };
}

function guessed(view, knows) {
  const [person] = [...view.people].sort((a, b) => b.got - a.got);
  const guesses = view.edges.filter((edge) => edge.to === person.account);
  const guess = guesses.sort((a, b) => b.count * b.probability - a.count * a.probability)[0];
  const hours = person.hours.map((hour) => hour.at);
  const times = view.edges.filter((edge) => edge.to === person.account);
  const [first, last] = times.length
    ? [Math.min(...times.map((edge) => edge.first)), Math.max(...times.map((edge) => edge.last))]
    : [Math.min(...hours), Math.max(...hours)];
  const parts = {
    knows, b: called(person.label), letters: say("letters", { n: person.got }), when: between(first, last),
    a: guess ? called(guess.from_label) : "", some: guess ? number(guess.count) : "", percent: guess ? number(Math.round(100 * guess.probability)) : "",
  };
  return { words: sayParts(guess ? "sentenceGuess" : "sentenceGot", parts), others: 0 };
}

export function drawSentence(view) {
  const would = view.level !== view.ran_at;
  const knows = say(would ? "wouldKnow" : "knows");
  const title = view.levels.find((rung) => rung.level === view.level).level;
  byId("mood").textContent = would
    ? say(view.level > view.ran_at ? "moodWould" : "moodWouldMore", { level: title, ran: view.ran_at })
    : say("moodIs", { level: title });
  document.body.classList.toggle("would", would);
  let said = { words: [say("sentenceNone", { knows })], others: 0 };
  if (view.edges.some((edge) => edge.stored)) said = known(view, knows);
  else if (view.people.some((person) => person.got > 0)) said = guessed(view, knows);
  else if (view.waiting_count > 0) said = { words: [say("sentenceWaiting", { n: view.waiting_count, knows })], others: 0 };
  byId("sentence").replaceChildren(...said.words);
  byId("beside").textContent = said.others > 0 ? say(would ? "othersWould" : "others", { n: said.others }) : "";
}
