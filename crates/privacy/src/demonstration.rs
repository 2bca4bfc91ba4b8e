//! What the demonstration says that it shares. Its terms and what accepting them means are the extension's.

/// What every version of its terms shares, whatever a user refuses.
pub const SHARED_REGARDLESS: &[&str] = &["the phone number", "the frequency of use"];

/// What it is shared for.
pub const PURPOSES: &[&str] =
    &["advertising", "suggestions of friends", "infrastructure and security", "interoperability", "against spam"];

/// What may be done for advertising with the data of an account that accepted nothing.
pub const NOT_ACCEPTED: &str = "no terms accepted";
