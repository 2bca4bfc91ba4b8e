//! `index.html`: the report to read. One file, without scripts, without anything from elsewhere, for screens and paper.

use std::fmt::Write as _;

use kuvert_types::AccountId;
use serde_json::{Map, Value};

use crate::registry;
use crate::time::utc;

/// Rows of a table that are shown; the JSON file has all.
const ROWS_SHOWN: usize = 200;

/// A word longer than this is a key, a signature or the like: it is folded.
const MAX_WORD: usize = 40;

/// Every colour of a text has a contrast of 4.5 to 1 at least with the paper, light and dark.
const STYLE: &str = "
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1d2126; --soft: #5a636e; --line: #8888; }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #14171b; --ink: #e8e6e1; --soft: #a3abb5; } }
body { color: var(--ink); background: var(--paper); font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); } h3 { margin-bottom: .3rem; }
table { border-collapse: collapse; width: 100%; margin-bottom: 1rem; }
td, th { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line); font-weight: normal; }
th { width: 30%; } .meaning, .none { color: var(--soft); font-size: .9em; }
@media print { body { max-width: none; margin: 0; font-size: 10pt; } h2 { break-after: avoid; } tr { break-inside: avoid; } }
";

/// The page over the report's other files.
pub fn html(documents: &[(String, Value)], account: &AccountId, now: u64) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>Account report</title><style>{STYLE}</style></head><body>\n<h1>What this relay holds about the account {}</h1>\n\
         <p>Made {}. Each part is also a file for programs; <code>manifest.json</code> has their SHA-256.</p>\n",
        escape(&account.to_string()),
        utc(now),
    );
    for (name, document) in documents {
        let _ = writeln!(out, "<h2>{}</h2><p class=\"meaning\">{}</p>", title(name), escape(name));
        match document {
            Value::Object(parts) => parts.iter().for_each(|(part, value)| section(&mut out, part, value)),
            other => cell(&mut out, None, other),
        }
    }
    out.push_str("</body></html>\n");
    out
}

/// `account_information.json` as people write it.
fn title(name: &str) -> String {
    let words = name.trim_end_matches(".json").replace('_', " ");
    let mut letters = words.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    escape(&format!("{first}{}", letters.as_str()))
}

fn section(out: &mut String, part: &str, value: &Value) {
    let _ = writeln!(out, "<h3>{}</h3>", escape(&part.replace('_', " ")));
    match value {
        Value::Array(rows) if rows.is_empty() => out.push_str("<p class=\"none\">Nothing.</p>\n"),
        Value::Array(rows) => {
            for row in rows.iter().take(ROWS_SHOWN) {
                match row {
                    Value::Object(columns) => table(out, part, columns),
                    other => {
                        out.push_str("<p>");
                        cell(out, None, other);
                        out.push_str("</p>\n");
                    }
                }
            }
            if rows.len() > ROWS_SHOWN {
                let _ = writeln!(out, "<p class=\"none\">And {} more, in the JSON file.</p>", rows.len() - ROWS_SHOWN);
            }
        }
        other => {
            out.push_str("<p>");
            cell(out, None, other);
            out.push_str("</p>\n");
        }
    }
}

fn table(out: &mut String, part: &str, columns: &Map<String, Value>) {
    out.push_str("<table>\n");
    for (column, value) in columns {
        let field = registry::all().find(|field| field.table == part && field.column == column);
        let _ = write!(out, "<tr><th scope=\"row\">{}", escape(&column.replace('_', " ")));
        if let Some(field) = field {
            let _ = write!(out, "<br><span class=\"meaning\">{}</span>", escape(field.meaning));
        }
        out.push_str("</th><td>");
        let time = column.ends_with("_at") || column.ends_with("_until") || column == "at" || column == "since";
        cell(out, time.then_some(()), value);
        out.push_str("</td></tr>\n");
    }
    out.push_str("</table>\n");
}

/// `time`: the number is a moment.
fn cell(out: &mut String, time: Option<()>, value: &Value) {
    match value {
        Value::Null => out.push_str("<span class=\"none\">none</span>"),
        Value::Bool(yes) => out.push_str(if *yes { "yes" } else { "no" }),
        Value::Number(number) => match (time, number.as_u64()) {
            (Some(()), Some(at)) => out.push_str(&utc(at)),
            _ => out.push_str(&number.to_string()),
        },
        Value::String(text) if text.len() > MAX_WORD && !text.contains(char::is_whitespace) => {
            let (count, text) = (text.chars().count(), escape(text));
            let _ = write!(out, "<details><summary>{count} characters</summary><code>{text}</code></details>");
        }
        Value::String(text) => out.push_str(&escape(text)),
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push_str("<br>");
                }
                cell(out, time, value);
            }
        }
        Value::Object(_) => out.push_str(&escape(&value.to_string())),
    }
}

/// Text as it may stand in an element or a quoted attribute.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter if letter.is_control() && letter != '\n' && letter != '\t' => out.push('\u{fffd}'),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Relative luminance of `#rrggbb` (WCAG 2.2).
    fn luminance(colour: &str) -> f64 {
        let part = |at: usize| f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
        let linear = |part: f64| if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) };
        0.2126 * linear(part(1)) + 0.7152 * linear(part(3)) + 0.0722 * linear(part(5))
    }

    #[test]
    fn every_text_can_be_read_on_its_paper() {
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
        // No text has a colour that is not among them.
        for colour in STYLE.split(" color: ").skip(1) {
            assert!(colour.starts_with("var(--ink)") || colour.starts_with("var(--soft)"), "{colour}");
        }
    }

    #[test]
    fn nothing_in_the_report_can_be_markup() {
        let hostile = "</td><script>alert(1)</script>\" onload='x' \u{1b}[2J";
        let documents = [
            ("account_information.json".to_owned(), json!({ "profile": [{ "about": hostile, "about_at": 0 }] })),
            (format!("{hostile}.json"), json!({ hostile: [hostile, { hostile: [hostile, { "a": hostile }] }] })),
        ];
        let page = html(&documents, &AccountId::from_bytes([1; 16]), 0);
        assert!(!page.contains("<script") && !page.contains("onload='") && !page.contains('\u{1b}'), "{page}");
        assert!(page.contains("&lt;script&gt;") && page.contains("1970-01-01 00:00:00 UTC"));
        assert!(!page.contains("http://") && !page.contains("src="), "nothing is loaded");
        assert!(page.contains("prefers") || page.contains("color-scheme: light dark"));
    }

    #[test]
    fn a_long_table_says_how_much_is_left() {
        let rows: Vec<Value> = (0..250).map(|n| json!({ "number": n })).collect();
        let page = html(&[("queue.json".to_owned(), json!({ "envelope": rows }))], &AccountId::from_bytes([1; 16]), 0);
        assert!(page.contains("And 50 more"));
    }
}
