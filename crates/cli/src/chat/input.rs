//! The line that the user writes. The cursor stands between characters as people see them (grapheme clusters).

use unicode_segmentation::UnicodeSegmentation;

use crate::output::harmless;
use crate::output::wrap::width;

/// Text and cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputLine {
    text: String,
    /// Byte index, always between two grapheme clusters.
    cursor: usize,
}

impl InputLine {
    /// Whether nothing was written.
    pub fn is_blank(&self) -> bool {
        kuvert_client::is_invisible(&self.text)
    }

    /// Takes the text out and leaves an empty line.
    pub fn take(&mut self) -> String {
        self.cursor = 0;
        std::mem::take(&mut self.text)
    }

    /// Puts a text back that could not be sent.
    pub fn restore(&mut self, text: String) {
        self.cursor = text.len();
        self.text = text;
    }

    /// Writes at the cursor.
    pub fn insert(&mut self, text: &str) {
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
        // What was written may join its neighbours to one cluster.
        self.cursor = self.boundary_from(self.cursor);
    }

    /// Deletes the character before the cursor.
    pub fn backspace(&mut self) {
        self.delete(self.left_of(self.cursor), self.cursor);
    }

    /// Deletes the character behind the cursor.
    pub fn delete_forward(&mut self) {
        self.delete(self.cursor, self.right_of(self.cursor));
    }

    /// Deletes the word before the cursor.
    pub fn delete_word(&mut self) {
        self.delete(self.word_left_of(self.cursor), self.cursor);
    }

    /// Deletes everything before the cursor.
    pub fn delete_to_start(&mut self) {
        self.delete(0, self.cursor);
    }

    /// Deletes everything behind the cursor.
    pub fn delete_to_end(&mut self) {
        self.delete(self.cursor, self.text.len());
    }

    /// One character to the left.
    pub fn left(&mut self) {
        self.cursor = self.left_of(self.cursor);
    }

    /// One character to the right.
    pub fn right(&mut self) {
        self.cursor = self.right_of(self.cursor);
    }

    /// One word to the left.
    pub fn word_left(&mut self) {
        self.cursor = self.word_left_of(self.cursor);
    }

    /// One word to the right.
    pub fn word_right(&mut self) {
        let rest = &self.text[self.cursor..];
        let blanks = rest.len() - rest.trim_start().len();
        let word = rest[blanks..].find(char::is_whitespace).unwrap_or(rest.len() - blanks);
        // A blank can carry a combining mark: then the word ends behind both.
        self.cursor = self.boundary_from(self.cursor + blanks + word);
    }

    /// To the beginning.
    pub fn home(&mut self) {
        self.cursor = 0;
    }

    /// To the end.
    pub fn end(&mut self) {
        self.cursor = self.text.len();
    }

    /// The part of the line that fits `columns`, with the cursor in it, and the cursor's column therein.
    pub fn window(&self, columns: usize) -> (String, usize) {
        let columns = columns.max(2);
        let before = shown(&self.text[..self.cursor]);
        // Drop from the left until the cursor fits, with one column for the cursor itself.
        let mut start = 0;
        let mut cursor = width(&before);
        for (index, grapheme) in before.grapheme_indices(true) {
            if cursor < columns {
                break;
            }
            start = index + grapheme.len();
            cursor -= width(grapheme);
        }
        let mut out = before[start..].to_owned();
        let mut used = cursor;
        for grapheme in shown(&self.text[self.cursor..]).graphemes(true) {
            used += width(grapheme);
            if used > columns {
                break;
            }
            out.push_str(grapheme);
        }
        (out, cursor)
    }

    fn delete(&mut self, from: usize, to: usize) {
        self.text.replace_range(from..to, "");
        self.cursor = self.boundary_from(from);
    }

    fn left_of(&self, index: usize) -> usize {
        self.text[..index].grapheme_indices(true).next_back().map_or(0, |(start, _)| start)
    }

    fn right_of(&self, index: usize) -> usize {
        self.text[index..].graphemes(true).next().map_or(index, |grapheme| index + grapheme.len())
    }

    fn word_left_of(&self, index: usize) -> usize {
        let before = self.text[..index].trim_end();
        let blank = |start: usize| start + before[start..].chars().next().map_or(1, char::len_utf8);
        self.boundary_from(before.rfind(char::is_whitespace).map_or(0, blank)).min(index)
    }

    /// The first boundary between grapheme clusters at or behind a place.
    fn boundary_from(&self, place: usize) -> usize {
        self.text
            .grapheme_indices(true)
            .map(|(start, _)| start)
            .find(|start| *start >= place)
            .unwrap_or(self.text.len())
    }
}

/// Line feeds stand in the line as a mark; everything else as in a message.
fn shown(text: &str) -> String {
    harmless::text(text).replace('\n', "⏎")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> InputLine {
        let mut line = InputLine::default();
        line.insert(text);
        line
    }

    #[test]
    fn edits_by_characters_as_people_see_them() {
        let mut input = line("a👩‍👩‍👧e\u{301}");
        input.backspace();
        assert_eq!(input.text, "a👩‍👩‍👧");
        input.left();
        input.insert("x");
        assert_eq!(input.text, "ax👩‍👩‍👧");
        input.delete_forward();
        assert_eq!(input.text, "ax");
    }

    #[test]
    fn words() {
        let mut input = line("one two  three");
        input.delete_word();
        assert_eq!(input.text, "one two  ");
        input.word_left();
        input.delete_to_start();
        assert_eq!(input.text, "two  ");
        input.word_right();
        assert_eq!(input.cursor, 3);
        input.delete_to_end();
        assert_eq!(input.text, "two");
    }

    #[test]
    fn a_joining_character_leaves_the_cursor_between_clusters() {
        let mut input = line("\u{1F469}\u{1F467}");
        input.left();
        input.insert("\u{200D}");
        assert!(input.text.is_char_boundary(input.cursor));
        assert!(input.boundary_from(input.cursor) == input.cursor);
        input.backspace();
        assert_eq!(input.text, "");
    }

    #[test]
    fn the_window_follows_the_cursor_and_counts_columns() {
        let mut input = line("東京都庁前");
        assert_eq!(input.window(6), ("庁前".to_owned(), 4));
        input.home();
        assert_eq!(input.window(6), ("東京都".to_owned(), 0));
        assert_eq!(line("ab\ncd").window(20), ("ab⏎cd".to_owned(), 5));
        assert_eq!(line("").window(20), (String::new(), 0));
    }

    #[test]
    fn any_sequence_of_edits_keeps_the_cursor_in_place() {
        // All pairs of operations on a text with clusters of every kind.
        let operations: [fn(&mut InputLine); 12] = [
            InputLine::backspace,
            InputLine::delete_forward,
            InputLine::delete_word,
            InputLine::left,
            InputLine::right,
            InputLine::word_left,
            InputLine::word_right,
            InputLine::home,
            InputLine::end,
            |input| input.insert("\u{301}"),
            |input| input.insert("🇩"),
            |input| input.insert(" "),
        ];
        for first in operations {
            for second in operations {
                for third in operations {
                    let mut input = line("🇩🇪 e\u{301}x 👩‍👩‍👧");
                    for operation in [first, second, third, first, second] {
                        operation(&mut input);
                        assert!(input.boundary_from(input.cursor) == input.cursor, "{input:?}");
                        let (shown, cursor) = input.window(5);
                        assert!(width(&shown) <= 5 && cursor < 5, "{shown:?} {cursor}");
                    }
                }
            }
        }
    }
}
