//! The client against a real relay in the same process. One program for all of it: each would be built as long as this one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod account;
mod adversary;
mod circles;
mod clocks;
mod common;
mod conversation;
mod conversations;
mod damage;
mod erase;
mod examples;
mod files;
mod floods;
mod pausing;
mod people;
mod receivers;
mod requests;
mod resets;
mod robustness;
mod sealed;
mod strangers;
mod threads;
mod upgrade;
mod vectors;
