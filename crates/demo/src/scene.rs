//! What a scene shows, as a value: rows of three columns, each a list of items.

use std::borrow::Cow;

/// What an item means; colours follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Ordinary words.
    Plain,
    /// A command that was run.
    Command,
    /// A person's words: private.
    Letter,
    /// Checked, and good.
    Good,
    /// Seen by others.
    Seen,
    /// Of little weight.
    Faint,
}

/// Something in a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A line of text.
    Text(Tone, String),
    /// A fact with its name.
    Fact(&'static str, String),
    /// Ciphertext, of which that many rows are shown.
    Bytes(Vec<u8>, usize),
    /// An empty line.
    Gap,
}

impl Item {
    /// Ordinary words.
    pub fn plain(text: impl Into<String>) -> Self {
        Self::Text(Tone::Plain, text.into())
    }

    /// A command that was run.
    pub fn command(text: impl Into<String>) -> Self {
        Self::Text(Tone::Command, text.into())
    }

    /// A person's words.
    pub fn letter(text: &str) -> Self {
        Self::Text(Tone::Letter, format!("“{text}”"))
    }

    /// Checked, and good.
    pub fn good(text: impl Into<String>) -> Self {
        Self::Text(Tone::Good, text.into())
    }

    /// Seen by others.
    pub fn seen(text: impl Into<String>) -> Self {
        Self::Text(Tone::Seen, text.into())
    }

    /// Of little weight.
    pub fn faint(text: impl Into<String>) -> Self {
        Self::Text(Tone::Faint, text.into())
    }

    /// A check: good if it holds.
    pub fn check(holds: bool, text: impl Into<String>) -> Self {
        let text = text.into();
        if holds { Self::good(format!("✓ {text}")) } else { Self::seen(format!("✗ {text}")) }
    }
}

/// Alice, the relay, Bob: what happened with each at the same time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The left column.
    pub alice: Vec<Item>,
    /// The middle column.
    pub relay: Vec<Item>,
    /// The right column.
    pub bob: Vec<Item>,
}

/// One scene.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scene {
    /// What it is about.
    pub title: Cow<'static, str>,
    /// One or two sentences below the title.
    pub words: Cow<'static, str>,
    /// From top to bottom.
    pub rows: Vec<Row>,
}
