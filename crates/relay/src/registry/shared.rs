//! What the demonstration shares whatever an account chose, and what for: its terms and the record of processing say so.

/// What both versions share, whatever an account refuses.
pub const SHARED_REGARDLESS: &[&str] = &["the phone number", "the frequency of use"];

/// What it is shared for.
pub const PURPOSES: &[&str] =
    &["advertising", "suggestions of friends", "infrastructure and security", "interoperability", "against spam"];
