//! What `-v` says, on stderr: what is connected to, and what becomes of it. Counts, codes, times and the relay's address. Never a
//! text, a name, an account or a key.
//!
//! Only this project's own statements are written, whatever the level: what libraries log may hold more. And no statement ever
//! waits for the reader of stderr: it may be made while the home's outbox is locked. What does not fit is left out and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use kuvert_relay::program::words::takes_colours;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

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
#[derive(Clone)]
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
        // A subscriber that is there already keeps its place.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter(verbose))
            .with_writer(lines.clone())
            .with_ansi(takes_colours(&io::stderr()))
            .try_init();
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

/// What is said: of this project's programs only.
fn filter(verbose: u8) -> EnvFilter {
    let named =
        std::env::var("RUST_LOG").ok().and_then(|level| level.parse::<tracing::level_filters::LevelFilter>().ok());
    let level = named.map_or_else(
        || match verbose {
            0 => "error".to_owned(),
            1 => "info".to_owned(),
            2 => "debug".to_owned(),
            _ => "trace".to_owned(),
        },
        |level| level.to_string(),
    );
    EnvFilter::new(format!("off,kuvert={level},kuvert_client={level},kuvert_relay=error"))
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.send.try_send(Some(line.to_vec())).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_pauses_makes_no_statement_wait_and_no_heap_grow() {
        let (send, receive) = sync_channel(2);
        let mut lines = Lines { send, left_out: Arc::default() };
        for number in 0..5 {
            assert_eq!(lines.write(&[number]).unwrap(), 1);
        }
        assert_eq!(lines.left_out.load(Ordering::Relaxed), 3);
        assert_eq!(receive.try_iter().count(), 2);
    }
}
