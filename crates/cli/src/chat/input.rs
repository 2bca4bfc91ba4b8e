//! What the user writes: one line or several. The cursor stands between characters as people see them (grapheme clusters).

use unicode_segmentation::UnicodeSegmentation;

use crate::output::harmless;
use crate::output::wrap::{widest, width};

/// Bytes that can be written and pasted: what is kept of a draft.
pub const MAX_INPUT_BYTES: usize = kuvert_client::MAX_DRAFT_BYTES;

/// Text and cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    text: String,
    /// Byte index, always between two grapheme clusters.
    cursor: usize,
}

impl Input {
    /// Whether nothing was written.
    pub fn is_blank(&self) -> bool {
        kuvert_client::is_invisible(&self.text)
    }

    /// What was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Takes the text out and leaves an empty line.
    pub fn take(&mut self) -> String {
        self.cursor = 0;
        std::mem::take(&mut self.text)
    }

    /// Puts a text here in place of what was written, with the cursor behind it.
    pub fn restore(&mut self, text: String) {
        self.cursor = text.len();
        self.text = text;
    }

    /// Writes at the cursor; false where there is no room, and nothing is written.
    pub fn insert(&mut self, text: &str) -> bool {
        if self.text.len().saturating_add(text.len()) > MAX_INPUT_BYTES {
            return false;
        }
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
        // What was written may join its neighbours to one cluster.
        self.cursor = self.boundary_from(self.cursor);
        true
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

    /// Deletes everything before the cursor in its line.
    pub fn delete_to_start(&mut self) {
        self.delete(self.line_start(), self.cursor);
    }

    /// Deletes everything behind the cursor in its line.
    pub fn delete_to_end(&mut self) {
        self.delete(self.cursor, self.line_end());
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

    /// To the beginning of the line.
    pub fn home(&mut self) {
        self.cursor = self.line_start();
    }

    /// To the end of the line.
    pub fn end(&mut self) {
        self.cursor = self.line_end();
    }

    /// One row up, of rows of so many columns; false in the first one.
    pub fn up(&mut self, columns: usize) -> bool {
        self.move_to_row(columns, |row| row.checked_sub(1))
    }

    /// One row down, of rows of so many columns; false in the last one.
    pub fn down(&mut self, columns: usize) -> bool {
        self.move_to_row(columns, |row| row.checked_add(1))
    }

    fn move_to_row(&mut self, columns: usize, to: impl Fn(usize) -> Option<usize>) -> bool {
        let places = self.places(columns);
        let Some((_, row, column)) = places.iter().find(|(at, ..)| *at == self.cursor).copied() else { return false };
        let wanted = to(row);
        let there = places.iter().filter(|(_, row, _)| Some(*row) == wanted);
        let Some((at, ..)) = there.min_by_key(|(_, _, there)| there.abs_diff(column)) else { return false };
        self.cursor = *at;
        true
    }

    /// Every place of the cursor, with the row and column in which it stands.
    fn places(&self, columns: usize) -> Vec<(usize, usize, usize)> {
        let columns = columns.max(2);
        let (mut row, mut column, mut places) = (0, 0, Vec::new());
        for (at, grapheme) in self.text.grapheme_indices(true) {
            if ends_line(grapheme) {
                places.push((at, row, column.min(columns - 1)));
                (row, column) = (row + 1, 0);
                continue;
            }
            let wide = widest(&shown(grapheme)).min(columns);
            // The cursor needs a column of its own behind the last character.
            if column > 0 && column + wide >= columns {
                (row, column) = (row + 1, 0);
            }
            places.push((at, row, column));
            column += wide;
        }
        places.push((self.text.len(), row, column.min(columns - 1)));
        places
    }

    /// The text in rows of so many columns, and where the cursor stands: row and column. At least one row.
    pub fn rows(&self, columns: usize) -> (Vec<String>, (usize, usize)) {
        let places = self.places(columns);
        let mut rows = vec![String::new(); places.last().map_or(1, |(_, row, _)| row + 1)];
        let ends = places.iter().skip(1).map(|(at, ..)| *at).chain([self.text.len()]);
        let mut cursor = (0, 0);
        for (&(at, row, column), end) in places.iter().zip(ends) {
            if at == self.cursor {
                cursor = (row, column);
            }
            let grapheme = &self.text[at..end];
            if !ends_line(grapheme)
                && let Some(line) = rows.get_mut(row)
            {
                line.push_str(&shown(grapheme));
            }
        }
        (rows, cursor)
    }

    fn line_start(&self) -> usize {
        self.text[..self.cursor].rfind('\n').map_or(0, |at| at + 1)
    }

    fn line_end(&self) -> usize {
        self.text[self.cursor..].find('\n').map_or(self.text.len(), |at| self.cursor + at)
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

fn ends_line(grapheme: &str) -> bool {
    grapheme.ends_with('\n')
}

/// Line feeds stand in the line as a mark; everything else as in a message.
fn shown(text: &str) -> String {
    harmless::text(text).replace('\n', "⏎")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Input {
        let mut line = Input::default();
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
    fn several_lines_are_shown_in_rows_and_the_cursor_goes_up_and_down() {
        let mut input = line("one\ntwo three");
        assert_eq!(input.rows(20), (vec!["one".into(), "two three".into()], (1, 9)));
        assert_eq!(input.rows(6), (vec!["one".into(), "two t".into(), "hree".into()], (2, 4)));
        assert!(input.up(20));
        assert_eq!(input.cursor, 3, "the first line is shorter");
        assert!(!input.up(20), "the first row");
        input.home();
        assert!(input.down(20) && !input.down(20));
        input.insert("x");
        assert_eq!(input.text, "one\nxtwo three");
        input.delete_to_end();
        input.delete_to_start();
        assert_eq!(input.text, "one\n", "the line of the cursor alone");
        assert_eq!(line("").rows(9), (vec![String::new()], (0, 0)));
    }

    #[test]
    fn more_than_a_draft_has_room_for_is_not_written_at_all() {
        let mut input = line(&"x".repeat(MAX_INPUT_BYTES - 1));
        assert!(!input.insert("yz"));
        assert!(input.insert("y") && !input.insert("z"));
        assert_eq!(input.text.len(), MAX_INPUT_BYTES);
    }

    #[test]
    fn any_sequence_of_edits_keeps_the_cursor_in_place() {
        // All pairs of operations on a text with clusters of every kind.
        let operations: [fn(&mut Input); 12] = [
            Input::backspace,
            Input::delete_forward,
            Input::delete_word,
            Input::left,
            Input::right,
            Input::word_left,
            Input::word_right,
            Input::home,
            Input::end,
            |input| {
                input.insert("\u{301}");
            },
            |input| {
                input.insert("🇩\n");
            },
            |input| {
                input.insert(" ");
            },
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
                        let (rows, (row, column)) = input.rows(8);
                        assert!(row < rows.len() && column < 8, "{rows:?} {row} {column}");
                        assert!(rows.iter().all(|row| widest(row) <= 8), "{rows:?}");
                    }
                }
            }
        }
    }
}
