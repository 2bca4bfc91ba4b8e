//! The way to the relay: QUIC with TLS 1.3, the relay known by its key's fingerprint, one long-lived stream.
//!
//! | module | owns |
//! |---|---|
//! | [`tls`] | which relay is the right one |
//! | [`mod@dial`] | from a host name to a stream |
//! | [`mod@link`] | the stream: requests with answers, pushes apart |
//! | `blob` | a stream for each file |
//! | `words` | what is printed of the relay's words |
//!
//! Not its concern: what requests mean, and trying again (`connection`, `receive`).

pub(crate) mod blob;
pub mod dial;
pub mod link;
pub mod tls;
mod words;

pub use dial::dial;
pub use link::{Link, Push, RelayError, Ticket};
