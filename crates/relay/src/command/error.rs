//! Why a command is not done, in words that say what to do.

use std::borrow::Cow;
use std::time::Duration;

use kuvert_types::DecodeError;
use kuvert_wire::checked::FieldError;
pub use kuvert_wire::v1::error::Code;

use crate::store::{StoreError, Unavailable};

/// How long a client should wait before it asks a relay again that cannot store now.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// The same of one that has little room: its operator has to do something first.
const LOW_WATER_PAUSE: Duration = Duration::from_secs(60);

/// The answer to a command that is not done. Never holds a name, number, address or key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandError {
    /// For programs.
    pub code: Code,
    /// For people.
    pub message: Cow<'static, str>,
    /// When it is worth another try, if waiting helps.
    pub retry_after: Option<Duration>,
}

impl CommandError {
    /// A refusal that waiting does not change.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }

    /// Too much was asked for.
    pub fn limited(what: &'static str, retry_after: Duration) -> Self {
        let seconds = retry_after.as_secs_f64().ceil();
        Self {
            code: Code::Limited,
            message: format!("too many {what}; try again in {seconds} s").into(),
            retry_after: Some(retry_after),
        }
    }

    /// The relay has little room, and keeps it for accounts that are older [KV-093].
    pub fn low_water() -> Self {
        Self {
            code: Code::Unavailable,
            message: "the relay has little disk space left and stores nothing for new accounts now; try again later"
                .into(),
            retry_after: Some(LOW_WATER_PAUSE),
        }
    }

    /// As it travels.
    pub fn into_wire(self) -> kuvert_wire::v1::Error {
        let retry_after_ms =
            self.retry_after.map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1));
        kuvert_wire::v1::Error { code: self.code.into(), message: self.message.into_owned(), retry_after_ms }
    }
}

impl From<FieldError> for CommandError {
    fn from(error: FieldError) -> Self {
        Self::new(Code::Malformed, format!("field {}: {}", error.field, error.reason))
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        // The reason is for the operator's log: it may hold paths. Clients learn what to do.
        let (code, message) = match error {
            StoreError::Unavailable(Unavailable::DiskFull) => {
                (Code::Unavailable, "the relay's disk is full; nothing was stored, try again later")
            }
            StoreError::Unavailable(Unavailable::Stopped) => {
                (Code::Unavailable, "the relay is shutting down; connect again in a moment and repeat the request")
            }
            StoreError::Unavailable(_) => {
                (Code::Unavailable, "the relay cannot store now; repeat the request in a moment")
            }
            StoreError::Unknown(_) => (
                Code::Unavailable,
                "the relay does not know whether this was stored; repeat the request, with the same id where it has one",
            ),
            StoreError::Corrupt(_) => {
                (Code::Internal, "the relay's files are damaged; its operator has to look at them")
            }
        };
        let retry_after = (code == Code::Unavailable).then_some(STORE_PAUSE);
        Self { code, message: message.into(), retry_after }
    }
}

/// A field that can be read and is not what it must be.
pub(super) fn invalid(what: &'static str, error: DecodeError) -> CommandError {
    CommandError::new(Code::Invalid, format!("{what} cannot be read: {error}"))
}
