// Takes the pictures of docs/: of the recorded day, so that they are the same whoever takes them.

import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const DOCS = new URL("../../../docs/", import.meta.url);
const DAY = new URL("lens-day.html", DOCS).href;
const DESKTOP = { width: 1440, height: 1000 };
const PHONE = { width: 390, height: 844 };
const A4 = { width: 720, height: 1040 };

const PICTURES = [
  ["lens-L0", DESKTOP, "light", "#level=L0"],
  ["lens-L3", DESKTOP, "light", "#level=L3"],
  ["screenshots/lens-desktop-light", DESKTOP, "light", "#level=L0", "anna"],
  ["screenshots/lens-desktop-dark", DESKTOP, "dark", "#level=L0"],
  ["screenshots/lens-desktop-german", DESKTOP, "light", "#level=L2&lang=de"],
  ["screenshots/lens-phone-light", PHONE, "light", "#level=L0"],
  ["screenshots/lens-phone-dark", PHONE, "dark", "#level=L3"],
  ["screenshots/lens-print", A4, "light", "#level=L3", null, "print"],
];

mkdirSync(new URL("screenshots/", DOCS), { recursive: true });
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
for (const [name, viewport, colorScheme, hash, person, media] of PICTURES) {
  const page = await browser.newPage({ viewport, colorScheme, locale: "en-GB" });
  await page.emulateMedia({ media: media ?? "screen" });
  await page.goto(DAY + hash);
  await page.locator("body[data-level]").waitFor();
  if (person) await page.locator(`#graph [aria-label^="${person},"]`).click();
  await page.screenshot({ path: fileURLToPath(new URL(`${name}.png`, DOCS)) });
  // On paper it is all of it.
  if (media === "print") await page.pdf({ path: fileURLToPath(new URL(`${name}.pdf`, DOCS)), format: "A4", printBackground: true });
  await page.close();
}
await browser.close();
