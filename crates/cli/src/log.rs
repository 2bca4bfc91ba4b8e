//! What `-v` says, on stderr: what is connected to, and what becomes of it. Counts, codes, times and the relay's address. Never a
//! text, a name, an account or a key.
//!
//! Only this project's own statements are written, whatever the level: what libraries log may hold more. And no statement ever
//! waits for the reader of stderr: it may be made while the home's outbox is locked. What does not fit is left out and counted.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use jiff::Timestamp;
use kuvert_program::words::takes_colours;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Lines that wait for a reader of stderr that pauses.
const LINES_KEPT: usize = 1_000;

/// How long the end of the program waits for the last lines to be read.
const FAREWELL: Duration = Duration::from_secs(1);

/// The log, as long as the program runs.
pub struct Log {
    lines: Lines,
    ended: Receiver<()>,
}

/// Where statements go.
#[derive(Clone, Debug)]
struct Lines {
    /// None: the end.
    send: SyncSender<Option<Vec<u8>>>,
    left_out: Arc<AtomicU64>,
}

impl Log {
    /// Starts the log. Nothing is logged without `-v` but errors; `RUST_LOG` overrides how much of this project's own is.
    pub fn start(verbose: u8) -> Self {
        let (send, receive) = sync_channel::<Option<Vec<u8>>>(LINES_KEPT);
        let (end, ended) = sync_channel(1);
        let lines = Lines { send, left_out: Arc::default() };
        let statements =
            Statements { lines: lines.clone(), level: level(verbose), colours: takes_colours(&io::stderr()) };
        // A subscriber that is there already keeps its place.
        let _ = tracing::subscriber::set_global_default(statements);
        let left_out = Arc::clone(&lines.left_out);
        std::thread::spawn(move || {
            while let Ok(Some(line)) = receive.recv() {
                // Nobody is left to be told when stderr is gone.
                let _ = io::stderr().write_all(&line);
            }
            let left_out = left_out.load(Ordering::Relaxed);
            if left_out > 0 {
                let _ = writeln!(io::stderr(), "{left_out} lines of the log were left out: nothing read them");
            }
            let _ = end.send(());
        });
        Self { lines, ended }
    }

    /// Has the last lines written, unless nothing reads them.
    pub fn finish(self) {
        if self.lines.send.try_send(None).is_ok() {
            let _: Result<(), RecvTimeoutError> = self.ended.recv_timeout(FAREWELL);
        }
    }
}

/// How much is said.
fn level(verbose: u8) -> LevelFilter {
    let named = std::env::var("RUST_LOG").ok().and_then(|level| level.parse().ok());
    named.unwrap_or(match verbose {
        0 => LevelFilter::ERROR,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    })
}

impl Lines {
    /// Hands a line on. One that does not fit is counted.
    fn push(&self, line: String) {
        if self.send.try_send(Some(line.into_bytes())).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Makes a line of each statement: time, level, the module that makes it, its words and fields.
#[derive(Debug)]
struct Statements {
    lines: Lines,
    level: LevelFilter,
    colours: bool,
}

impl Statements {
    /// How much is said from a module: of this project's programs only. A relay in the same process says only what went wrong.
    fn level_of(&self, module: &str) -> LevelFilter {
        if module.starts_with("kuvert_relay") {
            LevelFilter::ERROR
        } else if module.starts_with("kuvert") {
            self.level
        } else {
            LevelFilter::OFF
        }
    }

    fn line(&self, event: &Event<'_>) -> String {
        let paint = |codes: &str, text: String| if self.colours { format!("\x1b[{codes}m{text}\x1b[0m") } else { text };
        let level = *event.metadata().level();
        let codes = match level {
            Level::ERROR => "31",
            Level::WARN => "33",
            Level::INFO => "32",
            Level::DEBUG => "34",
            Level::TRACE => "35",
        };
        let mut words = Words::default();
        event.record(&mut words);
        let (now, level) = (paint("2", format!("{:.6}", Timestamp::now())), paint(codes, format!("{level:>5}")));
        let module = paint("2", format!("{}:", event.metadata().target()));
        format!("{now} {level} {module} {}{}\n", words.message, words.fields)
    }
}

impl Subscriber for Statements {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level_of(metadata.target())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level.max(LevelFilter::ERROR))
    }

    fn event(&self, event: &Event<'_>) {
        self.lines.push(self.line(event));
    }

    // No statement belongs to a span.

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The words of a statement, and its fields behind them.
#[derive(Debug, Default)]
struct Words {
    message: String,
    fields: String,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_pauses_makes_no_statement_wait_and_no_heap_grow() {
        let (send, receive) = sync_channel(2);
        let lines = Lines { send, left_out: Arc::default() };
        for number in 0..5 {
            lines.push(number.to_string());
        }
        assert_eq!(lines.left_out.load(Ordering::Relaxed), 3);
        assert_eq!(receive.try_iter().count(), 2);
    }

    #[test]
    fn a_statement_has_its_time_its_level_its_module_its_words_and_its_fields() {
        let (send, receive) = sync_channel(10);
        let lines = Lines { send, left_out: Arc::default() };
        let statements = Statements { lines, level: LevelFilter::INFO, colours: false };
        tracing::subscriber::with_default(statements, || {
            tracing::info!(waiting = 2, relay = "host", "connected");
            tracing::debug!("too much");
            tracing::error!(target: "quinn", "of a library");
            tracing::warn!(target: "kuvert_relay::store", "of a relay");
        });
        let said: Vec<String> = receive.try_iter().flatten().map(|line| String::from_utf8(line).unwrap()).collect();
        let [line] = said.as_slice() else { panic!("{said:?}") };
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.parse::<Timestamp>().is_ok() && time.ends_with('Z'), "{time}");
        assert_eq!(rest, " INFO kuvert_cli::log::tests: connected waiting=2 relay=\"host\"\n");
    }
}
