//! A new account: its keys, its registration at the relay, its first prekeys.

use kuvert_protocol::identity::{AccountSecret, DeviceSecrets};
use kuvert_types::device_list::{DeviceEntry, DeviceListBody};
use kuvert_types::limits::{is_valid_name, is_valid_phone};
use kuvert_types::{AccountId, Address, DeviceId, Level, RelayUrl};
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::{self, client_frame};

use crate::connection::{AuthenticatedLink, Connection, authenticated, challenge, sign_challenge};
use crate::disclosure;
use crate::engine::{Engine, Tx};
use crate::error::Error;
use crate::identity::Identity;
use crate::options::{Options, Profile};
use crate::people;
use crate::prekeys;
use crate::rng;
use crate::state::{self, OwnRow, PhoneTold, change_own, own};
use crate::store::{Table, Transaction as _};
use crate::transport::{Link, dial};

/// Registers the account of a home, whose outbox the caller holds, with keys that are drawn if a try before drew none, and publishes prekeys.
///
/// # Errors
/// See [`crate::Builder::register`].
pub(crate) async fn register(engine: &Engine, relay: RelayUrl, profile: Profile) -> Result<(), Error> {
    let (name, level) = (profile.name.clone(), engine.options().level);
    let directory = engine.home().directory().to_owned();
    engine
        .write(move |tx| {
            let registered = || Error::AlreadyRegistered { home: directory };
            prepare(tx, &relay, name, level, registered)
        })
        .await?;
    let own = engine.identity().await?;
    let link = dial(&own.relay, engine.options()).await?;
    let link = register_at(engine, &own, link, &profile).await?;
    engine
        .write(move |tx| {
            change_own(tx, |row| {
                row.registered = true;
                row.set_phone_told(if profile.phone.is_some() { PhoneTold::Yes } else { PhoneTold::No });
                row.name = profile.name;
            })
        })
        .await?;
    let connection = Connection::new(engine.clone(), link);
    prekeys::maintain(&connection).await?;
    people::settle(engine, &connection.link().link).await?;
    connection.close().await;
    Ok(())
}

/// Says Hello and nothing else: whether the relay takes what L0 tells.
///
/// # Errors
/// `not-offered`; those of the connection.
pub(crate) async fn must_offer_l0(relay: &RelayUrl, options: &Options) -> Result<(), Error> {
    let link = dial(relay, options).await?;
    challenge(&link).await?;
    people::must_be_offered(&link)
}

/// What the relay would refuse of a profile.
///
/// # Errors
/// `name-invalid`, `phone-invalid`.
pub(crate) fn check_profile(profile: &Profile) -> Result<(), Error> {
    check_name_and_phone(profile.name.as_deref(), profile.phone.as_deref())
}

/// What the relay would refuse.
pub(crate) fn check_name_and_phone(name: Option<&str>, phone: Option<&str>) -> Result<(), Error> {
    if let Some(name) = name.filter(|name| !is_valid_name(name)) {
        return Err(Error::NameInvalid { name: name.escape_default().to_string() });
    }
    if let Some(phone) = phone.filter(|phone| !is_valid_phone(phone)) {
        return Err(Error::PhoneInvalid { phone: phone.escape_default().to_string() });
    }
    Ok(())
}

/// Draws the account's and the device's keys, unless a try before did. They are on disk before the relay hears of them, so
/// that no answer that gets lost can leave an account without its keys.
pub(crate) fn prepare(
    tx: &Tx<'_>,
    relay: &RelayUrl,
    name: Option<String>,
    level: Option<Level>,
    registered: impl FnOnce() -> Error,
) -> Result<(), Error> {
    let row = match state::get::<OwnRow>(tx, Table::Own, own::ACCOUNT)? {
        Some(row) if row.deleted_at != 0 => return Err(Error::AccountDeleted),
        Some(row) if row.registered => return Err(registered()),
        Some(row) => row,
        None => {
            let mut rng = rng::system_rng();
            let (account, device) = (AccountSecret::generate(&mut rng), DeviceSecrets::generate(&mut rng));
            let address = Address { account: AccountId::from_bytes(rng::bytes()), device: DeviceId::PRIMARY };
            let certificate = device.certify(&account, address);
            let entry = DeviceEntry { device: address.device, certificate_hash: certificate.hash() };
            let list = DeviceListBody { account: address.account, number: 1, devices: vec![entry] };
            let list = account.sign_device_list(&list).map_err(|_| Error::Internal { what: "own device list" })?;
            tx.put(Table::Own, own::ACCOUNT_SECRET, &*account.to_bytes())?;
            tx.put(Table::Own, own::DEVICE_SECRETS, &*device.to_bytes())?;
            OwnRow { certificate: certificate.encode().to_vec(), device_list: list.encode(), ..OwnRow::default() }
        }
    };
    state::put(tx, Table::Own, own::ACCOUNT, &OwnRow { relay: relay.to_string(), name, ..row })?;
    level.map_or(Ok(()), |level| disclosure::set_level(tx, level, 0))
}

/// Registers, or authenticates if the relay knows this account already: then a try before got through and its answer did not.
async fn register_at(
    engine: &Engine,
    own: &Identity,
    link: Link,
    profile: &Profile,
) -> Result<AuthenticatedLink, Error> {
    let signature = sign_challenge(own, &link).await?;
    people::note_registration(engine, &link).await?;
    let body = client_frame::Body::Register(v1::Register {
        certificate: own.device.certificate().encode().to_vec().into(),
        device_list: own.list.encode().into(),
        name: profile.name.clone(),
        phone: profile.phone.clone(),
        signature: signature.clone(),
        invitation: profile.invitation.clone(),
    });
    let refusal = match link.request(body).await? {
        Ok(body) => return authenticated(link, body),
        Err(refusal) => refusal,
    };
    // The name may be taken by ourselves.
    if matches!(refusal.code, Code::AccountExists | Code::NameTaken) {
        let client_body = client_frame::Body::Authenticate(v1::Authenticate {
            address: Some(kuvert_wire::checked::to_wire(&own.address)),
            signature,
        });
        if let Ok(body) = link.request(client_body).await? {
            return authenticated(link, body);
        }
    }
    Err(refusal.about(profile.name.as_deref().unwrap_or_default()))
}
