// The recorded day of the small town: one file, opened from the disk, as a reader without a build opens it.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";
import { assertAccessible, brokenWords, CHROMIUM, SCREENSHOTS } from "./browser.js";

const FILE = new URL("../../../../docs/lens-day.html", import.meta.url);

let browser, page;
const problems = [];

before(async () => {
  mkdirSync(SCREENSHOTS, { recursive: true });
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
});

after(() => browser?.close());

async function open({ width = 1440, height = 900, hash = "", ...options } = {}) {
  await page?.close();
  page = await browser.newPage({ viewport: { width, height }, locale: "en-GB", timezoneId: "Pacific/Auckland", ...options });
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("request", (request) => request.url().startsWith(FILE.href) || request.url().startsWith("data:") || problems.push(`loads ${request.url()}`));
  await page.goto(FILE.href + hash);
  await page.locator("body[data-level]").waitFor();
}

beforeEach(() => open());

const text = (selector) => page.locator(selector).innerText();

async function at(level) {
  await page.getByRole("radio", { name: new RegExp(`^${level} `) }).check();
  await page.locator(`body[data-level=${level}]`).waitFor();
}

const unfold = () => page.$$eval("details", (folded) => folded.forEach((details) => (details.open = true)));

test("the file is small", () => {
  assert.ok(statSync(FILE).size < 600_000);
});

test("the first sentence has the recording's numbers, and the graph is on the first screen", async () => {
  assert.match(await text("h1"), /^Without opening a letter, the relay knows that emil and frieda wrote to each other 16 times, from the bakery and the flower shop, between 3 Nov, 18:\d\d and 4 Nov, 23:34\.$/);
  assert.match(await text("#beside"), /the same about 10 other pairs/);
  const { y, width } = await page.locator("#graph").boundingBox();
  assert.ok(y < 520 && width > 900, `${y}, ${width}`);
  const heat = await page.locator("#heat").boundingBox();
  assert.ok(heat.y + heat.height < 720, "and so is the heat map");
  assert.ok((await page.locator("#facts li").first().boundingBox()).y < 800, "and what the levels strike out begins there");
  assert.match(await text("#heat-words"), /UTC/, "the day has its own time zone");
});

test("the level switch strikes out what is gone and counts it", async () => {
  assert.match(await text("#gone"), /^None of (\d+) facts gone$/);
  assert.equal(await page.locator("#facts del").count(), 0);
  let before = 0;
  for (const level of ["L1", "L2", "L3"]) {
    await at(level);
    const struck = await page.locator("#facts del").count();
    const [, gone, all] = (await text("#gone")).match(/^(\d+) of (\d+) facts gone$/);
    assert.equal(Number(gone), struck, level);
    assert.ok(struck >= before && struck < Number(all), level);
    assert.match(await text("h1"), /would know/);
    assert.match(await text("#mood"), /would be told/);
    before = struck;
  }
  assert.match(await text("#facts"), /Who writes to whom gone/);
  assert.match(await page.locator("#facts del").first().evaluate((struck) => getComputedStyle(struck).textDecorationLine), /line-through/);
});

test("a person is opened by keyboard, and closed again", async () => {
  await page.locator('#graph [aria-label^="anna,"]').focus();
  await page.keyboard.press("Enter");
  const person = await text("#person");
  assert.match(person, /anna[^]*Hours[^]*Places[^]*Mill Lane[^]*Writes with[^]*practice-winter · 12 letters/);
  assert.equal(await page.evaluate(() => document.activeElement.id), "person");
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("#person").isVisible(), false);
  assert.match(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), /^anna,/);
  await page.locator('#graph [aria-label^="ben,"]').click();
  assert.match(await text("#person"), /law-office-roth/);
});

test("the slider goes over time, and plays", async () => {
  const lines = () => page.locator("#graph line").count();
  const all = await lines();
  assert.equal(await text("#moment"), "the whole time");
  await page.locator("#slider").focus();
  await page.keyboard.press("Home");
  assert.match(await text("#moment"), /^until 3 Nov, 18:/);
  const few = await lines();
  assert.ok(few > 0 && few <= all);
  const count = () => page.locator("#graph .weight").evaluateAll((weights) => weights.reduce((sum, weight) => sum + Number(weight.textContent), 0));
  const first = await count();
  await page.locator("#play").click();
  await page.locator("#moment", { hasText: "4 Nov" }).waitFor();
  await page.locator("#moment", { hasText: "the whole time" }).waitFor({ timeout: 40_000 });
  assert.ok((await count()) > first);
  assert.match(await text("#play"), /Play/);
});

test("colours tell places or circles, and a legend names them", async () => {
  assert.match(await text("#legend"), /Church Street: (ben, dora|dora, ben)/);
  await page.locator("#colours input[value=circle]").check();
  assert.match(await text("#legend"), /Circle 1: [^]*Circle 2: /);
  await at("L1");
  assert.equal(await page.locator("#colours input[value=place]").isDisabled(), true, "no place is known there");
});

