// Where the page's data come from: the program that serves it, or the recording in the file itself.

import { byId } from "./dom.js";

const text = byId("recording")?.textContent;

/** The recording, if the page is a file. */
export const recording = text ? JSON.parse(text) : null;

async function ask(path) {
  const response = await fetch(path);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.message);
  return answer;
}

export const view = async (level) =>
  recording ? (recording.views[level] ?? recording.views[recording.opens]) : ask(`api/view?level=${encodeURIComponent(level)}`);

export const scorecard = async () => (recording ? recording.scorecard : ask("api/scorecard"));

/** The document that could be handed over, as the server gives it. */
function document_() {
  const { names, rows } = recording.hand_over.observations;
  const observations = rows.map((row) => Object.fromEntries(names.map((name, index) => [name, row[index]])));
  return { ...recording.hand_over, observations };
}

let blob;

/** Where to load that document; `null` where the file does not have it. */
export function handOver(level) {
  if (!recording) return `api/hand-over?level=${encodeURIComponent(level)}`;
  if (level !== recording.hand_over.level) return null;
  blob ??= URL.createObjectURL(new Blob([JSON.stringify(document_(), null, 1)], { type: "application/json" }));
  return blob;
}

/** Tells when the relay's files changed. A recording does not change. */
export function onChange(then) {
  if (!recording) new EventSource("api/changes").addEventListener("changed", then);
}
