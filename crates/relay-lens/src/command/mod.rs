//! What a client can ask the extension for, a file per subject. Each request is judged when it is read, as the relay's own
//! are ([`kuvert_relay::command`]).
//!
//! | module | requests | who may |
//! |---|---|---|
//! | [`consent`] | GetPolicies, AcceptPolicy, ObjectAdvertising | an account, for itself; in the demonstration only |
//! | [`phone`] | RequestPhoneCode, VerifyPhone | the account that has the code has the number |
//! | [`profile`] | SetProfile, GetProfile | an account changes its own; others see what it made public |
//! | [`address_book`] | UploadAddressBook | an account, its own |
//! | [`disclosure`] | ReportDevice, WithdrawDisclosure | the device, for itself; an account, for itself |

pub mod address_book;
pub mod consent;
pub mod disclosure;
pub mod phone;
pub mod profile;

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use kuvert_wire::v1::demonstration as wire;
use kuvert_wire::v1::demonstration::answer::Body as Response;
use kuvert_wire::v1::demonstration::request::Body as Request;
use prost::Message as _;

use super::Lens;
use kuvert_relay::command::error::Code;
use kuvert_relay::command::{AuthenticatedDevice, CommandError};
use kuvert_relay::extension::{Handled, Reply};

/// An answer to come.
pub type Answer = Pin<Box<dyn Future<Output = Result<Response, CommandError>> + Send>>;

/// As metrics name a body that is no request.
const UNREADABLE: &str = "demonstration";

/// Does what an authenticated device asks for.
pub fn run(lens: &Lens, caller: &AuthenticatedDevice, body: Bytes) -> Handled {
    // The decoder's words can hold what was sent.
    let Some(request) = wire::Request::decode(body).ok().and_then(|request| request.body) else {
        let refusal = CommandError::new(Code::Malformed, "the body is no request that the demonstration knows");
        return Handled { request: UNREADABLE, reply: Err(refusal) };
    };
    let name = name(&request);
    let may = if stores(&request) { caller.may_store() } else { Ok(()) };
    let reply = may.and_then(|()| judge(lens, caller, request)).map(|answer| -> Reply {
        Box::pin(async move { Ok(wire::Answer { body: Some(answer.await?) }.encode_to_vec().into()) })
    });
    Handled { request: name, reply }
}

fn judge(lens: &Lens, caller: &AuthenticatedDevice, request: Request) -> Result<Answer, CommandError> {
    match request {
        Request::GetPolicies(v) => consent::get(lens, caller, v),
        Request::AcceptPolicy(request) => consent::accept(lens, caller, request),
        Request::ObjectAdvertising(v) => consent::object(lens, caller, v),
        Request::RequestPhoneCode(request) => phone::request_code(lens, caller, request),
        Request::VerifyPhone(request) => phone::verify_code(lens, caller, request),
        Request::SetProfile(request) => profile::set(lens, caller, request),
        Request::GetProfile(request) => profile::get(lens, caller, request),
        Request::UploadAddressBook(request) => address_book::upload(lens, caller, request),
        Request::ReportDevice(request) => disclosure::report_device(lens, caller, request),
        Request::WithdrawDisclosure(v) => disclosure::withdraw(lens, caller, v),
    }
}

/// Whether a request leaves as much on the disk as its sender likes.
const fn stores(request: &Request) -> bool {
    matches!(request, Request::SetProfile(_) | Request::UploadAddressBook(_) | Request::ReportDevice(_))
}

/// As metrics name it.
const fn name(request: &Request) -> &'static str {
    match request {
        Request::GetPolicies(_) => "get_policies",
        Request::AcceptPolicy(_) => "accept_policy",
        Request::ObjectAdvertising(_) => "object_advertising",
        Request::RequestPhoneCode(_) => "request_phone_code",
        Request::VerifyPhone(_) => "verify_phone",
        Request::SetProfile(_) => "set_profile",
        Request::GetProfile(_) => "get_profile",
        Request::UploadAddressBook(_) => "upload_address_book",
        Request::ReportDevice(_) => "report_device",
        Request::WithdrawDisclosure(_) => "withdraw_disclosure",
    }
}
