//! State → screen. Draws from the bottom up, so that a long history costs nothing.

use crossterm::style::Color::{DarkBlue, DarkCyan, DarkGreen, DarkRed, DarkYellow};
use kuvert_client::MessageState;

use crate::chat::canvas::{Canvas, Line, Span, Style};
use crate::chat::state::{Entry, State, Status};
use crate::output::time::Zone;
use crate::output::wrap::{shorten, width, wrap};

/// Columns of the time of day with the blanks around it.
const TIME_COLUMNS: usize = 8;

/// Columns that a name takes at most.
const MAX_NAME_COLUMNS: usize = 14;

/// Columns of the ticks at the right edge.
const TICK_COLUMNS: usize = 4;

/// A sender's name is said again after this long.
const SAME_BREATH_MS: u64 = 5 * 60 * 1000;

const YOU: &str = "you";

/// Draws everything, and tells the state how far it can be scrolled. Where there is little room, what is written and what was said
/// last come first.
pub fn draw(canvas: &mut Canvas, state: &mut State, zone: &Zone, now: u64) {
    let rows = canvas.rows();
    let (title, rule, help) = (rows >= 3, rows >= 4, rows >= 5);
    let above = usize::from(title);
    let below = 1 + usize::from(rule) + usize::from(help);
    if title {
        draw_title(canvas, 0, state);
    }
    let history = rows.saturating_sub(above + below);
    draw_history(canvas, above, history, state, zone, now);
    let next = above + history;
    if rule {
        draw_rule(canvas, next, state);
    }
    draw_input(canvas, next + usize::from(rule), state);
    if help {
        draw_help(canvas, rows - 1, state);
    }
}

fn draw_title(canvas: &mut Canvas, row: usize, state: &State) {
    let (trust, trust_style) = if state.contact.request {
        ("a request, not accepted", Style::coloured(DarkYellow))
    } else if state.contact.key_changed {
        ("key changed: nothing is sent", Style::coloured(DarkYellow))
    } else if state.contact.verified {
        ("verified", Style::coloured(DarkGreen))
    } else {
        ("not verified", Style::coloured(DarkYellow))
    };
    let (status, status_style) = match state.status {
        Status::Connecting => ("connecting…", Style::coloured(DarkYellow)),
        Status::Connected => ("connected", Style::coloured(DarkGreen)),
        Status::Offline => ("reconnecting…", Style::coloured(DarkYellow)),
        Status::Displaced => ("another window receives", Style::coloured(DarkYellow)),
    };
    let columns = canvas.columns();
    // In a narrow window the name counts for more than the connection.
    let narrow = columns < width(trust) + width(status) + MAX_NAME_COLUMNS;
    let status = if narrow { "" } else { status };
    let alias = shorten(&state.alias, columns.saturating_sub(width(trust) + width(status) + 8));
    let used = 1 + width(&alias) + 2 + width(trust) + width(status) + 1;
    let line = [
        Span::raw(" "),
        Span::styled(alias, bold()),
        Span::raw("  "),
        Span::styled(trust, trust_style),
        Span::raw(" ".repeat(columns.saturating_sub(used))),
        Span::styled(status, status_style),
    ];
    canvas.write(row, &line);
    canvas.underline(row);
}

fn draw_history(canvas: &mut Canvas, row: usize, height: usize, state: &mut State, zone: &Zone, now: u64) {
    let columns = canvas.columns();
    // From the newest up, until the screen is full at the place that was scrolled to.
    let wanted = state.scroll.saturating_add(height);
    let mut upwards: Vec<Line> = Vec::with_capacity(height * 2);
    for index in (0..state.entries.len()).rev() {
        if upwards.len() >= wanted {
            break;
        }
        upwards.extend(entry_lines(state, index, columns, zone, now).into_iter().rev());
    }
    if state.entries.is_empty() {
        let hint = format!("No messages with {} yet. Write one below.", state.alias);
        upwards.push(vec![Span::styled(format!(" {hint}"), faint())]);
    }
    state.fit(height, upwards.len().saturating_sub(height));
    // Little history stands at the bottom, next to where one writes.
    for (line, row) in upwards.iter().skip(state.scroll).zip((row..row + height).rev()) {
        canvas.write(row, line);
    }
}

