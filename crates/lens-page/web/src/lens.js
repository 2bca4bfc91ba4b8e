// Draws what the relay knows at a level. All words come as data and are set as text, never as markup.

import { clock, day, dayAndClock, sameDay, setZone } from "./clock.js";
import { byId, element } from "./dom.js";
import { drawDenied, drawFacts } from "./facts.js";
import { drawGraph } from "./graph.js";
import { drawHeat } from "./heat.js";
import { drawLetter, printLetter } from "./letter.js";
import { drawLists, drawScorecard, drawScreens, remaining } from "./lists.js";
import { drawPerson } from "./person.js";
import { drawSentence } from "./sentence.js";
import { onChange, recording, scorecard, view as ask } from "./source.js";
import { language, preferred, say, speak } from "./words.js";

/** The level that tells most: what a level takes away is taken from there. */
const MOST = "L0";
/** Milliseconds for a slice of the timeline while it plays. */
const PACE = 130;

const asked = new URLSearchParams(location.hash.slice(1));
const state = { level: asked.get("level"), by: null, slice: null, chosen: null, view: null, most: null, scores: null, playing: null };

const slices = () => state.view?.timeline?.slices ?? 1;
const slice = () => state.slice ?? slices() - 1;

/** What is looked at stands in the address, so that it can be shown to others. */
function remember() {
  const parts = new URLSearchParams({ level: state.level, lang: language() });
  history.replaceState(null, "", `#${parts}`);
}

function drawLevels(view) {
  const choices = byId("level-choices");
  // Drawn once: replacing the radio buttons would take the focus away.
  if (!choices.childElementCount) {
    for (const { level } of view.levels) {
      choices.append(element("label", {}, element("input", { type: "radio", name: "level", value: level }), element("span", {})));
    }
  }
  for (const label of choices.children) {
    const input = label.firstChild;
    input.checked = input.value === view.level;
    label.lastChild.textContent = `${input.value} ${say(`title${input.value}`)}`;
    label.classList.toggle("ran", input.value === view.ran_at);
  }
  byId("level-sees").textContent = say(view.level === view.ran_at ? "told" : "wouldTold", { sees: say(`sees${view.level}`) });
}

function open(id) {
  state.chosen = state.chosen === id ? null : id;
  drawNetwork();
  if (state.chosen) byId("person").focus();
}

function close() {
  const last = state.chosen;
  state.chosen = null;
  drawNetwork();
  document.querySelector(`[data-account="${CSS.escape(last ?? "")}"]`)?.focus();
}

function drawNetwork() {
  const { view } = state;
  const places = view.people.some((person) => person.places.length);
  const by = places ? (state.by ?? "place") : "circle";
  for (const input of byId("colours").elements) {
    input.checked = input.value === by;
    if (input.value === "place") input.disabled = !places;
  }
  if (!view.people.some((person) => person.account === state.chosen) && !view.acquaintances.some((known) => known.person === state.chosen)) state.chosen = null;
  byId("stage").classList.toggle("open", Boolean(state.chosen));
  drawPerson(view, state.chosen, close);
  drawGraph(view, { by, slice: slice(), chosen: state.chosen, open });
  drawTime();
}

/** The moment that the slider stands at. */
function drawTime() {
  const { timeline } = state.view;
  byId("time").hidden = !timeline;
  if (!timeline) return;
  const slider = byId("slider");
  slider.max = slices() - 1;
  slider.value = slice();
  const end = timeline.from + ((timeline.to - timeline.from + 1) * (slice() + 1)) / timeline.slices;
  const write = sameDay(timeline.from, timeline.to) ? clock : dayAndClock;
  const words = slice() === slices() - 1 ? say("whole") : say("until", { time: write(Math.min(end, timeline.to)) });
  byId("moment").textContent = words;
  slider.setAttribute("aria-valuetext", words);
}

function stop() {
  clearInterval(state.playing);
  state.playing = null;
  byId("play").textContent = say("play");
}

function play() {
  if (state.playing) return stop();
  if (slice() >= slices() - 1) state.slice = 0;
  byId("play").textContent = say("pause");
  state.playing = setInterval(() => {
    state.slice = slice() + 1;
    if (state.slice >= slices() - 1) {
      state.slice = null;
      stop();
    }
    drawNetwork();
  }, PACE);
}

function draw() {
  const { view, most } = state;
  if (!view) return;
  document.body.dataset.level = view.level;
  drawSentence(view);
  drawLevels(view);
  byId("not-observed").hidden = view.observed;
  drawFacts(view, most);
  drawDenied(view);
  drawHeat(view);
  drawNetwork();
  drawScreens(view);
  drawLists(view);
  drawLetter(view);
  if (state.scores) drawScorecard(state.scores, view.level);
  const accounts = say("accounts", { n: view.people.length });
  byId("status").textContent = say(recording ? "recorded" : "live", { accounts, day: day(view.now), time: clock(view.now) });
  byId("print-line").textContent = say("printLine", { level: view.level, ran: view.ran_at, day: day(view.now) });
  byId("footer").textContent = say(recording ? "footerFile" : "footerLive");
}

let asking = 0;
async function refresh() {
  const mine = ++asking;
  try {
    const most = await ask(MOST);
    state.level ??= recording?.opens ?? most.ran_at;
    if (!most.levels.some(({ level }) => level === state.level)) state.level = most.ran_at;
    const view = state.level === MOST ? most : await ask(state.level);
    // An answer to an older question does not replace a newer one.
    if (mine !== asking) return;
    Object.assign(state, { view, most });
    draw();
  } catch (error) {
    byId("status").textContent = say("broken", { why: error.message });
  }
}

byId("levels").addEventListener("change", (event) => {
  state.level = event.target.value;
  remember();
  refresh();
});
byId("colours").addEventListener("change", (event) => {
  state.by = event.target.value;
  drawNetwork();
});
for (const form of document.forms) form.addEventListener("submit", (event) => event.preventDefault());
byId("slider").addEventListener("input", (event) => {
  stop();
  state.slice = Number(event.target.value);
  drawNetwork();
});
byId("play").addEventListener("click", play);
byId("print-letter").addEventListener("click", printLetter);
byId("network").addEventListener("keydown", (event) => event.key === "Escape" && state.chosen && close());
document.querySelector(".language").addEventListener("click", (event) => {
  const chosen = event.target.dataset.language;
  if (!chosen) return;
  speak(chosen);
  if (state.level) remember();
  draw();
});
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width || !state.view) return;
  width = innerWidth;
  drawNetwork();
});
setInterval(() => {
  for (const left of document.querySelectorAll(".countdown")) left.textContent = remaining(Number(left.dataset.until));
}, 1000);

speak(preferred(asked.get("lang")));
setZone(recording?.zone ?? undefined);
onChange(refresh);
refresh();
scorecard().then((scores) => {
  state.scores = scores;
  if (state.view) drawScorecard(scores, state.view.level);
}, () => {});
