//! What an answer of the server means: it happened, it surely did not, or that is not known.
//!
//! - *Happened*: success, and no WARNING on that connection. A commit whose wait for the standby was cancelled answers with success
//!   and a WARNING: the row is visible and on one machine only.
//! - *Surely not*: an SQLSTATE that the statement raised, before its commit.
//! - *Unknown*: everything else once something was sent: the connection closed, our own timeout, any WARNING, a server that goes
//!   down, and what the server itself calls unknown.

use kuvert_relay::store::{StoreError, Unavailable};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// What an error means for what was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Nothing happened.
    Not,
    /// It may have happened.
    Unknown,
}

/// Classes of SQLSTATE after which a commit may have happened all the same, whatever raised them.
const UNKNOWN_CLASSES: [&str; 4] = ["08", "57", "58", "XX"];

/// The server does not know itself.
const COMPLETION_UNKNOWN: &str = "40003";

/// What an SQLSTATE means once the statement was sent.
pub fn of_code(code: &str) -> Outcome {
    let class = code.get(..2).unwrap_or_default();
    if UNKNOWN_CLASSES.contains(&class) || code == COMPLETION_UNKNOWN { Outcome::Unknown } else { Outcome::Not }
}

/// What an error means once the statement was sent.
pub fn of(error: &Error) -> Outcome {
    match error.code() {
        Some(code) => of_code(code.code()),
        // Closed, or an answer that makes no sense.
        None => Outcome::Unknown,
    }
}

/// Something went wrong with a connection or a statement on it.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What that means.
    pub outcome: Outcome,
    /// SQLSTATE, where the server told one.
    pub code: Option<SqlState>,
    /// For the log: no values, as `log_parameter_max_length` keeps them out of the server's.
    pub words: String,
}

impl Fault {
    /// Nothing was sent, or nothing came of it.
    pub fn not(words: impl Into<String>) -> Self {
        Self { outcome: Outcome::Not, code: None, words: words.into() }
    }

    /// Something was sent, and no answer that can be relied on came.
    pub fn unknown(words: impl Into<String>) -> Self {
        Self { outcome: Outcome::Unknown, code: None, words: words.into() }
    }

    /// A failure to connect: nothing was sent. With its causes, such as what is wrong with a server's certificate.
    pub fn connecting(error: &Error) -> Self {
        let mut fault = Self { outcome: Outcome::Not, ..Self::from_error(error) };
        if error.as_db_error().is_none() {
            let mut cause = std::error::Error::source(error);
            while let Some(error) = cause {
                fault.words += &format!(": {error}");
                cause = error.source();
            }
        }
        fault
    }

    /// The error of a statement that was sent.
    pub fn from_error(error: &Error) -> Self {
        // The message of a constraint's violation would hold values; SQLSTATE and the constraint's name do not.
        let words = match error.as_db_error() {
            Some(db) => format!(
                "SQLSTATE {}{}",
                db.code().code(),
                db.constraint().map(|name| format!(", {name}")).unwrap_or_default()
            ),
            None if error.is_closed() => "the connection closed".to_owned(),
            None => error.to_string(),
        };
        Self { outcome: of(error), code: error.code().cloned(), words }
    }

    /// Whether a row like that was there already.
    pub fn is_unique_violation(&self) -> bool {
        self.code.as_ref() == Some(&SqlState::UNIQUE_VIOLATION)
    }

    /// Whether the same may well succeed in a moment, maybe elsewhere: a server that does not take writes any more, a lock that was
    /// not to be had, two that met.
    pub fn is_transient(&self) -> bool {
        const CODES: [SqlState; 4] = [
            SqlState::READ_ONLY_SQL_TRANSACTION,
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::LOCK_NOT_AVAILABLE,
        ];
        self.outcome == Outcome::Not && self.code.as_ref().is_none_or(|code| CODES.contains(code))
    }

    /// As the store says it.
    pub fn store_error(&self) -> StoreError {
        match (self.outcome, &self.code) {
            (Outcome::Unknown, _) => StoreError::Unknown(self.words.clone()),
            (Outcome::Not, Some(code)) if *code == SqlState::DISK_FULL => Unavailable::DiskFull.into(),
            (Outcome::Not, _) => Unavailable::Io(self.words.clone()).into(),
        }
    }

    /// The same for something that only reads.
    pub fn reading(&self) -> StoreError {
        Self { outcome: Outcome::Not, ..self.clone() }.store_error()
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::from_error(&error)
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        fault.store_error()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_statement_raised_surely_did_not_happen() {
        for code in ["25006", "23505", "40001", "40P01", "53100", "53300", "55P03"] {
            assert_eq!(of_code(code), Outcome::Not, "{code}");
        }
        for code in ["57P01", "57P02", "57P03", "57014", "58030", "XX000", "XX001", "08006", "08007", "40003"] {
            assert_eq!(of_code(code), Outcome::Unknown, "{code}");
        }
    }
}
