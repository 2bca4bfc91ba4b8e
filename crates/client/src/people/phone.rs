//! A phone number, verified by a code.

use kuvert_types::limits::is_valid_phone;
use kuvert_wire::v1::{self, client_frame, server_frame};

use super::told::tell;
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
    /// `level-too-high`, `phone-invalid`, `limited`.
    pub async fn request_phone_code(&self, phone: &str) -> Result<(), Error> {
        let phone = phone.trim();
        if !is_valid_phone(phone) {
            return Err(Error::PhoneInvalid { phone: phone.escape_default().to_string() });
        }
        tell(self.engine()).await?;
        let request = client_frame::Body::RequestPhoneCode(v1::RequestPhoneCode { phone: phone.to_owned() });
        match self.link().link.request(request).await? {
            Ok(server_frame::Body::Done(_)) => Ok(()),
            Ok(_) => Err(Error::RelayProtocol { what: "no answer to a phone number" }),
            Err(refusal) => Err(refusal.into_error()),
        }
    }

    /// Gives the code that came.
    ///
    /// # Errors
    /// `level-too-high`, `phone-code-wrong`, `phone-code-expired`.
    pub async fn verify_phone(&self, code: &str) -> Result<VerifiedPhone, Error> {
        tell(self.engine()).await?;
        let request = client_frame::Body::VerifyPhone(v1::VerifyPhone { code: code.trim().to_owned() });
        match self.link().link.request(request).await? {
            Ok(server_frame::Body::PhoneVerified(v1::PhoneVerified { phone, moved })) if is_valid_phone(&phone) => {
                Ok(VerifiedPhone { phone, moved })
            }
            Ok(_) => Err(Error::RelayProtocol { what: "no answer to a code" }),
            Err(refusal) => Err(refusal.into_error()),
        }
    }
}
