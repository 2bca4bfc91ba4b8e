//! The page to read: what stands in the data, escaped, without scripts or anything from elsewhere. The relay wrote the data, so that
//! a browser has to show every character of it as text. The one style is this program's, and the page names its digest: no other is
//! obeyed.

use std::fmt::Write as _;

use data_encoding::BASE64;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Bytes of a file that is shown: its values take ten times the memory while the page is made. A larger one is named.
const MAX_SHOWN_BYTES: usize = 4 << 20;

/// Rows of a list that are shown; the rest is counted.
const MAX_ROWS: usize = 200;

/// How deep values stand in each other where they are shown as tables.
const MAX_DEPTH: usize = 6;

/// A word longer than this is a key, a signature or the like: it is folded.
const MAX_WORD: usize = 40;

/// Files that say something about the report itself, and come folded.
const FOLDED: [&str; 3] = ["manifest.json", "not_held.json", "recipients.json"];

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Numbers that can be times, Unix milliseconds: from 2020 to 2100.
const TIMES: std::ops::Range<u64> = 1_577_836_800_000..4_102_444_800_000;

/// Every colour of a text has a contrast of 4.5 to 1 at least with the paper, light and dark.
const STYLE: &str = "
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1d2126; --soft: #5a636e; --line: #8888; }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #14171b; --ink: #e8e6e1; --soft: #a3abb5; } }
body { color: var(--ink); background: var(--paper); font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; } h2 { display: inline; font-size: 1.25rem; } h3 { margin: 1rem 0 .3rem; font-size: 1rem; }
main > details { margin: 1.5rem 0; border-top: 1px solid var(--line); padding-top: .8rem; }
summary { cursor: pointer; } .soft { color: var(--soft); font-size: .9em; } ol { padding-left: 1.5rem; }
table { border-collapse: collapse; width: 100%; margin-bottom: 1rem; }
td, th { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line); font-weight: normal; }
th { width: 30%; } code { font-size: .9em; }
@media (max-width: 40rem) { th, td { display: block; width: auto; } th { color: var(--soft); border: 0; padding-bottom: 0; } }
@media print { body { max-width: none; margin: 0; font-size: 10pt; } tr { break-inside: avoid; } }
";

/// One file of a report.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ReportFile {
    /// Its name, out of a fixed list of plain names, so that it can be written into any directory.
    pub name: String,
    /// What stands in it.
    pub content: Vec<u8>,
}

/// Makes the page from the data.
pub fn html(files: &[ReportFile]) -> String {
    let digest = BASE64.encode(&Sha256::digest(STYLE));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{digest}'; \
         base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\"><meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>What the relay says it holds</title><style>{STYLE}</style></head><body><main>\n\
         <h1>What the relay says it holds</h1>\n\
         <p class=\"soft\">This page was made by the program kuvert from the files beside it, which the relay sent. A page of the \
         relay's own, which its manifest names, was not taken. Times are UTC.</p>\n",
    );
    files.iter().for_each(|file| section(&mut out, file));
    out.push_str("</main></body></html>\n");
    out
}

fn section(out: &mut String, file: &ReportFile) {
    let open = if FOLDED.contains(&file.name.as_str()) { "" } else { " open" };
    let (title, name) = (title(&file.name), escape(&file.name));
    // Writing to a String does not fail.
    let _ = writeln!(out, "<details{open}><summary><h2>{title}</h2> <span class=\"soft\">{name}</span></summary>");
    if file.content.len() > MAX_SHOWN_BYTES {
        let _ = writeln!(out, "<p>{} bytes: read the file.</p></details>", file.content.len());
        return;
    }
    match serde_json::from_slice(&file.content) {
        Ok(Value::Object(parts)) => {
            for (part, value) in parts.iter().take(MAX_ROWS) {
                let _ = writeln!(out, "<h3>{}</h3>", title_of(part));
                match value {
                    Value::Array(rows) if rows.is_empty() => out.push_str("<p class=\"soft\">Nothing.</p>"),
                    Value::Array(_) | Value::Object(_) => show(out, part, value, 1),
                    value => {
                        out.push_str("<p>");
                        show(out, part, value, 1);
                        out.push_str("</p>");
                    }
                }
            }
            rest(out, parts.len());
        }
        Ok(value) => show(out, "", &value, 0),
        Err(_) => out.push_str("<p>This is no JSON: the relay sent something else.</p>"),
    }
    out.push_str("</details>\n");
}

