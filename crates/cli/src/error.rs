//! How a command ends when it does not succeed: a stable code, and words that say what to do next.

use std::borrow::Cow;
use std::io;
use std::process::ExitCode;

use kuvert_client::Error;

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
    /// The user, or the reader of the output, has gone: nothing more to say, and nothing went wrong.
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

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(error.code(), words(&error))
    }
}

/// An error of the client in words, with what to type where a command is the way out.
pub fn words(error: &Error) -> String {
    match error {
        Error::LevelTooHigh { level } => format!(
            "at level {level} the relay is told nothing of this: `kuvert --level L0 whoami` goes to L0, where it is, and stays there"
        ),
        Error::Displaced => format!(
            "{error}. This one has stopped receiving; it can still send. Nothing is lost: mail waits at the relay, or stands in the \
             history of what fetched it. If that is a copy of this home, `kuvert status` says the way out"
        ),
        Error::AliasTaken { .. } => format!("{error}: choose another alias with --as"),
        Error::ContactUnknown { .. } => format!(
            "{error}: see `kuvert contact list` and `kuvert contact requests`, or add one with `kuvert contact add`"
        ),
        Error::TextsWaiting { .. } => {
            format!("{error} with `kuvert receive --max 0`, or give it up with --force; nothing was removed")
        }
        Error::RequestPending { who } => format!(
            "'{who}' wrote to you and is no contact yet: accept it with `kuvert contact accept {}`, then write",
            shell_word(who)
        ),
        Error::NotRegistered { home } => {
            format!("no account in {}: run `kuvert register --relay KUVERT_URL` first", home.display())
        }
        Error::AlreadyRegistered { .. } => format!(
            "{error}: choose another --home, or go on with this one; if its relay moved, `kuvert relay move ADDRESS`"
        ),
        Error::AccountDeleted => format!("{error}; register a new account in another --home"),
        Error::IdentityChanged { who } => format!(
            "the account key of '{who}' changed: compare safety numbers with them over another way, then run `kuvert \
             contact accept {}`; nothing is sent until then",
            shell_word(who)
        ),
        Error::InvitationNeeded => format!("{error}, and give it with --invitation"),
        Error::PhoneCodeExpired => format!("{error} with `kuvert account phone NUMBER`"),
        Error::ReportNotReady { .. } => format!("{error}, or wait with --wait"),
        Error::Permissions { path, mode, wanted } => {
            let path = path.display();
            format!("{path} can be used by others (mode {mode:03o}): run `chmod {wanted:03o} {path}`")
        }
        Error::HomeOfAnother { path, owner } => format!(
            "{} belongs to another user (number {owner}): run this as that user, with `sudo -u '#{owner}'`, or choose another \
             --home; nothing was changed",
            path.display()
        ),
        Error::StoreKeyMissing { path } => format!(
            "the key of the store is missing at {}: put it back, or set KUVERT_STORE_KEY_FILE to where it is; without it the \
             store cannot be opened",
            path.display()
        ),
        Error::StoreForeign { path } => format!(
            "{} is not a Kuvert store: choose another --home, or, if it was one, put a backup in place",
            path.display()
        ),
        other => other.to_string(),
    }
}

/// An alias as it has to be typed into a shell.
pub fn shell_word(alias: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !alias.is_empty() && !alias.starts_with('-') && alias.chars().all(plain) {
        return Cow::Borrowed(alias);
    }
    Cow::Owned(format!("'{}'", alias.replace('\'', r"'\''")))
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

    #[test]
    fn an_alias_in_a_command_is_one_word() {
        for (alias, word) in
            [("bob", "bob"), ("Bob from the choir", "'Bob from the choir'"), ("O'Neill", r"'O'\''Neill'")]
        {
            assert_eq!(shell_word(alias), word);
        }
    }

    #[test]
    fn what_to_type_is_said_where_a_command_is_the_way_out() {
        let who = || "Bob from the choir".to_owned();
        for (error, typed) in [
            (Error::LevelTooHigh { level: kuvert_client::Level::L2 }, "`kuvert --level L0 whoami`"),
            (Error::IdentityChanged { who: who() }, "`kuvert contact accept 'Bob from the choir'`"),
            (Error::RequestPending { who: who() }, "`kuvert contact accept 'Bob from the choir'`"),
            (Error::ContactUnknown { who: who() }, "`kuvert contact add`"),
            (Error::NotRegistered { home: "/home/h".into() }, "`kuvert register --relay KUVERT_URL`"),
            (Error::AliasTaken { alias: who() }, "--as"),
            (Error::InvitationNeeded, "--invitation"),
            (Error::Permissions { path: "/h".into(), mode: 0o644, wanted: 0o600 }, "`chmod 600 /h`"),
            (Error::HomeOfAnother { path: "/h".into(), owner: 7 }, "`sudo -u '#7'`"),
            (Error::StoreKeyMissing { path: "/h".into() }, "KUVERT_STORE_KEY_FILE"),
        ] {
            assert!(words(&error).contains(typed), "{error}");
            assert!(!error.to_string().contains(typed), "{error}");
        }
    }
}
