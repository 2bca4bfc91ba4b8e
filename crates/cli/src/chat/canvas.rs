//! What stands on the screen, cell by cell, and drawing what has changed of it.
//!
//! Nothing that is written leaves the columns that it was given, whatever a terminal makes of it: what some terminals draw wider
//! than others counts as wide as the widest do, and text that runs from right to left is isolated from what stands beside it.

use std::io::{self, Write};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::queue;
use crossterm::style::{Attribute, Color, Print, SetAttribute, SetForegroundColor};
use crossterm::terminal::{Clear, ClearType};
use unicode_segmentation::UnicodeSegmentation as _;

use crate::output::wrap::{widest, width};

/// Begins text whose direction must not move what stands around it.
const ISOLATE: char = '\u{2068}';

/// Ends it.
const END_OF_ISOLATE: char = '\u{2069}';

/// Makes a line that holds such text begin at the left.
const LEFT_TO_RIGHT: char = '\u{200E}';

/// How a piece of text looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    colour: Option<Color>,
    bold: bool,
    faint: bool,
    underlined: bool,
    reversed: bool,
}

impl Style {
    /// As the terminal shows text by itself.
    pub const PLAIN: Self = Self { colour: None, bold: false, faint: false, underlined: false, reversed: false };

    /// In a colour.
    pub const fn coloured(colour: Color) -> Self {
        Self { colour: Some(colour), ..Self::PLAIN }
    }

    /// The same in bold type.
    pub const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    /// The same, less bright.
    pub const fn faint(self) -> Self {
        Self { faint: true, ..self }
    }

    /// The same with the colours of text and ground exchanged.
    pub const fn reversed(self) -> Self {
        Self { reversed: true, ..self }
    }

    const fn underlined(self) -> Self {
        Self { underlined: true, ..self }
    }
}

/// A piece of text in one style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    text: String,
    style: Style,
}

impl Span {
    /// Text in a style.
    pub fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }

    /// Columns that it takes.
    pub fn columns(&self) -> usize {
        width(&self.text)
    }

    /// Text as it is.
    pub fn raw(text: impl Into<String>) -> Self {
        Self::styled(text, Style::PLAIN)
    }
}

/// A line of the screen.
pub type Line = Vec<Span>;

/// A place on the screen. The cells behind a character of two columns are blank, and covered by it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    fn blank() -> Self {
        Self { text: " ".to_owned(), style: Style::PLAIN }
    }

    /// Whether terminals differ in what it does to the cells beside it.
    fn is_uncertain(&self) -> bool {
        !self.text.is_ascii()
            && (widest(&self.text) != width(&self.text) || self.text.contains([ISOLATE, END_OF_ISOLATE]))
    }
}

/// A whole screen.
#[derive(Clone, Debug)]
pub struct Canvas {
    columns: usize,
    cells: Vec<Cell>,
    cursor: (usize, usize),
}

impl Canvas {
    /// An empty one.
    pub fn new(columns: usize, rows: usize) -> Self {
        Self { columns, cells: vec![Cell::blank(); columns * rows], cursor: (0, 0) }
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.cells.len().checked_div(self.columns).unwrap_or(0)
    }

    /// Where keys appear.
    pub fn set_cursor(&mut self, column: usize, row: usize) {
        self.cursor = (column.min(self.columns.saturating_sub(1)), row);
    }

    /// Writes a line over the whole width. What is beyond the right edge, and control characters, are left out.
    pub fn write(&mut self, row: usize, line: &[Span]) {
        self.write_at(row, 0, self.columns, line);
    }

    /// Writes a line into so many columns from a column on. What does not fit there, and control characters, are left out.
    pub fn write_at(&mut self, row: usize, start: usize, columns: usize, line: &[Span]) {
        let Some(cells) = self.row(row) else { return };
        let end = start.saturating_add(columns).min(cells.len());
        let mut column = start;
        for span in line {
            let (mut last, mut full) = (None, false);
            let isolated = span.text.chars().any(runs_from_right);
            for text in span.text.graphemes(true).filter(|text| !text.contains(char::is_control)) {
                let wide = width(text);
                if wide == 0 {
                    continue;
                }
                // Also where a terminal draws it wider than others do.
                full = column + widest(text).max(wide) > end;
                let Some(covered) = cells.get_mut(column..column + wide).filter(|_| !full) else { break };
                covered.fill(Cell { style: span.style, ..Cell::blank() });
                covered[0].text = if isolated && last.is_none() { format!("{ISOLATE}{text}") } else { text.to_owned() };
                last = Some(column);
                column += wide;
            }
            if isolated && let Some(cell) = last.and_then(|last| cells.get_mut(last)) {
                cell.text.push(END_OF_ISOLATE);
            }
            if full {
                return;
            }
        }
    }