/// `account_information.json` as people write it.
fn title(name: &str) -> String {
    title_of(name.trim_end_matches(".json"))
}

fn title_of(name: &str) -> String {
    let words = name.replace('_', " ");
    let mut letters = words.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    escape(&format!("{first}{}", letters.as_str()))
}

/// A value; `name`: that of the field that it stands in.
fn show(out: &mut String, name: &str, value: &Value, depth: usize) {
    match value {
        Value::Object(fields) if depth < MAX_DEPTH => {
            out.push_str("<table>");
            for (name, value) in fields.iter().take(MAX_ROWS) {
                let _ = write!(out, "<tr><th scope=\"row\">{}</th><td>", escape(&name.replace('_', " ")));
                show(out, name, value, depth + 1);
                out.push_str("</td></tr>\n");
            }
            out.push_str("</table>");
            rest(out, fields.len());
        }
        Value::Array(values) if depth < MAX_DEPTH => {
            out.push_str("<ol>");
            for value in values.iter().take(MAX_ROWS) {
                out.push_str("<li>");
                show(out, name, value, depth + 1);
                out.push_str("</li>\n");
            }
            out.push_str("</ol>");
            rest(out, values.len());
        }
        Value::String(text) if is_key(text) => {
            let _ = write!(
                out,
                "<details><summary>{} characters</summary><code>{}</code></details>",
                text.chars().count(),
                escape(text)
            );
        }
        Value::String(text) => out.push_str(&escape(text)),
        Value::Null => out.push_str("<span class=\"soft\">none</span>"),
        Value::Bool(yes) => out.push_str(if *yes { "yes" } else { "no" }),
        Value::Number(number) => match number.as_u64() {
            Some(at) if is_time(name) && TIMES.contains(&at) => {
                let _ = write!(out, "{} <span class=\"soft\">{at}</span>", utc(at));
            }
            Some(day) if name.ends_with("_day") && TIMES.contains(&day.saturating_mul(DAY_MS)) => {
                let _ = write!(out, "{} <span class=\"soft\">{day}</span>", &utc(day * DAY_MS)[..10]);
            }
            _ => out.push_str(&escape(&number.to_string())),
        },
        other => out.push_str(&escape(&other.to_string())),
    }
}

/// Whether a text is one long word: a key, a signature, a certificate.
fn is_key(text: &str) -> bool {
    text.chars().count() > MAX_WORD && !text.contains(char::is_whitespace)
}

/// Whether a field of this name is a time.
fn is_time(name: &str) -> bool {
    name.ends_with("_at") || name.ends_with("_until") || ["at", "since", "until"].contains(&name)
}

/// Unix milliseconds as `2026-11-21 19:41:11`. In eras of 400 years that begin in March, so that the leap day is the last one.
fn utc(ms: u64) -> String {
    let (days, second) = (ms / 1000 / 86_400 + 719_468, ms / 1000 % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * march + 2) / 5 + 1, if march < 10 { march + 3 } else { march - 9 });
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

fn rest(out: &mut String, count: usize) {
    if count > MAX_ROWS {
        let _ = write!(out, "<p>And {} more: read the file.</p>", count - MAX_ROWS);
    }
}

