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

/** A line of the program, which is English, with what is said of numbers in the page's language. */
export const line = (text) => words.patterns.reduce((said, [from, to]) => said.replace(new RegExp(from, "g"), to), text);

export const list = (names) => new Intl.ListFormat(language(), { type: "conjunction" }).format(names);
