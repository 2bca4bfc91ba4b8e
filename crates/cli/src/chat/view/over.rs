//! What lies over a conversation: help, hits of a search, and questions in the place of the input.

use crossterm::style::Color::{DarkBlue, DarkCyan, DarkYellow};

use super::{Light, Pane, bold, faint, rule, titled};
use crate::chat::canvas::{Canvas, Line, Span, Style};
use crate::chat::input::Input;
use crate::chat::keys::HELP;
use crate::chat::state::{Found, MAX_HITS, Over, State};
use crate::output::harmless;
use crate::output::wrap::{shorten, width, wrap};

/// Columns of keys in the help, where meanings stand beside them.
const KEY_COLUMNS: usize = 24;

/// Columns from which on they do.
const BESIDE_FROM: usize = 52;

/// Draws what covers the conversation.
pub fn draw(canvas: &mut Canvas, state: &mut State, pane: Pane, light: Light<'_>) {
    match &mut state.over {
        Over::Help(line) => {
            let lines = help_lines(pane.columns);
            *line = (*line).min(lines.len().saturating_sub(pane.rows.saturating_sub(1)));
            pane.write(canvas, 0, &[Span::styled(" Help", bold())]);
            for (row, text) in lines.iter().skip(*line).enumerate() {
                pane.write(canvas, 1 + row, text);
            }
            canvas.set_cursor(pane.start, pane.row);
        }
        Over::Found(found) => draw_found(canvas, found, pane, light),
        _ => {}
    }
}

fn help_lines(columns: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for part in HELP {
        if !lines.is_empty() {
            lines.push(Vec::new());
        }
        lines.push(vec![Span::styled(format!(" {}", part.title), bold())]);
        for meaning in part.lines {
            let sign = Span::styled(format!("  {}", meaning.sign), Style::coloured(DarkCyan));
            if columns >= BESIDE_FROM {
                let mut head = vec![sign.clone(), Span::raw(" ".repeat(KEY_COLUMNS.saturating_sub(sign.columns())))];
                for text in wrap(meaning.means, columns.saturating_sub(KEY_COLUMNS + 1)) {
                    head.push(Span::raw(text));
                    lines.push(std::mem::replace(&mut head, vec![Span::raw(" ".repeat(KEY_COLUMNS))]));
                }
            } else {
                lines.push(vec![sign]);
                let texts = wrap(meaning.means, columns.saturating_sub(6));
                lines.extend(texts.into_iter().map(|text| vec![Span::raw(format!("     {text}"))]));
            }
        }
    }
    lines
}

fn draw_found(canvas: &mut Canvas, found: &Found, pane: Pane, light: Light<'_>) {
    let columns = pane.columns;
    let text = shorten(&harmless::line(&found.text), columns.saturating_sub(30).max(8));
    let count = match (found.hits.len(), found.before) {
        (count, Some(_)) => format!("{count} so far…"),
        (MAX_HITS, None) => format!("the newest {MAX_HITS}"),
        (1, None) => "1 message".to_owned(),
        (count, None) => format!("{count} messages"),
    };
    pane.write(canvas, 0, &[Span::styled(format!(" “{text}”: {count}"), bold())]);
    let room = pane.rows.saturating_sub(1) / 2;
    let skipped = (found.selected + 1).saturating_sub(room);
    for (row, (at, hit)) in found.hits.iter().enumerate().skip(skipped).take(room).enumerate() {
        let chosen = at == found.selected;
        let mark = Span::styled(if chosen { "▌" } else { " " }, Style::coloured(DarkCyan));
        let style = if chosen { Style::coloured(DarkBlue).bold().reversed() } else { Style::coloured(DarkBlue).bold() };
        let time = light.zone.date_and_time(hit.at);
        let name = shorten(&hit.alias, columns.saturating_sub(width(&time) + 8));
        let by = if hit.outgoing { " you" } else { "" };
        let head = [
            mark.clone(),
            Span::styled(name, style),
            Span::styled(by, Style::coloured(DarkCyan)),
            Span::styled(format!("  {time}"), faint()),
        ];
        pane.write(canvas, 1 + 2 * row, &head);
        // From a little before what was looked for on.
        let text = around(&hit.text, &found.text, columns.saturating_sub(4));
        pane.write(canvas, 2 + 2 * row, &[mark, Span::raw("  "), Span::raw(text)]);
    }
    canvas.set_cursor(pane.start, pane.row + 1 + 2 * found.selected.saturating_sub(skipped));
}

/// As much of a text as fits, with what was looked for in it.
fn around(text: &str, wanted: &str, columns: usize) -> String {
    let begin = text.to_lowercase().find(&wanted.to_lowercase()).filter(|at| *at > columns / 2);
    match begin.map(|at| text.floor_char_boundary(at.saturating_sub(columns / 3))) {
        Some(begin) => shorten(&format!("…{}", &text[begin..]), columns),
        None => shorten(text, columns),
    }
}

/// Draws a question in the lowest rows.
pub fn draw_question(canvas: &mut Canvas, state: &State, pane: Pane) {
    let columns = pane.columns;
    let style = Style::coloured(DarkYellow);
    let (words, input): (String, Option<&Input>) = match &state.over {
        Over::Ask(input) => ("Search all conversations for".into(), Some(input)),
        Over::Name(_, input) => {
            ("Accept: it learns that its messages arrived and, from now on, what you read. Call it".into(), Some(input))
        }
        Over::Block(_, alias) => (
            format!(
                "Block {alias}? What it sends is dropped unseen, and nothing is sent to it. It is not told. \
                 `kuvert contact block --unblock` ends it. y: block; any other key: no"
            ),
            None,
        ),
        Over::Files(files, named) => {
            let to = state.talk.as_ref().map(|talk| talk.alias.as_str()).unwrap_or_default();
            let what = if files.paths.len() == 1 { "this file" } else { "these files" };
            (format!("Send {what} to {to}? {named}. Enter: send; Esc: leave it as text"), None)
        }
        _ => return,
    };
    let mut lines = wrap(&words, columns.saturating_sub(2));
    let rows = lines.len() + 1 + usize::from(input.is_some());
    let first = pane.rows.saturating_sub(rows);
    for row in first..pane.rows {
        pane.write(canvas, row, &[Span::raw(" ".repeat(columns))]);
    }
    pane.write(canvas, first, &if columns > 8 { titled("?", style, columns) } else { rule(columns) });
    for (row, line) in lines.drain(..).enumerate() {
        pane.write(canvas, first + 1 + row, &[Span::raw(" "), Span::styled(line, style)]);
    }
    if let Some(input) = input {
        let (text, cursor) = input.window(columns.saturating_sub(4));
        pane.write(canvas, pane.rows.saturating_sub(1), &[Span::styled(" › ", bold()), Span::raw(text)]);
        canvas.set_cursor(pane.start + 3 + cursor, pane.row + pane.rows.saturating_sub(1));
    }
}
