// The week as a table: the darker, the more letters.

import { weekdayAndHour, zoneName } from "./clock.js";
import { byId, element } from "./dom.js";
import { number, say } from "./words.js";

export function week(hours) {
  const counts = Array.from({ length: 7 }, () => Array(24).fill(0));
  for (const { at, count } of hours) {
    const [day, hour] = weekdayAndHour(at);
    counts[day][hour] += count;
  }
  return counts;
}

/** 0 for none, then four steps up to the most. */
export const step = (count, most) => (count ? Math.min(4, Math.ceil((4 * count) / most)) : 0);

export function drawHeat(view) {
  const counts = week(view.hours);
  const most = Math.max(1, ...counts.flat());
  const days = say("weekdays").split(" ");
  const heads = [...Array(24).keys()].map((hour) => element("th", { scope: "col" }, hour % 3 ? element("span", { class: "hidden" }, String(hour)) : String(hour)));
  byId("heat").tHead.replaceChildren(element("tr", {}, element("td"), ...heads));
  const rows = counts.map((day, index) =>
    element("tr", {}, element("th", { scope: "row" }, days[index]),
      ...day.map((count) => element("td", { class: `heat-${step(count, most)}` }, count ? element("span", {}, number(count)) : ""))),
  );
  byId("heat").tBodies[0].replaceChildren(...rows);
  byId("heat-words").textContent = say("heatWords", { zone: zoneName() });
}
