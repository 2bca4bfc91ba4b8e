//! The tables of `kuvert-bench timing` and `kuvert-bench client`.

#[cfg(feature = "program")]
use crate::client::ClientReport;
use crate::report::{plain, table};
use crate::timing::{LEAK, TimingReport};

impl TimingReport {
    /// The table as Markdown.
    pub fn markdown(&self) -> String {
        let mut out = String::from("### Timing\n\n");
        let rows = self.rows.iter().map(|row| {
            [
                row.name.to_owned(),
                row.classes.to_owned(),
                row.measurements.to_string(),
                format!("{:.0}", row.first_ns),
                format!("{:.0}", row.second_ns),
                format!("{:.1}", row.t),
                row.verdict.to_owned(),
            ]
        });
        let heads =
            ["operation", "classes of inputs", "measurements", "first, ns", "second, ns", "Welch's t", "verdict"];
        table(&mut out, &heads, rows);
        out.push_str(&format!("A leak is |t| > {LEAK}; the control has to show one.\n"));
        out
    }

    /// Tables for a terminal.
    pub fn text(&self) -> String {
        plain(&self.markdown())
    }
}

#[cfg(feature = "program")]
impl ClientReport {
    /// The tables as Markdown.
    pub fn markdown(&self) -> String {
        let mut out = String::from("### Client\n\n");
        let rows = self.rows.iter().map(|row| {
            [
                row.name.to_owned(),
                row.messages.to_string(),
                format!("{:.0}", row.per_second),
                format!("{:.0}", row.us),
                format!("{:.0}", row.store_us),
                format!("{:.2}", row.commits),
            ]
        });
        table(&mut out, &["row", "messages", "messages/s", "µs", "of these in the store, µs", "commits"], rows);
        out.push_str("### Memory\n\n");
        let memory = &self.memory;
        let bytes = |bytes: Option<f64>| bytes.map_or_else(|| "–".into(), |bytes| format!("{bytes:.0}"));
        let rows = [
            (format!("a session held in memory, of {}", memory.sessions), bytes(memory.held)),
            (format!("a session in the store, of {}", memory.sessions), bytes(Some(memory.stored))),
            (
                format!("a client that opens a store with {} of them and writes to one", memory.sessions),
                bytes(memory.client),
            ),
        ];
        table(&mut out, &["what", "bytes"], rows.map(|(what, bytes)| [what, bytes]));
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }

    /// Tables for a terminal.
    pub fn text(&self) -> String {
        plain(&self.markdown())
    }
}
