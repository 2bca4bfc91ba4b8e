//! Draws scenes: three columns side by side where the terminal is wide enough, one after another elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};
use kuvert_cli::error::Failure;
use kuvert_cli::output::Output;
use kuvert_cli::output::harmless;
use kuvert_cli::output::layout;
use kuvert_cli::output::style::Painter;
use kuvert_cli::output::wrap::{width, wrap};
use kuvert_cli::terminal::{self, Keys, Kind, Taken, Wake};

use crate::facts::{Facts, grouped};
use crate::hex_dump::hex_dump;
use crate::scene::{Item, Row, Scene, Tone};

/// Below this, three columns are too narrow to read.
const MIN_COLUMNS: usize = 80;

/// Beyond this, lines are too long to read.
const MAX_COLUMNS: usize = 160;

/// Columns of the names of facts.
const FACT_COLUMNS: usize = 11;

/// Blanks at the left edge of everything.
const MARGIN: &str = "  ";

/// Between the columns.
const RULE: &str = " │ ";

/// How long a finished scene stands before the next one begins, so that the eye can follow. Nothing waits for this.
const BREATH: Duration = Duration::from_millis(350);

/// How a scene is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Three columns of these widths.
    Columns {
        /// Alice's and Bob's.
        side: usize,
        /// The relay's.
        middle: usize,
    },
    /// One after another, this wide.
    Plain {
        /// Columns for the text.
        text: usize,
    },
}

impl Layout {
    /// The layout for a width, on a terminal or elsewhere.
    pub fn fit(columns: usize, terminal: bool) -> Self {
        if !terminal || columns < MIN_COLUMNS {
            return Self::Plain { text: columns.clamp(30, MAX_COLUMNS) - 10 };
        }
        let inner = columns.min(MAX_COLUMNS) - width(MARGIN) - 2 * width(RULE);
        // The relay's column takes the widest dump that leaves the others room to read.
        let middle = match inner {
            145.. => 71,
            96.. => 40 + (inner - 96) / 4,
            _ => 30,
        };
        let side = (inner - middle) / 2;
        Self::Columns { side, middle: inner - 2 * side }
    }
}

/// Where scenes are shown.
#[derive(Debug)]
pub struct Stage {
    silent: bool,
    step: bool,
    layout: Layout,
    terminal: bool,
    painter: Painter,
    shown: usize,
    /// The terminal's keys, from the first wait on.
    keys: Option<Taken>,
}

impl Stage {
    /// The stage of this process's terminal. Nothing is shown where a JSON document was asked for.
    pub fn new(output: &Output, step: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let columns = layout::Layout::of(&io::stdout()).columns();
        Self {
            silent: output.is_json(),
            step: step && io::stdin().is_terminal(),
            layout: Layout::fit(columns, terminal),
            terminal,
            painter: output.painter(),
            shown: 0,
            keys: None,
        }
    }

    /// Shows a scene, and waits for a key before the next one where that was asked for.
    ///
    /// # Errors
    /// The output has no reader, or the user left.
    pub async fn show(&mut self, scene: &Scene) -> Result<(), Failure> {
        if self.silent {
            return Ok(());
        }
        if self.shown > 0 {
            self.pause().await?;
        }
        self.shown += 1;
        self.print(&draw(scene, self.shown, self.layout, self.painter))
    }

    /// Tells where the page is that shows what the relay sees.
    ///
    /// # Errors
    /// The output has no reader.
    pub fn lens(&self, url: &str) -> Result<(), Failure> {
        let line = match self.silent {
            true => serde_json::json!({"type": "lens", "url": url}).to_string(),
            false => format!("{MARGIN}What the relay sees, live: {url}"),
        };
        self.print(&[line])
    }

    /// Shows the last screen.
    ///
    /// # Errors
    /// The output has no reader, or the user left.
    pub fn summary(&self, facts: &Facts) -> Result<(), Failure> {
        let columns = match self.layout {
            Layout::Columns { side, middle } => 2 * side + middle + 2 * width(RULE),
            Layout::Plain { text } => text + 8,
        };
        self.print(&draw_summary(facts, columns, self.painter))
    }

