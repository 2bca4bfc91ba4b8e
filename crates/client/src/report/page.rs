//! The page to read: what stands in the data, escaped, without scripts, styles or anything from elsewhere. The relay wrote the
//! data, so that a browser has to show every character of it as text.

use std::fmt::Write as _;

use serde_json::Value;

/// Bytes of a file that is shown: its values take ten times the memory while the page is made. A larger one is named.
const MAX_SHOWN_BYTES: usize = 4 << 20;

/// Rows of a list that are shown; the rest is counted.
const MAX_ROWS: usize = 200;

/// How deep values stand in each other where they are shown as tables.
const MAX_DEPTH: usize = 6;

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
    let mut out = String::from(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"referrer\" content=\"no-referrer\"><meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>What the relay says it holds</title></head><body>\n\
         <h1>What the relay says it holds</h1>\n\
         <p>This page was made by the program kuvert from the files beside it, which the relay sent. A page of the \
         relay's own, which its manifest names, was not taken. Times are Unix milliseconds.</p>\n",
    );
    files.iter().for_each(|file| section(&mut out, file));
    out.push_str("</body></html>\n");
    out
}

fn section(out: &mut String, file: &ReportFile) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "<h2>{}</h2>", escape(&file.name));
    if file.content.len() > MAX_SHOWN_BYTES {
        let _ = writeln!(out, "<p>{} bytes: read the file.</p>", file.content.len());
        return;
    }
    match serde_json::from_slice(&file.content) {
        Ok(value) => show(out, &value, 0),
        Err(_) => out.push_str("<p>This is no JSON: the relay sent something else.</p>"),
    }
    out.push('\n');
}

fn show(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(fields) if depth < MAX_DEPTH => {
            out.push_str("<table>");
            for (name, value) in fields.iter().take(MAX_ROWS) {
                let _ = write!(out, "<tr><th scope=\"row\">{}</th><td>", escape(name));
                show(out, value, depth + 1);
                out.push_str("</td></tr>\n");
            }
            out.push_str("</table>");
            rest(out, fields.len());
        }
        Value::Array(values) if depth < MAX_DEPTH => {
            out.push_str("<ol>");
            for value in values.iter().take(MAX_ROWS) {
                out.push_str("<li>");
                show(out, value, depth + 1);
                out.push_str("</li>\n");
            }
            out.push_str("</ol>");
            rest(out, values.len());
        }
        Value::String(text) => out.push_str(&escape(text)),
        Value::Null => out.push('–'),
        other => out.push_str(&escape(&other.to_string())),
    }
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
        for markup in ["<script", "<img", "<a ", "<link", "<style", "javascript:", "src="] {
            assert!(!page.replace("src=x", "").contains(markup), "{markup}: {page}");
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
}
