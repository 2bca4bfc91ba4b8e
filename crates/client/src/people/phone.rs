//! A phone number, verified by a code.

use kuvert_types::limits::is_valid_phone;
use kuvert_wire::v1::demonstration as wire;
use kuvert_wire::v1::demonstration::{answer, request};

use super::{ask, tell};
use crate::connection::Connection;
use crate::error::Error;

/// A number that the relay believes.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct VerifiedPhone {
    /// E.164.
    pub phone: String,
    /// Another account had it before, and has it no longer.
    pub moved: bool,
}

impl Connection {
    /// Asks the relay to send a code to a phone number (E.164). One that was asked for before is good no longer.
    ///
    /// # Errors
    /// `level-too-high`, `not-offered`, `phone-invalid`, `limited`.
    pub async fn request_phone_code(&self, phone: &str) -> Result<(), Error> {
        let phone = phone.trim();
        if !is_valid_phone(phone) {
            return Err(Error::PhoneInvalid { phone: phone.escape_default().to_string() });
        }
        tell(self.engine(), &self.link().link).await?;
        let request = request::Body::RequestPhoneCode(wire::RequestPhoneCode { phone: phone.to_owned() });
        match ask(&self.link().link, request).await? {
            Ok(answer::Body::Done(_)) => Ok(()),
            Ok(_) => Err(Error::RelayProtocol { what: "no answer to a phone number" }),
            Err(refusal) => Err(refusal.into_error()),
        }
    }

    /// Gives the code that came.
    ///
    /// # Errors
    /// `level-too-high`, `not-offered`, `phone-code-wrong`, `phone-code-expired`.
    pub async fn verify_phone(&self, code: &str) -> Result<VerifiedPhone, Error> {
        tell(self.engine(), &self.link().link).await?;
        let request = request::Body::VerifyPhone(wire::VerifyPhone { code: code.trim().to_owned() });
        match ask(&self.link().link, request).await? {
            Ok(answer::Body::PhoneVerified(wire::PhoneVerified { phone, moved })) if is_valid_phone(&phone) => {
                Ok(VerifiedPhone { phone, moved })
            }
            Ok(_) => Err(Error::RelayProtocol { what: "no answer to a code" }),
            Err(refusal) => Err(refusal.into_error()),
        }
    }
}
