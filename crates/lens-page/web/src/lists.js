// The long lists, which are folded: everything that the page knows, line by line.

import { clock, day, time } from "./clock.js";
import { byId, element, fillTable } from "./dom.js";
import { called } from "./sentence.js";
import { about, fact, line, list, number, place, reason, say, sayParts } from "./words.js";

const ROWS = 200;
const MESSAGES = 50;

/** Lines with the rows of docs/METADATA.md that they show. The program's own words are English. */
function describe(lines) {
  return lines.flatMap(({ row, what, seen, times = [] }) => {
    const when = times.map((at) => time(at)).join(" – ");
    return [
      element("dt", {}, `${fact(what)} `, element("span", { class: "row" }, row)),
      element("dd", {}, line(when ? `${seen}, ${when}` : seen)),
    ];
  });
}

export function drawLists(view) {
  byId("known").replaceChildren(...describe(view.known));
  byId("rights").replaceChildren(...describe(view.rights));
  byId("demonstration").hidden = !view.demonstration;
  byId("demonstration").textContent = view.demonstration ? say("demonstration") : "";
  byId("region").textContent = view.region ? say("region", { region: view.region }) : say("regionNone");
  const unknown = view.unknown.flatMap(({ what, why, test }) => {
    const said = element("dd", {}, reason(why));
    if (test) said.append(element("span", { class: "test" }, say("test", { name: test[1], file: test[0] })));
    return [element("dt", {}, fact(what)), said];
  });
  byId("unknown").replaceChildren(...unknown);
  drawEdges(view);
  drawFiles(view);
  drawDevices(view);
  drawQueue(view);
}

/** Who has a file now, or may have: known, guessed, or nobody yet. */
function given(file) {
  const parts = {
    from: called(file.from_label), size: about(file.size), at: time(file.at),
    place: file.ip ? say("fileFrom", { ip: file.place ? `${place(file.place)}, ${file.ip}` : file.ip }) : "",
    to: list(file.to.map((reader) => called(reader.label))),
    guesses: list(file.to.map((reader) => say("fileGuess", { name: called(reader.label), percent: number(Math.round(100 * reader.probability)) }))),
  };
  if (!file.to.length) return sayParts(file.read ? "fileUnknown" : "fileWaits", parts);
  return sayParts(file.to[0].stored ? "fileGiven" : "fileGuessed", parts);
}

function drawFiles(view) {
  const rows = view.transfers.slice(-ROWS).reverse().map((file) => {
    const said = [];
    if (file.readers !== null) said.push(say("fileReaders", { n: file.readers }));
    if (file.read) said.push(say("fileRead", { at: time(file.read) }));
    if (file.gone) said.push(say("fileGone", { at: time(file.gone) }));
    return element("li", {}, ...given(file), " ", said.join(" "));
  });
  byId("files").replaceChildren(...rows);
  byId("files-words").textContent = view.files_waiting
    ? say("filesWait", { n: view.files_waiting, bytes: number(view.file_bytes), days: view.retention_days })
    : say(rows.length ? "filesGone" : "filesNone");
}

function drawEdges(view) {
  const rows = view.edges.slice(0, ROWS).map((edge) => [
    edge.from_label, edge.to_label, edge.count, time(edge.first), time(edge.last),
    edge.stored ? say("stored") : say("guessed", { percent: number(Math.round(100 * edge.probability)) }),
  ]);
  fillTable("edges", say("edgesHeads").split("|"), rows);
}

function drawDevices(view) {
  const rows = view.devices.slice(0, ROWS).map((device) => [
    device.label, device.device.split(".").at(-1), device.addresses.join(", ") || say("notKept"),
    device.places.map(place).join(", ") || say("notKnown"), time(device.first_seen, device.precision === "day" ? "day" : undefined),
    time(device.last_seen, device.precision === "day" ? "day" : undefined), device.connections,
  ]);
  fillTable("devices", say("devicesHeads").split("|"), rows);
}

export function remaining(until) {
  const seconds = Math.max(0, Math.floor((until - Date.now()) / 1000));
  return say("remaining", { days: Math.floor(seconds / 86400), clock: new Date((seconds % 86400) * 1000).toISOString().slice(11, 19) });
}

function drawQueue(view) {
  byId("queue-words").textContent = view.waiting_count
    ? say("queue", { n: view.waiting_count, bytes: number(view.waiting_bytes), days: view.retention_days })
    : say("queueNone");
  const rows = view.waiting.map((envelope) => {
    const left = element("span", { class: "countdown" }, remaining(envelope.expires_at));
    left.dataset.until = envelope.expires_at;
    const words = say("waiting", { to: envelope.to, from: envelope.from ?? say("unknownSender"), bytes: number(envelope.size), since: time(envelope.accepted_at) });
    return element("li", {}, `${words} `, left, element("pre", {}, `${envelope.bytes.replace(/(..)(?=.)/g, "$1 ")} …`));
  });
  byId("queue").replaceChildren(...rows);
}

/** What stands on the two screens: the last messages of each. */
export function drawScreens(view) {
  ["left", "right"].forEach((side, index) => {
    const column = view.columns[index];
    const section = byId(side);
    section.hidden = !column;
    if (!column) return;
    byId(`${side}-title`).textContent = say("device", { name: column.name });
    const list = section.querySelector(".messages");
    const messages = column.messages.slice(-MESSAGES).map((message) =>
      element("li", { class: message.direction === "out" ? "out" : "in" },
        element("span", { class: "who" }, `${message.from}, ${day(message.sent_at)}, ${clock(message.sent_at)}`), message.text));
    const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 4;
    const stood = list.scrollTop;
    list.replaceChildren(...messages);
    // Who reads further up goes on to read there.
    list.scrollTop = atEnd ? list.scrollHeight : stood;
  });
  byId("screens-note").hidden = view.columns.length === 0;
}

/** The simulation's figures, the same whatever the relay does. */
export function drawScorecard({ conditions, rows }, level) {
  const percent = (share) => (share === undefined ? "–" : `${Math.round(100 * share)} %`);
  byId("scorecard-conditions").textContent = line(conditions);
  const cells = rows.map(({ policy, score }) => [
    line(policy), percent(score.edges.precision), percent(score.edges.recall), percent(score.top1_after["5"]), percent(score.top1_after["40"]),
    score.anonymity_bits.toFixed(1), score.size_kind_bits.toFixed(2), `${score.bytes_ratio.toFixed(2)} ×`,
    score.latency_ms === null ? say("neverSent") : `${(Math.max(0, score.latency_ms) / 1000).toFixed(1)} s`,
    percent(score.files?.precision), percent(score.files?.recall), percent(score.files?.readers_named),
  ]);
  fillTable("scorecard", say("scorecardHeads").split("|"), cells).forEach((row, index) => {
    if (rows[index].score.level === level) row.setAttribute("aria-current", "true");
  });
}
