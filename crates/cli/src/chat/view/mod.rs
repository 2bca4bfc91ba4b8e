//! State → screen.
//!
//! | file | draws |
//! |---|---|
//! | `list` | all conversations |
//! | `talk` | the open one: messages from the bottom up, so that a long history costs nothing |
//! | `over` | help, search, questions |
//!
//! From [`BOTH_FROM`] columns on list and conversation stand side by side; below, one of them fills the screen.

mod list;
mod over;
mod talk;

use crossterm::style::Color::{DarkGreen, DarkRed, DarkYellow};
use kuvert_client::{ConversationId, MessageState, Transfer, safe_file_name};

use crate::chat::canvas::{Canvas, Line, Span, Style};
use crate::chat::state::{Focus, Over, State, Status, percent};
use crate::chat::talk::Wanted;
use crate::output::harmless;
use crate::output::time::Zone;
use crate::output::wrap::{shorten, width, wrap};

/// Columns from which on the list stands beside the conversation.
pub const BOTH_FROM: usize = 60;

/// Columns of the list beside a conversation: three tenths of the screen, within these.
const LIST_COLUMNS: (usize, usize) = (22, 38);

/// Rows that a text takes while it is written, at most, and no more than a third of the screen.
const MAX_INPUT_ROWS: usize = 8;

/// Rows of a remark at most.
const MAX_NOTICE_ROWS: usize = 3;

/// Columns that an alias takes beside messages and in titles at most.
const MAX_NAME_COLUMNS: usize = 14;

/// What is drawn with, beside the state.
#[derive(Clone, Copy, Debug)]
pub struct Light<'a> {
    /// In which zone times are shown.
    pub zone: &'a Zone,
    /// The time, Unix milliseconds.
    pub now: u64,
}

/// A part of the screen.
#[derive(Clone, Copy, Debug)]
struct Pane {
    start: usize,
    columns: usize,
    row: usize,
    rows: usize,
}

impl Pane {
    fn write(&self, canvas: &mut Canvas, row: usize, line: &[Span]) {
        if row < self.rows {
            canvas.write_at(self.row + row, self.start, self.columns, line);
        }
    }
}

/// What was drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// Everything of this conversation up to this place is on the screen, or was.
    pub seen: Option<(ConversationId, u64)>,
    /// What has to be read from the store for the next drawing.
    pub wanted: Option<Wanted>,
}

/// Draws everything, and tells the state what of it keys depend on.
pub fn draw(canvas: &mut Canvas, state: &mut State, light: Light<'_>) -> Picture {
    let (columns, rows) = (canvas.columns(), canvas.rows());
    let both = columns >= BOTH_FROM;
    let help = usize::from(rows >= 5);
    let body = Pane { start: 0, columns, row: 0, rows: rows.saturating_sub(help) };
    state.drawn.both = both;
    state.drawn.list.clear();
    state.drawn.list_columns = 0;
    let mut picture = Picture::default();
    if both {
        let list = (columns * 3 / 10).clamp(LIST_COLUMNS.0, LIST_COLUMNS.1);
        list::draw(canvas, state, Pane { columns: list, ..body }, light);
        for row in 0..body.rows {
            canvas.write_at(row, list, 1, &[Span::styled("│", faint())]);
        }
        let pane = Pane { start: list + 1, columns: columns - list - 1, ..body };
        picture = draw_the_rest(canvas, state, pane, light);
    } else if state.focus == Focus::List && !covers(&state.over) {
        list::draw(canvas, state, body, light);
        over::draw_question(canvas, state, body);
    } else {
        picture = draw_the_rest(canvas, state, body, light);
    }
    if rows >= 3 {
        canvas.underline(0);
    }
    if help > 0 {
        draw_hint(canvas, rows - 1, state);
    }
    picture
}

/// What lies over the whole conversation.
const fn covers(over: &Over) -> bool {
    matches!(over, Over::Help(_) | Over::Found(_))
}

fn draw_the_rest(canvas: &mut Canvas, state: &mut State, pane: Pane, light: Light<'_>) -> Picture {
    if covers(&state.over) {
        over::draw(canvas, state, pane, light);
        return Picture::default();
    }
    let picture = talk::draw(canvas, state, pane, light);
    over::draw_question(canvas, state, pane);
    picture
}

/// How the connection stands.
fn status(state: &State) -> (&'static str, Style) {
    match state.status {
        Status::Connecting => ("connecting…", Style::coloured(DarkYellow)),
        Status::Connected => ("connected", Style::coloured(DarkGreen)),
        Status::Along => ("another window receives", Style::coloured(DarkGreen)),
        Status::Offline => ("reconnecting…", Style::coloured(DarkYellow)),
        Status::Displaced => ("another copy receives", Style::coloured(DarkYellow)),
    }
}

