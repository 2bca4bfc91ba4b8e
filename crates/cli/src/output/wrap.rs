//! Lines that fit a width, measured in terminal columns: an ideograph takes two, a combining mark none.

use std::sync::LazyLock;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Columns that a text takes on a terminal.
pub fn width(text: &str) -> usize {
    text.width()
}

/// Columns that a text takes on a terminal at most: one that does not join the parts of an emoji or a ligature draws them side
/// by side, and one for Chinese, Japanese or Korean draws some letters and signs twice as wide as others do.
pub fn widest(text: &str) -> usize {
    static EAST_ASIAN: LazyLock<bool> = LazyLock::new(|| {
        let set = |name| std::env::var(name).ok().filter(|locale| !locale.is_empty());
        ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).is_some_and(|locale| is_east_asian(&locale))
    });
    widest_on(text, *EAST_ASIAN)
}

fn widest_on(text: &str, east_asian: bool) -> usize {
    let (whole, each): (usize, fn(char) -> Option<usize>) =
        if east_asian { (text.width_cjk(), |c| c.width_cjk()) } else { (text.width(), |c| c.width()) };
    whole.max(text.chars().filter_map(each).sum())
}

fn is_east_asian(locale: &str) -> bool {
    ["zh", "ja", "ko"].iter().any(|language| locale.starts_with(language))
}

/// Lays out one line, which may hold colours, in lines of at most `width` columns, between words where possible. Every line after
/// the first begins with `indent`. Nothing that is drawn is wider on any terminal that this knows of: a terminal that wraps by
/// itself begins at the edge, where a text of another person could pass for a line of its own.
pub fn flow(line: &str, width: usize, indent: &str) -> String {
    let mut flow =
        Flow { width, indent, out: String::new(), line: String::new(), used: 0, filled: 0, last_break: None };
    let mut rest = line;
    while !rest.is_empty() {
        let (plain, colour) = split_colour(rest);
        plain.graphemes(true).for_each(|grapheme| flow.add(grapheme));
        flow.line.push_str(colour);
        rest = &rest[plain.len() + colour.len()..];
    }
    flow.out.push_str(&flow.line);
    flow.out
}

/// The text up to the next colour, and the colour. Only a painter writes escape sequences: those of others are no more.
fn split_colour(text: &str) -> (&str, &str) {
    let Some(start) = text.find('\x1b') else { return (text, "") };
    let end = text[start..].find('m').map_or(text.len(), |end| start + end + 1);
    (&text[..start], &text[start..end])
}

struct Flow<'a> {
    width: usize,
    indent: &'a str,
    out: String,
    line: String,
    /// Columns of `line`.
    used: usize,
    /// Columns of `line` that its indent takes.
    filled: usize,
    /// Behind the last blank of `line`: the byte, and the columns up to there.
    last_break: Option<(usize, usize)>,
}

impl Flow<'_> {
    fn add(&mut self, grapheme: &str) {
        let columns = widest(grapheme);
        if columns + self.indent.len() > self.width && grapheme.chars().nth(1).is_some() {
            return pieces(grapheme, self.width - self.indent.len()).into_iter().for_each(|piece| self.add(piece));
        }
        // Twice where the word that moves down with it leaves no room either.
        while self.used + columns > self.width && self.used > self.filled {
            if grapheme == " " {
                // Blanks at the end of a line are not shown: they could be wider than the line.
                return self.last_break = Some((self.line.len(), self.used));
            }
            self.break_line();
        }
        self.line.push_str(grapheme);
        self.used += columns;
        // Blanks at the beginning are no place to break.
        if grapheme == " " && !self.line.trim_start_matches(' ').is_empty() {
            self.last_break = Some((self.line.len(), self.used));
        }
    }

    fn break_line(&mut self) {
        let (at, columns) = self.last_break.take().unwrap_or((self.line.len(), self.used));
        let tail = self.line.split_off(at);
        self.out.push_str(self.line.trim_end_matches(' '));
        self.out.push('\n');
        self.line = format!("{}{tail}", self.indent);
        self.filled = self.indent.len();
        self.used = self.filled + (self.used - columns);
    }
}

/// Breaks a text into lines of at most `width` columns, between words where possible. At least one line.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    text.split('\n').flat_map(|line| wrap_line(line, width)).collect()
}

