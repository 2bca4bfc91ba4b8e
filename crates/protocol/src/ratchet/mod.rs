//! The Double Ratchet with header encryption (PROTOCOL.md, Double Ratchet).
//! Specification: <https://signal.org/docs/specifications/doubleratchet/#double-ratchet-with-header-encryption>
//!
//! | file | holds |
//! |---|---|
//! | `keys` | a newtype per derived secret, and the derivations |
//! | `header` | the header's layout and its encryption |
//! | `skipped` | keys of messages that are still under way |
//! | `double_ratchet` | the state: sending, staging a received message, committing it |
//!
//! Not its concern: the post-quantum ratchet, whose header it carries and whose key is mixed in by the session.

mod double_ratchet;
mod header;
mod keys;
mod skipped;

pub(crate) use double_ratchet::{DoubleRatchet, Located, RatchetStep, SendError, StageError};
pub(crate) use header::Header;
pub(crate) use keys::{BodyKey, InitialKeys};

pub use double_ratchet::{MAX_RETAINED_HEADER_KEYS, MAX_SKIP};
pub use header::{ENCRYPTED_HEADER_LEN, HEADER_LEN};
pub use skipped::{MAX_SKIPPED_KEYS, SKIPPED_KEY_LIFETIME};
