// The page in a real browser, over the traffic of a real demo.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const KUVERT = process.env.KUVERT ?? "../../../target/debug/kuvert";
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const SCREENSHOTS = process.env.SCREENSHOTS ?? "../../../target/screenshots";

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
  page = await browser.newPage({ viewport: { width: 1440, height: 1000 } });
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("request", (request) => request.url().startsWith(new URL(url).origin + "/") || problems.push(`loads ${request.url()}`));
  await page.goto(url);
  await page.locator("#known dt").first().waitFor();
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

test("the relay's column lies between the two screens", async () => {
  await at("L0");
  assert.equal(await page.locator("#left h2").innerText(), "Alice's device");
  assert.equal(await page.locator("#right h2").innerText(), "Bob's device");
  const words = await page.locator("#left .messages li").count();
  assert.ok(words >= 14, `${words} messages`);
  // The words stand on the devices, and nowhere in the relay's column.
  assert.match(await page.locator("#right").innerText(), /tomatoes/);
  assert.doesNotMatch(await page.locator("#relay").innerText(), /tomatoes/);
});

test("at level 0 the relay knows who, with whom, when and from where", async () => {
  await at("L0");
  const known = await page.locator("#known").innerText();
  assert.match(known, /alice → bob: \d+ envelopes/);
  assert.match(known, /127\.1\.1\.1/);
  assert.match(known, /alice: United Kingdom/);
  assert.match(known, /from the IP address \(simulated\)[^]*bob: Birch Town/);
  assert.match(known, /Dora Example/);
  assert.match(known, /alice: battery simulated: 82 %/);
  assert.equal(await page.locator("#graph line.stored").count(), 1);
  assert.equal(await page.locator("#graph circle.account").count(), 2);
  assert.equal(await page.locator("#graph circle.shadow").count(), 2);
  assert.match(await page.locator("#devices").innerText(), /127\.1\.1\.1\s+Alder Town/);
  assert.match(await page.locator("#region").innerText(), /USA \(simulated\)/);
  await page.screenshot({ path: `${SCREENSHOTS}/lens-L0.png`, fullPage: true });
});

test("at level 3 the sender is a guess, and addresses are not kept", async () => {
  await at("L3");
  const known = await page.locator("#known").innerText();
  assert.doesNotMatch(known, /who with whom/);
  assert.match(known, /guessed from IP addresses/);
  assert.equal(await page.locator("#graph line.stored").count(), 0);
  assert.match(await page.locator("#devices").innerText(), /not kept/);
  await page.screenshot({ path: `${SCREENSHOTS}/lens-L3.png`, fullPage: true });
});

test("what was agreed to, shared and asked for stands there, and says that it is a demonstration", async () => {
  await at("L0");
  assert.match(await page.locator("#demonstration").innerText(), /synthetic terms/);
  const rights = await page.locator("#rights").innerText();
  assert.match(rights, /\+447700900101, \d+ times online, advertising: used/);
  assert.match(rights, /alice: the terms of 2016-08-25/);
  assert.match(rights, /alice asked for one/);
  await at("L1");
  assert.doesNotMatch(await page.locator("#relay").innerText(), /7700900/);
  assert.equal(await page.locator("#graph circle.shadow").count(), 0);
});

test("what is not known is as long a list as what is known", async () => {
  await at("L0");
  const [known, unknown] = await Promise.all(["#known dt", "#unknown dt"].map((list) => page.locator(list).count()));
  assert.ok(unknown >= known - 2, `${unknown} of ${known}`);
});

test("the scorecard marks the level that is shown", async () => {
  await at("L2");
  const marked = page.locator("#scorecard [aria-current]");
  assert.equal(await marked.count(), 1);
  assert.match(await marked.innerText(), /^L2\s+\d+ %/);
  assert.match(await page.locator("#scorecard-conditions").innerText(), /\d+ people/);
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
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: /handed over/ }).click()]);
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

test("the address that was printed leads to the page, and no address without its token does", async () => {
  const { origin, searchParams } = new URL(url);
  assert.equal(new URL(page.url()).pathname, `/${searchParams.get("token")}/`);
  assert.equal((await fetch(`${origin}/api/view`)).status, 403);
  assert.equal((await fetch(origin)).status, 403);
});

test("the browser had nothing to complain about, and nothing was loaded from elsewhere", () => {
  assert.deepEqual(problems, []);
});
