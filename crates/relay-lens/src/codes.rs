//! Codes that verify a phone number, and who brings them there.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use kuvert_types::AccountId;
use kuvert_types::limits::PHONE_CODE_DIGITS;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// How many codes there are.
const CODES: u32 = 10u32.pow(PHONE_CODE_DIGITS as u32);

/// A code on its way to a phone. Its holder can claim the number, so it is not shown.
#[derive(Clone)]
pub struct Code(String);

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

impl Code {
    /// A new one, each as likely as any other.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn draw() -> Result<Self, getrandom::Error> {
        // Numbers beyond the last whole multiple would make low codes likelier.
        let fair = u32::MAX - u32::MAX % CODES;
        loop {
            let number = getrandom::u32()?;
            if number < fair {
                return Ok(Self(format!("{:0width$}", number % CODES, width = PHONE_CODE_DIGITS)));
            }
        }
    }

    /// Its digits.
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    pub fn hash(&self, account: &AccountId) -> [u8; 32] {
        hash(account, &self.0)
    }
}

/// Whether `digits` are the code of which `stored` was stored.
pub fn fits(account: &AccountId, digits: &str, stored: &[u8]) -> bool {
    hash(account, digits).ct_eq(stored).into()
}

fn hash(account: &AccountId, digits: &str) -> [u8; 32] {
    Sha256::new().chain_update(account.as_bytes()).chain_update(digits).finalize().into()
}

/// A code could not be sent. The reason is for the operator's log, and names no person.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotSent(pub &'static str);

/// Sending under way.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<(), NotSent>> + Send + 'a>>;

/// Brings codes to phones: the way out of the relay, for an operator with a gateway for text messages.
pub trait CodeSender: Send + Sync + fmt::Debug + 'static {
    /// Sends `code` to `number` (E.164).
    fn send<'a>(&'a self, number: &'a str, code: &'a Code) -> Sending<'a>;
}

/// Sends nothing, and writes codes into the relay's log: the operator hands them over, or is the one who tries this out.
///
/// This is the one place where the log holds something about a person: the code, and the last two digits of the number, so
/// that the operator can tell two codes apart.
#[derive(Clone, Copy, Debug)]
pub struct LogCodes;

impl CodeSender for LogCodes {
    fn send<'a>(&'a self, number: &'a str, code: &'a Code) -> Sending<'a> {
        let ends = number.get(number.len().saturating_sub(2)..).unwrap_or_default();
        tracing::info!(
            phone_code = code.digits(),
            number_ends = ends,
            "a phone number is to be verified: no text message is sent, since this relay has no gateway for them"
        );
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_six_digits_and_fits_its_account_only() {
        let (alice, bob) = (AccountId::from_bytes([1; 16]), AccountId::from_bytes([2; 16]));
        let code = Code::draw().unwrap();
        assert!(code.digits().len() == 6 && code.digits().bytes().all(|digit| digit.is_ascii_digit()));
        assert!(fits(&alice, code.digits(), &code.hash(&alice)));
        assert!(!fits(&bob, code.digits(), &code.hash(&alice)));
        assert!(!fits(&alice, "", &code.hash(&alice)) && !fits(&alice, code.digits(), b"damaged"));
        assert!(!format!("{code:?}").contains(code.digits()));
    }
}