/// One message, with a day's name before it where a new day begins.
fn entry_lines(state: &State, index: usize, columns: usize, zone: &Zone, now: u64) -> Vec<Line> {
    let Some(entry) = state.entries.get(index) else { return Vec::new() };
    let before = index.checked_sub(1).and_then(|before| state.entries.get(before));
    let day = zone.day(entry.at);
    let new_day = before.is_none_or(|before| zone.day(before.at) != day);
    let mut lines = Vec::new();
    if new_day {
        lines.push(day_line(&zone.day_name(day, now), columns));
    }
    let same_breath = !new_day
        && before.is_some_and(|before| {
            // They stand in order of arrival: one may have been written long before the one above it.
            before.outgoing == entry.outgoing && entry.at.abs_diff(before.at) < SAME_BREATH_MS
        });
    let names = width(&state.alias).clamp(width(YOU), MAX_NAME_COLUMNS.min(columns / 5).max(width(YOU)));
    let (name, name_style) = if entry.outgoing {
        (YOU.to_owned(), Style::coloured(DarkCyan))
    } else {
        (shorten(&state.alias, names), Style::coloured(DarkBlue).bold())
    };
    let indent = TIME_COLUMNS + names + 2;
    let text_columns = columns.saturating_sub(indent + TICK_COLUMNS).max(8);
    let (tick, tick_style) = tick(entry);
    for (number, text) in wrap(&entry.text, text_columns).into_iter().enumerate() {
        let mut spans = Vec::with_capacity(6);
        if number == 0 && !same_breath {
            spans.push(Span::styled(format!(" {:<w$}", zone.time_of_day(entry.at), w = TIME_COLUMNS - 1), faint()));
            spans.push(Span::styled(name.clone(), name_style));
            spans.push(Span::raw(" ".repeat(indent.saturating_sub(TIME_COLUMNS + width(&name)))));
        } else {
            spans.push(Span::raw(" ".repeat(indent)));
        }
        let padding = text_columns.saturating_sub(width(&text));
        spans.push(Span::raw(text));
        if number == 0 && !tick.is_empty() {
            spans.push(Span::raw(" ".repeat(padding + 1)));
            spans.push(Span::styled(tick, tick_style));
        }
        lines.push(spans);
    }
    lines
}

fn day_line(name: &str, columns: usize) -> Line {
    let rule = columns.saturating_sub(width(name) + 4) / 2;
    vec![Span::styled(format!(" {0} {name} {0}", "─".repeat(rule)), faint())]
}

/// How far a message of the user's has come.
fn tick(entry: &Entry) -> (&'static str, Style) {
    if !entry.outgoing {
        return ("", Style::PLAIN);
    }
    match entry.state {
        MessageState::Queued => ("…", Style::coloured(DarkYellow)),
        MessageState::Accepted => ("·", faint()),
        MessageState::Delivered => ("✓", faint()),
        MessageState::Read => ("✓✓", Style::coloured(DarkGreen)),
        MessageState::Failed(_) => ("!", Style::coloured(DarkRed)),
        // Those of messages that came.
        _ => ("", Style::PLAIN),
    }
}

fn draw_rule(canvas: &mut Canvas, row: usize, state: &State) {
    let columns = canvas.columns();
    let text = match (&state.notice, state.unseen) {
        (Some(notice), _) => Some((notice.clone(), Style::coloured(DarkYellow))),
        (None, 0) if state.scroll > 0 => Some(("older messages".to_owned(), faint())),
        (None, 0) => None,
        (None, count) => Some((format!("{count} new below"), Style::coloured(DarkGreen))),
    };
    let line = match text {
        None => vec![Span::styled("─".repeat(columns), faint())],
        Some((text, style)) => {
            let text = shorten(&text, columns.saturating_sub(6));
            let rest = columns.saturating_sub(width(&text) + 4);
            vec![
                Span::styled("── ", faint()),
                Span::styled(text, style),
                Span::styled(format!(" {}", "─".repeat(rest)), faint()),
            ]
        }
    };
    canvas.write(row, &line);
}

fn draw_input(canvas: &mut Canvas, row: usize, state: &State) {
    let columns = canvas.columns().saturating_sub(4);
    let (text, cursor) = state.input.window(columns);
    canvas.write(row, &[Span::styled(" › ", bold()), Span::raw(text)]);
    canvas.set_cursor(cursor + 3, row);
}

