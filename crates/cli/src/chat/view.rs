//! State → screen. Draws from the bottom up, so that a long history costs nothing.

use kuvert_client::MessageState;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

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

/// Draws everything, and tells the state how far it can be scrolled.
pub fn draw(frame: &mut Frame<'_>, state: &mut State, zone: &Zone, now: u64) {
    let [title, history, rule, input, help] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_title(frame, title, state);
    draw_history(frame, history, state, zone, now);
    draw_rule(frame, rule, state);
    draw_input(frame, input, state);
    draw_help(frame, help, state);
}

fn draw_title(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let (trust, trust_style) = if state.contact.request {
        ("a request, not accepted", Style::new().fg(Color::Yellow))
    } else if state.contact.key_changed {
        ("key changed: nothing is sent", Style::new().fg(Color::Yellow))
    } else if state.contact.verified {
        ("verified", Style::new().fg(Color::Green))
    } else {
        ("not verified", Style::new().fg(Color::Yellow))
    };
    let (status, status_style) = match state.status {
        Status::Connecting => ("connecting…", Style::new().fg(Color::Yellow)),
        Status::Connected => ("connected", Style::new().fg(Color::Green)),
        Status::Offline => ("reconnecting…", Style::new().fg(Color::Yellow)),
        Status::Displaced => ("another window receives", Style::new().fg(Color::Yellow)),
    };
    let columns = usize::from(area.width);
    // In a narrow window the name counts for more than the connection.
    let narrow = columns < width(trust) + width(status) + MAX_NAME_COLUMNS;
    let status = if narrow { "" } else { status };
    let alias = shorten(&state.alias, columns.saturating_sub(width(trust) + width(status) + 8));
    let used = 1 + width(&alias) + 2 + width(trust) + width(status) + 1;
    let line = Line::from(vec![
        Span::raw(" "),
        Span::styled(alias, bold()),
        Span::raw("  "),
        Span::styled(trust, trust_style),
        Span::raw(" ".repeat(columns.saturating_sub(used))),
        Span::styled(status, status_style),
    ]);
    frame.render_widget(Paragraph::new(line).style(Style::new().add_modifier(Modifier::UNDERLINED)), area);
}

fn draw_history(frame: &mut Frame<'_>, area: Rect, state: &mut State, zone: &Zone, now: u64) {
    let height = usize::from(area.height);
    let columns = usize::from(area.width);
    // From the newest up, until the screen is full at the place that was scrolled to.
    let wanted = state.scroll.saturating_add(height);
    let mut upwards: Vec<Line<'static>> = Vec::with_capacity(height * 2);
    for index in (0..state.entries.len()).rev() {
        if upwards.len() >= wanted {
            break;
        }
        upwards.extend(entry_lines(state, index, columns, zone, now).into_iter().rev());
    }
    if state.entries.is_empty() {
        let hint = format!("No messages with {} yet. Write one below.", state.alias);
        upwards.push(Line::styled(format!(" {hint}"), faint()));
    }
    state.fit(height, upwards.len().saturating_sub(height));
    let mut shown: Vec<Line<'static>> = upwards.into_iter().skip(state.scroll).take(height).collect();
    // Little history stands at the bottom, next to where one writes.
    shown.resize(height, Line::default());
    shown.reverse();
    frame.render_widget(Paragraph::new(shown), area);
}

/// One message, with a day's name before it where a new day begins.
fn entry_lines(state: &State, index: usize, columns: usize, zone: &Zone, now: u64) -> Vec<Line<'static>> {
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
        (YOU.to_owned(), Style::new().fg(Color::Cyan))
    } else {
        (shorten(&state.alias, names), Style::new().fg(Color::Blue).add_modifier(Modifier::BOLD))
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
        lines.push(Line::from(spans));
    }
    lines
}

fn day_line(name: &str, columns: usize) -> Line<'static> {
    let rule = columns.saturating_sub(width(name) + 4) / 2;
    Line::styled(format!(" {0} {name} {0}", "─".repeat(rule)), faint())
}

/// How far a message of the user's has come.
fn tick(entry: &Entry) -> (&'static str, Style) {
    if !entry.outgoing {
        return ("", Style::new());
    }
    match entry.state {
        MessageState::Queued => ("…", Style::new().fg(Color::Yellow)),
        MessageState::Accepted => ("·", faint()),
        MessageState::Delivered => ("✓", faint()),
        MessageState::Read => ("✓✓", Style::new().fg(Color::Green)),
        MessageState::Failed(_) => ("!", Style::new().fg(Color::Red)),
        MessageState::Unshown | MessageState::Shown => ("", Style::new()),
    }
}

fn draw_rule(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let columns = usize::from(area.width);
    let text = match (&state.notice, state.unseen) {
        (Some(notice), _) => Some((notice.clone(), Style::new().fg(Color::Yellow))),
        (None, 0) if state.scroll > 0 => Some(("older messages".to_owned(), faint())),
        (None, 0) => None,
        (None, count) => Some((format!("{count} new below"), Style::new().fg(Color::Green))),
    };
    let line = match text {
        None => Line::styled("─".repeat(columns), faint()),
        Some((text, style)) => {
            let text = shorten(&text, columns.saturating_sub(6));
            let rest = columns.saturating_sub(width(&text) + 4);
            Line::from(vec![
                Span::styled("── ", faint()),
                Span::styled(text, style),
                Span::styled(format!(" {}", "─".repeat(rest)), faint()),
            ])
        }
    };
    frame.render_widget(Paragraph::new(line), area);
}

fn draw_input(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let columns = usize::from(area.width).saturating_sub(4);
    let (text, cursor) = state.input.window(columns);
    frame.render_widget(Paragraph::new(Line::from(vec![Span::styled(" › ", bold()), Span::raw(text)])), area);
    let column = u16::try_from(cursor + 3).unwrap_or(u16::MAX);
    frame.set_cursor_position(Position::new(area.x.saturating_add(column), area.y));
}

fn draw_help(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let keys = match state.status {
        Status::Displaced => "Ctrl-R receive here  Enter send  Esc leave",
        _ => "Enter send  PgUp/PgDn scroll  Esc leave",
    };
    let ticks = "… queued  · at the relay  ✓ delivered  ✓✓ read ";
    let columns = usize::from(area.width);
    let gap = columns.saturating_sub(1 + width(keys) + width(ticks));
    let text = if gap > 1 { format!(" {keys}{}{ticks}", " ".repeat(gap)) } else { format!(" {keys}") };
    frame.render_widget(Paragraph::new(Line::styled(text, faint())), area);
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn faint() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

#[cfg(test)]
mod tests {
    use kuvert_client::Direction::{Incoming, Outgoing};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::chat::state::tests::{contact, message};

    const NOON: u64 = 1_795_262_400_000; // 2026-11-21 12:00 UTC
    const DAY: u64 = 86_400_000;

    fn screen(state: &mut State, columns: u16, rows: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| draw(frame, state, &Zone::utc(), NOON)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let cells = |row: u16| (0..columns).map(move |column| (column, row));
        (0..rows)
            .map(|row| cells(row).map(|at| buffer[at].symbol().to_owned()).collect::<String>().trim_end().to_owned())
            .collect()
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
