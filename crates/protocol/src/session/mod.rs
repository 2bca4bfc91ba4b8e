//! Sessions: what a client works with (PROTOCOL.md, Sessions).
//! Specification: <https://signal.org/docs/specifications/sesame/>
//!
//! | file | holds |
//! |---|---|
//! | `record` | [`SessionRecord`]: all sessions with one remote device; which of them is active |
//! | `session` | one session: curve ratchet, post-quantum ratchet, and what joins them |
//! | `error` | why something is refused |

mod error;
mod record;
#[allow(clippy::module_inception)] // the file of `Session`, beside that of `SessionRecord`
mod session;

pub use crate::scka::SckaFailure;
pub use error::{DecryptError, DecryptFailure, EncryptError, InitiateError};
pub use record::{
    CONVERGENCE_WINDOW_MS, DecryptContext, Decrypted, INACTIVE_SESSION_LIFETIME_MS, MAX_INACTIVE_SESSIONS,
    SessionRecord, UsedPrekeys,
};
