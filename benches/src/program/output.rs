//! Figures for people, or as one JSON document; and what went wrong.

use std::io::{self, Write as _};
use std::path::Path;

use serde_json::{Value, json};

/// Why a command ended early.
#[derive(Debug)]
pub struct Failure {
    /// Stable, kebab-case.
    code: &'static str,
    /// For people.
    message: String,
    reader_left: bool,
}

impl Failure {
    /// A failure with its code and its words.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), reader_left: false }
    }

    /// An operation on a file or on the output that failed; `doing` completes "cannot …".
    pub fn io(doing: &str, error: &io::Error) -> Self {
        let reader_left = error.kind() == io::ErrorKind::BrokenPipe;
        Self { reader_left, ..Self::new("io", format!("cannot {doing}: {error}")) }
    }

    /// Whether the reader of the output has gone: nothing went wrong.
    pub fn reader_left(&self) -> bool {
        self.reader_left
    }
}

/// Where figures go, and in which form.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
}

impl Output {
    /// JSON, or words for people.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether JSON was asked for.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a JSON document.
    ///
    /// # Errors
    /// The reader has gone, or stdout cannot be written.
    pub fn document(&self, document: &Value) -> Result<(), Failure> {
        write_line(&document.to_string())
    }

    /// Prints words, for people only.
    ///
    /// # Errors
    /// The reader has gone, or stdout cannot be written.
    pub fn words(&self, text: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { write_line(text) }
    }

    /// A remark on stderr, for people only.
    pub fn note(&self, text: &str) {
        if !self.json {
            // Where stderr is gone, there is no reader to tell.
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Reports a failure: as an object on stdout where JSON was asked for, else on stderr.
    pub fn failure(&self, failure: &Failure) {
        let Failure { code, message, .. } = failure;
        // The exit code says it, too.
        let _ = if self.json {
            write_line(&json!({"type": "error", "code": code, "message": message}).to_string())
        } else {
            writeln!(io::stderr(), "kuvert-bench: {message}").map_err(|error| Failure::io("write to stderr", &error))
        };
    }
}

fn write_line(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(|error| Failure::io("write to stdout", &error))
}

/// Writes a file whole or not at all. One that is there already keeps its permissions.
///
/// # Errors
/// The system refuses.
pub fn replace(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut aside = tempfile::NamedTempFile::new_in(parent)?;
    aside.write_all(content.as_ref())?;
    if let Ok(old) = std::fs::metadata(path) {
        aside.as_file().set_permissions(old.permissions())?;
    }
    aside.as_file().sync_all()?;
    aside.persist(path).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_left_is_no_failure_and_a_file_is_replaced_whole() {
        assert!(Failure::io("write", &io::Error::from(io::ErrorKind::BrokenPipe)).reader_left());
        assert!(!Failure::io("write", &io::Error::from(io::ErrorKind::StorageFull)).reader_left());
        let there = tempfile::tempdir().unwrap();
        let path = there.path().join("figures.md");
        replace(&path, "one").unwrap();
        replace(&path, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(std::fs::read_dir(there.path()).unwrap().count(), 1, "nothing is left aside");
    }
}
