//! The open conversation.

use crossterm::style::Color::{DarkBlue, DarkCyan, DarkGreen, DarkYellow};
use kuvert_client::MessageState;

use super::{
    Light, MAX_INPUT_ROWS, MAX_NAME_COLUMNS, Pane, Picture, bold, faint, notice_lines, rule, spread, status, tick,
    titled,
};
use crate::chat::canvas::{Canvas, Line, Span, Style};
use crate::chat::state::{Focus, Over, State};
use crate::chat::talk::{Entry, Look, Talk, Wanted};
use crate::output::wrap::{shorten, width, wrap};

/// Columns of the time of day with the blanks around it.
const TIME_COLUMNS: usize = 8;

/// Columns of the ticks at the right edge.
const TICK_COLUMNS: usize = 4;

/// Columns from which on time and name stand before a text; below, they stand above it.
const NAMES_BESIDE_FROM: usize = 48;

/// A sender's name is said again after this long.
const SAME_BREATH_MS: u64 = 5 * 60 * 1000;

/// A message that took longer than this is said to have come late, where receipts are told in words.
const ON_ITS_WAY_MS: u64 = 60 * 1000;

/// Stands before each line of a text where names stand above: no text can begin where a name does.
const GUTTER: &str = " │ ";

const YOU: &str = "you";

/// Draws the conversation. Where there is little room, what is written and what was said last come first.
pub fn draw(canvas: &mut Canvas, state: &mut State, pane: Pane, light: Light<'_>) -> Picture {
    let Some(mut talk) = state.talk.take() else {
        if pane.rows >= 3 {
            let (status, style) = status(state);
            pane.write(canvas, 0, &spread(Vec::new(), vec![Span::styled(status, style), Span::raw(" ")], pane.columns));
        }
        let hint = if state.list.rows.is_empty() { "" } else { " Choose a conversation: Up, Down, Enter." };
        pane.write(canvas, pane.rows / 2, &[Span::styled(hint, faint())]);
        if let Some(notice) = &state.notice {
            for (row, line) in notice_lines(notice, pane.columns).iter().rev().enumerate() {
                pane.write(canvas, pane.rows.saturating_sub(1 + row), line);
            }
        }
        return Picture::default();
    };
    let picture = draw_open(canvas, state, &mut talk, pane, light);
    state.talk = Some(talk);
    picture
}

fn draw_open(canvas: &mut Canvas, state: &mut State, talk: &mut Talk, pane: Pane, light: Light<'_>) -> Picture {
    let (columns, rows) = (pane.columns, pane.rows);
    let title = usize::from(rows >= 3);
    if title > 0 {
        pane.write(canvas, 0, &title_line(state, talk, columns));
    }
    let input = input_lines(talk, state, columns, rows);
    let above = if rows < 4 { Vec::new() } else { lines_above_the_input(state, talk, columns) };
    let below = (above.len() + input.lines.len()).min(rows - title);
    let history = Pane { row: pane.row + title, rows: rows - title - below, ..pane };
    let picture = draw_history(canvas, talk, history, state.in_words, light);
    for (row, line) in (title + history.rows..).zip(above.iter().chain(&input.lines)) {
        pane.write(canvas, row, line);
    }
    state.drawn.input_columns = input.columns;
    if state.focus == Focus::Talk && matches!(state.over, Over::None) {
        let first = rows.saturating_sub(input.lines.len());
        canvas.set_cursor(pane.start + input.cursor.1, pane.row + first + input.cursor.0);
    }
    picture
}

fn title_line(state: &State, talk: &Talk, columns: usize) -> Line {
    let contact = &talk.contact;
    let (trust, trust_style) = if contact.request {
        ("a request, not accepted", Style::coloured(DarkYellow))
    } else if contact.blocked {
        ("blocked", Style::coloured(DarkYellow))
    } else if contact.key_changed {
        ("key changed: nothing is sent", Style::coloured(DarkYellow))
    } else if contact.verified {
        ("verified", Style::coloured(DarkGreen))
    } else {
        ("not verified", Style::coloured(DarkYellow))
    };
    let (status, status_style) = status(state);
    // In a narrow window the name counts for more than the connection.
    let narrow = columns < width(trust) + width(status) + MAX_NAME_COLUMNS;
    let status = if narrow { "" } else { status };
    let alias = shorten(&talk.alias, columns.saturating_sub(width(trust) + width(status) + 6));
    spread(
        vec![Span::raw(" "), Span::styled(alias, bold()), Span::raw("  "), Span::styled(trust, trust_style)],
        vec![Span::styled(status, status_style), Span::raw(" ")],
        columns,
    )
}

