//! Register: a new account's first device registers, and is authenticated in the same step.

use std::net::IpAddr;

use bytes::Bytes;
use kuvert_types::limits::{MAX_NAME_BYTES, is_valid_name, is_valid_phone};
use kuvert_types::{
    Address, DeviceCertificate, DeviceList, Signature, UnverifiedDeviceCertificate, UnverifiedDeviceList,
};
use kuvert_wire::checked;
use kuvert_wire::v1;
use kuvert_wire::v1::server_frame::Body as Response;

use super::CommandError;
use super::authenticate::{Proof, authenticated, note_seen};
use super::error::{Code, invalid};
use crate::config::Registration;
use crate::connection_number::ConnectionNumber;
use crate::invitation;
use crate::observe::Event;
use crate::shared::Shared;
use crate::store::{NewAccount, NewDevice, NumberedDeviceList, RegisterError};

/// Checks everything that the request claims, and stores the account.
///
/// # Errors
/// `UNAVAILABLE`, `REGISTRATION_CLOSED`, `INVITATION_NEEDED`, `INVITATION_REFUSED`, `LIMITED`, `INVALID`, `AUTHENTICATION_FAILED`, `NAME_TAKEN`, `ACCOUNT_EXISTS`, and what the
/// store can say.
pub async fn run(
    service: &Shared,
    connection: ConnectionNumber,
    from: IpAddr,
    proof: &Proof,
    request: v1::Register,
) -> Result<(Address, Response), CommandError> {
    let invitation = match (service.registration, request.invitation.as_deref()) {
        (Registration::Open, _) => None,
        (Registration::Invitation, Some(code)) => Some(invitation::hash(code).ok_or_else(not_invited)?),
        (Registration::Invitation, None) => {
            return Err(CommandError::new(
                Code::InvitationNeeded,
                "this relay registers invited people only; ask its operator for an invitation",
            ));
        }
        (Registration::Closed, _) => {
            return Err(CommandError::new(
                Code::RegistrationClosed,
                "this relay registers nobody new; ask its operator, or choose another relay",
            ));
        }
    };
    if service.low_water.is_low() {
        return Err(CommandError::low_water());
    }
    service
        .limiter
        .registration(from)
        .map_err(|wait| CommandError::limited("registrations from this address", wait))?;

    let new = NewAccount { invitation, ..check(proof, &request, service.clock.now_ms())? };
    let device = Address { account: new.account, device: new.device.device };
    let (name, phone, at) = (new.name.clone(), new.phone.clone(), new.registered_at);
    service.store.register(new).await.map_err(|error| match error {
        RegisterError::AccountExists => CommandError::new(
            Code::AccountExists,
            "this account is registered already; authenticate instead of registering again",
        ),
        RegisterError::NameTaken => name_taken(),
        RegisterError::Invitation => not_invited(),
        RegisterError::Store(error) => error.into(),
    })?;
    service.young.register(device.account, at);
    service.metrics.registered();
    service.observe(Event::Registered { connection, device, name, phone });
    note_seen(service, device, None);
    Ok((device, authenticated(service, device).await?))
}

fn check(proof: &Proof, request: &v1::Register, now: u64) -> Result<NewAccount, CommandError> {
    let certificate = UnverifiedDeviceCertificate::decode(&request.certificate)
        .map_err(|error| invalid("the device certificate", error))?
        .verify()
        .map_err(|_| CommandError::new(Code::Invalid, "a signature of the device certificate does not verify"))?;
    let list = check_list(&certificate, &request.device_list)?;
    check_name(request.name.as_deref())?;
    check_phone(request.phone.as_deref())?;
    let signature = checked::array(&request.signature, "signature").map(Signature::from_bytes)?;
    let address = certificate.address();
    if !proof.holds(&address, &certificate.signing_key(), &signature) {
        return Err(CommandError::new(
            Code::AuthenticationFailed,
            "the signature is not by this device for this connection",
        ));
    }
    Ok(NewAccount {
        account: address.account,
        account_key: certificate.account_key(),
        device_list: NumberedDeviceList { number: list.body().number, bytes: list.encode().into() },
        name: request.name.clone(),
        phone: request.phone.clone(),
        registered_at: now,
        device: NewDevice {
            device: address.device,
            signing_key: certificate.signing_key(),
            certificate: Bytes::copy_from_slice(&certificate.encode()),
        },
        invitation: None,
    })
}

/// Whether this may be a user name, where one is given.
pub(super) fn check_name(name: Option<&str>) -> Result<(), CommandError> {
    if name.is_none_or(is_valid_name) {
        return Ok(());
    }
    Err(CommandError::new(
        Code::Invalid,
        format!("a name has 1 to {MAX_NAME_BYTES} of a-z, 0-9, -, _ and . and starts with a letter"),
    ))
}

/// Whether this is a phone number, where one is given.
pub(super) fn check_phone(phone: Option<&str>) -> Result<(), CommandError> {
    if phone.is_none_or(is_valid_phone) {
        return Ok(());
    }
    Err(CommandError::new(Code::Invalid, "a phone number is written as +491701234567: +, then 7 to 15 digits"))
}

/// The words for a name that another account has.
pub(super) fn name_taken() -> CommandError {
    CommandError::new(Code::NameTaken, "this name is taken; choose another one")
}

/// The same words whatever is wrong with it: a peer does not learn which codes were good once.
fn not_invited() -> CommandError {
    CommandError::new(
        Code::InvitationRefused,
        "this invitation is misspelt, used up or too old; ask the relay's operator for another one",
    )
}

/// The list of a new account names its one device and no other: a device that the relay does not know could not be
/// written to.
fn check_list(certificate: &DeviceCertificate, bytes: &[u8]) -> Result<DeviceList, CommandError> {
    let list = UnverifiedDeviceList::decode(bytes)
        .map_err(|error| invalid("the device list", error))?
        .verify(&certificate.account_key())
        .map_err(|_| CommandError::new(Code::Invalid, "the device list is not signed by the account key"))?;
    if !list.names(certificate) || list.body().devices.len() != 1 {
        return Err(CommandError::new(
            Code::Invalid,
            "a new account's device list names the registering device and no other",
        ));
    }
    if i64::try_from(list.body().number).is_err() {
        return Err(CommandError::new(Code::Invalid, "the device list's number is too high"));
    }
    Ok(list)
}
