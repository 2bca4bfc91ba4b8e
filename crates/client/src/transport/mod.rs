//! The way to the relay: QUIC with TLS 1.3, the relay known by its key's fingerprint, one long-lived stream.
//!
//! | module | owns |
//! |---|---|
//! | [`tls`] | which relay is the right one |
//! | [`mod@dial`] | from a host name to a stream |
//! | [`mod@link`] | the stream: requests with answers, pushes apart |
//!
//! Not its concern: what requests mean, and trying again (`client`, `receive`).

pub mod dial;
pub mod link;
pub mod tls;

pub use dial::dial;
pub use link::{Link, Push, Refusal, Ticket};

/// Words of the relay's for people, made safe to print: one line, bounded.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
