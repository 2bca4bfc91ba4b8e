//! The figures: as JSON, for a terminal, as a document.

use std::fmt::Write as _;

use serde::Serialize;

use crate::goals::Goal;
use crate::machine::Machine;
use crate::rows::Row;
use crate::sizes::Sizes;

/// One run.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// What was measured.
    pub rows: Vec<Row>,
    /// Where, and built how.
    pub machine: Machine,
    /// What the figures are to reach.
    pub goals: Vec<Goal>,
    /// Bytes.
    pub sizes: Sizes,
    /// Of contents and orders of arrival.
    pub seed: u64,
    /// How long the run was to take.
    pub seconds: u64,
}

/// Around what a run replaces in a document.
const BEGIN: &str = "<!-- figures: written by `kuvert-bench crypto --document`, not by hand -->\n";
const END: &str = "<!-- end of figures -->\n";

impl Report {
    /// The JSON document.
    ///
    /// # Errors
    /// Never: every field is a string, a number or null.
    pub fn json(&self) -> crate::Outcome<serde_json::Value> {
        Ok(serde_json::to_value(self)?)
    }

    /// Tables for a terminal.
    pub fn text(&self) -> String {
        plain(&self.markdown())
    }

    /// `document` with this run's figures between its two marks, and `sections` after them.
    pub fn insert_into(&self, document: &str, sections: &[String]) -> Option<String> {
        insert(document, (BEGIN, END), &[&[self.markdown()], sections].concat().join("\n"))
    }

    /// All tables as Markdown.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        self.conditions(&mut out);
        self.goals(&mut out);
        self.messages(&mut out);
        self.primitives(&mut out);
        self.bytes(&mut out);
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }

    fn conditions(&self, out: &mut String) {
        let Machine {
            processor,
            processors,
            instructions,
            system,
            load_before,
            load_after,
            compiler,
            target,
            profile,
            flags,
            versions,
            clock,
        } = &self.machine;
        out.push_str("### Conditions\n\n");
        table(
            out,
            &["", ""],
            [
                ["machine".into(), format!("{processor}, {processors} processors, {system}")],
                ["instruction sets".into(), instructions.join(" ")],
                ["load before, after".into(), format!("{load_before}; {load_after}")],
                ["clock".into(), (*clock).into()],
                ["compiler".into(), format!("{compiler}, {target}")],
                ["build".into(), format!("{profile}, flags `{flags}`")],
                ["versions".into(), versions.join(", ")],
                ["seed, seconds".into(), format!("{}, {}", self.seed, self.seconds)],
            ],
        );
    }

    fn goals(&self, out: &mut String) {
        out.push_str("### Goals\n\n");
        goals_table(out, &self.goals);
    }

    fn messages(&self, out: &mut String) {
        out.push_str("### Messages and sessions\n\n");
        let rows = self.rows.iter().filter(|row| !row.is_primitive()).map(|row| {
            [
                row.name.clone(),
                row.size.map_or_else(|| "–".into(), |size| size.to_string()),
                ns(row.ns),
                ns(row.spread_ns),
                ns(row.lower_bound_ns),
                ns(row.vodozemac_ns),
                ratio(row.ratio_to_bound),
                ratio(row.ratio_to_vodozemac),
                ns(row.post_quantum_ns),
                row.allocations.map_or_else(|| "–".into(), |count| format!("{count}")),
            ]
        });
        let heads = [
            "row",
            "size",
            "ns",
            "spread",
            "bound, ns",
            "vodozemac, ns",
            "times the bound",
            "times as fast as vodozemac",
            "Braid's share, ns",
            "allocations",
        ];
        table(out, &heads, rows);
        for row in &self.rows {
            if let Some(note) = row.note {
                let size = row.size.map_or_else(String::new, |size| format!(", {size} B"));
                let _ = writeln!(out, "- {}{size}: {note}.", row.name);
            }
        }
        out.push('\n');
    }

    fn primitives(&self, out: &mut String) {
        out.push_str("### Primitives\n\n");
        let rows = self.rows.iter().filter(|row| row.is_primitive()).map(|row| {
            let mut parts = row.name.split('/').skip(1).map(str::to_owned);
            [
                parts.next().unwrap_or_default(),
                row.size.map_or_else(|| "–".into(), |size| size.to_string()),
                parts.next().unwrap_or_default(),
                ns(row.ns),
                ns(row.spread_ns),
            ]
        });
        table(out, &["operation", "bytes", "backend", "ns", "spread"], rows);
    }

    fn bytes(&self, out: &mut String) {
        let Sizes {
            state,
            state_without_braid_buffers,
            state_largest,
            state_vodozemac,
            wire_overhead,
            wire_overhead_first,
            padding_256,
            wire_overhead_vodozemac,
        } = &self.sizes;
        out.push_str("### Bytes\n\n");
        let rows = [
            ("session record after one message each way", state),
            ("the same without the Braid's buffers", state_without_braid_buffers),
            ("the largest in 100 exchanges", state_largest),
            ("vodozemac's session as JSON", state_vodozemac),
            ("a message, over its padded content", wire_overhead),
            ("a message before the first answer, over its padded content", wire_overhead_first),
            ("padding of 256 B", padding_256),
            ("vodozemac's message, over 256 B", wire_overhead_vodozemac),
        ];
        table(out, &["what", "bytes"], rows.map(|(what, bytes)| [what.to_owned(), bytes.to_string()]));
    }
}