test("the lists are folded, what is denied is one line, and tests stand behind a question", async () => {
  assert.equal(await page.locator("details[open]").count(), 0);
  assert.equal(await page.locator("#known").isVisible(), false);
  assert.equal(await page.locator(".test").first().isVisible(), false);
  const { height } = await page.locator("#denied").boundingBox();
  assert.ok(height < 60, `${height}`);
  await page.getByText("How is this known?").click();
  assert.match(await text("#unknown"), /a_canary_is_nowhere_in_the_relay/);
  const words = (await text("main")).split(/\s+/).length;
  assert.ok(words < 1200, `${words} words`);
});

for (const width of [320, 390]) {
  test(`on a phone of ${width} points nothing scrolls sideways, tables are cards, and no word is broken`, async () => {
    await open({ width, height: 844 });
    for (const level of ["L0", "L3"]) {
      await at(level);
      await unfold();
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= width);
      assert.deepEqual(await brokenWords(page), [], level);
      assert.equal(await page.locator("#edges td").first().evaluate((cell) => getComputedStyle(cell).display), "flex");
      const wide = await page.$$eval(".wide", (boxes) => boxes.filter((box) => box.scrollWidth > box.clientWidth).length);
      assert.equal(wide, 0);
    }
  });
}

test("on a desktop no table breaks a word", async () => {
  await unfold();
  assert.deepEqual(await brokenWords(page), []);
});

test("print is three pages at most, with level and date", async () => {
  for (const level of ["L0", "L3"]) {
    await at(level);
    const pdf = await page.pdf({ format: "A4", path: `${SCREENSHOTS}/lens-${level}.pdf` });
    const pages = pdf.toString("latin1").match(/\/Type\s*\/Page\b/g).length;
    assert.ok(pages <= 3, `${pages} pages at ${level}`);
  }
  await page.emulateMedia({ media: "print", colorScheme: "dark" });
  assert.match(await text("#print-line"), /^Level L3\. The traffic ran at L0\. Printed from the state of \d+ \w+ \d{4}\.$/);
  assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).printColorAdjust), "exact");
  assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor), "rgb(255, 255, 255)");
});

test("what could be handed over is a letter of one sheet, with the JSON beside it", async () => {
  assert.match(await text("#sheet"), /To the authority that asks[^]*We can hand over[^]*anna[^]*We cannot hand over[^]*the words of any letter/);
  await page.evaluate(() => { window.print = () => {}; });
  await page.locator("#print-letter").click();
  const pdf = await page.pdf({ format: "A4" });
  assert.equal(pdf.toString("latin1").match(/\/Type\s*\/Page\b/g).length, 1);
  await page.evaluate(() => dispatchEvent(new Event("afterprint")));
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#hand-over").click()]);
  const chunks = [];
  for await (const chunk of await download.createReadStream()) chunks.push(chunk);
  const document = JSON.parse(Buffer.concat(chunks).toString());
  assert.equal(document.level, "L0");
  assert.ok(document.observations.length > 1000 && document.observations[0].kind === "connected");
  await at("L3");
  assert.equal(await page.locator("#hand-over").isVisible(), false, "the file has it for one level");
});

test("it speaks German, and the address remembers it", async () => {
  await page.getByRole("button", { name: "Deutsch" }).click();
  assert.match(await text("h1"), /^Ohne einen Brief zu öffnen, weiß der Server: emil und frieda schrieben einander 16-mal, aus Bäckerei und Blumenladen, zwischen /);
  assert.equal(await page.evaluate(() => document.documentElement.lang), "de");
  assert.match(await text("#gone"), /Angaben weg/);
  assert.match(page.url(), /lang=de/);
  await open({ locale: "de-DE" });
  assert.match(await text("h1"), /^Ohne einen Brief/, "and those who read German get it at once");
  await open({ width: 390, height: 844, hash: "#level=L3&lang=de" });
  await unfold();
  assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 390);
  assert.deepEqual(await brokenWords(page), []);
});

for (const colorScheme of ["light", "dark"]) {
  for (const [name, width, height] of [["desktop", 1440, 900], ["phone", 390, 844]]) {
    test(`axe finds nothing: ${name}, ${colorScheme}`, async () => {
      await open({ width, height, colorScheme });
      await page.screenshot({ path: `${SCREENSHOTS}/lens-${name}-${colorScheme}.png` });
      await assertAccessible(page);
      await at("L3");
      await page.locator("#graph [data-account]").first().press("Enter");
      await assertAccessible(page);
    });
  }
}

/** Opens the file with another recording in it. */
async function openChanged(change) {
  const [before, rest] = readFileSync(FILE, "utf8").split('<script type="application/json" id="recording">');
  const end = rest.indexOf("</script>");
  const recording = JSON.parse(rest.slice(0, end));
  change(recording);
  const folder = mkdtempSync(join(tmpdir(), "lens-"));
  const path = join(folder, "changed.html");
  writeFileSync(path, `${before}<script type="application/json" id="recording">${JSON.stringify(recording).replaceAll("<", "\\u003c")}${rest.slice(end)}`);
  await page.goto(pathToFileURL(path).href);
  await page.locator("body[data-level]").waitFor();
  rmSync(folder, { recursive: true });
}

