//! One test for every attack that the protocol claims to withstand, named by its number in docs/ATTACKS.md.
//! `Party::try_decrypt` checks after every refusal that record, replay record and prekeys are what they were, byte for byte.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod files;
mod groups;
mod handshake;
mod hygiene;
mod linking;
mod messages;
mod public_keys;
mod replays;
mod sealed;
mod sessions;