    /// Waits before the last screen, too.
    ///
    /// # Errors
    /// The user left.
    pub async fn pause(&mut self) -> Result<(), Failure> {
        if self.silent {
            return Ok(());
        }
        if self.step {
            self.print(&[format!("{MARGIN}{}", self.painter.faint("— any key —"))])?;
            return self.wait_for_key().await;
        }
        if self.terminal {
            tokio::time::sleep(BREATH).await;
        }
        Ok(())
    }

    async fn wait_for_key(&mut self) -> Result<(), Failure> {
        let keys = match &mut self.keys {
            Some(keys) => {
                keys.resume()?;
                keys
            }
            none => none.insert(Taken::take(Kind::Keys)?),
        };
        let pressed = key(keys).await;
        keys.release();
        if terminal::is_gone() { Err(Failure::Left) } else { pressed }
    }

    fn print(&self, lines: &[String]) -> Result<(), Failure> {
        let mut text = lines.join("\n");
        text.push('\n');
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .map_err(|error| Failure::io("write to stdout", &error))
    }
}

/// Waits for a key. Ctrl-C and Ctrl-Z, which raw mode makes keys of, do what the signals do.
async fn key(keys: &mut Taken) -> Result<(), Failure> {
    let mut events = Keys::new();
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            wake = keys.wake() => match wake {
                Wake::Suspend => {
                    keys.suspend().await?;
                    continue;
                }
                Wake::Resume => {
                    keys.resume()?;
                    continue;
                }
                Wake::Gone => return Err(Failure::Left),
            },
        };
        let Some(event) = event else { return Err(Failure::Left) };
        let Event::Key(key) = event.map_err(|error| Failure::io("read the terminal", &error))? else { continue };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Err(Failure::interrupted()),
            KeyCode::Char('z') if key.modifiers.contains(KeyModifiers::CONTROL) => keys.suspend_job().await?,
            KeyCode::Esc => return Err(Failure::Left),
            _ => return Ok(()),
        }
    }
}

/// A scene as lines.
pub fn draw(scene: &Scene, number: usize, layout: Layout, painter: Painter) -> Vec<String> {
    let columns = match layout {
        Layout::Columns { side, middle } => 2 * side + middle + 2 * width(RULE),
        Layout::Plain { text } => text + 8,
    };
    let heading = format!("{number}  {}", scene.title);
    let line = "━".repeat(columns.saturating_sub(width(&heading) + 1));
    let mut lines = vec![String::new(), format!("{MARGIN}{} {}", painter.strong(&heading), painter.faint(&line))];
    lines.extend(wrap(&scene.words, columns).iter().map(|words| format!("{MARGIN}{}", painter.faint(words))));
    lines.push(String::new());
    match layout {
        Layout::Columns { side, middle } => columns_of(scene, side, middle, painter, &mut lines),
        Layout::Plain { text } => plain(scene, text, painter, &mut lines),
    }
    lines
}

fn columns_of(scene: &Scene, side: usize, middle: usize, painter: Painter, lines: &mut Vec<String>) {
    let rule = painter.faint(RULE);
    let head = |name: &str, columns: usize| pad(&painter.strong(name), width(name), columns);
    let names =
        format!("{MARGIN}{}{rule}{}{rule}{}", head("Alice", side), head("relay", middle), painter.strong("Bob"));
    lines.push(names);
    let crossing = format!("{}─┼─{}─┼─{}", "─".repeat(side), "─".repeat(middle), "─".repeat(side));
    lines.push(format!("{MARGIN}{}", painter.faint(&crossing)));
    for (number, Row { alice, relay, bob }) in scene.rows.iter().enumerate() {
        let gap = if number == 0 { 0 } else { 1 };
        let left = cells(alice, side, painter);
        let centre = cells(relay, middle, painter);
        let right = cells(bob, side, painter);
        let height = left.len().max(centre.len()).max(right.len());
        let blank = (String::new(), 0);
        for line in 0..height + gap {
            let cell = |cells: &[(String, usize)]| {
                line.checked_sub(gap).and_then(|line| cells.get(line).cloned()).unwrap_or_else(|| blank.clone())
            };
            let ((left, left_width), (centre, centre_width), (right, _)) = (cell(&left), cell(&centre), cell(&right));
            let drawn = format!(
                "{MARGIN}{}{rule}{}{rule}{right}",
                pad(&left, left_width, side),
                pad(&centre, centre_width, middle)
            );
            lines.push(drawn.trim_end().to_owned());
        }
    }
}

