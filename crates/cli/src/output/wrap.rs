//! Lines that fit a width, measured in terminal columns: an ideograph takes two, a combining mark none.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Columns that a text takes on a terminal.
pub fn width(text: &str) -> usize {
    text.width()
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
        let visible = self::width(word.trim_end_matches(' '));
        if used > 0 && used + visible > width {
            lines.push(finish(&mut current));
            used = 0;
        }
        if visible > width {
            for grapheme in word.graphemes(true) {
                let columns = self::width(grapheme);
                if used > 0 && used + columns > width {
                    lines.push(finish(&mut current));
                    used = 0;
                }
                current.push_str(grapheme);
                used += columns;
            }
        } else {
            current.push_str(word);
            used += self::width(word);
        }
    }
    lines.push(finish(&mut current));
    lines
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
        // One family, several code points: never torn apart.
        assert_eq!(wrap("👩‍👩‍👧👩‍👩‍👧", 2), ["👩‍👩‍👧", "👩‍👩‍👧"]);
    }

    #[test]
    fn no_line_is_too_wide() {
        let text = "Ein längerer Text mit 東京 und 👩‍👩‍👧 und Donaudampfschifffahrtsgesellschaft  darin ";
        for columns in 2..40 {
            for line in wrap(text, columns) {
                assert!(width(&line) <= columns, "{columns}: {line:?}");
            }
        }
    }

    #[test]
    fn shortening_says_that_something_is_missing() {
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("abcd", 3), "ab…");
        assert_eq!(shorten("東京都", 4), "東…");
        assert_eq!(shorten("abc", 0), "");
    }
}