impl Row {
    fn is_primitive(&self) -> bool {
        self.name.starts_with("primitive/")
    }
}

fn ns(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), |value| format!("{value:.0}"))
}

fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), |value| format!("{value:.2}"))
}

/// A Markdown table; everything after the first column is a figure and stands at the right, unless there are two columns of words.
pub(crate) fn table<const N: usize>(out: &mut String, heads: &[&str; N], rows: impl IntoIterator<Item = [String; N]>) {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    out.push_str(&line(&heads.map(str::to_owned)));
    out.push_str(&format!("|{}\n", "---|".repeat(N)));
    for row in rows {
        out.push_str(&line(&row));
    }
    out.push('\n');
}

/// `document` with these figures between its two marks; `None` if it has none.
pub(crate) fn insert(document: &str, (begin, end): (&str, &str), figures: &str) -> Option<String> {
    let (before, rest) = document.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n{figures}\n{end}{after}"))
}

/// What is to be reached, and whether it is.
pub(crate) fn goals_table(out: &mut String, goals: &[Goal]) {
    let rows = goals.iter().map(|goal| {
        [
            goal.goal.into(),
            format!("{} {}", goal.bound, goal.limit),
            goal.figure.map_or_else(|| "–".into(), |figure| format!("{figure:.2}")),
            if goal.met { "yes" } else { "**no**" }.into(),
            goal.detail.clone(),
        ]
    });
    table(out, &["goal", "limit", "figure", "met", ""], rows);
}

/// Markdown tables with their columns aligned, for a terminal.
pub(crate) fn plain(markdown: &str) -> String {
    let mut out = String::new();
    let mut lines = markdown.lines().peekable();
    while let Some(line) = lines.next() {
        if !line.starts_with('|') {
            let _ = writeln!(out, "{}", line.trim_start_matches("### "));
            continue;
        }
        let mut rows = vec![cells(line)];
        while let Some(line) = lines.next_if(|line| line.starts_with('|')) {
            if !line.starts_with("|---") {
                rows.push(cells(line));
            }
        }
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for row in &rows {
            let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            let _ = writeln!(out, "{}", padded.collect::<Vec<_>>().join("  ").trim_end());
        }
    }
    out
}

fn cells(line: &str) -> Vec<String> {
    let inner = line.trim_start_matches("| ").trim_end_matches(" |");
    inner.split(" | ").map(|cell| cell.trim().trim_matches('*').replace('`', "")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align() {
        let text = plain("### Head\n\n| a | b |\n|---|---|\n| long | 1 |\n");
        assert_eq!(text, "Head\n\na     b\nlong  1\n");
    }
}
