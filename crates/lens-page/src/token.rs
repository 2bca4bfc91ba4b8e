//! Who may read the page: who has its address. Every local user reaches a port on loopback, and the page shows what lies in a
//! directory that only its owner may read.
//!
//! The address that is printed is `http://127.0.0.1:PORT/?token=TOKEN`. It leads to `/TOKEN/`, below which everything is; there
//! is nothing anywhere else. A cookie would do less: browsers send it to every port of this machine, so also to a port on which
//! another local user listens.

use data_encoding::HEXLOWER;
use subtle::ConstantTimeEq as _;

/// Bytes of a token: 256 bits, which cannot be guessed.
const TOKEN_LEN: usize = 32;

/// A secret of one run of the page's server, in hexadecimal digits.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A fresh one.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; TOKEN_LEN];
        getrandom::fill(&mut bytes)?;
        Ok(Self(HEXLOWER.encode(&bytes)))
    }

    /// The digits, for the address.
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// Whether a request brought it; how long the answer takes says nothing about the digits.
    pub fn is(&self, brought: &str) -> bool {
        self.0.as_bytes().ct_eq(brought.as_bytes()).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_and_drawn_anew() {
        let (one, other) = (Token::draw().unwrap(), Token::draw().unwrap());
        assert_eq!(one.digits().len(), 64);
        assert!(one.is(one.digits()) && !one.is(other.digits()) && !one.is("") && !one.is(&one.digits()[1..]));
        assert!(!format!("{one:?}").contains(one.digits()));
    }
}
