//! How a command ends when it does not succeed: a stable code, and words that say what to do next.

use std::borrow::Cow;
use std::io;
use std::process::ExitCode;

/// Why a command ended early.
#[derive(Debug)]
pub enum Failure {
    /// It failed: exit code 1.
    Failed {
        /// Stable, kebab-case; docs/ERRORS.md lists all.
        code: Cow<'static, str>,
        /// For people: what happened, and what to do next.
        message: String,
    },
    /// The user, or whoever reads our output, has gone: nothing more to say, and nothing went wrong.
    Left,
    /// A signal of this number ended it half done, in good order: nothing to say that the user does not know.
    Stopped(i32),
}

/// What a shell adds to a signal's number to make an exit code of it.
const SIGNALLED: u8 = 128;

impl Failure {
    /// A failure with its code and its words.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::Failed { code: code.into(), message: message.into() }
    }

    /// A file or terminal operation that failed; `doing` completes "cannot …".
    pub fn io(doing: &str, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::Left;
        }
        Self::new("io", format!("cannot {doing}: {error}"))
    }

    /// Ctrl-C, where the terminal makes a key of it.
    pub fn interrupted() -> Self {
        Self::Stopped(rustix::process::Signal::INT.as_raw())
    }

    /// The exit code that scripts see.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Failed { .. } => ExitCode::from(1),
            Self::Left => ExitCode::SUCCESS,
            Self::Stopped(signal) => ExitCode::from(SIGNALLED.saturating_add(u8::try_from(*signal).unwrap_or(0))),
        }
    }
}

impl From<kuvert_client::Error> for Failure {
    fn from(error: kuvert_client::Error) -> Self {
        Self::new(error.code(), words(&error))
    }
}

/// An error of the client in words, with what to type where a command is the way out.
pub fn words(error: &kuvert_client::Error) -> String {
    error.to_string()
}

/// The exit code of a command line that cannot be understood.
pub const USAGE: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let gone = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(matches!(Failure::io("write", &gone), Failure::Left));
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(matches!(Failure::io("write", &full), Failure::Failed { code, .. } if code == "io"));
    }
}
