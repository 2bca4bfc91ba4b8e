// The page in a real browser, over the traffic of a real demo.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";
import { assertAccessible, CHROMIUM, SCREENSHOTS } from "./browser.js";

const KUVERT = process.env.KUVERT ?? "../../../target/debug/kuvert";

let demo, browser, page, url;
const problems = [];

before(async () => {
  mkdirSync(SCREENSHOTS, { recursive: true });
  demo = spawn(KUVERT, ["--json", "demo", "--lens"], { stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface({ input: demo.stdout });
  const objects = new Map();
  // The page's address comes first; the demo's document when everything has been played.
  await new Promise((resolve, reject) => {
    demo.on("exit", (code) => reject(new Error(`the demo ended with ${code}`)));
    lines.on("line", (line) => {
      const object = JSON.parse(line);
      objects.set(object.type, object);
      if (object.type === "demo") resolve();
      if (object.type === "error") reject(new Error(object.message));
    });
  });
  url = objects.get("lens").url;
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  page = await browser.newPage({ viewport: { width: 1440, height: 900 }, locale: "en-GB" });
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("request", (request) => request.url().startsWith(new URL(url).origin + "/") || problems.push(`loads ${request.url()}`));
  await page.goto(url);
  await page.locator("body[data-level]").waitFor();
});

after(async () => {
  await browser?.close();
  demo?.removeAllListeners("exit");
  demo?.kill("SIGINT");
});

async function at(level) {
  await page.getByRole("radio", { name: new RegExp(`^${level} `) }).check();
  await page.locator(`body[data-level=${level}]`).waitFor();
}

test("the first screen opens at the level of the traffic, and says in one sentence what the relay knows", async () => {
  assert.equal(await page.locator("body").getAttribute("data-level"), "L0");
  const sentence = await page.locator("h1").innerText();
  assert.match(
    sentence,
    /^Without opening a letter, the relay knows that alice and bob wrote to each other \d+ times, from Alder Town and Birch Town, (between \d\d:\d\d and \d\d:\d\d|at \d\d:\d\d)\.$/,
  );
  assert.match(await page.locator("#mood").innerText(), /This traffic ran at L0/);
  const { y } = await page.locator("#graph").boundingBox();
  assert.ok(y < 520, `the graph begins at ${y}`);
  await page.screenshot({ path: `${SCREENSHOTS}/lens-L0.png`, fullPage: true });
});

test("at another level it says what the relay would be told", async () => {
  await at("L2");
  assert.match(await page.locator("h1").innerText(), /the relay would know that (bob|alice) got \d+ letters/);
  assert.match(await page.locator("#mood").innerText(), /would be told at L2\. This traffic ran at L0/);
});

test("the words stand on the two screens, which scroll, and nowhere in what the relay has", async () => {
  await at("L0");
  assert.equal(await page.locator("#left h2").innerText(), "Alice’s device");
  assert.equal(await page.locator("#right h2").innerText(), "Bob’s device");
  const words = await page.locator("#left .messages li").count();
  assert.ok(words >= 14 && words <= 50, `${words} messages`);
  const [height, all] = await page.locator("#left .messages").evaluate((list) => [list.clientHeight, list.scrollHeight]);
  assert.ok(height < all, "it scrolls");
  assert.match(await page.locator("#right").innerText(), /tomatoes/);
  for (const part of ["#relay", "#lists", "#letter"]) assert.doesNotMatch(await page.locator(part).evaluate((found) => found.textContent), /tomatoes/);
});

test("at level 0 the relay knows who, with whom, when and from where", async () => {
  await at("L0");
  const known = await page.locator("#known").evaluate((list) => list.textContent);
  assert.match(known, /alice → bob: \d+ envelopes/);
  assert.match(known, /127\.1\.1\.1/);
  assert.match(known, /alice: United Kingdom/);
  assert.match(known, /bob: Birch Town/);
  assert.match(known, /Dora Example/);
  assert.match(known, /alice: battery simulated: 82 %/);
  assert.equal(await page.locator("#graph line.stored").count(), 1);
  assert.equal(await page.locator("#graph circle.account").count(), 2);
  assert.equal(await page.locator("#graph circle.shadow").count(), 2);
  assert.match(await page.locator("#devices").evaluate((table) => table.textContent), /127\.1\.1\.1Alder Town/);
  assert.match(await page.locator("#region").evaluate((words) => words.textContent), /USA \(simulated\)/);
});

test("at level 3 the sender is a guess, and addresses are not kept", async () => {
  await at("L3");
  const known = await page.locator("#known").evaluate((list) => list.textContent);
  assert.doesNotMatch(known, /Who writes to whom/);
  assert.match(known, /A guess at who wrote them/);
  assert.equal(await page.locator("#graph line.stored").count(), 0);
  assert.match(await page.locator("#devices").evaluate((table) => table.textContent), /not kept/);
  await page.screenshot({ path: `${SCREENSHOTS}/lens-L3.png`, fullPage: true });
});

test("what was agreed to, shared and asked for stands there, and says that it is a demonstration", async () => {
  await at("L0");
  assert.match(await page.locator("#demonstration").evaluate((words) => words.textContent), /made-up terms/);
  const rights = await page.locator("#rights").evaluate((list) => list.textContent);
  assert.match(rights, /\+447700900101, \d+ times online, advertising: used/);
  assert.match(rights, /alice: the terms of 2016-08-25/);
  assert.match(rights, /alice asked for one/);
  await at("L1");
  for (const part of ["#relay", "#lists", "#letter"]) assert.doesNotMatch(await page.locator(part).evaluate((found) => found.textContent), /7700900/);
  assert.equal(await page.locator("#graph circle.shadow").count(), 0);
});

test("the scorecard marks the level that is shown", async () => {
  await at("L2");
  const marked = page.locator("#scorecard [aria-current]");
  assert.equal(await marked.count(), 1);
  assert.match(await marked.evaluate((row) => row.textContent), /^L2\d+ %/);
  assert.match(await page.locator("#scorecard-conditions").evaluate((words) => words.textContent), /\d+ people/);
});

test("the level is switched by keyboard", async () => {
  await at("L0");
  await page.getByRole("radio", { name: /^L0 / }).focus();
  await page.keyboard.press("ArrowRight");
  await page.locator("body[data-level=L1]").waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.value), "L1");
});

