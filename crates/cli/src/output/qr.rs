//! QR codes of half-block characters: two modules above each other in each.
//!
//! A code is dark on light. On a terminal with colours both are set, so that it is so whatever the user's colours are. Without
//! colours the terminal is taken for a dark one, as most are: light modules are drawn, dark ones are the background.

use qrcode::{Color, EcLevel, QrCode};

use crate::error::Failure;

/// Light modules around a code, without which a camera does not find it.
const QUIET: usize = 4;

/// Black on white of the 256 colours, which no theme changes.
const DARK_ON_LIGHT: &str = "\x1b[38;5;16;48;5;231m";

const AS_BEFORE: &str = "\x1b[0m";

/// A QR code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Qr {
    /// Modules in a row, without what is around them.
    width: usize,
    dark: Vec<bool>,
}

impl Qr {
    /// The code of a text.
    ///
    /// # Errors
    /// `internal`: it is longer than any code holds.
    pub fn of(text: &str) -> Result<Self, Failure> {
        // The lowest level of correction: a screen has no stains, and the code stays small.
        let code = QrCode::with_error_correction_level(text, EcLevel::L)
            .map_err(|error| Failure::new("internal", format!("QR code: {error}")))?;
        let width = code.width();
        Ok(Self { width, dark: code.into_colors().into_iter().map(|color| color == Color::Dark).collect() })
    }

    /// How many columns it takes.
    pub fn columns(&self) -> usize {
        self.width + 2 * QUIET
    }

    /// It as lines, with colours or without.
    pub fn drawn(&self, colours: bool) -> String {
        let lines = (0..self.columns()).step_by(2).map(|row| {
            let cells = (0..self.columns()).map(|column| cell(colours, self.at(row, column), self.at(row + 1, column)));
            let cells: String = cells.collect();
            if colours { format!("{DARK_ON_LIGHT}{cells}{AS_BEFORE}") } else { cells }
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Whether a module is dark. Below the last row there is nothing, which is light.
    fn at(&self, row: usize, column: usize) -> bool {
        let inside = |place: usize| place.checked_sub(QUIET).filter(|place| *place < self.width);
        match (inside(row), inside(column)) {
            (Some(row), Some(column)) => self.dark[row * self.width + column],
            _ => false,
        }
    }
}

/// Two modules above each other. With colours ink is dark; without it is light.
fn cell(colours: bool, above: bool, below: bool) -> char {
    match (above == colours, below == colours) {
        (true, true) => '█',
        (true, false) => '▀',
        (false, true) => '▄',
        (false, false) => ' ',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "kuvert://relay.example.org:4433/i#k3l5m7q2w4e6r8t0y2u4i6o8p0a2s4d6f8g0h2j4k6l8z0x2c4v6b8n0m2";

    /// What a camera sees: half a cell is one module.
    fn seen(drawn: &str, colours: bool) -> Vec<Vec<bool>> {
        let mut rows = Vec::new();
        for line in drawn.lines() {
            let cells = if colours {
                line.strip_prefix(DARK_ON_LIGHT).and_then(|line| line.strip_suffix(AS_BEFORE)).unwrap()
            } else {
                line
            };
            let ink = |wanted: [char; 2]| cells.chars().map(|cell| wanted.contains(&cell) == colours).collect();
            rows.push(ink(['█', '▀']));
            rows.push(ink(['█', '▄']));
        }
        rows
    }

    #[test]
    fn what_is_drawn_can_be_read_by_another_library_with_colours_and_without() {
        for text in [LINK, &"0123456789".repeat(6), "x"] {
            for colours in [true, false] {
                let modules = seen(&Qr::of(text).unwrap().drawn(colours), colours);
                // Each module as a few pixels, as a camera has it.
                let pixel = |x: usize, y: usize| if modules[y / 4][x / 4] { 0 } else { 255 };
                let (width, height) = (modules[0].len() * 4, modules.len() * 4);
                let mut picture = rqrr::PreparedImage::prepare_from_greyscale(width, height, pixel);
                let grids = picture.detect_grids();
                let [grid] = &grids[..] else { panic!("{} codes", grids.len()) };
                assert_eq!(grid.decode().unwrap().1, text);
            }
        }
    }

    #[test]
    fn it_has_light_around_it_and_is_small() {
        let code = Qr::of(&"0123456789".repeat(6)).unwrap();
        assert!(code.columns() <= 40 && code.drawn(false).lines().count() <= 20, "{}", code.columns());
        let modules = seen(&code.drawn(true), true);
        let light = |row: &[bool]| row.iter().all(|dark| !dark);
        assert!(modules[..QUIET].iter().chain(&modules[QUIET + code.width..]).all(|row| light(row)));
        assert!(modules.iter().all(|row| light(&row[..QUIET]) && light(&row[QUIET + code.width..])));
        assert!(modules.iter().all(|row| row.len() == code.columns()));
    }
}
