//! A terminal's screen as an SVG: every character in its cell, with the colours of a theme.

use std::fmt::Write as _;

/// Pixels of a cell.
const CELL: (usize, usize) = (9, 19);

/// Around the cells.
const MARGIN: usize = 10;

/// Colours of a terminal.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    text: &'static str,
    ground: &'static str,
    /// For what is less bright.
    faint: &'static str,
    /// The first eight.
    colours: [&'static str; 8],
}

/// Dark text on a light ground; contrast 4.5:1 or more throughout.
pub const LIGHT: Theme = Theme {
    text: "#1f2328",
    ground: "#ffffff",
    faint: "#59636e",
    colours: ["#1f2328", "#b3261e", "#116329", "#7a4e00", "#0a3f9e", "#7627a8", "#0b6b75", "#59636e"],
};

/// Light text on a dark ground.
pub const DARK: Theme = Theme {
    text: "#e6edf3",
    ground: "#0d1117",
    faint: "#9198a1",
    colours: ["#484f58", "#ff7b72", "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#e6edf3"],
};

/// Draws a screen.
pub fn svg(screen: &vt100::Screen, theme: Theme) -> String {
    let (rows, columns) = screen.size();
    let (wide, high) = (usize::from(columns) * CELL.0 + 2 * MARGIN, usize::from(rows) * CELL.1 + 2 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide} {high}\" width=\"{wide}\" height=\"{high}\" \
         font-family=\"ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace\" font-size=\"15\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{}\"/>\n",
        theme.ground
    );
    for row in 0..rows {
        let mut column = 0;
        while column < columns {
            let Some(cell) = screen.cell(row, column) else { break };
            let (style, begin) = (Style::of(cell, theme), column);
            let (mut text, mut alone) = (String::new(), false);
            // A run of plain cells of one style is one text; everything else stands in its own cell.
            while let Some(cell) = screen.cell(row, column)
                && Style::of(cell, theme) == style
            {
                let contents = if cell.has_contents() { cell.contents() } else { " " };
                alone = !contents.is_ascii() && !contents.chars().all(|c| "─│▌…✓·›“”".contains(c));
                if alone && column > begin {
                    break;
                }
                text.push_str(contents);
                column += if cell.is_wide() { 2 } else { 1 };
                if alone {
                    break;
                }
            }
            column = column.max(begin + 1);
            write(&mut out, style, &text, (row, begin, column), alone);
        }
    }
    out.push_str("</svg>\n");
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Style {
    text: &'static str,
    ground: Option<&'static str>,
    bold: bool,
    underlined: bool,
}

impl Style {
    fn of(cell: &vt100::Cell, theme: Theme) -> Self {
        let colour = |colour: vt100::Color| match colour {
            vt100::Color::Idx(index) => theme.colours.get(usize::from(index % 8)).copied(),
            _ => None,
        };
        let text = colour(cell.fgcolor()).unwrap_or(if cell.dim() { theme.faint } else { theme.text });
        let (text, ground) = if cell.inverse() { (theme.ground, Some(text)) } else { (text, colour(cell.bgcolor())) };
        Self { text, ground, bold: cell.bold(), underlined: cell.underline() }
    }
}

fn write(out: &mut String, style: Style, text: &str, (row, begin, end): (u16, u16, u16), alone: bool) {
    let (x, y) = (usize::from(begin) * CELL.0 + MARGIN, usize::from(row) * CELL.1 + MARGIN);
    let wide = usize::from(end - begin) * CELL.0;
    if let Some(ground) = style.ground {
        let _ = writeln!(out, "<rect x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{}\" fill=\"{ground}\"/>", CELL.1);
    }
    if style.underlined {
        let y = y + CELL.1 - 2;
        let _ = writeln!(out, "<path d=\"M{x} {y}h{wide}\" stroke=\"{}\" stroke-width=\"1\"/>", style.text);
    }
    // Blanks at the ends are places, not text. What isolates a text from its neighbours does so within its cell anyway.
    let text: String = text.chars().filter(|c| !matches!(c, '\u{200E}' | '\u{2066}'..='\u{2069}')).collect();
    let shown = text.trim();
    if shown.is_empty() {
        return;
    }
    let before = text.chars().take_while(|c| c.is_whitespace()).count();
    let after = text.chars().rev().take_while(|c| c.is_whitespace()).count();
    let (x, wide) = (x + before * CELL.0, wide.saturating_sub((before + after) * CELL.0));
    let escaped = shown.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace(' ', "\u{a0}");
    let bold = if style.bold { " font-weight=\"bold\"" } else { "" };
    // An emoji keeps its own shape; text is fitted to its cells.
    let fitted =
        if alone { String::new() } else { format!(" textLength=\"{wide}\" lengthAdjust=\"spacingAndGlyphs\"") };
    let _ = writeln!(out, "<text x=\"{x}\" y=\"{}\" fill=\"{}\"{bold}{fitted}>{escaped}</text>", y + 14, style.text);
}