fn plain(scene: &Scene, columns: usize, painter: Painter, lines: &mut Vec<String>) {
    for Row { alice, relay, bob } in &scene.rows {
        for (name, items) in [("Alice", alice), ("relay", relay), ("Bob", bob)] {
            for (line, (text, _)) in cells(items, columns, painter).into_iter().enumerate() {
                let name = if line == 0 { name } else { "" };
                let padded = pad(&painter.strong(name), name.len(), 6);
                lines.push(format!("{MARGIN}{padded}{text}").trim_end().to_owned());
            }
        }
    }
}

/// Items as painted lines, each with the columns that it takes.
fn cells(items: &[Item], columns: usize, painter: Painter) -> Vec<(String, usize)> {
    let mut out = Vec::new();
    for item in items {
        match item {
            Item::Gap => out.push((String::new(), 0)),
            Item::Text(tone, text) => {
                let text = harmless::text(text);
                let lines = wrap(&text, columns);
                out.extend(lines.into_iter().map(|line| (paint(painter, *tone, &line), width(&line))));
            }
            Item::Fact(name, value) => {
                let value = harmless::text(value);
                let values = wrap(&value, columns.saturating_sub(FACT_COLUMNS).max(1));
                for (number, line) in values.into_iter().enumerate() {
                    let name = format!("{:<FACT_COLUMNS$}", if number == 0 { name } else { "" });
                    let taken = width(&name) + width(&line);
                    out.push((format!("{}{}", painter.faint(&name), painter.warning(&line)), taken));
                }
            }
            Item::Bytes(bytes, rows) => {
                let dump = hex_dump(bytes, columns, *rows);
                let (per_row, _) = crate::hex_dump::layout(columns);
                out.extend(dump.iter().map(|line| (painter.sealed(line), width(line))));
                let rest = bytes.len().saturating_sub(rows * per_row);
                if rest > 0 {
                    let more = format!("…     and {} more bytes", grouped(rest));
                    let more = kuvert_cli::output::wrap::shorten(&more, columns);
                    out.push((painter.faint(&more), width(&more)));
                }
            }
        }
    }
    out
}

fn paint(painter: Painter, tone: Tone, text: &str) -> String {
    match tone {
        Tone::Plain => text.to_owned(),
        Tone::Command => painter.strong(text),
        Tone::Letter => painter.person(text),
        Tone::Good => painter.good(text),
        Tone::Seen => painter.warning(text),
        Tone::Faint => painter.faint(text),
    }
}

/// Blanks behind a painted text that takes `taken` columns.
fn pad(painted: &str, taken: usize, columns: usize) -> String {
    format!("{painted}{}", " ".repeat(columns.saturating_sub(taken)))
}