fn draw_help(canvas: &mut Canvas, row: usize, state: &State) {
    let keys = match state.status {
        Status::Displaced => "Ctrl-R receive here  Enter send  Esc leave",
        _ => "Enter send  PgUp/PgDn scroll  Esc leave",
    };
    let ticks = "… queued  · at the relay  ✓ delivered  ✓✓ read ";
    let columns = canvas.columns();
    let gap = columns.saturating_sub(1 + width(keys) + width(ticks));
    let text = if gap > 1 { format!(" {keys}{}{ticks}", " ".repeat(gap)) } else { format!(" {keys}") };
    canvas.write(row, &[Span::styled(text, faint())]);
}

fn bold() -> Style {
    Style::PLAIN.bold()
}

fn faint() -> Style {
    Style::PLAIN.faint()
}

#[cfg(test)]
mod tests {
    use kuvert_client::Direction::{Incoming, Outgoing};

    use super::*;
    use crate::chat::state::tests::{contact, message};

    const NOON: u64 = 1_795_262_400_000; // 2026-11-21 12:00 UTC
    const DAY: u64 = 86_400_000;

    fn screen(state: &mut State, columns: usize, rows: usize) -> Vec<String> {
        let mut canvas = Canvas::new(columns, rows);
        draw(&mut canvas, state, &Zone::utc(), NOON);
        canvas.text()
    }

    #[test]
    fn a_conversation_over_two_days() {
        let mut read = message(2, Outgoing, "Hi! This is a somewhat longer answer than that.", NOON);
        read.state = MessageState::Read;
        let history = [
            message(1, Incoming, "Hello", NOON - DAY),
            read,
            message(3, Outgoing, "more", NOON + 1000),
            message(4, Incoming, "東京", NOON + 2000),
        ];
        let mut state = State::new(contact(), &history);
        state.status = Status::Connected;
        state.input.insert("next");
        assert_eq!(
            screen(&mut state, 60, 12),
            [
                " bob  verified                                    connected",
                "",
                " ─────────────────────── Yesterday ───────────────────────",
                " 12:00  bob  Hello",
                " ───────────────────────── Today ─────────────────────────",
                " 12:00  you  Hi! This is a somewhat longer answer than   ✓✓",
                "             that.",
                "             more                                        …",
                " 12:00  bob  東 京",
                "────────────────────────────────────────────────────────────",
                " › next",
                " Enter send  PgUp/PgDn scroll  Esc leave",
            ]
        );
    }

    #[test]
    fn texts_stand_in_order_of_arrival_with_the_time_of_writing() {
        let late =
            kuvert_client::MessageRecord { sent_at: NOON - DAY, ..message(2, Incoming, "written yesterday", NOON) };
        let ahead = kuvert_client::MessageRecord { sent_at: NOON + DAY, ..message(3, Incoming, "from tomorrow", NOON) };
        let mut state = State::new(contact(), &[message(1, Incoming, "first", NOON), late, ahead]);
        let shown = screen(&mut state, 60, 12);
        let of = |needle: &str| shown.iter().position(|line| line.contains(needle)).unwrap();
        assert!(of("first") < of("Yesterday") && of("Yesterday") < of("written yesterday"), "{shown:?}");
        let rest = &shown[of("written yesterday")..];
        assert!(rest[1].contains("Today") && rest[2].contains("12:00  bob  from tomorrow"), "{shown:?}");
    }

    #[test]
    fn scrolling_shows_the_beginning_and_stops_there() {
        let history: Vec<_> =
            (0..50).map(|i| message(i, Incoming, &format!("message {i}"), NOON + u64::from(i))).collect();
        let mut state = State::new(contact(), &history);
        assert!(screen(&mut state, 40, 10).iter().any(|line| line.ends_with("message 49")));
        state.scroll = usize::MAX;
        let top = screen(&mut state, 40, 10);
        assert!(top[1].contains("Today"), "{top:?}");
        assert!(top[2].ends_with("message 0"), "{top:?}");
        assert_eq!(state.scroll, 51 - 6);
    }

    #[test]
    fn no_size_of_the_terminal_is_too_small() {
        let history = [message(1, Incoming, "東京 \u{1b}[2J 👩‍👩‍👧 a long enough text", NOON)];
        for columns in 1..30 {
            for rows in 1..12 {
                let mut state = State::new(contact(), &history);
                state.input.insert("some text that is longer than the line");
                for line in screen(&mut state, columns, rows) {
                    assert!(!line.contains('\u{1b}'));
                }
            }
        }
    }
}
