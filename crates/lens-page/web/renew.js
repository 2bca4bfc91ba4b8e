// Puts the recording of docs/lens-day.html into the page as it is now, as `kuvert-lens export` would: the day stays the one that it was.

import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";

const read = (name) => readFileSync(new URL(name, import.meta.url), "utf8");
const fingerprint = (part) => `sha256-${createHash("sha256").update(part).digest("base64")}`;

const DAY = new URL("../../../docs/lens-day.html", import.meta.url);
const BEGINS = '<script type="application/json" id="recording">';
const [, after] = readFileSync(DAY, "utf8").split(BEGINS);
const recording = after.slice(0, after.indexOf("</script>"));

const [style, script, icon] = [read("lens.css"), read("dist/lens.js"), read("icon.svg")];
const policy = `default-src 'none'; script-src '${fingerprint(script)}'; style-src '${fingerprint(style)}'; img-src data:; base-uri 'none'; form-action 'none'`;
const parts = new Map([
  ['<link rel="icon" href="icon.svg" type="image/svg+xml">', `<meta http-equiv="Content-Security-Policy" content="${policy}">\n  <link rel="icon" href="data:image/svg+xml;base64,${Buffer.from(icon).toString("base64")}" type="image/svg+xml">`],
  ['<link rel="stylesheet" href="lens.css">', `<style>${style}</style>`],
  ['<script type="module" src="lens.js"></script>', `${BEGINS}${recording}</script>\n  <script type="module">${script}</script>`],
]);
let page = read("index.html");
for (const [link, part] of parts) page = page.replace(link, () => part);
writeFileSync(DAY, page);