/// As text of HTML, in which nothing is markup, no control character stands, and no letter moves another.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => out.push('\u{FFFD}'),
            c if c.is_control() => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(content: &str) -> String {
        html(&[ReportFile { name: "queue.json".into(), content: content.into() }])
    }

    #[test]
    fn whatever_the_relay_wrote_is_text() {
        let evil = serde_json::json!({
            "</td><script>alert(1)</script>": ["<img src=x onerror=alert(1)>", "\u{1b}[2J", "\u{202E}x", {"a'\"": "&"}],
        });
        let page = page(&evil.to_string());
        // But for the one style, which is this program's.
        let [before, after] = page.split(STYLE).collect::<Vec<_>>()[..] else { panic!("{page}") };
        let rest = format!("{}{}", before.trim_end_matches("<style>"), after.trim_start_matches("</style>"));
        for markup in ["<script", "<img", "<a ", "<link", "<style", "style=", "javascript:", "src="] {
            assert!(!rest.replace("src=x", "").contains(markup), "{markup}: {page}");
        }
        assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;") && page.contains("a&#39;&quot;"), "{page}");
        assert!(page.chars().all(|c| c == '\n' || !c.is_control()) && !page.contains('\u{202E}'), "{page}");
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn large_and_deep_values_are_named_and_not_shown() {
        let long = page(&format!("[{}1]", "1,".repeat(1000)));
        assert!(long.contains("And 801 more") && long.len() < 10_000);
        assert!(page(&" ".repeat(MAX_SHOWN_BYTES + 1)).contains("read the file"));
        assert!(page(&"[".repeat(100_000)).contains("no JSON"));
        assert!(page("{\"a\":").contains("no JSON"));
    }

    #[test]
    fn keys_are_folded_and_times_are_dates() {
        let key = "k".repeat(MAX_WORD + 1);
        let page = page(
            &serde_json::json!({"device": [{
                "certificate": key, "registered_at": 1_795_290_071_000_u64, "about": "w ".repeat(50), "number": 1_795_290_071_000_u64,
                "seen_at": null, "kept_until": 5, "public": true, "last_seen_day": 20_786, "other_day": u64::MAX,
            }]})
            .to_string(),
        );
        assert!(
            page.contains(&format!("<details><summary>41 characters</summary><code>{key}</code></details>")),
            "{page}"
        );
        assert!(page.contains("registered at</th><td>2026-11-21 19:41:11 <span"), "{page}");
        assert!(page.contains("number</th><td>1795290071000</td>") && page.contains("kept until</th><td>5</td>"));
        assert!(
            page.contains("last seen day</th><td>2026-11-29 <span") && page.contains(">18446744073709551615<"),
            "{page}"
        );
        assert!(page.contains("public</th><td>yes</td>") && page.contains("none</span>"));
        assert_eq!(page.matches("<details>").count(), 1, "sentences are not folded: {page}");
        for (seconds, text) in [(951_782_399, "2000-02-28 23:59:59"), (951_782_400, "2000-02-29 00:00:00")] {
            assert_eq!(utc(seconds * 1000), text);
        }
        let manifest = html(&[ReportFile { name: "manifest.json".into(), content: b"{}".to_vec() }]);
        assert!(manifest.contains("<details><summary><h2>Manifest</h2>"), "{manifest}");
    }

    /// Relative luminance of `#rrggbb` (WCAG 2.2).
    fn luminance(colour: &str) -> f64 {
        let part = |at: usize| f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
        let linear = |part: f64| if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) };
        0.2126 * linear(part(1)) + 0.7152 * linear(part(3)) + 0.0722 * linear(part(5))
    }

    #[test]
    fn every_text_can_be_read_on_its_paper_and_no_other_style_is_obeyed() {
        let schemes: Vec<&str> = STYLE.split(":root {").skip(1).map(|block| block.split('}').next().unwrap()).collect();
        assert_eq!(schemes.len(), 2, "light and dark");
        for scheme in schemes {
            let value = |name: &str| scheme.split(name).nth(1).unwrap().split(';').next().unwrap().trim();
            for text in ["--ink:", "--soft:"] {
                let (one, other) = (luminance(value(text)), luminance(value("--paper:")));
                let contrast = (one.max(other) + 0.05) / (one.min(other) + 0.05);
                assert!(contrast >= 4.5, "{text} has {contrast:.2} to 1 in {scheme}");
            }
        }
        for colour in STYLE.split(" color: ").skip(1) {
            assert!(colour.starts_with("var(--ink)") || colour.starts_with("var(--soft)"), "{colour}");
        }
        let digest = format!("style-src 'sha256-{}'", BASE64.encode(&Sha256::digest(STYLE)));
        assert!(page("{}").contains(&digest) && !STYLE.contains("url(") && !STYLE.contains("@import"));
    }
}
