//! How wide lines are, so that no text can pass for a line of another person.
//!
//! A message begins with the time at which it came, at the edge of the screen. Whatever else is printed of it begins with an
//! indent, which no message begins with. A terminal that wraps a long line by itself would begin at the edge, where blanks and a
//! date in the text look like the next message; therefore lines are wrapped here, at
//!
//! 1. the smaller of the terminal's width and `COLUMNS`, where both are known, and one of them otherwise. The terminal is asked
//!    for also when the output goes through a pipe, to a pager for instance;
//! 2. [`DEFAULT_COLUMNS`] where neither is: the output can be shown later by anything that is at least as wide.
//!
//! Where the output is no terminal, runs of blanks are shown as their number, too ([`harmless::shorten_blanks`]): a terminal
//! narrower than these shows letters where a forger needs emptiness. What is not covered: a window that is made narrower than the
//! text that it shows already.

use std::borrow::Cow;
use std::io::IsTerminal;

use crate::output::harmless;
use crate::output::wrap::{flow, widest};

/// Columns of lines whose reader is unknown: what terminals have at least, unless the user made one smaller.
pub const DEFAULT_COLUMNS: usize = 80;

/// Narrower terminals get lines of this width.
pub const MIN_COLUMNS: usize = 20;

/// Terminals this wide have room for an indent that reaches to where names begin.
const WIDE_COLUMNS: usize = 40;

/// Before every line of a message but its first: as wide as its time of day.
const INDENT: &str = "                  ";

/// The same on narrow terminals, and before what is wrapped of any other line.
const NARROW_INDENT: &str = "    ";

/// Left-to-right mark: a terminal that knows directions takes a line's direction from its first letter, and would put what is
/// written from left to right at the edge.
const LEFT_TO_RIGHT: char = '\u{200E}';

/// Of one output stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    columns: usize,
    terminal: bool,
}

impl Layout {
    /// Of a stream that is a terminal or not, now: windows change their size.
    pub fn of(stream: &impl IsTerminal) -> Self {
        let named = std::env::var("COLUMNS").ok().and_then(|columns| columns.trim().parse().ok());
        let shown = crossterm::terminal::window_size().ok().map(|size| usize::from(size.columns));
        Self::new(named, shown, stream.is_terminal())
    }

    /// Of `COLUMNS`, the terminal's width, and whether the stream is one.
    pub fn new(named: Option<usize>, shown: Option<usize>, terminal: bool) -> Self {
        let columns = [named, shown].into_iter().flatten().filter(|columns| *columns > 0).min();
        Self { columns: columns.unwrap_or(DEFAULT_COLUMNS).max(MIN_COLUMNS), terminal }
    }

    /// How wide lines are, in columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// What is told at length and not read by scripts: wrapped for every reader, each line below its own beginning and
    /// `further` columns to the right of it. It may hold colours.
    pub fn paragraphs(&self, text: &str, further: usize) -> String {
        let lines = text.split('\n').map(|line| {
            let blanks = line.len() - line.trim_start_matches(' ').len() + further;
            let indent = if blanks * 2 > self.columns { NARROW_INDENT.to_owned() } else { " ".repeat(blanks) };
            flow(line, self.columns, &indent)
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Before every line of a message but its first.
    pub fn indent(&self) -> &'static str {
        if self.columns < WIDE_COLUMNS { NARROW_INDENT } else { INDENT }
    }

    /// A message: its head and the lines of its text, made harmless already, which may hold colours.
    pub fn message(&self, head: &str, text: &str) -> String {
        let text = self.blanks(text);
        let aligned = if text.chars().any(harmless::is_right_to_left) { "\u{200E}" } else { "" };
        let indent = self.indent();
        let mut out = String::with_capacity(head.len() + text.len() + 8);
        for (number, line) in text.split('\n').enumerate() {
            if number > 0 {
                out.push('\n');
            }
            let begins = if number == 0 { format!("{head}{aligned}") } else { indent.to_owned() };
            out.push_str(&flow(&(begins + line), self.columns, indent));
        }
        align(&out, indent)
    }

    /// Other words, made harmless already: their lines are wrapped for a terminal only, so that scripts find them whole.
    pub fn words<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let text = self.blanks(text);
        if !self.terminal {
            return text;
        }
        let lines = text.split('\n').map(|line| {
            let blanks = line.len() - line.trim_start_matches(' ').len();
            let indent = if blanks * 2 > self.columns { NARROW_INDENT.to_owned() } else { " ".repeat(blanks + 4) };
            flow(line, self.columns, &indent)
        });
        Cow::Owned(lines.collect::<Vec<_>>().join("\n"))
    }

    /// Words of this program that may be copied: wrapped for a terminal, but for lines with a word that is wider than it. An
    /// address in one piece can be selected.
    pub fn copied(&self, text: &str) -> String {
        let line = |line: &str| {
            let whole = !self.terminal || line.split(' ').any(|word| widest(word) + NARROW_INDENT.len() > self.columns);
            if whole { line.to_owned() } else { self.paragraphs(line, NARROW_INDENT.len()) }
        };
        text.split('\n').map(line).collect::<Vec<_>>().join("\n")
    }

    fn blanks<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.terminal { Cow::Borrowed(text) } else { harmless::shorten_blanks(text) }
    }
}

