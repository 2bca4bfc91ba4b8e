//! The list of conversations: two rows each.

use crossterm::style::Color::{DarkCyan, DarkGreen, DarkYellow};

use super::{Light, Pane, bold, faint, spread, status, tick, titled};
use crate::chat::canvas::{Canvas, Line, Span, Style};
use crate::chat::list::Row;
use crate::chat::state::{Focus, State};
use crate::output::wrap::{shorten, width};

/// Draws the list, and notes which conversation stands in which row.
pub fn draw(canvas: &mut Canvas, state: &mut State, pane: Pane, light: Light<'_>) {
    let columns = pane.columns;
    let title = usize::from(pane.rows >= 3);
    if title > 0 {
        let alone = !state.drawn.both;
        let right = if alone { vec![status_span(state)] } else { Vec::new() };
        pane.write(canvas, 0, &spread(vec![Span::styled(" Conversations", bold())], right, columns));
    }
    let mut lines: Vec<(Option<usize>, Line)> = Vec::new();
    let requests = state.list.first_request();
    for (at, row) in state.list.rows.iter().enumerate() {
        if requests == Some(at) {
            lines.push((None, titled("Requests", Style::coloured(DarkYellow), columns)));
        }
        let chosen = if state.focus == Focus::List { state.list.selected } else { state.open_id() } == Some(row.id);
        let (first, second) = both_lines(row, chosen, state.focus == Focus::List, columns, light);
        lines.extend([(Some(at), first), (Some(at), second)]);
    }
    if lines.is_empty() {
        let hint = ["No contacts yet. In another", "window:", "kuvert contact add NAME", "adds one."];
        lines.extend(hint.map(|hint| (None, vec![Span::styled(format!(" {hint}"), faint())])));
    }
    let room = pane.rows - title.min(pane.rows);
    // The chosen one is always on the screen.
    let chosen = state.list.index(if state.focus == Focus::List { state.list.selected } else { state.open_id() });
    let end = lines.iter().rposition(|(at, _)| at.is_some() && *at == chosen).map_or(0, |last| last + 1);
    let skipped = end.saturating_sub(room);
    state.drawn.list_columns = columns;
    state.drawn.list = vec![None; pane.row + title];
    for (row, (at, line)) in lines.iter().skip(skipped).take(room).enumerate() {
        pane.write(canvas, title + row, line);
        state.drawn.list.push(at.and_then(|at| state.list.rows.get(at)).map(|row| row.id));
    }
    if state.focus == Focus::List {
        let row = lines.iter().skip(skipped).position(|(at, _)| at.is_some() && *at == chosen);
        canvas.set_cursor(pane.start, pane.row + title + row.unwrap_or(0));
    }
}

fn status_span(state: &State) -> Span {
    let (text, style) = status(state);
    Span::styled(format!("{text} "), style)
}

fn both_lines(row: &Row, chosen: bool, focused: bool, columns: usize, light: Light<'_>) -> (Line, Line) {
    let mark = if chosen { "▌" } else { " " };
    let mark = Span::styled(mark, Style::coloured(DarkCyan));
    let time = row.at.map_or_else(String::new, |at| light.zone.short(at, light.now));
    let name_style = match (row.unread > 0, row.request) {
        (_, true) => Style::coloured(DarkYellow),
        (true, _) => bold(),
        _ => Style::PLAIN,
    };
    let name_style = if chosen && focused { name_style.reversed() } else { name_style };
    let name = shorten(&row.alias, columns.saturating_sub(width(&time) + 4));
    let first = spread(
        vec![mark.clone(), Span::styled(name, name_style)],
        vec![Span::raw(" "), Span::styled(time, faint()), Span::raw(" ")],
        columns,
    );
    let mut right = Vec::new();
    if row.blocked {
        right.push(Span::styled(" blocked", Style::coloured(DarkYellow)));
    }
    if row.muted {
        right.push(Span::styled(" muted", faint()));
    }
    if row.unread > 0 {
        right.push(Span::styled(format!(" ({})", row.unread), Style::coloured(DarkGreen).bold()));
    }
    right.push(Span::raw(" "));
    let mut left = vec![mark, Span::raw(" ")];
    if row.draft {
        left.push(Span::styled("draft ", Style::coloured(DarkYellow)));
    } else if let Some(own) = &row.own {
        let (tick, style) = tick(own);
        left.push(Span::styled(format!("{tick} "), style));
    }
    let used: usize = left.iter().chain(&right).map(Span::columns).sum();
    left.push(Span::styled(shorten(&row.preview, columns.saturating_sub(used)), faint()));
    (first, spread(left, right, columns))
}
