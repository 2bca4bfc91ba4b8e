//! What a command has to say: for people, or as JSON lines. Results go to stdout, everything else to stderr.
//!
//! | module | holds |
//! |---|---|
//! | [`record`] | every JSON object that the program prints |
//! | [`human`] | the same for people |
//! | `json_document` | a test: docs/JSON.md tells of all of them |
//! | [`harmless`] | received text, made safe for a terminal |
//! | [`layout`] | lines that cannot pass for another person's |
//! | [`progress`] | how far a file is |
//! | [`qr`] | QR codes |
//! | [`style`] | colours, switched off by `NO_COLOR`, `TERM=dumb` or a pipe |
//! | [`time`] | times of day in the user's own zone |
//! | [`underway`] | what is being printed and noted, for a command that ends |
//! | [`wrap`] | lines that fit a width |

pub mod harmless;
pub mod human;
#[cfg(test)]
mod json_document;
pub mod layout;
pub mod progress;
pub mod qr;
pub mod record;
pub mod style;
pub mod time;
pub mod underway;
pub mod wrap;

use std::io::{self, IsTerminal as _, Write};

use kuvert_program::words::takes_colours;

use crate::error::Failure;
use crate::output::layout::{Layout, indented};
use crate::output::qr::Qr;
use crate::output::record::Record;
use crate::output::style::Painter;
use crate::output::underway::Underway;

/// Where results go, and in which form.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
    painter: Painter,
}

impl Output {
    /// JSON lines, or words for people.
    pub fn new(json: bool) -> Self {
        Self { json, painter: Painter::new(takes_colours(&io::stdout())) }
    }

    /// Whether JSON lines were asked for.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// The colours of stdout.
    pub fn painter(&self) -> Painter {
        self.painter
    }

    /// Prints one result, whole and at once: after this returns, a kill no longer takes it back.
    ///
    /// # Errors
    /// The reader has gone, or stdout cannot be written.
    pub fn print(&self, record: &Record<'_>) -> Result<(), Failure> {
        match self.rendered(record)? {
            Some(text) => write_line(&text),
            None => Ok(()),
        }
    }

    /// Prints one result from within a task: while the reader pauses only the caller waits, and can be dropped meanwhile.
    ///
    /// # Errors
    /// The reader has gone, or stdout cannot be written.
    pub async fn tell(&self, record: &Record<'_>) -> Result<(), Failure> {
        self.tell_then(record, || Ok(())).await
    }

    /// Prints one result as [`tell`](Self::tell) does, and does what is due once it is printed. Both happen also when the
    /// caller is dropped in between: what was printed is noted.
    ///
    /// # Errors
    /// The reader has gone, or stdout cannot be written; those of `then`.
    pub async fn tell_then(
        &self,
        record: &Record<'_>,
        then: impl FnOnce() -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), Failure> {
        let text = self.rendered(record)?;
        let underway = Underway::begin();
        let printing = tokio::task::spawn_blocking(move || {
            let _underway = underway;
            text.map_or(Ok(()), |text| write_line(&text))?;
            then()
        });
        printing.await.unwrap_or_else(|_| Err(Failure::new("internal", "printing failed: please report it")))
    }

    /// A result as it is printed; nothing where there is nothing to say to people.
    fn rendered(&self, record: &Record<'_>) -> Result<Option<String>, Failure> {
        let text =
            if self.json { as_json(record)? } else { human::show(record, &self.painter, &Layout::of(&io::stdout())) };
        Ok((self.json || !text.is_empty()).then_some(text))
    }

    /// Prints a JSON document of another shape than a [`Record`].
    ///
    /// # Errors
    /// The reader has gone, or stdout cannot be written.
    pub fn document(&self, document: &serde_json::Value) -> Result<(), Failure> {
        write_line(&harmless::json(document.to_string()))
    }

    /// Prints words for people only.
    ///
    /// # Errors
    /// The reader has gone, or stdout cannot be written.
    pub fn words(&self, text: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { write_line(text) }
    }

    /// Whether a person reads along.
    pub fn is_on_terminal(&self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    /// Prints a QR code, for people only. In a window that is too narrow it would fall apart: then it is said how wide it has to be.
    ///
    /// # Errors
    /// The reader has gone, or stdout cannot be written.
    pub fn qr(&self, code: &Qr) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        let (needed, columns) = (code.columns(), Layout::of(&io::stdout()).columns());
        if self.is_on_terminal() && columns < needed {
            self.note(&format!("The QR code needs a window of {needed} columns, this one has {columns}."));
            return Ok(());
        }
        write_line(&format!("\n{}", code.drawn(self.painter.is_on())))
    }

    /// Asks something on stderr: what is answered stands behind it.
    pub fn prompt(&self, question: &str) {
        // Nobody is left to be asked when stderr is gone.
        let _ = write!(io::stderr(), "{} ", aside(question)).and_then(|()| io::stderr().flush());
    }

    /// A remark on stderr, for people only. It may hold words of the relay.
    pub fn note(&self, text: &str) {
        if !self.json {
            // Nobody is left to be told when stderr is gone.
            let _ = writeln!(io::stderr(), "{}", aside(text));
        }
    }

    /// Reports a failure: as an object on stdout with `--json`, else on stderr.
    pub fn failure(&self, failure: &Failure) {
        let Failure::Failed { code, message } = failure else { return };
        if self.json {
            // The exit code says it, too.
            let _ = self.print(&Record::Error { code, message, line: None });
        } else {
            complain(message);
        }
    }

    /// Reports that one of the lines on stdin was not taken: as an object on stdout with `--json`, else on stderr.
    ///
    /// # Errors
    /// The reader has gone, or stdout cannot be written.
    pub async fn failed_line(&self, line: u64, code: &str, message: &str) -> Result<(), Failure> {
        if self.json {
            return self.tell(&Record::Error { code, message, line: Some(line) }).await;
        }
        complain(&format!("line {line}: {message}"));
        Ok(())
    }
}

/// A result as one line of JSON.
///
/// # Errors
/// `internal`.
pub fn as_json(record: &Record<'_>) -> Result<String, Failure> {
    let json = serde_json::to_string(record).map_err(|error| Failure::new("internal", error.to_string()))?;
    Ok(harmless::json(json))
}

/// A result as a file has it: in words, without colours, as wide as it comes.
pub fn as_text(record: &Record<'_>) -> String {
    human::show(record, &Painter::new(false), &Layout::new(None, None, false))
}

/// What went wrong, on stderr.
fn complain(message: &str) {
    let painter = Painter::new(takes_colours(&io::stderr()));
    // Nobody is left to be told when stderr is gone.
    let _ = writeln!(io::stderr(), "{} {}", painter.warning("kuvert:"), aside(message));
}

/// Words for stderr, made harmless and laid out.
fn aside(text: &str) -> String {
    Layout::of(&io::stderr()).words(&indented(&harmless::text(text))).into_owned()
}

/// One write for the whole line: what reads along never sees half of it (up to the pipe's atomic size).
fn write_line(text: &str) -> Result<(), Failure> {
    let mut line = String::with_capacity(text.len() + 1);
    line.push_str(text);
    line.push('\n');
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(line.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::io("write to stdout", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remark_cannot_command_the_terminal_or_begin_a_line() {
        assert_eq!(aside("still not sent: \x1b[2J\nbob: hi"), "still not sent: ␛[2J\n    bob: hi");
    }
}