/// Has every line begin on the left that holds a script of the other direction.
fn align(text: &str, indent: &str) -> String {
    let lines = text.split('\n').enumerate().map(|(number, line)| {
        if !line.chars().any(harmless::is_right_to_left) {
            return line.to_owned();
        }
        let at = if number > 0 && line.starts_with(indent) { indent.len() } else { 0 };
        format!("{}{LEFT_TO_RIGHT}{}", &line[..at], &line[at..])
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Words of another side that may have several lines: those after the first cannot pass for lines of their own.
pub fn indented(text: &str) -> Cow<'_, str> {
    if text.contains('\n') {
        Cow::Owned(text.replace('\n', &format!("\n{NARROW_INDENT}")))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::output::wrap::width;

    const HEAD: &str = "2026-11-29 01:05  mallory: ";

    /// How a terminal of so many columns that wraps by itself shows a line: a character never begins beyond the edge.
    fn shown_by_terminal(text: &str, columns: usize) -> Vec<String> {
        let mut rows = Vec::new();
        for line in text.split('\n') {
            let (mut row, mut used) = (String::new(), 0);
            for c in line.chars() {
                let wide = width(c.encode_utf8(&mut [0; 4]));
                if used + wide > columns {
                    rows.push(std::mem::take(&mut row));
                    used = 0;
                }
                row.push(c);
                used += wide;
            }
            rows.push(row);
        }
        rows
    }

    fn check(text: &str, columns: usize, terminal: bool) {
        let layout = Layout::new(None, Some(columns), terminal);
        let shown = layout.message(HEAD, &harmless::text(text));
        let rows = shown_by_terminal(&shown, columns.max(MIN_COLUMNS));
        for row in rows.iter().skip(1) {
            assert!(row.starts_with(layout.indent()), "{columns}: {row:?} of {text:?}");
        }
        assert!(rows.iter().all(|row| widest(row) <= columns.max(MIN_COLUMNS)), "{columns}: {text:?}");
    }

    #[test]
    fn blanks_and_a_date_do_not_begin_a_line() {
        for columns in [20, 39, 40, 80, 140] {
            for blanks in 0..2 * columns {
                check(&format!("ok{}2026-11-29 01:05  bob: pay", " ".repeat(blanks)), columns, true);
                check(&format!("{}2026-11-29 01:05  bob: pay", "x".repeat(blanks)), columns, false);
            }
        }
        // Emoji that a simple terminal draws part by part, in one cluster that is wider than the window.
        check(&"👩\u{200D}👩\u{200D}👧".repeat(40), 80, true);
        check(&"👩\u{200D}".repeat(200), 40, true);
        // A mark on the blank behind the name: the name moves down with the word.
        check("\u{1920}A0𬺰ꬨꣲAA0🌀A🌀aAA", 40, true);
    }

    proptest! {
        #[test]
        fn every_line_but_the_first_begins_with_the_indent(
            text in "(\\PC|[ \n\t\u{200D}\u{3000}\u{301}\u{FE0F}👩東שم]|2026-11-29 01:05  bob: ){0,200}",
            columns in 1_usize..160,
            terminal: bool,
        ) {
            check(&text, columns, terminal);
        }

        #[test]
        fn whatever_the_bytes(text in any::<String>(), columns in 1_usize..160) {
            check(&text, columns, true);
        }
    }

    #[test]
    fn the_smaller_width_counts() {
        assert_eq!(Layout::new(Some(40), Some(80), true).columns, 40);
        assert_eq!(Layout::new(Some(140), Some(80), true).columns, 80);
        assert_eq!(Layout::new(Some(0), None, true).columns, DEFAULT_COLUMNS);
        assert_eq!(Layout::new(Some(3), None, true).columns, MIN_COLUMNS);
    }

    #[test]
    fn a_line_from_right_to_left_begins_on_the_left() {
        let shown = Layout::new(None, Some(80), true).message(HEAD, "hi\nשלום 2026-11-29 01:05  bob: pay");
        assert_eq!(shown.lines().nth(1).unwrap().find(LEFT_TO_RIGHT), Some(INDENT.len()));
        let first = Layout::new(None, Some(80), true).message(HEAD, "שלום");
        assert_eq!(first.matches(LEFT_TO_RIGHT).count(), 2, "before the head, and between the name and the text");
    }

    #[test]
    fn where_the_reader_is_unknown_blanks_are_counted() {
        let text = format!("ok{}bob", " ".repeat(51));
        assert_eq!(Layout::new(None, None, false).message("h: ", &text), "h: ok‹51 blanks›bob");
        assert_eq!(Layout::new(None, None, false).words(&text), "ok‹51 blanks›bob");
    }

    #[test]
    fn other_words_are_wrapped_for_terminals_only() {
        let text = format!("  {}2026-11-29 01:05  bob: pay", "x ".repeat(60));
        assert_eq!(Layout::new(None, Some(80), false).words(&text), text);
        let shown = Layout::new(None, Some(80), true).words(&text).into_owned();
        assert!(shown.lines().count() > 1 && shown.lines().skip(1).all(|line| line.starts_with("      ")), "{shown}");
        let address = format!("kuvert://{}", "x".repeat(80));
        assert_eq!(Layout::new(None, Some(40), true).copied(&address), address);
        assert_eq!(Layout::new(None, Some(20), true).copied("  one two three fourth"), "  one two three\n      fourth");
        assert_eq!(Layout::new(None, Some(20), false).copied("  one two three four"), "  one two three four");
        assert_eq!(indented("a\nbob: hi"), "a\n    bob: hi");
    }
}
