//! From a new connection to an authenticated device.
//!
//! ```text
//! Connected ──Hello──▶ Challenged ──Authenticate│Register──▶ authenticated (see the module above)
//!     │                  │  ▲    ├───SubmitSealed──▶ anonymous, for sealed envelopes alone
//!     │                  │  ▲    └───WriteSlot│ReadSlot──▶ linking, for slots alone
//!     │ anything else    │  └─ refused: up to AUTHENTICATION_ATTEMPTS times
//!     ▼                  ▼ anything else
//!   closed             closed
//! ```

use kuvert_types::Address;
use kuvert_types::authentication::CHALLENGE_LEN;
use kuvert_types::label::TLS_EXPORTER;
use kuvert_wire::VERSION;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::server_frame::Body as Response;
use kuvert_wire::v1::{Challenge, ClientFrame, SubmitSealed};

use super::Fatal;
use crate::command::authenticate::Proof;
use crate::command::error::Code;
use crate::command::{CommandError, authenticate, register, slot};
use crate::connection_number::ConnectionNumber;
use crate::limits::AUTHENTICATION_ATTEMPTS;
use crate::shared::Shared;

/// A peer that has said nothing yet.
#[derive(Debug)]
pub struct Connected;

/// A peer that has a challenge to answer.
#[derive(Debug)]
pub struct Challenged {
    proof: Proof,
    attempts: u32,
}

/// What answering the challenge led to.
pub enum Outcome {
    /// It is this device.
    Authenticated(Address, Response),
    /// It does not say who it is, and wants to submit this.
    Sealed(SubmitSealed),
    /// It does not say who it is, and wants this of a slot.
    Slots(slot::Request),
    /// Not this time.
    Refused(Challenged, CommandError),
}

impl Connected {
    /// Takes the first frame.
    ///
    /// # Errors
    /// Anything but a Hello in a version that this relay speaks ends the connection.
    pub fn handle(
        self,
        frame: ClientFrame,
        service: &Shared,
        connection: &quinn::Connection,
    ) -> Result<(Challenged, Response), Fatal> {
        match frame.body {
            Some(Request::Hello(hello)) if hello.version == VERSION => {}
            Some(Request::Hello(_)) => {
                let message =
                    format!("this relay speaks version {VERSION} of the protocol; update the older of the two");
                return Err(Fatal::protocol(frame.request, CommandError::new(Code::UnsupportedVersion, message)));
            }
            _ => return Err(Fatal::protocol(frame.request, not_authenticated("say Hello first"))),
        }
        let internal =
            || Fatal::protocol(frame.request, CommandError::new(Code::Internal, "the relay has no randomness"));
        let mut proof = Proof { challenge: [0; CHALLENGE_LEN], exporter: [0; CHALLENGE_LEN] };
        getrandom::fill(&mut proof.challenge).map_err(|_| internal())?;
        connection
            .export_keying_material(&mut proof.exporter, TLS_EXPORTER.as_bytes(), &proof.challenge)
            .map_err(|_| internal())?;
        let extensions = service.extension.iter().map(|extension| extension.name().to_owned()).collect();
        let challenge = proof.challenge.to_vec().into();
        let max_blob_bytes = service.blobs.as_ref().map_or(0, |blobs| blobs.max_bytes);
        let challenge = Response::Challenge(Challenge { challenge, extensions, max_blob_bytes });
        Ok((Challenged { proof, attempts: 0 }, challenge))
    }
}

impl Challenged {
    /// Takes the next frame.
    ///
    /// # Errors
    /// Anything but a sealed envelope, a request for a slot, or an attempt to authenticate or register ends the connection, and so
    /// does one attempt too many. After an attempt that failed it is too late for what has no name: the name has been said.
    pub async fn handle(
        self,
        frame: ClientFrame,
        service: &Shared,
        connection: &quinn::Connection,
        number: ConnectionNumber,
    ) -> Result<Outcome, Fatal> {
        let asked = service.clock.elapsed();
        let nameless = self.attempts == 0;
        let (name, result) = match frame.body {
            Some(Request::Authenticate(request)) => {
                ("authenticate", authenticate::run(service, number, &self.proof, request).await)
            }
            Some(Request::Register(request)) => {
                let from = connection.remote_address().ip();
                ("register", register::run(service, number, from, &self.proof, request).await)
            }
            Some(Request::SubmitSealed(request)) if nameless => return Ok(Outcome::Sealed(request)),
            Some(Request::WriteSlot(request)) if nameless => {
                return Ok(Outcome::Slots(slot::Request::Write(request)));
            }
            Some(Request::ReadSlot(request)) if nameless => {
                return Ok(Outcome::Slots(slot::Request::Read(request)));
            }
            _ => return Err(Fatal::protocol(frame.request, not_authenticated("authenticate or register first"))),
        };
        service.metrics.answered(name, service.clock.elapsed().saturating_sub(asked), &result);
        match result {
            Ok((device, response)) => Ok(Outcome::Authenticated(device, response)),
            Err(refusal) if self.attempts + 1 >= AUTHENTICATION_ATTEMPTS => {
                Err(Fatal::protocol(frame.request, refusal))
            }
            Err(refusal) => Ok(Outcome::Refused(Self { proof: self.proof, attempts: self.attempts + 1 }, refusal)),
        }
    }
}

fn not_authenticated(message: &'static str) -> CommandError {
    CommandError::new(Code::NotAuthenticated, message)
}