test("what could be handed over is a document", async () => {
  await at("L2");
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#hand-over").click()]);
  const chunks = [];
  for await (const chunk of await download.createReadStream()) chunks.push(chunk);
  const document = JSON.parse(Buffer.concat(chunks).toString());
  assert.equal(document.level, "L2");
  assert.ok(document.observations.every((event) => event.kind !== "submitted" || event.device === null));
});

test("every part has a name, and dark is dark", async () => {
  const unnamed = await page.$$eval("section", (sections) => sections.filter((s) => !s.hasAttribute("aria-labelledby")).length);
  assert.equal(unnamed, 0);
  await page.emulateMedia({ colorScheme: "dark" });
  const background = await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  assert.equal(background, "rgb(20, 23, 27)");
  await page.emulateMedia({ colorScheme: "light" });
});

test("axe finds nothing", async () => {
  await at("L0");
  await assertAccessible(page);
});

test("the address that was printed leads to the page, and no address without its token does", async () => {
  const { origin, searchParams } = new URL(url);
  assert.equal(new URL(page.url()).pathname, `/${searchParams.get("token")}/`);
  assert.equal((await fetch(`${origin}/api/view`)).status, 403);
  assert.equal((await fetch(origin)).status, 403);
});

test("the browser had nothing to complain about, and nothing was loaded from elsewhere", () => {
  assert.deepEqual(problems, []);
});
