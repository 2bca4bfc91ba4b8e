// The page's language: one file of words for each.

import de from "./words/de.json";
import en from "./words/en.json";
import { element } from "./dom.js";

const LANGUAGES = { en, de };

let words = en;

export function speak(language) {
  words = LANGUAGES[language] ?? en;
  document.documentElement.lang = words === de ? "de" : "en";
  document.title = say("title");
  for (const part of document.querySelectorAll("[data-say]")) part.textContent = say(part.dataset.say);
  for (const part of document.querySelectorAll("[data-name]")) part.setAttribute("aria-label", say(part.dataset.name));
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === document.documentElement.lang));
  }
}

export const language = () => document.documentElement.lang;

/** The language that was chosen, or that the browser asks for. */
export const preferred = (chosen) => (chosen in LANGUAGES ? chosen : navigator.language.startsWith("de") ? "de" : "en");

export const number = (value) => value.toLocaleString(language());

/** A size, as far as people want to know it. */
export function about(bytes) {
  const step = bytes < 1024 ** 2 ? 1 : bytes < 1024 ** 3 ? 2 : 3;
  const value = (bytes / 1024 ** step).toLocaleString(language(), { maximumFractionDigits: 1 });
  return say("about", { size: `${value} ${["KiB", "MiB", "GiB"][step - 1]}` });
}

const filled = (text, parts) => text.replace(/\{(\w+)\}/g, (whole, name) => parts[name] ?? whole);

/** A text of the page. With `n`, the form for one or for many. */
export function say(key, parts = {}) {
  const text = words.page[key] ?? en.page[key] ?? key;
  if (!Array.isArray(text)) return filled(text, parts);
  return filled(text[parts.n === 1 ? 0 : 1], { ...parts, n: number(parts.n) });
}

/** The same with each part as an element of its own: a name cannot change what stands around it, nor its direction. */
export function sayParts(key, parts) {
  return say(key).split(/(\{\w+\})/).map((piece) => {
    const name = piece.match(/^\{(\w+)\}$/)?.[1];
    if (name === undefined) return piece;
    return name === "knows" ? parts.knows : element("bdi", { class: "part" }, parts[name] ?? "");
  });
}

/** What a kind of fact is called: the program's own words stand in for one that the file lacks. */
export const fact = (what) => words.facts[what] ?? en.facts[what] ?? what;

export const reason = (why) => words.reasons[why] ?? why;

export const place = (name) => words.places[name] ?? name;

/** Countries by their English names, as the program has them. */
const countries = () => {
  const [english, here] = [new Intl.DisplayNames("en", { type: "region" }), new Intl.DisplayNames(language(), { type: "region" })];
  const letters = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZ"];
  return letters.flatMap((a) => letters.map((b) => [english.of(a + b), here.of(a + b)])).filter(([from, to]) => from !== to);
};

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");

/** What a line of the program is put together from, in the page's language, and what finds it: the longest first. */
let parts = null;
function phrases() {
  if (parts?.words !== words) {
    const found = new Map(Object.entries({ ...Object.fromEntries(countries()), ...words.places, ...words.facts, ...words.phrases }));
    const longest = [...found.keys()].sort((a, b) => b.length - a.length).map(escaped).join("|");
    // A part stands between marks or numbers: a word inside of a name is none.
    parts = { words, found, pattern: new RegExp(`(?<=^|[,;:] |\\d (?:fields )?)(?:${longest})(?=$|[,;:]| \\d)`, "g") };
  }
  return parts;
}

/** A line of the program, which is English, in the page's language. */
export function line(text) {
  if (words === en) return text;
  const said = text.replace(phrases().pattern, (part) => phrases().found.get(part));
  return words.patterns.reduce((so, [from, to]) => so.replace(new RegExp(from, "g"), to), said);
}

export const list = (names) => new Intl.ListFormat(language(), { type: "conjunction" }).format(names);