fn draw_hint(canvas: &mut Canvas, row: usize, state: &State) {
    let columns = canvas.columns();
    let keys = match (&state.over, state.focus) {
        (Over::Help(_), _) => "Up/Down scroll  Esc back",
        (Over::Found(_), _) => "Up/Down choose  Enter go there  Esc back",
        (Over::Ask(_) | Over::Name(..), _) => "Enter do it  Esc back",
        (Over::Block(..), _) => "y block  any other key: no",
        (Over::Files(..), _) => "Enter send  Esc leave it as text",
        (Over::None, Focus::List) => "Up/Down choose  Enter open  Ctrl-F search  F1 help  Ctrl-C leave",
        (Over::None, Focus::Talk) => "F1 help  Ctrl-N next  Tab list  Ctrl-F search  Ctrl-C leave",
    };
    let on_their_way = transfers(&state.transfers, columns.saturating_sub(2));
    let mut line = vec![Span::styled(on_their_way, Style::coloured(DarkGreen))];
    let left = columns.saturating_sub(line.iter().map(Span::columns).sum::<usize>() + 2);
    line.push(Span::styled(format!(" {}", shorten(keys, left)), faint()));
    if state.mouse {
        line.push(Span::styled("  mouse on: F2", Style::coloured(DarkYellow)));
    }
    canvas.write(row, &line);
}

/// Columns that the name of a file on its way takes.
const MAX_FILE_COLUMNS: usize = 20;

/// Files on their way: ` sending film.mp4 34 %, 1 more `.
fn transfers(transfers: &[Transfer], columns: usize) -> String {
    let Some(first) = transfers.first() else { return String::new() };
    let name = harmless::line(&safe_file_name(&first.name)).into_owned();
    let what = if first.upload { "sending" } else { "fetching" };
    let more = match transfers.len() {
        1 => String::new(),
        count => format!(", {} more", count - 1),
    };
    let words = format!(" {what} {} {} %{more} ", shorten(&name, MAX_FILE_COLUMNS), percent(first));
    shorten(&words, columns)
}

/// How far a message of the user's has come.
fn tick(state: &MessageState) -> (&'static str, Style) {
    match state {
        MessageState::Queued => ("…", Style::coloured(DarkYellow)),
        MessageState::Accepted => ("·", faint()),
        MessageState::Delivered => ("✓", faint()),
        MessageState::Read => ("✓✓", Style::coloured(DarkGreen)),
        MessageState::Failed(_) => ("!", Style::coloured(DarkRed)),
        // Those of messages that came.
        _ => ("", Style::PLAIN),
    }
}

/// A line with something at its right edge.
fn spread(left: Vec<Span>, right: Vec<Span>, columns: usize) -> Line {
    let used: usize = left.iter().chain(&right).map(Span::columns).sum();
    let mut line = left;
    line.push(Span::raw(" ".repeat(columns.saturating_sub(used))));
    line.extend(right);
    line
}

fn rule(columns: usize) -> Line {
    vec![Span::styled("─".repeat(columns), faint())]
}

/// A rule with words in it.
fn titled(text: &str, style: Style, columns: usize) -> Line {
    let text = shorten(text, columns.saturating_sub(6));
    let rest = columns.saturating_sub(width(&text) + 4);
    vec![
        Span::styled("── ", faint()),
        Span::styled(text, style),
        Span::styled(format!(" {}", "─".repeat(rest)), faint()),
    ]
}

/// The remark, in as many rows as it needs.
fn notice_lines(text: &str, columns: usize) -> Vec<Line> {
    let style = Style::coloured(DarkYellow);
    let mut lines = wrap(text, columns.saturating_sub(4));
    if lines.len() > MAX_NOTICE_ROWS {
        lines.truncate(MAX_NOTICE_ROWS);
        if let Some(last) = lines.last_mut() {
            *last = shorten(&format!("{last}………"), columns.saturating_sub(4));
        }
    }
    let mut lines = lines.into_iter();
    let first = titled(&lines.next().unwrap_or_default(), style, columns);
    std::iter::once(first).chain(lines.map(|line| vec![Span::raw("   "), Span::styled(line, style)])).collect()
}

fn bold() -> Style {
    Style::PLAIN.bold()
}

fn faint() -> Style {
    Style::PLAIN.faint()
}

#[cfg(test)]
mod tests;
