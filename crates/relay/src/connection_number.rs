//! The number by which logs and events tell one connection from another.

use std::fmt;

/// Names a connection in logs and events. Random, so that it says nothing about when or who.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionNumber(u32);

impl ConnectionNumber {
    /// A new one.
    pub fn random() -> Self {
        // Without randomness TLS would not work either; a fixed number only makes the logs harder to read.
        Self(getrandom::u32().unwrap_or_default())
    }

    /// One that is known: read from a database, or drawn by a simulation.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// As a number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ConnectionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for ConnectionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
