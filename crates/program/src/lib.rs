//! What the programs of Kuvert share. Small things only: each program has its own command line and its own errors.
//!
//! | module | holds |
//! |---|---|
//! | [`directories`] | where a user's data are kept |
//! | [`family`] | `kuvert NAME` runs the program `kuvert-NAME` |
//! | [`manual`] | manual pages, written by the program that they describe |
//! | [`memory`] | no core dumps |
//! | [`process`] | what a program settles with the system at its start |
//! | [`words`] | colours or none, and how wide |

// `println!` and `eprintln!` panic where nothing can be written.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod directories;
pub mod family;
pub mod manual;
pub mod memory;
pub mod process;
pub mod words;