/// The last screen.
fn draw_summary(facts: &Facts, columns: usize, painter: Painter) -> Vec<String> {
    let heading = |title: &str, painted: String| {
        let line = "━".repeat(columns.saturating_sub(width(title) + 1));
        format!("{MARGIN}{painted} {}", painter.faint(&line))
    };
    let mut lines = vec![String::new(), heading("What stayed private", painter.good("What stayed private"))];
    let mut entry = |mark: String, what: &str, how: &str| {
        let head_columns = 22;
        let texts = wrap(how, columns.saturating_sub(head_columns + 2).max(20));
        for (number, text) in texts.iter().enumerate() {
            let (mark, what) = if number == 0 { (mark.as_str(), what) } else { (" ", "") };
            lines.push(format!("{MARGIN}{mark} {}{text}", pad(&painter.strong(what), width(what), head_columns)));
        }
    };
    for kept in facts.private() {
        let mark = if kept.holds { painter.good("✓") } else { painter.warning("✗") };
        entry(mark, kept.what, &kept.how);
    }
    lines.push(String::new());
    lines.push(heading("What the relay saw all the same", painter.warning("What the relay saw all the same")));
    let mut entry = |what: &str, how: &str| {
        let head_columns = 22;
        let texts = wrap(how, columns.saturating_sub(head_columns + 2).max(20));
        for (number, text) in texts.iter().enumerate() {
            let (mark, what) = if number == 0 { ("•", what) } else { (" ", "") };
            let mark = painter.warning(mark);
            lines.push(format!("{MARGIN}{mark} {}{text}", pad(&painter.strong(what), width(what), head_columns)));
        }
    };
    for seen in &facts.relay_saw {
        entry(seen.what, &seen.seen);
    }
    lines.push(String::new());
    let checked = wrap(&facts.how_it_was_checked(), columns);
    lines.extend(checked.iter().map(|line| format!("{MARGIN}{}", painter.faint(line))));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene() -> Scene {
        Scene {
            title: "Bob is away".into(),
            words: "Alice writes.".into(),
            rows: vec![
                Row {
                    alice: vec![
                        Item::command("kuvert send bob …"),
                        Item::letter("Dear Bob, 東京 is far away from here."),
                    ],
                    relay: vec![Item::Fact("for", "bob".into()), Item::Bytes((0..=255).collect(), 3)],
                    bob: vec![Item::faint("(away)")],
                },
                Row { bob: vec![Item::check(true, "read"), Item::Gap], ..Row::default() },
            ],
        }
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for columns in 30..200 {
            let layout = Layout::fit(columns, true);
            for line in draw(&scene(), 1, layout, Painter::new(false)) {
                assert!(width(&line) <= columns.max(40), "{columns}: {} {line:?}", width(&line));
            }
        }
    }

    #[test]
    fn columns_stand_below_each_other() {
        for columns in [80, 100, 120, 160, 220] {
            let layout = Layout::fit(columns, true);
            let drawn = draw(&scene(), 1, layout, Painter::new(false));
            let rules: Vec<usize> = drawn
                .iter()
                .filter(|line| line.contains('│'))
                .map(|line| width(&line[..line.find('│').unwrap()]))
                .collect();
            assert!(rules.len() > 5, "{drawn:#?}");
            assert!(rules.iter().all(|rule| *rule == rules[0]), "{drawn:#?}");
        }
    }

    #[test]
    fn wide_terminals_show_sixteen_bytes_in_a_row() {
        let rows = |columns| {
            let drawn = draw(&scene(), 1, Layout::fit(columns, true), Painter::new(false)).join("\n");
            (drawn.contains("07 08"), drawn.contains("!\"#"))
        };
        assert_eq!(rows(80), (false, false), "eight bytes without their characters");
        assert_eq!(rows(120), (false, false));
        assert!(rows(160).0);
    }

    #[test]
    fn without_a_terminal_the_same_facts_stand_one_after_another() {
        let drawn = draw(&scene(), 1, Layout::fit(layout::DEFAULT_COLUMNS, false), Painter::new(false)).join("\n");
        for words in
            ["Alice kuvert send bob …", "Dear Bob", "relay for        bob", "0000  00 01", "Bob   (away)", "✓ read"]
        {
            assert!(drawn.contains(words), "{words}: {drawn}");
        }
        assert!(!drawn.contains('│') && !drawn.contains('\u{1b}'));
    }
}