    /// Underlines a whole line.
    pub fn underline(&mut self, row: usize) {
        self.row(row).into_iter().flatten().for_each(|cell| cell.style = cell.style.underlined());
    }

    fn runs_from_right(&self, row: usize) -> bool {
        let row = self.cells.chunks(self.columns.max(1)).nth(row);
        row.is_some_and(|cells| cells.iter().any(|cell| cell.text.contains(ISOLATE)))
    }

    fn row(&mut self, row: usize) -> Option<&mut [Cell]> {
        let start = row * self.columns;
        self.cells.get_mut(start..start + self.columns)
    }

    /// The cells that have to be drawn where another screen of the same size stands.
    fn changes<'a>(&'a self, shown: &'a Self) -> impl Iterator<Item = (usize, &'a Cell)> {
        let columns = self.columns.max(1);
        let rows = self.cells.chunks(columns).zip(shown.cells.chunks(columns));
        rows.enumerate().flat_map(move |(row, (cells, before))| {
            // Where terminals differ in what a row looks like, all of it is drawn when anything of it changes.
            let whole = cells != before && cells.iter().chain(before).any(Cell::is_uncertain);
            // A character of two columns covers the next cell; where one stood, the next cell has to be drawn.
            let (mut covered, mut uncovered) = (0, 0);
            cells.iter().zip(before).enumerate().filter_map(move |(column, (cell, before))| {
                let draw = (whole || cell != before || uncovered > 0) && covered == 0;
                let wide = width(&cell.text);
                covered = if covered > 0 { covered - 1 } else { wide.saturating_sub(1) };
                uncovered = uncovered.max(wide).max(width(&before.text)).saturating_sub(1);
                draw.then_some((row * columns + column, cell))
            })
        })
    }

    /// The text of each row.
    #[cfg(test)]
    pub fn text(&self) -> Vec<String> {
        let text = |row: &[Cell]| row.iter().map(|cell| cell.text.as_str()).collect::<String>().trim_end().to_owned();
        self.cells.chunks(self.columns).map(text).collect()
    }
}

/// A terminal, and what stands on it.
#[derive(Debug)]
pub struct Screen<W: Write> {
    out: W,
    shown: Canvas,
}

impl<W: Write> Screen<W> {
    /// A terminal on which anything may stand.
    pub fn new(out: W) -> Self {
        Self { out, shown: Canvas::new(0, 0) }
    }

    /// Draws a screen.
    ///
    /// # Errors
    /// The terminal cannot be written.
    pub fn draw(&mut self, next: Canvas) -> io::Result<()> {
        queue!(self.out, Hide)?;
        if (next.columns, next.rows()) != (self.shown.columns, self.shown.rows()) {
            queue!(self.out, Clear(ClearType::All))?;
            self.shown = Canvas::new(next.columns, next.rows());
        }
        let (mut expected, mut style) = (None, Style::PLAIN);
        for (place, cell) in next.changes(&self.shown) {
            if expected != Some(place) {
                let (column, row) = (place % next.columns, place / next.columns);
                queue!(self.out, MoveTo(coordinate(column), coordinate(row)))?;
            }
            if place % next.columns == 0 && next.runs_from_right(place / next.columns) {
                queue!(self.out, Print(LEFT_TO_RIGHT))?;
            }
            if cell.style != style {
                change(&mut self.out, cell.style)?;
                style = cell.style;
            }
            queue!(self.out, Print(&cell.text))?;
            // How wide the terminal draws other characters is not relied on; behind the right edge it may begin a line.
            let follows = width(&cell.text) == 1 && (place + 1) % next.columns != 0;
            expected = follows.then_some(place + 1);
        }
        if style != Style::PLAIN {
            queue!(self.out, SetAttribute(Attribute::Reset))?;
        }
        let (column, row) = next.cursor;
        queue!(self.out, MoveTo(coordinate(column), coordinate(row)), Show)?;
        self.shown = next;
        self.out.flush()
    }
}

/// Whether a character belongs to a script that is written from right to left: Hebrew, Arabic, Syriac, Thaana, N'Ko and others.
fn runs_from_right(c: char) -> bool {
    matches!(c,
        '\u{0590}'..='\u{08FF}' | '\u{FB1D}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFE}' | '\u{10800}'..='\u{10FFF}'
        | '\u{1E800}'..='\u{1EFFF}')
}

fn coordinate(place: usize) -> u16 {
    u16::try_from(place).unwrap_or(u16::MAX)
}

