// Times, as exactly as a level knows them, in the reader's time zone or that of the recording.

import { language } from "./words.js";

let zone;

/** `undefined` is the reader's own zone; so is one that the browser does not know. */
export function setZone(name) {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    zone = name;
  } catch {
    zone = undefined;
  }
}

export const zoneName = () => zone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;

const format = (at, options) => new Intl.DateTimeFormat(language() === "de" ? "de-DE" : "en-GB", { timeZone: zone, ...options }).format(at);

export const day = (at) => format(at, { day: "numeric", month: "short", year: "numeric" });
export const clock = (at) => format(at, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
export const dayAndClock = (at) => `${format(at, { day: "numeric", month: "short" })}, ${clock(at)}`;
export const sameDay = (one, other) => day(one) === day(other);

/** To the second, or to the day where that is all that is known. */
export function time(at, precision = "second") {
  if (precision === "day") return day(at);
  return `${day(at)}, ${format(at, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" })}`;
}

/** Weekday, 0 for Monday, and hour. */
export function weekdayAndHour(at) {
  const parts = new Intl.DateTimeFormat("en-GB", { timeZone: zone, weekday: "short", hour: "2-digit", hourCycle: "h23" }).formatToParts(at);
  const part = (type) => parts.find((found) => found.type === type).value;
  return [["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].indexOf(part("weekday")), Number(part("hour"))];
}