fn lines_above_the_input(state: &State, talk: &Talk, columns: usize) -> Vec<Line> {
    if let Some(notice) = &state.notice {
        return notice_lines(notice, columns);
    }
    vec![match talk.unseen {
        0 if talk.is_at_the_newest() => rule(columns),
        0 => titled("older messages; End: the newest", faint(), columns),
        count => titled(&format!("{count} new below; End"), Style::coloured(DarkGreen), columns),
    }]
}

/// What is being written, as it stands on the screen.
struct InputLines {
    lines: Vec<Line>,
    /// Row and column within.
    cursor: (usize, usize),
    columns: usize,
}

fn input_lines(talk: &Talk, state: &State, columns: usize, rows: usize) -> InputLines {
    if talk.is_request() {
        let words = "You do not know each other. Nothing is sent to it, not even that you read this.  \
                     a accept: it learns that its messages arrived, and you can write  \
                     b block: what it sends is dropped unseen";
        let lines = words
            .split("  ")
            .flat_map(|words| wrap(words.trim(), columns.saturating_sub(2)))
            .map(|line| vec![Span::raw(" "), Span::styled(line, Style::coloured(DarkYellow))])
            .take(rows.saturating_sub(2).max(1))
            .collect();
        return InputLines { lines, cursor: (0, 0), columns };
    }
    let inner = columns.saturating_sub(4).max(2);
    let (texts, (row, column)) = talk.input.rows(inner);
    let room = MAX_INPUT_ROWS.min(rows / 3).max(1);
    let first = (row + 1).saturating_sub(room);
    let prompt = if state.focus == Focus::Talk { bold() } else { faint() };
    let lines = texts
        .into_iter()
        .enumerate()
        .skip(first)
        .take(room)
        .map(|(at, text)| {
            let sign = if at == 0 { " › " } else { "   " };
            vec![Span::styled(sign, prompt), Span::raw(text)]
        })
        .collect();
    InputLines { lines, cursor: (row - first, column + 3), columns: inner }
}

fn draw_history(canvas: &mut Canvas, talk: &mut Talk, pane: Pane, in_words: bool, light: Light<'_>) -> Picture {
    if pane.rows == 0 {
        return Picture::default();
    }
    let lines = |talk: &Talk, at: usize| entry_lines(talk, at, pane.columns, in_words, light);
    let count = |talk: &Talk, at: usize| lines(talk, at).len();
    let (Look { lowest, hidden }, wanted) = talk.settle(pane.rows, &count);
    let Some(lowest) = lowest else {
        let hint = format!(" No messages with {} yet. Write one below.", talk.alias);
        pane.write(canvas, pane.rows - 1, &[Span::styled(hint, faint())]);
        return Picture::default();
    };
    let mut upwards: Vec<Line> = Vec::with_capacity(pane.rows * 2);
    for at in (0..=lowest).rev() {
        if upwards.len() >= pane.rows + hidden {
            break;
        }
        upwards.extend(lines(talk, at).into_iter().rev());
    }
    // Little history stands at the bottom, next to where one writes.
    for (line, row) in upwards.iter().skip(hidden).zip((0..pane.rows).rev()) {
        pane.write(canvas, row, line);
    }
    let seen = talk.entries.get(lowest).map(|entry| (talk.id(), entry.place));
    Picture { seen, wanted: wanted.filter(|wanted| !matches!(wanted, Wanted::Before(0))) }
}

