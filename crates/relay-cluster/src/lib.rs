//! Relays that serve one store together.
//!
//! | module | holds |
//! |---|---|
//! | [`key`] | the cluster's key, and how it is replaced |
//! | [`mesh`] | links between nodes |
//! | [`presence`] | which devices are connected and attached, at whichever node |
//! | [`judge`] | which nodes live, and which of them is to hold which slot |
//! | [`member`] | a relay that takes part |

// `println!` and `eprintln!` panic where nothing can be written.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod judge;
pub mod key;
pub mod member;
pub mod mesh;
pub mod presence;
