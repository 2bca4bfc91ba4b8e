//! The codes of invitations: drawn here, given to people, and kept as a hash only.
//!
//! A code is 128 random bits in base 32, in groups to read out: `k3zq-…`. It cannot be guessed, so a plain SHA-256 is enough
//! to keep it, and looking it up by its hash tells nothing through time.

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

use crate::store::InvitationHash;

/// Random bytes of a code.
const CODE_BYTES: usize = 16;

/// Characters of a code without its hyphens.
const CODE_CHARS: usize = 26;

/// Characters between two hyphens.
const GROUP: usize = 5;

/// A new code and its hash.
///
/// # Errors
/// The system has no randomness.
pub fn draw() -> Result<(String, InvitationHash), getrandom::Error> {
    let mut random = [0; CODE_BYTES];
    getrandom::fill(&mut random)?;
    let plain = BASE32_NOPAD.encode(&random).to_lowercase();
    let groups: Vec<&str> =
        (0..CODE_CHARS).step_by(GROUP).filter_map(|at| plain.get(at..(at + GROUP).min(CODE_CHARS))).collect();
    Ok((groups.join("-"), hash_plain(&plain)))
}

/// The hash of a code as it was typed: hyphens, blanks and capitals do not matter. `None`: no code looks like that.
pub fn hash(code: &str) -> Option<InvitationHash> {
    let plain: String = code
        .chars()
        .filter(|c| *c != '-' && !c.is_whitespace())
        .take(CODE_CHARS + 1)
        .collect::<String>()
        .to_lowercase();
    (plain.len() == CODE_CHARS && plain.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7')))
        .then(|| hash_plain(&plain))
}

fn hash_plain(plain: &str) -> InvitationHash {
    Sha256::digest(plain.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_known_again_however_it_is_typed() {
        let (code, stored) = draw().unwrap();
        assert_eq!(code.len(), CODE_CHARS + 5);
        for typed in [code.clone(), code.replace('-', ""), code.to_uppercase(), format!(" {} ", code.replace('-', " "))]
        {
            assert_eq!(hash(&typed), Some(stored), "{typed}");
        }
        assert_ne!(draw().unwrap().1, stored);
    }

    #[test]
    fn what_is_no_code_has_no_hash() {
        let (code, stored) = draw().unwrap();
        for typed in
            ["", "abc", &code[1..], &format!("{code}a"), &code.replace(&code[..1], "1"), "ß".repeat(26).as_str()]
        {
            assert_eq!(hash(typed), None, "{typed}");
        }
        let other = if code.starts_with('a') { "b" } else { "a" };
        assert_ne!(hash(&format!("{other}{}", &code[1..])), Some(stored));
    }
}