/// One message, with a day's name before it where a new day begins, and a line where the unread ones do.
fn entry_lines(talk: &Talk, at: usize, columns: usize, in_words: bool, light: Light<'_>) -> Vec<Line> {
    let Some(entry) = talk.entries.get(at) else { return Vec::new() };
    let before = at.checked_sub(1).and_then(|before| talk.entries.get(before));
    let day = light.zone.day(entry.at);
    let new_day = before.is_none_or(|before| light.zone.day(before.at) != day);
    let mut lines = Vec::new();
    if new_day {
        lines.push(centred(&light.zone.day_name(day, light.now), faint(), columns));
    }
    let first_unread = talk.unread_from == Some(entry.place);
    if first_unread {
        lines.push(centred("unread from here", Style::coloured(DarkGreen), columns));
    }
    let same_breath = !new_day
        && !first_unread
        && before.is_some_and(|before| {
            // They stand in order of arrival: one may have been written long before the one above it.
            before.outgoing == entry.outgoing && entry.at.abs_diff(before.at) < SAME_BREATH_MS
        });
    let (name, name_style) = if entry.outgoing {
        (YOU, Style::coloured(DarkCyan))
    } else {
        (talk.alias.as_str(), Style::coloured(DarkBlue).bold())
    };
    let text_style = if talk.found == Some(entry.place) { Style::PLAIN.reversed() } else { Style::PLAIN };
    let time = Span::styled(format!(" {:<w$}", light.zone.time_of_day(entry.at), w = TIME_COLUMNS - 1), faint());
    let told = if in_words { receipt_words(entry, light) } else { String::new() };
    if columns >= NAMES_BESIDE_FROM {
        let names = width(&talk.alias).clamp(width(YOU), MAX_NAME_COLUMNS.min(columns / 5).max(width(YOU)));
        let indent = TIME_COLUMNS + names + 2;
        let head = if same_breath {
            vec![Span::raw(" ".repeat(indent))]
        } else {
            let name = shorten(name, names);
            let blanks = " ".repeat(indent.saturating_sub(TIME_COLUMNS + width(&name)));
            vec![time, Span::styled(name, name_style), Span::raw(blanks)]
        };
        let beside = vec![Span::raw(" ".repeat(indent))];
        body(&mut lines, entry, (head, beside), indent, columns, (text_style, &told));
    } else {
        if !same_breath {
            lines.push(vec![time, Span::styled(shorten(name, columns.saturating_sub(TIME_COLUMNS + 1)), name_style)]);
        }
        let gutter = vec![Span::styled(GUTTER, faint())];
        body(&mut lines, entry, (gutter.clone(), gutter), width(GUTTER), columns, (text_style, &told));
    }
    lines
}

/// The text and what is told of it, each line behind what stands before the first and before the others.
fn body(
    lines: &mut Vec<Line>,
    entry: &Entry,
    (head, beside): (Line, Line),
    indent: usize,
    columns: usize,
    (style, told): (Style, &str),
) {
    let room = columns.saturating_sub(indent + TICK_COLUMNS).max(8);
    let tick = entry.outgoing.then(|| tick(&entry.state));
    for (number, text) in wrap(&entry.text, room).into_iter().enumerate() {
        let mut line = if number == 0 { head.clone() } else { beside.clone() };
        let padding = room.saturating_sub(width(&text));
        line.push(Span::styled(text, style));
        if number == 0
            && let Some((sign, style)) = tick
        {
            line.push(Span::raw(" ".repeat(padding + 1)));
            line.push(Span::styled(sign, style));
        }
        lines.push(line);
    }
    if !told.is_empty() {
        for told in wrap(told, room + TICK_COLUMNS - 1) {
            lines.push([beside.clone(), vec![Span::styled(told, faint())]].concat());
        }
    }
}

/// When a message went and came, in words.
fn receipt_words(entry: &Entry, light: Light<'_>) -> String {
    let day = light.zone.day(entry.at);
    let time = |at: u64| {
        if light.zone.day(at) == day { light.zone.time_of_day(at) } else { light.zone.date_and_time(at) }
    };
    let with = |word: &str, at: Option<u64>| at.map_or_else(|| word.to_owned(), |at| format!("{word} {}", time(at)));
    let sent = || format!("sent {}", time(entry.at));
    if !entry.outgoing {
        let late = entry.stored_at.abs_diff(entry.at) > ON_ITS_WAY_MS;
        return match late {
            true => format!("written {}, came {}", time(entry.at), time(entry.stored_at)),
            false => format!("came {}", time(entry.stored_at)),
        };
    }
    match &entry.state {
        MessageState::Queued => format!("written {}, waits until the relay can be reached", time(entry.at)),
        MessageState::Failed(code) => format!("written {}, not sent, for good: {code}", time(entry.at)),
        MessageState::Delivered => format!("{}, {}", sent(), with("delivered", entry.delivered_at)),
        MessageState::Read if entry.delivered_at.is_none() => format!("{}, {}", sent(), with("read", entry.read_at)),
        MessageState::Read => {
            format!("{}, {}, {}", sent(), with("delivered", entry.delivered_at), with("read", entry.read_at))
        }
        _ => format!("{}, the relay has it", sent()),
    }
}

fn centred(name: &str, style: Style, columns: usize) -> Line {
    let rule = "─".repeat(columns.saturating_sub(width(name) + 4) / 2);
    vec![
        Span::styled(format!(" {rule} "), faint()),
        Span::styled(name.to_owned(), style),
        Span::styled(format!(" {rule}"), faint()),
    ]
}
