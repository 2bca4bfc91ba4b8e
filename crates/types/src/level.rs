//! The disclosure ladder: how much a client lets its relay know.

use core::fmt;
use core::str::FromStr;

/// A rung of the disclosure ladder. A higher one tells the relay less.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Level {
    /// Number, address book, sender, device: as a mass-market messenger is described.
    L0,
    /// Random identifiers, nothing uploaded; the envelope names its sender.
    #[default]
    L1,
    /// Sealed sender: the envelope names its recipient only.
    L2,
    /// As L2, with receipts that come late.
    L3,
}

impl Level {
    /// Every rung, from the one that tells most.
    pub const ALL: [Self; 4] = [Self::L0, Self::L1, Self::L2, Self::L3];

    /// `L0` to `L3`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::L0 => "L0",
            Self::L1 => "L1",
            Self::L2 => "L2",
            Self::L3 => "L3",
        }
    }

    /// Whether envelopes leave without their sender's name where that is possible.
    pub fn seals_sender(self) -> bool {
        self >= Self::L2
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Not one of `L0`, `L1`, `L2`, `L3`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a level is L0, L1, L2 or L3")]
pub struct UnknownLevel;

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        Self::ALL.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(text)).ok_or(UnknownLevel)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn levels_are_written_and_read_and_rise() {
        for level in Level::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
            assert_eq!(level.to_string().to_lowercase().parse(), Ok(level));
        }
        assert_eq!("L4".parse::<Level>(), Err(UnknownLevel));
        assert_eq!("".parse::<Level>(), Err(UnknownLevel));
        assert!(Level::ALL.is_sorted());
        assert_eq!(Level::ALL.map(Level::seals_sender), [false, false, true, true]);
        assert_eq!(Level::default(), Level::L1);
    }
}