test("names are words, whatever they hold", async () => {
  page.removeAllListeners("request");
  const hostile = '<img src=x onerror="document.title=1"></script><b>&amp;\u202e';
  await openChanged((recording) => {
    for (const view of Object.values(recording.views)) {
      for (const person of view.people) if (person.label === "emil") person.label = hostile;
      for (const edge of view.edges) {
        if (edge.from_label === "emil") edge.from_label = hostile;
        if (edge.to_label === "emil") edge.to_label = hostile;
      }
      for (const file of view.transfers) {
        file.from_label = hostile;
        for (const reader of file.to) reader.label = hostile;
        if (file.ip) Object.assign(file, { ip: hostile, place: null });
      }
      view.columns = [{ name: hostile, messages: Array.from({ length: 80 }, (_, index) => ({ from: hostile, text: `${index} ${hostile}`, sent_at: 1 })) }];
    }
  });
  await unfold();
  assert.equal(await page.locator("img, b").count(), 0);
  assert.ok((await text("h1")).includes(hostile));
  assert.equal(await page.locator("#left .messages li").count(), 50, "the last fifty");
  assert.match(await page.locator("#left .messages li").last().innerText(), /79 </);
  await page.locator("#graph [data-account]").first().click();
  assert.match(await page.title(), /Kuvert/);
});

test("a file is a line of its own and a sentence, and each level takes something of it away", async () => {
  await open();
  const told = async (level) => {
    await at(level);
    return { files: await page.locator("#files").evaluate((list) => list.textContent), facts: await page.locator("#facts").evaluate((list) => list.textContent) };
  };
  const described = await told("L0");
  assert.match(described.files, /ben gave law-office-roth something of about \d(\.\d)? MiB, 4 Nov 2026, 09:05:\d\d, from Church Street, 127\.2\.\d+\.\d+\. It is for 1 device\. Read/);
  assert.equal(await page.locator("#graph line.file").count(), 2);
  assert.match(await text("#graph-words"), /files, of 2 pairs/);
  const random = await told("L1");
  assert.match(random.files, /ben gave law-office-roth something of about/);
  assert.doesNotMatch(random.files, /127\.2|Church Street/);
  for (const level of ["L2", "L3"]) {
    const sealed = await told(level);
    assert.match(sealed.files, /ben gave somebody something of about \d(\.\d)? MiB, 4 Nov 2026, 09:05:\d\d\. The guess: law-office-roth \(\d+ % sure\)/);
    assert.doesNotMatch(sealed.files, /It is for|Gone since/);
    assert.equal(await page.locator("#graph line.file").count(), await page.locator("#graph line.guess").count());
    assert.match(sealed.facts, /Who gave whom a file gone/);
    assert.equal(await page.locator("#facts li.gone del").filter({ hasText: /^Who gave whom a file/ }).count(), 1);
  }
  await open({ hash: "#level=L2&lang=de" });
  assert.match(await page.locator("#files").evaluate((list) => list.textContent), /ben gab jemandem etwas von etwa \d(,\d)? MiB/);
});

test("a relay that nobody uses, or that kept no notes, has a page as well", async () => {
  page.removeAllListeners("request");
  await openChanged((recording) => {
    for (const view of Object.values(recording.views)) {
      Object.assign(view, { people: [], edges: [], file_edges: [], transfers: [], files_waiting: 0, acquaintances: [], hours: [], timeline: null, devices: [], known: [], rights: [], observed: false });
    }
  });
  assert.match(await text("h1"), /Nobody has written yet/);
  assert.equal(await page.locator("#time").isVisible(), false);
  assert.match(await text("#not-observed"), /--observe/);
  assert.match(await text("#graph-words"), /Nobody has written/);
  await at("L2");
});

test("the browser had nothing to complain about, and nothing was loaded", () => {
  assert.deepEqual(problems, []);
});

test("in German the lists are German, too", async () => {
  await open({ hash: "#lang=de" });
  const english = /\b(the|of|and|with|which|how|whose|whom|from|until|bytes|fields|accepted|asked|submitted|registered)\b/;
  for (const level of ["L0", "L1", "L2", "L3"]) {
    await at(level);
    await unfold();
    // What the tests are called is code.
    await page.$$eval("#lists .test, #unknown .test", (names) => names.forEach((name) => name.remove()));
    for (const list of ["#known", "#rights", "#unknown", "#edges", "#files", "#devices", "#scorecard", "#scorecard-conditions", "#facts"]) {
      const left = (await text(list)).split(/\n/).filter((line) => english.test(line));
      assert.deepEqual(left, [], `${level} ${list}`);
    }
  }
});