/// The beginning of a text that fits `width` columns, with `…` where something was cut.
pub fn shorten(text: &str, width: usize) -> String {
    if self::width(text) <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 1; // for the …
    for grapheme in text.graphemes(true) {
        used += self::width(grapheme);
        if used > width {
            break;
        }
        out.push_str(grapheme);
    }
    if width > 0 {
        out.push('…');
    }
    out
}

fn wrap_line(line: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = String::new();
    let mut used = 0;
    for word in line.split_inclusive(' ') {
        let visible = widest(word.trim_end_matches(' '));
        if used > 0 && used + visible > width {
            lines.push(finish(&mut current));
            used = 0;
        }
        if visible > width {
            for grapheme in word.graphemes(true).flat_map(|grapheme| pieces(grapheme, width)) {
                let columns = widest(grapheme);
                if used > 0 && used + columns > width {
                    lines.push(finish(&mut current));
                    used = 0;
                }
                current.push_str(grapheme);
                used += columns;
            }
        } else {
            current.push_str(word);
            used += widest(word);
        }
    }
    lines.push(finish(&mut current));
    lines
}

/// A cluster; or its characters, where some terminals show them side by side beyond the edge.
fn pieces(grapheme: &str, width: usize) -> Vec<&str> {
    if widest(grapheme) <= width {
        return vec![grapheme];
    }
    grapheme.split_inclusive(|_: char| true).filter(|piece| !piece.is_empty()).collect()
}

/// Blanks at the end of a broken line are not shown: they could be wider than the line.
fn finish(current: &mut String) -> String {
    let kept = current.trim_end_matches(' ').len();
    current.truncate(kept);
    std::mem::take(current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_between_words() {
        assert_eq!(wrap("the quick brown fox", 9), ["the quick", "brown fox"]);
        assert_eq!(wrap("", 9), [""]);
        assert_eq!(wrap("a\n\nb", 9), ["a", "", "b"]);
    }

    #[test]
    fn breaks_long_words_between_characters_as_people_see_them() {
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("東京都庁", 5), ["東京", "都庁"]);
        // One family, several code points: not torn apart where there is room for terminals that draw each of them.
        assert_eq!(wrap("👩‍👩‍👧👩‍👩‍👧", 7), ["👩‍👩‍👧", "👩‍👩‍👧"]);
        assert_eq!(wrap(&"👩\u{200D}".repeat(9), 6).len(), 3);
    }

    #[test]
    fn no_line_is_too_wide() {
        let text = "Ein längerer Text mit 東京 und 👩‍👩‍👧 und Donaudampfschifffahrtsgesellschaft  darin ";
        for columns in 2..40 {
            for line in wrap(text, columns) {
                assert!(widest(&line) <= columns, "{columns}: {line:?}");
            }
        }
    }

    #[test]
    fn a_line_with_colours_flows_and_every_further_line_is_indented() {
        assert_eq!(flow("the quick brown fox", 10, "  "), "the quick\n  brown\n  fox");
        assert_eq!(flow("\x1b[1mthe quick\x1b[0m brown", 9, " "), "\x1b[1mthe quick\x1b[0m\n brown");
        assert_eq!(flow("abcdefgh", 4, " "), "abcd\n efg\n h");
        assert_eq!(flow("ok        2026", 5, "  "), "ok\n  202\n  6");
        // A terminal that knows no joined emoji draws six columns.
        assert_eq!(flow("👩‍👩‍👧👩‍👩‍👧", 8, " "), "👩‍👩‍👧\n 👩‍👩‍👧");
        assert_eq!(flow(&"👩\u{200D}".repeat(9), 20, " ").lines().count(), 1);
    }

    #[test]
    fn the_widest_that_a_terminal_draws_counts() {
        assert_eq!(widest_on("👩‍👩‍👧", false), 6);
        assert_eq!(widest_on("❤️", false), 2);
        assert_eq!((widest_on("±§", false), widest_on("±§", true)), (2, 4));
        assert!(is_east_asian("ja_JP.UTF-8") && !is_east_asian("de_DE.UTF-8") && !is_east_asian("C"));
    }

    #[test]
    fn shortening_says_that_something_is_missing() {
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("abcd", 3), "ab…");
        assert_eq!(shorten("東京都", 4), "東…");
        assert_eq!(shorten("abc", 0), "");
    }
}