fn change(out: &mut impl Write, style: Style) -> io::Result<()> {
    queue!(out, SetAttribute(Attribute::Reset))?;
    let attributes = [
        (style.bold, Attribute::Bold),
        (style.faint, Attribute::Dim),
        (style.underlined, Attribute::Underlined),
        (style.reversed, Attribute::Reverse),
    ];
    for (_, attribute) in attributes.into_iter().filter(|(on, _)| *on) {
        queue!(out, SetAttribute(attribute))?;
    }
    match style.colour {
        Some(colour) => queue!(out, SetForegroundColor(colour)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canvas(lines: &[&str]) -> Canvas {
        let mut canvas = Canvas::new(8, lines.len());
        for (row, line) in lines.iter().enumerate() {
            canvas.write(row, &[Span::raw(*line)]);
        }
        canvas
    }

    fn drawn(screen: &mut Screen<Vec<u8>>, next: Canvas) -> String {
        screen.out.clear();
        screen.draw(next).unwrap();
        String::from_utf8(screen.out.clone()).unwrap()
    }

    #[test]
    fn only_cells_that_changed_are_drawn() {
        let mut screen = Screen::new(Vec::new());
        let all = drawn(&mut screen, canvas(&["one", "two"]));
        assert!(all.contains("one") && all.contains("two") && all.contains("\u{1b}[2J"), "{all:?}");
        let change = drawn(&mut screen, canvas(&["one", "toe"]));
        assert!(
            change.contains("\u{1b}[2;2Hoe\u{1b}[") && !change.contains('n') && !change.contains('J'),
            "{change:?}"
        );
        let nothing = drawn(&mut screen, canvas(&["one", "toe"]));
        assert_eq!(nothing, "\u{1b}[?25l\u{1b}[1;1H\u{1b}[?25h");
    }

    #[test]
    fn a_wide_character_covers_the_next_cell_and_uncovers_it() {
        let mut screen = Screen::new(Vec::new());
        drawn(&mut screen, canvas(&["abcd"]));
        // What stands behind a wide character is put in its place: terminals differ in how wide they draw it.
        let wide = drawn(&mut screen, canvas(&["東cd"]));
        assert!(wide.contains("\u{1b}[1;1H東") && !wide.contains('b'), "{wide:?}");
        let narrow = drawn(&mut screen, canvas(&["a cd"]));
        assert!(narrow.contains("\u{1b}[1;1Ha "), "{narrow:?}");
        assert_eq!(canvas(&["1234567東"]).text(), ["1234567"], "half of it is not drawn");
    }

    #[test]
    fn nothing_leaves_its_columns_whatever_the_terminal_makes_of_it() {
        let mut next = Canvas::new(8, 1);
        next.write_at(0, 0, 4, &[Span::raw("abc👩‍👩‍👧def")]);
        next.write_at(0, 4, 4, &[Span::raw("wxyz")]);
        // Three people, side by side, would take six columns.
        assert_eq!(next.text(), ["abc wxyz"]);
        next.write_at(0, 5, 99, &[Span::raw("12345")]);
        assert_eq!(next.text(), ["abc w123"]);
        next.write_at(0, 99, 3, &[Span::raw("x")]);
        next.write_at(9, 0, 3, &[Span::raw("x")]);
        assert_eq!(next.text(), ["abc w123"]);
    }

    #[test]
    fn text_from_right_to_left_is_isolated_and_its_row_is_drawn_whole() {
        let row = |left: &str| {
            let mut next = Canvas::new(12, 1);
            next.write_at(0, 0, 6, &[Span::raw(left), Span::raw("שלום עולם")]);
            next.write_at(0, 8, 4, &[Span::raw("here")]);
            next
        };
        let mut screen = Screen::new(Vec::new());
        // The row begins at the left, and what was cut off is isolated to its end, too.
        let first = drawn(&mut screen, row("a"));
        assert!(first.contains("\u{200E}a\u{2068}שלום \u{2069}") && first.contains("here"), "{first:?}");
        let second = drawn(&mut screen, row("b"));
        assert!(second.contains("\u{200E}b\u{2068}שלום \u{2069}") && second.contains("here"), "{second:?}");
    }

    #[test]
    fn no_control_character_reaches_the_terminal() {
        assert_eq!(canvas(&["a\u{1b}[2Jb\r\n"]).text(), ["a[2Jb"]);
    }

    #[test]
    fn a_style_ends_where_its_text_does() {
        let mut next = Canvas::new(8, 1);
        next.write(0, &[Span::styled("a", Style::coloured(Color::DarkRed).bold()), Span::raw("b")]);
        let out = drawn(&mut Screen::new(Vec::new()), next);
        assert!(out.contains("\u{1b}[0m\u{1b}[1m") && out.contains("a\u{1b}[0mb"), "{out:?}");
    }

    #[test]
    fn a_terminal_without_room_is_drawn_too() {
        for (columns, rows) in [(0, 0), (0, 5), (5, 0), (1, 1)] {
            let mut next = Canvas::new(columns, rows);
            next.write(0, &[Span::raw("text")]);
            next.underline(0);
            next.set_cursor(9, 9);
            Screen::new(Vec::new()).draw(next).unwrap();
        }
    }
}
