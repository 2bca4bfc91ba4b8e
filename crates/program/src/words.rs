//! What a program writes for people: with colours or without, and how wide. The same for all programs.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;

/// Columns where no terminal and no `COLUMNS` tells of another width.
pub const DEFAULT_COLUMNS: usize = 80;

/// Help is wrapped at this width on terminals that are wider: longer lines are hard to read.
const WIDEST_HELP: usize = 100;

/// Help on terminals that are narrower is wrapped at this width.
const NARROWEST_HELP: usize = 40;

/// Whether a stream takes colours: it is a terminal, `TERM` does not say that it is dumb or unknown, and `NO_COLOR`
/// (<https://no-color.org>) is unset or empty.
pub fn takes_colours(stream: &impl IsTerminal) -> bool {
    let variable = |name| std::env::var_os(name);
    stream.is_terminal() && wants_colours(variable("NO_COLOR").as_deref(), variable("TERM").as_deref())
}

fn wants_colours(no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    no_color.is_none_or(OsStr::is_empty) && term.is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// Columns of a stream: the smaller of its terminal's width and `COLUMNS`, or the one that is known, or
/// [`DEFAULT_COLUMNS`].
pub fn columns(stream: &impl AsFd) -> usize {
    let shown = rustix::termios::tcgetwinsize(stream).ok().map(|size| usize::from(size.ws_col));
    let named = std::env::var("COLUMNS").ok().and_then(|columns| columns.trim().parse().ok());
    [shown, named].into_iter().flatten().filter(|columns| *columns > 0).min().unwrap_or(DEFAULT_COLUMNS)
}

/// Before what is wrapped of a line, beyond its own indent.
const FURTHER: usize = 4;

/// Lines for people, on the way to stdout: on a terminal those that are too wide are broken between words. Elsewhere they stay
/// whole, so that scripts find them.
#[derive(Debug)]
pub struct Lines<W: Write> {
    out: W,
    columns: Option<usize>,
    line: Vec<u8>,
}

impl<W: Write> Lines<W> {
    /// For stdout, behind `out`.
    pub fn of_stdout(out: W) -> Self {
        let columns = io::stdout().is_terminal().then(|| columns(&io::stdout()));
        Self { out, columns, line: Vec::new() }
    }
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(columns) = self.columns else { return self.out.write(bytes) };
        for byte in bytes {
            self.line.push(*byte);
            if *byte == b'\n' {
                let line = broken(&String::from_utf8_lossy(&self.line), columns);
                self.line.clear();
                self.out.write_all(line.as_bytes())?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&std::mem::take(&mut self.line))?;
        self.out.flush()
    }
}

/// A line in lines of at most so many columns, except for words that are wider.
fn broken(line: &str, columns: usize) -> String {
    if visible(line.trim_end_matches('\n')) <= columns {
        return line.to_owned();
    }
    let indent = line.len() - line.trim_start_matches(' ').len() + FURTHER;
    let (mut out, mut used) = (String::with_capacity(line.len() + indent), 0);
    for word in line.split_inclusive(' ') {
        if used > indent && used + visible(word.trim_end_matches([' ', '\n'])) > columns {
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            used = indent;
        }
        out.push_str(word);
        used += visible(word);
    }
    out
}

/// Characters that are seen: colours (`ESC [ … m`) are not.
fn visible(text: &str) -> usize {
    let mut count = 0;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => drop(characters.by_ref().find(|end| *end == 'm')),
            _ => count += 1,
        }
    }
    count
}

/// The name that usage lines show: that of the program's file, or words such as `kuvert demo` by which another program called it.
pub fn called(arguments: &[OsString], otherwise: &str) -> String {
    let Some(first) = arguments.first() else { return otherwise.to_owned() };
    Path::new(first).file_name().unwrap_or(first).to_string_lossy().into_owned()
}

/// A command line whose help fits the width of stdout.
pub fn fitted(command: clap::Command) -> clap::Command {
    command.term_width(columns(&io::stdout()).clamp(NARROWEST_HELP, WIDEST_HELP))
}

/// Prints help or version on stdout, and what is wrong with a command line on stderr.
pub fn print(error: &clap::Error) {
    let words = error.render();
    let text = |colours| if colours { words.ansi().to_string() } else { words.to_string() };
    // A reader that left has seen enough.
    let _ = if error.use_stderr() {
        let text = text(takes_colours(&io::stderr()));
        let columns = if io::stderr().is_terminal() { columns(&io::stderr()) } else { usize::MAX };
        let fitted: String = text.split_inclusive('\n').map(|line| broken(line, columns)).collect();
        io::stderr().write_all(fitted.as_bytes())
    } else {
        io::stdout().write_all(text(takes_colours(&io::stdout())).as_bytes())
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_and_below_their_indent() {
        assert_eq!(broken("  a key    0123456789\n", 20), "  a key\n      0123456789\n");
        assert_eq!(broken("  a key    0123456789\n", 21), "  a key    0123456789\n");
        assert_eq!(broken("  one two three four\n", 12), "  one two\n      three\n      four\n");
        assert_eq!(broken("\u{1b}[1mone\u{1b}[0m two\n", 7), "\u{1b}[1mone\u{1b}[0m two\n", "colours have no width");
        let mut lines = Lines { out: Vec::new(), columns: Some(12), line: Vec::new() };
        write!(lines, "  one two ").and_then(|()| writeln!(lines, "three")).and_then(|()| lines.flush()).unwrap();
        assert_eq!(lines.out, b"  one two\n      three\n");
    }

    #[test]
    fn colours_go_to_terminals_that_know_them_and_to_users_who_want_them() {
        let wants =
            |no_color: Option<&str>, term: Option<&str>| wants_colours(no_color.map(OsStr::new), term.map(OsStr::new));
        assert!(wants(None, Some("xterm")) && wants(Some(""), Some("xterm")));
        for (no_color, term) in [(Some("1"), Some("xterm")), (None, Some("dumb")), (None, Some("")), (None, None)] {
            assert!(!wants(no_color, term), "{no_color:?} {term:?}");
        }
    }
}
