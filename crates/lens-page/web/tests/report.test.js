// The page of `kuvert account report`, in a real browser: what an account reads of what a relay holds about it.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { chromium } from "playwright-core";
import { assertAccessible, CHROMIUM, SCREENSHOTS } from "./browser.js";

const KUVERT = process.env.KUVERT ?? "../../../target/debug/kuvert";
const directory = mkdtempSync(join(tmpdir(), "kuvert-report-"));

let relay, browser;

const kuvert = (...words) => execFileSync(KUVERT, ["--home", join(directory, "home"), ...words], { encoding: "utf8" });

before(async () => {
  mkdirSync(SCREENSHOTS, { recursive: true });
  const ready = join(directory, "ready");
  const serve = ["relay-lens", "serve", "--data", join(directory, "data"), "--listen", "127.0.0.1:0", "--ready-file", ready];
  relay = spawn(KUVERT, serve, { stdio: "ignore" });
  while (!existsSync(ready)) {
    assert.equal(relay.exitCode, null, "the relay ended");
    await wait(50);
  }
  kuvert("--level", "L0", "register", "--relay", readFileSync(ready, "utf8").trim(), "--name", "alice", "--phone", "+4915550000009");
  kuvert("account", "profile", "--about", "<b>At sea</b>");
  kuvert("account", "report", "--wait", "--out", join(directory, "report"));
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
});

after(async () => {
  await browser?.close();
  relay?.kill("SIGINT");
  rmSync(directory, { recursive: true, force: true });
});

for (const [name, width] of [["desktop", 1280], ["phone", 390]]) {
  for (const colorScheme of ["light", "dark"]) {
    test(`it can be read: ${name}, ${colorScheme}`, async () => {
      const page = await browser.newPage({ viewport: { width, height: 800 }, colorScheme });
      const problems = [];
      page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
      await page.goto(`file://${join(directory, "report", "index.html")}`);
      const text = await page.locator("main").innerText();
      assert.match(text, /registered at\s+\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/);
      assert.match(text, /<b>At sea<\/b>/);
      assert.equal(await page.locator("b, script, img").count(), 0);
      assert.match(await page.locator("tr", { hasText: "account key" }).first().innerText(), /account key\s+44 characters$/);
      assert.match(text, /last seen day\s+\d{4}-\d\d-\d\d/);
      assert.ok((await page.locator("details details:not([open])").count()) > 0, "keys are folded");
      const widest = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(widest <= width, `${widest} px wide`);
      // Its style is obeyed.
      assert.equal(await page.evaluate(() => getComputedStyle(document.body).maxWidth), "960px");
      await page.screenshot({ path: join(SCREENSHOTS, `report-${name}-${colorScheme}.png`) });
      await assertAccessible(page);
      assert.deepEqual(problems, []);
      await page.close();
    });
  }
}
